"""Registration: what is done with one transform per frame."""

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pytest
import torch

from napari_denoisereg.denoise.noise2void import Noise2Void
from napari_denoisereg.geometry import Affine, Displacement, Grid, Identity, PerFrame, Translation, warp
from napari_denoisereg.model import Model
from napari_denoisereg.register import Registration
from napari_denoisereg.register.affine import AffineDescent
from napari_denoisereg.register.registration import back_to
from napari_denoisereg.register.stacks import register_stack, train
from napari_denoisereg.stack import Stack
from napari_denoisereg.starts import as_start
from napari_denoisereg.steps import finish

TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64")
FOREIGN = (">i2", ">u4", ">f4")
GRID = Grid((16, 20), (0.5, 0.25), (3.0, -1.0))


@pytest.fixture
def registration() -> Registration:
    bend = torch.stack([0.3 * torch.ones(16, 20), torch.zeros(16, 20)])
    return Registration(PerFrame([Identity(2), Translation([0.5, -0.25]), Displacement(bend, GRID)]), GRID)


def stack_of(dtype: str, axes: str = "tyx") -> Stack:
    shape = tuple({"t": 3, "c": 2, "y": 16, "x": 20}[axis] for axis in axes)
    values = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    place = {"t": (1.0, 0.0), "c": (1.0, 0.0), "y": (0.5, 3.0), "x": (0.25, -1.0)}
    return Stack(values, axes, tuple(place[a][0] for a in axes), tuple(place[a][1] for a in axes))


@pytest.mark.parametrize("axes", ["tyx", "tcyx", "ctyx"])
def test_warping_applies_each_frames_transform_to_every_channel(registration: Registration, axes: str) -> None:
    stack = stack_of("float32", axes)
    aligned = registration.warp(stack)
    assert isinstance(aligned.data, da.Array)
    assert (aligned.axes, aligned.grid, aligned.dtype) == (axes, stack.grid, stack.dtype)
    assert aligned.name.endswith("[aligned]")
    for number in range(3):
        for channel in range(stack.n_channels):
            raw = torch.from_numpy(stack.frame(number, channel))
            wanted = warp(raw, registration.transforms[number], fixed=GRID)
            np.testing.assert_allclose(aligned.frame(number, channel), wanted, atol=1e-4)
    np.testing.assert_array_equal(aligned.frame(0), stack.frame(0))


@pytest.mark.parametrize("dtype", TYPES + FOREIGN)
@pytest.mark.parametrize("interpolation", ["linear", "cubic", "nearest"])
def test_every_type_keeps_its_type_and_never_wraps_around(registration: Registration, dtype: str, interpolation: str) -> None:
    stack = stack_of(dtype)
    if stack.dtype.kind in "iu":
        limits = np.iinfo(stack.dtype)
        data = np.where(np.random.default_rng(1).random(stack.shape) < 0.5, limits.min, limits.max).astype(dtype)
        stack = stack.with_data(data)
    before = stack.data.tobytes()
    warped = registration.warp(stack, interpolation=interpolation, outside="edge")
    aligned = np.asarray(warped.data)
    assert aligned.dtype == warped.dtype == stack.dtype.newbyteorder("=")
    assert stack.data.tobytes() == before
    assert np.isfinite(aligned.astype(float)).all()
    if interpolation == "nearest" or stack.dtype.kind in "iu":
        assert aligned.min() >= stack.data.min()
        assert aligned.max() <= stack.data.max()
    if interpolation == "nearest":
        assert set(np.unique(aligned)) <= set(np.unique(stack.data))


def test_labels_above_float32_survive(registration: Registration) -> None:
    labels = stack_of("uint64")
    labels = labels.with_data(labels.data + np.uint64(2**63))
    aligned = np.asarray(registration.warp(labels, interpolation="nearest").data)
    assert set(np.unique(aligned)) <= set(np.unique(labels.data)) | {0}


def test_displacement_and_points_agree(registration: Registration) -> None:
    field = registration.displacement(1)
    assert field.shape == (2, 16, 20)
    assert field.dtype == np.float32
    np.testing.assert_allclose(field[:, 4, 5], [0.5, -0.25], atol=1e-6)
    points = np.array([[4.0, 1.0], [5.0, 2.0]])
    np.testing.assert_allclose(registration.points(1, points), points + np.array([0.5, -0.25]))
    there = registration.points(2, points)
    np.testing.assert_allclose(registration.points(2, there, inverse=True), points, atol=1e-3)
    np.testing.assert_allclose(registration.inverse().points(1, registration.points(1, points)), points)


def test_another_number_of_frames_or_axes_is_refused(registration: Registration) -> None:
    with pytest.raises(ValueError, match="has 3 frames in 2D"):
        registration.warp(stack_of("uint8").frame_range(0, 2))
    with pytest.raises(ValueError, match="has 3 frames in 2D"):
        registration.warp(Stack(np.zeros((3, 2, 4, 4)), "tzyx"))
    with pytest.raises(ValueError, match="2D transforms do not fit a 3D grid"):
        Registration(registration.transforms, Grid((2, 2, 2)))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "uint64"])
def test_values_are_rounded_and_clipped(dtype: str) -> None:
    limits = np.iinfo(dtype)
    values = np.array([-1e30, -0.6, 0.4, 0.6, 1.5, 1e30], np.float32)
    found = back_to(values, np.dtype(dtype))
    low = 0 if limits.min == 0 else -1
    assert found[0] == limits.min
    assert found[1:5].tolist() == [low, 0, 1, 2]
    assert found[5] >= limits.max - 2048
    assert found.dtype == dtype


def test_registering_names_every_setting_and_the_quality(nucleus: Callable) -> None:
    image = nucleus((48, 48)).numpy()
    stack = Stack(np.stack([image, np.roll(image, 2, axis=1), np.roll(image, -1, axis=0)]), "tyx")
    found = finish(register_stack(stack, [AffineDescent()]))
    assert found.history[-1]["register"] == [AffineDescent().to_dict()]
    assert found.history[-1]["series"]["kind"] == "combined"
    assert found.quality["before"].shape == found.quality["after"].shape == (3,)
    assert (found.quality["after"][1:] > found.quality["before"][1:]).all()
    assert found.flagged == ()


def test_a_model_nobody_asked_for_is_refused(nucleus: Callable) -> None:
    stack = Stack(nucleus((3, 32, 32)).numpy(), "tyx")
    with pytest.raises(ValueError, match=r"A model of 'noise2void' was given, but the registrars are \['affine'\]"):
        finish(train([AffineDescent()], stack, models=[Model(Noise2Void(), {}, 2)]))


def test_a_transform_that_shrinks_is_smoothed_first() -> None:
    board = np.indices((3, 16, 20)).sum(0) % 2
    zoom = Affine.about(4 * torch.eye(2), torch.zeros(2), GRID.centre)
    registration = Registration(PerFrame([Identity(2), zoom, zoom]), GRID)
    stack = Stack(board.astype(np.float32), "tyx", (1.0, *GRID.spacing), (0.0, *GRID.origin))
    inner = registration.warp(stack).frame(1)[7:9, 9:11]
    np.testing.assert_allclose(inner, 0.5, atol=0.05)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"interpolation": "quintic"}, "Expected interpolation linear, cubic, nearest, got 'quintic'"),
        ({"outside": "mirror"}, "Expected outside as a number or 'edge', got 'mirror'"),
        ({"outside": None}, "Expected outside as a number or 'edge', got None"),
    ],
)
def test_unknown_options_are_refused_before_a_frame_is_looked_at(options: dict[str, Any], words: str) -> None:
    registration = Registration(PerFrame([Translation([1.0, 0.0])]), Grid((6, 7)))
    with pytest.raises(ValueError, match=words):
        registration.warp(Stack(np.zeros((1, 6, 7)), "tyx"), **options)


def test_micrometres_are_not_applied_to_pixels() -> None:
    grid = Grid((6, 7), (0.5, 0.5), units=("micrometer",) * 2)
    registration = Registration(PerFrame([Translation([0.5, 0.0])]), grid)
    values = np.arange(42.0).reshape(1, 6, 7)
    other = Stack(np.zeros((1, 9, 9)), "tyx")
    for apply in (registration.warp, lambda stack: as_start(registration, stack)):
        with pytest.raises(ValueError, match=r"transforms are in micrometer .* is in pixel"):
            apply(other)
    # Labels of the movie itself that say no pixel size lie where the movie lies.
    moved = registration.warp(Stack(values, "tyx"), interpolation="nearest")
    np.testing.assert_array_equal(moved.frame(0)[:-1], values[0, 1:])
    assert moved.grid == grid
    spelt = Stack(values, "tyx", (1.0, 0.5, 0.5), units=("s", "um", "µm"))
    np.testing.assert_array_equal(registration.warp(spelt).frame(0)[:-1], values[0, 1:])
