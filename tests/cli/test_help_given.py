"""What a user knows, and what a result is used for, on the command line: starts, channels, marks brought along."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import napari_denoisereg as dr
from napari_denoisereg import io
from napari_denoisereg.cli import main
from napari_denoisereg.evaluation.keypoints import Keypoints
from napari_denoisereg.geometry import Identity, PerFrame, Translation
from napari_denoisereg.results import read_registration

SPACING, UNITS = (2.0, 0.5, 0.5), ("second", "micrometer", "micrometer")
SHIFTS = np.array([[0.0, 0.0], [15.0, -10.0], [28.0, -22.0]])  # px: too far to be found without help


def texture(seed: int) -> np.ndarray:
    return 1000 + 2000 * ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(80, 84)), 2.5, mode="wrap")


def moved(image: np.ndarray, steps: np.ndarray) -> np.ndarray:
    return np.stack([np.roll(image, step.astype(int), (0, 1))[12:-12, 12:-12] for step in steps]).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A movie, one of two channels that move differently, and marks of which one is misplaced."""
    movie = dr.Stack(moved(texture(0), SHIFTS), "tyx", spacing=SPACING, units=UNITS)
    io.write(movie, tmp_path / "movie.ome.tif")
    both = np.stack([moved(texture(0), SHIFTS), moved(texture(1), -SHIFTS)], axis=1)
    stains = dr.Stack(both, "tcyx", spacing=(2.0, 1.0, 0.5, 0.5), units=("second", "pixel", "micrometer", "micrometer"))
    io.write(stains, tmp_path / "stains.ome.tif")
    places = np.array([[10, 12], [30, 9], [20, 30], [12, 26], [28, 22], [18, 18]], float)
    rows = [(frame, number, place + shift) for frame, shift in enumerate(SHIFTS) for number, place in enumerate(places)]
    position = np.array([place for *_, place in rows])
    position[6] += 15  # number 0 in frame 1
    io.write_keypoints(Keypoints([row[0] for row in rows], [row[1] for row in rows], position), tmp_path / "marks.csv")
    return tmp_path


def _run(*words: object) -> int:
    return main([str(word) for word in words])


def shift_of(path: Path, frame: int) -> np.ndarray:
    """How far the middle of a frame is said to have moved, px."""
    registration = read_registration(path)
    middle = np.array([registration.grid.centre])
    return (registration.points(frame, middle)[0] - middle[0]) / registration.grid.spacing


@pytest.mark.parametrize("motion", ["translation", "affine"])
def test_a_start_may_be_keypoints_and_misplaced_ones_are_named(folder: Path, motion: str) -> None:
    words = ("register", folder / "movie.ome.tif", folder / "out.zarr", "--start", folder / "marks.csv")
    with pytest.warns(UserWarning, match="left out of the start: 0 in frame 1"):
        assert _run(*words, "--start-motion", motion, "affine", "--motion", "translation") == 0
    for frame in (1, 2):
        np.testing.assert_allclose(shift_of(folder / "out.zarr", frame), SHIFTS[frame], atol=0.3)


def test_a_start_of_keypoints_of_another_movie_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    marks = io.read_keypoints(folder / "marks.csv")
    others = {
        "late": (marks.frame * 2, marks.position, "name frame 4"),
        "nm": (marks.frame, marks.position * 500, "far outside"),
    }
    for name, (frame, position, told) in others.items():
        io.write_keypoints(Keypoints(frame, marks.id, position), folder / f"{name}.csv")
        assert _run("register", folder / "movie.ome.tif", folder / "out.zarr", "--start", folder / f"{name}.csv", "affine") == 1
        assert told in capsys.readouterr().err


def test_a_recipe_looks_at_the_channel_it_is_told(folder: Path) -> None:
    (folder / "recipe.json").write_text('{"register": [{"kind": "affine", "motion": "translation"}]}')
    for channel, sign in ((0, 1), (1, -1)):
        out = folder / f"{channel}.zarr"
        words = ("run", folder / "stains.ome.tif", out, "--recipe", folder / "recipe.json", "--start", folder / "start.zarr")
        known = PerFrame([Identity(2), *(Translation((sign * shift * 0.5 + 0.3).tolist()) for shift in SHIFTS[1:])])
        io.write_transforms(known, folder / "start.zarr", grid=io.read(folder / "movie.ome.tif").grid, overwrite=True)
        assert _run(*words, "--channel", channel) == 0
        np.testing.assert_allclose(shift_of(out, 2), sign * SHIFTS[2], atol=0.3)
    result = dr.run(io.read(folder / "stains.ome.tif"), folder / "recipe.json", channel=1, start=folder / "start.zarr")
    np.testing.assert_array_equal(result.registration.displacement(2), read_registration(folder / "1.zarr").displacement(2))


def test_an_unknown_series_is_told_which_there_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _run("register", folder / "movie.ome.tif", folder / "out.zarr", "--series", "sideways", "affine")
    assert "combined" in capsys.readouterr().err


def test_a_series_takes_its_settings(folder: Path) -> None:
    words = ("register", folder / "movie.ome.tif", folder / "out.zarr", "--series", "combined,least_gain=1.0", "affine")
    assert _run(*words) == 0
    recipe = io.read(folder / "out.zarr" / "aligned").history[-1]["warp"][-1]
    assert recipe["series"] == {"kind": "combined", "least_gain": 1.0}
    stack = io.read(folder / "movie.ome.tif")
    for series in ({"kind": "combined", "least_gain": 1.0}, "to_previous"):
        registration = dr.register(stack, "affine", series=series)
        assert registration.history[-1]["series"]["kind"] in str(series)


@pytest.fixture
def known(folder: Path) -> Path:
    """Transforms of the movie as they are."""
    grid = io.read(folder / "movie.ome.tif").grid
    found = PerFrame([Identity(2), *(Translation((shift * 0.5).tolist()) for shift in SHIFTS[1:])])
    io.write_transforms(found, folder / "known.zarr", grid=grid)
    return folder / "known.zarr"


def test_keypoints_are_aligned_and_brought_back(folder: Path, known: Path) -> None:
    assert _run("apply", known, folder / "marks.csv", folder / "aligned.csv") == 0
    assert _run("apply", known, folder / "aligned.csv", folder / "back.csv", "--inverse") == 0
    marks, aligned, back = (io.read_keypoints(folder / f"{name}.csv") for name in ("marks", "aligned", "back"))
    np.testing.assert_allclose(aligned.position, marks.position - SHIFTS[marks.frame], atol=1e-6)
    np.testing.assert_allclose(back.position, marks.position, atol=1e-6)


def test_shapes_and_tracks_are_aligned_too(folder: Path, known: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "tracks.csv").write_text("track_id,t,y,x,size\n4,0,20,30,7.50\n4,1,35,20,8.0\n")
    head = "index,shape-type,vertex-index,axis-0,axis-1,axis-2\n"
    (folder / "shapes.csv").write_text(head + "0,line,0,2.0,40.0,9.0\n0,line,1,2.0,50.0,9.0\n")
    for name in ("tracks", "shapes"):
        assert _run("apply", known, folder / f"{name}.csv", folder / f"{name}_aligned.csv") == 0
    assert (folder / "tracks_aligned.csv").read_text() == "track_id,t,y,x,size\n4,0,20,30,7.50\n4,1,20.0,30.0,8.0\n"
    assert (folder / "shapes_aligned.csv").read_text() == head + "0,line,0,2.0,12.0,31.0\n0,line,1,2.0,22.0,31.0\n"
    (folder / "um.csv").write_text("track_id,t,y,x\n4,0,10,15\n4,1,17.5,10\n")  # pixels of 0.5 um
    assert _run("apply", known, folder / "um.csv", folder / "um_aligned.csv", "--spacing", 2, 1, 1) == 0
    assert (folder / "um_aligned.csv").read_text() == "track_id,t,y,x\n4,0,10,15\n4,1,10.0,15.0\n"
    assert _run("apply", known, folder / "um.csv", folder / "never.csv", "--axes", "tyx") == 1
    assert "say its axes" in capsys.readouterr().err


def test_keypoints_of_other_frames_or_axes_are_refused(folder: Path, known: Path, capsys: pytest.CaptureFixture[str]) -> None:
    io.write_keypoints(Keypoints([0, 3], [0, 0], [[1, 2], [3, 4]]), folder / "late.csv")
    io.write_keypoints(Keypoints([0], [0], [[1, 2, 3]]), folder / "deep.csv")
    for name, words in {"late": "got frame 3; frames count from 0", "deep": "with 2 coordinates"}.items():
        assert _run("apply", known, folder / f"{name}.csv", folder / "never.csv") == 1
        assert words in capsys.readouterr().err
    assert _run("apply", known, folder / "marks.csv", folder / "never.tif") == 1
    assert "ending in .csv" in capsys.readouterr().err


@pytest.mark.parametrize(("outside", "wanted"), [("7.5", 7.5), ("edge", None)])
def test_what_stands_outside_can_be_said(folder: Path, known: Path, outside: str, wanted: float | None) -> None:
    source, out = folder / "movie.ome.tif", folder / "aligned.tif"
    assert _run("apply", known, source, out, "--outside", outside) == 0
    corner = io.read(out).frame(2)[-1, 0]  # further down nothing was imaged
    last = io.read(source).frame(2)
    assert corner == pytest.approx(wanted if wanted is not None else last[-1, 0])
