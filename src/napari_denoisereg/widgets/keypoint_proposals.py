"""Where keypoints that are not marked yet are expected in a frame. No Qt, no layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_denoisereg.evaluation.agreement import contour_like
from napari_denoisereg.evaluation.keypoints import Floats, Keypoints, contour_points
from napari_denoisereg.widgets.keypoint_marks import Marks, Name, positions_at
from napari_denoisereg.widgets.keypoint_predict import Ways

FIXED = 0  # the frame all others are compared with


@dataclass(frozen=True, eq=False)
class Proposals:
    """Expected places in one frame, K in all.

    Parameters
    ----------
    marks : Marks
        The places, as marks of that frame.
    start : int
        Frame they are predicted from.
    origin : ndarray
        Where they are in that frame ``(K, D)``, pixels.
    """

    marks: Marks
    start: int
    origin: Floats

    def __len__(self) -> int:
        """How many."""
        return len(self.marks)

    @property
    def is_guess(self) -> bool:
        """Whether a look at the movie can improve them: no registration made them."""
        return len(self.marks) > 0 and bool((self.marks.points.position == self.origin).all())


def propose(marks: Marks, annotator: str, frame: int, ways: Ways | None, before: Proposals | None = None) -> Proposals:
    """Propose a place for each of an annotator's keypoints of the first frame that is not marked in a frame.

    Parameters
    ----------
    marks : Marks
        Of the movie.
    annotator : str
        Whose keypoints.
    frame : int
        In which frame.
    ways : Ways, optional
        A registration; without one a keypoint is expected where it was in the nearest marked frame before.
    before : Proposals, optional
        Earlier ones of the same frame, which stay where they are.

    Returns
    -------
    Proposals
        None in the first frame.
    """
    start = _start(marks, annotator, frame, ways)
    missing = _missing(marks, annotator, frame, start)
    if not missing:
        return Proposals(Marks.none(marks.points.n_axes), start, np.empty((0, marks.points.n_axes)))
    origin = np.array(list(missing.values()))
    expected = origin.copy() if ways is None else ways.carry(origin, start, frame)
    kept = {} if before is None else positions_at(before.marks, frame)
    for row, name in enumerate(missing):
        expected[row] = kept.get(name, expected[row])
    who, kinds, numbers = zip(*missing, strict=True)
    points = Keypoints(np.full(len(origin), frame), numbers, expected, who, kinds)
    return Proposals(Marks.of(points), start, origin)


def contour_marks(marks: Marks, annotator: str, frame: int, outline: Floats, n: int, ways: Ways | None) -> Keypoints:
    """Mark points along an outline: new ones in the first frame, elsewhere those that were marked there.

    Parameters
    ----------
    marks : Marks
        Of the movie.
    annotator : str
        Who drew it.
    frame : int
        In which frame.
    outline : ndarray
        Corners ``(M, 2)``, pixels.
    n : int
        How many new ones.
    ways : Ways, optional
        A registration, to know which point is which.

    Returns
    -------
    Keypoints
        Of that frame.

    Raises
    ------
    ValueError
        When the outline is that of a volume, or the first frame has none.
    """
    if outline.shape[1] != 2:
        raise ValueError("Outlines are for movies of planes, this one has volumes; mark interior points instead.")
    if frame == FIXED:
        first_id = marks.next_id(annotator, "contour")
        numbers, places = np.arange(first_id, first_id + n), contour_points(outline, n)
        return Keypoints(np.full(n, frame), numbers, places, annotator, "contour")
    first = {name: place for name, place in positions_at(marks, FIXED).items() if name[:2] == (annotator, "contour")}
    if not first:
        raise ValueError("Draw the outline in frame 0 first: those of later frames are compared with it.")
    names = sorted(first)
    expected = np.array([first[name] for name in names])
    if ways is not None:
        expected = ways.carry(expected, FIXED, frame)
    return Keypoints(
        np.full(len(names), frame), [name[2] for name in names], contour_like(outline, expected), annotator, "contour"
    )


def _start(marks: Marks, annotator: str, frame: int, ways: Ways | None) -> int:
    """Frame to predict from: the first one with a registration, else the nearest before with marks of this annotator."""
    points = marks.points
    frames = points.frame[(points.annotator == annotator) & (points.frame < frame)]
    return FIXED if ways is not None or not len(frames) else int(frames.max())


def _missing(marks: Marks, annotator: str, frame: int, start: int) -> dict[Name, Floats]:
    """The annotator's keypoints of the first frame that are not marked in a frame: where they are at `start`."""
    if frame == FIXED:
        return {}
    first, there, here = (positions_at(marks, each) for each in (FIXED, start, frame))
    names = [name for name in first if name[0] == annotator and name not in here]
    return {name: there.get(name, first[name]) for name in sorted(names)}
