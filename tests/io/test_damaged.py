"""Files that are not as they should be: told in plain words with the file's name, and never read as something else."""

import json
from pathlib import Path

import pytest
import torch

from napari_denoisereg.geometry import Displacement, Grid, Identity
from napari_denoisereg.io import read_transforms, write_transforms

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
