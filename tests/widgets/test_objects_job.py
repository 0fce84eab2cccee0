"""What the dock *Register objects* has done, without Qt: which labels it takes, where its layers lie, what it tells."""

from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels, Layer
from scipy import ndimage

from napari_denoisereg.geometry import Grid, PerFrame, Translation
from napari_denoisereg.object_motion import ObjectMotion, Objects, motion_table
from napari_denoisereg.register import Registrar, Registration
from napari_denoisereg.steps import finish
from napari_denoisereg.widgets.layers import METADATA_KEY, Look, detect_axes, stack_from
from napari_denoisereg.widgets.objects_job import (
    Outcome,
    labels_on,
    result_layers,
    run_objects,
    save,
    summary,
    warning,
    world_offset,
)

PLACE: dict[str, Any] = {"scale": (2, 0.5, 0.25), "units": ("s", "um", "um"), "axis_labels": ("t", "y", "x")}
TURNED = {"rotate": np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]]), "translate": (4, 100, -50), "shear": (0, 0, 0.1)}
RIGID = Registrar.coerce({"kind": "affine", "motion": "rigid"})


def movie(shape: tuple[int, ...] = (4, 32, 40), **changes: Any) -> Image:
    data = np.random.default_rng(0).integers(100, 999, shape).astype(np.uint16)
    return Image(data, name="cells", contrast_limits=(0, 999), **{**PLACE, **changes})


def outcome_for(layer: Image, way: tuple[float, ...] = (1.5, -0.5)) -> tuple[Outcome, Look]:
    """An object of 8 voxels a side around (14.5, 12.5) in frame 1, that moves by so many voxels per frame."""
    stack = stack_from(layer, detect_axes(layer))
    grid, objects = stack.grid, Objects()
    step = np.array(grid.spacing)
    low = np.array([11, 9])
    window = Grid((8, 8), grid.spacing, tuple((low * step).tolist()), grid.units)
    transforms = PerFrame([Translation((k * np.array(way) * step).tolist()) for k in range(3)])
    mask = np.ones((8, 8), bool)
    middle = tuple(((low + 3.5) * step).tolist())
    objects[7] = ObjectMotion((1, 2, 3), Registration(transforms, grid), window, mask, middle)
    outcome = Outcome(objects, finish(motion_table(objects)), objects.warp(stack), RIGID)
    return outcome, Look.of(layer, stack.axes)


def world(layer: Layer, index: Any) -> np.ndarray:
    return np.asarray(layer.data_to_world(index), float)


@pytest.mark.parametrize("changes", [{}, {"translate": (4, 100, -50)}, TURNED, {"affine": np.diag([1, 2, 2, 1.0])}])
def test_results_lie_exactly_on_the_movie(changes: dict[str, Any]) -> None:
    layer = movie(**changes)
    outcome, look = outcome_for(layer)
    still, tracks = result_layers(outcome, look)
    assert [each.name for each in (still, tracks)] == ["cells [objects aligned]", "cells [object tracks]"]
    for index in np.ndindex(2, 2, 2):
        np.testing.assert_allclose(world(still, index), world(layer, index), atol=1e-9)
    for k, frame in enumerate((1, 2, 3)):
        number, *place = tracks.data[k]
        assert number == 7
        np.testing.assert_allclose(world(tracks, place), world(layer, (frame, 14.5 + 1.5 * k, 12.5 - 0.5 * k)), atol=1e-9)
    for each in (still, tracks):
        assert each.units == layer.units
        assert each.scale.tolist() == layer.scale.tolist()
        assert each.metadata[METADATA_KEY]["recipe"] == RIGID.to_dict()
        assert "registration" not in each.metadata[METADATA_KEY]  # there is none for whole frames
    shown = np.asarray(still.data)
    assert (still.data.shape, still.data.dtype) == (layer.data.shape, layer.data.dtype)
    np.testing.assert_array_equal(shown[1, 11:19, 9:17], layer.data[1, 11:19, 9:17])
    np.testing.assert_array_equal(shown[3, 11:19, 9:17], layer.data[3, 14:22, 8:16])


def test_volumes_over_time_lie_exactly_on_the_movie() -> None:
    place = {"scale": (2, 3, 0.5, 0.25), "units": ("s", "um", "um", "um"), "axis_labels": tuple("tzyx")}
    layer = movie((3, 8, 32, 40), translate=(0, 5, -7, 9), **place)
    ids = np.zeros((3, 8, 32, 40), np.uint16)
    texture = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(4, 14, 16)), 1) * 900 + 800
    for t in range(3):
        box = (t, slice(1 + t, 5 + t), slice(6, 20), slice(8 + 3 * t, 24 + 3 * t))
        layer.data[box], ids[box] = texture, 12
    stack = stack_from(layer)
    labels = labels_on(Labels(ids, translate=(0, 5, -7, 9), **place), layer, stack)
    shift = Registrar.coerce({"kind": "affine", "motion": "translation", "finest": 1})
    still, tracks = result_layers(finish(run_objects(stack, labels, shift, device="cpu")), Look.of(layer, "tzyx"))
    np.testing.assert_allclose(tracks.data, [[12, t, 2.5 + t, 12.5, 15.5 + 3 * t] for t in range(3)], atol=0.2)
    for t, middle in enumerate(tracks.data[:, 1:]):
        np.testing.assert_allclose(world(tracks, middle), world(layer, (t, *middle[1:])))
        inner = np.asarray(still.data[t])[1:5, 8:18, 10:22]
        assert np.corrcoef(inner.ravel(), texture[:, 2:12, 2:14].ravel())[0, 1] > 0.98
    np.testing.assert_allclose(world(still, (1, 2, 3, 4)), world(layer, (1, 2, 3, 4)))


def test_tracks_tell_what_they_can_be_coloured_by() -> None:
    outcome, look = outcome_for(movie())
    _, tracks = result_layers(outcome, look)
    assert {"id", "rotation", "scale", "misfit"} <= set(tracks.features)
    tracks.color_by = "rotation"
    np.testing.assert_allclose(tracks.features["scale"], 1)
    assert not tracks.visible


@pytest.mark.parametrize(("axes", "kept"), [("tcyx", "tcyx"), ("ctyx", "tyx")])
def test_tracks_of_movies_with_channels_lie_on_them(axes: str, kept: str) -> None:
    sizes, steps = {"t": 4, "c": 2, "y": 32, "x": 40}, {"t": 2, "c": 1, "y": 0.5, "x": 0.25}
    units = tuple("s" if axis == "t" else "pixel" if axis == "c" else "um" for axis in axes)
    layer = movie(
        tuple(sizes[axis] for axis in axes),
        scale=tuple(steps[axis] for axis in axes),
        units=units,
        axis_labels=tuple(axes),
        translate=tuple(10.0 * place for place in range(4)),
    )
    outcome, look = outcome_for(layer)
    still, tracks = result_layers(outcome, look, channel=1)
    assert tracks.ndim == len(kept)  # napari lays layers on each other by their last axes
    at = {"t": 2, "c": 1, "y": 16, "x": 12}
    here = world(layer, [at[axis] for axis in axes])[4 - len(kept) :]
    np.testing.assert_allclose(world(tracks, tracks.data[1, 1:]), here, atol=1e-9)
    assert still.data.shape == layer.data.shape


def test_labels_on_the_movie_are_taken_without_reading_them() -> None:
    class Unread:
        shape, dtype, ndim = (4, 32, 40), np.dtype(np.int32), 3

        def __getitem__(self, _: Any) -> Any:
            raise AssertionError("Labels were read on the GUI thread.")

    layer = movie(**TURNED)
    labels = Labels(np.zeros((4, 32, 40), np.int32), **{**PLACE, **TURNED})
    labels._data = Unread()
    taken = labels_on(labels, layer, stack_from(layer))
    assert (taken.axes, taken.shape) == ("tyx", (4, 32, 40))


def test_labels_of_a_movie_with_channels_need_none() -> None:
    layer = movie((4, 2, 32, 40), scale=(2, 1, 0.5, 0.25), units=("s", "pixel", "um", "um"), axis_labels=tuple("tcyx"))
    for shape, scale in (((4, 32, 40), (2, 0.5, 0.25)), ((4, 1, 32, 40), (2, 1, 0.5, 0.25))):
        assert labels_on(Labels(np.zeros(shape, int), scale=scale), layer, stack_from(layer)).n_frames == 4


@pytest.mark.parametrize(
    ("shape", "changes", "told"),
    [
        ((32, 40), {"scale": (0.5, 0.25)}, "'ids' is one image for all frames. Track the objects first"),
        ((3, 32, 40), PLACE, r"Expected labels for every frame of 'cells', \(4, 32, 40\), got 'ids' of \(3, 32, 40\)"),
        ((4, 32, 40), {}, r"its scale is 1 × 1 × 1, the movie's 2 × 0.5 × 0.25. If they belong together, right-click 'cells'"),
        ((4, 32, 40), {**PLACE, "translate": (0, 0, 5)}, r"its translate is 0 × 0 × 5, the movie's 0 × 0 × 0"),
        ((4, 32, 40), {**PLACE, "translate": (2, 0, 0)}, r"its translate is 2 × 0 × 0"),
        ((4, 32, 40), {**PLACE, "rotate": TURNED["rotate"]}, "it is turned or sheared differently"),
    ],
)
def test_labels_that_do_not_lie_on_the_movie_are_refused(shape: Any, changes: dict[str, Any], told: str) -> None:
    layer = movie()
    with pytest.raises(ValueError, match=told):
        labels_on(Labels(np.zeros(shape, int), name="ids", **changes), layer, stack_from(layer))


def test_everything_left_out_or_doubtful_is_told() -> None:
    outcome, _ = outcome_for(movie())
    assert summary(outcome).startswith("Registered 1 object. ")
    assert not warning(outcome)
    objects, motion = outcome.objects, outcome.objects[7]
    objects.left_out |= {9: "it is in one frame only", 3: "it is in one frame only", 5: "it is small"}
    inner = Registration(motion.registration.transforms, motion.registration.grid, {}, (1, 2), (), {1: "it is dark"})
    objects[7] = ObjectMotion(motion.frames, inner, motion.window, motion.mask, motion.middle)
    lines = summary(outcome).splitlines()
    assert lines[1:4] == ["⚠ Left out: 3 objects.", "3, 9: it is in one frame only.", "5: it is small."]
    assert lines[5] == "Object 7, frames 2-3: it is dark."
    assert warning(outcome) == "3 objects left out (3, 5, 9): the dock says why."
    objects.left_out |= dict.fromkeys(range(20, 40), "it is small")
    assert "and 11 more" in warning(outcome)


def test_without_objects_there_are_no_layers() -> None:
    layer = movie()
    nothing = Objects()
    nothing.left_out[1] = "it is small"
    outcome = Outcome(nothing, [], stack_from(layer), RIGID)
    assert result_layers(outcome, Look.of(layer, "tyx")) == []
    assert summary(outcome).startswith("No object could be registered.")


@pytest.mark.parametrize(("changes", "offset"), [({}, [0, 0]), ({"translate": (4, 100, -50)}, [100, -50]), (TURNED, [0, 0])])
def test_files_say_the_places_that_the_viewer_shows(changes: dict[str, Any], offset: list[float], tmp_path: Any) -> None:
    layer = movie(**changes)
    outcome, _ = outcome_for(layer)
    found = world_offset(layer, stack_from(layer))
    assert found == offset
    written = finish(save(outcome, found, tmp_path / "out.csv", "table"))
    table = np.genfromtxt(written, delimiter=",", names=True)
    assert table["id"].tolist() == [7, 7, 7]
    assert table["frame"].tolist() == [1, 2, 3]
    np.testing.assert_allclose(table["y"], np.array([14.5, 16, 17.5]) * 0.5 + offset[0])
    np.testing.assert_allclose(table["shift_x"], [0, -0.125, -0.25])
    again = finish(save(outcome, found, tmp_path / "out.zarr", "all"))
    assert (again / "motion.csv").read_text() == written.read_text()
    assert (again / "7").is_dir()
    finish(save(outcome, found, tmp_path / "out.zarr", "all"))  # the dialog asked
