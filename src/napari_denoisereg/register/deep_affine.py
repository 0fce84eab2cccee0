"""Deep affine: a network that predicts an affine transform from two images, without denoising them.

The baseline "Deep Affine" of the DenoiseReg paper; after a denoiser it is the baseline "Deep Denoise + Deep Affine". As there,
images are standardised, their histograms matched and sometimes turned and stretched; the loss is the negative normalised
cross-correlation of de Vos et al., here in both directions. As in our DenoiseReg, frames are shrunk by block means for the
network, the step size falls, and a few Gauss-Newton steps refine the prediction (``refinement=0`` leaves the network's own).

References
----------
de Vos et al. 2019, doi:10.1016/j.media.2018.11.010. DenoiseReg (ISBI 2022), section 3.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from napari_denoisereg import device as devices
from napari_denoisereg.frame_pool import FramePool
from napari_denoisereg.geometry import Affine, Grid, Identity, Transform, affine_points, inside, sample, warp
from napari_denoisereg.geometry.conventions import from_voxel_matrix
from napari_denoisereg.losses import Similarity
from napari_denoisereg.losses.correlation import Correlation
from napari_denoisereg.method import setting
from napari_denoisereg.model import Model
from napari_denoisereg.networks.blind_spot import augment, quick_schedule
from napari_denoisereg.networks.deep_affine import DeepAffineNet
from napari_denoisereg.networks.denoisereg import match_histogram, shrink, to_world
from napari_denoisereg.register.descent import as_transforms, as_weights, correlate, descend, homogeneous, pyramid
from napari_denoisereg.register.registrar import Registrar, Score
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Pace, Progress, Steps
from napari_denoisereg.tiling import pad_to_multiple
from napari_denoisereg.training import Budget, Training

HELD_OUT = 8
AT_ONCE = 8 * 512**2
"""Voxels that are registered at a time."""


class DeepAffine(Registrar, kind="deep_affine"):
    """A network that predicts rotation, shift, scale and shear, trained on the movie; on noisy movies denoise first."""

    title: ClassVar[str] = "Deep affine (network)"
    reference: ClassVar[str] = "https://doi.org/10.1016/j.media.2018.11.010"
    is_trained: ClassVar[bool] = True

    seconds: float = setting(90.0, "Longest training time; whichever budget ends first.", unit="s", gt=0, le=1e6)
    iterations: int = setting(300_000, "Most training iterations.", ge=1, le=10_000_000)
    refinement: int = setting(15, "Descent steps per resolution after the network's prediction; 0 for none.", ge=0, le=500)
    size: int = setting(128, "Longest side that frames are shrunk to; 0 for full size.", unit="px", ge=0, le=8192)
    similarity: Similarity = setting(Correlation(), "What makes two images alike while training.")
    reach: int = setting(4, "Training pairs are at most so many frames apart.", ge=1, le=1000, advanced=True)
    batch: int = setting(8, "Pairs per iteration.", ge=1, le=256, advanced=True)
    learning_rate: float = setting(3e-3, "First step size of Adam; the paper's is 1e-4.", gt=0, le=0.1, advanced=True)
    augmentation: float = setting(0.3, "Chance that an image is turned and stretched.", ge=0, le=1, advanced=True)
    finest: int = setting(2, "Resolution the refinement ends at: 1 full, 2 half, ...", ge=1, le=16, advanced=True)
    every: int = setting(50, "The model is judged after every so many iterations; the best is kept.", ge=1, advanced=True)
    seed: int = setting(0, "Seed of all random choices.", ge=0, le=2**31 - 1, advanced=True)

    def fit(
        self,
        stacks: Sequence[Stack],
        *,
        start: Model | None = None,
        device: torch.device | str = "cpu",
        score: Score | None = None,
    ) -> Steps[Model]:
        """Train on stacks; see `Registrar.fit`. Without ``score`` the best is judged by the loss on held-out pairs."""
        pool = FramePool(stacks, seed=self.seed)
        network = self._network(pool.ndim, start).to(device).train()
        random = devices.generator(self.seed, device)
        aside = [self._images([pair], grid, device) for pair, grid in pool.hold_out_pairs(HELD_OUT, self.reach)]

        def loss(_: int) -> Tensor:
            pairs = self._images(*pool.pairs(self.batch, self.reach), device)
            fixed, moving = (augment(image, probability=self.augmentation, generator=random) for image in pairs)
            return self._unlike(network, fixed, moving)

        def validate() -> float:
            return sum(float(self._unlike(network, *pair)) for pair in aside) / len(aside)

        budget = Budget(
            iterations=self.iterations,
            seconds=self.seconds,
            learning_rate=self.learning_rate,
            schedule=quick_schedule(network),
            every=self.every,
        )
        blank = pool.model(self, seed=self.seed)
        training = Training(network, blank, budget, random=(pool.random, random), start=start)
        return (yield from training.run(loss, validate, score=score))

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

        The network sees the moving image as the start leaves it. With a refinement, both its prediction and the start are
        refined, and the better is kept.
        """
        if model is None:
            raise ValueError("Deep affine needs a trained model to align frames; call fit() first.")
        network = self._network(grid.ndim, model).to(fixed.device).eval()
        begin = list(start) if start is not None else [Identity(grid.ndim)] * len(fixed)
        pace, parts, at_once = Pace(), [], max(1, AT_ONCE // fixed[0].numel())
        for first in range(0, len(fixed), at_once):
            few = slice(first, first + at_once)
            parts.append(self._align_few(network, fixed[few], moving[few], grid, begin[few]))
            done = min(first + at_once, len(fixed))
            if pace.is_due(last=done == len(fixed)):
                yield Progress(done, len(fixed), "network and refinement")
        return as_transforms(torch.cat(parts))

    def _align_few(
        self, network: DeepAffineNet, fixed: Tensor, moving: Tensor, grid: Grid, begin: Sequence[Transform]
    ) -> Tensor:
        brought = torch.stack(
            [warp(each, known, fixed=grid, outside="edge") for each, known in zip(moving, begin, strict=True)]
        )
        one, two, small = _standardised(fixed, brought, grid, self.size)
        one, two = (pad_to_multiple(image, network.stride) for image in (one, two))
        with torch.inference_mode(), devices.autocast(fixed.device):
            predicted = network(one, two).cpu().double()
        # The network was trained on voxels of padded images: first to those, then to the world.
        voxels = homogeneous(to_world(predicted, Grid(tuple(one.shape[2:])))).numpy()
        rest = [from_voxel_matrix(each, small, small) for each in voxels]
        guess = as_weights([Affine.merge(each, known) for each, known in zip(rest, begin, strict=True)])
        if self.refinement == 0:
            return guess
        levels = pyramid(fixed, moving, grid, coarsest=32, finest=self.finest, blur=1.0)
        results = [descend(levels, each, "affine", iterations=self.refinement)[0] for each in (as_weights(begin), guess)]
        best = torch.stack([correlate(levels[-1], each) for each in results]).argmax(0)
        return torch.stack(results)[best, torch.arange(len(best))]

    def _images(self, drawn: Sequence[tuple[Tensor, Tensor]], grid: Grid, device: torch.device | str) -> tuple[Tensor, Tensor]:
        fixed, moving = (torch.stack([pair[side] for pair in drawn]).to(device) for side in (0, 1))
        one, two, _ = _standardised(fixed, moving, grid, self.size)
        return pad_to_multiple(one, 8), pad_to_multiple(two, 8)

    def _unlike(self, network: DeepAffineNet, fixed: Tensor, moving: Tensor) -> Tensor:
        """Similarity in both directions, a scalar."""
        grid = Grid(tuple(fixed.shape[2:]))
        points, total = grid.points(fixed.device), torch.zeros((), device=fixed.device)
        for one, two in ((fixed, moving), (moving, fixed)):
            with devices.autocast(fixed.device):
                weights = network(one, two)
            index = affine_points(to_world(weights, grid), points)
            total = total + 0.5 * self.similarity(one, sample(two, index), inside(index, grid.shape).unsqueeze(1)).mean()
        return total

    def _network(self, ndim: int, start: Model | None) -> DeepAffineNet:
        with devices.seeded(self.seed):
            network = DeepAffineNet(ndim)
        if start is not None:
            start.expect(type(self), ndim)
            network.load_state_dict(dict(start.weights))
        return network


def _standardised(fixed: Tensor, moving: Tensor, grid: Grid, size: int) -> tuple[Tensor, Tensor, Grid]:
    """Shrink, bring the fixed image to mean 0 and standard deviation 1, and match the moving one's histogram to it."""
    (one, small), (two, _) = (shrink(image, grid, size) for image in (fixed, moving))
    axes = tuple(range(1, one.ndim))
    one = (one - one.mean(axes, keepdim=True)) / one.std(axes, keepdim=True).clamp(min=torch.finfo(one.dtype).tiny)
    return one, match_histogram(two, one), small
