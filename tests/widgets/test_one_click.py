"""Two clicks to a result: the menu commands on the selected layer, with progress, Cancel and plain words."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Points, Vectors
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtGui import QAction
from qtpy.QtWidgets import QMenu

from napari_denoisereg.steps import Progress, Steps, finish
from napari_denoisereg.widgets import one_click
from napari_denoisereg.widgets.denoise_register_job import load_engine
from napari_denoisereg.widgets.one_click import ALIGN, DENOISE, DOCK, OneClickDock


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list:
    shown: list = []
    monkeypatch.setattr(notification_manager, "dispatch", shown.append)
    return shown


@pytest.fixture
def viewer(make_napari_viewer: Any, qtbot: Any, working_threads: Callable[[], list[str]]) -> Iterator[Any]:
    finish(load_engine())
    yield make_napari_viewer()
    qtbot.waitUntil(lambda: not working_threads(), timeout=5000)


def movie(name: str = "cells") -> Image:
    """A bright square that drifts, in noise."""
    random = np.random.default_rng(0)
    data = random.normal(100, 40, (5, 48, 48))
    for frame in range(5):
        data[frame, 12 + frame : 26 + frame, 14:30] += 200
    settings = {"scale": (10, 0.2, 0.2), "units": ("s", "um", "um"), "axis_labels": ("t", "y", "x"), "colormap": "green"}
    return Image(data.astype(np.float32), name=name, contrast_limits=(80, 320), **settings)


def action(viewer: Any, menu: QMenu, title: str) -> QAction:
    """The entry of a menu, as the user finds it."""
    menu.aboutToShow.emit()
    for each in menu.actions():
        if each.menu() is not None:
            inner = action(viewer, each.menu(), title)
            if inner is not None:
                return inner
        elif each.text().startswith(title):
            return each
    return None  # type: ignore[return-value]


def choose(viewer: Any, title: str) -> None:
    """Choose an entry of the menu Layers."""
    entry = action(viewer, viewer.window.layers_menu, title)
    assert entry is not None
    entry.trigger()


def dock_of(viewer: Any) -> OneClickDock:
    return viewer.window.dock_widgets[DOCK]


def wait(qtbot: Any, viewer: Any) -> None:
    qtbot.waitUntil(lambda: not dock_of(viewer).runner.is_running, timeout=60_000)


def test_denoise_and_align_the_selected_layer(viewer: Any, qtbot: Any) -> None:
    source = viewer.add_layer(movie())
    choose(viewer, DENOISE)
    wait(qtbot, viewer)
    assert [layer.name for layer in viewer.layers] == ["cells", "cells [denoised]"]
    denoised = viewer.layers[1]
    assert np.asarray(denoised.data)[:, :8, :8].std() < 0.7 * source.data[:, :8, :8].std()
    viewer.layers.selection = {source}
    choose(viewer, ALIGN)
    wait(qtbot, viewer)
    assert [layer.name for layer in viewer.layers][2:] == ["cells [aligned]", "cells [displacement]"]
    aligned = viewer.layers["cells [aligned]"]
    before = np.abs(source.data[4] - source.data[0]).mean()
    assert np.abs(np.asarray(aligned.data[4]) - source.data[0])[8:-8, 8:-8].mean() < 0.8 * before
    assert isinstance(viewer.layers[3], Vectors)
    assert [layer.visible for layer in viewer.layers] == [True, True, True, False]
    for layer in list(viewer.layers)[1:]:
        np.testing.assert_array_equal(layer.scale, source.scale)
        assert (layer.units, layer.axis_labels) == (source.units, source.axis_labels)
    assert aligned.colormap.name == "green"
    assert len([name for name in viewer.window.dock_widgets if name == DOCK]) == 1
    assert "Likeness" in dock_of(viewer).runner._line.text()


@pytest.mark.parametrize(("preferred", "used"), [("cpu", "cpu"), ("elsewhere", "auto")])
def test_the_preferred_device_is_used_where_there_is_one(
    preferred: str, used: str, viewer: Any, qtbot: Any, monkeypatch: Any
) -> None:
    asked: list[str] = []

    def run(recipe: Any, stack: Any, device: str) -> Steps[Any]:
        asked.append(device)
        yield Progress(1, 1)
        raise ValueError("enough")

    monkeypatch.setattr(one_click, "run_recipe", run)
    monkeypatch.setattr(one_click, "first_choice", lambda *_: preferred)
    viewer.add_layer(movie())
    choose(viewer, ALIGN)
    wait(qtbot, viewer)
    assert asked == [used]


def test_cancel_stops_and_leaves_nothing(viewer: Any, qtbot: Any, monkeypatch: Any) -> None:
    log: list[str] = []

    def slow(stack: Any, *, denoise: bool, device: str) -> Steps[Any]:
        try:
            for number in range(1000):
                time.sleep(0.01)
                log.append("batch")
                yield Progress(number, 1000, "pretending")
        finally:
            log.append("closed")

    monkeypatch.setattr(one_click, "job", slow)
    viewer.add_layer(movie())
    choose(viewer, ALIGN)
    dock = dock_of(viewer)
    qtbot.waitUntil(lambda: len(log) > 3)
    with qtbot.waitSignal(dock.runner.finished, timeout=1000):
        qtbot.mouseClick(dock.runner._cancel, Qt.MouseButton.LeftButton)
    assert log[-1] == "closed"
    assert len(viewer.layers) == 1
    choose(viewer, ALIGN)  # and a closed dock stops its work, too
    qtbot.waitUntil(lambda: len(log) > 10)
    viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(lambda: log[-1] == "closed")
    choose(viewer, DENOISE)  # the menu opens a new one
    qtbot.waitUntil(lambda: log[-1] == "batch")
    viewer.window.remove_dock_widget(dock_of(viewer))


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([], "Nothing to work on"),
        ([Points(np.zeros((1, 3)))], "Nothing to work on"),
        ([Image(np.zeros((4, 32, 40, 3), np.uint8), rgb=True)], "colour"),
    ],
)
def test_what_cannot_be_done_is_said(viewer: Any, told: list, layers: list, words: str) -> None:
    for layer in layers:
        viewer.add_layer(layer)
    choose(viewer, DENOISE)
    assert words in told[-1].message
    assert len(viewer.layers) == len(layers)


@pytest.mark.parametrize(("shape", "words"), [((32, 40), "single 2D image"), ((1, 32, 40), "only one frame")])
def test_an_image_is_denoised_and_cannot_be_aligned(
    viewer: Any, told: list, qtbot: Any, shape: tuple[int, ...], words: str
) -> None:
    noisy = np.random.default_rng(0).normal(100, 10, shape).astype(np.float32)
    viewer.add_layer(Image(noisy, name="cell", scale=[0.5] * len(shape)))
    choose(viewer, ALIGN)
    assert words in told[-1].message
    choose(viewer, DENOISE)
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=60_000)
    clean = viewer.layers["cell [denoised]"]
    assert clean.data.shape == shape
    np.testing.assert_array_equal(clean.scale, [0.5] * len(shape))
    assert np.std(clean.data) < 0.5 * np.std(noisy)


def test_two_movies_and_none_selected_asks(viewer: Any, told: list) -> None:
    viewer.add_layer(movie())
    viewer.add_layer(movie("other"))
    viewer.layers.selection.clear()
    choose(viewer, DENOISE)
    assert "select one movie" in told[-1].message
    assert DOCK not in viewer.window.dock_widgets
