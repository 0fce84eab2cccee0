"""The marks of a movie as one value: keypoints, which of them count, which are held out. Every change makes a new value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_denoisereg.evaluation.keypoints import Floats, Ints, Keypoints, join

Flags = NDArray[np.bool_]
Name = tuple[str, str, int]  # annotator, kind, id: one keypoint
FORMAT = 1  # of the JSON


@dataclass(frozen=True, eq=False)
class Marks:
    """Marks of a movie, N in all.

    Parameters
    ----------
    points : Keypoints
        Where, in pixels.
    included : ndarray
        Which count ``(N,)``.
    check : ndarray
        Which are held out when points steer a registration ``(N,)``, the same for all marks of a keypoint.
    """

    points: Keypoints
    included: Flags
    check: Flags

    @classmethod
    def of(cls, points: Keypoints) -> Marks:
        """Marks that all count.

        Parameters
        ----------
        points : Keypoints
            Where, in pixels.

        Returns
        -------
        Marks
            None of them held out.
        """
        return cls(points, np.ones(len(points), bool), np.zeros(len(points), bool))

    @classmethod
    def none(cls, n_axes: int) -> Marks:
        """No marks.

        Parameters
        ----------
        n_axes : int
            Number of spatial axes of the movie.

        Returns
        -------
        Marks
            To begin with.
        """
        return cls.of(Keypoints([], [], np.empty((0, n_axes))))

    def __len__(self) -> int:
        """Number of marks."""
        return len(self.points)

    def name(self, row: int) -> Name:
        """Which keypoint a mark is of.

        Parameters
        ----------
        row : int
            Of the mark.

        Returns
        -------
        tuple
            Annotator, kind, id.
        """
        return str(self.points.annotator[row]), str(self.points.kind[row]), int(self.points.id[row])

    def rows_of(self, name: Name) -> Ints:
        """Rows of one keypoint's marks.

        Parameters
        ----------
        name : tuple
            Annotator, kind, id.

        Returns
        -------
        ndarray
            In no order.
        """
        who, kind, number = name
        points = self.points
        return np.flatnonzero((points.annotator == who) & (points.kind == kind) & (points.id == number))

    def next_id(self, annotator: str, kind: str) -> int:
        """The first id that an annotator has not used for a kind.

        Parameters
        ----------
        annotator, kind : str
            Ids count for each of them.

        Returns
        -------
        int
            One more than the largest.
        """
        used = self.points.id[(self.points.annotator == annotator) & (self.points.kind == kind)]
        return int(used.max()) + 1 if len(used) else 0

    # ------------------------------------------------------------------------------------------ changes
    def moved(self, rows: Any, positions: ArrayLike) -> Marks:
        """Move marks.

        Parameters
        ----------
        rows : array_like
            Which ``(M,)``.
        positions : array_like
            Where to ``(M, D)``, pixels.

        Returns
        -------
        Marks
            Changed.
        """
        points, places = self.points, self.points.position.copy()
        places[rows] = positions
        return replace(self, points=Keypoints(points.frame, points.id, places, points.annotator, points.kind))

    def without(self, rows: Any) -> Marks:
        """Remove marks.

        Parameters
        ----------
        rows : array_like
            Which ``(M,)``.

        Returns
        -------
        Marks
            The others.
        """
        kept = np.ones(len(self), bool)
        kept[rows] = False
        return Marks(self.points.where(kept), self.included[kept], self.check[kept])

    def including(self, rows: Any, counts: bool) -> Marks:
        """Include marks, or exclude them.

        Parameters
        ----------
        rows : array_like
            Which ``(M,)``.
        counts : bool
            True to include.

        Returns
        -------
        Marks
            Changed.
        """
        included = self.included.copy()
        included[rows] = counts
        return replace(self, included=included)

    def checking(self, rows: Any, held_out: bool) -> Marks:
        """Hold keypoints out of fits, or let them steer again.

        Parameters
        ----------
        rows : array_like
            A mark of each ``(M,)``; all marks of those keypoints follow.
        held_out : bool
            True to hold out.

        Returns
        -------
        Marks
            Changed.
        """
        check = self.check.copy()
        for name in {self.name(int(row)) for row in np.atleast_1d(rows)}:
            check[self.rows_of(name)] = held_out
        return replace(self, check=check)

    def with_points(self, points: Keypoints) -> Marks:
        """Add marks; one that is there already (same frame and keypoint) moves instead.

        Parameters
        ----------
        points : Keypoints
            To add, in pixels. They count; marks of held-out keypoints are held out.

        Returns
        -------
        Marks
            Moved marks keep their row, new ones come last.

        Raises
        ------
        ValueError
            When the number of axes differs.
        """
        if points.n_axes != self.points.n_axes:
            raise ValueError(
                f"The movie has {self.points.n_axes} spatial axes, the keypoints have {points.n_axes}; "
                "choose the file or layer that belongs to this movie."
            )
        here = {key: row for row, key in enumerate(_keys(self.points))}
        rows = np.array([here.get(key, -1) for key in _keys(points)], dtype=np.int64)
        is_here = rows >= 0
        base = self.moved(rows[is_here], points.position[is_here]) if is_here.any() else self
        added = Marks.of(points.where(~is_here))
        held_out = {self.name(int(row)) for row in np.flatnonzero(self.check)}
        check = np.array([added.name(row) in held_out for row in range(len(added))], dtype=bool)
        return Marks(
            join([base.points, added.points]),
            np.concatenate([base.included, added.included]),
            np.concatenate([base.check, check]),
        )

    # ------------------------------------------------------------------------------------------ JSON
    def to_dict(self) -> dict[str, Any]:
        """JSON-ready columns.

        Returns
        -------
        dict
            For `from_dict`.
        """
        columns = ("frame", "id", "annotator", "kind", "position")
        content = {column: getattr(self.points, column).tolist() for column in columns}
        return {"format": FORMAT, **content, "included": self.included.tolist(), "check": self.check.tolist()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], n_axes: int) -> Marks:
        """Read what `to_dict` wrote.

        Parameters
        ----------
        content : mapping
            The columns.
        n_axes : int
            Number of spatial axes, which an empty table does not know.

        Returns
        -------
        Marks
            As they were.

        Raises
        ------
        ValueError
            When it was written by a newer version.
        """
        if content.get("format") != FORMAT:
            raise ValueError(
                f"Expected saved keypoints of format {FORMAT}, got {content.get('format')!r}; update napari-denoisereg."
            )
        places = np.array(content["position"], dtype=float).reshape(-1, n_axes)
        points = Keypoints(content["frame"], content["id"], places, content["annotator"], content["kind"])
        return cls(points, np.array(content["included"], bool), np.array(content["check"], bool))


def _keys(points: Keypoints) -> list[tuple[Any, ...]]:
    columns = (points.frame, points.annotator, points.kind, points.id)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def positions_at(marks: Marks, frame: int) -> dict[Name, Floats]:
    """Where each keypoint is marked in a frame.

    Parameters
    ----------
    marks : Marks
        Of the movie.
    frame : int
        Counted from 0.

    Returns
    -------
    dict
        Position ``(D,)``, pixels, by keypoint.
    """
    rows = np.flatnonzero(marks.points.frame == frame)
    return {marks.name(int(row)): marks.points.position[row] for row in rows}
