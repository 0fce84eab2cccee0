"""Keypoints, and the registration error measured at them.

A keypoint is a place of the specimen that a person (or a generator) marked in several frames under one id. Before
registration its error in frame t is how far it lies from where it was in the fixed frame (DenoiseReg, eq. 5):

    e[i, t] = || p[i, t] - p[i, 0] ||

After registration the moving frame's keypoint is first brought back into the fixed frame by the inverse of the
transform found for that frame (a Transform maps fixed points to moving points: a fixed keypoint is found at `T(p)`):

    e[i, t] = || inverse(T[t])(p[i, t]) - p[i, 0] ||

This file knows no transforms: the caller passes one mapping of moving points into fixed space per frame.
Annotators weigh the same however many points each marked (mean per annotator, then the mean of those, as in Table 1);
interior and contour points are kept apart (as in Table 2).

References
----------
DenoiseReg: unsupervised joint denoising and registration of time-lapse live cell microscopy images. IEEE
International Symposium on Biomedical Imaging (ISBI) 2022, eq. 5, Tables 1 and 2.

Differences from the paper: frames are counted from 0, not 1, and median and 90th percentile are given beside the mean.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Texts = NDArray[np.str_]
Row = dict[str, Any]
Mapping = Callable[[Floats], Floats]
Column = Literal["frame", "id", "annotator", "kind"]

KINDS = ("interior", "contour")


@dataclass(frozen=True, eq=False, init=False)
class Keypoints:
    """Marked places of a time-lapse, one row per mark; read-only columns of equal length N.

    Parameters
    ----------
    frame
        Frame number of each mark `(N,)`, counted from 0.
    id
        Which keypoint it is `(N,)`: the same number in every frame. Ids count per annotator and kind.
    position
        Where it is `(N, D)`: pixels, in axis order (y, x) or (z, y, x), voxel centres at whole numbers.
    annotator
        Who marked it `(N,)`; one name stands for all rows.
    kind
        "interior" or "contour" `(N,)`; one word stands for all rows.
    """

    frame: Ints
    id: Ints
    position: Floats
    annotator: Texts
    kind: Texts

    def __init__(
        self,
        frame: ArrayLike,
        id: ArrayLike,  # noqa: A002  # the column's name in every keypoint file
        position: ArrayLike,
        annotator: ArrayLike = "",
        kind: ArrayLike = "interior",
    ) -> None:
        places = np.array(position, dtype=np.float64)
        if places.ndim != 2:
            raise ValueError(
                f"Keypoint positions must be (N, D) with one column per axis, got shape {places.shape}; "
                "pass rows of (y, x) or (z, y, x)."
            )
        n = len(places)
        self._keep("position", places)
        self._keep("frame", _whole_numbers(frame, "frame", n))
        self._keep("id", _whole_numbers(id, "id", n))
        self._keep("annotator", _texts(annotator, "annotator", n))
        self._keep("kind", _texts(kind, "kind", n))
        self._check()

    def _keep(self, column: str, values: NDArray[Any]) -> None:
        values.setflags(write=False)
        object.__setattr__(self, column, values)

    def _check(self) -> None:
        if not np.isfinite(self.position).all():
            bad = np.flatnonzero(~np.isfinite(self.position).all(axis=1))[:5].tolist()
            raise ValueError(f"Keypoint positions must be finite, got NaN or infinity in rows {bad}; drop those rows.")
        if len(self) and self.frame.min() < 0:
            raise ValueError(f"Frames must count from 0, got {self.frame.min()}; subtract the first frame's number.")
        unknown = sorted(set(self.kind.tolist()) - set(KINDS))
        if unknown:
            raise ValueError(f"Keypoint kind must be one of {KINDS}, got {unknown}; rename the kind column's values.")
        names = list(zip(self.frame.tolist(), *_identities(self), strict=True))
        if len(set(names)) < len(names):
            twice = next(name for index, name in enumerate(names) if name in names[:index])
            raise ValueError(
                "A keypoint may be marked once per frame, annotator and kind, got two marks for (frame, annotator, "
                f"kind, id) = {twice}; give one of them another id or remove it."
            )

    def __len__(self) -> int:
        """Return the number of marks N."""
        return len(self.position)

    @property
    def n_axes(self) -> int:
        """Number of spatial axes D."""
        return int(self.position.shape[1])

    @property
    def annotators(self) -> tuple[str, ...]:
        """Names of the annotators, sorted."""
        return tuple(sorted(set(self.annotator.tolist())))

    def where(self, rows: NDArray[Any]) -> "Keypoints":
        """Return the marks chosen by a mask or by row numbers `rows`."""
        return Keypoints(self.frame[rows], self.id[rows], self.position[rows], self.annotator[rows], self.kind[rows])

    def in_frame(self, frame: int) -> "Keypoints":
        """Return the marks of one frame, sorted by annotator, kind and id."""
        rows = np.flatnonzero(self.frame == frame)
        order = np.lexsort((self.id[rows], self.kind[rows], self.annotator[rows]))
        return self.where(rows[order])


def join(parts: Iterable[Keypoints]) -> Keypoints:
    """Put the marks of several annotators, kinds or frames into one table, in the order given."""
    tables = list(parts)
    if not tables:
        raise ValueError("Expected at least one Keypoints table to join, got none; pass a non-empty list.")
    dimensions = sorted({table.n_axes for table in tables})
    if len(dimensions) > 1:
        raise ValueError(f"Keypoints of one movie must agree in dimension, got {dimensions}; keep 2D and 3D apart.")
    return Keypoints(
        np.concatenate([table.frame for table in tables]),
        np.concatenate([table.id for table in tables]),
        np.concatenate([table.position for table in tables]),
        np.concatenate([table.annotator for table in tables]),
        np.concatenate([table.kind for table in tables]),
    )


def contour_points(outline: ArrayLike, n: int) -> Floats:
    """Return `n` points `(n, 2)` along a closed outline at equal arc length, the first at the outline's first corner.

    Parameters
    ----------
    outline
        Corners `(M, 2)` of a closed shape in order, pixels (y, x); the first corner need not be repeated at the end.
    n
        How many points, at least 1.
    """
    corners = np.asarray(outline, dtype=np.float64)
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
        raise ValueError(
            f"An outline must be (M, 2) with at least 3 corners (y, x), got shape {corners.shape}; pass one shape's rows."
        )
    if n < 1:
        raise ValueError(f"The number of contour points must be at least 1, got {n}; pass n=20.")
    closed = np.vstack([corners, corners[:1]])
    travelled = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1)))
    if not travelled[-1] > 0:
        raise ValueError("An outline must enclose something, got corners that all coincide; draw the shape again.")
    stops = np.arange(n) * travelled[-1] / n
    return np.column_stack([np.interp(stops, travelled, closed[:, axis]) for axis in range(2)])


@dataclass(frozen=True, eq=False)
class KeypointError:
    """Registration error of every mark outside the fixed frame; columns of equal length N.

    Parameters
    ----------
    frame, id, annotator, kind
        Which mark it is `(N,)`.
    before, after
        Its error without and with registration `(N,)`, pixels; `after` is NaN where nothing maps the mark.
    before_world, after_world
        The same in world units.
    fixed_frame
        The frame all others are compared with.
    is_registered
        Whether mappings were given; without them all of `after` is NaN.
    unit
        Name of the world unit.
    notes
        What was left out, in sentences.
    """

    frame: Ints
    id: Ints
    annotator: Texts
    kind: Texts
    before: Floats
    after: Floats
    before_world: Floats
    after_world: Floats
    fixed_frame: int = 0
    is_registered: bool = True
    unit: str = "px"
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of errors N."""
        return len(self.frame)

    def where(self, rows: NDArray[Any]) -> "KeypointError":
        """Return the errors chosen by a mask or by row numbers `rows`; the notes stay."""
        columns = ("frame", "id", "annotator", "kind", "before", "after", "before_world", "after_world")
        return replace(self, **{column: getattr(self, column)[rows] for column in columns})

    def rows(self) -> list[Row]:
        """Return one row per mark: frame, id, annotator, kind, before, after (px), before_world, after_world."""
        columns = ("frame", "id", "annotator", "kind", "before", "after", "before_world", "after_world")
        values = zip(*(getattr(self, column).tolist() for column in columns), strict=True)
        return [dict(zip(columns, row, strict=True)) for row in values]

    def table(self, *by: Column, world: bool = False) -> list[Row]:
        """Return figures per group, or over everything.

        Parameters
        ----------
        by
            Columns to group by: "frame", "id", "annotator", "kind"; none of them gives a single row.
        world
            Figures in world units instead of pixels.

        Returns
        -------
        One row per group, sorted: the grouping columns, `n` (marks), `lost` (marks without an `after`), and mean,
        median and 90th percentile of `before` and `after`. Means weigh annotators the same (mean per annotator, then
        the mean of those); medians and percentiles are over all marks of the group.
        """
        if not by:
            return [self.figures(world=world)]
        rows: dict[tuple[Any, ...], list[int]] = {}
        for number, group in enumerate(zip(*(getattr(self, column).tolist() for column in by), strict=True)):
            rows.setdefault(group, []).append(number)
        return [
            dict(zip(by, group, strict=True)) | self.where(np.array(rows[group])).figures(world=world) for group in sorted(rows)
        ]

    def figures(self, *, world: bool = False) -> Row:
        """Return the figures of `table` over all rows: n, lost, and mean, median, p90 of before and after."""
        suffix = "_world" if world else ""
        figures: Row = {"n": len(self), "lost": int(np.isnan(self.after).sum()) if self.is_registered else 0}
        for name in ("before", "after"):
            errors = getattr(self, name + suffix)
            known = ~np.isnan(errors)
            means = [errors[known & (self.annotator == who)] for who in sorted(set(self.annotator[known].tolist()))]
            figures[f"{name}_mean"] = float(np.mean([part.mean() for part in means])) if means else float("nan")
            figures[f"{name}_median"] = float(np.median(errors[known])) if means else float("nan")
            figures[f"{name}_p90"] = float(np.percentile(errors[known], 90)) if means else float("nan")
        return figures


def registration_error(
    points: Keypoints,
    mappings: Sequence[Mapping] | None = None,
    *,
    spacing: Sequence[float] | None = None,
    unit: str = "px",
    fixed_frame: int = 0,
) -> KeypointError:
    """Measure how far every mark is from its place in the fixed frame, before and after registration (eq. 5).

    Parameters
    ----------
    points
        The marks, in pixels.
    mappings
        One callable per frame, frame 0 first: takes marks `(N, D)` of that (moving) frame in pixels to the fixed
        frame, that is, the inverse of the frame's Transform; NaN where it knows none. None measures `before` only.
    spacing
        Size of a pixel along each axis, world units; 1 by default.
    unit
        Name of the world unit, for reports.
    fixed_frame
        The frame the others are compared with.
    """
    scale = np.ones(points.n_axes) if spacing is None else np.asarray(spacing, dtype=np.float64)
    if scale.shape != (points.n_axes,) or not (np.isfinite(scale) & (scale > 0)).all():
        raise ValueError(f"Spacing must be {points.n_axes} positive numbers, got {spacing!r}; pass one per axis.")
    fixed, moving, notes = _paired(points, fixed_frame)
    landed = _land(moving, mappings)
    if mappings is not None and np.isnan(landed).any():
        n_lost = int(np.isnan(landed).any(axis=1).sum())
        notes.append(f"{n_lost} of {len(moving)} marks lie where the transform is unknown; they have no error after.")
    stays, goes = moving.position - fixed, landed - fixed
    return KeypointError(
        moving.frame,
        moving.id,
        moving.annotator,
        moving.kind,
        before=np.linalg.norm(stays, axis=1),
        after=np.linalg.norm(goes, axis=1),
        before_world=np.linalg.norm(stays * scale, axis=1),
        after_world=np.linalg.norm(goes * scale, axis=1),
        fixed_frame=fixed_frame,
        is_registered=mappings is not None,
        unit=unit,
        notes=tuple(notes),
    )


def _paired(points: Keypoints, fixed_frame: int) -> tuple[Floats, Keypoints, list[str]]:
    """Return for each usable mark its place in the fixed frame `(N, D)`, the marks, and what was left out."""
    start = points.in_frame(fixed_frame)
    others = points.where(points.frame != fixed_frame)
    places = dict(zip(zip(*_identities(start), strict=True), start.position, strict=True))
    names = list(zip(*_identities(others), strict=True))
    usable = np.array([name in places for name in names], dtype=bool)
    if not usable.any():
        raise ValueError(
            f"Expected keypoints marked in the fixed frame {fixed_frame} and in another one, got none among "
            f"{len(points)} marks of frames {sorted(set(points.frame.tolist()))[:10]}; mark them there or pass "
            "fixed_frame."
        )
    notes = []
    if not usable.all():
        notes.append(f"{int((~usable).sum())} marks are not in the fixed frame {fixed_frame} and were left out.")
    moving = others.where(usable)
    n_expected = len(places) * len(set(others.frame.tolist()))
    if len(moving) < n_expected:
        notes.append(f"{n_expected - len(moving)} of {n_expected} marks are missing in later frames.")
    fixed = np.array([places[name] for name in zip(*_identities(moving), strict=True)])
    return fixed, moving, notes


def _land(moving: Keypoints, mappings: Sequence[Mapping] | None) -> Floats:
    """Return where the mappings take each mark in the fixed frame `(N, D)`; NaN without mappings."""
    landed = np.full(moving.position.shape, np.nan)
    if mappings is None:
        return landed
    if moving.frame.max() >= len(mappings):
        raise ValueError(
            f"Expected a mapping for every frame up to {moving.frame.max()}, got {len(mappings)}; "
            "pass one per frame of the movie, the fixed frame included."
        )
    for frame in sorted(set(moving.frame.tolist())):
        rows = moving.frame == frame
        mapped = np.asarray(mappings[frame](moving.position[rows]), dtype=np.float64)
        if mapped.shape != moving.position[rows].shape:
            raise ValueError(
                f"Expected the mapping of frame {frame} to return points {moving.position[rows].shape}, got "
                f"{mapped.shape}; it must take (N, D) pixels to (N, D) pixels."
            )
        landed[rows] = mapped
    return landed


def _whole_numbers(values: ArrayLike, column: str, n: int) -> Ints:
    numbers = np.array(values)
    if numbers.shape != (n,):
        raise ValueError(
            f"Keypoint column {column!r} must hold one number per position ({n}), got shape {numbers.shape}; "
            "pass columns of equal length."
        )
    if n and not (np.issubdtype(numbers.dtype, np.number) and np.equal(np.mod(numbers, 1), 0).all()):
        raise ValueError(f"Keypoint column {column!r} must hold whole numbers, got {numbers[:3]}...; round it first.")
    return numbers.astype(np.int64)


def _texts(values: ArrayLike, column: str, n: int) -> Texts:
    texts = np.array(values, dtype=np.str_)
    if texts.shape not in ((), (n,)):
        raise ValueError(
            f"Keypoint column {column!r} must be one word or one per position ({n}), got shape {texts.shape}; "
            "pass columns of equal length."
        )
    return np.broadcast_to(texts, (n,)).copy()


def _identities(points: Keypoints) -> tuple[list[str], list[str], list[int]]:
    return points.annotator.tolist(), points.kind.tolist(), points.id.tolist()
