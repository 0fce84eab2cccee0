"""Every run that denoises tells whether its denoised movie can be trusted."""

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from scipy import ndimage

from napari_denoisereg import io
from napari_denoisereg.cli import main
from napari_denoisereg.evaluation.denoising_trust import check_some
from napari_denoisereg.evaluation.synthetic import SyntheticMovie, nuclei_movie
from napari_denoisereg.pipeline import Pipeline, Result
from napari_denoisereg.results import write_result
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish
from napari_denoisereg.widgets.denoise_register_job import doubts, summary


@pytest.fixture(scope="module")
def movie() -> SyntheticMovie:
    return nuclei_movie("easy", seed=4, shape=(96, 96), n_frames=6)


def ran(movie: SyntheticMovie, sigma: float, **more: object) -> Result:
    recipe = Pipeline(denoise={"kind": "gaussian", "sigma": sigma}, **more)
    return finish(recipe.run(Stack(movie.noisy, "tyx"), device="cpu", keypoints=movie.keypoints))


def test_few_frames_say_the_same_as_all_and_keep_their_numbers(movie: SyntheticMovie) -> None:
    large = np.tile(movie.clean, (1, 4, 4)).astype(np.float32)
    noisy = large + np.random.default_rng(0).normal(0, 0.02 * large.max(), large.shape).astype(np.float32)
    blurred = large.copy()
    blurred[-1] = ndimage.gaussian_filter(large[-1], 6)
    trust = finish(check_some(Stack(noisy, "tyx"), Stack(blurred, "tyx")))
    assert trust.frames.tolist() == [0, 2, 5]
    assert trust.hints()[0].startswith("Frame 5: fine structure")


def test_frames_that_stand_for_all_are_not_called_all() -> None:
    noisy = np.random.default_rng(0).normal(100, 5, (8, 64, 64)).astype(np.float32)
    trust = finish(check_some(Stack(noisy, "tyx"), Stack(noisy.copy(), "tyx")))
    assert trust.hints()[0].startswith("All 3 frames that were looked at: hardly any noise")


def test_the_result_keeps_what_was_found(movie: SyntheticMovie, tmp_path: Path) -> None:
    result = ran(movie, 8.0, register=[{"kind": "affine", "finest": 4}])
    assert result.trust is not None
    assert "fine structure was taken away" in result.trust.hints()[0]
    assert any("fine structure" in note for note in result.report.notes)
    finish(write_result(result, tmp_path / "out.zarr"))
    written = dict(zarr.open_group(tmp_path / "out.zarr", mode="r").attrs)["denoising"]
    assert written["frames"] == [0, 2, 5]
    assert written["hints"] == list(result.trust.hints())
    assert json.dumps(written)


def test_the_dock_says_it_where_the_denoised_movie_is_shown(movie: SyntheticMovie) -> None:
    rough, fine = ran(movie, 8.0), ran(movie, 0.8)
    assert "Lower the strength" in doubts(rough)
    assert doubts(rough, denoised=False) == ""
    assert (doubts(fine), summary(fine)) == ("", "Done. What denoising took away looks like noise.")


def test_the_command_line_says_it(movie: SyntheticMovie, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    io.write(Stack(movie.noisy, "tyx"), tmp_path / "movie.ome.tif")
    words = ["denoise", tmp_path / "movie.ome.tif", tmp_path / "clean.ome.zarr", "gaussian", "--sigma", 8]
    assert main([str(word) for word in words]) == 0
    assert "Denoising: " in capsys.readouterr().out


def test_nothing_is_said_where_nothing_was_denoised(movie: SyntheticMovie) -> None:
    recipe = Pipeline(register=[{"kind": "affine", "finest": 4}])
    assert finish(recipe.run(Stack(movie.noisy, "tyx"), device="cpu")).trust is None
