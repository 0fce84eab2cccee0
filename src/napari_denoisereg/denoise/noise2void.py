"""Noise2Void: a blind-spot U-Net trained on the noisy movie itself, as DenoiseReg describes its denoising part.

Some voxels are replaced by a neighbour's value and the network predicts them from what is around. Noise that is independent
from voxel to voxel cannot be predicted, structure can: so the prediction is the structure. Correlated noise (line noise,
deconvolved data) breaks that assumption.

Block, widths, masked L1 loss, Adam (β 0.9 and 0.999), standardised input and affine augmentation with probability 0.3 are the
paper's. Patches instead of whole frames, a budget instead of its 300 000 iterations, and a schedule that makes short trainings
good (`networks.blind_spot.quick_schedule`) are ours; ``schedule="paper", learning_rate=1e-4`` trains as the paper does.

References
----------
DenoiseReg (ISBI 2022), section 2. Noise2Void (CVPR 2019), doi:10.1109/CVPR.2019.00223.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from napari_denoisereg import device as devices
from napari_denoisereg.denoise.denoiser import Denoiser
from napari_denoisereg.frame_pool import FramePool
from napari_denoisereg.frames import denoise_with_network
from napari_denoisereg.method import setting
from napari_denoisereg.model import Model
from napari_denoisereg.networks.blind_spot import Schedule, augment, blind_spot_loss, hide, quick_schedule
from napari_denoisereg.networks.blind_spot_unet import BlindSpotUNet
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Steps, portion
from napari_denoisereg.training import Budget, Training


class Noise2Void(Denoiser, kind="noise2void"):
    """Blind-spot U-Net trained on the movie itself; needs noise that is independent from voxel to voxel."""

    title: ClassVar[str] = "Noise2Void (blind-spot network)"
    reference: ClassVar[str] = "https://doi.org/10.1109/CVPR.2019.00223"
    is_trained: ClassVar[bool] = True

    seconds: float = setting(60.0, "Longest training time; whichever budget ends first.", unit="s", gt=0, le=1e6)
    iterations: int = setting(300_000, "Most training iterations.", ge=1, le=10_000_000)
    patch: int = setting(64, "Side of the training patches.", unit="px", ge=16, le=1024, multiple_of=8)
    batch: int = setting(8, "Patches per iteration.", ge=1, le=256, advanced=True)
    learning_rate: float = setting(3e-3, "First step size of Adam; the paper's is 1e-4.", gt=0, le=0.1, advanced=True)
    schedule: Schedule = setting(
        "quick", "quick: steps fall and normalisation is fixed early, for minutes; paper: neither, for days.", advanced=True
    )
    masked: float = setting(0.05, "Share of voxels hidden in each patch.", gt=0, le=0.5, advanced=True)
    radius: int = setting(2, "Hidden voxels take a value from at most so far away.", unit="px", ge=1, le=10, advanced=True)
    augmentation: float = setting(0.3, "Chance that a patch is turned and stretched.", ge=0, le=1, advanced=True)
    tile: int = setting(512, "Side of the tiles that large frames are denoised in.", unit="px", ge=32, le=8192, advanced=True)
    every: int = setting(25, "The model is judged after every so many iterations; the best is kept.", ge=1, advanced=True)
    seed: int = setting(0, "Seed of all random choices.", ge=0, le=2**31 - 1, advanced=True)

    def fit(self, stacks: Sequence[Stack], *, start: Model | None = None, device: torch.device | str = "cpu") -> Steps[Model]:
        """Train on stacks; see `Denoiser.fit`."""
        pool = FramePool(stacks, seed=self.seed)
        network = self._network(pool.ndim, start).to(device).train()
        random = devices.generator(self.seed, device)
        aside = pool.hold_out(8, self.patch).to(device)

        def loss(_: int) -> Tensor:
            noisy = pool.patches(self.batch, self.patch).to(device)
            return self._loss(network, augment(noisy, probability=self.augmentation, generator=random), random)

        def validate() -> float:
            fixed = devices.generator(self.seed, device)
            return sum(float(self._loss(network, aside, fixed)) for _ in range(2)) / 2

        budget = Budget(
            iterations=self.iterations,
            seconds=self.seconds,
            learning_rate=self.learning_rate,
            schedule=quick_schedule(network) if self.schedule == "quick" else None,
            every=self.every,
        )
        training = Training(network, pool.model(self, seed=self.seed), budget, random=(pool.random, random), start=start)
        return (yield from training.run(loss, validate))

    def _loss(self, network: BlindSpotUNet, noisy: Tensor, random: torch.Generator) -> Tensor:
        hidden = hide(noisy, share=self.masked, radius=self.radius, generator=random)
        with devices.autocast(noisy.device):
            predicted = network(hidden.image)
        return blind_spot_loss(predicted.float(), noisy, hidden.mask)

    def run(self, stack: Stack, *, model: Model | None = None, device: torch.device | str = "cpu") -> Steps[Stack]:
        """Denoise a stack; see `Denoiser.run`."""
        if model is None:
            model = yield from portion(self.fit([stack], device=device), 0.0, 0.9)
            return (yield from portion(self._apply(stack, model, device), 0.9, 1.0))
        model.expect(type(self), stack.grid.ndim)
        return (yield from self._apply(stack, model, device))

    def image_network(self, model: Model) -> BlindSpotUNet:
        """The network by itself, for other programs.

        Parameters
        ----------
        model : Model
            Trained by this method.

        Returns
        -------
        BlindSpotUNet
            In evaluation mode; maps standardised frames ``(B, 1, *spatial)`` to denoised ones.
        """
        return self._network(model.ndim, model).eval()

    def _apply(self, stack: Stack, model: Model, device: torch.device | str) -> Steps[Stack]:
        network = self._network(stack.grid.ndim, model)
        step = {"denoise": self.to_dict(), "model": dict(model.provenance)}
        return (yield from denoise_with_network(stack, network, tile=self.tile, device=device, step=step))

    def _network(self, ndim: int, start: Model | None) -> BlindSpotUNet:
        with devices.seeded(self.seed):
            network = BlindSpotUNet(ndim)
        if start is not None:
            start.expect(type(self), ndim)
            network.load_state_dict(dict(start.weights))
        return network
