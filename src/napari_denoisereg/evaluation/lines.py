"""Intensities along a line: a profile in one frame, and a kymograph over all of them.

A line is a row of corners in the last two axes (y, x) of a frame. It is sampled every pixel by linear interpolation and, where
it has a width, averaged across. A still specimen gives a kymograph of straight vertical streaks; motion bends them.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from napari_denoisereg.steps import Pace, Progress, Steps

Floats = NDArray[np.float64]
ReadPlane = Callable[[int, tuple[slice, slice]], NDArray[np.floating]]


def line_samples(corners: ArrayLike, *, width: int = 1) -> Floats:
    """Return where a line is sampled, `(width, N, 2)` pixels (y, x), N one more than its length rounded up.

    Parameters
    ----------
    corners
        `(M, 2)` in order, pixels (y, x), M at least 2.
    width
        How many parallel lines, one pixel apart, are averaged; at least 1.

    Raises
    ------
    ValueError
        For a line without length and a width below 1.
    """
    path = np.asarray(corners, dtype=np.float64)
    if path.ndim != 2 or path.shape[1] != 2 or len(path) < 2:
        raise ValueError(f"A line must be (M, 2) with at least 2 corners (y, x), got shape {path.shape}; draw a line.")
    if width < 1:
        raise ValueError(f"The width of a line must be at least 1 pixel, got {width}.")
    steps = np.diff(path, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    path, lengths = path[np.append(True, lengths > 0)], lengths[lengths > 0]
    if not len(lengths):
        raise ValueError("A line must have a length, got corners that all coincide; draw it again.")
    travelled = np.append(0.0, np.cumsum(lengths))
    stops = np.linspace(0.0, travelled[-1], int(np.ceil(travelled[-1])) + 1)
    middle = np.column_stack([np.interp(stops, travelled, path[:, axis]) for axis in range(2)])
    part = np.clip(np.searchsorted(travelled, stops, side="right") - 1, 0, len(lengths) - 1)
    along = np.diff(path, axis=0)[part] / lengths[part, None]
    across = np.column_stack([along[:, 1], -along[:, 0]])
    offsets = np.arange(width) - (width - 1) / 2
    return middle + offsets[:, None, None] * across


def profile(plane: NDArray[np.floating], corners: ArrayLike, *, width: int = 1) -> Floats:
    """Return the intensities along a line `(N,)`, NaN outside the image.

    Parameters
    ----------
    plane
        Image `(y, x)`.
    corners, width
        See `line_samples`.
    """
    return _read(plane, line_samples(corners, width=width))


def kymograph(read: ReadPlane, shape: tuple[int, int], n_frames: int, corners: ArrayLike, *, width: int = 1) -> Steps[Floats]:
    """Sample a line in every frame.

    Parameters
    ----------
    read
        Called with a frame number and the slices (y, x) that the line needs; returns that part of the plane.
    shape
        Of a plane (y, x).
    n_frames
        How many frames there are.
    corners, width
        See `line_samples`.

    Returns
    -------
    Long work: the kymograph `(T, N)`, NaN outside the image. Of each frame only the part around the line is asked for.
    """
    samples = line_samples(corners, width=width)
    window = _window(samples, shape)
    corner = np.array([part.start for part in window])
    pace, rows = Pace(), []
    for frame in range(n_frames):
        rows.append(_read(np.asarray(read(frame, window)), samples - corner))
        if pace.is_due(last=frame + 1 == n_frames):
            yield Progress(frame + 1, n_frames, "reading along the line")
    return np.stack(rows)


def _window(samples: Floats, shape: tuple[int, int]) -> tuple[slice, slice]:
    low, high = np.floor(samples.min(axis=(0, 1))).astype(int), np.ceil(samples.max(axis=(0, 1))).astype(int)
    starts = [int(np.clip(start, 0, size - 1)) for start, size in zip(low, shape, strict=True)]
    stops = [int(np.clip(stop + 1, start + 1, size)) for start, stop, size in zip(starts, high, shape, strict=True)]
    return slice(starts[0], stops[0]), slice(starts[1], stops[1])


def _read(plane: NDArray[np.floating], samples: Floats) -> Floats:
    values = ndimage.map_coordinates(
        np.asarray(plane, np.float64), np.moveaxis(samples, -1, 0), order=1, mode="constant", cval=np.nan
    )
    known = np.isfinite(values)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)
