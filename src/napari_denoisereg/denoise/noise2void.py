"""Noise2Void: a blind-spot U-Net trained on the noisy movie itself, as DenoiseReg describes its denoising part.

Some voxels are replaced by a neighbour's value and the network predicts them from what is around. Noise that is independent
from voxel to voxel cannot be predicted, structure can: so the prediction is the structure. Noise that neighbours share could
be predicted from them: ``blind_spot`` and ``lines`` hide them as well (`networks.hidden_shapes`).

Block, widths, masked L1 loss, Adam (β 0.9 and 0.999), standardised input and affine augmentation with probability 0.3 are the
paper's. Patches instead of whole frames, a budget instead of its 300 000 iterations, and a schedule that makes short trainings
good (`networks.blind_spot.quick_schedule`) are ours; ``schedule="paper", learning_rate=1e-4`` trains as the paper does.
``checkerboard_free`` is N2V2's network, whose hidden voxels are replaced by a median (``replacement``). With
``likelihood="camera"`` the network tells how sure it is, and where it is not, the voxel's own value counts as much as the
noise measured in the movie allows (`networks.posterior`).

References
----------
DenoiseReg (ISBI 2022), section 2. Noise2Void (CVPR 2019), doi:10.1109/CVPR.2019.00223. N2V2, doi:10.1007/978-3-031-25069-9_33.
structN2V, doi:10.1109/ISBIWorkshops50223.2020.9153428.
"""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from napari_denoisereg import device as devices
from napari_denoisereg.denoise.trained import TrainedDenoiser
from napari_denoisereg.frame_pool import FramePool
from napari_denoisereg.frames import denoise_with_network, standardisation
from napari_denoisereg.method import setting
from napari_denoisereg.model import Model
from napari_denoisereg.networks.blind_spot import Masked, augment, blind_spot_loss, hide
from napari_denoisereg.networks.blind_spot_unet import BlindSpotUNet, TiledNetwork
from napari_denoisereg.networks.contrast import missing_contrast
from napari_denoisereg.networks.hidden_shapes import Lines, Replacement, Shape, hide_shapes
from napari_denoisereg.networks.posterior import PosteriorMean, negative_log_likelihood
from napari_denoisereg.noise import estimate_noise
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Steps
from napari_denoisereg.training_settings import seconds_at_most, tested_every

JUDGED, ROUNDS = 2**15, (2, 20)
"""A network is judged by so many hidden pixels, drawn in at least and at most so many rounds. With a tenth of them chance
decides which version is best (an early one was chosen once, 0.6 dB worse than the last)."""
PROBED, PROBED_FRAMES = 2**19, 8
"""Voxels that tell the contrast, drawn in patches from so many frames at a time; of a small movie four times its own."""


class Noise2Void(TrainedDenoiser, kind="noise2void"):
    """Network trained on the movie itself, frame by frame; for noise that differs from pixel to pixel (see the blind spot)."""

    title: ClassVar[str] = "Noise2Void (blind-spot network)"
    reference: ClassVar[str] = "https://doi.org/10.1109/CVPR.2019.00223"
    network_settings: ClassVar[tuple[str, ...]] = ("checkerboard_free", "likelihood")

    seconds: float = seconds_at_most(120.0)
    learning_rate: float = setting(
        3e-3, "Size of the first training steps; smaller is slower and steadier (paper: 0.0001).", gt=0, le=0.1, advanced=True
    )
    every: int = tested_every(100)
    blind_spot: Literal[1, 3, 5, 7] = setting(
        1, "Size of the area hidden around a pixel; make it larger if the noise is grainy or stays in the result.", unit="px"
    )
    lines: Lines = setting("none", "If the noise has stripes, their direction; they are then hidden as well.")
    likelihood: Literal["absolute", "camera"] = setting(
        "absolute", "absolute: as published. camera: measure the camera's noise, keep fine detail where the network is unsure."
    )
    checkerboard_free: bool = setting(False, "Use the network of N2V2, which avoids checkerboard patterns.")
    line_length: int = setting(
        11, "Length of the hidden piece of a stripe; even ones are rounded up.", unit="px", ge=3, le=101, advanced=True
    )
    replacement: Replacement = setting("neighbour", "What hidden pixels are replaced by; N2V2 takes the median.", advanced=True)
    masked: float = setting(0.05, "Share of the pixels of a patch that are hidden at a time.", gt=0, le=0.5, advanced=True)
    radius: int = setting(
        2, "Hidden pixels take the value of a pixel at most this far away.", unit="px", ge=1, le=10, advanced=True
    )
    augmentation: float = setting(
        0.3, "Chance that a patch is turned and stretched, for more variety.", ge=0, le=1, advanced=True
    )

    def fit(self, stacks: Sequence[Stack], *, start: Model | None = None, device: torch.device | str = "cpu") -> Steps[Model]:
        """Train on stacks; see `Denoiser.fit`."""
        pool = self.pool(stacks)
        network = self.network(pool.ndim, start).to(device).train()
        random = devices.generator(self.seed, device)
        aside = pool.hold_out(8, self.patch).to(device)
        rounds = min(max(ROUNDS[0], math.ceil(JUDGED / (self.masked * aside.numel()))), ROUNDS[1])

        def loss(_: int) -> Tensor:
            noisy = pool.patches(self.batch, self.patch).to(device)
            return self._loss(network, augment(noisy, probability=self.augmentation, generator=random), random)

        def validate() -> float:
            fixed = devices.generator(self.seed, device)
            return sum(float(self._loss(network, aside, fixed)) for _ in range(rounds)) / rounds

        training = self.training(network, pool, start=start, random=(random,))
        return (yield from training.run(loss, validate))

    def denoised(self, stack: Stack, model: Model, device: torch.device | str) -> Steps[Stack]:
        """Apply a model; see `TrainedDenoiser.denoised`."""
        trained = self.as_trained(model)
        network = trained.image_network(model, stack, device=device)
        # Noise that voxels share is neither measured nor told from structure: then nothing is taken from the voxel itself.
        if isinstance(network, PosteriorMean) and trained.shape(network.ndim).size == 1:
            network = _with_noise(network.network, stack)
        step = {"denoise": trained.to_dict(), "model": dict(model.provenance)}
        return (yield from denoise_with_network(stack, network, tile=self.tile, device=device, step=step))

    def image_network(self, model: Model, stack: Stack, *, device: torch.device | str = "cpu") -> TiledNetwork:
        """The network by itself, with the contrast that a stack has, for other programs, too.

        Parameters
        ----------
        model : Model
            Trained by this method.
        stack : Stack
            Without channel axis and defects (`noise.without_defects`): its contrast is measured, as in `denoised`.
        device : torch.device or str
            Where to compute.

        Returns
        -------
        TiledNetwork
            In evaluation mode; maps standardised frames ``(B, 1, *spatial)`` to denoised ones. With the likelihood of a camera
            it takes nothing from the voxel itself, for it does not know the noise of the frames it will be given; its contrast
            is right without measuring, for it predicts means.
        """
        trained = self.as_trained(model)
        network = trained.network(model.ndim, model).eval().to(device)
        if trained.likelihood == "camera":
            return PosteriorMean(network, 0.0, 0.0, math.inf).eval()
        _restore_contrast(network, stack, trained, device)
        return network

    def shape(self, ndim: int) -> Shape:
        """What is hidden around a voxel.

        Parameters
        ----------
        ndim : int
            Number of spatial axes.

        Returns
        -------
        Shape
            Of this dimension.
        """
        return Shape(ndim, self.blind_spot, self.lines, self.line_length)

    def hidden(self, noisy: Tensor, random: torch.Generator) -> Masked:
        """Hide voxels as the training does.

        Parameters
        ----------
        noisy : Tensor
            ``(B, 1, *spatial)``, standardised.
        random : torch.Generator
            On its device.

        Returns
        -------
        Masked
            Where voxels are hidden, and what stands in their place.
        """
        shape = self.shape(noisy.ndim - 2)
        if shape.size == 1 and self.replacement == "neighbour":
            return hide(noisy, share=self.masked, radius=self.radius, generator=random)
        return hide_shapes(noisy, shape, share=self.masked, radius=self.radius, replacement=self.replacement, generator=random)

    def _loss(self, network: BlindSpotUNet, noisy: Tensor, random: torch.Generator) -> Tensor:
        hidden = self.hidden(noisy, random)
        with devices.autocast(noisy.device):
            predicted = network(hidden.image)
        measure = negative_log_likelihood if self.likelihood == "camera" else blind_spot_loss
        return measure(predicted.float(), noisy, hidden.mask)

    def network(self, ndim: int, start: Model | None) -> BlindSpotUNet:
        """Build the network; see `TrainedDenoiser.network`."""
        outputs = 2 if self.likelihood == "camera" else 1
        return self.started(lambda: BlindSpotUNet(ndim, outputs=outputs, checkerboard_free=self.checkerboard_free), ndim, start)


def _with_noise(network: TiledNetwork, stack: Stack) -> PosteriorMean:
    mean, std = standardisation(stack)
    noise = estimate_noise(stack)
    base, floor = (noise.gain * mean + noise.base) / std**2, 0.5 * noise.floor / std**2
    return PosteriorMean(network, noise.gain / std, base, floor)


def _restore_contrast(network: BlindSpotUNet, stack: Stack, method: Noise2Void, device: torch.device | str) -> None:
    """Give a network, in place, the contrast of a stack, by what it predicts for hidden voxels; see `networks.contrast`.

    Measured where noise is as strong as the structure: contrast 0.93 of the true one, 0.5 dB lost without.
    """
    pool, random = FramePool([stack], size=PROBED_FRAMES, seed=method.seed), devices.generator(method.seed, device)
    predicted, noisy = list[Tensor](), list[Tensor]()
    probed = min(PROBED, 4 * stack.n_frames * math.prod(stack.grid.shape))
    for _ in range(max(1, probed // (method.batch * method.patch**network.ndim))):
        patches = pool.patches(method.batch, method.patch).to(device)
        hidden = method.hidden(patches, random)
        with torch.inference_mode(), devices.autocast(patches.device):
            predicted.append(network(hidden.image).float()[hidden.mask].cpu())
        noisy.append(patches[hidden.mask].cpu())
    around = torch.cat(predicted).double()
    network.rescale(float(missing_contrast((around - around.mean())[None], torch.cat(noisy)[None])))
