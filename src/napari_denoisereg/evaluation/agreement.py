"""How well people agree: distances between what two annotators marked, and outlines that keep their points in order.

The distance between annotators is the accuracy of the ruler: a registration error below it cannot be told from 0.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

from napari_denoisereg.evaluation.keypoints import Floats, Keypoints, contour_points

STARTS_TRIED = 360  # corners from which an outline is read; a degree of a circle


@dataclass(frozen=True)
class Agreement:
    """How far apart two annotators marked the same keypoints.

    Parameters
    ----------
    first, second
        Their names.
    n_keypoints, n_marks
        How many keypoints both marked, and in how many frames altogether.
    mean, median, p90
        Of the distances, pixels; NaN where they share none.
    """

    first: str
    second: str
    n_keypoints: int
    n_marks: int
    mean: float
    median: float
    p90: float


def annotator_distances(points: Keypoints, *, within: float | None = None, fixed_frame: int = 0) -> list[Agreement]:
    """Measure how far apart annotators marked the same keypoints.

    Ids count per annotator, so keypoints are matched by place: two interior points are the same where each is the other's
    nearest in the fixed frame.

    Parameters
    ----------
    points
        The marks, in pixels. Contour points are left out: their place along the outline is nobody's choice.
    within
        Points of the fixed frame farther apart than this are different, pixels; no limit by default.
    fixed_frame
        Where keypoints are matched.

    Returns
    -------
    One entry per pair of annotators, sorted by name.
    """
    interior = points.where(points.kind == "interior")
    return [_agreement(interior, first, second, within, fixed_frame) for first, second in combinations(interior.annotators, 2)]


def _agreement(points: Keypoints, first: str, second: str, within: float | None, fixed_frame: int) -> Agreement:
    ours, theirs = points.where(points.annotator == first), points.where(points.annotator == second)
    pairs = _matched(ours.in_frame(fixed_frame), theirs.in_frame(fixed_frame), within)
    here = dict(zip(zip(ours.id.tolist(), ours.frame.tolist(), strict=True), ours.position, strict=True))
    there = dict(zip(zip(theirs.id.tolist(), theirs.frame.tolist(), strict=True), theirs.position, strict=True))
    distances = [
        float(np.linalg.norm(place - there[other, frame]))
        for one, other in pairs
        for (number, frame), place in here.items()
        if number == one and (other, frame) in there
    ]
    if not distances:
        return Agreement(first, second, 0, 0, *(float("nan"),) * 3)
    figures = (float(np.mean(distances)), float(np.median(distances)), float(np.percentile(distances, 90)))
    return Agreement(first, second, len(pairs), len(distances), *figures)


def _matched(ours: Keypoints, theirs: Keypoints, within: float | None) -> list[tuple[int, int]]:
    """Pairs of ids that are each other's nearest."""
    if not len(ours) or not len(theirs):
        return []
    distance = cdist(ours.position, theirs.position)
    nearest, back = distance.argmin(axis=1), distance.argmin(axis=0)
    limit = np.inf if within is None else within
    return [
        (int(ours.id[row]), int(theirs.id[column]))
        for row, column in enumerate(nearest)
        if back[column] == row and distance[row, column] <= limit
    ]


def contour_like(outline: ArrayLike, like: ArrayLike) -> Floats:
    """Return points along an outline in the order of earlier ones, so that point i is the same place of the specimen.

    An outline drawn anew begins at another corner and may run the other way round. Of all starts and both directions the one
    is taken whose points lie nearest to the earlier ones (least sum of squares, both centred).

    Parameters
    ----------
    outline
        Corners `(M, 2)` of a closed shape, pixels (y, x).
    like
        The points to follow `(N, 2)`, where they are expected in this frame, pixels.

    Returns
    -------
    Points at equal arc length `(N, 2)`.
    """
    expected = np.asarray(like, dtype=np.float64)
    n = len(expected)
    per_step = max(1, -(-STARTS_TRIED // n))  # starts tried between two neighbouring points
    fine = contour_points(outline, n * per_step)
    wanted = expected - expected.mean(axis=0)
    best, least = fine[::per_step], np.inf
    for turned in (fine, fine[::-1]):
        for start in range(len(fine)):
            points = np.roll(turned, -start, axis=0)[::per_step]
            misfit = float(((points - points.mean(axis=0) - wanted) ** 2).sum())
            if misfit < least:
                best, least = points, misfit
    return best.copy()
