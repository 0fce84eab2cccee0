"""Motion of objects that is known: what the movie in which every one stands still must show, and what the table must tell."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from napari_denoisereg.geometry import Affine, Grid, Identity, PerFrame, Translation
from napari_denoisereg.object_motion import ObjectMotion, Objects, motion_table
from napari_denoisereg.register import Registration
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish

N_FRAMES = 4


def moved_by_hand(
    shape: tuple[int, ...], spacing: tuple[float, ...], boxes: dict[int, tuple[int, tuple[slice, ...], tuple[int, ...]]]
) -> tuple[np.ndarray, Objects]:
    """A movie of boxes with texture, and their motion: first frame, box there, whole voxels per frame."""
    grid = Grid(shape, spacing, (3.0,) * len(shape), ("micrometer",) * len(shape))
    texture = np.random.default_rng(0).integers(100, 60_000, (N_FRAMES, *shape)).astype(np.uint16)
    objects = Objects()
    for number, (first, box, way) in boxes.items():
        frames = tuple(range(first, N_FRAMES))
        own = texture[first][box].copy()
        for k, frame in enumerate(frames):
            there = tuple(slice(cut.start + k * step, cut.stop + k * step) for cut, step in zip(box, way, strict=True))
            texture[frame][there] = own
        transforms = [
            Translation([k * step * size for step, size in zip(way, spacing, strict=True)]) for k in range(len(frames))
        ]
        low = np.array([cut.start - 4 for cut in box])
        window = Grid(
            tuple(cut.stop - cut.start + 8 for cut in box), spacing, tuple((3.0 + low * spacing).tolist()), grid.units
        )
        mask = np.zeros(window.shape, bool)
        mask[(slice(4, -4),) * len(shape)] = True
        middle = tuple(3.0 + (cut.start + cut.stop - 1) / 2 * size for cut, size in zip(box, spacing, strict=True))
        objects[number] = ObjectMotion(frames, Registration(PerFrame(transforms), grid), window, mask, middle)
    return texture, objects


@pytest.mark.parametrize(
    ("axes", "shape", "spacing", "box", "way"),
    [
        ("tyx", (40, 48), (0.5, 0.25), (slice(10, 18), slice(12, 22)), (3, -1)),
        ("tzyx", (10, 30, 32), (2.0, 0.5, 0.5), (slice(2, 5), slice(8, 16), slice(6, 15)), (1, 2, 3)),
    ],
)
def test_what_moves_by_whole_voxels_stands_still(
    axes: str, shape: tuple[int, ...], spacing: tuple[float, ...], box: Any, way: Any
) -> None:
    frames, objects = moved_by_hand(shape, spacing, {7: (0, box, way)})
    stack = Stack(frames, axes, (60.0, *spacing), (0.0, *(3.0,) * len(shape)), ("second", *("micrometer",) * len(shape)))
    before = frames.copy()
    still = objects.warp(stack)
    assert (still.axes, still.dtype, still.grid, still.spacing) == (axes, np.uint16, stack.grid, stack.spacing)
    shown = np.asarray(still.data)
    for frame in range(N_FRAMES):
        np.testing.assert_array_equal(shown[frame][box], frames[0][box])
    # Beside the object there is its rim, of 3 of the smallest voxels, and nothing else.
    mask = np.zeros(shape, bool)
    mask[box] = True
    away = ndimage.distance_transform_edt(~mask, sampling=spacing)
    assert not shown[:, away > 3.001 * min(spacing)].any()
    assert shown[0][away <= 3 * min(spacing)].all()
    np.testing.assert_array_equal(frames, before)


def test_a_turned_object_stands_still_on_anisotropic_pixels() -> None:
    """Frame 1 is drawn from the same formula, turned by 20 degrees in micrometres and moved."""
    spacing, shape, middle = np.array([0.5, 0.25]), (60, 120), np.array([15.0, 15.0])
    angle, way = np.deg2rad(20), np.array([1.3, -2.1])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = np.moveaxis(np.indices(shape), 0, -1) * spacing

    def texture(place: np.ndarray) -> np.ndarray:
        return 100 + 20 * np.sin(place[..., 0] * 1.1) * np.cos(place[..., 1] * 0.9 + 0.3)

    back = (points - middle - way) @ turn + middle
    frames = np.stack([texture(points), texture(back)]).astype(np.float32)
    matrix = np.column_stack([turn, middle + way - turn @ middle])
    grid = Grid(shape, tuple(spacing.tolist()))
    mask = np.linalg.norm(points - middle, axis=-1) < 5
    registration = Registration(PerFrame([Identity(2), Affine(matrix)]), grid)
    objects = Objects()
    objects[3] = ObjectMotion((0, 1), registration, grid, mask, (15.0, 15.0))
    shown = np.asarray(objects.warp(Stack(frames, "tyx", (1.0, *spacing.tolist()))).data)
    assert np.abs(shown[1] - frames[0])[mask].max() < 1  # of 20: linear interpolation
    assert np.abs(frames[1] - frames[0])[mask].max() > 20
    (first, last) = finish(motion_table(objects))
    assert (first["y"], first["x"], first["shift_y"]) == (15, 15, 0)
    assert (last["y"], last["x"]) == pytest.approx((15 + 1.3, 15 - 2.1))
    assert (last["shift_y"], last["shift_x"], last["rotation"]) == pytest.approx((1.3, -2.1, 20))


def test_where_objects_overlap_the_earlier_one_is_shown() -> None:
    early, late = (slice(10, 20), slice(10, 20)), (slice(14, 26), slice(10, 20))
    frames, objects = moved_by_hand((48, 48), (1.0, 1.0), {9: (0, early, (0, 6)), 2: (1, late, (2, 2))})
    shown = np.asarray(objects.warp(Stack(frames, "tyx", (1.0,) * 3, (0.0, 3.0, 3.0))).data)
    for frame in range(N_FRAMES):
        np.testing.assert_array_equal(shown[frame][early], frames[0][early])
    assert not shown[0, 24:].any()  # number 2 is not there yet
    for frame in range(1, N_FRAMES):
        np.testing.assert_array_equal(shown[frame, 20:26, 10:20], frames[1, 20:26, 10:20])


def test_all_channels_are_shown_and_objects_at_the_border() -> None:
    frames, objects = moved_by_hand((40, 40), (1.0, 1.0), {1: (0, (slice(0, 8), slice(30, 36)), (2, 1))})
    both = np.stack([frames, 65_000 - frames], axis=1)
    still = objects.warp(Stack(both, "tcyx", (1.0,) * 4, (0.0, 0.0, 3.0, 3.0)))
    assert still.shape == both.shape
    for frame in range(N_FRAMES):
        np.testing.assert_array_equal(np.asarray(still.data)[frame, :, :8, 30:36], both[0, :, :8, 30:36])


def test_nothing_is_shown_where_the_movie_does_not_reach() -> None:
    frames, objects = moved_by_hand((40, 40), (1.0, 1.0), {1: (0, (slice(10, 18), slice(10, 18)), (0, 0))})
    gone = PerFrame([Identity(2), *(Translation([0.0, -100.0]) for _ in range(3))])
    motion = objects[1]
    objects[1] = ObjectMotion(
        motion.frames, Registration(gone, motion.registration.grid), motion.window, motion.mask, motion.middle
    )
    shown = np.asarray(objects.warp(Stack(frames, "tyx", (1.0,) * 3, (0.0, 3.0, 3.0))).data)
    assert shown[0].any()
    assert not shown[1:].any()


def test_motion_elsewhere_is_the_same_motion() -> None:
    frames, objects = moved_by_hand((40, 48), (0.5, 0.25), {7: (1, (slice(10, 18), slice(12, 22)), (3, -1))})
    objects.left_out[4] = "it is in one frame only"
    there = objects.shifted([100.0, -7.0])
    np.testing.assert_allclose(there[7].path, objects[7].path + np.array([100, -7]))
    assert there.left_out == objects.left_out
    rows, moved = (finish(motion_table(each)) for each in (objects, there))
    for name in ("shift_y", "shift_x", "rotation", "scale", "misfit"):
        np.testing.assert_allclose([row[name] for row in moved], [row[name] for row in rows], atol=1e-9)
    spacing, place = (1.0, 0.5, 0.25), (0.0, 103.0, -4.0)
    np.testing.assert_array_equal(
        np.asarray(there.warp(Stack(frames, "tyx", spacing, place)).data),
        np.asarray(objects.warp(Stack(frames, "tyx", spacing, (0.0, 3.0, 3.0))).data),
    )


def test_doubts_are_about_frames_of_the_movie() -> None:
    _, objects = moved_by_hand((40, 40), (1.0, 1.0), {1: (1, (slice(10, 18), slice(10, 18)), (1, 0))})
    motion = objects[1]
    inner = Registration(motion.registration.transforms, motion.registration.grid, {}, (0, 2), (), {2: "it is dark"})
    doubtful = ObjectMotion(motion.frames, inner, motion.window, motion.mask, motion.middle)
    assert doubtful.doubts == {1: "it looks lost", 3: "it is dark"}
    assert doubtful.doubts_in_words == "frames 1, 3: it looks lost"
    assert replace(doubtful, registration=replace(inner, flagged=(0, 1, 2))).doubts_in_words == "frames 1-3: it looks lost"
    assert replace(doubtful, registration=replace(inner, flagged=(2,))).doubts_in_words == "frame 3: it is dark"
    assert not motion.doubts_in_words


@pytest.mark.parametrize("cut", [np.s_[:2], np.s_[:, :30]])
def test_another_movie_is_refused(cut: Any) -> None:
    frames, objects = moved_by_hand((40, 40), (1.0, 1.0), {1: (0, (slice(10, 18), slice(10, 18)), (1, 0))})
    with pytest.raises(ValueError, match="Expected the movie that the objects were registered in"):
        objects.warp(Stack(frames[cut], "tyx"))


def test_a_movie_that_says_no_pixel_size_lies_where_objects_were_registered() -> None:
    frames, objects = moved_by_hand((40, 48), (0.5, 0.25), {7: (0, (slice(10, 18), slice(12, 22)), (3, -1))})
    units = ("second", "micrometer", "micrometer")
    placed = Stack(frames, "tyx", (9.0, 0.5, 0.25), (0.0, 3.0, 3.0), units)
    plain = objects.warp(Stack(frames, "tyx"))
    np.testing.assert_array_equal(np.asarray(plain.data), np.asarray(objects.warp(placed).data))
    for other in (
        Stack(frames, "tyx", (9.0, 0.5, 0.5), (0.0, 3.0, 3.0), units),
        Stack(frames, "tyx", placed.spacing, (), units),
    ):
        with pytest.raises(ValueError, match="Expected a movie that lies at"):
            objects.warp(other)
