"""Displacement fields as tensors: inversion, composition, Jacobian. Convention: ``geometry/__init__.py``."""

import torch
from torch import Tensor

from napari_denoisereg.geometry.grid import Grid
from napari_denoisereg.geometry.sampling import sample


def compose(first: Tensor, second: Tensor, grid: Grid) -> Tensor:
    """Field of "first, then second" on points: ``u(x) = first(x) + second(x + first(x))``.

    Parameters
    ----------
    first, second : Tensor
        ``(D, *grid.shape)``, world units.
    grid : Grid
        Where both are sampled.

    Returns
    -------
    Tensor
        ``(D, *grid.shape)``, world units.
    """
    grid = _here(grid)
    index = grid.to_index(grid.points(first.device) + first).unsqueeze(0)
    return first + sample(second.unsqueeze(0), index, outside="edge")[0]


def jacobian(field: Tensor, grid: Grid) -> Tensor:
    """Jacobian matrix of ``T(x) = x + u(x)`` at every voxel, by central differences (one-sided at the border).

    Parameters
    ----------
    field : Tensor
        ``(D, *grid.shape)``, world units.
    grid : Grid
        Where it is sampled.

    Returns
    -------
    Tensor
        ``(D, D, *grid.shape)``: entry ``[i, j]`` is the derivative of component ``i`` along axis ``j``.
    """
    columns = [_derivative(field, axis, grid.spacing[axis]) for axis in range(grid.ndim)]
    eye = torch.eye(grid.ndim, device=field.device, dtype=field.dtype)
    return torch.stack(columns, dim=1) + eye.reshape(grid.ndim, grid.ndim, *(1,) * grid.ndim)


def jacobian_determinant(field: Tensor, grid: Grid) -> Tensor:
    """Local change of volume: 1 where nothing is stretched, not positive where space folds.

    Parameters
    ----------
    field : Tensor
        ``(D, *grid.shape)``, world units.
    grid : Grid
        Where it is sampled.

    Returns
    -------
    Tensor
        ``grid.shape``.
    """
    return determinant(jacobian(field, grid))


def determinant(matrices: Tensor) -> Tensor:
    """Determinants of many small matrices, in closed form: batched LAPACK takes a hundred times as long.

    Parameters
    ----------
    matrices : Tensor
        ``(D, D, *any)``, D = 2 or 3.

    Returns
    -------
    Tensor
        ``(*any)``.
    """
    m = matrices
    if len(m) == 2:
        return m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]
    return (m[0] * torch.linalg.cross(m[1], m[2], dim=0)).sum(0)


def invert(field: Tensor, grid: Grid, *, iterations: int = 30, tolerance: float = 1e-3) -> Tensor:
    """Field ``v`` of the inverse map: ``v(y) + u(y + v(y)) = 0``, by a damped Newton iteration at every voxel.

    Parameters
    ----------
    field : Tensor
        ``u``, ``(D, *grid.shape)``, world units.
    grid : Grid
        Where ``u`` is sampled, and where ``v`` is wanted.
    iterations : int
        At most so many.
    tolerance : float
        Accepted residual, in the smallest voxel spacing. Where it is not met (folds), ``v`` is NaN.

    Returns
    -------
    Tensor
        ``v``, ``(D, *grid.shape)``, world units.
    """
    grid = _here(grid)
    wanted = grid.points(field.device).flatten(1)
    both = torch.cat([field, jacobian(field, grid).flatten(0, 1)]).unsqueeze(0)
    limit = tolerance * min(grid.spacing)
    guess = wanted - field.flatten(1)
    active = torch.arange(wanted.shape[1], device=field.device)
    for _ in range(iterations):
        stepped, residual = _newton_step(both, guess[:, active], wanted[:, active], grid)
        guess[:, active] = stepped
        # Only voxels that are not there yet go on: after a few steps almost none.
        active = active[residual.norm(dim=0) > limit]
        if len(active) == 0:
            break
    guess[:, active] = torch.nan
    return (guess - wanted).reshape(field.shape)


def _here(grid: Grid) -> Grid:
    """The grid with voxel 0 at 0: displacements do not change, and far from 0 float32 positions have too few digits."""
    return Grid(grid.shape, grid.spacing)


def _residual(both: Tensor, guess: Tensor, wanted: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """How far the map of the guess is from where it should be ``(D, N)``, and the slope of the map there ``(D, D, N)``."""
    index = grid.to_index(guess)
    read = sample(both, index.unsqueeze(0), outside="edge")[0]
    slopes = read[grid.ndim :].reshape(grid.ndim, grid.ndim, -1)
    # Beyond its last voxel the field goes on as it is there: along that axis the map has the slope of the identity.
    last = torch.tensor(grid.shape, device=index.device)[:, None] - 1
    beyond = (index < 0) | (index > last)
    still = torch.eye(grid.ndim, device=slopes.device, dtype=slopes.dtype)[..., None]
    return guess + read[: grid.ndim] - wanted, torch.where(beyond, still, slopes)


def _newton_step(both: Tensor, guess: Tensor, wanted: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """One Newton step per voxel; where it does not help, half a fixed-point step. Returns the guess and its residual."""
    residual, slopes = _residual(both, guess, wanted, grid)
    newton = guess - _solved(slopes, residual)
    after = _residual(both, newton, wanted, grid)[0]
    better = after.norm(dim=0) <= residual.norm(dim=0)
    plain = guess - 0.5 * residual
    chosen = torch.where(better, newton, plain)
    return chosen, torch.where(better, after, _residual(both, plain, wanted, grid)[0])


def _solved(matrices: Tensor, right: Tensor) -> Tensor:
    """Solutions of many small linear systems by Cramer's rule; where a matrix is singular (a fold) the right side itself."""
    size = determinant(matrices)
    columns = []
    for axis in range(len(matrices)):
        replaced = matrices.clone()
        replaced[:, axis] = right
        columns.append(determinant(replaced))
    singular = size.abs() < 1e-3
    return torch.where(singular, right, torch.stack(columns) / torch.where(singular, 1.0, size))


def _derivative(field: Tensor, axis: int, spacing: float) -> Tensor:
    if field.shape[axis + 1] == 1:
        return torch.zeros_like(field)
    return torch.gradient(field, spacing=spacing, dim=axis + 1)[0]
