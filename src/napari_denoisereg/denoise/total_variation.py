"""Total variation: flat areas with sharp edges, frame by frame; no training. Noise is made alike everywhere first.

Photon noise grows with the light, so one strength would blur what is dark or leave noise in what is bright. The generalised
Anscombe transform (`noise`) makes it alike, scikit-image's filter takes it away, and the exact unbiased inverse restores the
intensities. How strongly is chosen by J-invariance: pixels are hidden, and the strength that predicts them best from those
around them is best for the clean frame, too, as independent noise cannot be predicted.

References
----------
Chambolle 2004, doi:10.1023/B:JMIV.0000011325.36760.1e. Batson and Royer 2019,
https://proceedings.mlr.press/v97/batson19a.html.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.restoration import calibrate_denoiser, denoise_tv_chambolle
from torch import Tensor

from napari_denoisereg.denoise.denoiser import Denoiser
from napari_denoisereg.frames import denoise_frames
from napari_denoisereg.method import setting
from napari_denoisereg.model import Model
from napari_denoisereg.noise import DEFECT, NoiseModel, estimate_noise, repair
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Steps

WEIGHTS = (0.3, 0.5, 0.8, 1.2, 1.8, 2.7, 4.0)
SIDE = 192  # voxels: the strength is chosen on the middle of a frame


class TotalVariation(Denoiser, kind="total_variation"):
    """Smooths flat areas and keeps edges, frame by frame, with a strength chosen from the movie; instant, no training."""

    title: ClassVar[str] = "Total variation (strength from the movie)"
    reference: ClassVar[str] = "https://doi.org/10.1023/B:JMIV.0000011325.36760.1e"

    weight: float = setting(0.0, "Strength, in standard deviations of the noise; 0 chooses it from the movie.", ge=0, le=100)

    def run(
        self,
        stack: Stack,
        *,
        model: Model | None = None,  # noqa: ARG002 - nothing is trained
        device: torch.device | str = "cpu",
    ) -> Steps[Stack]:
        """Denoise a stack; see `Denoiser.run`."""
        noise = estimate_noise(stack)
        weight = self.weight or best_weight(stack, noise)

        def denoise(noisy: Tensor, _: Sequence[int]) -> Tensor:
            return torch.stack([_one(frame[0], noise, weight)[None] for frame in noisy])

        step = {"denoise": {**self.to_dict(), "weight": weight}}
        return (yield from denoise_frames(stack, denoise, device=device, batch=1, step=step))


def best_weight(stack: Stack, noise: NoiseModel) -> float:
    """The strength that predicts hidden pixels of the middle frame best.

    Parameters
    ----------
    stack : Stack
        Without channel axis.
    noise : NoiseModel
        Of the stack.

    Returns
    -------
    float
        One of `WEIGHTS`; the middle one where frames are too small to hide pixels.
    """
    frame = repair(stack.tensor([stack.n_frames // 2])[0], noise)
    for axis, length in enumerate(frame.shape):
        frame = frame.narrow(axis, max(0, (length - SIDE) // 2), min(SIDE, length))
    if min(frame.shape) < 8:
        return WEIGHTS[len(WEIGHTS) // 2]
    image = noise.stabilise(frame).numpy().astype(np.float64)
    _, (choices, losses) = calibrate_denoiser(
        image, _filtered, {"weight": list(WEIGHTS)}, stride=4, approximate_loss=True, extra_output=True
    )
    return float(choices[int(np.argmin(losses))]["weight"])


def _filtered(image: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    return np.asarray(denoise_tv_chambolle(image, weight=weight), np.float64)


def _one(noisy: Tensor, noise: NoiseModel, weight: float) -> Tensor:
    image = noise.stabilise(repair(noisy, noise)).cpu().numpy().astype(np.float64)
    clean = noise.restore(torch.from_numpy(_filtered(image, weight))).to(noisy)
    # Flattening transformed values lowers the mean a little; the frame's own mean, without its defects, is the right one.
    return clean + (repair(noisy, noise, far=DEFECT).mean() - clean.mean())
