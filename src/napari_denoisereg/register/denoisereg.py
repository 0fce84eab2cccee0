"""DenoiseReg: one network denoises a movie and registers its frames, trained on the movie itself.

The network and its loss are the paper's (`networks.denoisereg`). What is ours: frames are shrunk by block means for the
registration part, and noise is also learnt from patches at full resolution, so that a model trained in minutes on a laptop
denoises full frames; a schedule makes short trainings good (``size=0, schedule="paper", learning_rate=1e-4`` and enough
``seconds`` train as the paper does); and the predicted transform is refined by a
few Gauss-Newton steps on the denoised pair (``refinement=0`` leaves the network's own; a start that is given is then kept).

References
----------
DenoiseReg: Unsupervised Joint Denoising and Registration of Time-Lapse Live Cell Microscopy Images Using Deep Learning, ISBI
2022.
"""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from napari_denoisereg import device as devices
from napari_denoisereg.frame_pool import FramePool
from napari_denoisereg.frames import denoise_with_network
from napari_denoisereg.geometry import Grid, Identity, Transform
from napari_denoisereg.geometry.conventions import from_voxel_matrix
from napari_denoisereg.method import setting
from napari_denoisereg.model import Model
from napari_denoisereg.networks.blind_spot import Masked, Schedule, augment, blind_spot_loss, hide, quick_schedule
from napari_denoisereg.networks.blind_spot_unet import BlindSpotUNet, predict
from napari_denoisereg.networks.denoisereg import (
    DenoiseRegNet,
    joint_loss,
    longest_side,
    match_histogram,
    shrink,
    to_world,
)
from napari_denoisereg.register.descent import (
    Pyramid,
    as_transforms,
    as_weights,
    correlate,
    descend,
    homogeneous,
    pyramid,
)
from napari_denoisereg.register.registrar import Registrar, Score
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Pace, Progress, Steps
from napari_denoisereg.tiling import pad_to_multiple
from napari_denoisereg.training import Budget, Training

Pair = tuple[Tensor, Tensor]


class DenoiseReg(Registrar, kind="denoisereg"):
    """One network that denoises and registers, trained on the movie itself; its prediction is refined on denoised frames."""

    title: ClassVar[str] = "DenoiseReg (joint network)"
    reference: ClassVar[str] = "https://doi.org/10.1109/ISBI52829.2022"
    is_trained: ClassVar[bool] = True
    is_denoiser: ClassVar[bool] = True

    seconds: float = setting(90.0, "Longest training time; whichever budget ends first.", unit="s", gt=0, le=1e6)
    iterations: int = setting(300_000, "Most training iterations.", ge=1, le=10_000_000)
    refinement: int = setting(15, "Descent steps per resolution after the network's prediction; 0 for none.", ge=0, le=500)
    size: int = setting(
        128, "Longest side that frames are shrunk to for the registration part; 0 for full size.", unit="px", ge=0, le=8192
    )
    reach: int = setting(4, "Training pairs are at most so many frames apart.", ge=1, le=1000, advanced=True)
    batch: int = setting(4, "Pairs per iteration.", ge=1, le=64, advanced=True)
    patch: int = setting(64, "Side of full-resolution patches.", unit="px", ge=16, le=1024, multiple_of=8, advanced=True)
    learning_rate: float = setting(3e-3, "First step size of Adam; the paper's is 1e-4.", gt=0, le=0.1, advanced=True)
    schedule: Schedule = setting(
        "quick", "quick: steps fall and normalisation is fixed early, for minutes; paper: neither, for days.", advanced=True
    )
    masked: float = setting(0.05, "Share of voxels hidden.", gt=0, le=0.5, advanced=True)
    radius: int = setting(2, "Hidden voxels take a value from at most so far away.", unit="px", ge=1, le=10, advanced=True)
    augmentation: float = setting(0.3, "Chance that an image is turned and stretched.", ge=0, le=1, advanced=True)
    finest: int = setting(2, "Resolution the refinement ends at: 1 full, 2 half, ...", ge=1, le=16, advanced=True)
    tile: int = setting(512, "Side of the tiles that large frames are denoised in.", unit="px", ge=32, le=8192, advanced=True)
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
        """Train on stacks; see `Registrar.fit`.

        Without ``score`` the best is judged by eq. 4 itself, on eight held-out pairs with fixed hidden voxels.
        """
        pool = FramePool(stacks, seed=self.seed)
        network = self._network(pool.ndim, start).to(device).train()
        random = devices.generator(self.seed, device)
        aside = [pair for drawn, grid in pool.hold_out_pairs(8, self.reach) for pair in self._shrunk([drawn], grid, device)]

        def loss(_: int) -> Tensor:
            pairs = self._shrunk(*pool.pairs(self.batch, self.reach), device)
            fixed = augment(torch.cat([pair[0] for pair in pairs]), probability=self.augmentation, generator=random)
            moving = augment(torch.cat([pair[1] for pair in pairs]), probability=self.augmentation, generator=random)
            total = self._joint(network, (fixed, moving), random)
            if self.size:
                total = total + self._patch_loss(network, pool.patches(self.batch, self.patch).to(device), random)
            return total

        def validate() -> float:
            fixed = devices.generator(self.seed, device)
            return sum(float(self._joint(network, pair, fixed)) for pair in aside) / len(aside)

        budget = Budget(
            iterations=self.iterations,
            seconds=self.seconds,
            learning_rate=self.learning_rate,
            schedule=quick_schedule(network) if self.schedule == "quick" else None,
            every=self.every,
        )
        training = Training(network, pool.model(self, seed=self.seed), budget, random=(pool.random, random), start=start)
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

        The network's prediction and the start (or the identity) are both refined on the denoised pair; the better is kept.
        """
        if model is None:
            raise ValueError("DenoiseReg needs a trained model to align frames; call fit() first.")
        network = self._network(grid.ndim, model).to(fixed.device).eval()
        pace, parts, at_once = Pace(), [], max(1, 8 * 512**2 // fixed[0].numel())
        for first in range(0, len(fixed), at_once):
            few = slice(first, first + at_once)
            known = None if start is None else as_weights(start[few])
            parts.append(self._align_few(network, (fixed[few], moving[few]), grid, known))
            done = min(first + at_once, len(fixed))
            if pace.is_due(last=done == len(fixed)):
                yield Progress(done, len(fixed), "network and refinement")
        return as_transforms(torch.cat(parts))

    def denoise(self, stack: Stack, *, model: Model, device: torch.device | str = "cpu") -> Steps[Stack]:
        """Denoise with the joint network; see `Registrar.denoise`."""
        model.expect(type(self), stack.grid.ndim)
        network = self._network(stack.grid.ndim, model).denoiser
        step = {"denoise": self.to_dict(), "model": dict(model.provenance)}
        return (yield from denoise_with_network(stack, network, tile=self.tile, device=device, step=step))

    def image_network(self, model: Model) -> BlindSpotUNet:
        """The denoising network by itself, for other programs.

        Parameters
        ----------
        model : Model
            Trained by this method.

        Returns
        -------
        BlindSpotUNet
            In evaluation mode; maps standardised frames ``(B, 1, *spatial)`` to denoised ones.
        """
        return self._network(model.ndim, model).denoiser.eval()

    def _align_few(self, network: DenoiseRegNet, pair: Pair, grid: Grid, known: Tensor | None) -> Tensor:
        shrunk, small = _standardised(pair, grid, self.size)
        stride = network.denoiser.stride
        padded = [pad_to_multiple(image, stride) for image in shrunk]
        with torch.inference_mode(), devices.autocast(pair[0].device):
            predicted = network.predict(*padded).cpu().double()
        # The network was trained on voxels of padded images: first to those, then to the world.
        voxels = homogeneous(to_world(predicted, Grid(tuple(padded[0].shape[2:])))).numpy()
        predicted = as_weights([from_voxel_matrix(each, small, small) for each in voxels])
        if self.refinement == 0:
            return predicted if known is None else known
        # A start says where the images are about; the network's prediction is an alternative to it.
        identity = as_weights([Identity(grid.ndim)] * len(predicted))
        starts = [identity if known is None else known, predicted]
        levels = self._denoised_levels(network, pair, grid)
        results = [descend(levels, begin, "affine", iterations=self.refinement) for begin in starts]
        weights = torch.stack([result[0] for result in results])
        best = torch.stack([correlate(levels[-1], result[0]) for result in results]).argmax(0)
        return weights[best, torch.arange(len(best))]

    def _denoised_levels(self, network: DenoiseRegNet, pair: Pair, grid: Grid) -> list[Pyramid]:
        half, coarse = _standardised(pair, grid, math.ceil(longest_side(grid) / self.finest - 1e-6))
        fixed, moving = half
        # A series to the first frame gives that frame again and again: it is denoised once.
        once = fixed[:1] if pair[0].stride(0) == 0 else fixed
        denoised = [predict(network.denoiser, image, self.tile)[:, 0] for image in (once, moving)]
        return pyramid(denoised[0].expand_as(denoised[1]), denoised[1], coarse, coarsest=32, finest=1)

    def _shrunk(self, drawn: Sequence[Pair], grid: Grid, device: torch.device | str) -> list[Pair]:
        """Pairs shrunk and matched in intensities, each ``(1, 1, *small)``; sides are multiples of 8."""
        pairs = []
        for frames in drawn:
            fixed, moving = (shrink(frame[None].to(device), grid, self.size)[0] for frame in frames)
            pairs.append((pad_to_multiple(fixed, 8), pad_to_multiple(match_histogram(moving, fixed), 8)))
        return pairs

    def _joint(self, network: DenoiseRegNet, noisy: Pair, random: torch.Generator) -> Tensor:
        hidden = tuple(hide(image, share=self.masked, radius=self.radius, generator=random) for image in noisy)
        with devices.autocast(noisy[0].device):
            return joint_loss(network, noisy, (hidden[0], hidden[1]), Grid(tuple(noisy[0].shape[2:])))

    def _patch_loss(self, network: DenoiseRegNet, noisy: Tensor, random: torch.Generator) -> Tensor:
        hidden: Masked = hide(noisy, share=self.masked, radius=self.radius, generator=random)
        with devices.autocast(noisy.device):
            return blind_spot_loss(network.denoiser(hidden.image).float(), noisy, hidden.mask)

    def _network(self, ndim: int, start: Model | None) -> DenoiseRegNet:
        with devices.seeded(self.seed):
            network = DenoiseRegNet(ndim)
        if start is not None:
            start.expect(type(self), ndim)
            network.load_state_dict(dict(start.weights))
        return network


def _standardised(pair: Pair, grid: Grid, size: int) -> tuple[Pair, Grid]:
    """Shrink, bring the fixed image to mean 0 and standard deviation 1, and match the moving one's histogram to it."""
    (fixed, small), (moving, _) = (shrink(image, grid, size) for image in pair)
    axes = tuple(range(1, fixed.ndim))
    fixed = (fixed - fixed.mean(axes, keepdim=True)) / fixed.std(axes, keepdim=True).clamp(min=torch.finfo(fixed.dtype).tiny)
    return (fixed, match_histogram(moving, fixed)), small
