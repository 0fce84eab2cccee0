"""The command line refuses what would lose or spoil something, before any work and in plain words."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import napari_denoisereg as dr
from napari_denoisereg import __main__, io
from napari_denoisereg.cli import main
from napari_denoisereg.evaluation.keypoints import Keypoints
from napari_denoisereg.geometry import Grid, Identity, PerFrame, Translation

SPACING, UNITS = (2.0, 0.5, 0.5), ("second", "micrometer", "micrometer")
Told = Callable[..., tuple[int, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A movie, an earlier result of it, and keypoints."""
    values = np.random.default_rng(0).integers(90, 400, (3, 16, 18)).astype(np.uint16)
    movie = dr.Stack(values, "tyx", spacing=SPACING, units=UNITS)
    io.write(movie, tmp_path / "movie.tif")
    io.write(movie, tmp_path / "movie.zarr")
    motion = PerFrame([Identity(2), Translation([1.0, 0.5]), Translation([2.0, 1.0])])
    io.write_transforms(motion, tmp_path / "motion.zarr", grid=movie.grid)
    io.write_transforms(motion, tmp_path / "motion.csv", grid=movie.grid)
    io.write_keypoints(Keypoints(frame=[0, 1], id=[0, 0], position=[[5, 6], [7, 7]]), tmp_path / "points.csv")
    return tmp_path


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    def run(*words: object) -> tuple[int, str]:
        code = main([str(word) for word in words])
        return code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    "words",
    [
        ("denoise", "movie.tif", "movie.tif", "--overwrite", "gaussian"),
        ("denoise", "movie.zarr", "movie.zarr", "--overwrite", "gaussian"),
        ("denoise", "movie.tif", "link.tif", "--overwrite", "gaussian"),
        ("denoise", "link.tif", "movie.tif", "--overwrite", "gaussian"),
        ("denoise", "movie.zarr/0", "movie.zarr", "--overwrite", "--axes", "tyx", "gaussian"),
        ("run", "movie.zarr", "movie.zarr", "--overwrite", "--recipe", "fast"),
        ("register", "movie.zarr", "movie.zarr", "--overwrite", "affine"),
        ("register", "movie.tif", "motion.zarr", "--start", "motion.zarr", "--overwrite", "affine"),
        ("register", "movie.zarr", "movie.zarr", "--objects", "movie.zarr", "--overwrite", "affine"),
        ("register", "movie.tif", "out.zarr", "--objects", "movie.zarr", "--aligned", "movie.tif", "--overwrite", "affine"),
        ("apply", "motion.zarr", "movie.tif", "motion.zarr", "--overwrite"),
        ("apply", "motion.zarr", "movie.tif", "movie.tif", "--overwrite"),
        ("evaluate", "--keypoints", "points.csv", "--report", "points.csv", "--overwrite"),
        ("evaluate", "--keypoints", "points.csv", "--transforms", "motion.csv", "--report", "motion.csv", "--overwrite"),
    ],
)
def test_an_input_is_never_replaced_by_the_output(
    folder: Path, told: Told, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "link.tif").symlink_to(folder / "movie.tif")
    monkeypatch.chdir(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    code, error = told(*words)
    assert code == 1
    assert "would replace the" in error
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_movie_of_still_objects_needs_objects(folder: Path, told: Told) -> None:
    code, error = told("register", folder / "movie.tif", folder / "out.zarr", "--aligned", folder / "still.tif", "affine")
    assert code == 1
    assert "--aligned goes with --objects" in error
    assert not (folder / "out.zarr").exists()


def test_a_model_is_not_written_over_a_movie(folder: Path, told: Told) -> None:
    for name, message in (("movie.tif", "Expected a name ending in .safetensors or .model"), ("movie.zarr", "Expected a name")):
        code, error = told("train", "noise2void", folder / "movie.tif", "--output", folder / name, "--overwrite")
        assert (code, message in error) == (1, True)
    assert io.read(folder / "movie.tif").shape == (3, 16, 18)


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ("error.pdf", "Expected a name ending in .html or .csv"),
        ("nowhere/error.html", "does not exist; create it first"),
        ("earlier.txt", "exists already"),
    ],
)
def test_a_report_is_refused_before_anything_is_measured(folder: Path, told: Told, report: str, message: str) -> None:
    (folder / "earlier.txt").write_text("notes of the user")
    words = ("evaluate", "--keypoints", folder / "points.csv", "--report", folder / report)
    code, error = told(*words)
    assert (code, message in error) == (1, True), error
    assert (folder / "earlier.txt").read_text() == "notes of the user"


def test_an_earlier_report_is_replaced_when_told(folder: Path, told: Told) -> None:
    words = ("evaluate", "--keypoints", folder / "points.csv", "--report", folder / "error.csv")
    assert [told(*words)[0], told(*words)[0], told(*words, "--overwrite")[0]] == [0, 1, 0]


def test_labels_without_pixel_size_take_that_of_the_transforms(
    folder: Path, told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = np.asarray(io.read(folder / "movie.tif").data)
    io.write(dr.Stack(plain, "tyx"), folder / "plain.tif")
    assert told("apply", folder / "motion.csv", folder / "movie.tif", folder / "same.tif")[0] == 0
    assert main(["apply", *(str(folder / name) for name in ("motion.csv", "plain.tif", "out.tif"))]) == 0
    assert "says no pixel size; that of the transforms is taken" in capsys.readouterr().out
    first, second = io.read(folder / "out.tif"), io.read(folder / "same.tif")
    np.testing.assert_array_equal(np.asarray(first.data), np.asarray(second.data))
    assert first.spacing[1:] == second.spacing[1:] == SPACING[1:]
    assert (np.asarray(first.data) != plain).any()


def test_matrices_of_another_program_live_on_the_grid_of_the_movie(folder: Path, told: Told) -> None:
    lines = (folder / "motion.csv").read_text().splitlines(keepends=True)
    (folder / "plain.csv").write_text("".join(line for line in lines if not line.startswith("#")))
    for name in ("motion", "plain"):
        assert told("apply", folder / f"{name}.csv", folder / "movie.tif", folder / f"{name}.tif") == (0, "")
    first, second = (np.asarray(io.read(folder / f"{name}.tif").data) for name in ("motion", "plain"))
    np.testing.assert_array_equal(first, second)
    words = ("register", folder / "movie.tif", folder / "out.zarr", "affine", "--start", folder / "plain.csv")
    assert told(*words)[0] == 0


def test_micrometres_are_not_applied_to_pixels(folder: Path, told: Told) -> None:
    larger = np.asarray(io.read(folder / "movie.tif").data).repeat(2, axis=1).repeat(2, axis=2)
    io.write(dr.Stack(larger, "tyx"), folder / "plain.tif")
    words = ("apply", folder / "motion.csv", folder / "plain.tif", folder / "out.tif")
    code, error = told(*words)
    assert code == 1
    assert "The transforms are in micrometer (pixel size 0.5 x 0.5)" in error
    assert not (folder / "out.tif").exists()
    code, error = told("register", folder / "plain.tif", folder / "out.zarr", "affine", "--start", folder / "motion.csv")
    assert (code, "The transforms are in micrometer" in error) == (1, True)
    assert told(*words, "--spacing", 2, 0.25, 0.25, "--units", *UNITS)[0] == 0
    # The last frame moves by 2 and 1 micrometres.
    moved = np.asarray(io.read(folder / "out.tif").data)[2]
    np.testing.assert_array_equal(moved[:-8, :-4], larger[2, 8:, 4:])


def test_a_missing_unit_is_no_obstacle_where_pixels_have_the_same_size(folder: Path, told: Told) -> None:
    grid = Grid((16, 18), (0.5, 0.5), (0.0, 0.0), ("pixel", "pixel"))
    io.write_transforms(PerFrame([Identity(2)] * 3), folder / "unknown.csv", grid=grid)
    assert told("apply", folder / "unknown.csv", folder / "movie.tif", folder / "out.tif") == (0, "")


def test_options_may_follow_the_method(folder: Path, told: Told) -> None:
    words = ("denoise", folder / "movie.tif", folder / "out.tif")
    assert told(*words, "gaussian", "--axes", "zyx", "--sigma", 2)[0] == 0
    assert told(*words, "--axes", "zyx", "gaussian", "--overwrite", "--sigma", 2)[0] == 0
    assert io.read(folder / "out.tif").axes == "zyx"
    with pytest.raises(SystemExit):
        told(*words, "gaussian", "--unheard-of")


def test_the_version_is_told_without_loading_anything_heavy() -> None:
    script = "import sys; from napari_denoisereg.__main__ import main; sys.exit(main(['--version']) + ('torch' in sys.modules))"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (0, f"denoisereg {dr.__version__}\n")


def test_ctrl_c_while_the_command_line_loads_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(__main__, "import_module", interrupted)
    assert __main__.main(["methods"]) == 130
    assert capsys.readouterr().err == "Stopped; nothing was written.\n"


def test_errors_are_one_line_without_the_words_of_libraries(folder: Path, told: Told) -> None:
    out = folder / "out.zarr"
    for recipe in ({"register": [{"kind": "affin"}]}, {"register": 3}, {"denoise": {"kind": "gaussian", "sigma": -1}}):
        code, error = told("run", folder / "movie.tif", out, "--recipe", json.dumps(recipe))
        assert code == 1
        assert error.count("\n") == 1, error
        assert "is no recipe" in error
        assert not any(word in error for word in ("pydantic", "input_value", "validation error"))
    deep = folder / ("a" * 120)
    code, error = told("denoise", deep / "movie.tif", out, "gaussian")
    assert error.count("\n") == 1, "a name is not broken into lines"
    assert str(deep) in error


def test_a_disk_without_room_is_told_without_numbers_of_the_system(
    folder: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=10))
    code, error = told("denoise", folder / "movie.tif", folder / "out.tif", "gaussian")
    assert code == 1
    assert error.startswith("Error: Writing out.tif needs up to")


def test_movies_that_cannot_be_trained_on_together_are_told(folder: Path, told: Told) -> None:
    io.write(dr.Stack(np.full((3, 16, 18), np.nan, np.float32), "tyx"), folder / "broken.tif")
    io.write(dr.Stack(np.random.default_rng(0).normal(size=(3, 4, 16, 18)).astype(np.float32), "tzyx"), folder / "deep.tif")
    for other, words in {"broken.tif": "broken.tif: Frame 0 has 288 NaN", "deep.tif": "all in 2D or all in 3D"}.items():
        names = [folder / name for name in ("movie.tif", other)]
        code, error = told("train", "noise2void", *names, "--output", folder / "m.safetensors")
        assert code == 1
        assert words in error
        assert not (folder / "m.safetensors").exists()
