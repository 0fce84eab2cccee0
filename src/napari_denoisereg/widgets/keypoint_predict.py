"""Where a keypoint of one frame is in another: by the registration, else where it was, improved by looking at the movie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_denoisereg.evaluation.keypoints import Floats, Mapping
from napari_denoisereg.steps import Pace, Progress, Steps

if TYPE_CHECKING:
    from napari_denoisereg.geometry import Grid
    from napari_denoisereg.register import Registration
    from napari_denoisereg.stack import Stack

PATCH = 10  # px to each side: what is looked for
REACH = 15  # px to each side: how far it is looked for
LEAST_LIKENESS = 0.5  # correlation below which the place found is not believed


@dataclass(frozen=True, eq=False)
class Ways:
    """A registration for points in pixels.

    Parameters
    ----------
    back : sequence of callable
        One per frame: places of that frame ``(N, D)`` to the fixed frame.
    forth : sequence of callable
        One per frame: places of the fixed frame to that frame.
    """

    back: Sequence[Mapping]
    forth: Sequence[Mapping]

    def carry(self, points: Floats, start: int, end: int) -> Floats:
        """Take places from one frame to another.

        Parameters
        ----------
        points : ndarray
            ``(N, D)``, pixels.
        start, end : int
            Frames.

        Returns
        -------
        ndarray
            ``(N, D)``; where the registration knows nothing, where they were.
        """
        there = self.forth[end](self.back[start](points) if start else points)
        return np.where(np.isfinite(there).all(axis=1, keepdims=True), there, points)


def ways_of(registration: Registration, grid: Grid) -> Steps[Ways]:
    """Prepare a registration for points; dense transforms are inverted frame by frame.

    Parameters
    ----------
    registration : Registration
        Fixed to moving, world units.
    grid : Grid
        Of the movie, to go between pixels and world.

    Returns
    -------
    Steps of Ways
        Long work.
    """
    from napari_denoisereg.pipeline import mappings

    pace, back = Pace(), []
    n_frames = len(registration.transforms)
    for frame in range(n_frames):
        alone = replace(registration, transforms=registration.transforms[frame : frame + 1])
        back += mappings(alone, grid)
        if pace.is_due(last=frame + 1 == n_frames):
            yield Progress(frame + 1, n_frames, "reading the registration")
    spacing, origin = np.array(grid.spacing), np.array(grid.origin)

    def forth(frame: int) -> Mapping:
        return lambda pixels: (registration.points(frame, pixels * spacing + origin) - origin) / spacing

    return Ways(back, [forth(frame) for frame in range(n_frames)])


def found_in_movie(stack: Stack, start: int, end: int, places: Floats, expected: Floats) -> Steps[Floats]:
    """Look for the surroundings of keypoints in another frame.

    Parameters
    ----------
    stack : Stack
        One channel.
    start, end : int
        Frame they are marked in, and frame to look in.
    places : ndarray
        Where they are marked ``(N, D)``, pixels.
    expected : ndarray
        Around where to look ``(N, D)``, pixels.

    Returns
    -------
    Steps of ndarray
        ``(N, D)``; what is expected where nothing alike is found.
    """
    before = np.asarray(stack.frame(start), np.float32)
    yield Progress(0, len(places), "looking in the movie")
    after = np.asarray(stack.frame(end), np.float32)
    found, pace = expected.copy(), Pace()
    for number, (place, guess) in enumerate(zip(places, expected, strict=True)):
        found[number] = find_patch(before, after, place, guess)
        if pace.is_due(last=number + 1 == len(places)):
            yield Progress(number + 1, len(places), "looking in the movie")
    return found


def find_patch(before: np.ndarray[Any, Any], after: np.ndarray[Any, Any], place: Floats, guess: Floats) -> Floats:
    """Find the surroundings of a place of one image in another, by normalised cross-correlation.

    Parameters
    ----------
    before, after : ndarray
        The images, 2D or 3D.
    place : ndarray
        In the first image ``(D,)``, pixels.
    guess : ndarray
        Around where to look in the second ``(D,)``, pixels.

    Returns
    -------
    ndarray
        ``(D,)``, pixels, to a fraction of one; ``guess`` where nothing alike is found or the place is at the border.
    """
    from skimage.feature import match_template

    centre, middle = np.rint(place).astype(int), np.rint(guess).astype(int)
    shape = np.array(before.shape)
    patch_size = np.where(shape > 4 * PATCH, PATCH, np.maximum(1, shape // 8))  # few planes of a volume
    low, high = np.maximum(middle - patch_size - REACH, 0), np.minimum(middle + patch_size + REACH + 1, shape)
    if (centre < patch_size).any() or (centre + patch_size >= shape).any() or (high - low < 2 * patch_size + 1).any():
        return guess
    patch = before[tuple(slice(c - s, c + s + 1) for c, s in zip(centre, patch_size, strict=True))]
    field = after[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    if not (np.isfinite(patch).all() and np.isfinite(field).all() and np.ptp(patch) > 0):
        return guess
    likeness = match_template(field, patch)
    best = np.unravel_index(int(np.argmax(likeness)), likeness.shape)
    if likeness[best] < LEAST_LIKENESS:
        return guess
    peak = np.array([index + _between(likeness, best, axis) for axis, index in enumerate(best)])
    return low + patch_size + peak + (place - centre)


def _between(values: np.ndarray[Any, Any], best: tuple[Any, ...], axis: int) -> float:
    """Top of the parabola through the largest value and its neighbours along an axis, from the largest value."""
    index = best[axis]
    if not 0 < index < values.shape[axis] - 1:
        return 0.0
    left, right = (float(values[(*best[:axis], index + step, *best[axis + 1 :])]) for step in (-1, 1))
    bend = left - 2 * float(values[best]) + right
    return 0.0 if bend >= 0 else float(np.clip((left - right) / (2 * bend), -0.5, 0.5))
