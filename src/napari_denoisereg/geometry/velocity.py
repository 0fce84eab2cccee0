"""Stationary velocities and the smooth, invertible motion they lead to. Convention: ``geometry/__init__.py``.

References
----------
Arsigny et al. 2006, doi:10.1007/11866565_113. Dalca et al. 2019, doi:10.1016/j.media.2019.07.006.
"""

import torch
from torch import Tensor

from napari_denoisereg.geometry.grid import Grid
from napari_denoisereg.geometry.sampling import sample

SQUARINGS = 7


def moved_index(field: Tensor, grid: Grid) -> Tensor:
    """Where the voxels of a grid are read under a batch of displacements; differentiable.

    Parameters
    ----------
    field : Tensor
        ``(B, D, *grid.shape)``, world units.
    grid : Grid
        Where it is sampled.

    Returns
    -------
    Tensor
        ``(B, D, *grid.shape)``, voxels.
    """
    step = torch.tensor(grid.spacing, dtype=field.dtype, device=field.device).reshape(-1, *(1,) * grid.ndim)
    return Grid(grid.shape).points(field.device).to(field.dtype) + field / step


def exponential(velocity: Tensor, grid: Grid, squarings: int = SQUARINGS) -> Tensor:
    """Displacement after flowing along a velocity for one unit of time, by scaling and squaring.

    ``u_0 = v / 2^n``, then n times ``u ← u + u ∘ (id + u)``. Where v changes by less than its grid can show the result has no
    folds, and the exponential of ``-v`` is its inverse.

    Parameters
    ----------
    velocity : Tensor
        ``(B, D, *grid.shape)``, world units per unit of time.
    grid : Grid
        Where it is sampled.
    squarings : int
        n.

    Returns
    -------
    Tensor
        ``(B, D, *grid.shape)``, world units; differentiable.
    """
    field = velocity / 2**squarings
    for _ in range(squarings):
        field = field + sample(field, moved_index(field, grid), outside="edge")
    return field
