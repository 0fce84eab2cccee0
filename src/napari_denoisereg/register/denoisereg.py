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
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from napari_denoisereg import device as devices
from napari_denoisereg.frame_pool import FramePool
from napari_denoisereg.frames import denoise_with_network
from napari_denoisereg.geometry import Grid
from napari_denoisereg.method import setting
from napari_denoisereg.model import Model
from napari_denoisereg.networks.blind_spot import Masked, Schedule, augment, blind_spot_loss, hide, quick_schedule
from napari_denoisereg.networks.blind_spot_unet import BlindSpotUNet, predict
from napari_denoisereg.networks.denoisereg import DenoiseRegNet, joint_loss, longest_side, match_histogram, shrink
from napari_denoisereg.register.affine_network import HELD_OUT, STRIDE, AffineNetworkRegistrar, Pair, standardised
from napari_denoisereg.register.descent import Pyramid, pyramid
from napari_denoisereg.register.trained import Objective
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Steps
from napari_denoisereg.tiling import pad_to_multiple
from napari_denoisereg.training_settings import number_in_a_step, patch_size


class DenoiseReg(AffineNetworkRegistrar, kind="denoisereg"):
    """One network that denoises and registers, trained on the movie itself; its prediction is refined on denoised frames."""

    title: ClassVar[str] = "DenoiseReg (joint network)"
    reference: ClassVar[str] = "https://doi.org/10.1109/ISBI52829.2022"
    is_denoiser: ClassVar[bool] = True

    size: int = setting(
        128, "Frames are shrunk to this longest side for registration; 0 keeps full size.", unit="px", ge=0, le=8192
    )
    batch: int = number_in_a_step(4, "pairs of frames", 64)
    patch: int = patch_size(64, "Size of the full-resolution pieces that denoising is trained on.")
    schedule: Schedule = setting(
        "quick", "quick: for trainings that take minutes. paper: as published, for trainings that take days.", advanced=True
    )
    masked: float = setting(0.05, "Share of the pixels that are hidden at a time.", gt=0, le=0.5, advanced=True)
    radius: int = setting(
        2, "Hidden pixels take the value of a pixel at most this far away.", unit="px", ge=1, le=10, advanced=True
    )
    tile: int = setting(
        512,
        "Large frames are denoised in square tiles of this size; smaller tiles need less memory.",
        unit="px",
        ge=32,
        le=8192,
        advanced=True,
    )

    def _objective(self, network: DenoiseRegNet, pool: FramePool, device: torch.device | str) -> Objective:
        """Eq. 4, judged on held-out pairs with fixed hidden voxels."""
        random = devices.generator(self.seed, device)
        held_out = pool.hold_out_pairs(HELD_OUT, self.reach)
        aside = [pair for drawn, grid in held_out for pair in self._shrunk([drawn], grid, device)]

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

        return Objective(loss, validate, (random,))

    def _build(self, ndim: int) -> DenoiseRegNet:
        return DenoiseRegNet(ndim)

    def _schedule(self, network: nn.Module) -> Callable[[float], float] | None:
        return quick_schedule(network) if self.schedule == "quick" else None

    def _predict(self, network: DenoiseRegNet, fixed: Tensor, moving: Tensor) -> Tensor:
        return network.predict(fixed, moving)

    def _levels(self, network: DenoiseRegNet, pair: Pair, grid: Grid) -> list[Pyramid]:
        """The denoised pair."""
        half, coarse = standardised(pair, grid, math.ceil(longest_side(grid) / self.finest - 1e-6))
        fixed, moving = half
        # A series to the first frame gives that frame again and again: it is denoised once.
        once = fixed[:1] if pair[0].stride(0) == 0 else fixed
        denoised = [predict(network.denoiser, image, self.tile)[:, 0] for image in (once, moving)]
        return pyramid(denoised[0].expand_as(denoised[1]), denoised[1], coarse, coarsest=32, finest=1)

    def denoise(self, stack: Stack, *, model: Model, device: torch.device | str = "cpu") -> Steps[Stack]:
        """Denoise with the joint network; see `Registrar.denoise`."""
        model.expect(type(self), stack.grid.ndim)
        network = self._network(stack.grid.ndim, model).denoiser
        step = {"denoise": self.to_dict(), "model": dict(model.provenance)}
        return (yield from denoise_with_network(stack, network, tile=self.tile, device=device, step=step))

    def image_network(self, model: Model, stack: Stack) -> BlindSpotUNet:  # noqa: ARG002 - as `Noise2Void.image_network`
        """The denoising network by itself, for other programs.

        Parameters
        ----------
        model : Model
            Trained by this method.
        stack : Stack
            Not looked at: `denoise` leaves the contrast as it was learnt, too.

        Returns
        -------
        BlindSpotUNet
            In evaluation mode; maps standardised frames ``(B, 1, *spatial)`` to denoised ones.
        """
        network: DenoiseRegNet = self._network(model.ndim, model)
        return network.denoiser.eval()

    def _shrunk(self, drawn: Sequence[Pair], grid: Grid, device: torch.device | str) -> list[Pair]:
        """Pairs shrunk and matched in intensities, each ``(1, 1, *small)``; sides are multiples of 8."""
        pairs = []
        for frames in drawn:
            fixed, moving = (shrink(frame[None].to(device), grid, self.size)[0] for frame in frames)
            pairs.append((pad_to_multiple(fixed, STRIDE), pad_to_multiple(match_histogram(moving, fixed), STRIDE)))
        return pairs

    def _joint(self, network: DenoiseRegNet, noisy: Pair, random: torch.Generator) -> Tensor:
        hidden = tuple(hide(image, share=self.masked, radius=self.radius, generator=random) for image in noisy)
        with devices.autocast(noisy[0].device):
            return joint_loss(network, noisy, (hidden[0], hidden[1]), Grid(tuple(noisy[0].shape[2:])))

    def _patch_loss(self, network: DenoiseRegNet, noisy: Tensor, random: torch.Generator) -> Tensor:
        hidden: Masked = hide(noisy, share=self.masked, radius=self.radius, generator=random)
        with devices.autocast(noisy.device):
            return blind_spot_loss(network.denoiser(hidden.image).float(), noisy, hidden.mask)
