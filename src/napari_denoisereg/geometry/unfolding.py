"""Unfolding: take the folds out of a displacement field, by smoothing it there and nowhere else.

A field that folds says of two places that both come from one. It cannot be inverted, and an image warped by it shows things
twice and mirrored. Where the smallest Jacobian determinant is too small the field is drawn towards its mean around there, at
first over a voxel or two, then over ever wider places until nothing folds. The rest stays as it is, to the last digit.

The determinant is taken with one-sided differences, all combinations of them: between voxel centres a field is linear along
each axis, and in 2D it folds nowhere if it folds at none of these corners. (Central differences overlook folds of one voxel.)
"""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_denoisereg.geometry.fields import determinant
from napari_denoisereg.geometry.grid import Grid
from napari_denoisereg.geometry.sampling import smooth

LEAST = 0.1  # of the determinant; what is squeezed further is no more than a line on a screen
ROUNDS = 45
ROUNDS_ALIKE, WIDER, WIDEST = 3, 1.5, 16.0  # every so many rounds so many times as wide; voxels of the finest axis


def unfolded(field: Tensor, grid: Grid, *, least: float = LEAST) -> Tensor:
    """A field without folds that equals another one where that does not fold.

    Parameters
    ----------
    field : Tensor
        Displacement ``(D, *grid.shape)``, world units.
    grid : Grid
        Where it is sampled.
    least : float
        Jacobian determinant that is left everywhere; between 0 and 1.

    Returns
    -------
    Tensor
        ``(D, *grid.shape)``, world units. The field itself where there is nothing to do, where some of it is unknown (NaN), and
        where most of it folds: that is a mirror.
    """
    if not bool(field.isfinite().all()) or float((least_determinant(field, grid) < least).float().mean()) > 0.5:
        return field
    pool, reach = (F.max_pool2d if grid.ndim == 2 else F.max_pool3d), 1.0
    for number in range(1, ROUNDS + 1):
        folds = least_determinant(field, grid) < least
        if not bool(folds.any()):
            break
        widths = [reach * min(grid.spacing) / step for step in grid.spacing]
        far = [int(2 * width) for width in widths]
        near = pool(folds[None, None].to(field.dtype), [2 * each + 1 for each in far], stride=1, padding=far)
        near = smooth(near, widths)[0].clamp(max=1)
        field = torch.lerp(field, smooth(field[None], [2 * width for width in widths])[0], near)
        if number % ROUNDS_ALIKE == 0:
            reach = min(reach * WIDER, WIDEST)
    return field


def least_determinant(field: Tensor, grid: Grid) -> Tensor:
    """Smallest Jacobian determinant of ``x + u(x)`` at every voxel, over all combinations of one-sided differences.

    Parameters
    ----------
    field : Tensor
        ``u``, ``(D, *grid.shape)``, world units.
    grid : Grid
        Where it is sampled.

    Returns
    -------
    Tensor
        ``grid.shape``.
    """
    eye = torch.eye(grid.ndim, device=field.device, dtype=field.dtype).reshape(grid.ndim, grid.ndim, *(1,) * grid.ndim)
    sides = [_one_sided(field, axis + 1, spacing) for axis, spacing in enumerate(grid.spacing)]
    corners = (determinant(torch.stack(corner, dim=1) + eye) for corner in itertools.product(*sides))
    smallest = next(corners)
    for corner in corners:
        smallest = torch.minimum(smallest, corner)
    return smallest


def _one_sided(field: Tensor, dim: int, spacing: float) -> tuple[Tensor, Tensor]:
    """Backward and forward differences; at a border the only one there is."""
    if field.shape[dim] == 1:
        return torch.zeros_like(field), torch.zeros_like(field)
    slope, last = field.diff(dim=dim) / spacing, field.shape[dim] - 2
    return torch.cat([slope.narrow(dim, 0, 1), slope], dim), torch.cat([slope, slope.narrow(dim, last, 1)], dim)
