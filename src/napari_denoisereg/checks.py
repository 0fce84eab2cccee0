"""Look at a stack before any long work: refuse what no method can work with, and say what the intensities look like."""

import math
import warnings
from dataclasses import dataclass

import numpy as np

from napari_denoisereg.stack import Frame, Stack
from napari_denoisereg.steps import Pace, Progress, Steps


@dataclass(frozen=True)
class Statistics:
    """What the intensities of a stack look like.

    Parameters
    ----------
    minimum, maximum, mean, std : float
        Over all voxels.
    low, high : float
        Median over frames of each frame's 1st and 99.9th percentile.
    dropped : tuple of (int, int)
        Frame and channel of every constant frame, see `inspect`.
    """

    minimum: float
    maximum: float
    mean: float
    std: float
    low: float
    high: float
    dropped: tuple[tuple[int, int], ...] = ()

    def dropped_of(self, channel: int) -> list[int]:
        """Constant frames of a channel.

        Parameters
        ----------
        channel : int
            Counted from 0.

        Returns
        -------
        list of int
            Frame numbers.
        """
        return [frame for frame, which in self.dropped if which == channel]

    def warn_of_dropped(self) -> None:
        """Warn of constant frames, where there are some."""
        if self.dropped:
            numbers = sorted({number for number, _ in self.dropped})
            told = ", ".join(map(str, numbers[:5])) + (f" and {len(numbers) - 5} more" if len(numbers) > 5 else "")
            warnings.warn(f"Nothing was recorded in frame {told}: it is left out, and stays as it is.", stacklevel=2)


def inspect(stack: Stack, *, least_frames: int = 2, may_drop: bool = False) -> Steps[Statistics]:
    """Read every frame once, refuse what no method can work with, and say what the intensities look like.

    Parameters
    ----------
    stack : Stack
        What to look at.
    least_frames : int
        How many frames there must be.
    may_drop : bool
        Whether constant frames, in which a camera recorded nothing, are noted in ``dropped`` instead of being refused.

    Returns
    -------
    Steps of Statistics
        Long work: one frame at a time, all channels. Figures are of the frames that were recorded.

    Raises
    ------
    ValueError
        For too few frames, NaN or infinity, values beyond float32, constant frames; the message names the frames.
    """
    if stack.n_frames < least_frames:
        raise ValueError(too_few(stack, least_frames))
    pace, rows, dropped = Pace(), list[tuple[float, ...]](), list[tuple[int, int]]()
    for number in range(stack.n_frames):
        for channel in range(stack.n_channels):
            frame = stack.frame(number, channel)
            if may_drop and frame.min() == frame.max():  # never so where there is a NaN
                dropped.append((number, channel))
            else:
                rows.append(_frame_figures(frame, number))
        if pace.is_due(last=number + 1 == stack.n_frames):
            yield Progress(number + 1, stack.n_frames, "checking frames")
    _check_dropped(dropped, stack, least_frames)
    table = np.array(rows)
    return Statistics(
        minimum=float(table[:, 0].min()),
        maximum=float(table[:, 1].max()),
        mean=float(table[:, 2].mean()),
        std=float(math.sqrt(max(0.0, table[:, 3].mean() - table[:, 2].mean() ** 2))),
        low=float(np.median(table[:, 4])),
        high=float(np.median(table[:, 5])),
        dropped=tuple(dropped),
    )


def too_few(stack: Stack, least_frames: int = 2) -> str:
    """What to say of a stack that cannot be registered, as it has too few frames.

    Parameters
    ----------
    stack : Stack
        With too few.
    least_frames : int
        How many there must be.

    Returns
    -------
    str
        In plain words, with what to do instead.
    """
    if stack.is_image:
        return (
            f"Registration needs at least {least_frames} frames, and {stack.name!r} is {in_words(stack)}: it can only be "
            "denoised (in napari switch Register off; on the command line: denoisereg denoise IMAGE OUTPUT fusion). "
            "To register, open a time-lapse or a stack of sections."
        )
    return (
        f"Registration needs at least {least_frames} frames along {stack.frame_axis!r}, and {stack.name!r} has "
        f"{in_words(stack)}. Open a time-lapse or a stack of sections, or correct the axes; a frame by itself can only be "
        "denoised."
    )


def in_words(stack: Stack) -> str:
    """What a stack holds, in plain words.

    Parameters
    ----------
    stack : Stack
        Any stack.

    Returns
    -------
    str
        E.g. ``"25 frames of 532 × 532 px"``, ``"a single image of 512 × 512 px"``.
    """
    size = " × ".join(str(length) for length in stack.grid.shape)
    extent = f"{size} {'px' if stack.grid.ndim == 2 else 'voxels'}"
    channels = f", {stack.n_channels} channels" if stack.n_channels > 1 else ""
    if stack.is_image:
        return f"a single image of {extent}{channels}"
    frames = "time points" if stack.frame_axis == "t" and "z" in stack.axes else "frames"
    if stack.frame_axis == "z":
        frames = "sections"
    frames = frames if stack.n_frames != 1 else frames.removesuffix("s")
    return f"{stack.n_frames} {frames} of {extent}{channels}"


def _check_dropped(dropped: list[tuple[int, int]], stack: Stack, least_frames: int) -> None:
    """Refuse channels of which too little is left."""
    for channel in range(stack.n_channels):
        left = stack.n_frames - sum(which == channel for _, which in dropped)
        if left < least_frames:
            whose = f"channel {channel} of {stack.name!r}" if stack.n_channels > 1 else repr(stack.name)
            if stack.n_frames == 1:
                raise ValueError(
                    f"{whose} shows nothing: it has the same value everywhere. Check that the right file and channel was read."
                )
            raise ValueError(
                f"Only {left} of {stack.n_frames} frames of {whose} show anything, and at least {least_frames} must; the "
                "others are constant (the same value everywhere). Check that the file was read as it should be, with the "
                "right axes and channel."
            )


def _frame_figures(frame: Frame, number: int) -> tuple[float, ...]:
    """Minimum, maximum, mean, mean square, 1st and 99.9th percentile of a frame, after refusing bad ones."""
    if frame.dtype.kind == "f" and not np.isfinite(frame).all():
        bad = int(frame.size - np.isfinite(frame).sum())
        raise ValueError(f"Frame {number} has {bad} NaN or infinite values; replace them first (in Python: numpy.nan_to_num).")
    low, high = float(frame.min()), float(frame.max())
    limit = math.sqrt(float(np.finfo(np.float32).max)) / 1e4  # sums of squares must fit as well
    if max(abs(low), abs(high)) > limit:
        raise ValueError(f"Frame {number} has values up to {max(abs(low), abs(high)):.3g}, which overflow; divide the data.")
    if low == high:
        raise ValueError(f"Frame {number} is constant ({low:g}): a dropped or empty frame. Remove it from the stack first.")
    if high - low < 16 * float(np.spacing(np.float32(max(abs(low), abs(high))))):
        raise ValueError(
            f"Frame {number} spans only {high - low:g} on top of {low:g}, too little for float32; subtract the offset first."
        )
    values = frame.astype(np.float64).ravel()
    # Percentiles of at most 100 000 voxels: sorting whole volumes costs more than it tells.
    few = values[:: max(1, values.size // 100_000)]
    q_low, q_high = np.percentile(few, [1, 99.9])
    return low, high, float(values.mean()), float((values**2).mean()), float(q_low), float(q_high)
