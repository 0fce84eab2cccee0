"""Marked places carried along by a registration: points, tracks and outlines, as rows of numbers.

Images are read at ``T(x)``; a place that somebody marked in the recorded movie therefore belongs, in the aligned movie, to the
preimage of ``T``, and ``inverse=True`` takes what was marked in the aligned movie to ``T(x)``. Straight lines stay straight
under affine transforms only: for all others outlines get more points first (`bendable`), and those that turn out to be needless
are taken away again (`thinned`).
"""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from napari_denoisereg.geometry import Grid
from napari_denoisereg.register.registration import Registration

Floats = NDArray[np.float64]
Outline = tuple[Floats, str]
"""Corners ``(N, n_columns)`` and one of `KINDS`."""
Carry = Callable[[Floats], Floats]

KINDS = ("ellipse", "line", "path", "polygon", "rectangle")  # as napari calls them
OPEN = ("line", "path")
PIECE, BEND = 4.0, 0.1  # px: outlines are bent in pieces of this length, and kept within this of the true curve
AROUND = np.linspace(0, 2 * np.pi, 64, endpoint=False)


def carried(
    registration: Registration,
    frames: NDArray[np.int64],
    places: Floats,
    *,
    inverse: bool = False,
    to_world: Floats | None = None,
) -> Floats:
    """Bring marks to where they lie in the aligned movie.

    Parameters
    ----------
    registration : Registration
        Fixed to moving.
    frames : ndarray
        Frame of each mark ``(N,)``, counted from 0.
    places : ndarray
        ``(N, D)``, axis order; pixels of the registered movie unless ``to_world`` says otherwise.
    inverse : bool
        Bring marks of the aligned movie to where they lie in the recorded one instead.
    to_world : ndarray, optional
        ``(D+1, D+1)``: from the coordinates of ``places`` to the registration's world.

    Returns
    -------
    ndarray
        ``(N, D)``, in the coordinates of ``places``; not a number where a mark has no place (in folds).

    Raises
    ------
    ValueError
        For other axes, and frames that were not registered.
    """
    n_frames, ndim = len(registration.transforms), registration.grid.ndim
    if places.shape[1] != ndim:
        raise ValueError(f"Expected marks with {ndim} coordinates, as the transforms have axes, got {places.shape[1]}.")
    if len(frames) and not 0 <= frames.min() <= frames.max() < n_frames:
        wrong = int(frames.max() if frames.max() >= n_frames else frames.min())
        raise ValueError(
            f"Expected marks in the {n_frames} frames that were registered, got frame {wrong}; frames count from 0."
        )
    there = np.asarray(_to_world(registration.grid) if to_world is None else to_world, np.float64)
    back, moved = np.asarray(np.linalg.inv(there), np.float64), np.array(places, np.float64)
    order = np.argsort(frames, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(frames[order])) + 1) if len(order) else ():
        frame = int(frames[rows[0]])
        if not registration.transforms[frame].is_identity:  # which keeps every digit
            world = registration.points(frame, _under(there, places[rows]), inverse=not inverse)
            moved[rows] = _under(back, world)
    return moved


def carried_outlines(registration: Registration, shapes: Iterable[Outline], carry: Carry, *, frame: int = 0) -> list[Outline]:
    """Bring outlines to where they lie in the aligned movie.

    Parameters
    ----------
    registration : Registration
        Says whether lines are bent.
    shapes : iterable of Outline
        Corners as rows, as napari keeps them.
    carry : callable
        Rows to where they go; see `carried`.
    frame : int
        Column that holds the frame.

    Returns
    -------
    list of Outline
        As many: the same kinds where all transforms are affine, else polygons and paths. Not a number where a corner has no
        place. Of a shape that leads through several frames only the corners move.
    """
    is_bent, given = not all(transform.is_affine for transform in registration.transforms), list(shapes)
    if not given:
        return []
    bends = [is_bent and not np.ptp(corners[:, frame]) for corners, _ in given]
    many = [bendable(*outline) if bend else outline[0] for outline, bend in zip(given, bends, strict=True)]
    # All at once: one frame is asked once.
    moved = np.split(carry(np.concatenate(many)), np.cumsum([len(each) for each in many])[:-1])
    return [
        _thinned_kind(corners, kind) if bend else (corners, kind)
        for corners, (_, kind), bend in zip(moved, given, bends, strict=True)
    ]


def _thinned_kind(corners: Floats, kind: str) -> Outline:
    """A bent outline, and what napari calls it now."""
    is_open = kind in OPEN
    return thinned(corners, least=2 if is_open else 3), "path" if is_open else "polygon"


def bendable(corners: Floats, kind: str) -> Floats:
    """The outline of a shape as so many points that it can be bent.

    Parameters
    ----------
    corners : ndarray
        ``(N, ndim)``, as napari keeps the shape.
    kind : str
        One of `KINDS`.

    Returns
    -------
    ndarray
        ``(M, ndim)``; a closed outline does not repeat its first point.
    """
    if kind == "ellipse":
        middle = corners.mean(0)
        one, other = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
        return middle + np.cos(AROUND)[:, None] * one + np.sin(AROUND)[:, None] * other
    is_closed = kind not in OPEN
    ends = np.roll(corners, -1, axis=0) if is_closed else corners[1:]
    parts = []
    for start, end in zip(corners, ends, strict=False):
        count = max(1, int(np.ceil(np.linalg.norm(end - start) / PIECE)))
        parts.append(start + np.arange(count)[:, None] / count * (end - start))
    return np.concatenate(parts if is_closed else [*parts, corners[-1:]])


def thinned(outline: Floats, *, least: int = 2) -> Floats:
    """An outline without the points that a straight line explains (Douglas and Peucker 1973, doi:10.3138/FM57-6770-U75U-7727).

    Parameters
    ----------
    outline : ndarray
        ``(N, ndim)``.
    least : int
        An outline that would have fewer points is left as it is.

    Returns
    -------
    ndarray
        Some of its points, the first and the last among them; the others lie within `BEND` of the lines between.
    """
    if not np.isfinite(outline).all() or len(outline) <= least:
        return outline
    kept = np.zeros(len(outline), bool)
    kept[[0, -1]] = True
    pieces = [(0, len(outline) - 1)]
    while pieces:
        start, end = pieces.pop()
        away = _distances(outline[start + 1 : end], outline[start], outline[end])
        if len(away) and away.max() > BEND:
            farthest = start + 1 + int(away.argmax())
            kept[farthest] = True
            pieces += [(start, farthest), (farthest, end)]
    return outline[kept] if kept.sum() >= least else outline


def _distances(points: Floats, start: Floats, end: Floats) -> Floats:
    """Distances of points ``(N, ndim)`` from a piece of a line."""
    way = end - start
    along = np.clip((points - start) @ way / max(float(way @ way), np.finfo(float).tiny), 0, 1)
    return np.asarray(np.linalg.norm(points - start - along[:, None] * way, axis=1), np.float64)


def _to_world(grid: Grid) -> Floats:
    matrix = np.diag([*grid.spacing, 1.0])
    matrix[:-1, -1] = grid.origin
    return matrix


def _under(matrix: Floats, points: Floats) -> Floats:
    return points @ matrix[:-1, :-1].T + matrix[:-1, -1]
