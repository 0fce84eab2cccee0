"""Transforms as files: whatever the format, points land where they did before, and ITK warps as we do."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_denoisereg.geometry import Affine, Displacement, Grid, Identity, PerFrame, Sequential, Transform, Translation, warp
from napari_denoisereg.io import read_transforms, write_transforms

PLANE = Grid((12, 15), (0.5, 0.25), (-3.0, 100.0), ("micrometer", "micrometer"))
VOLUME = Grid((5, 9, 11), (2.0, 0.5, 0.25), (10.0, -3.0, 7.0), ("micrometer",) * 3)
each_grid = pytest.mark.parametrize("grid", [PLANE, VOLUME], ids=["2D", "3D"])
quick = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _field(grid: Grid, seed: int = 0, size: float = 1.0) -> Displacement:
    noise = torch.randn((grid.ndim, *grid.shape), generator=torch.Generator().manual_seed(seed))
    spread = torch.tensor(grid.spacing).reshape(-1, *(1,) * grid.ndim)
    return Displacement(size * noise * spread, grid)


def _affine(grid: Grid, seed: int = 0, strength: float = 0.1) -> Affine:
    source = torch.Generator().manual_seed(seed)
    linear = torch.eye(grid.ndim) + strength * torch.randn(grid.ndim, grid.ndim, generator=source)
    return Affine.about(linear, torch.randn(grid.ndim, generator=source) * torch.tensor(grid.spacing), grid.centre)


def _distance(first: Transform, second: Transform, grid: Grid) -> float:
    """Largest distance of corresponding points, in pixels."""
    points = grid.points()
    return float((grid.to_index(first(points)) - grid.to_index(second(points))).abs().max())


def _mixed(grid: Grid) -> PerFrame:
    coarse = _field(grid.coarser(2), 3)
    return PerFrame(
        [
            Identity(grid.ndim),
            Translation([1 / 3] * grid.ndim),
            _affine(grid, 1),
            _field(grid, 2),
            _affine(grid, 4).then(coarse).then(_affine(grid, 5)),
            Sequential((_field(grid, 6), _field(grid, 7))),
        ]
    )


@each_grid
def test_zarr_keeps_every_transform_and_its_structure(tmp_path: Path, grid: Grid) -> None:
    written = _mixed(grid)
    read, place = read_transforms(write_transforms(written, tmp_path / "t.zarr", grid=grid))
    assert place == grid
    for before, after in zip(written, read, strict=True):
        _assert_same(before, after)


def _assert_same(before: Transform, after: Transform) -> None:
    if isinstance(before, Affine):
        assert isinstance(after, Affine)
        assert torch.equal(before.weights, after.weights)
    elif isinstance(before, Displacement):
        assert isinstance(after, Displacement)
        assert torch.equal(before.field, after.field)
        assert before.grid == after.grid
    else:
        assert isinstance(before, Sequential)
        assert isinstance(after, Sequential)
        for one, other in zip(before.parts, after.parts, strict=True):
            _assert_same(one, other)


def test_zarr_keeps_unknown_places(tmp_path: Path) -> None:
    field = _field(PLANE).field.clone()
    field[:, 2, 3] = torch.nan
    read, _ = read_transforms(write_transforms([Displacement(field, PLANE)], tmp_path / "t.zarr", grid=PLANE))
    assert isinstance(read[0], Displacement)
    assert torch.equal(torch.isnan(read[0].field), torch.isnan(field))


def test_zarr_says_what_ngff_says(tmp_path: Path) -> None:
    transforms = [Identity(2), _affine(PLANE), Sequential((_affine(PLANE), _field(PLANE)))]
    path = write_transforms(transforms, tmp_path / "t.zarr", grid=PLANE)
    attributes = json.loads((path / "zarr.json").read_text())["attributes"]
    scene = attributes["ome"]["scene"]
    assert [system["name"] for system in scene["coordinateSystems"]] == ["fixed", "frame 0", "frame 1", "frame 2"]
    assert [entry["type"] for entry in scene["coordinateTransformations"]] == ["identity", "affine", "sequence"]
    assert scene["coordinateTransformations"][1]["input"] == {"name": "fixed"}
    assert np.shape(scene["coordinateTransformations"][1]["affine"]) == (2, 3)
    path_of_field = scene["coordinateTransformations"][2]["transformations"][1]["path"]
    group = zarr.open_group(path / path_of_field, mode="r")
    # out = in + u, component last, axis order, world units
    values = group["0"][:]
    np.testing.assert_array_equal(np.moveaxis(values, -1, 0), _field(PLANE).field.numpy())
    axes = group.attrs["ome"]["multiscales"][0]["coordinateSystems"][0]["axes"]
    assert [(axis["name"], axis["type"]) for axis in axes] == [("y", "space"), ("x", "space"), ("c", "displacement")]


weights_2d = arrays(np.float64, (2, 3), elements=st.floats(-1e6, 1e6, allow_subnormal=False))
weights_3d = arrays(np.float64, (3, 4), elements=st.floats(-1e6, 1e6, allow_subnormal=False))


@pytest.mark.parametrize("name", ["t.zarr", "t.csv", "t.tfm", "t.txt"])
@quick
@given(weights=st.one_of(weights_2d, weights_3d))
def test_matrices_are_kept_exactly(tmp_path: Path, name: str, weights: np.ndarray) -> None:
    grid = PLANE if len(weights) == 2 else VOLUME
    path = write_transforms([Affine(torch.from_numpy(weights))], tmp_path / name, grid=grid, overwrite=True)
    read, place = read_transforms(path)
    np.testing.assert_array_equal(read[0].matrix().numpy()[:-1], weights)
    assert place == grid


@pytest.mark.parametrize("name", ["t.zarr", "t.csv", "folder"])
@each_grid
def test_affine_series_survives(tmp_path: Path, name: str, grid: Grid) -> None:
    written = PerFrame([_affine(grid, seed) for seed in range(12)])
    read, place = read_transforms(write_transforms(written, tmp_path / name, grid=grid))
    assert (len(read), place) == (12, grid)
    for before, after in zip(written, read, strict=True):
        assert torch.equal(before.matrix(), after.matrix())


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".mha", ".nrrd"])
@each_grid
def test_itk_fields_survive(tmp_path: Path, suffix: str, grid: Grid) -> None:
    field = _field(grid)
    read, place = read_transforms(write_transforms([field], tmp_path / f"t{suffix}", grid=grid))
    assert isinstance(read[0], Displacement)
    assert torch.equal(read[0].field, field.field)
    np.testing.assert_allclose([*place.spacing, *place.origin], [*grid.spacing, *grid.origin], rtol=1e-6)
    assert place.units == grid.units
    assert _distance(read[0], field, grid) < 0.01


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", None])
@each_grid
def test_mixed_series_survives_as_itk_fields(tmp_path: Path, suffix: str | None, grid: Grid) -> None:
    written = _mixed(grid)
    path = write_transforms(written, tmp_path / "folder", grid=grid, itk_suffix=suffix)
    read, place = read_transforms(path)
    assert place == grid
    for before, after in zip(written, read, strict=True):
        assert _distance(before, after, grid) < 0.01


@each_grid
@pytest.mark.parametrize("name", ["t.tfm", "t.nii.gz", "t.mha"])
def test_itk_warps_an_image_as_we_do(tmp_path: Path, grid: Grid, name: str) -> None:
    sitk = pytest.importorskip("SimpleITK")
    transform = _affine(grid, 1, 0.05) if name == "t.tfm" else Sequential((_affine(grid, 1, 0.05), _field(grid, 2, 0.3)))
    path = write_transforms([transform], tmp_path / name, grid=grid)
    # The moving image lies elsewhere and has other voxels than the fixed one (larger ones: no low pass before warping).
    moving = Grid(
        tuple(size + 2 for size in grid.shape),
        tuple(1.25 * step for step in grid.spacing),
        tuple(start - step for start, step in zip(grid.origin, grid.spacing, strict=True)),
    )
    image = torch.rand(moving.shape, generator=torch.Generator().manual_seed(5))
    ours = warp(image, transform, fixed=grid, moving=moving, outside=-1.0).numpy()
    moving_image = sitk.GetImageFromArray(image.numpy())
    moving_image.SetSpacing(moving.spacing[::-1])
    moving_image.SetOrigin(moving.origin[::-1])
    if name == "t.tfm":
        itk_transform = sitk.ReadTransform(str(path))
    else:
        itk_transform = sitk.DisplacementFieldTransform(sitk.Cast(sitk.ReadImage(str(path)), sitk.sitkVectorFloat64))
    theirs = sitk.GetArrayFromImage(
        sitk.Resample(
            moving_image, grid.shape[::-1], itk_transform, sitk.sitkLinear, grid.origin[::-1], grid.spacing[::-1],
            (), -1.0,
        )
    )  # fmt: skip
    inside = (ours != -1) & (theirs != -1)
    assert inside.mean() > 0.5
    assert ((ours == -1) != (theirs == -1)).mean() < 0.02  # a voxel on the very edge may fall on either side
    np.testing.assert_allclose(ours[inside], theirs[inside], atol=2e-4)


@pytest.mark.parametrize("ndim", [2, 3])
def test_rigid_transform_of_itk_about_a_centre_is_read(tmp_path: Path, ndim: int) -> None:
    sitk = pytest.importorskip("SimpleITK")
    rigid = sitk.Euler2DTransform() if ndim == 2 else sitk.Euler3DTransform()
    rigid.SetCenter((3.0, 4.0, 5.0)[:ndim])
    rigid.SetTranslation((1.0, -2.0, 0.5)[:ndim])
    if ndim == 2:
        rigid.SetAngle(0.3)
    else:
        rigid.SetRotation(0.1, 0.2, 0.3)
    sitk.WriteTransform(rigid, str(tmp_path / "t.tfm"))
    grid = PLANE if ndim == 2 else VOLUME
    (transform,), _ = read_transforms(tmp_path / "t.tfm", grid=grid)
    point = (7.0, 11.0, 13.0)[:ndim]
    ours = transform(torch.tensor(point[::-1], dtype=torch.float64)[:, None])[:, 0]
    np.testing.assert_allclose(ours.numpy()[::-1], rigid.TransformPoint(point), atol=1e-9)
    with pytest.raises(ValueError, match=r"pass grid=stack\.grid"):
        read_transforms(tmp_path / "t.tfm")


def test_folder_of_itk_files_without_index_is_read_in_order(tmp_path: Path) -> None:
    path = write_transforms([_affine(PLANE, seed) for seed in range(3)], tmp_path / "folder", grid=PLANE)
    (path / "transforms.json").unlink()
    read, place = read_transforms(path)
    assert place == PLANE
    assert torch.equal(read[2].matrix(), _affine(PLANE, 2).matrix())


def test_sequential_of_affines_is_one_matrix(tmp_path: Path) -> None:
    chain = Sequential((_affine(PLANE, 1), Sequential((_affine(PLANE, 2), _affine(PLANE, 3)))))
    read, _ = read_transforms(write_transforms([chain], tmp_path / "t.csv", grid=PLANE))
    assert _distance(read[0], chain, PLANE) < 1e-3


def test_table_explains_itself(tmp_path: Path) -> None:
    lines = write_transforms([Translation([2, 5])], tmp_path / "t.csv", grid=PLANE).read_text().splitlines()
    assert lines[1].startswith("# axis order (y, x), world units micrometer")
    assert lines[-2:] == ["frame,m00,m01,m02,m10,m11,m12", "0,1.0,0.0,2.0,0.0,1.0,5.0"]


@pytest.mark.parametrize("name", ["t.csv", "t.tfm"])
def test_affine_formats_refuse_fields(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="affine transforms only"):
        write_transforms([_field(PLANE)], tmp_path / name, grid=PLANE)
    assert list(tmp_path.iterdir()) == []


def test_one_itk_file_refuses_several_frames(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give a folder"):
        write_transforms([Identity(2), Identity(2)], tmp_path / "t.nii.gz", grid=PLANE)


@pytest.mark.parametrize("name", ["t.zarr", "t.csv", "t.tfm", "folder"])
def test_earlier_transforms_are_kept_unless_told(tmp_path: Path, name: str) -> None:
    path = write_transforms([Identity(2)], tmp_path / name, grid=PLANE)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write_transforms([Translation([1, 2])], path, grid=PLANE)
    write_transforms([Translation([1, 2])], path, grid=PLANE, overwrite=True)
    assert read_transforms(path)[0][0].matrix()[0, 2] == 1
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_missing_simpleitk_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(ImportError, match=r"pip install SimpleITK"):
        write_transforms([Identity(2)], tmp_path / "t.nii.gz", grid=PLANE)
    (tmp_path / "t.mha").touch()
    with pytest.raises(ImportError, match="pip install"):
        read_transforms(tmp_path / "t.mha")


@pytest.mark.parametrize("name", ["t.csv", "t.tfm", "t.nii.gz", "t.mha", "t.nrrd"])
def test_files_with_other_content_are_refused(tmp_path: Path, name: str, capfd: pytest.CaptureFixture) -> None:
    (tmp_path / name).write_text("this is a letter\nwith two lines\n")
    with pytest.raises(ValueError, match=r"no table of matrices|cannot be read by ITK"):
        read_transforms(tmp_path / name)


def test_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="change the suffix"):
        write_transforms([Identity(2)], tmp_path / "t.xyz", grid=PLANE)
    with pytest.raises(ValueError, match="Expected ITK files ending in"):
        write_transforms([Identity(2)], tmp_path / "folder", grid=PLANE, itk_suffix=".png")


def test_grid_of_another_dimension_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Expected a grid of 2 axes"):
        write_transforms([Identity(2)], tmp_path / "t.csv", grid=VOLUME)
    path = write_transforms([Identity(2)], tmp_path / "t.csv", grid=PLANE)
    with pytest.raises(ValueError, match="2D transforms"):
        read_transforms(path, grid=VOLUME)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,1,0,0,0,1", "line 6: expected a frame number and 6"),
        ("1,1,0,0,0,1,x", "line 6"),
        ("7,1,0,0,0,1,0", "one row for each frame"),
    ],
)
def test_damaged_tables_name_the_row(tmp_path: Path, line: str, message: str) -> None:
    path = write_transforms([Identity(2)], tmp_path / "t.csv", grid=PLANE)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ValueError, match=message):
        read_transforms(path)


def test_damaged_zarr_is_refused(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "other.zarr")
    with pytest.raises(ValueError, match="holds no transforms"):
        read_transforms(tmp_path / "other.zarr")
    path = write_transforms([_field(PLANE)], tmp_path / "t.zarr", grid=PLANE)
    next(path.rglob("c/0/0/0")).unlink()
    with pytest.raises(ValueError, match=r"chunks of .* are missing"):
        read_transforms(path)


def test_folder_that_lost_a_frame_is_refused(tmp_path: Path) -> None:
    path = write_transforms([Identity(2)] * 3, tmp_path / "folder", grid=PLANE)
    (path / "frame-0001.tfm").unlink()
    with pytest.raises(ValueError, match=r"lacks frame-0001\.tfm"):
        read_transforms(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="has no file ending in"):
        read_transforms(tmp_path / "empty")


def test_image_is_no_field(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5), np.float32)), str(tmp_path / "a.mha"))
    with pytest.raises(ValueError, match="not of an image"):
        read_transforms(tmp_path / "a.mha")


def test_field_with_turned_axes_is_refused(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(np.zeros((4, 5, 2), np.float32), isVector=True)
    image.SetDirection((0, 1, 1, 0))
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    with pytest.raises(ValueError, match="turned axes"):
        read_transforms(tmp_path / "a.mha")


@pytest.mark.parametrize("entry", [{"type": "scale", "scale": [2, 3]}, {"type": "translation", "translation": [4, 5]}])
def test_simple_transformations_of_other_programs_are_read(tmp_path: Path, entry: dict) -> None:
    scene = {"coordinateTransformations": [{"input": {"name": "a"}, "output": {"name": "b"}, **entry}]}
    zarr.create_group(tmp_path / "t.zarr", attributes={"ome": {"version": "0.6", "scene": scene}})
    (transform,), _ = read_transforms(tmp_path / "t.zarr", grid=PLANE)
    wanted = [2.0, 6.0] if entry["type"] == "scale" else [5.0, 7.0]
    assert transform(torch.tensor([[1.0], [2.0]]))[:, 0].tolist() == wanted


def test_unknown_type_of_transformation_is_named(tmp_path: Path) -> None:
    scene = {"coordinateTransformations": [{"type": "bijection"}]}
    zarr.create_group(tmp_path / "t.zarr", attributes={"ome": {"version": "0.6", "scene": scene}})
    with pytest.raises(ValueError, match="bijection"):
        read_transforms(tmp_path / "t.zarr", grid=PLANE)
