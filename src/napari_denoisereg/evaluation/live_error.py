"""The registration error while marks are being moved: only what a moved mark touches is measured again.

`LiveError` gives for each mark the numbers of `keypoints.registration_error` (DenoiseReg, eq. 5), and for each frame their mean
and median. A mark moved in frame t touches one error; a mark moved in the fixed frame touches those of its keypoint in all
frames, but no transform has to be evaluated again for them: where a mark of frame t lies in the fixed frame is remembered.

`SteeredError` is for transforms that are themselves fitted to marks: moving one moves the fit of its whole frame. Its error at
marks that steer is the leave-one-out error, at check points that of the fit, which did not see them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_denoisereg.evaluation.keypoints import Floats, Ints, Keypoints, Mapping
from napari_denoisereg.evaluation.point_fit import FitModel, PointFit

Flags = NDArray[np.bool_]
Side = Literal["before", "after"]


@dataclass(frozen=True, eq=False)
class Curves:
    """Errors over time, pixels; NaN where nothing is known.

    Parameters
    ----------
    frames
        Frame numbers `(F,)`.
    mean, median
        Of each frame `(F,)`; the mean weighs annotators the same.
    annotators
        Mean of each annotator `(F,)`.
    each
        Error of each keypoint `(F, K)`, columns as `LiveError.keypoints`.
    """

    frames: Ints
    mean: Floats
    median: Floats
    annotators: dict[str, Floats]
    each: Floats


class LiveError:
    """Registration error of all marks, kept up to date.

    Parameters
    ----------
    points
        The marks, in pixels.
    mappings
        One callable per frame, moving pixels to fixed pixels, as for `registration_error`; None measures `before` only.
    included
        Which marks count `(N,)`; all by default. The error of the others is known too, but not in the curves.
    fixed_frame
        The frame all others are compared with.

    Attributes
    ----------
    before, after : ndarray
        Error of each mark `(N,)`, pixels; NaN in the fixed frame, where the keypoint is not marked there, and (`after`)
        where nothing maps it.
    landed : ndarray
        Where the transform brings each mark in the fixed frame `(N, D)`.
    """

    def __init__(
        self,
        points: Keypoints,
        mappings: Sequence[Mapping] | None = None,
        *,
        included: ArrayLike | None = None,
        fixed_frame: int = 0,
    ) -> None:
        self._points = points
        self._mappings = mappings
        self._fixed_frame = fixed_frame
        self.position: Floats = points.position.copy()
        self.included: Flags = np.ones(len(points), bool) if included is None else np.array(included, bool)
        self.landed: Floats = np.full(self.position.shape, np.nan)
        self.before: Floats = np.full(len(points), np.nan)
        self.after: Floats = np.full(len(points), np.nan)
        self._index()
        everything = np.arange(len(points))
        self._land(everything)
        self._measure(everything)

    @property
    def is_registered(self) -> bool:
        """Whether there is an `after`."""
        return self._mappings is not None

    def n_keypoints(self, rows: Flags) -> int:
        """Return how many keypoints the marks chosen by a mask `rows` are of."""
        return len(np.unique(self._column[rows]))

    def overall(self, side: Side) -> float:
        """Return the mean error of all marks that count, annotators weighing the same; NaN where there is none."""
        grid = self._grid[side]
        means = [_means(grid[:, start:stop].reshape(1, -1)) for start, stop in pairwise(self._blocks)]
        return float(_means(np.column_stack(means))[0]) if means else float("nan")

    def points(self) -> Keypoints:
        """Return the marks where they are now."""
        points = self._points
        return Keypoints(points.frame, points.id, self.position, points.annotator, points.kind)

    def move(self, rows: ArrayLike, positions: ArrayLike) -> Ints:
        """Move marks.

        Parameters
        ----------
        rows
            Which `(M,)`.
        positions
            Where they are now `(M, D)`, pixels.

        Returns
        -------
        The rows whose error may have changed.
        """
        moved = np.atleast_1d(np.asarray(rows, dtype=np.int64))
        self.position[moved] = positions
        touched = np.unique(np.concatenate([moved, self._land(moved), *(self._followers(row) for row in moved)]))
        self._measure(touched)
        return touched

    def include(self, rows: ArrayLike, counts: ArrayLike) -> None:
        """Let marks count in the curves, or not.

        Parameters
        ----------
        rows
            Which `(M,)`.
        counts
            True to include, one or `(M,)`.
        """
        changed = np.atleast_1d(np.asarray(rows, dtype=np.int64))
        self.included[changed] = counts
        self._enter(np.unique(np.concatenate([changed, *(self._followers(row) for row in changed)])))

    def follow(self, points: Keypoints, included: Flags) -> bool:
        """Take marks that are elsewhere, or count or not, but are the same marks.

        Parameters
        ----------
        points
            The marks now, in the same order.
        included
            Which count `(N,)`.

        Returns
        -------
        Whether they are the same; if not, nothing is done.
        """
        columns = ("frame", "id", "annotator", "kind")
        if not all(np.array_equal(getattr(points, column), getattr(self._points, column)) for column in columns):
            return False
        moved = np.flatnonzero((points.position != self.position).any(axis=1))
        if len(moved):
            self.move(moved, points.position[moved])
        changed = np.flatnonzero(included != self.included)
        if len(changed):
            self.include(changed, included[changed])
        return True

    @property
    def counts(self) -> Flags:
        """Which marks have an error that counts `(N,)`: included, as is their mark in the fixed frame."""
        return self._has_partner & self.included & self.included[self._partner]

    @property
    def residual(self) -> Floats:
        """Way from each keypoint's place in the fixed frame to where its mark lands `(N, D)`, pixels; NaN without error."""
        landed = self.landed if self.is_registered else self.position
        way = landed - self.position[self._partner]
        way[~self._has_partner] = np.nan
        return way

    def fixed_places(self) -> Floats:
        """Return where each mark's keypoint is in the fixed frame `(N, D)`; NaN where it is not marked there."""
        places = self.position[self._partner]
        places[~self._has_partner] = np.nan
        return places

    def curves(self, side: Side) -> Curves:
        """Return the errors over time, before or after registration."""
        return Curves(
            self.frames,
            self._mean[side].copy(),
            self._median[side].copy(),
            {who: values.copy() for who, values in zip(self.annotators, self._annotator_means[side].T, strict=True)},
            self._grid[side].copy(),
        )

    # ------------------------------------------------------------------------------------------ bookkeeping
    def _index(self) -> None:
        """Find for every mark its keypoint's mark in the fixed frame, and its place in the grid of frames and keypoints."""
        points = self._points
        people, who = np.unique(points.annotator, return_inverse=True)
        kinds, kind = np.unique(points.kind, return_inverse=True)
        columns, self._column = np.unique(np.column_stack([who, kind, points.id]), axis=0, return_inverse=True)
        self._column = self._column.ravel()
        self.keypoints = [(str(people[one]), str(kinds[each]), int(number)) for one, each, number in columns.tolist()]
        is_fixed = points.frame == self._fixed_frame
        first = np.full(len(self.keypoints), -1, dtype=np.int64)
        first[self._column[is_fixed]] = np.flatnonzero(is_fixed)
        self._partner: Ints = first[self._column]
        self._has_partner: Flags = (self._partner >= 0) & ~is_fixed
        self._partner[self._partner < 0] = 0  # never read: has_partner is false
        order = np.argsort(self._column, kind="stable")
        ends = np.searchsorted(self._column[order], np.arange(len(self.keypoints) + 1))
        self._rows_of = [order[start:stop] for start, stop in pairwise(ends)]
        self.frames: Ints = np.unique(points.frame[~is_fixed])
        self._line: Ints = np.searchsorted(self.frames, points.frame)
        self._line[is_fixed] = -1
        self.annotators = people.tolist()
        self._blocks = np.searchsorted(columns[:, 0], np.arange(len(people) + 1))
        shape = (len(self.frames), len(self.keypoints))
        self._grid = {side: np.full(shape, np.nan) for side in ("before", "after")}
        self._mean = {side: np.full(shape[0], np.nan) for side in ("before", "after")}
        self._median = {side: np.full(shape[0], np.nan) for side in ("before", "after")}
        self._annotator_means = {side: np.full((shape[0], len(self.annotators)), np.nan) for side in ("before", "after")}

    def _followers(self, row: int) -> Ints:
        """Rows whose error depends on a row: all of its keypoint for a mark of the fixed frame, else none."""
        return self._rows_of[self._column[row]] if self._points.frame[row] == self._fixed_frame else np.empty(0, np.int64)

    def _land(self, rows: Ints) -> Ints:
        """Map marks to the fixed frame; return the rows that landed elsewhere."""
        if self._mappings is None:
            return np.empty(0, np.int64)
        moving = rows[self._has_partner[rows]]
        for frame in np.unique(self._points.frame[moving]).tolist():
            chosen = moving[self._points.frame[moving] == frame]
            self.landed[chosen] = self._mappings[frame](self.position[chosen])
        return moving

    def _measure(self, rows: Ints) -> None:
        """Measure the error of marks."""
        chosen = rows[self._has_partner[rows]]
        fixed = self.position[self._partner[chosen]]
        self.before[chosen] = np.linalg.norm(self.position[chosen] - fixed, axis=1)
        self.after[chosen] = np.linalg.norm(self.landed[chosen] - fixed, axis=1)
        self._enter(chosen)

    def _enter(self, rows: Ints) -> None:
        """Take the errors of marks into the curves."""
        chosen = rows[self._has_partner[rows]]
        counts = self.included[chosen] & self.included[self._partner[chosen]]
        lines, columns = self._line[chosen], self._column[chosen]
        changed = np.unique(lines)
        for side, values in (("before", self.before), ("after", self.after)):
            self._grid[side][lines, columns] = np.where(counts, values[chosen], np.nan)
            part = self._grid[side][changed]
            means = [_means(part[:, start:stop]) for start, stop in pairwise(self._blocks)]
            self._annotator_means[side][changed] = np.column_stack(means) if means else np.empty((len(changed), 0))
            self._mean[side][changed] = _means(self._annotator_means[side][changed])
            self._median[side][changed] = _medians(part)


class SteeredError(LiveError):
    """Registration error where the transforms are fitted to the marks themselves, frame by frame.

    Parameters
    ----------
    points
        The marks, in pixels.
    model
        What is fitted, see `PointFit`.
    check
        Which marks are held out of the fit, to check it `(N,)`; none by default. A keypoint is held out in all frames.
    included
        Which marks count and steer `(N,)`; all by default.
    fixed_frame
        The frame all others are compared with.

    Notes
    -----
    `after` is the leave-one-out error of marks that steer, and the error of the fit at all others; `in_sample` is the error of
    the fit at the marks that made it, which says nothing of its accuracy.
    """

    def __init__(
        self,
        points: Keypoints,
        model: FitModel,
        *,
        check: ArrayLike | None = None,
        included: ArrayLike | None = None,
        fixed_frame: int = 0,
    ) -> None:
        self.model: FitModel = model
        self.check: Flags = np.zeros(len(points), bool) if check is None else np.array(check, bool)
        self.in_sample: Floats = np.full(len(points), np.nan)
        self._fits: dict[int, tuple[PointFit, Ints] | None] = {}
        super().__init__(points, included=included, fixed_frame=fixed_frame)

    @property
    def is_registered(self) -> bool:
        """Always: the fit registers."""
        return True

    def include(self, rows: ArrayLike, counts: ArrayLike) -> None:
        """Let marks count and steer, or not; see `LiveError`."""
        changed = np.atleast_1d(np.asarray(rows, dtype=np.int64))
        self.included[changed] = counts
        self._fits.clear()
        everything = np.arange(len(self.position))
        self._land(everything)
        self._measure(everything)

    def _land(self, rows: Ints) -> Ints:
        frames = self._points.frame
        moving = rows[frames[rows] != self._fixed_frame]
        for frame in np.unique(frames[moving]).tolist():
            self._fits.pop(frame, None)
        # A mark of the fixed frame is what all frames are fitted to; their sources, and so their fits, stay.
        affected = np.unique(frames[moving]) if len(moving) == len(rows) else self.frames
        chosen = np.flatnonzero(np.isin(frames, affected) & self._has_partner)
        for frame in affected.tolist():
            self._land_frame(frame, chosen[frames[chosen] == frame])
        return chosen

    def _land_frame(self, frame: int, rows: Ints) -> None:
        if frame not in self._fits:
            self._fits[frame] = self._fit(rows)
        self.landed[rows], self.in_sample[rows] = np.nan, np.nan
        entry = self._fits[frame]
        if entry is None:
            return
        fit, steering = entry
        targets = self.position[self._partner[steering]]
        others = np.setdiff1d(rows, steering, assume_unique=True)
        if len(others):
            self.landed[others] = fit(self.position[others], targets)
        self.landed[steering] = fit.leave_one_out(targets)
        self.in_sample[steering] = np.linalg.norm(fit.fitted(targets) - targets, axis=1)

    def _fit(self, rows: Ints) -> tuple[PointFit, Ints] | None:
        """Fit to the marks of a frame that steer; None where they are too few or on a line."""
        steering = rows[~self.check[rows] & self.counts[rows]]
        if not PointFit.is_possible(self.position[steering]):
            return None
        return PointFit(self.position[steering], self.model), steering


def _means(values: Floats) -> Floats:
    """Mean of each line over its known values; NaN where there is none."""
    known = ~np.isnan(values)
    n = known.sum(axis=1)
    return np.where(n > 0, np.where(known, values, 0.0).sum(axis=1) / np.maximum(n, 1), np.nan)


def _medians(values: Floats) -> Floats:
    """Median of each line over its known values; NaN where there is none."""
    n = (~np.isnan(values)).sum(axis=1)
    if values.shape[1] == 0:
        return np.full(len(values), np.nan)
    ordered = np.sort(values, axis=1)  # NaN last
    lines = np.arange(len(values))
    low, high = ordered[lines, np.maximum(n - 1, 0) // 2], ordered[lines, np.minimum(n // 2, values.shape[1] - 1)]
    return np.where(n > 0, (low + high) / 2, np.nan)
