"""Other programs' conventions: there and back, and the other program itself does what ours does."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from skimage import transform as skimage_transform

from napari_denoisereg.geometry import Affine, Displacement, Grid, conventions, warp

GRIDS = {2: Grid((20, 24), (0.5, 1.25), (7.0, -3.0)), 3: Grid((9, 16, 18), (2.0, 0.5, 0.75), (-4.0, 7.0, 1.0))}
OTHERS = {2: Grid((22, 21), (0.6, 1.1), (6.5, -2.0)), 3: Grid((10, 15, 17), (1.8, 0.6, 0.8), (-4.5, 6.5, 2.0))}
both_dimensions = pytest.mark.parametrize("ndim", [2, 3])


def turn_and_shift(ndim: int) -> Affine:
    """A rotation by 12 degrees in the plane, some shear, and a different shift along every axis, world units."""
    angle = np.deg2rad(12)
    linear = np.eye(ndim)
    linear[-2:, -2:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    linear[0, -1] += 0.05
    return Affine.about(torch.from_numpy(linear), torch.tensor([1.3, -0.8, 0.6][:ndim]), GRIDS[ndim].centre)


def bend(ndim: int) -> Displacement:
    grid = GRIDS[ndim]
    y, x = grid.points()[-2:]
    waves = [0.7 * torch.sin(x / 3), 0.5 * torch.cos(y / 2), 0.3 * torch.sin((x + y) / 4)]
    return Displacement(torch.stack(waves[:ndim]), grid)


def picture(grid: Grid) -> torch.Tensor:
    return sum(torch.sin(point / (2 + number)) for number, point in enumerate(grid.points()))


def inner(image: np.ndarray, border: int = 3) -> np.ndarray:
    return image[tuple(slice(border, -border) if size > 2 * border + 1 else slice(None) for size in image.shape)]


@both_dimensions
@pytest.mark.parametrize(
    ("there", "back"),
    [
        (conventions.to_itk_matrix, conventions.from_itk_matrix),
        (conventions.to_napari_affine, conventions.from_napari_affine),
    ],
)
def test_matrix_survives_there_and_back(ndim: int, there: Callable, back: Callable) -> None:
    transform = turn_and_shift(ndim)
    matrix = there(transform)
    assert matrix.shape == (ndim + 1, ndim + 1)
    np.testing.assert_allclose(back(matrix).matrix(), transform.matrix(), atol=1e-12)


@both_dimensions
@pytest.mark.parametrize(
    ("there", "back"),
    [
        (conventions.to_voxel_matrix, conventions.from_voxel_matrix),
        (conventions.to_scikit_image_matrix, conventions.from_scikit_image_matrix),
    ],
)
def test_matrix_between_two_grids_survives_there_and_back(ndim: int, there: Callable, back: Callable) -> None:
    transform, fixed, moving = turn_and_shift(ndim), GRIDS[ndim], OTHERS[ndim]
    restored = back(there(transform, fixed, moving), fixed, moving)
    np.testing.assert_allclose(restored.matrix(), transform.matrix(), atol=1e-12)


@both_dimensions
@pytest.mark.parametrize("name", ["voxel", "itk", "ngff"])
def test_field_survives_there_and_back(ndim: int, name: str) -> None:
    field = bend(ndim)
    there, back = getattr(conventions, f"to_{name}_field"), getattr(conventions, f"from_{name}_field")
    restored = back(there(field), field.grid)
    torch.testing.assert_close(restored.field, field.field)
    assert restored.grid == field.grid


@both_dimensions
def test_voxel_matrix_maps_voxels_of_the_fixed_grid_to_voxels_of_the_moving_grid(ndim: int) -> None:
    transform, fixed, moving = turn_and_shift(ndim), GRIDS[ndim], OTHERS[ndim]
    matrix = conventions.to_voxel_matrix(transform, fixed, moving)
    index = torch.rand(ndim, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 10
    wanted = moving.to_index(transform(fixed.to_world(index)))
    np.testing.assert_allclose(matrix[:-1, :-1] @ index.numpy() + matrix[:-1, -1:], wanted.numpy(), atol=1e-9)


def test_scikit_image_warps_as_we_do_by_a_matrix() -> None:
    transform, fixed, moving = turn_and_shift(2), GRIDS[2], OTHERS[2]
    image = picture(moving)
    matrix = conventions.to_scikit_image_matrix(transform, fixed, moving)
    theirs = skimage_transform.warp(image.numpy().astype(float), matrix, output_shape=fixed.shape, order=1, mode="edge")
    ours = warp(image, transform, fixed=fixed, moving=moving, outside="edge").numpy()
    # Ours smooths slightly where the fixed voxels are larger than the moving ones.
    np.testing.assert_allclose(inner(ours), inner(theirs), atol=0.03)
    same_size = conventions.to_scikit_image_matrix(transform, fixed, fixed)
    theirs = skimage_transform.warp(picture(fixed).numpy().astype(float), same_size, order=1, mode="edge")
    ours = warp(picture(fixed), transform, fixed=fixed, outside="edge").numpy()
    np.testing.assert_allclose(inner(ours), inner(theirs), atol=2e-3)


@both_dimensions
def test_scikit_image_warps_as_we_do_by_a_field(ndim: int) -> None:
    field = bend(ndim)
    image = picture(field.grid)
    places = np.indices(field.grid.shape) + conventions.to_voxel_field(field)
    theirs = skimage_transform.warp(image.numpy().astype(float), places, order=1, mode="edge")
    ours = warp(image, field, fixed=field.grid, outside="edge").numpy()
    np.testing.assert_allclose(inner(ours), inner(theirs), atol=1e-4)


def itk_image(values: np.ndarray, grid: Grid, *, is_vector: bool = False):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(values, isVector=is_vector)
    image.SetSpacing(grid.spacing[::-1])
    image.SetOrigin(grid.origin[::-1])
    return image


@both_dimensions
def test_itk_resamples_as_we_do_by_a_matrix(ndim: int) -> None:
    sitk = pytest.importorskip("SimpleITK")
    transform, grid = turn_and_shift(ndim), GRIDS[ndim]
    matrix = conventions.to_itk_matrix(transform)
    affine = sitk.AffineTransform(ndim)
    affine.SetMatrix(matrix[:-1, :-1].flatten().tolist())
    affine.SetTranslation(matrix[:-1, -1].tolist())
    moving = itk_image(picture(grid).numpy(), grid)
    theirs = sitk.GetArrayFromImage(sitk.Resample(moving, moving, affine, sitk.sitkLinear, 0.0))
    ours = warp(picture(grid), transform, fixed=grid).numpy()
    inside = (theirs != 0) & (ours != 0)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(ours[inside], theirs[inside], atol=2e-3)


@both_dimensions
def test_itk_resamples_as_we_do_by_a_field(ndim: int) -> None:
    sitk = pytest.importorskip("SimpleITK")
    field, grid = bend(ndim), GRIDS[ndim]
    moving = itk_image(picture(grid).numpy(), grid)
    theirs_field = sitk.DisplacementFieldTransform(itk_image(conventions.to_itk_field(field), grid, is_vector=True))
    theirs = sitk.GetArrayFromImage(sitk.Resample(moving, moving, theirs_field, sitk.sitkLinear, 0.0))
    ours = warp(picture(grid), field, fixed=grid).numpy()
    np.testing.assert_allclose(inner(ours, 2), inner(theirs, 2), atol=2e-3)


@both_dimensions
def test_ngff_field_adds_to_the_position_in_axis_order(ndim: int) -> None:
    field = bend(ndim)
    stored = conventions.to_ngff_field(field)
    assert stored.shape == (*field.grid.shape, ndim)
    voxel = (3,) * ndim
    point = torch.tensor(field.grid.origin) + 3 * torch.tensor(field.grid.spacing)
    np.testing.assert_allclose(point.numpy() + stored[voxel], field(point[:, None])[:, 0].numpy(), atol=1e-5)


@both_dimensions
def test_napari_places_what_lies_at_the_mapped_point_on_the_fixed_point(ndim: int) -> None:
    """A keypoint p of the fixed image is found at T(p) in the moving one; the aligned layer shows it at p."""
    transform, grid = turn_and_shift(ndim), GRIDS[ndim]
    fixed = torch.tensor(grid.centre, dtype=torch.float64) + torch.tensor([2.0, -1.0, 0.5][:ndim], dtype=torch.float64)
    found = transform(fixed[:, None])[:, 0]
    shown = conventions.to_napari_affine(transform) @ np.append(found.numpy(), 1.0)
    np.testing.assert_allclose(shown[:-1], fixed.numpy(), atol=1e-9)
    wrong_way = transform.matrix().numpy() @ np.append(found.numpy(), 1.0)
    assert np.abs(wrong_way[:-1] - fixed.numpy()).max() > 0.5


def test_napari_layer_with_the_affine_shows_keypoints_where_the_fixed_layer_has_them() -> None:
    layers = pytest.importorskip("napari.layers")
    transform, grid = turn_and_shift(2), GRIDS[2]
    layer = layers.Image(
        np.zeros(grid.shape), scale=grid.spacing, translate=grid.origin, affine=conventions.to_napari_affine(transform)
    )
    fixed = (9.0, 5.0)
    moving_world = transform(torch.tensor(fixed, dtype=torch.float64)[:, None])[:, 0]
    moving_index = grid.to_index(moving_world)
    np.testing.assert_allclose(layer.data_to_world(moving_index.tolist()), fixed, atol=1e-6)
