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
    matrices = jacobian(field, grid).flatten(2).permute(2, 0, 1)
    return torch.linalg.det(matrices).reshape(grid.shape)


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
    wanted = grid.points(field.device)
    slopes = jacobian(field, grid).flatten(0, 1)
    both = torch.cat([field, slopes]).unsqueeze(0)
    limit = tolerance * min(grid.spacing)
    guess = wanted - field
    residual = _residual(both, guess, wanted, grid)[0]
    for _ in range(iterations):
        if not bool((residual.norm(dim=0) > limit).any()):
            break
        guess, residual = _newton_step(both, guess, wanted, grid)
    failed = residual.norm(dim=0) > limit
    return torch.where(failed, torch.nan, guess - wanted)


def _here(grid: Grid) -> Grid:
    """The grid with voxel 0 at 0: displacements do not change, and far from 0 float32 positions have too few digits."""
    return Grid(grid.shape, grid.spacing)


def _residual(both: Tensor, guess: Tensor, wanted: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    read = sample(both, grid.to_index(guess).unsqueeze(0), outside="edge")[0]
    return guess + read[: grid.ndim] - wanted, read[grid.ndim :]


def _newton_step(both: Tensor, guess: Tensor, wanted: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """One Newton step per voxel; where it does not help, a plain fixed-point step of half the length."""
    ndim = grid.ndim
    residual, slopes = _residual(both, guess, wanted, grid)
    matrices = slopes.reshape(ndim, ndim, -1).permute(2, 0, 1)
    # Where the slope is singular (a fold) the plain step is taken instead.
    safe = torch.where((torch.linalg.det(matrices).abs() > 1e-3)[:, None, None], matrices, torch.eye(ndim).to(matrices))
    step = torch.linalg.solve(safe, residual.flatten(1).T.unsqueeze(-1)).squeeze(-1).T.reshape(residual.shape)
    newton = guess - step
    after = _residual(both, newton, wanted, grid)[0]
    better = after.norm(dim=0) <= residual.norm(dim=0)
    plain = guess - 0.5 * residual
    chosen = torch.where(better, newton, plain)
    return chosen, torch.where(better, after, _residual(both, plain, wanted, grid)[0])


def _derivative(field: Tensor, axis: int, spacing: float) -> Tensor:
    if field.shape[axis + 1] == 1:
        return torch.zeros_like(field)
    return torch.gradient(field, spacing=spacing, dim=axis + 1)[0]
