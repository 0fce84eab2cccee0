"""Objects: each tracked one gets its own motion, whatever the others do."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import napari_denoisereg as dr
from napari_denoisereg import io
from napari_denoisereg.cli import main
from napari_denoisereg.object_motion import Objects, motion_table
from napari_denoisereg.objects import register_objects, write_objects, write_table
from napari_denoisereg.results import read_registration
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish

SHAPE, N_FRAMES = (64, 96), 4
# Per frame: shift (y, x) and turn in degrees of the two nuclei.
MOTIONS = {3: (np.array([3.0, 2.0]), 6.0), 8: (np.array([-2.0, -3.0]), -8.0)}
CENTRES = {3: np.array([22.0, 24.0]), 8: np.array([42.0, 78.0])}
SPACING = (60.0, 0.5, 0.5)


def two_nuclei() -> tuple[np.ndarray, np.ndarray]:
    """Frames and labels; nucleus 8 exists in frames 1 to 3, and a speck 5 in a single one."""
    frames = np.full((N_FRAMES, *SHAPE), 100.0)
    labels = np.zeros(frames.shape, np.int32)
    patterns = {i: ndimage.gaussian_filter(np.random.default_rng(i).normal(size=(64, 64)), 2) * 1500 for i in MOTIONS}
    for t in range(N_FRAMES):
        for number, (shift, turn) in MOTIONS.items():
            if number == 8 and t == 0:
                continue
            angle = np.deg2rad(turn * t)
            back = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            local = np.einsum("ij,jyx->iyx", back, np.indices(SHAPE) - (CENTRES[number] + shift * t)[:, None, None])
            inside = (local[0] / 12) ** 2 + (local[1] / 15) ** 2 < 1
            texture = ndimage.map_coordinates(patterns[number], local + 32, order=3, mode="nearest")
            frames[t][inside] += 400 + texture[inside]
            labels[t][inside] = number
    labels[2, :5, :5] = 5
    return frames + np.random.default_rng(0).normal(0, 10, frames.shape), labels


FRAMES, LABELS = two_nuclei()
STACK = Stack(FRAMES.astype(np.float32), "tyx", SPACING, (0.0, 4.0, -3.0), ("second", "micrometer", "micrometer"))
RIGID = {"kind": "affine", "motion": "rigid", "finest": 1}


@pytest.fixture(scope="module")
def found() -> Objects:
    return dr.register_objects(STACK, LABELS, RIGID, device="cpu")


@pytest.mark.parametrize("number", list(MOTIONS))
def test_every_nucleus_gets_its_own_known_motion(number: int, found: Objects) -> None:
    shift, turn = MOTIONS[number]
    motion = found[number]
    assert motion.frames == ((0, 1, 2, 3) if number == 3 else (1, 2, 3))
    assert motion.registration.transforms[0].is_identity
    assert motion.registration.grid == STACK.grid
    first = motion.frames[0]
    around = CENTRES[number] + shift * first + np.array([[0, 0], [8, 0], [0, -8], [-6, 6]], float)
    for k, frame in enumerate(motion.frames):
        angle = np.deg2rad(turn * (frame - first))
        way = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        wanted = (around - around[0]) @ way.T + around[0] + shift * (frame - first)
        moved = motion.registration.points(k, around * 0.5 + [4, -3])
        assert float(np.linalg.norm(moved - (wanted * 0.5 + [4, -3]), axis=1).max()) / 0.5 < 0.6


def test_objects_that_cannot_be_followed_are_named(found: Objects) -> None:
    assert list(found) == [3, 8]
    assert found.left_out == {5: "it is in one frame only"}


def test_objects_that_show_nothing_are_left_out_with_frames_of_the_movie() -> None:
    frames, labels = FRAMES.copy(), LABELS.copy()
    frames[2:][labels[2:] == 8] = 777
    labels[3][labels[3] == 3] = 0
    labels[3, :3, :3] = 3
    found = dr.register_objects(Stack(frames, "tyx"), labels, RIGID, device="cpu")
    assert not found
    assert found.left_out[8] == "it is equally bright everywhere in frames 2-3, so nothing shows how it moved"
    assert found.left_out[3] == "it has fewer than 16 voxels in frame 3"


def test_the_table_tells_shift_and_turn(found: Objects) -> None:
    rows = {(row["id"], row["frame"]): row for row in finish(motion_table(found))}
    assert list(rows) == [(3, 0), (3, 1), (3, 2), (3, 3), (8, 1), (8, 2), (8, 3)]
    last = rows[3, 3]
    assert last["shift_y"] == pytest.approx(4.5, abs=0.3)
    assert last["shift_x"] == pytest.approx(3.0, abs=0.3)
    assert last["rotation"] == pytest.approx(18, abs=2)
    assert rows[8, 3]["rotation"] == pytest.approx(-16, abs=2)


def test_every_nucleus_stands_still_when_warped(found: Objects) -> None:
    shown = np.asarray(found.warp(STACK).data)
    for number, motion in found.items():
        first = motion.frames[0]
        nucleus = ndimage.binary_erosion(LABELS[first] == number, iterations=2)
        for frame in motion.frames[1:]:
            before, after = (np.corrcoef(FRAMES[first][nucleus], each[nucleus])[0, 1] for each in (FRAMES[frame], shown[frame]))
            assert after > 0.95 > 0.8 > before
    assert not shown[0][LABELS[1] == 8].any()


def test_written_objects_come_back(found: Objects, tmp_path: Path) -> None:
    target = write_objects(found, tmp_path / "out.zarr")
    with (target / "motion.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows if row["id"] == "8"] == [1, 2, 3]
    back, place = read_registration(target / "8"), np.array([[24.0, 31.0]])
    np.testing.assert_allclose(back.points(2, place), found[8].registration.points(2, place), atol=1e-6)
    with pytest.raises(FileExistsError):
        write_objects(found, target)
    alone = write_table(found, tmp_path / "alone.csv")
    assert alone.read_bytes() == (target / "motion.csv").read_bytes()


def test_the_command_line_writes_what_python_finds(found: Objects, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    io.write(STACK, tmp_path / "movie.ome.tif")
    io.write(Stack(LABELS.astype(np.uint16), "tyx"), tmp_path / "labels.tif")
    words = ["register", tmp_path / "movie.ome.tif", tmp_path / "out.zarr", "--objects", tmp_path / "labels.tif"]
    words += ["--aligned", tmp_path / "still.ome.zarr"]
    end = ["--device", "cpu", "affine", "--motion", "rigid", "--finest", "1"]
    assert main([str(word) for word in (*words, *end)]) == 0
    told = capsys.readouterr().out
    still, expected = io.read(tmp_path / "still.ome.zarr"), found.warp(STACK)
    assert (still.shape, still.dtype, still.grid) == (STACK.shape, STACK.dtype, STACK.grid)
    assert np.corrcoef(np.asarray(still.data).ravel(), np.asarray(expected.data).ravel())[0, 1] > 0.999
    assert main([str(word) for word in (*words, *end)]) == 1  # both are there already
    assert main([str(word) for word in (*words[:2], tmp_path / "b.zarr", *words[3:], *end)]) == 1
    assert "still.ome.zarr" in capsys.readouterr().err
    assert not (tmp_path / "b.zarr").exists()
    assert "Object 5 is left out: it is in one frame only" in told
    back = read_registration(tmp_path / "out.zarr" / "3")
    for frame in range(N_FRAMES):
        np.testing.assert_allclose(
            back.transforms[frame].matrix()[:, :-1], found[3].registration.transforms[frame].matrix()[:, :-1], atol=0.02
        )
    assert main([str(word) for word in (*words, "--region", tmp_path / "labels.tif", "--overwrite", *end)]) == 1
    assert "leave --region out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (LABELS[:, :-1], r"Expected labels of shape \(4, 64, 96\)"),
        (LABELS[:2], r"Expected labels of shape"),
        (LABELS.astype(float), "whole numbers, got"),
        (np.zeros_like(LABELS), "no object that is in two frames"),
        (LABELS * np.arange(1, 5)[:, None, None] ** 5, "no object that is in two frames"),
    ],
)
def test_labels_that_tell_no_tracks_are_refused(labels: np.ndarray, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        finish(register_objects(STACK, labels))


def test_objects_of_volumes_at_the_border() -> None:
    blob = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(6, 30, 30)), 1.5)
    volume = Stack(np.stack([blob, np.roll(blob, 1, -1)]).astype(np.float32), "tzyx")
    labels = np.zeros(volume.shape, np.uint16)
    labels[0, :, :18, :18] = labels[1, :, :18, 1:19] = 2
    found = dr.register_objects(volume, labels, {"kind": "affine", "motion": "translation", "finest": 1}, device="cpu")
    np.testing.assert_allclose(found[2].registration.transforms[1].matrix()[:3, 3], [0, 0, 1], atol=0.3)
