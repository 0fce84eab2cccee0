"""Regions in the dock: what a Labels or Shapes layer marks, in the voxels of the movie."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels, Shapes
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from scipy import ndimage

from napari_denoisereg.steps import finish
from napari_denoisereg.widgets.denoise_register_job import load_engine
from napari_denoisereg.widgets.layers import METADATA_KEY, stack_from
from napari_denoisereg.widgets.region_chooser import marked

PLACE: dict[str, Any] = {"scale": (1, 0.5, 0.25), "translate": (0, 7, -3)}
SHAPE = (3, 48, 64)


def movie() -> Image:
    return Image(np.zeros(SHAPE, np.float32), name="movie", axis_labels=("t", "y", "x"), **PLACE)


def test_labels_are_taken_as_they_are() -> None:
    layer, data = movie(), np.zeros(SHAPE, np.uint8)
    assert marked(Labels(data, **PLACE), layer, stack_from(layer)) is data
    assert marked(Labels(data[0]), layer, stack_from(layer)).shape == SHAPE[1:]
    with pytest.raises(ValueError, match="as large as the movie"):
        marked(Labels(data[:, :-1]), layer, stack_from(layer))


def test_shapes_are_drawn_where_they_lie() -> None:
    layer = movie()
    corners = np.array([[10, 20], [10, 40], [30, 40], [30, 20]], float)
    world = corners * [0.5, 0.25] + [7, -3]
    mask = marked(Shapes([world], shape_type="rectangle"), layer, stack_from(layer))
    assert mask.shape == SHAPE
    assert mask[:, 10:30, 20:40].all()
    assert not mask[:, 40:].any()
    ellipse = Shapes([np.insert(corners, 0, 2.0, axis=1)], shape_type="ellipse", **PLACE)
    one = marked(ellipse, layer, stack_from(layer))
    assert [bool(frame.any()) for frame in one] == [False, False, True]
    assert 250 < one.sum() < 350
    with pytest.raises(ValueError, match="no shape with an area"):
        marked(Shapes([corners[:2]], shape_type="line"), layer, stack_from(layer))


@pytest.fixture
def opened(make_napari_viewer: Any, qtbot: Any, working_threads: Callable[[], list[str]]) -> Iterator[Any]:
    """A disk that drifts by (1, -1) px a frame in front of bright surroundings that drift the other way; *Advanced* is open."""
    finish(load_engine())
    viewer = make_napari_viewer()
    one, two = (ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(88, 88)), 2) for seed in (0, 1))
    places, frames, disks = np.indices((64, 64)) - 31.5, [], []
    for t in range(3):
        step = np.array([t, -t], float)
        inner, outer = (ndimage.shift(image, shift)[12:76, 12:76] for image, shift in ((one, step), (3 * two, -2 * step)))
        disks.append(np.square(places - step[:, None, None]).sum(0) < 18**2)
        frames.append(np.where(disks[-1], inner, outer + 1))
    viewer.add_layer(Image(np.stack(frames).astype(np.float32), name="two", axis_labels=("t", "y", "x")))
    viewer.add_layer(Labels(np.stack(disks).astype(np.uint8), name="disk"))
    _, dock = viewer.window.add_plugin_dock_widget("napari-denoisereg", "Denoise and register")
    qtbot.waitUntil(lambda: not dock._runner.is_running, timeout=60_000)
    dock._denoise.click()
    qtbot.mouseClick(dock._advanced.toggleButton(), Qt.MouseButton.LeftButton)
    yield viewer, dock
    qtbot.waitUntil(lambda: not working_threads(), timeout=5000)


def test_registration_looks_at_the_chosen_labels(opened: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer, dock = opened
    told: list[Any] = []
    monkeypatch.setattr(notification_manager, "dispatch", told.append)
    assert dock._region._choice.toolTip()
    dock._region._choice.showPopup()
    dock._region._choice.setCurrentIndex(dock._region._choice.findText("disk"))
    dock._region._choice.hidePopup()
    dock._actions.findChildren(type(dock._run))[0].click()
    assert "'Everywhere'" in told[-1].message
    with qtbot.waitSignal(dock._runner.finished, timeout=60_000):
        qtbot.mouseClick(dock._run, Qt.MouseButton.LeftButton)
    found = viewer.layers[-1].metadata[METADATA_KEY]["registration"]
    middle = np.array([[31.5, 31.5]])
    assert float(np.abs(found.points(2, middle) - middle - [2, -2]).max()) < 0.5
    viewer.layers.remove("disk")
    qtbot.mouseClick(dock._run, Qt.MouseButton.LeftButton)
    assert "was removed" in told[-1].message
