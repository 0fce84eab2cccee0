"""Gaussian filter whose width is chosen by J-invariance: no training, no ground truth, milliseconds per frame.

A filter that does not see the voxel it predicts (its kernel without the centre, rescaled) cannot reproduce independent noise,
so the mean squared difference to the noisy frame is smallest for the width that is best for the clean one. For a Gaussian
this needs one filtering per width: with centre weight ``w``, the blind prediction is ``(G*x - w x) / (1 - w)``.

References
----------
Batson and Royer 2019, Noise2Self, https://proceedings.mlr.press/v97/batson19a.html.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor

from napari_denoisereg.denoise.denoiser import Denoiser
from napari_denoisereg.frames import denoise_frames
from napari_denoisereg.geometry import smooth
from napari_denoisereg.method import setting
from napari_denoisereg.model import Model
from napari_denoisereg.noise import without_defects
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Steps

WIDTHS = (0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5, 3.2, 4.0, 5.0)


class Gaussian(Denoiser, kind="gaussian"):
    """Gaussian blur with a width chosen from the movie itself; instant, but blurs fine detail."""

    title: ClassVar[str] = "Gaussian (width from the movie)"
    reference: ClassVar[str] = "https://proceedings.mlr.press/v97/batson19a.html"

    sigma: float = setting(0.0, "Width of the blur (standard deviation); 0 chooses it from the movie.", unit="px", ge=0, le=50)

    def run(
        self,
        stack: Stack,
        *,
        model: Model | None = None,  # noqa: ARG002 - nothing is trained
        device: torch.device | str = "cpu",
    ) -> Steps[Stack]:
        """Denoise a stack; see `Denoiser.run`."""
        stack = without_defects(stack)
        ratios = [min(stack.grid.spacing) / step for step in stack.grid.spacing]
        sigma = self.sigma or best_width(stack, ratios, device)
        widths = [sigma * ratio for ratio in ratios]
        batch = max(1, 8 * 512**2 // math.prod(stack.grid.shape))
        step = {"denoise": {**self.to_dict(), "sigma": sigma}}
        return (yield from denoise_frames(stack, lambda noisy, _: smooth(noisy, widths), device=device, batch=batch, step=step))


def best_width(stack: Stack, ratios: list[float], device: torch.device | str = "cpu") -> float:
    """The width that predicts hidden voxels best, from at most four evenly spaced frames.

    Parameters
    ----------
    stack : Stack
        Without channel axis.
    ratios : list of float
        Width along each axis for a width of 1.
    device : torch.device or str
        Where to compute.

    Returns
    -------
    float
        Voxels of the finest axis.
    """
    count = min(4, stack.n_frames)
    chosen = sorted({round(number * (stack.n_frames - 1) / max(1, count - 1)) for number in range(count)})
    errors = torch.zeros(len(WIDTHS), dtype=torch.float64)
    for frame in chosen:
        noisy = stack.tensor([frame], device)[None]
        errors += torch.tensor([_blind_error(noisy, [width * ratio for ratio in ratios]) for width in WIDTHS])
    return WIDTHS[int(errors.argmin())]


def _blind_error(noisy: Tensor, widths: list[float]) -> float:
    # The kernel's own centre weight: the middle of a smoothed pulse, in a box that holds the kernel.
    box = [2 * math.ceil(3 * width) + 3 for width in widths]
    pulse = torch.zeros(1, 1, *box)
    centre = (0, 0, *(size // 2 for size in box))
    pulse[centre] = 1.0
    weight = float(smooth(pulse, widths)[centre])
    blind = (smooth(noisy, widths) - weight * noisy) / max(1 - weight, 1e-6)
    return float(((blind - noisy) ** 2).double().mean())
