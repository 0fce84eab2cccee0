"""Which two pictures are compared, and reading them. No Qt; only the frames in view are read.

Both pictures are scaled to 0..1: each by its own contrast where geometry is compared (bleaching must not look like motion),
both by that of the noisy one where noise is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_denoisereg.widgets.layers import contrast

if TYPE_CHECKING:
    from napari_denoisereg.stack import Stack
    from napari_denoisereg.steps import Steps
    from napari_denoisereg.widgets.inspect_results import Position, Results

Picture = np.ndarray[Any, Any]

FIRST_ALIGNED, FIRST_RECORDED = "first, aligned", "first, recorded"
PREVIOUS_ALIGNED, PREVIOUS_RECORDED = "previous, aligned", "previous, recorded"
BEFORE_AFTER, NOISY_DENOISED = "before and after", "noisy and denoised"
TITLES = {
    FIRST_ALIGNED: "Aligned: with first frame",
    FIRST_RECORDED: "Recorded: with first frame",
    PREVIOUS_ALIGNED: "Aligned: with previous",
    PREVIOUS_RECORDED: "Recorded: with previous",
    BEFORE_AFTER: "Before and after",
    NOISY_DENOISED: "Noisy and denoised",
}
MOST_LOOKED_AT = 2**18  # pixels that contrast is judged by


@dataclass(frozen=True, eq=False)
class Pair:
    """Two pictures of one place.

    Parameters
    ----------
    first, second : ndarray
        Spatial axes of the movie, float32, 0 (black) to 1 (white) for most pixels.
    names : tuple of str
        What they show, in plain words.
    position : Position
        Where the viewer looked.
    """

    first: Picture
    second: Picture
    names: tuple[str, str]
    position: Position


def choices(results: Results) -> list[str]:
    """Which comparisons are possible, the most telling first.

    Parameters
    ----------
    results : Results
        A movie and what was made of it.

    Returns
    -------
    list of str
        Keys of `TITLES`.
    """
    is_aligned = results.warped(clean=False) is not None
    aligned = [FIRST_ALIGNED, FIRST_RECORDED, PREVIOUS_ALIGNED, PREVIOUS_RECORDED, BEFORE_AFTER]
    found = aligned if is_aligned else [FIRST_RECORDED, PREVIOUS_RECORDED]
    denoised = [NOISY_DENOISED] if results.denoised is not None else []
    return [*found, *denoised] if is_aligned else [*denoised, *found]


def read_pair(results: Results, which: str, position: Position, *, clean: bool) -> Steps[Pair]:
    """Read two pictures.

    Parameters
    ----------
    results : Results
        A movie and what was made of it.
    which : str
        One of `choices`.
    position : Position
        Where the viewer looks.
    clean : bool
        Whether denoised frames are shown where there are any.

    Returns
    -------
    Steps of Pair
        Long work where frames are large or warped when they are read.
    """
    from napari_denoisereg.steps import Progress

    yield Progress(0, 2, "reading frames")
    frame, other = position.frame, 0 if which in (FIRST_ALIGNED, FIRST_RECORDED) else max(0, position.frame - 1)
    recorded, warped = results.recorded(clean=clean), results.warped(clean=clean)
    if which == NOISY_DENOISED:
        assert results.denoised is not None
        sources = (results.noisy, frame, "as recorded"), (results.denoised, frame, "denoised")
    elif which == BEFORE_AFTER:
        assert warped is not None
        sources = (recorded, frame, "before"), (warped, frame, "after")
    else:
        stack = warped if which in (FIRST_ALIGNED, PREVIOUS_ALIGNED) and warped is not None else recorded
        sources = (stack, other, f"frame {other}"), (stack, frame, f"frame {frame}")
    first = _read(sources[0][0], sources[0][1], position.channel)
    yield Progress(1, 2, "reading frames")
    second = _read(sources[1][0], sources[1][1], position.channel)
    limits = [_limits(first), _limits(second)]
    if which == NOISY_DENOISED:
        limits[1] = limits[0]
    yield Progress(2, 2, "reading frames")
    return Pair(_scaled(first, limits[0]), _scaled(second, limits[1]), (sources[0][2], sources[1][2]), position)


def _read(stack: Stack, frame: int, channel: int) -> Picture:
    return stack.frame(frame, min(channel, stack.n_channels - 1)).astype(np.float32)


def _limits(picture: Picture) -> tuple[float, float]:
    step = max(1, round((picture.size / MOST_LOOKED_AT) ** (1 / picture.ndim)))
    return contrast(picture[(slice(None, None, step),) * picture.ndim])


def _scaled(picture: Picture, limits: tuple[float, float]) -> Picture:
    return (picture - np.float32(limits[0])) / np.float32(limits[1] - limits[0])
