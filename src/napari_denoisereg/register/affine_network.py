"""What registrars have in common whose network predicts an affine transform: prediction, start, refinement.

Frames are shrunk by block means, brought to mean 0 and standard deviation 1, and their histograms matched. A few Gauss-Newton
steps refine the prediction and, as the alternative to it, the start; whichever leaves the images more alike is kept.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from napari_denoisereg import device as devices
from napari_denoisereg.geometry import Affine, Grid, Identity, Transform, warp
from napari_denoisereg.geometry.conventions import from_voxel_matrix
from napari_denoisereg.method import setting
from napari_denoisereg.model import Model
from napari_denoisereg.networks.denoisereg import match_histogram, shrink, to_world
from napari_denoisereg.register.descent import (
    Pyramid,
    as_transforms,
    as_weights,
    correlate,
    descend,
    homogeneous,
    pyramid,
)
from napari_denoisereg.register.motions import in_px
from napari_denoisereg.register.texture import textured
from napari_denoisereg.register.trained import TrainedRegistrar
from napari_denoisereg.steps import Pace, Progress, Steps
from napari_denoisereg.tiling import pad_to_multiple

STRIDE = 8
"""Sides of the images that the networks see are multiples of it."""
HELD_OUT = 8
AT_ONCE = 8 * 512**2
"""Voxels that are registered at a time."""

Pair = tuple[Tensor, Tensor]


class AffineNetworkRegistrar(TrainedRegistrar):
    """A trained registrar whose network predicts an affine transform."""

    network_settings: ClassVar[tuple[str, ...]] = ("size",)
    bends: ClassVar[bool | None] = False
    sees_start: ClassVar[bool] = False
    """Whether the network is given the moving image as the start leaves it, so that its prediction goes on from there."""

    refinement: int = setting(
        15, "Refinement of the network's result: steps at each resolution; 0 keeps the network's result.", ge=0, le=500
    )
    size: int = setting(
        128, "Frames are shrunk to this longest side for the network; 0 keeps full size.", unit="px", ge=0, le=8192
    )
    reach: int = setting(
        4, "The two frames of a training pair are at most this many frames apart.", ge=1, le=1000, advanced=True
    )
    augmentation: float = setting(
        0.3, "Chance that a training image is turned and stretched, for more variety.", ge=0, le=1, advanced=True
    )
    finest: int = setting(2, "Finest resolution of the refinement: 1 is full, 2 half, 4 a quarter.", ge=1, le=16, advanced=True)

    def align(
        self,
        fixed: Tensor,
        moving: Tensor,
        grid: Grid,
        *,
        start: Sequence[Transform] | None = None,
        model: Model | None = None,
    ) -> Steps[list[Transform]]:
        """Register a batch of pairs; see `Registrar.align`.

        With a refinement, both the prediction and the start (or the identity) are refined, and the better is kept.
        """
        network = self._trained(grid.ndim, model, fixed.device)
        pace, parts, at_once = Pace(), [], max(1, AT_ONCE // fixed[0].numel())
        for first in range(0, len(fixed), at_once):
            few = slice(first, first + at_once)
            known = None if start is None else start[few]
            parts.append(self._align_few(network, (fixed[few], moving[few]), grid, known))
            done = min(first + at_once, len(fixed))
            if pace.is_due(last=done == len(fixed)):
                yield Progress(done, len(fixed), "network and refinement")
        return as_transforms(torch.cat(parts))

    def _predict(self, network: Any, fixed: Tensor, moving: Tensor) -> Tensor:
        """What the network says of `standardised` images padded to `STRIDE`: ``(B, D, D+1)``, to be read by `to_world`."""
        raise NotImplementedError

    def _levels(self, network: Any, pair: Pair, grid: Grid) -> list[Pyramid]:  # noqa: ARG002 - for members that denoise
        """The images that the refinement compares, from coarse to fine."""
        if self.bridges_stains:  # how bright a place is says nothing then, how rough it is does
            pair = textured(pair[0], in_px(grid)), textured(pair[1], in_px(grid))
        return pyramid(*pair, grid, coarsest=32, finest=self.finest, blur=1.0)

    def _align_few(self, network: Any, pair: Pair, grid: Grid, start: Sequence[Transform] | None) -> Tensor:
        known = [Identity(grid.ndim)] * len(pair[0]) if start is None else list(start)
        predicted = self._predicted(network, pair, grid, known)
        if self.refinement == 0:
            return predicted if self.sees_start or start is None else as_weights(known)
        levels = self._levels(network, pair, grid)
        begins = as_weights(known), predicted
        results = torch.stack([descend(levels, each, "affine", iterations=self.refinement)[0] for each in begins])
        best = torch.stack([correlate(levels[-1], each) for each in results]).argmax(0)
        return results[best, torch.arange(len(best))]

    def _predicted(self, network: Any, pair: Pair, grid: Grid, known: Sequence[Transform]) -> Tensor:
        fixed, moving = pair
        if self.sees_start:
            pairs = zip(moving, known, strict=True)
            moving = torch.stack([warp(image, each, fixed=grid, outside="edge") for image, each in pairs])
        shrunk, small = standardised((fixed, moving), grid, self.size)
        one, two = (pad_to_multiple(image, STRIDE) for image in shrunk)
        with torch.inference_mode(), devices.autocast(fixed.device):
            predicted = self._predict(network, one, two).cpu().double()
        # The network was trained on voxels of padded images: first to those, then to the world.
        voxels = homogeneous(to_world(predicted, Grid(tuple(one.shape[2:])))).numpy()
        rest = [from_voxel_matrix(each, small, small) for each in voxels]
        if not self.sees_start:
            return as_weights(rest)
        return as_weights([Affine.merge(each, begin) for each, begin in zip(rest, known, strict=True)])


def standardised(pair: Pair, grid: Grid, size: int) -> tuple[Pair, Grid]:
    """Shrink, bring the fixed image to mean 0 and standard deviation 1, and match the moving one's histogram to it.

    Parameters
    ----------
    pair : tuple of Tensor
        Fixed and moving, ``(B, *grid.shape)``, any intensity scale.
    grid : Grid
        Of both.
    size : int
        See `networks.denoisereg.shrink`.

    Returns
    -------
    tuple of (Tensor, Tensor), Grid
        Each ``(B, 1, *small.shape)``, and their grid.
    """
    (fixed, small), (moving, _) = (shrink(image, grid, size) for image in pair)
    axes = tuple(range(1, fixed.ndim))
    fixed = (fixed - fixed.mean(axes, keepdim=True)) / fixed.std(axes, keepdim=True).clamp(min=torch.finfo(fixed.dtype).tiny)
    return (fixed, match_histogram(moving, fixed)), small
