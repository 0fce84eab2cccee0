"""Whether a denoised movie can be trusted: what was taken away must look like noise, no more and no less.

No clean movie is needed. The noise strength at each intensity is known (`noise`), so the *residual* ``noisy - denoised`` can be
put in units of it. Of a denoiser that took away the noise and nothing else it is white and a little below 1 strong:

- *far below 1*: the output is nearly the input. Networks with too small a blind spot learn to copy noise that pixels share; how
  strong that is, `shared_noise` tells from frame to frame.
- *smooth parts that white noise does not have*: cell outlines or texture were taken away too. The residual is blurred; blurred
  white noise has a known strength, structure a larger one.

Figures are per frame, so that the first and last ones can be compared with the rest. A few frames, and the middle of large
ones, say enough after a run: `check_some`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from napari_denoisereg.evaluation.shared_noise import SharedNoise, shared_noise
from napari_denoisereg.geometry import smooth
from napari_denoisereg.noise import DEFECT, NoiseModel, estimate_noise, repair
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Pace, Progress, Steps

Floats = NDArray[np.float64]
Doubt = Literal["removed", "structure", "kept"]

STAGE = "checking what was taken away"
SOME = 3  # frames
BLUR = 2.0  # px
COPIED = 0.5
"""Residual below this share of the noise: the output is nearly the input."""
COPIED_SHARED = 0.7
"""The same for noise that pixels share: what a network copies of it is smooth, the rest of it, half its power, goes."""
STRUCTURED = 1.5
"""Blurred residual above this many times what noise alone has: structure was taken away."""
MOST_VOXELS = 2**16
"""Of a frame that `check_some` looks at, in its middle: what denoising does wrong it does everywhere."""
KEPT = 0.01
"""Largest accepted change of a frame's total intensity."""


@dataclass(frozen=True, eq=False)
class Trust:
    """Figures of the frames that were looked at, ``(F,)``.

    Parameters
    ----------
    removed : ndarray
        Strength of what was taken away, in standard deviations of the noise: a little below 1 is right.
    structure : ndarray
        Strength of its smooth part, in units of what white noise has: about 1 or below is right.
    kept : ndarray
        Total intensity after, as a share of that before, hot pixels left out: 1 is right.
    frames : ndarray of int
        Their numbers in the movie.
    is_shared : bool
        Whether neighbouring pixels share their noise; figures are then in units of that noise.
    """

    removed: Floats
    structure: Floats
    kept: Floats
    frames: NDArray[np.int64]
    is_shared: bool = False

    def hints(self) -> tuple[str, ...]:
        """What a user should know and change, in plain words; empty where nothing is suspicious.

        Returns
        -------
        tuple of str
            One sentence or two each, with the figure and the remedy.
        """
        return tuple(self.doubts().values())

    def doubts(self) -> dict[Doubt, str]:
        """The hints by what they are about.

        Returns
        -------
        dict of str to str
            Some of "removed", "structure", "kept", in this order.
        """
        rules: tuple[tuple[Doubt, Floats, Callable[[Floats], NDArray[np.bool_]], str], ...] = (
            (
                "removed",
                self.removed,
                lambda values: values < (COPIED_SHARED if self.is_shared else COPIED),
                "hardly any noise was taken away ({:.2f} of it): the result is nearly the input. Neighbouring pixels may share "
                "their noise: of a network, enlarge the blind spot; of another method, raise the strength or the width.",
            ),
            (
                "structure",
                self.structure,
                lambda values: values > STRUCTURED,
                "fine structure was taken away with the noise (what was removed is {:.1f} times as smooth as noise). Lower the "
                "strength or the width, or train longer.",
            ),
            (
                "kept",
                self.kept,
                lambda values: np.abs(values - 1) > KEPT,
                "total intensity changed (to {:.3f} of what it was). Do not measure brightness on this result.",
            ),
        )
        found: dict[Doubt, str] = {}
        for doubt, values, is_bad, words in rules:
            bad = is_bad(values)
            if bad.any():
                found[doubt] = f"{_which(self.frames[bad], self.frames)}: {words.format(float(np.median(values[bad])))}"
        return found


def check_denoising(
    noisy: Stack, denoised: Stack, *, noise: NoiseModel | None = None, shared: SharedNoise | None = None
) -> Steps[Trust]:
    """Compare a movie with its denoised version, frame by frame.

    Parameters
    ----------
    noisy, denoised : Stack
        Same shape, without channel axis.
    noise : NoiseModel, optional
        Of the noisy movie; measured, with noise that pixels share, where it is not given.
    shared : SharedNoise, optional
        Noise that pixels share, where ``noise`` is given.

    Returns
    -------
    Steps of Trust
        Long work: two frames in memory at a time. Constant frames are left out.

    Raises
    ------
    ValueError
        When the shapes differ.
    """
    if noisy.shape != denoised.shape:
        raise ValueError(f"Expected stacks of equal shape, got {noisy.shape} and {denoised.shape}; denoise this very stack.")
    model = noise or estimate_noise(noisy)
    grain = shared if noise is not None else shared_noise(noisy, model, blur=BLUR)
    pace, rows = Pace(), dict[int, tuple[float, float, float]]()
    for number in range(noisy.n_frames):
        before = noisy.tensor([number])[0]
        if _shows_something(before):
            rows[number] = _figures(before, denoised.tensor([number])[0], model, grain)
        if pace.is_due(last=number + 1 == noisy.n_frames):
            yield Progress(number + 1, noisy.n_frames, STAGE)
    removed, structure, kept = np.array([*rows.values()], np.float64).reshape(-1, 3).T
    return Trust(removed, structure, kept, np.array([*rows], np.int64), grain is not None)


def check_some(noisy: Stack, denoised: Stack) -> Steps[Trust]:
    """Compare the first, the middle and the last frame only, and of large frames the middle: a moment for any movie.

    Parameters
    ----------
    noisy, denoised : Stack
        As of `check_denoising`.

    Returns
    -------
    Steps of Trust
        With the numbers of those frames in the movie.

    Raises
    ------
    ValueError
        When the shapes differ.
    """
    if noisy.shape != denoised.shape:
        raise ValueError(f"Expected stacks of equal shape, got {noisy.shape} and {denoised.shape}; denoise this very stack.")
    wanted = np.unique(np.linspace(0, noisy.n_frames - 1, SOME).round().astype(int))
    frames = np.unique([_nearest_recorded(noisy, int(number)) for number in wanted])
    axes = noisy.frame_axis + noisy.spatial_axes
    few = [Stack(np.stack([_middle(each.frame(int(number))) for number in frames]), axes) for each in (noisy, denoised)]
    yield Progress(0, 1, STAGE)
    noise = estimate_noise(few[0])
    found = yield from check_denoising(*few, noise=noise, shared=shared_noise(noisy, noise, blur=BLUR))
    return replace(found, frames=frames[found.frames])


def _nearest_recorded(stack: Stack, number: int) -> int:
    """The frame nearest to a frame in which the camera recorded something."""
    near = sorted(range(stack.n_frames), key=lambda other: abs(other - number))
    return next((other for other in near if _shows_something(stack.tensor([other])[0])), number)


def _shows_something(frame: torch.Tensor) -> bool:
    return bool(frame.min() < frame.max())


def _middle(frame: NDArray[Any]) -> NDArray[Any]:
    """The middle of a large frame, in its proportions."""
    share = min(1.0, (MOST_VOXELS / frame.size) ** (1 / frame.ndim))
    starts = [int((1 - share) / 2 * side) for side in frame.shape]
    return frame[tuple(slice(start, side - start) for start, side in zip(starts, frame.shape, strict=True))]


def _figures(
    before: torch.Tensor, after: torch.Tensor, noise: NoiseModel, shared: SharedNoise | None
) -> tuple[float, float, float]:
    residual = (repair(before, noise) - after) / noise.variance(after).sqrt()
    # The middle of the values: single hot pixels and borders say nothing about the rest.
    blurred = smooth(residual[None, None], BLUR)[0, 0]
    strength, even = 1.0, (2 * math.sqrt(math.pi) * BLUR) ** (-residual.ndim / 2)  # of white noise
    if shared is not None:
        strength, even = shared.strength, shared.smooth * (2 * math.sqrt(math.pi) * BLUR) ** (1 - residual.ndim / 2)
    total = float(repair(before, noise, far=DEFECT).double().sum())
    kept = float(after.double().sum()) / total if total else 1.0
    return _spread(residual) / strength, _spread(blurred) / even, kept


def _spread(values: torch.Tensor) -> float:
    """Standard deviation about 0, outliers beyond the 99.5th percentile left out, as of a normal distribution."""
    squared = values.double().flatten() ** 2
    few = squared[:: max(1, squared.numel() // 1_000_000)]
    kept = few[few <= torch.quantile(few, 0.995)]
    return float((kept.mean() / 0.9562).sqrt())


def _which(frames: NDArray[np.int64], seen: NDArray[np.int64]) -> str:
    if len(frames) == len(seen):
        return "All frames" if len(seen) == seen[-1] + 1 else f"All {len(seen)} frames that were looked at"
    shown = ", ".join(map(str, frames[:5])) + (f" and {len(frames) - 5} more" if len(frames) > 5 else "")
    return f"Frame {shown}" if len(frames) == 1 else f"Frames {shown}"
