"""Frames that failed are told of wherever a result goes: front door, command line, keypoint report, files."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

import napari_denoisereg as dr
from napari_denoisereg.cli import main
from napari_denoisereg.evaluation.keypoints import Keypoints
from napari_denoisereg.results import read_registration

LOST = 2


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """A texture that drifts; one frame shows nothing but noise."""
    random = np.random.default_rng(0)
    base = 1000 * ndimage.gaussian_filter(random.normal(size=(72, 72)), 2)
    frames = np.stack([ndimage.shift(base, (t, -t))[8:64, 8:64] for t in range(5)]) + random.normal(0, 2, (5, 56, 56))
    frames[LOST] = random.normal(0, 2, (56, 56))
    return (frames + 1000).astype(np.float32)


@pytest.mark.parametrize(
    "call", [lambda stack: dr.register(stack, "affine"), lambda stack: dr.run(stack, {"register": [{"kind": "affine"}]})]
)
def test_the_front_door_names_the_frame_and_the_reason_once(frames: np.ndarray, call: object) -> None:
    with pytest.warns(UserWarning, match=rf"Look at these frames.*frame {LOST}: .*hardly anything") as told:
        call(dr.Stack(frames, "tyx"))
    assert len(told) == 1
    assert told[0].filename == __file__


def test_the_front_door_is_silent_about_a_good_movie(frames: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dr.register(dr.Stack(np.delete(frames, LOST, axis=0), "tyx"), "affine")


@pytest.mark.filterwarnings("ignore:Look at these frames")
def test_the_keypoint_report_notes_it(frames: np.ndarray) -> None:
    marks = Keypoints([0, LOST], [0, 0], [[20.0, 20.0], [22.0, 18.0]])
    result = dr.run(dr.Stack(frames, "tyx"), {"register": [{"kind": "affine"}]}, keypoints=marks)
    assert any(note.startswith(f"Frame {LOST} may not be aligned: ") for note in result.report.notes)


def test_the_command_line_says_it_and_the_file_keeps_it(
    frames: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    tifffile.imwrite(tmp_path / "movie.tif", frames, metadata={"axes": "TYX"}, imagej=True)
    out = tmp_path / "out.zarr"
    assert main(["register", str(tmp_path / "movie.tif"), str(out), "affine"]) == 0
    said = capsys.readouterr()
    assert f"frame {LOST}" in (said.out + said.err).lower()
    quality = json.loads((out / "zarr.json").read_text())["attributes"]["quality"]
    assert "hardly anything" in quality["reasons"][str(LOST)]
    assert len(quality["after"]) == len(frames)
    assert quality["copy"] == [None] * len(frames)  # not a number has no place in JSON
    assert len(read_registration(out).transforms) == len(frames)
