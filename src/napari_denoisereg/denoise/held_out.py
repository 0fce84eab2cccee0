"""Which denoiser, which setting? The one that predicts pixels best which it was not shown. No clean image is needed.

Some pixels of every frame are replaced by the mean of their nearest neighbours and fresh noise of the strength measured in the
movie, as if they had been imaged again; the movie is denoised, and the result is compared with the values that were there.
Their noise is independent of all that the denoiser saw, so it adds the same to every candidate's error: the smallest error is
the one nearest to the clean movie. Hidden pixels are another set in every frame, so what neighbouring frames tell of them
counts.

References
----------
Batson and Royer 2019, Noise2Self, https://proceedings.mlr.press/v97/batson19a.html.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from napari_denoisereg import device as devices
from napari_denoisereg.denoise.denoiser import Denoiser
from napari_denoisereg.geometry import PerFrame
from napari_denoisereg.noise import NoiseModel, estimate_noise, repair
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Steps, portion

APART = 4  # pixels between hidden ones, along each axis
SEED = 0  # of the fresh noise: the same for every candidate
FRAMES = 7  # so many from the middle of the movie are looked at


def best_of(
    stack: Stack, candidates: Sequence[Denoiser], *, motion: PerFrame | None = None, device: torch.device | str = "cpu"
) -> Steps[Denoiser]:
    """The candidate that predicts hidden pixels best.

    Parameters
    ----------
    stack : Stack
        Without channel axis. Its noise must be independent from pixel to pixel.
    candidates : sequence of Denoiser
        Methods, or one method with different settings; those with a network are trained for the comparison.
    motion : PerFrame, optional
        Frame 0 to every frame, for candidates that use it.
    device : torch.device or str
        Where to compute.

    Returns
    -------
    Steps of Denoiser
        One of the candidates; the first of equals.

    Raises
    ------
    ValueError
        When there are no candidates.
    """
    if not candidates:
        raise ValueError("Expected denoisers to choose from, got none; pass at least one.")
    errors, count = list[float](), len(candidates)
    for number, candidate in enumerate(candidates):
        steps = held_out_error(stack, candidate, motion=motion, device=device)
        errors.append((yield from portion(steps, number / count, (number + 1) / count)))
    return candidates[errors.index(min(errors))]


def held_out_error(
    stack: Stack, denoiser: Denoiser, *, motion: PerFrame | None = None, device: torch.device | str = "cpu"
) -> Steps[float]:
    """Mean squared difference between hidden noisy pixels and what a denoiser says of them.

    Parameters
    ----------
    stack, motion, device
        See `best_of`.
    denoiser : Denoiser
        To be judged.

    Returns
    -------
    Steps of float
        Squared intensities: error of the denoised movie plus variance of the noise.
    """
    first = max(0, (stack.n_frames - FRAMES) // 2)
    part = stack.frame_range(first, min(stack.n_frames, first + FRAMES))
    noise = estimate_noise(part)
    noisy = torch.stack([repair(part.tensor([frame])[0], noise) for frame in range(part.n_frames)])
    hidden = _hidden(noisy)
    shown = torch.where(hidden, _imaged_again(noisy, noise), noisy)
    along = None if motion is None else motion[first : first + part.n_frames]
    result = yield from denoiser.run_along(part.with_data(shown.numpy()), along, device=device)
    predicted = result.tensor(range(part.n_frames))
    return float((predicted - noisy)[hidden].double().square().mean())


def _hidden(frames: Tensor) -> Tensor:
    """Lattices, shifted from frame to frame, ``(T, *spatial)``; no two hidden pixels touch."""
    hidden = torch.zeros(frames.shape, dtype=torch.bool)
    for number, frame in enumerate(hidden):
        # A small frame would lose its lattice to the shift.
        starts = [(number * step) % min(APART, length) for step, length in zip((1, 2, 3), frame.shape, strict=False)]
        frame[tuple(slice(start, None, APART) for start in starts)] = True
    return hidden


def _imaged_again(frames: Tensor, noise: NoiseModel) -> Tensor:
    """Mean of the nearest neighbours along each spatial axis, as noisy as they are, ``(T, *spatial)``."""
    total, count = torch.zeros_like(frames), torch.zeros_like(frames)
    for axis in range(1, frames.ndim):
        length = frames.shape[axis]
        for to, start in ((0, 1), (1, 0)):
            total.narrow(axis, to, length - 1).add_(frames.narrow(axis, start, length - 1))
            count.narrow(axis, to, length - 1).add_(1)
    count = count.clamp(min=1)
    mean = total / count
    # The mean of n neighbours has an n-th of their noise already.
    missing = noise.variance(mean) * (1 - 1 / count)
    return mean + missing.sqrt() * torch.randn(frames.shape, generator=devices.generator(SEED))
