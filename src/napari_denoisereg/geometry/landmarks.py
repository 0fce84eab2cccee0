"""Transforms from landmarks: pairs of places that correspond, marked in the fixed and in the moving image.

`fit` finds the transform that maps the fixed landmarks to the moving ones: a matrix by least squares, or a thin-plate spline
that goes through them and bends as little as possible between. Landmarks that somebody put in the wrong place are found first
(`consensus`) and left out.

References
----------
Umeyama 1991 (rigid and similarity), doi:10.1109/34.88573.
Bookstein 1989 (thin-plate splines), doi:10.1109/34.24792; in 3D the kernel is the distance itself.
Fischler and Bolles 1981 (random sample consensus), doi:10.1145/358669.358692.
Rousseeuw 1984 (least median of squares, where no tolerance is given), doi:10.1080/01621459.1984.10477105.
"""

import itertools
import math
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from napari_denoisereg.geometry.transform import Affine, Transform

Floats = NDArray[np.float64]
Motion = Literal["translation", "rigid", "similarity", "affine"]
Kind = Literal["translation", "rigid", "similarity", "affine", "thin_plate"]
MOST_TRIES = 1000
LARGEST_BATCH = 2**20  # distances at once, when a spline is evaluated


@dataclass(frozen=True, eq=False)
class ThinPlateSpline(Transform):
    """``T(x) = A x + b + sum_i w_i U(|x - c_i| / s)``, ``U(r) = r^2 log r`` in 2D and ``-r`` in 3D.

    Parameters
    ----------
    affine : Affine
        ``A`` and ``b``.
    centres : Tensor
        ``c``, ``(D, N)``: the fixed landmarks, world units.
    weights : Tensor
        ``w``, ``(D, N)``, world units.
    scale : float
        ``s``, world units.
    """

    affine: Affine
    centres: Tensor
    weights: Tensor
    scale: float

    def __call__(self, points: Tensor) -> Tensor:
        """Map points; see `Transform`."""
        centres, weights = self.centres.to(points), self.weights.to(points)
        flat = points.reshape(self.ndim, -1)
        parts = flat.split(max(1, LARGEST_BATCH // centres.shape[1]), dim=1)
        bent = [weights @ _kernel(centres / self.scale, part / self.scale) for part in parts]
        return (self.affine(flat) + torch.cat(bent, dim=1)).reshape(points.shape)

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return self.affine.ndim

    def linear_part(self, ndim: int) -> Tensor:
        """``A``; see `Transform`."""
        return self.affine.linear_part(ndim)

    def inverse(self) -> Transform:
        """Has none in closed form.

        Raises
        ------
        TypeError
            Always.
        """
        raise TypeError("A thin-plate spline has no inverse in closed form; use to_displacement(grid).inverse().")


@dataclass(frozen=True, eq=False)
class Fit:
    """What landmarks say.

    Parameters
    ----------
    transform : Transform
        Fixed to moving.
    kept : ndarray
        Which pairs were used ``(N,)``, bool; the others lie somewhere else than the transform of the rest says.
    residuals : ndarray
        How far each pair is from where the transform puts it ``(N,)``, world units.
    """

    transform: Transform
    kept: NDArray[np.bool_]
    residuals: Floats = field(repr=False)


def fit(
    fixed: ArrayLike, moving: ArrayLike, kind: Kind = "affine", *, tolerance: float | None = None, smoothing: float = 0.0
) -> Fit:
    """Find the transform of pairs of landmarks.

    Parameters
    ----------
    fixed, moving : array
        ``(N, D)``, world units, axis order; row i of both is the same place of the specimen.
    kind : {"translation", "rigid", "similarity", "affine", "thin_plate"}
        What may change. The more, the more pairs are needed: 1, D, D, D + 1, D + 1.
    tolerance : float, optional
        Pairs further off than that from what the others agree on are left out, world units. By default it follows from how
        well the better half agrees; infinity keeps all.
    smoothing : float
        Of a thin-plate spline: 0 goes through every landmark, more bends less; the mean distance of landmarks is the unit.

    Returns
    -------
    Fit
        The transform and the pairs it is made of.

    Raises
    ------
    ValueError
        For too few pairs, pairs on one line (in 3D: one plane), values that are not finite, and shapes that do not fit.
    """
    one, other = _checked(fixed, moving, kind)
    motion: Motion = "affine" if kind == "thin_plate" else kind
    kept = consensus(one, other, motion, tolerance=tolerance)
    _check_spread(one[kept], motion)
    transform: Transform
    if kind == "thin_plate":
        transform = _thin_plate(one[kept], other[kept], smoothing)
    else:
        transform = _matrix(one[kept], other[kept], motion)
    landed = transform(torch.from_numpy(one.T.copy())).numpy().T
    return Fit(transform, kept, np.linalg.norm(landed - other, axis=1))


def consensus(fixed: Floats, moving: Floats, motion: Motion, *, tolerance: float | None = None) -> NDArray[np.bool_]:
    """Which pairs agree on one transform.

    Small samples of the pairs each propose a transform; the one that most pairs agree with wins. Without a tolerance the one
    whose better half of the other pairs is nearest wins, and its distances say what is near.

    Parameters
    ----------
    fixed, moving : ndarray
        ``(N, D)``, world units.
    motion : {"translation", "rigid", "similarity", "affine"}
        What may change.
    tolerance : float, optional
        See `fit`.

    Returns
    -------
    ndarray
        ``(N,)``, bool. All of them where there are too few to tell a wrong one.
    """
    count, least = len(fixed), least_pairs(motion, fixed.shape[1])
    everything = np.ones(count, bool)
    if count < least + 2 or tolerance == math.inf:
        return everything
    best, limit, lowest = everything, math.inf, math.inf
    half = (count + least + 1) // 2  # the sample itself always fits, so half of the rest
    for sample in _samples(count, least):
        if not _is_spread(fixed[sample], motion):
            continue
        far = _distances(_matrix(fixed[sample], moving[sample], motion), fixed, moving)
        near = np.sort(far)[half - 1]
        # With a tolerance: few outside first, then near inside.
        cost = (
            near if tolerance is None else float((far > tolerance).sum()) + float(np.minimum(far, tolerance).mean()) / tolerance
        )
        if cost < lowest:
            lowest = cost
            limit = tolerance or max(2.5 * 1.4826 * (1 + 5 / (count - least)) * float(near), 1e-6 * float(np.ptp(fixed)))
            best = far <= limit
    for _ in range(3):  # all that agree know better than the few that proposed
        if not _is_spread(fixed[best], motion) or best.sum() < least:
            return best
        best = _distances(_matrix(fixed[best], moving[best], motion), fixed, moving) <= limit
    return best


def least_pairs(kind: Kind, ndim: int) -> int:
    """How many pairs a transform needs.

    Parameters
    ----------
    kind : str
        See `fit`.
    ndim : int
        Number of spatial axes.

    Returns
    -------
    int
        At least so many.
    """
    return {"translation": 1, "rigid": ndim, "similarity": ndim}.get(kind, ndim + 1)


def _checked(fixed: ArrayLike, moving: ArrayLike, kind: Kind) -> tuple[Floats, Floats]:
    one, other = np.asarray(fixed, np.float64), np.asarray(moving, np.float64)
    if kind not in get_args(Kind):
        raise ValueError(f"Expected one of {', '.join(get_args(Kind))}, got {kind!r}.")
    if one.ndim != 2 or one.shape != other.shape or one.shape[1] not in (2, 3):
        raise ValueError(f"Expected two arrays (N, 2) or (N, 3) of corresponding rows, got {one.shape} and {other.shape}.")
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise ValueError("Landmarks must be finite, got NaN or infinity; remove those rows.")
    least = least_pairs(kind, one.shape[1])
    if len(one) < least:
        raise ValueError(
            f"A transform of kind {kind!r} needs at least {least} pairs of landmarks, got {len(one)}; "
            "mark more, or choose a simpler kind (translation needs one)."
        )
    return one, other


def _is_spread(points: Floats, motion: Motion) -> bool:
    """Whether points are enough and lie apart enough to tell this motion."""
    ndim = int(points.shape[1])
    needed = {"translation": 0, "rigid": ndim - 1, "similarity": ndim - 1, "affine": ndim}[motion]
    if len(points) < least_pairs(motion, ndim):
        return False
    sizes = np.linalg.svd(points - points.mean(0), compute_uv=False)
    return needed == 0 or bool(sizes[0] > 0 and sizes[needed - 1] > 1e-6 * sizes[0])


def _check_spread(points: Floats, motion: Motion) -> None:
    if not _is_spread(points, motion):
        place = "one line" if points.shape[1] == 2 else "one plane or line"
        raise ValueError(
            f"The {len(points)} landmarks that agree lie on {place} or at one place, which does not tell a transform of kind "
            f"{motion!r}; mark places further apart, or choose a simpler kind."
        )


def _samples(count: int, size: int) -> "itertools.combinations[int] | list[NDArray[np.int64]]":
    """Every sample where there are few, else many random ones (the same in every run)."""
    if math.comb(count, size) <= MOST_TRIES:
        return [np.array(each) for each in itertools.combinations(range(count), size)]
    random = np.random.default_rng(0)
    return [random.choice(count, size, replace=False) for _ in range(MOST_TRIES)]


def _distances(transform: Affine, fixed: Floats, moving: Floats) -> Floats:
    weights = transform.weights.numpy()
    return np.linalg.norm(fixed @ weights[:, :-1].T + weights[:, -1] - moving, axis=1)


def _matrix(fixed: Floats, moving: Floats, motion: Motion) -> Affine:
    middle, landed = fixed.mean(0), moving.mean(0)
    one, other = fixed - middle, moving - landed
    if motion == "translation":
        linear = np.eye(fixed.shape[1])
    elif motion == "affine":
        linear = np.linalg.lstsq(one, other, rcond=None)[0].T
    else:
        left, sizes, right = np.linalg.svd(other.T @ one)
        signs = np.ones(len(sizes))
        signs[-1] = np.sign(np.linalg.det(left @ right))  # a turn, not a reflection
        scale = (sizes * signs).sum() / (one**2).sum() if motion == "similarity" else 1.0
        linear = scale * (left * signs) @ right
    return Affine(torch.from_numpy(np.column_stack([linear, landed - linear @ middle])))


def _thin_plate(fixed: Floats, moving: Floats, smoothing: float) -> ThinPlateSpline:
    count, ndim = fixed.shape
    middle = fixed.mean(0)
    scale = float(np.linalg.norm(fixed - middle, axis=1).mean())
    centres = torch.from_numpy((fixed - middle).T / scale)  # about 1, where the equations are well conditioned
    gaps = torch.cdist(centres.T, centres.T).fill_diagonal_(math.inf)
    if float(gaps.min()) < 1e-9:
        raise ValueError("Two landmarks are at the same place of the fixed image; remove one of them.")
    bending = _kernel(centres, centres) + smoothing * torch.eye(count, dtype=centres.dtype)
    plane = torch.cat([torch.ones(1, count, dtype=centres.dtype), centres]).T
    nothing = torch.zeros(ndim + 1, ndim + 1, dtype=centres.dtype)
    left = torch.cat([torch.cat([bending, plane], 1), torch.cat([plane.T, nothing], 1)])
    right = torch.cat([torch.from_numpy(moving), nothing[:, :ndim]])
    solved = torch.linalg.solve(left, right).T
    linear = solved[:, count + 1 :] / scale
    offset = solved[:, count] - linear @ torch.from_numpy(middle)
    affine = Affine(torch.cat([linear, offset[:, None]], dim=1))
    return ThinPlateSpline(affine, torch.from_numpy(fixed.T.copy()), solved[:, :count], scale)


def _kernel(centres: Tensor, points: Tensor) -> Tensor:
    """``U`` of all distances, ``(N, P)``; positive definite on what a plane leaves over."""
    distance = torch.cdist(centres.T, points.T, compute_mode="donot_use_mm_for_euclid_dist")
    return -distance if len(centres) == 3 else torch.xlogy(distance**2, distance)
