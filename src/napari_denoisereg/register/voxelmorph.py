"""VoxelMorph: a U-Net that predicts a dense motion from a pair of images, trained on the movie without any truth.

The network and the loss (similarity plus smoothness) are the paper's. What is ours: by default local correlation in boxes of
9 voxels with its sign instead of its square; the images are smoothed a little before they are compared, and folds cost extra;
the network works at half resolution; its step size falls, for short trainings; and the predicted motion is refined on the
pair itself (the paper's instance-specific optimisation).

References
----------
Balakrishnan et al. 2019, VoxelMorph, doi:10.1109/TMI.2019.2897538. Dalca et al. 2019 (diffeomorphic), doi:10.1016/j.media.
2019.07.006, here without its uncertainty.
"""

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from napari_denoisereg import device as devices
from napari_denoisereg.geometry import resample, smooth
from napari_denoisereg.geometry.velocity import exponential
from napari_denoisereg.losses.folding import Folding
from napari_denoisereg.method import setting
from napari_denoisereg.networks.displacement_unet import DisplacementUNet
from napari_denoisereg.optimize import minimise
from napari_denoisereg.register.dense import DenseRegistrar, Pairs
from napari_denoisereg.steps import Steps

LATTICES = 16, 8, 4, 2
"""Distances of the points that the refinement moves, voxels of the working resolution."""
STEP = 0.1
"""First step of the refinement, voxels of the working resolution."""
NO_FOLDS = 30.0
"""Weight of the penalty on folds."""


class VoxelMorph(DenseRegistrar, kind="voxelmorph"):
    """A network that predicts how every pixel moved, trained on the movie; use it after an affine registration."""

    title: ClassVar[str] = "VoxelMorph (non-rigid network)"
    reference: ClassVar[str] = "https://doi.org/10.1109/TMI.2019.2897538"
    is_dense: ClassVar[bool] = True
    network_settings: ClassVar[tuple[str, ...]] = ("finest", "diffeomorphic")

    smoothness: float = setting(2.0, "How smooth the motion must be; higher is smoother.", ge=0, le=1e6)
    diffeomorphic: bool = setting(False, "Make the motion invertible and free of folds (predicts a velocity).")
    refinement: int = setting(
        60, "Refinement of the network's result: steps per frame; 0 keeps the network's result.", ge=0, le=10_000
    )
    blur: float = setting(
        1.0,
        "Smooth the images before they are compared, by this many pixels of the resolution the network works at.",
        unit="px",
        ge=0,
        le=16,
        advanced=True,
    )

    def _build(self, ndim: int) -> nn.Module:
        return DisplacementUNet(ndim)

    def _loss(self, network: nn.Module, pairs: Pairs) -> Tensor:
        return self._judged(self._predicted(network, pairs), self._softened(pairs))

    def _fields(self, network: nn.Module, pairs: Pairs) -> Steps[Tensor]:
        with torch.no_grad():
            predicted = self._predicted(network, pairs)
        if self.refinement == 0:
            return self._field(predicted, pairs)
        # Corrections on lattices from coarse to fine, added up: what is wrong over a wide area is put right in a few steps.
        lattices = [pairs.grid.coarser([min(factor, size) for size in pairs.grid.shape]) for factor in LATTICES]
        zeros = [predicted.new_zeros(*predicted.shape[:2], *each.shape) for each in lattices]
        corrections, soft = [each.requires_grad_() for each in zeros], self._softened(pairs)

        def motion() -> Tensor:
            parts = zip(corrections, lattices, strict=True)
            return predicted + sum(resample(values, lattice, pairs.grid) for values, lattice in parts)

        yield from minimise(
            corrections,
            lambda _: self._judged(motion(), soft).sum(),
            iterations=self.refinement,
            learning_rate=STEP * min(pairs.grid.spacing),
            schedule=lambda done: 1 - done,
            stage="refining",
        )
        with torch.no_grad():
            return self._field(motion(), pairs)

    def _predicted(self, network: nn.Module, pairs: Pairs) -> Tensor:
        """Displacement or velocity ``(B, D, *grid.shape)``, world units."""
        with devices.autocast(pairs.fixed.device):
            voxels = network(pairs.fixed, pairs.moving).float()
        return voxels * torch.tensor(pairs.grid.spacing, device=voxels.device).reshape(-1, *(1,) * pairs.grid.ndim)

    def _field(self, motion: Tensor, pairs: Pairs) -> Tensor:
        return exponential(motion, pairs.grid) if self.diffeomorphic else motion

    def _judged(self, motion: Tensor, pairs: Pairs) -> Tensor:
        field = self._field(motion, pairs)
        return self._cost(pairs, field, motion) + NO_FOLDS * Folding()(field, pairs.grid.spacing)

    def _softened(self, pairs: Pairs) -> Pairs:
        """What is compared.

        Noise is averaged where an image is read between its voxels, and images with less noise are more alike: without
        smoothing the best match of noisy images is drawn to half a voxel off.
        """
        if self.blur == 0:
            return pairs
        share = smooth(pairs.valid, self.blur).clamp(min=torch.finfo(pairs.valid.dtype).eps)
        moving = smooth(pairs.moving * pairs.valid, self.blur) / share
        return replace(pairs, fixed=smooth(pairs.fixed, self.blur), moving=moving)
