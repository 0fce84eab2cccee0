"""Journeys through the dock *Register objects* in a real viewer, with real clicks and keys."""

import ast
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels, Tracks
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QPushButton, QScrollArea, QWidget
from scipy import ndimage

from napari_denoisereg import io
from napari_denoisereg.register import Registrar, Series
from napari_denoisereg.results import read_registration
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Progress, Steps, finish
from napari_denoisereg.widgets import objects_dock
from napari_denoisereg.widgets.denoise_register_job import load_engine
from napari_denoisereg.widgets.objects_dock import ObjectsDock
from napari_denoisereg.widgets.objects_job import recipe_of
from napari_denoisereg.widgets.objects_method import MOTIONS
from napari_denoisereg.widgets.objects_text import ObjectsJob, objects_text
from napari_denoisereg.widgets.recipe_text import Job

PLACE: dict[str, Any] = {"scale": (2, 0.5, 0.5), "units": ("s", "um", "um"), "axis_labels": ("t", "y", "x")}
LEFT = Qt.MouseButton.LeftButton


def cells() -> tuple[np.ndarray, np.ndarray]:
    """Two cells with texture, one going down, one to the left, by 2 pixels a frame; a third is there once."""
    texture = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(64, 64)), 1.5) * 2000
    frames, labels = np.full((3, 64, 64), 1000.0), np.zeros((3, 64, 64), np.int32)
    for t in range(3):
        for number, (low, way) in {4: ((8, 8), (2, 0)), 9: ((36, 40), (0, -2))}.items():
            y, x = (start + t * step for start, step in zip(low, way, strict=True))
            frames[t, y : y + 16, x : x + 18] = 3000 + texture[low[0] : low[0] + 16, low[1] : low[1] + 18]
            labels[t, y : y + 16, x : x + 18] = number
    labels[1, 56:62, 2:10] = 5
    return frames.astype(np.uint16), labels


FRAMES, LABELS = cells()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list:
    shown: list = []
    monkeypatch.setattr(notification_manager, "dispatch", shown.append)
    return shown


@pytest.fixture
def open_dock(make_napari_viewer: Any, qtbot: Any, working_threads: Callable[[], list[str]]) -> Iterator[Any]:
    finish(load_engine())  # torch is imported once, not in the middle of a journey

    def opened(*layers: Any) -> tuple[Any, ObjectsDock]:
        viewer = make_napari_viewer()
        for layer in layers:
            viewer.add_layer(layer)
        _, dock = viewer.window.add_plugin_dock_widget("napari-denoisereg", "Register objects")
        qtbot.waitUntil(lambda: not dock._runner.is_running, timeout=60_000)
        return viewer, dock

    yield opened
    qtbot.waitUntil(lambda: not working_threads(), timeout=5000)


def movie(**changes: Any) -> Image:
    return Image(FRAMES.copy(), **{"name": "cells", "contrast_limits": (0, 9000), **PLACE, **changes})


def ids(**changes: Any) -> Labels:
    return Labels(LABELS.copy(), **{"name": "ids", **PLACE, **changes})


def button(dock: QWidget, text: str) -> QPushButton:
    return next(each for each in dock.findChildren(QPushButton) if each.text() == text)


def press(qtbot: Any, dock: QWidget, text: str) -> None:
    qtbot.mouseClick(button(dock, text), LEFT)


def work(qtbot: Any, dock: ObjectsDock, text: str) -> None:
    with qtbot.waitSignal(dock._runner.finished, timeout=120_000):
        press(qtbot, dock, text)


def names(viewer: Any) -> list[str]:
    return [layer.name for layer in viewer.layers]


def slow(stack: Any, *_: Any, **__: Any) -> Steps[Any]:
    for number in range(1000):
        time.sleep(0.01)
        yield Progress(number, 1000, "pretending")
    raise AssertionError("Nobody cancelled.")


def test_run_shows_what_stands_still_and_names_what_was_left_out(open_dock: Any, qtbot: Any, told: list) -> None:
    turn = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
    viewer, dock = open_dock(movie(rotate=turn, translate=(0, 7, -3)), ids(rotate=turn, translate=(0, 7, -3)))
    assert dock._labels.currentText() == "ids"
    assert "lie on the movie" in dock._words.text()
    assert not button(dock, "Save…").isEnabled()
    active = viewer.layers.selection.active
    work(qtbot, dock, "Run")
    assert names(viewer) == ["cells", "ids", "cells [objects aligned]", "cells [object tracks]"]
    assert viewer.layers.selection.active is active
    still, tracks = viewer.layers[2], viewer.layers[3]
    assert isinstance(tracks, Tracks)
    for number in (4, 9):
        inner = ndimage.binary_erosion(LABELS[0] == number, iterations=2)
        for frame in (1, 2):
            shown = np.asarray(still.data[frame])[inner]
            assert np.corrcoef(shown, FRAMES[0][inner])[0, 1] > 0.97
    np.testing.assert_allclose(still.data_to_world((1, 9, 4)), viewer.layers[0].data_to_world((1, 9, 4)))
    track = tracks.data[tracks.data[:, 0] == 4]
    np.testing.assert_allclose(track[:, 1:], [[t, 15.5 + 2 * t, 16.5] for t in range(3)], atol=0.4)
    assert "Registered 2 objects" in dock._told.text()
    assert "5: it is in one frame only" in dock._told.text()
    assert any("1 object left out (5)" in each.message for each in told)
    np.testing.assert_array_equal(viewer.layers[0].data, FRAMES)
    np.testing.assert_array_equal(viewer.layers[1].data, LABELS)


def test_results_are_saved(open_dock: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, dock = open_dock(movie(translate=(0, 100, 0)), ids(translate=(0, 100, 0)))
    work(qtbot, dock, "Run")
    monkeypatch.setattr(objects_dock, "ask_target", lambda *_: None)
    press(qtbot, dock, "Save…")
    assert not dock._runner.is_running
    monkeypatch.setattr(
        objects_dock, "ask_target", lambda _, name, what: tmp_path / {"all": "out.zarr", "table": f"{name}.csv"}[what]
    )
    work(qtbot, dock, "Save…")
    back = read_registration(tmp_path / "out.zarr" / "4")
    np.testing.assert_allclose(back.points(2, np.array([[107.75, 8.25]])), [[109.75, 8.25]], atol=0.2)
    work(qtbot, dock, "Save table…")
    assert (tmp_path / "cells.csv").read_text() == (tmp_path / "out.zarr" / "motion.csv").read_text()
    assert "Saved" in dock._runner._line.text()


def test_the_dialog_gives_the_right_suffix(qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = QWidget()
    qtbot.addWidget(parent)
    for given, what, wanted in [("a", "all", "a.zarr"), ("b.csv", "table", "b.csv"), ("c.ZARR", "all", "c.ZARR")]:
        monkeypatch.setattr(objects_dock.QFileDialog, "getSaveFileName", lambda *_, given=given: (given, ""))
        assert objects_dock.ask_target(parent, "cells", what) == Path(wanted)
    monkeypatch.setattr(objects_dock.QFileDialog, "getSaveFileName", lambda *_: ("", ""))
    assert objects_dock.ask_target(parent, "cells", "all") is None


def test_labels_that_lie_elsewhere_are_told_until_they_are_moved(open_dock: Any, qtbot: Any) -> None:
    viewer, dock = open_dock(movie())
    assert dock._labels.currentIndex() == 0
    assert "same number in all frames" in dock._words.text()
    assert not button(dock, "Run").isEnabled()
    labels = viewer.add_labels(LABELS, name="ids")  # opened from a file that says no pixel size
    assert dock._labels.currentText() == "ids"
    assert "'ids' does not lie on 'cells': its scale is 1 × 1 × 1, the movie's 2 × 0.5 × 0.5" in dock._words.text()
    assert not button(dock, "Run").isEnabled()
    assert "does not lie on" in button(dock, "Run").toolTip()
    labels.scale = (2, 0.5, 0.5)
    assert "lie on the movie" in dock._words.text()
    assert button(dock, "Run").isEnabled()
    viewer.layers["cells"].translate = (0, 5, 0)  # nothing tells the dock
    press(qtbot, dock, "Run")
    assert not dock._runner.is_running
    assert "translate" in dock._words.text()
    viewer.layers.remove(labels)
    assert dock._labels.currentIndex() == 0
    assert not button(dock, "Run").isEnabled()


def test_labels_without_tracks_are_an_error_and_leave_nothing(open_dock: Any, qtbot: Any, told: list) -> None:
    numbered = LABELS.copy()
    numbered[numbered > 0] += np.broadcast_to(100 * np.arange(3)[:, None, None], LABELS.shape)[numbered > 0]
    viewer, dock = open_dock(movie(), Labels(numbered, name="untracked", **PLACE))
    work(qtbot, dock, "Run")
    assert names(viewer) == ["cells", "untracked"]
    assert any("labels that keep their number over time" in each.message for each in told)
    assert not button(dock, "Save…").isEnabled()
    assert button(dock, "Run").isEnabled()


def test_where_all_objects_are_left_out_nothing_is_shown(open_dock: Any, qtbot: Any, told: list) -> None:
    specks = np.zeros_like(LABELS)
    specks[:, 4:6, 4:6] = 3
    viewer, dock = open_dock(movie(), Labels(specks, name="specks", **PLACE))
    work(qtbot, dock, "Run")
    assert names(viewer) == ["cells", "specks"]
    assert "No object could be registered" in dock._told.text()
    assert "fewer than 16 voxels" in dock._told.text()
    assert not button(dock, "Save table…").isEnabled()


def test_cancel_leaves_nothing(open_dock: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer, dock = open_dock(movie(), ids())
    monkeypatch.setattr(objects_dock, "run_objects", slow)
    press(qtbot, dock, "Run")
    qtbot.waitUntil(lambda: "Pretending" in dock._runner._line.text(), timeout=5000)
    assert not button(dock, "Run").isEnabled()
    work(qtbot, dock, "Cancel")
    assert names(viewer) == ["cells", "ids"]
    assert dock._runner._line.text() == "Cancelled. Nothing was changed."
    assert button(dock, "Run").isEnabled()
    assert not button(dock, "Save…").isEnabled()


def test_the_gui_thread_is_not_held_up(open_dock: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch, heartbeat: Any) -> None:
    """While objects are registered, and when what came out is made ready; that napari then draws new layers is its own."""
    _, dock = open_dock(movie(), ids())
    made: list = []
    make = objects_dock.result_layers
    monkeypatch.setattr(objects_dock, "result_layers", lambda *given, **options: made.extend(make(*given, **options)) or [])
    work(qtbot, dock, "Run")  # what Python loads only once
    with heartbeat() as held_up:
        work(qtbot, dock, "Run")
    assert len(made) == 4
    assert len(held_up) > 5
    assert max(held_up) < 0.05, f"{1000 * max(held_up):.0f} ms"


def test_the_dock_fits_in_300_pixels(make_napari_viewer: Any, qtbot: Any) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.add_layer(movie(name="a movie with a very long name that somebody gave it in a hurry"))
    viewer.add_layer(ids(name="labels with a very long name that somebody gave them in a hurry", scale=(1, 1, 1)))
    dock = ObjectsDock(viewer)
    qtbot.addWidget(dock)
    dock.resize(300, 420)
    dock.show()
    qtbot.waitUntil(lambda: not dock._runner.is_running, timeout=60_000)
    dock._method._advanced.expand(animate=False)
    qtbot.wait(50)
    assert dock.width() == 300
    for area in dock.findChildren(QScrollArea):
        assert area.widget().width() <= area.viewport().width()
    own = [dock._labels, dock._method.choice, dock._device, dock._source.chooser, dock._method._advanced.toggleButton()]
    for each in (*own, dock._method._method, dock._method._series, dock._run, dock._save, dock._save_table):
        assert each.toolTip()


def test_closing_the_dock_stops_the_work(
    open_dock: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch, working_threads: Callable[[], list[str]]
) -> None:
    viewer, dock = open_dock(movie(), ids())
    monkeypatch.setattr(objects_dock, "run_objects", slow)
    press(qtbot, dock, "Run")
    qtbot.waitUntil(lambda: "Pretending" in dock._runner._line.text(), timeout=5000)
    viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(lambda: not working_threads(), timeout=5000)
    assert names(viewer) == ["cells", "ids"]
    viewer.layers["ids"].scale = (1, 1, 1)  # the closed dock no longer listens
    viewer.add_labels(LABELS, name="more")
    assert dock._labels.count() == 2


def test_the_python_that_is_copied_does_the_same(open_dock: Any, qtbot: Any, tmp_path: Path) -> None:
    for name, data in (("movie", FRAMES), ("ids", LABELS.astype(np.uint16))):
        io.write(Stack(data, "tyx"), tmp_path / f"{name}.tif")
    viewer, dock = open_dock()
    layer, labels = viewer.open(tmp_path / "movie.tif")[0], viewer.open(tmp_path / "ids.tif", layer_type="labels")[0]
    labels.scale, labels.units = layer.scale, layer.units
    work(qtbot, dock, "Copy as Python")
    text = QGuiApplication.clipboard().text()
    assert "dr.read(" in text
    assert "viewer" not in text
    labels.data = np.where(LABELS == 9, 8, LABELS)  # the file does not hold this
    work(qtbot, dock, "Copy as Python")
    edited = QGuiApplication.clipboard().text()
    assert "viewer.layers['ids']" in edited
    for script, numbers in ((text, [4, 9]), (edited, [4, 8])):
        known = {"viewer": viewer}
        exec(script, known)
        assert list(known["objects"]) == numbers
        cells = LABELS[0] > 0
        np.testing.assert_array_equal(np.asarray(known["still"].data)[0][cells], FRAMES[0][cells])


@pytest.mark.parametrize(
    "settings",
    [{"kind": "affine"}, {"kind": "elastic"}, {"kind": "voxelmorph", "seconds": 7}, {"kind": "affine", "motion": "rigid"}],
)
def test_settings_in_the_copied_text_are_the_same_method(settings: dict[str, Any]) -> None:
    method, series = Registrar.coerce(settings), Series.coerce("to_first")
    recipe = recipe_of(method, series, 0)
    one = Job(recipe, Stack(FRAMES, "tyx", name="m"), None, "cpu")
    known: dict[str, Any] = {}
    lines = finish(objects_text(ObjectsJob(one, one))).splitlines()
    exec(next(line for line in lines if line.startswith("method = ")), known)
    assert Registrar.coerce(known["method"]) == method
    call = next(line for line in lines if "register_objects(" in line)
    assert Series.coerce(ast.literal_eval(call.partition("series=")[2].removesuffix(")"))) == series


def test_other_methods_are_under_advanced(open_dock: Any, qtbot: Any) -> None:
    _, dock = open_dock(movie(), ids())
    method = dock._method
    assert (method.value().kind, method.value().motion) == ("affine", MOTIONS[0])
    method.choice.setFocus()
    qtbot.keyClick(method.choice, Qt.Key.Key_Down)
    assert method.value().motion == MOTIONS[1]
    qtbot.keyClick(method.choice, Qt.Key.Key_End)
    assert method._advanced.isExpanded()
    assert method.value().motion == MOTIONS[0]
    method._method._choice.setCurrentIndex(method._method._choice.findData("elastic"))
    assert method.value().kind == "elastic"
    method._series._choice.setCurrentIndex(method._series._choice.findData("to_first"))
    assert method.series().kind == "to_first"
    method.choice.setFocus()
    qtbot.keyClick(method.choice, Qt.Key.Key_Home)
    assert (method.value().kind, method.value().motion) == ("affine", MOTIONS[0])


def test_removed_labels_are_told(open_dock: Any, qtbot: Any) -> None:
    viewer, dock = open_dock(movie(), ids(), ids(name="others"))
    assert dock._labels.currentText() == "others"  # the newest
    dock._labels.setCurrentIndex(dock._labels.findText("ids"))
    viewer.layers.remove("others")
    assert dock._labels.currentText() == "ids"
    viewer.layers.remove("ids")
    assert dock._labels.currentIndex() == 0
    assert not button(dock, "Run").isEnabled()
