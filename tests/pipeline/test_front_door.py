"""The functions of ``import napari_denoisereg``: what they take besides their own objects, and how they refuse the rest."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import napari_denoisereg as dr
from napari_denoisereg import io
from napari_denoisereg.denoise.noise2void import Noise2Void
from napari_denoisereg.evaluation.keypoints import Keypoints
from napari_denoisereg.geometry import Identity, PerFrame, Translation
from napari_denoisereg.model import Model
from napari_denoisereg.pipeline import load_recipe
from napari_denoisereg.register import Registration

ROWS, COLUMNS = np.mgrid[:24, :26]
IMAGE = 400 + 150 * np.sin(ROWS / 3) * np.cos(COLUMNS / 4) + 5 * ROWS
VALUES = np.random.default_rng(0).poisson(IMAGE, (3, *IMAGE.shape)).astype(np.uint16)
STACK = dr.Stack(VALUES, "tyx")
KNOWN = Registration(PerFrame([Identity(2), Translation([1.0, 0.5]), Translation([2.0, 1.0])]), STACK.grid)
POINTS = Keypoints(frame=[0, 1, 2], id=[0, 0, 0], position=[[5, 6], [5, 7], [6, 7]])
REGISTER: dict[str, Any] = {"register": [{"kind": "affine", "iterations": 1}]}


@pytest.mark.parametrize(
    "call",
    [
        lambda given: dr.denoise(given, "gaussian"),
        lambda given: dr.register(given, "affine"),
        lambda given: dr.register_objects(given, VALUES, "affine"),
        lambda given: dr.run(given, "fast"),
        lambda given: dr.warp(given, KNOWN),
        lambda given: dr.write(given, "never.tif"),
    ],
    ids=["denoise", "register", "register_objects", "run", "warp", "write"],
)
@pytest.mark.parametrize("given", [VALUES, VALUES.tolist(), None])
def test_what_is_no_stack_is_told_how_to_become_one(call: Callable[[Any], Any], given: Any) -> None:
    with pytest.raises(TypeError, match=r"Expected a Stack.*name its axes: Stack\(array, axes='tyx'\)"):
        call(given)


def test_a_file_is_told_how_to_be_opened() -> None:
    with pytest.raises(TypeError, match=r"Expected a Stack, got str; open the file: read\(path\)"):
        dr.denoise("movie.tif", "gaussian")  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:Look at these frames")
def test_files_are_opened_where_their_content_is_asked_for(tmp_path: Path) -> None:
    io.write_transforms(KNOWN.transforms, tmp_path / "known.zarr", grid=KNOWN.grid)
    io.write_keypoints(POINTS, tmp_path / "points.csv")
    mask = np.zeros(VALUES.shape, np.uint8)
    mask[:, 4:20, 4:22] = 1
    io.write(dr.Stack(mask, "tyx"), tmp_path / "mask.tif")
    opened = dr.run(STACK, REGISTER, keypoints=POINTS, landmarks=POINTS, region=mask, start=KNOWN)
    files = {"keypoints": "points.csv", "landmarks": "points.csv", "region": "mask.tif", "start": "known.zarr"}
    result = dr.run(STACK, REGISTER, **{name: str(tmp_path / file) for name, file in files.items()})
    assert opened.registration is not None
    assert result.registration is not None
    for frame in range(3):
        np.testing.assert_array_equal(result.registration.displacement(frame), opened.registration.displacement(frame))
    np.testing.assert_array_equal(dr.warp(STACK, tmp_path / "known.zarr").data, KNOWN.warp(STACK).data)
    error = dr.evaluate(tmp_path / "points.csv", tmp_path / "known.zarr")
    assert error.figures() == dr.evaluate(POINTS, KNOWN).figures()


def test_a_models_file_stands_for_the_model(tmp_path: Path) -> None:
    Model(Noise2Void(), {"a": torch.zeros(2)}, 3).save(tmp_path / "volumes.model")
    for call in (
        lambda: dr.denoise(STACK, "noise2void", model=tmp_path / "volumes.model"),
        lambda: dr.run(STACK, {"denoise": "noise2void"}, models=[str(tmp_path / "volumes.model")]),
        lambda: dr.run(STACK, {"denoise": "noise2void"}, models=tmp_path / "volumes.model"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match="This model was trained on 3D frames"):
            call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dr.denoise(STACK, "noise2void", model=3), "Expected a Model or its file, got int"),
        (lambda: dr.run(STACK, REGISTER, models=[3]), "Expected a Model or its file, got int"),
        (
            lambda: dr.run(STACK, REGISTER, keypoints=VALUES),
            "Expected keypoints as Keypoints or a CSV file, got ndarray of shape",
        ),
        (lambda: dr.register(STACK, "affine", landmarks=3), "Expected landmarks as Keypoints or a CSV file, got int"),
        (lambda: dr.warp(STACK, None), "Expected a Registration"),
        (lambda: dr.evaluate(POINTS, 3), "Expected a Registration"),
        (lambda: dr.denoise(STACK, 3), "Expected a denoiser, one of .*gaussian.* or its settings, got 3"),
        (lambda: dr.register(STACK, None), "Expected a registrar, one of .*affine.* or its settings, got None"),
        (lambda: dr.denoise(STACK, {}), "Expected settings with the kind of denoiser, one of .*gaussian"),
        (lambda: dr.denoise(STACK, {"sigma": 2}), "Expected settings with the kind of denoiser"),
        (lambda: load_recipe({"register": [{}]}), "Expected settings with the kind of registrar"),
        (lambda: load_recipe('{"denoise": {"sigma": 1}}'), "Expected settings with the kind of denoiser"),
    ],
)
def test_other_things_are_refused_with_what_was_expected(call: Callable[[], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_keypoints_of_other_axes_are_refused() -> None:
    deep = Keypoints(frame=[0, 1], id=[0, 0], position=[[1, 5, 6], [1, 5, 7]])
    with pytest.raises(ValueError, match="Expected keypoints with 2 coordinates, as the registration has axes, got 3"):
        dr.evaluate(deep, KNOWN)


def test_a_tensor_is_an_array() -> None:
    stack = dr.Stack(torch.from_numpy(VALUES.astype(np.float32)), "tyx")
    assert stack.dtype == np.float32
    np.testing.assert_array_equal(dr.denoise(stack, "gaussian").data, dr.denoise(STACK, "gaussian").data)


@pytest.mark.parametrize("name", ["landmarks", "keypoints"])
def test_keypoints_far_outside_the_frame_are_refused_before_any_work(name: str) -> None:
    marks = Keypoints(frame=[0, 1, 2], id=[4, 4, 4], position=[[5, 6], [5, 700], [6, 7]])
    with pytest.raises(ValueError, match=r"pixels of frames of 24 x 26, got id 4 in frame 1 at \(5, 700\), far outside"):
        dr.run(STACK, REGISTER, **{name: marks})
