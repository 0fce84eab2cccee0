"""Journeys through the transforms dock with real clicks: load, invert, chain, apply, save, make by hand."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels, Points
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QPushButton, QWidget

from napari_denoisereg import io
from napari_denoisereg.geometry import Grid, Identity, PerFrame, Translation
from napari_denoisereg.register import Registration
from napari_denoisereg.steps import finish
from napari_denoisereg.widgets import transforms_files
from napari_denoisereg.widgets.denoise_register_job import load_engine
from napari_denoisereg.widgets.layers import METADATA_KEY
from napari_denoisereg.widgets.transforms_dock import TransformsDock
from napari_denoisereg.widgets.transforms_files import with_suffix
from napari_denoisereg.widgets.transforms_session import kept

PLACE = {"scale": (2, 0.5, 0.5), "units": ("s", "um", "um"), "axis_labels": ("t", "y", "x")}
GRID = Grid((32, 40), (0.5, 0.5), (), ("micrometer",) * 2)
SHIFT = Registration(PerFrame([Identity(2), *(Translation([0.5 * t, -0.5 * t]) for t in range(1, 6))]), GRID)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list:
    shown: list = []
    monkeypatch.setattr(notification_manager, "dispatch", shown.append)
    return shown


@pytest.fixture
def open_dock(make_napari_viewer: Any, qtbot: Any, working_threads: Callable[[], list[str]]) -> Iterator[Any]:
    finish(load_engine())

    def opened(*layers: Any) -> tuple[Any, TransformsDock]:
        viewer = make_napari_viewer()
        for layer in layers:
            viewer.add_layer(layer)
        _, dock = viewer.window.add_plugin_dock_widget("napari-denoisereg", "Transforms")
        qtbot.waitUntil(lambda: not dock._runner.is_running, timeout=60_000)
        return viewer, dock

    yield opened
    qtbot.waitUntil(lambda: not working_threads(), timeout=5000)


def movie(name: str = "cells", *, with_result: bool = True, **changes: Any) -> Image:
    """Frame t is the first one moved by t pixels down and left; the layer carries its transforms."""
    first = np.random.default_rng(0).integers(100, 999, (32, 40)).astype(np.uint16)
    data = np.stack([np.roll(first, (t, -t), (0, 1)) for t in range(6)])
    record = {METADATA_KEY: {"registration": SHIFT, "axes": "tyx"}} if with_result else {}
    return Image(data, name=name, metadata=record, contrast_limits=(0, 999), **{**PLACE, **changes})


def press(qtbot: Any, dock: QWidget, text: str) -> None:
    qtbot.mouseClick(next(each for each in dock.findChildren(QPushButton) if each.text() == text), Qt.MouseButton.LeftButton)


def work(qtbot: Any, dock: TransformsDock, text: str) -> None:
    with qtbot.waitSignal(dock._runner.finished, timeout=20_000):
        press(qtbot, dock, text)


def rows(dock: TransformsDock) -> list[str]:
    return [dock._list.item(row).text().splitlines()[0] for row in range(dock._list.count())]


def tick(qtbot: Any, dock: TransformsDock, *names: str) -> None:
    for row in range(dock._targets.count()):
        item = dock._targets.item(row)
        if item.text() in names:
            dock._targets.setCurrentRow(row)
            dock._targets.setFocus()
            qtbot.keyClick(dock._targets, Qt.Key.Key_Space)


def test_apply_makes_new_layers_and_undo_brings_them_back(open_dock: Any, qtbot: Any) -> None:
    source = movie()
    marks = Points([[t, 10.0 + t, 20.0 - t] for t in range(6)], name="marks", features={"id": [7] * 6}, **PLACE)
    viewer, dock = open_dock(source, Labels((source.data > 500).astype(int), name="mask", **PLACE), marks)
    assert rows(dock) == ["cells"]
    assert not dock._apply.isEnabled()
    tick(qtbot, dock, "cells", "mask", "marks")
    work(qtbot, dock, "Apply")
    assert [layer.name for layer in viewer.layers][3:] == ["marks [aligned]", "mask [aligned]", "cells [aligned]"]
    aligned = np.asarray(viewer.layers["cells [aligned]"].data)
    np.testing.assert_array_equal(aligned[5, 6:-6, 6:-6], source.data[0, 6:-6, 6:-6])
    np.testing.assert_array_equal(
        np.asarray(viewer.layers["mask [aligned]"].data)[5, 6:-6, 6:-6], source.data[0, 6:-6, 6:-6] > 500
    )
    np.testing.assert_allclose(viewer.layers["marks [aligned]"].data[:, 1:], [[10, 20]] * 6, atol=1e-9)
    assert "3 new layers" in dock._runner._line.text()
    tick(qtbot, dock, "marks", "cells", "mask")  # off again
    tick(qtbot, dock, "marks [aligned]")
    dock._direction.setCurrentIndex(1)
    work(qtbot, dock, "Apply")
    np.testing.assert_allclose(viewer.layers["marks [aligned] [moved back]"].data, marks.data, atol=1e-9)


@pytest.mark.parametrize("name", ["t.zarr", "t.csv", "folder"])
def test_save_and_load_again(open_dock: Any, qtbot: Any, monkeypatch: Any, tmp_path: Path, name: str) -> None:
    viewer, dock = open_dock(movie(translate=(0, 100, -50)))
    monkeypatch.setattr(transforms_files, "ask_target", lambda *_: tmp_path / name)
    work(qtbot, dock, "Save…")
    assert (tmp_path / name).exists()
    asks = "ask_file" if name.endswith("csv") else "ask_folder"
    monkeypatch.setattr(transforms_files, asks, lambda *_: tmp_path / name)
    work(qtbot, dock, "Load file…" if asks == "ask_file" else "Load folder…")
    assert rows(dock) == ["cells", name]
    assert dock.chosen().registration.grid.origin == (100, -50)
    tick(qtbot, dock, "cells")
    work(qtbot, dock, "Apply")
    aligned = np.asarray(viewer.layers["cells [aligned]"].data)
    np.testing.assert_array_equal(aligned[5, 6:-6, 6:-6], viewer.layers["cells"].data[0, 6:-6, 6:-6])


def test_invert_chain_and_remove(open_dock: Any, qtbot: Any) -> None:
    viewer, dock = open_dock(movie())
    work(qtbot, dock, "Invert")
    assert rows(dock) == ["cells", "inverse of cells"]
    dock._next.setCurrentIndex(0)
    press(qtbot, dock, "Chain")
    assert rows(dock)[2] == "inverse of cells, then cells"
    assert all(np.allclose(each.matrix(), np.eye(3)) for each in dock.chosen().registration.transforms)
    press(qtbot, dock, "Remove")
    assert rows(dock) == ["cells", "inverse of cells"]
    dock._list.setCurrentRow(0)
    assert not dock._remove.isEnabled()  # it belongs to a layer
    viewer.window.remove_dock_widget(dock)
    _, again = viewer.window.add_plugin_dock_widget("napari-denoisereg", "Transforms")
    qtbot.waitUntil(lambda: not again._runner.is_running, timeout=60_000)
    assert rows(again) == ["cells", "inverse of cells"]


def test_dropped_file_is_loaded_and_a_bad_one_is_told(open_dock: Any, qtbot: Any, tmp_path: Path, told: list) -> None:
    _, dock = open_dock(movie(with_result=False))
    assert not dock._nothing.isHidden()
    good = io.write_transforms(SHIFT.transforms, tmp_path / "t.csv", grid=GRID)
    bad = tmp_path / "bad.csv"
    bad.write_text("nothing")
    for path, count in ((good, 1), (bad, 1)):
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(path))])
        event = QDropEvent(
            QPointF(5, 5), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        )
        with qtbot.waitSignal(dock._runner.finished):
            dock.dropEvent(event)
        assert len(rows(dock)) == count
    assert "no table of matrices" in told[-1].message


def test_layers_that_do_not_fit_are_grey_and_say_why(open_dock: Any) -> None:
    viewer, dock = open_dock(movie(), Image(np.zeros((3, 32, 40)), name="short", **PLACE))
    item = next(dock._targets.item(row) for row in range(2) if dock._targets.item(row).text() == "short")
    assert not item.flags() & Qt.ItemFlag.ItemIsEnabled
    assert "3 frames" in item.toolTip()
    viewer.layers.remove("short")
    assert dock._targets.count() == 1
    viewer.layers.clear()
    assert dock._list.count() == 0
    assert not dock._apply.isEnabled()


def test_layer_that_changed_since_is_refused_in_words(open_dock: Any, qtbot: Any, told: list) -> None:
    viewer, dock = open_dock(movie(), movie("other", with_result=False))
    tick(qtbot, dock, "other")
    viewer.layers["other"].data = np.zeros((4, 32, 40))
    press(qtbot, dock, "Apply")
    assert "has 4 frames" in told[-1].message
    assert len(viewer.layers) == 2


def test_make_from_points_leaves_out_a_misplaced_one(open_dock: Any, qtbot: Any, told: list) -> None:
    first = np.array([[5, 5], [25, 8], [8, 33], [24, 30], [16, 20], [12, 12]], float)
    marks = np.concatenate([np.column_stack([np.full(6, t), first + np.array([t, -t])]) for t in range(6)])
    marks[3 * 6 + 2, 1:] += 12
    points = Points(marks, features={"id": np.tile(np.arange(6), 6)}, name="marks", **PLACE)
    _, dock = open_dock(movie(with_result=False), points)
    work(qtbot, dock, "Make from points")
    assert rows(dock) == ["marks (affine)"]
    assert "point 2 in frame 3" in told[-1].message
    found = dock.chosen().registration
    for frame in range(6):
        np.testing.assert_allclose(found.transforms[frame].matrix()[:2, 2], [0.5 * frame, -0.5 * frame], atol=1e-9)


def test_make_from_a_moved_layer(open_dock: Any, qtbot: Any, told: list) -> None:
    source, copy = movie(with_result=False, translate=(0, 3, 4)), movie("copy", with_result=False, translate=(0, 3, 4))
    _, dock = open_dock(source, copy)
    dock._make.source.chooser.set_layer(source)
    press(qtbot, dock, "Make from moved layer")
    assert "move it first" in told[-1].message
    move = np.eye(4)
    move[1:3, 3] = (-2.5, 2.5)  # as frame 5 must be moved, µm
    copy.affine = move
    dock._make._first.setValue(5)
    press(qtbot, dock, "Make from moved layer")
    assert rows(dock) == ["copy from frame 5"]
    dock._list.setCurrentRow(0)
    tick(qtbot, dock, "cells")
    work(qtbot, dock, "Apply")
    aligned = np.asarray(dock._viewer.layers["cells [aligned]"].data)
    np.testing.assert_array_equal(aligned[4], source.data[4])
    np.testing.assert_array_equal(aligned[5, 6:-6, 6:-6], source.data[0, 6:-6, 6:-6])


def test_closed_dock_does_not_listen(open_dock: Any) -> None:
    viewer, dock = open_dock(movie())
    viewer.window.remove_dock_widget(dock)
    viewer.layers.clear()
    assert dock._list.count() == 1
    assert kept(viewer) == []


def test_dock_fits_in_300_pixels(make_napari_viewer: Any, qtbot: Any) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.add_layer(movie("a movie with a very long name that somebody gave it in a hurry"))
    dock = TransformsDock(viewer)
    qtbot.addWidget(dock)
    dock.resize(300, 420)
    dock.show()
    qtbot.waitUntil(lambda: not dock._runner.is_running)
    assert dock.width() == 300
    for widget in (dock._apply, dock._runner):
        assert dock.rect().contains(widget.geometry())
    page = dock._list.parentWidget()
    assert page.width() <= page.parentWidget().width()
    assert all(each.toolTip() for each in dock.findChildren(QPushButton))
    dock.close_down()


def test_name_gets_the_suffix_of_the_format() -> None:
    assert with_suffix("/a/b", ".zarr") == Path("/a/b.zarr")
    assert with_suffix("/a/b.nii.gz", ".zarr") == Path("/a/b.nii.gz")
    assert with_suffix("/a/b.folder", "") == Path("/a/b.folder")
