"""Where a transform takes a point from: the inverse at single points, by Newton's method, without inverting a whole field."""

import torch
from torch import Tensor

from napari_denoisereg.geometry.landmarks import ThinPlateSpline
from napari_denoisereg.geometry.transform import Displacement, Sequential, Transform

ITERATIONS = 50
TOLERANCE = 1e-3  # of the step with which slopes are taken


def preimage(transform: Transform, points: Tensor) -> Tensor:
    """Points ``x`` with ``T(x) == points``.

    Parameters
    ----------
    transform : Transform
        Fixed to moving.
    points : Tensor
        ``(D, *any)``, float64, world units of the moving space.

    Returns
    -------
    Tensor
        Same shape, world units of the fixed space; NaN where there is no such point (folds).
    """
    if transform.is_affine:
        return transform.inverse()(points)
    if isinstance(transform, Sequential):
        for part in reversed(transform.parts):
            points = preimage(part, points)
        return points
    return _newton(transform, points.reshape(len(points), -1)).reshape(points.shape)


def _newton(transform: Transform, wanted: Tensor) -> Tensor:
    steps = _steps(transform).to(wanted)
    guess = wanted - (transform(wanted) - wanted)
    residual = transform(guess) - wanted
    limit = TOLERANCE * float(steps.min())
    for _ in range(ITERATIONS):
        going = ~(residual.norm(dim=0) <= limit)  # not a number goes on as well
        if not bool(going.any()):
            break
        here, left, goal = guess[:, going], residual[:, going], wanted[:, going]
        slopes = torch.nan_to_num(_slopes(transform, here, steps))
        newton = here - torch.linalg.lstsq(slopes, torch.nan_to_num(left).T[..., None]).solution[..., 0].T
        after = transform(newton) - goal
        better = after.norm(dim=0) < left.norm(dim=0)
        # Where Newton does not help: half of a fixed-point step, which does as long as nothing folds.
        plain = here - 0.5 * left
        guess[:, going] = torch.where(better, newton, plain)
        residual[:, going] = torch.where(better, after, transform(plain) - goal)
    return torch.where(residual.norm(dim=0) <= limit, guess, torch.nan)


def _slopes(transform: Transform, points: Tensor, steps: Tensor) -> Tensor:
    """Jacobians ``(N, D, D)`` by central differences."""
    columns = []
    for axis in range(len(points)):
        step = torch.zeros_like(points)
        step[axis] = steps[axis]
        columns.append((transform(points + step) - transform(points - step)) / (2 * steps[axis]))
    return torch.stack(columns, dim=-1).movedim(1, 0)


def _steps(transform: Transform) -> Tensor:
    """Distance per axis over which slopes are taken, world units."""
    if isinstance(transform, Displacement):
        return 0.5 * torch.tensor(transform.grid.spacing, dtype=torch.float64)
    if isinstance(transform, ThinPlateSpline):
        return torch.full((transform.ndim,), 1e-2 * transform.scale, dtype=torch.float64)
    raise TypeError(f"A {type(transform).__name__} cannot be inverted point by point; convert it with to_displacement(grid).")
