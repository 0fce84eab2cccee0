"""Files that are not as they should be: told in plain words with the file's name, and never read as something else."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

from napari_denoisereg.geometry import Displacement, Grid, Identity
from napari_denoisereg.io import read, read_transforms, write, write_transforms
from napari_denoisereg.stack import Stack

PLANE = Grid((6, 7), (0.5, 0.25), (3.0, -1.0), ("micrometer", "micrometer"))
GRID_LINES = ["{", "3", '{"shape": [6, 7]}', '{"shape": [6, 7], "spacing": "x", "origin": [0, 0], "units": ["a", "b"]}']


def _field(seed: int) -> Displacement:
    return Displacement(torch.randn((2, *PLANE.shape), generator=torch.Generator().manual_seed(seed)), PLANE)


def test_compressed_field_beside_a_plain_one_of_the_same_name_is_itself(tmp_path: Path) -> None:
    pytest.importorskip("SimpleITK")  # which itself reads field.nii where field.nii.gz is asked for
    first, second = _field(1), _field(2)
    write_transforms([first], tmp_path / "field.nii", grid=PLANE)
    write_transforms([second], tmp_path / "field.nii.gz", grid=PLANE)
    for name, field in (("field.nii", first), ("field.nii.gz", second)):
        (read,), grid = read_transforms(tmp_path / name)
        assert isinstance(read, Displacement)
        torch.testing.assert_close(read.field, field.field)
        assert grid == PLANE


@pytest.mark.parametrize("name", ["t.csv", "t.tfm"])
@pytest.mark.parametrize("line", GRID_LINES)
def test_damaged_grid_line_names_the_file(tmp_path: Path, name: str, line: str) -> None:
    pytest.importorskip("SimpleITK")
    path = write_transforms([Identity(2)], tmp_path / name, grid=PLANE)
    mark = next(each for each in path.read_text().splitlines() if "grid: " in each)
    path.write_text(path.read_text().replace(mark, mark.partition("grid: ")[0] + "grid: " + line))
    with pytest.raises(ValueError, match=rf"{name} is damaged"):
        read_transforms(path)


def test_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ValueError, match=r"t\.csv is no text file"):
        read_transforms(tmp_path / "t.csv")


@pytest.mark.parametrize("text", ["{", "[1]", '{"files": [3]}', '{"grid": 3}', '{"grid": {"shape": [1]}}'])
def test_damaged_index_of_a_folder_names_itself(tmp_path: Path, text: str) -> None:
    pytest.importorskip("SimpleITK")
    folder = write_transforms([Identity(2), Identity(2)], tmp_path / "itk", grid=PLANE)
    (folder / "transforms.json").write_text(text)
    with pytest.raises(ValueError, match=r"transforms\.json"):
        read_transforms(folder)


@pytest.mark.parametrize("change", [{"grid": 3}, {"grid": {"shape": [6, 7]}}])
def test_damaged_grid_of_a_zarr_names_it(tmp_path: Path, change: dict) -> None:
    path = write_transforms([Identity(2)], tmp_path / "t.zarr", grid=PLANE)
    stated = json.loads((path / "zarr.json").read_text())
    stated["attributes"]["napari-denoisereg"] |= change
    (path / "zarr.json").write_text(json.dumps(stated))
    with pytest.raises(ValueError, match=r"t\.zarr is damaged"):
        read_transforms(path)


def _foreign(path: Path, zarr_format: int, cname: str, shards: tuple[int, ...] | None = None) -> np.ndarray:
    """An OME-Zarr as other programs write it: compressed with Blosc and without a checksum."""
    values = np.random.default_rng(0).integers(0, 4000, (3, 60, 70)).astype(np.uint16)
    group = zarr.create_group(path, zarr_format=zarr_format)
    blosc = {"id": "blosc", "cname": cname, "clevel": 5} if zarr_format == 2 else zarr.codecs.BloscCodec(cname=cname)
    array = group.create_array("s0", shape=values.shape, dtype="u2", chunks=(1, 30, 35), shards=shards, compressors=blosc)
    array[:2] = values[:2]  # the last frame is empty
    values[2] = 0
    image = {"axes": [{"name": axis} for axis in "tyx"], "datasets": [{"path": "s0", "coordinateTransformations": []}]}
    group.attrs.update({"multiscales": [image]} if zarr_format == 2 else {"ome": {"version": "0.5", "multiscales": [image]}})
    return values


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.7, 0.98])
@pytest.mark.parametrize("cname", ["lz4", "zstd"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_chunk_that_was_cut_off_is_never_read_as_something_else(
    tmp_path: Path, zarr_format: int, cname: str, share: float
) -> None:
    values = _foreign(tmp_path / "a.zarr", zarr_format, cname)
    np.testing.assert_array_equal(np.asarray(read(tmp_path / "a.zarr").data), values)
    chunk = tmp_path / "a.zarr" / "s0" / ("1.1.0" if zarr_format == 2 else "c/1/1/0")
    chunk.write_bytes(chunk.read_bytes()[: int(share * chunk.stat().st_size)])
    stack = read(tmp_path / "a.zarr")
    for whole in (0, 2):
        np.testing.assert_array_equal(stack.frame(whole), values[whole])
    np.testing.assert_array_equal(stack.data[1, :30, 35:], values[1, :30, 35:])
    with pytest.raises(ValueError, match=r"a\.zarr cannot be read at index.*damaged"):
        stack.frame(1)


def test_shards_of_blosc_are_read(tmp_path: Path) -> None:
    values = _foreign(tmp_path / "a.zarr", 3, "lz4", shards=(1, 60, 70))
    np.testing.assert_array_equal(np.asarray(read(tmp_path / "a.zarr").data), values)


@pytest.mark.parametrize(
    "metadata",
    [
        "[]",
        '"x"',
        '{"zarr_format": 3, "node_type": "group", "attributes": {"ome": 3}}',
        '{"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"multiscales": {"a": 1}}}}',
        '{"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"multiscales": [3]}}}',
    ],
)
def test_metadata_of_another_kind_is_refused(tmp_path: Path, metadata: str) -> None:
    path = write(Stack(np.ones((2, 3, 4), np.uint8), "tyx"), tmp_path / "a.zarr")
    (path / "zarr.json").write_text(metadata)
    with pytest.raises(ValueError, match=r"a\.zarr is (no zarr|a zarr group without)"):
        read(path)


@pytest.mark.parametrize("scale", [[0, 1, 1], [1, 0, 1], [1, -1, 1], [float("nan"), 1, 1], [1, 1, float("inf")]])
def test_scale_that_is_none_names_the_file(tmp_path: Path, scale: list[float]) -> None:
    path = write(Stack(np.ones((2, 3, 4), np.uint8), "tyx"), tmp_path / "a.zarr", version="0.4")
    group = zarr.open_group(path)
    (image,) = group.attrs["multiscales"]
    image["datasets"][0]["coordinateTransformations"] = [{"type": "scale", "scale": scale}]
    group.attrs["multiscales"] = [image]
    with pytest.raises(ValueError, match=r"a\.zarr is no complete.*positive scales"):
        read(path)


def test_history_of_another_kind_is_none(tmp_path: Path) -> None:
    path = write(Stack(np.ones((2, 3, 4), np.uint8), "tyx"), tmp_path / "a.zarr")
    for ours in (3, {"history": 3}, {"history": [3]}):
        zarr.open_group(path).attrs["napari-denoisereg"] = ours
        assert read(path).history == ()
