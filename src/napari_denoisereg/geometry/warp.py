"""Warping: a moving image brought onto a fixed Grid through a Transform, ``warped(x) = moving(T(x))``."""

from typing import Literal

import torch
from torch import Tensor

from napari_denoisereg.geometry.grid import Grid
from napari_denoisereg.geometry.sampling import Interpolation, antialias, sample
from napari_denoisereg.geometry.transform import Identity, Transform


def warp(
    image: Tensor,
    transform: Transform,
    *,
    fixed: Grid,
    moving: Grid | None = None,
    interpolation: Interpolation = "linear",
    outside: float | Literal["edge"] = 0.0,
) -> Tensor:
    """Bring a moving image onto a fixed grid: ``warped(x) = moving(T(x))``.

    Where the fixed grid is coarser than the moving one the image is smoothed first (no aliasing), except for ``"nearest"``.

    Parameters
    ----------
    image : Tensor
        ``(*spatial)``, ``(C, *spatial)`` or ``(B, C, *spatial)``.
    transform : Transform
        Maps fixed to moving points, world units.
    fixed : Grid
        Where to put values.
    moving : Grid, optional
        Where the image is; ``fixed`` by default.
    interpolation, outside
        See `sample`.

    Returns
    -------
    Tensor
        Same leading axes, spatial shape of ``fixed``.
    """
    moving = moving or fixed
    if tuple(image.shape[-moving.ndim :]) != moving.shape:
        raise ValueError(f"The image must have the moving grid's shape {moving.shape}, got {tuple(image.shape)}.")
    if transform.is_identity and fixed == moving:
        return image.clone()
    batch = image.reshape(-1, 1, *moving.shape) if image.ndim == moving.ndim else image
    if batch.ndim == moving.ndim + 1:
        batch = batch.unsqueeze(0)
    if interpolation != "nearest":
        batch = antialias(batch, shrink_factors(transform, fixed, moving))
    index = _moving_index(transform, fixed, moving, image.device).unsqueeze(0)
    warped = sample(batch, index, interpolation=interpolation, outside=outside)
    return warped.reshape(*image.shape[: image.ndim - moving.ndim], *fixed.shape)


def resample(image: Tensor, grid: Grid, onto: Grid, interpolation: Interpolation = "linear") -> Tensor:
    """Bring an image to another grid over the same world, smoothing where it shrinks; edges are repeated.

    Parameters
    ----------
    image : Tensor
        ``(B, C, *grid.shape)``, floating.
    grid, onto : Grid
        From where, to where.
    interpolation : {"linear", "cubic", "nearest"}
        See `sample`.

    Returns
    -------
    Tensor
        ``(B, C, *onto.shape)``.
    """
    if grid == onto:
        return image
    if interpolation != "nearest":
        image = antialias(image, [large / small for large, small in zip(onto.spacing, grid.spacing, strict=True)])
    index = _moving_index(Identity(grid.ndim), onto, grid, image.device).unsqueeze(0)
    return sample(image, index, interpolation=interpolation, outside="edge")


def shrink_factors(transform: Transform, fixed: Grid, moving: Grid) -> tuple[float, ...]:
    """How many moving voxels one fixed voxel covers along each moving axis.

    Parameters
    ----------
    transform : Transform
        Fixed to moving.
    fixed, moving : Grid
        The grids.

    Returns
    -------
    tuple of float
        One per axis; 1 where nothing shrinks. A displacement counts as the identity.
    """
    linear = transform.linear_part(fixed.ndim).abs().double()
    steps = linear @ torch.diag(torch.tensor(fixed.spacing, dtype=torch.float64))
    # The largest single step, not the sum: a rotation by 45 degrees shrinks nothing.
    along = steps.amax(dim=1) / torch.tensor(moving.spacing, dtype=torch.float64)
    return tuple(max(1.0, float(factor)) for factor in along)


def affine_points(weights: Tensor, points: Tensor) -> Tensor:
    """Map the same points by a batch of affine transforms; differentiable.

    Parameters
    ----------
    weights : Tensor
        ``(B, D, D+1)``.
    points : Tensor
        ``(D, *any)``.

    Returns
    -------
    Tensor
        ``(B, D, *any)``.
    """
    moved = weights[..., :-1] @ points.flatten(1) + weights[..., -1:]
    return moved.reshape(weights.shape[0], *points.shape)


def affine_index(weights: Tensor, fixed: Grid, moving: Grid | None = None, device: torch.device | str = "cpu") -> Tensor:
    """Where the voxels of a fixed grid are read in a moving grid under a batch of affine transforms; differentiable.

    The matrices are brought to voxels first: positions far from the world's origin, such as those of a microscope's stage,
    have more digits than float32 coordinates.

    Parameters
    ----------
    weights : Tensor
        ``(B, D, D+1)``, world units, best in float64.
    fixed, moving : Grid
        The grids; the same by default.
    device : torch.device or str
        Where to compute the coordinates.

    Returns
    -------
    Tensor
        ``(B, D, *fixed.shape)``, voxels of ``moving``, float32.
    """
    moving = moving or fixed
    step, start, own_step, own_start = (
        torch.tensor(values, dtype=weights.dtype, device=weights.device)
        for values in (fixed.spacing, fixed.origin, moving.spacing, moving.origin)
    )
    linear = weights[:, :, :-1] * step / own_step[:, None]
    shift = (weights[:, :, :-1] @ start + weights[:, :, -1] - own_start) / own_step
    in_voxels = torch.cat([linear, shift[:, :, None]], dim=2)
    return affine_points(in_voxels.to(device, torch.float32), Grid(fixed.shape).points(device))


def _moving_index(transform: Transform, fixed: Grid, moving: Grid, device: torch.device) -> Tensor:
    """Index coordinates ``(D, *fixed.shape)`` in the moving grid of every fixed voxel, float32."""
    if transform.is_affine:
        return affine_index(transform.matrix()[None, :-1], fixed, moving, device)[0]
    return moving.to_index(transform(fixed.points(device, wide=True))).float()
