"""Layers and stacks: what goes in comes out where it was, without a viewer."""

import json
from typing import ClassVar

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image, Labels, Layer, Vectors

from napari_denoisereg.geometry import Affine, Grid, Identity, PerFrame, Translation
from napari_denoisereg.method import Method, setting
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish
from napari_denoisereg.widgets.arrows import arrows_of
from napari_denoisereg.widgets.layers import (
    METADATA_KEY,
    Look,
    arrow_layer_data,
    detect_axes,
    frame_layer_data,
    image_layer_data,
    in_words,
    stack_from,
)

SHAPE = (4, 20, 30)
PLACE = ("scale", "translate", "shear", "units", "axis_labels")


class Recipe(Method, family="recipe of these tests"):
    reference: ClassVar[str] = "https://doi.org/10.0/0"
    strength: float = setting(0.5, "How much.", ge=0)


class Registered:
    """As much of a Registration as layers need."""

    def __init__(self, transforms: list, grid: Grid) -> None:
        self.transforms, self.grid = PerFrame(transforms), grid


def turned_layer(**changes: object) -> Image:
    """A layer with every kind of place and look that napari knows."""
    angle = 0.3
    affine = np.eye(4)
    affine[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine[:3, 3] = 5, 6, 7
    settings = {
        "name": "cells",
        "scale": (2.0, 0.5, 0.25),
        "translate": (1.0, 2.0, 3.0),
        "rotate": 30.0,
        "shear": (0.0, 0.1, 0.2),
        "affine": affine,
        "units": ("second", "micrometer", "micrometer"),
        "axis_labels": ("t", "y", "x"),
        "colormap": "magenta",
        "contrast_limits": (10.0, 90.0),
        "gamma": 0.7,
        "blending": "additive",
        "interpolation2d": "cubic",
    }
    data = np.random.default_rng(0).uniform(0, 100, SHAPE).astype(np.float32)
    return Image(data, **{**settings, **changes})


def assert_same_place(result: Layer, source: Layer) -> None:
    for name in PLACE:
        assert list(getattr(result, name)) == pytest.approx(list(getattr(source, name))) if name in PLACE[:3] else True
    assert result.units == source.units
    assert result.axis_labels == source.axis_labels
    np.testing.assert_allclose(result.rotate, source.rotate)
    np.testing.assert_allclose(result.affine.affine_matrix, source.affine.affine_matrix)
    corner = [1.0] + [3.0] * (source.ndim - 1)
    np.testing.assert_allclose(result.data_to_world(corner), source.data_to_world(corner))


@pytest.mark.parametrize(
    ("shape", "labels", "expected"),
    [
        ((3, 8, 8), None, "tyx"),
        ((2, 3, 8, 8), None, "tzyx"),
        ((2, 3, 4, 8, 8), None, "tczyx"),
        ((3, 8, 8), ("z", "y", "x"), "zyx"),
        ((3, 8, 8), ("Time", "row", "column"), "tyx"),
        ((2, 3, 8, 8), ("t", "channel", "y", "x"), "tcyx"),
        ((2, 3, 8, 8), ("c", "-3", "-2", "-1"), "ctyx"),
        ((2, 3, 8, 8), ("-4", "t", "y", "x"), "ztyx"),
        ((3, 8, 8), ("x", "x", "x"), "tyx"),
        ((8, 8), None, "yx"),
    ],
)
def test_axes_are_detected_from_labels_and_number(shape: tuple, labels: tuple | None, expected: str) -> None:
    assert detect_axes(Image(np.zeros(shape), axis_labels=labels)) == expected


def test_axes_are_detected_from_units_of_time() -> None:
    layer = Image(np.zeros((2, 3, 8, 8)), units=("micrometer", "minute", "micrometer", "micrometer"))
    assert detect_axes(layer) == "ztyx"


def test_stack_of_a_layer_has_its_scale_and_units_and_shares_its_data() -> None:
    layer = turned_layer()
    stack = stack_from(layer)
    assert stack.data is layer.data
    assert (stack.axes, stack.spacing, stack.origin) == ("tyx", (2.0, 0.5, 0.25), (0.0, 0.0, 0.0))
    assert stack.units == ("second", "micrometer", "micrometer")


def test_stack_of_a_mirrored_layer_has_positive_spacing() -> None:
    assert stack_from(turned_layer(scale=(1.0, -0.5, 0.25))).spacing == (1.0, 0.5, 0.25)


def test_stack_of_a_lazy_layer_reads_nothing() -> None:
    reads = []

    def read(block: np.ndarray) -> np.ndarray:
        reads.append(block.shape)
        return block

    data = da.zeros(SHAPE, chunks=(1, 20, 30)).map_blocks(read, dtype=float)
    layer = Image(data, contrast_limits=(0, 1))  # napari reads the frame it shows
    reads.clear()
    assert stack_from(layer).data is data
    assert reads == []


@pytest.mark.parametrize(
    ("layer", "error", "words"),
    [
        (lambda: Image(np.zeros((4, 8, 8, 3)), rgb=True), TypeError, "colour"),
        (lambda: Image([np.zeros((4, 16, 16)), np.zeros((4, 8, 8))], multiscale=True), TypeError, "multiscale"),
        (lambda: Image(np.zeros((8, 8))), ValueError, "single 2D image"),
        (lambda: Image(np.zeros((4, 8, 8), bool)), TypeError, "mask, which only knows yes and no"),
        (lambda: Labels(np.zeros((4, 8, 8), int)), TypeError, "choose an image layer"),
        (lambda: Image(np.zeros((2, 2, 2, 2, 8, 8))), ValueError, "one letter"),
    ],
)
def test_bad_layers_are_refused_with_a_reason(layer: object, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        stack_from(layer())


@pytest.mark.filterwarnings("ignore:invalid value encountered in divide:RuntimeWarning")  # napari, of its thumbnail
def test_empty_layers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'nothing' is empty: it has no pixels. Open"):
        stack_from(Image(np.zeros((0, 8, 8)), name="nothing", contrast_limits=(0, 1)))


@pytest.mark.parametrize("axes", ["yx", "txy", "tty", "abc", ""])
def test_axes_that_do_not_fit_are_refused(axes: str) -> None:
    with pytest.raises(ValueError, match=r"axes"):
        stack_from(turned_layer(), axes)


def test_a_single_image_is_a_frame_where_one_is_welcome() -> None:
    layer = turned_layer()
    with pytest.raises(ValueError, match="single 2D image"):
        stack_from(layer, "cyx")
    stack = stack_from(layer, "cyx", may_be_image=True)
    assert (stack.axes, stack.outer_axes, stack.n_channels) == ("tcyx", "cyx", layer.data.shape[0])
    with pytest.raises(ValueError, match="axes"):
        stack_from(layer, "yx", may_be_image=True)


def test_empty_axes_are_refused() -> None:
    class Empty:
        shape, dtype = (0, 8, 8), np.dtype(float)

    with pytest.raises(ValueError, match="at least one entry"):
        Stack(Empty(), "tyx")


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "f2", "f4", "f8"])
def test_every_integer_and_float_type_is_taken(dtype: str) -> None:
    assert stack_from(Image(np.ones((3, 8, 8), dtype))).dtype == np.dtype(dtype)


def test_image_result_lies_on_its_source_and_looks_like_it() -> None:
    layer = turned_layer()
    look = Look.of(layer, "tyx")
    data, settings, kind = image_layer_data(stack_from(layer), look, "aligned", Recipe())
    result = Layer.create(data, settings, kind)
    assert_same_place(result, layer)
    assert (result.colormap.name, result.gamma, result.blending) == ("magenta", 0.7, "additive")
    assert tuple(result.contrast_limits) == (10.0, 90.0)
    assert result.interpolation2d == "cubic"
    assert result.name == "cells [aligned]"


def test_result_says_where_it_comes_from() -> None:
    layer, recipe = turned_layer(), Recipe(strength=0.25)
    _, settings, _ = image_layer_data(stack_from(layer), Look.of(layer, "tyx"), "denoised", recipe)
    record = settings["metadata"][METADATA_KEY]
    assert Recipe.model_validate(json.loads(json.dumps(record["recipe"]))) == recipe
    assert (record["source"], record["axes"]) == ("cells", "tyx")
    assert record["version"]


def test_making_results_leaves_the_source_alone() -> None:
    layer = turned_layer()
    before = json.dumps(layer.as_layer_data_tuple()[1], default=str)
    result = Layer.create(*image_layer_data(stack_from(layer), Look.of(layer, "tyx"), "denoised", Recipe()))
    result.scale, result.metadata["more"] = (1, 1, 1), 1
    assert json.dumps(layer.as_layer_data_tuple()[1], default=str) == before


def test_result_of_one_channel_lies_on_that_channel() -> None:
    layer = Image(np.zeros((4, 2, 20, 30), np.float32), scale=(1, 3, 0.5, 0.5), rotate=20, axis_labels=("t", "c", "y", "x"))
    stack = stack_from(layer)
    data, settings, kind = image_layer_data(stack.channel(1), Look.of(layer, "tcyx"), "denoised", Recipe(), channel=1)
    result = Layer.create(data, settings, kind)
    assert data.shape == (4, 1, 20, 30)
    np.testing.assert_allclose(result.data_to_world((2, 0, 3, 4)), layer.data_to_world((2, 1, 3, 4)))


def test_result_on_another_grid_covers_the_same_world() -> None:
    layer = turned_layer()
    stack = stack_from(layer)
    coarse = stack.with_grid(stack.data[:, ::2, ::2], Grid((10, 15), (1.0, 0.5), (0.25, 0.125), stack.grid.units))
    result = Layer.create(*image_layer_data(coarse, Look.of(layer, "tyx"), "aligned", Recipe()))
    np.testing.assert_allclose(result.data_to_world((1, 2, 3)), layer.data_to_world((1, 4.5, 6.5)), rtol=1e-6)


def test_single_frame_lies_on_its_frame() -> None:
    layer = turned_layer()
    result = Layer.create(*frame_layer_data(layer.data[2], Look.of(layer, "tyx"), "preview", Recipe(), number=2))
    assert result.data.shape == (1, 20, 30)
    np.testing.assert_allclose(result.data_to_world((0, 3, 4)), layer.data_to_world((2, 3, 4)))


def test_arrows_lead_from_the_fixed_place_to_the_moving_place() -> None:
    layer = turned_layer()
    grid = stack_from(layer).grid
    registered = Registered([Identity(2), *(Translation((1.0 * t, -0.5 * t)) for t in range(1, 4))], grid)
    data, settings, kind = arrow_layer_data(
        finish(arrows_of(registered)), Look.of(layer, "tyx"), Recipe(), registration=registered
    )
    result = Layer.create(data, settings, kind)
    assert isinstance(result, Vectors)
    assert_same_place(result, layer)
    at_two = data[data[:, 0, 0] == 2]
    assert len(at_two) > 50
    np.testing.assert_allclose(at_two[:, 1], [[0, 2.0 / 0.5, -1.0 / 0.25]] * len(at_two), rtol=1e-4)
    assert settings["metadata"][METADATA_KEY]["registration"] is registered
    assert result.name == "cells [displacement]"


def test_arrows_turn_the_right_way() -> None:
    """A quarter turn: a place right of the centre is found below it (y grows downwards)."""
    grid = Grid((41, 41))
    centre = (20.0, 20.0)
    import torch

    quarter = Affine.about(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]), torch.zeros(2), centre)
    arrows = finish(arrows_of(Registered([Identity(2), quarter], grid)))
    right = (arrows.frames == 1) & (np.abs(arrows.starts[:, 0] - 20) < 1) & (arrows.starts[:, 1] > 30)
    ends = arrows.starts[right] + arrows.shifts[right]
    assert (ends[:, 0] > 28).all()
    np.testing.assert_allclose(ends[:, 1], 20, atol=1.1)


def test_arrows_of_a_volume_movie_are_few_and_in_place() -> None:
    grid = Grid((5, 64, 200), (2.0, 0.5, 0.5))
    arrows = finish(arrows_of(Registered([Identity(3), Translation((2.0, 0.0, 1.0))], grid)))
    assert arrows.starts.shape[1] == 3
    assert len(np.unique(arrows.starts[:, 2])) == 18
    assert (arrows.starts.max(axis=0) <= np.array(grid.shape) - 1).all()
    np.testing.assert_allclose(arrows.shifts[arrows.frames == 1], [[1.0, 0.0, 2.0]] * (arrows.frames == 1).sum(), atol=1e-4)


def test_unknown_displacements_have_no_arrow() -> None:
    class Unknown(Translation):
        def __call__(self, points: object) -> object:
            return points + float("nan")

    grid = Grid((20, 20))
    registered = Registered([Unknown((0.0, 0.0))] * 2, grid)
    arrows = finish(arrows_of(registered))
    assert len(arrows.frames) == 0
    layer = Image(np.zeros((2, 20, 20)))
    made = Layer.create(*arrow_layer_data(arrows, Look.of(layer, "tyx"), Recipe(), registration=registered))
    assert made.data.shape == (0, 2, 3)


@pytest.mark.parametrize(
    ("shape", "axes", "words"),
    [
        ((25, 532, 532), "tyx", "25 frames of 532 × 532 px"),
        ((12, 250, 240), "zyx", "12 sections of 250 × 240 px"),
        ((5, 9, 64, 64), "tzyx", "5 time points of 9 × 64 × 64 voxels"),
        ((5, 2, 64, 64), "tcyx", "5 frames of 64 × 64 px, 2 channels"),
        ((1, 64, 64), "tyx", "1 frame of 64 × 64 px"),
    ],
)
def test_stack_is_described_in_plain_words(shape: tuple, axes: str, words: str) -> None:
    assert in_words(Stack(np.zeros(shape, np.uint8), axes)) == words


def test_reading_the_room_of_layers_needs_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, napari_denoisereg.widgets.layers; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
