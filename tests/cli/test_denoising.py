"""Denoising and training on the command line: the same as in Python, with what is worth knowing told in plain words."""

from pathlib import Path

import numpy as np
import pytest

import napari_denoisereg as dr
from napari_denoisereg import io
from napari_denoisereg.cli import main
from napari_denoisereg.denoise import Denoiser
from napari_denoisereg.geometry import smooth
from napari_denoisereg.model import load as load_model
from napari_denoisereg.results import read_registration
from napari_denoisereg.stack import Stack

BUDGET = {"iterations": 4, "seconds": 1e6, "patch": 16, "batch": 2, "every": 2}
pytestmark = pytest.mark.filterwarnings("ignore:Denoising")  # of a few steps of training
WORDS = [word for name, value in BUDGET.items() for word in (f"--{name}", value)]


@pytest.fixture(scope="module")
def moving() -> np.ndarray:
    """A texture that moves two pixels to the left from frame to frame."""
    noise = Stack(np.random.default_rng(2).normal(0, 1, (1, 64, 80)).astype(np.float32), "tyx")
    texture = smooth(noise.tensor([0])[None], 2.0)[0, 0].numpy()
    frames = np.stack([texture[8:56, 8 + 2 * t : 56 + 2 * t] for t in range(5)]) * 60 / texture.std()
    return (500 + frames + np.random.default_rng(3).normal(0, 5, frames.shape)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path, moving: np.ndarray) -> Path:
    units = ("second", "micrometer", "micrometer")
    io.write(Stack(moving, "tyx", spacing=(1, 0.5, 0.5), units=units), tmp_path / "movie.ome.tif")
    return tmp_path


def _run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.mark.parametrize("kind", ["gaussian", "noise2void", "deep_temporal"])
def test_the_result_is_that_of_python(kind: str, folder: Path) -> None:
    is_trained = Denoiser.members()[kind].is_trained
    words = ("denoise", folder / "movie.ome.tif", folder / "out.tif", kind, "--device", "cpu")
    assert _run(*words, *(WORDS if is_trained else ())) == 0
    method = {"kind": kind, **(BUDGET if is_trained else {})}
    expected = dr.denoise(io.read(folder / "movie.ome.tif"), method, device="cpu")
    np.testing.assert_array_equal(np.asarray(io.read(folder / "out.tif").data), np.asarray(expected.data))


def test_the_flow_of_the_denoised_movie_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("denoise", folder / "movie.ome.tif", folder / "out.tif", "gaussian", "--flow", folder / "flow.zarr")
    assert _run(*words) == 0
    flow = read_registration(folder / "flow.zarr")
    assert len(flow.transforms) == 5
    middle = np.median(flow.displacement(1)[:, 12:36, 12:36], axis=(1, 2))
    np.testing.assert_allclose(middle, [0, -2 * 0.5], atol=0.1)  # µm: where the next frame shows the same
    assert flow.transforms[4].is_identity
    assert capsys.readouterr().out.count("Wrote") == 2


@pytest.mark.parametrize(("flow", "words"), [("movie.ome.tif", ".zarr"), ("there.zarr", "exists already")])
def test_a_flow_that_cannot_be_written_is_refused_at_once(
    flow: str, words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "there.zarr").mkdir()
    assert _run("denoise", folder / "movie.ome.tif", folder / "out.tif", "gaussian", "--flow", folder / flow) == 1
    assert words in capsys.readouterr().err
    assert not (folder / "out.tif").exists()


def test_the_network_is_kept_as_it_was_early_and_in_the_middle(folder: Path) -> None:
    budget = ["--iterations", 20, "--seconds", 1e6, "--patch", 16, "--batch", 2, "--every", 2]
    words = ["train", "noise2void", folder / "movie.ome.tif", "--output", folder / "n.model", "--device", "cpu"]
    assert _run(*words, *budget, "--checkpoints") == 0
    early, middle = (load_model(folder / f"n-{name}.model", (Denoiser,)) for name in ("early", "middle"))
    assert (early.provenance["iterations"], middle.provenance["iterations"]) == (2, 10)
    assert any((early.weights[name] != weight).any() for name, weight in middle.weights.items())
    denoised = dr.denoise(io.read(folder / "movie.ome.tif"), "noise2void", model=folder / "n-early.model", device="cpu")
    assert np.isfinite(np.asarray(denoised.data)).all()
    assert _run(*words, *budget) == 1  # the model is there already
    (folder / "n.model").unlink()
    assert _run(*words, *budget, "--checkpoints") == 1  # the earlier states are, too


def test_what_is_worth_knowing_is_told_without_lines_of_code(
    folder: Path, moving: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = moving.copy()
    lost[2] = 0
    io.write(Stack(lost, "tyx"), folder / "lost.tif")
    train = ("train", "noise2void", folder / "lost.tif", "--output", folder / "n.model", "--device", "cpu")
    assert _run(*train, *WORDS) == 0
    assert "Note: Nothing was recorded in frame 2: it is left out" in capsys.readouterr().out
    assert load_model(folder / "n.model", (Denoiser,)).provenance["data"][0]["shape"] == [4, 48, 48]
    noisier = Stack((moving + np.random.default_rng(4).normal(0, 60, moving.shape)).astype(np.float32), "tyx")
    io.write(noisier, folder / "noisier.tif")
    assert _run("denoise", folder / "noisier.tif", folder / "out.tif", "--model", folder / "n.model", "noise2void") == 0
    told = capsys.readouterr().out
    assert "Note: The noise is" in told
    assert "UserWarning" not in told
    assert ".py" not in told
