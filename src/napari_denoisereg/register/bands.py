"""Bands: frames split into details of one size each, at falling resolution.

References
----------
Burt and Adelson 1983, The Laplacian pyramid as a compact image code, doi:10.1109/TCOM.1983.1095851.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_denoisereg.geometry import Grid, resample, smooth


@dataclass(frozen=True)
class Band:
    """Detail of one size of all frames.

    Parameters
    ----------
    frames : Tensor
        ``(T, 1, *grid.shape)``.
    grid : Grid
        In px: voxels of the finest axis, voxel 0 at 0.
    factor : int
        Reduction of the resolution.
    """

    frames: Tensor
    grid: Grid
    factor: int


def shrink(frames: Tensor, grid: Grid, factor: int) -> Tensor:
    """Frames of mean 0 and variance 1 at the resolution of a band.

    Parameters
    ----------
    frames : Tensor
        ``(T, *grid.shape)``, any scale.
    grid : Grid
        In px.
    factor : int
        Reduction.

    Returns
    -------
    Tensor
        ``(T, *small)``, float32.
    """
    std, mean = torch.std_mean(frames.flatten(1).double(), dim=1, correction=0)
    shape = (-1, *(1,) * grid.ndim)
    even = ((frames - mean.reshape(shape)) / std.clamp(min=1e-300).reshape(shape)).float()
    return resample(even.unsqueeze(1), grid, _shrunk(grid, factor))[:, 0]


def bands(frames: Tensor, grid: Grid, finest: int, coarsest: int) -> list[Band]:
    """Split frames into bands of detail; each band has half the resolution of the one before, the last keeps the rest.

    Parameters
    ----------
    frames : Tensor
        ``(T, *small)``, of `shrink` by ``finest``.
    grid : Grid
        Of the frames at full resolution, in px.
    finest, coarsest : int
        Reductions of the first and the last band, powers of 2.

    Returns
    -------
    list of Band
        Fine to coarse.
    """
    images, place, found, factor = frames.unsqueeze(1), _shrunk(grid, finest), list[Band](), finest
    while factor < coarsest:
        small = _shrunk(grid, 2 * factor)
        # An axis that does not shrink keeps its detail for the next band.
        shrinking = [1.0 if large > 1.5 * own else 0.0 for large, own in zip(small.spacing, place.spacing, strict=True)]
        found.append(Band(images - smooth(images, shrinking), place, factor))
        images, place, factor = resample(images, place, small), small, 2 * factor
    rest = images - images.mean(dim=tuple(range(2, images.ndim)), keepdim=True)
    return [*found, Band(rest, place, factor)]


def _shrunk(grid: Grid, factor: int) -> Grid:
    return grid.coarser(_factors(grid, factor))


def _factors(grid: Grid, factor: int) -> list[float]:
    """Reduction of each axis: one of coarse voxels shrinks only once the others have become as coarse, a short one little."""
    each = [max(1.0, factor / step) for step in grid.spacing]
    return [min(f, n / 4) if n >= 8 else 1.0 for f, n in zip(each, grid.shape, strict=True)]
