"""The one place that converts transforms to and from other programs' conventions.

Ours: fixed to moving, world units, axis order ((z,) y, x), displacement component first. Theirs, by function:

- *voxel*: same direction and order, index coordinates (MONAI, scikit-image ``warp`` with a matrix: x first, see there).
- *ITK*: fixed to moving as well, but physical points are (x, y(, z)) and components come last.
- *scikit-image*: ``(D, *spatial)`` flow reference to moving, pixels, axis order; matrices are (x, y) homogeneous.
- *OME-NGFF*: axis order, component last, units of the coordinate system, input to output ``out = in + u``.
- *napari*: ``layer.affine`` pushes data to world, the other way round.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from napari_denoisereg.geometry.grid import Grid
from napari_denoisereg.geometry.transform import Affine, Displacement, Transform

Array = NDArray[np.float64]


def to_voxel_matrix(transform: Transform, fixed: Grid, moving: Grid) -> Array:
    """Matrix on index coordinates: fixed voxels to moving voxels.

    Parameters
    ----------
    transform : Transform
        Affine, fixed to moving, world units.
    fixed, moving : Grid
        The grids.

    Returns
    -------
    ndarray
        ``(D+1, D+1)``, axis order.
    """
    return np.linalg.inv(_index_to_world(moving)) @ transform.matrix().numpy() @ _index_to_world(fixed)


def from_voxel_matrix(matrix: Array, fixed: Grid, moving: Grid) -> Affine:
    """Inverse of `to_voxel_matrix`.

    Parameters
    ----------
    matrix : ndarray
        ``(D+1, D+1)``, fixed voxels to moving voxels, axis order.
    fixed, moving : Grid
        The grids.

    Returns
    -------
    Affine
        In world units.
    """
    world = _index_to_world(moving) @ np.asarray(matrix, float) @ np.linalg.inv(_index_to_world(fixed))
    return Affine(torch.from_numpy(world[:-1]))


def to_voxel_field(displacement: Displacement) -> NDArray[np.float32]:
    """Displacement in voxels: ``(D, *spatial)``, axis order (scikit-image, MONAI, voxelmorph)."""
    spacing = np.asarray(displacement.grid.spacing, np.float32).reshape(-1, *(1,) * displacement.ndim)
    return np.asarray(displacement.field.cpu().numpy() / spacing, np.float32)


def from_voxel_field(field: NDArray[np.floating], grid: Grid) -> Displacement:
    """Inverse of `to_voxel_field`."""
    spacing = np.asarray(grid.spacing, np.float32).reshape(-1, *(1,) * grid.ndim)
    return Displacement(torch.from_numpy(np.ascontiguousarray(field * spacing, np.float32)), grid)


def to_itk_matrix(transform: Transform) -> Array:
    """Homogeneous matrix on ITK's physical points, (x, y(, z)); spacing and origin reversed likewise."""
    flip = _flip(transform.ndim)
    return flip @ transform.matrix().numpy() @ flip


def from_itk_matrix(matrix: Array) -> Affine:
    """Inverse of `to_itk_matrix`."""
    flip = _flip(len(matrix) - 1)
    return Affine(torch.from_numpy((flip @ np.asarray(matrix, float) @ flip)[:-1]))


def to_itk_field(displacement: Displacement) -> NDArray[np.float64]:
    """Vector image ``(*spatial, D)`` with components (x, y(, z)), world units, as ``SimpleITK.GetImageFromArray`` wants it."""
    field = displacement.field.cpu().numpy().astype(np.float64)
    return np.moveaxis(field[::-1], 0, -1).copy()


def from_itk_field(field: NDArray[np.floating], grid: Grid) -> Displacement:
    """Inverse of `to_itk_field`."""
    return Displacement(torch.from_numpy(np.moveaxis(field, -1, 0)[::-1].astype(np.float32)), grid)


def to_scikit_image_matrix(transform: Transform, fixed: Grid, moving: Grid) -> Array:
    """Matrix for ``skimage.transform.warp(image, matrix)``: (x, y) order, output pixels to input pixels."""
    flip = _flip(transform.ndim)
    return flip @ to_voxel_matrix(transform, fixed, moving) @ flip


def from_scikit_image_matrix(matrix: Array, fixed: Grid, moving: Grid) -> Affine:
    """Inverse of `to_scikit_image_matrix`."""
    flip = _flip(len(matrix) - 1)
    return from_voxel_matrix(flip @ np.asarray(matrix, float) @ flip, fixed, moving)


def to_ngff_field(displacement: Displacement) -> NDArray[np.float32]:
    """OME-NGFF ``displacements``: ``(*spatial, D)``, axis order, world units."""
    return np.ascontiguousarray(np.moveaxis(displacement.field.cpu().numpy(), 0, -1))


def from_ngff_field(field: NDArray[np.floating], grid: Grid) -> Displacement:
    """Inverse of `to_ngff_field`."""
    return Displacement(torch.from_numpy(np.moveaxis(field, -1, 0).astype(np.float32)), grid)


def to_napari_affine(transform: Transform) -> Array:
    """``layer.affine`` that shows the moving layer aligned: moving world to fixed world, hence the inverse.

    Raises
    ------
    TypeError
        When the transform is not affine.
    """
    return np.linalg.inv(transform.matrix().numpy())


def from_napari_affine(matrix: Array) -> Affine:
    """Inverse of `to_napari_affine`."""
    return Affine(torch.from_numpy(np.linalg.inv(np.asarray(matrix, float))[:-1]))


def _index_to_world(grid: Grid) -> Array:
    matrix = np.diag([*grid.spacing, 1.0])
    matrix[:-1, -1] = grid.origin
    return matrix


def _flip(ndim: int) -> Array:
    """Permutation that reverses the axes and keeps the homogeneous coordinate; its own inverse."""
    flip = np.zeros((ndim + 1, ndim + 1))
    flip[:ndim, :ndim] = np.eye(ndim)[::-1]
    flip[-1, -1] = 1.0
    return flip
