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

from collections.abc import Callable, Iterable
from dataclasses import dataclass
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
