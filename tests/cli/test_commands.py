"""The command line: real files in, real results out, real processes stopped in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import napari_denoisereg as dr
from napari_denoisereg import io
from napari_denoisereg.cli import main
from napari_denoisereg.denoise import Denoiser
from napari_denoisereg.evaluation.synthetic import SyntheticMovie, nuclei_movie
from napari_denoisereg.model import load as load_model
from napari_denoisereg.results import read_registration
from napari_denoisereg.steps import Steps

# A shell that starts the tests in the background makes all children deaf to Ctrl-C.
INTERRUPTIBLE = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); from napari_denoisereg.cli import main"
)
FAST = {"name": "tiny", "denoise": {"kind": "gaussian", "sigma": 1.0}, "register": [{"kind": "affine"}]}


@pytest.fixture(scope="module")
def movie() -> SyntheticMovie:
    return nuclei_movie("easy", seed=1, shape=(72, 72), n_frames=4)


@pytest.fixture
def folder(tmp_path: Path, movie: SyntheticMovie) -> Path:
    stack = dr.Stack(movie.noisy, axes="tyx", spacing=(2, 0.5, 0.5), units=("second", "micrometer", "micrometer"))
    io.write(stack, tmp_path / "movie.ome.tif")
    io.write_keypoints(movie.keypoints, tmp_path / "keypoints.csv")
    (tmp_path / "recipe.json").write_text(json.dumps(FAST))
    return tmp_path


def _run(*words: object) -> int:
    return main([str(word) for word in words])


def test_run_writes_images_and_transforms_with_their_place(folder: Path, movie: SyntheticMovie) -> None:
    out = folder / "out.zarr"
    assert _run("run", folder / "movie.ome.tif", out, "--recipe", folder / "recipe.json", "--device", "cpu") == 0
    aligned, denoised = io.read(out / "aligned"), io.read(out / "denoised")
    assert aligned.shape == denoised.shape == movie.noisy.shape
    assert aligned.spacing == denoised.spacing == (2, 0.5, 0.5)
    assert aligned.units[-1] == "micrometer"
    registration = read_registration(out)
    expected = registration.warp(io.read(folder / "movie.ome.tif"))
    np.testing.assert_array_equal(np.asarray(aligned.data), np.asarray(expected.data))


def test_evaluate_prints_a_smaller_error_after_registration(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _run("register", folder / "movie.ome.tif", folder / "out.zarr", "affine", "--finest", 1)
    report = folder / "error.json"
    assert (
        _run("evaluate", "--keypoints", folder / "keypoints.csv", "--transforms", folder / "out.zarr", "--report", report) == 0
    )
    assert "after mean" in capsys.readouterr().out
    error = dr.evaluate(folder / "keypoints.csv", read_registration(folder / "out.zarr"))
    assert error.figures()["after_mean"] < 0.5 * error.figures()["before_mean"]
    assert report.stat().st_size > 0


def test_settings_of_a_method_reach_it(folder: Path) -> None:
    assert _run("denoise", folder / "movie.ome.tif", folder / "clean.ome.zarr", "gaussian", "--sigma", 2.5) == 0
    assert io.read(folder / "clean.ome.zarr").history[-1]["denoise"] == {"kind": "gaussian", "sigma": 2.5}


@pytest.mark.parametrize("name", ["image.tif", "image.ome.zarr"])
def test_a_single_image_is_denoised_as_it_is_and_learnt_from(
    folder: Path, movie: SyntheticMovie, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    io.write(dr.Stack.of_image(movie.noisy[0]), folder / name)
    assert _run("denoise", folder / name, folder / f"clean-{name}", "gaussian", "--spacing", 0.5, 0.5) == 0
    clean = io.read(folder / f"clean-{name}")
    assert (clean.outer_axes, clean.grid.shape) == ("yx", movie.noisy.shape[1:])
    words = ("denoise", folder / name, folder / "b.tif", "--flow", folder / "flow.zarr", "gaussian")
    assert _run(*words) == 1
    assert "--flow is from each frame to the next one" in capsys.readouterr().err
    assert not (folder / "b.tif").exists()
    model, quick = folder / "one.safetensors", ("--iterations", 2, "--patch", 32)
    assert _run("train", "noise2void", folder / name, "--output", model, *quick) == 0
    assert load_model(model, [Denoiser]).provenance["iterations"] == 2
    for words in (("register", folder / name, folder / "r.zarr", "affine"), ("run", folder / name, folder / "r.zarr")):
        assert _run(*words) == 1
        told = capsys.readouterr().err
        assert "Registration needs at least 2 frames" in told
        assert "is a single image of 72 × 72 px: it can only be denoised" in told
        assert "denoisereg denoise IMAGE OUTPUT fusion" in told


def test_a_model_is_trained_once_and_used_often(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = folder / "nuclei.safetensors"
    assert _run("train", "noise2void", folder / "movie.ome.tif", "--output", model, "--iterations", 2, "--patch", 32) == 0
    for name in ("a", "b"):
        words = ("denoise", folder / "movie.ome.tif", folder / f"{name}.tif", "--model", model, "noise2void")
        assert _run(*words) == 0
    first, second = (tifffile.imread(folder / f"{name}.tif") for name in ("a", "b"))
    np.testing.assert_array_equal(first, second)
    assert _run("register", folder / "movie.ome.tif", folder / "out.zarr", "--model", model, "affine") == 1
    assert "model" in capsys.readouterr().err
    assert not (folder / "out.zarr").exists()


def test_apply_moves_labels_without_making_new_ones(folder: Path, movie: SyntheticMovie) -> None:
    labels = (movie.clean > np.median(movie.clean)).astype(np.uint16) * 40_000
    tifffile.imwrite(folder / "labels.tif", labels, photometric="minisblack", metadata={"axes": "TYX"})
    _run("register", folder / "movie.ome.tif", folder / "out.zarr", "affine")
    words = ("apply", folder / "out.zarr", folder / "labels.tif", folder / "moved.tif", "--interpolation", "nearest")
    assert _run(*words) == 0
    moved = tifffile.imread(folder / "moved.tif")
    assert moved.dtype == np.uint16
    assert set(np.unique(moved)) <= {0, 40_000}
    assert (moved != labels).any()


def test_methods_lists_the_registry(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("methods") == 0
    printed = capsys.readouterr().out
    assert all(row["kind"] in printed for row in dr.methods())


def test_demo_makes_everything_a_person_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("demo", "--folder", tmp_path / "demo", "--recipe", "fast") == 0
    made = {path.name for path in (tmp_path / "demo").iterdir()}
    assert {"result.zarr", "displacement_last_frame.zarr", "overview.png", "error.html", "keypoints.csv"} <= made
    assert "before mean" in capsys.readouterr().out
    field = io.read_transforms(tmp_path / "demo" / "displacement_last_frame.zarr")[0][0].field
    assert field.shape == (2, 256, 256)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "missing.tif", "out.zarr"), "missing.tif"),
        (("run", "movie.ome.tif", "out.zarr", "--recipe", "excellent"), "fast, balanced, best"),
        (("run", "movie.ome.tif", "no/such/folder/out.zarr"), "does not exist"),
        (("run", "movie.ome.tif", "out.zarr", "--axes", "zyxt"), "axes"),
        (("register", "movie.ome.tif", "out.zarr", "--channel", "3", "affine"), "Channel 3"),
        (("run", "half.tif", "out.zarr"), "half.tif"),
        (("run", "one.tif", "out.zarr", "--recipe", "fast"), "at least 2 frames"),
        (("run", "holes.tif", "out.zarr", "--recipe", "fast"), "NaN"),
        (("evaluate", "--keypoints", "movie.ome.tif"), "movie.ome.tif"),
        (("run", "movie.ome.tif", "out.tif"), "Expected a name ending in .zarr to write, got out.tif"),
        (("register", "movie.ome.tif", "out", "affine"), "Expected a name ending in .zarr to write, got out;"),
        (("denoise", "movie.ome.tif", "out.png", "noise2void"), ".tif or .tiff or .zarr to write, got out.png"),
        (("apply", "movie.ome.tif", "movie.ome.tif", "out.png"), "got out.png"),
        (("run", "movie.ome.tif", "out.zarr", "--save-models", "one.tif/models"), "got the file"),
        (("run", "movie.ome.tif", "out.zarr", "--save-models", "out.zarr/models"), "outside the result"),
        (
            ("run", "movie.ome.tif", "out.zarr", "--recipe", '{"denoise": "noise2void"}', "--save-models", "kept"),
            "noise2void-0.safetensors; choose another folder",
        ),
        (("demo", "--folder", "sample", "--recipe", "denoise.json"), "Expected a recipe that registers, got 'clean'"),
        (("run", "no [/x] [denoised].tif", "out.zarr"), "no [/x] [denoised].tif"),
    ],
)
def test_bad_input_is_refused_in_plain_words_and_leaves_nothing(
    folder: Path,
    movie: SyntheticMovie,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    told: str,
) -> None:
    monkeypatch.chdir(folder)
    whole = Path("movie.ome.tif").read_bytes()
    Path("half.tif").write_bytes(whole[: len(whole) // 2])
    tifffile.imwrite("one.tif", movie.noisy[:1, None], photometric="minisblack", metadata={"axes": "TZYX"})
    holes = np.where(movie.noisy > np.percentile(movie.noisy, 99), np.nan, movie.noisy)
    tifffile.imwrite("holes.tif", holes, photometric="minisblack")
    Path("kept").mkdir()
    for kind in ("noise2void", "denoisereg"):
        Path("kept", f"{kind}-0.safetensors").touch()
    Path("denoise.json").write_text(json.dumps({"name": "clean", "denoise": {"kind": "gaussian"}}))
    before = sorted(Path().rglob("*"))
    assert main(list(words)) == 1
    message = " ".join(capsys.readouterr().err.split())
    assert told in message
    assert "Traceback" not in message
    assert sorted(Path().rglob("*")) == before


def test_names_with_brackets_are_told_as_they_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("movie [denoised].tif", "a [bold] :smile:.tif"):
        assert _run("denoise", folder / "movie.ome.tif", folder / name, "gaussian") == 0
        assert capsys.readouterr().out == f"Wrote {folder / name}\n"
        assert _run("denoise", folder / name, folder / name, "gaussian") == 1
        assert name in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("fails", [OSError("the disk is gone"), KeyboardInterrupt()])
def test_trained_models_are_kept_when_the_result_is_not_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fails: BaseException
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise fails

    tiny = {"name": "tiny", "denoise": {"kind": "noise2void", "iterations": 2, "patch": 32}}
    (folder / "recipe.json").write_text(json.dumps(tiny))
    words = ("run", folder / "movie.ome.tif", folder / "out.zarr", "--recipe", folder / "recipe.json", "--device", "cpu")
    with monkeypatch.context() as patch:
        patch.setattr("napari_denoisereg.results.write_result", refuse)
        assert _run(*words, "--save-models", folder / "kept") == (130 if isinstance(fails, KeyboardInterrupt) else 1)
    model = folder / "kept" / "noise2void-0.safetensors"
    assert model.stat().st_size > 0
    assert not (folder / "out.zarr").exists()
    told = capsys.readouterr().err
    assert "nothing was written" not in told
    if isinstance(fails, KeyboardInterrupt):
        assert told == f"Stopped; already written: {model}\n"
    assert _run(*words, "--save-models", folder / "kept") == 1
    assert _run(*words, "--save-models", folder / "kept", "--overwrite", "--model", model) == 0


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize("name", ["out.tif", "out.ome.zarr"])
def test_stopping_after_the_result_is_in_place_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, earlier: bool
) -> None:
    def stop_at_the_end(*arguments: Any, **options: Any) -> Steps[Path]:
        yield from write_steps(*arguments, **options)
        raise KeyboardInterrupt

    words = ("denoise", folder / "movie.ome.tif", folder / name, "--overwrite", "gaussian")
    if earlier:
        assert _run(*words) == 0
    write_steps = io.write_steps
    monkeypatch.setattr(io, "write_steps", stop_at_the_end)
    assert _run(*words) == 130
    assert capsys.readouterr().err == f"Stopped; already written: {folder / name}\n"


def test_a_setting_out_of_bounds_is_refused(folder: Path) -> None:
    assert _run("denoise", folder / "movie.ome.tif", folder / "out.tif", "noise2void", "--patch", 3) == 1
    assert not (folder / "out.tif").exists()


def test_an_earlier_result_is_kept_unless_told_otherwise(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("denoise", folder / "movie.ome.tif", folder / "clean.tif")
    assert _run(*words, "gaussian") == 0
    first = (folder / "clean.tif").read_bytes()
    assert _run(*words, "gaussian", "--sigma", 5) == 1
    assert "exists already" in " ".join(capsys.readouterr().err.split())
    assert (folder / "clean.tif").read_bytes() == first
    assert _run(*words, "--overwrite", "gaussian", "--sigma", 5) == 0
    assert (folder / "clean.tif").read_bytes() != first


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_leaves_the_old_result(folder: Path, stop: signal.Signals) -> None:
    out = folder / "out.zarr"
    assert _run("run", folder / "movie.ome.tif", out, "--recipe", folder / "recipe.json") == 0
    old = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    slow = '{"denoise": {"kind": "noise2void", "seconds": 60}, "register": [{"kind": "affine"}]}'
    words = ["run", str(folder / "movie.ome.tif"), str(out), "--recipe", slow, "--overwrite", "--device", "cpu"]
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"{INTERRUPTIBLE}; print('ready', flush=True); sys.exit(main())",
            *words,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(3.0)  # it trains for a minute
    assert process.poll() is None
    process.send_signal(stop)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == (130 if stop == signal.SIGINT else -signal.SIGKILL)
    if stop == signal.SIGINT:
        assert "Stopped; nothing was written." in errors
        assert not list(folder.glob(".part-*"))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == old


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_a_stopped_training_goes_on_as_if_nothing_had_been(
    folder: Path, stop: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("--patch", 16, "--batch", 1, "--device", "cpu")
    words = [str(word) for word in ("train", "noise2void", folder / "movie.ome.tif", *settings)]
    model, left = folder / "nuclei.safetensors", folder / "nuclei.safetensors.unfinished"
    once = [*words, "--output", str(model), "--save-every", "0"]
    code = f"{INTERRUPTIBLE}; sys.exit(main())"
    process = subprocess.Popen([sys.executable, "-c", code, *once, "--iterations", "100000"], stdout=subprocess.PIPE, text=True)
    try:
        while not left.exists():
            time.sleep(0.01)
            assert process.poll() is None
        process.send_signal(stop)
        said, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == (130 if stop == signal.SIGINT else -stop)
    assert ("--resume" in said) == (stop == signal.SIGINT)
    assert not model.exists()
    enough = load_model(left, (Denoiser,)).unfinished.tensors["losses"].numel() + 5
    once += ["--iterations", str(enough)]
    assert _run(*once) == 1
    assert "--resume" in capsys.readouterr().err
    assert _run(*words, "--seed", 5, "--output", model, "--resume") == 1
    assert "same axes and settings" in capsys.readouterr().err
    assert left.exists()
    assert _run(*once, "--resume") == 0
    assert not left.exists()
    assert _run(*words, "--output", folder / "other.safetensors", "--iterations", enough) == 0
    found, whole = (load_model(folder / name, (Denoiser,)) for name in ("nuclei.safetensors", "other.safetensors"))
    assert all(torch.equal(found.weights[name], weight) for name, weight in whole.weights.items())
    assert _run(*once, "--overwrite", "--resume") == 1
    assert "no interrupted training" in " ".join(capsys.readouterr().err.split())


def test_a_region_and_landmarks_on_the_command_line(
    folder: Path, movie: SyntheticMovie, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = np.zeros(movie.noisy.shape[1:], np.uint8)
    tifffile.imwrite(folder / "empty.tif", mask)
    mask[10:60, 12:62] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    words = ("register", folder / "movie.ome.tif", folder / "out.zarr", "--device", "cpu")
    assert _run(*words, "--region", folder / "empty.tif", "affine") == 1
    assert "region is empty" in capsys.readouterr().err
    assert _run(*words, "--landmarks", folder / "keypoints.csv", "patches") == 1
    assert "keypoints can guide (affine" in capsys.readouterr().err
    assert not (folder / "out.zarr").exists()
    assert _run(*words, "--region", folder / "mask.png", "--landmarks", folder / "keypoints.csv", "affine") == 0
    stack = io.read(folder / "movie.ome.tif")
    expected = dr.register(stack, "affine", device="cpu", region=mask, landmarks=movie.keypoints)
    found = read_registration(folder / "out.zarr")
    np.testing.assert_allclose(found.transforms[3].matrix(), expected.transforms[3].matrix(), atol=1e-3)
