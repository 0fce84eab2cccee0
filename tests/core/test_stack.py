"""Stack: a lazy array with named axes that is never loaded whole."""

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_denoisereg.geometry import Grid
from napari_denoisereg.stack import Stack

SIZES = {"t": 3, "c": 2, "z": 4, "y": 5, "x": 6}
AXES = ("tyx", "zyx", "tzyx", "tcyx", "ctyx", "tczyx", "tzcyx", "czyx", "ctzyx", "zcyx")
axes_given = st.sampled_from(AXES)


def numbers(axes: str, dtype: str = "uint16") -> np.ndarray:
    shape = tuple(SIZES[axis] for axis in axes)
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


def stack_of(axes: str, dtype: str = "uint16") -> Stack:
    spacing = tuple({"z": 2.0, "y": 0.5, "x": 0.25}.get(axis, 1.0) for axis in axes)
    origin = tuple({"z": 1.0, "y": -5.0, "x": 7.0}.get(axis, 0.0) for axis in axes)
    units = tuple("micrometer" if axis in "zyx" else "pixel" for axis in axes)
    return Stack(numbers(axes, dtype), axes, spacing, origin, units, name="numbers")


@given(axes_given)
def test_frames_run_along_t_or_else_along_z(axes: str) -> None:
    stack = stack_of(axes)
    assert stack.frame_axis == ("t" if "t" in axes else "z")
    assert stack.spatial_axes == ("zyx" if {"t", "z"} <= set(axes) else "yx")
    assert stack.n_frames == SIZES[stack.frame_axis]
    assert stack.n_channels == (2 if "c" in axes else 1)
    assert stack.grid.shape == tuple(SIZES[axis] for axis in stack.spatial_axes)
    assert stack.grid.spacing[-2:] == (0.5, 0.25)
    assert stack.grid.origin[-2:] == (-5.0, 7.0)
    assert set(stack.grid.units) == {"micrometer"}


@given(axes_given, st.integers(0, 1))
def test_every_way_to_a_frame_leads_to_the_same_values(axes: str, channel: int) -> None:
    stack = stack_of(axes)
    channel = min(channel, stack.n_channels - 1)
    one = stack.channel(channel)
    assert "c" not in one.axes
    for number in range(stack.n_frames):
        order = [axes.index(axis) for axis in (stack.frame_axis + ("c" if "c" in axes else "") + stack.spatial_axes)]
        wanted = stack.data.transpose(order)[(number, channel) if "c" in axes else number]
        np.testing.assert_array_equal(stack.frame(number, channel), wanted)
        np.testing.assert_array_equal(one.frame(number), wanted)
        np.testing.assert_array_equal(stack.frame_range(number, number + 1).frame(0, channel), wanted)
        tensor = stack.tensor([number], channel=channel)
        assert tensor.dtype == torch.float32
        np.testing.assert_array_equal(tensor[0], wanted.astype(np.float32))


@settings(max_examples=20)
@given(axes_given)
def test_mapped_frames_keep_every_axis_in_its_place(axes: str) -> None:
    stack = stack_of(axes)
    mapped = stack.map_frames(lambda number, frame: frame.astype(float) * 2 + number, dtype=float)
    place = axes.index(stack.frame_axis)
    number = np.arange(stack.n_frames).reshape([-1 if axis == place else 1 for axis in range(len(axes))])
    np.testing.assert_array_equal(np.asarray(mapped), stack.data * 2.0 + number)
    small = Grid(tuple(size - 1 for size in stack.grid.shape), tuple(2 * step for step in stack.grid.spacing))
    cut = stack.map_frames(lambda _, frame: frame[tuple(slice(size) for size in small.shape)], grid=small)
    moved = stack.with_grid(cut, small)
    assert moved.grid.spacing == small.spacing
    assert moved.grid.shape == small.shape
    assert (moved.axes, moved.n_frames, moved.n_channels) == (stack.axes, stack.n_frames, stack.n_channels)


def test_mapping_runs_only_when_a_frame_is_looked_at() -> None:
    seen = list[int]()

    def change(number: int, frame: np.ndarray) -> np.ndarray:
        seen.append(number)
        return frame

    mapped = stack_of("tyx").map_frames(change)
    assert seen == []
    np.asarray(mapped[1])
    assert seen == [1]


@pytest.mark.parametrize("kind", ["own", "dask", "zarr"])
@pytest.mark.parametrize("axes", ["tyx", "tzyx", "tcyx"])
def test_lazy_data_is_read_frame_by_frame(axes: str, kind: str, watched: Callable, tmp_path) -> None:
    values = numbers(axes)
    data = watched(values)
    if kind == "dask":
        source = da.from_array(data, chunks=(1, *values.shape[1:]), asarray=False, meta=np.empty(0, values.dtype))
    elif kind == "zarr":
        source = zarr.create_array(tmp_path / "a.zarr", shape=values.shape, dtype=values.dtype, chunks=(1, *values.shape[1:]))
        source[:] = values
    else:
        source = data
    stack = Stack(source, axes)
    one = stack.channel(stack.n_channels - 1).frame_range(1, 3)
    same = stack.with_data(stack.map_frames(lambda _, frame: frame + 1))
    assert data.reads == []
    np.testing.assert_array_equal(one.frame(0), values[(1, 1) if "c" in axes else 1])
    np.testing.assert_array_equal(same.frame(2), values[(2, 0) if "c" in axes else 2] + 1)
    assert isinstance(one.data, da.Array) or kind != "dask"
    assert len(data.reads) <= 3


def test_with_data_keeps_the_place_and_appends_to_the_history() -> None:
    stack = stack_of("tzyx")
    other = stack.with_data(np.zeros(stack.shape, np.float32), name="other", step={"did": "something"})
    assert (other.name, other.axes, other.grid, other.units) == ("other", stack.axes, stack.grid, stack.units)
    assert (stack.history, other.history) == ((), ({"did": "something"},))
    with pytest.raises(ValueError, match="Expected data of shape"):
        stack.with_data(np.zeros((1, 2, 3, 4)))


def test_repr_names_the_stack_and_never_its_values() -> None:
    assert repr(stack_of("tyx")) == "Stack('numbers', axes='tyx', shape=(3, 5, 6), dtype=uint16)"


def test_lists_become_arrays() -> None:
    assert Stack([[[1, 2], [3, 4]], [[1, 2], [3, 4]]], "tyx").shape == (2, 2, 2)


@pytest.mark.parametrize("kind", [np.asarray, da.from_array, torch.from_numpy, zarr.array, np.ndarray.tolist])
def test_a_single_image_is_one_frame(kind: Any) -> None:
    image = np.arange(12.0).reshape(3, 4)
    stack = Stack.of_image(kind(image), spacing=(0.5, 0.25), units=("micrometer", "micrometer"), name="cell")
    assert (stack.axes, stack.outer_axes, stack.shape, stack.is_image) == ("tyx", "yx", (1, 3, 4), True)
    assert (stack.grid.spacing, stack.grid.units) == ((0.5, 0.25), ("micrometer", "micrometer"))
    np.testing.assert_array_equal(stack.frame(0), image)
    channels = Stack.of_image(np.stack([image, -image]), "cyx")
    assert (channels.axes, channels.n_frames, channels.channel(1).outer_axes) == ("tcyx", 1, "yx")
    np.testing.assert_array_equal(channels.channel(1).frame(0), -image)
    with pytest.raises(ValueError, match="got 'cyx' for shape"):
        Stack.of_image(image, "cyx")


@pytest.mark.parametrize(
    ("shape", "axes", "message"),
    [
        ((5, 8, 8, 3), "tyxc", "must end in 'yx'"),
        ((8, 8, 3), "yxc", "must end in 'yx'"),
        ((5, 8, 8, 3), "tyxs", "one letter of 'tczyx' per dimension"),
        ((8, 8), "yx", "Expected a series of frames along 't' or 'z'"),
        ((3, 8, 8), "cyx", "a single image has nothing to register to"),
        ((5, 8, 8), "tzyx", "one letter of 'tczyx' per dimension, got 'tzyx'"),
        ((5, 8, 8), "TYX", "pass e.g. axes='tyx'"),
        ((5, 5, 8, 8), "ttyx", "one letter of"),
        ((5, 8, 8), "txy", "must end in 'yx'"),
        ((5, 8, 8), "", "one letter of"),
        ((8,), "x", "one letter of|must end in"),
        ((0, 8, 8), "tyx", "at least one entry, got shape"),
        ((5, 0, 8), "tyx", "at least one entry, got shape"),
    ],
)
def test_axes_that_do_not_fit_are_refused(shape: tuple[int, ...], axes: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Stack(np.zeros(shape, np.uint8), axes)


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        ("bool", "got bool; convert masks"),
        ("complex64", "got complex64; take its real part"),
        ("object", "Expected integer or floating intensities, got object"),
        ("U3", "Expected integer or floating"),
        ("datetime64[s]", "Expected integer or floating"),
        ("V4", "Expected integer or floating"),
    ],
)
def test_what_is_no_intensity_is_refused(dtype: str, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Stack(np.zeros((3, 4, 4), dtype), "tyx")


@pytest.mark.parametrize("axes", ["tyx", "tcyx"])
@pytest.mark.parametrize(
    "place", [{"spacing": 0.0}, {"spacing": -1.0}, *({key: float("nan")} for key in ("spacing", "origin"))]
)
def test_time_goes_on_in_finite_steps(place: dict[str, float], axes: str) -> None:
    ((name, first),) = place.items()
    with pytest.raises(ValueError, match="positive and its origin finite along every axis"):
        Stack(np.ones((2,) * len(axes)), axes, **{name: (first, *(1.0,) * (len(axes) - 1))})


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"spacing": (1.0, 1.0)}, "Stack spacing must have one entry per axis"),
        ({"origin": (1.0,)}, "Stack origin must have one entry per axis"),
        ({"units": ("pixel",) * 4}, "Stack units must have one entry per axis"),
        ({"spacing": (1.0, 0.0, 1.0)}, "positive"),
        ({"spacing": (1.0, float("nan"), 1.0)}, "positive and finite"),
    ],
)
def test_a_place_that_does_not_fit_is_refused(place: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Stack(np.zeros((3, 4, 4)), "tyx", **place)


@pytest.mark.parametrize("number", [-1, 2])
def test_a_channel_that_does_not_exist_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="has channels 0 to 1"):
        stack_of("tcyx").channel(number)


@pytest.mark.parametrize("axes", ["ztyx", "tzyx"])
def test_frames_changed_lazily_keep_their_place_whatever_the_order_of_axes(axes: str) -> None:
    data = np.random.default_rng(0).random((3, 3, 4, 5))
    stack = Stack(data, axes)
    np.testing.assert_array_equal(np.asarray(stack.map_frames(lambda _, frame: frame)), data)
