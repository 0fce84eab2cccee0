"""Many files through one recipe: journeys with real clicks, and what is decided about jobs without Qt."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QPushButton, QWidget

from napari_denoisereg.io import read
from napari_denoisereg.pipeline import Pipeline, presets
from napari_denoisereg.results import read_registration
from napari_denoisereg.steps import Progress, Steps, finish
from napari_denoisereg.widgets import batch_dock
from napari_denoisereg.widgets.batch_dock import BatchDock
from napari_denoisereg.widgets.batch_jobs import in_words, is_finished, movies_in, targets, work
from napari_denoisereg.widgets.denoise_register_job import load_engine


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list:
    shown: list = []
    monkeypatch.setattr(notification_manager, "dispatch", shown.append)
    return shown


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two movies, one that is damaged, a letter, and a subfolder with a movie of the same name."""
    place = tmp_path / "movies"
    (place / "tuesday").mkdir(parents=True)
    for seed, name in enumerate(("a.tif", "c.tif", "tuesday/a.tif")):
        tifffile.imwrite(place / name, np.random.default_rng(seed).integers(0, 999, (5, 32, 32)).astype(np.uint16))
    (place / "b.tif").write_bytes(b"II*\x00 cut off")
    (place / "letter.txt").write_text("dear")
    return place


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def open_dock(
    make_napari_viewer: Any, qtbot: Any, working_threads: Callable[[], list[str]], monkeypatch: Any, tmp_path: Path
) -> Iterator[Any]:
    monkeypatch.setenv("DENOISEREG_HOME", str(tmp_path / "home"))
    finish(load_engine())

    def opened() -> tuple[Any, BatchDock]:
        viewer = make_napari_viewer()
        _, dock = viewer.window.add_plugin_dock_widget("napari-denoisereg", "Many files")
        qtbot.waitUntil(lambda: not dock._runner.is_running, timeout=60_000)
        return viewer, dock

    yield opened
    qtbot.waitUntil(lambda: not working_threads(), timeout=5000)


def press(qtbot: Any, dock: QWidget, text: str) -> None:
    qtbot.mouseClick(next(each for each in dock.findChildren(QPushButton) if each.text() == text), Qt.MouseButton.LeftButton)


def column(dock: BatchDock, place: int) -> list[str]:
    return [dock._table.item(row, place).text() for row in range(dock._table.rowCount())]


def drop(dock: BatchDock, *paths: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    keys = Qt.KeyboardModifier.NoModifier
    dock.dropEvent(QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, keys))


def run(qtbot: Any, dock: BatchDock) -> None:
    qtbot.waitUntil(dock._run.isEnabled)
    press(qtbot, dock, "Run")
    qtbot.waitUntil(lambda: dock._current is None and not dock._runner.is_running, timeout=60_000)


def test_failure_of_one_does_not_stop_the_others_and_what_is_done_is_skipped(
    open_dock: Any, qtbot: Any, folder: Path, output: Path, told: list
) -> None:
    viewer, dock = open_dock()
    assert not dock._run.isEnabled()
    drop(dock, folder)
    qtbot.waitUntil(lambda: column(dock, 0) == ["a.tif", "b.tif", "c.tif", "a.tif"])
    dock._folder.setText(str(output))
    qtbot.keyClicks(dock._axes, "tyx")
    run(qtbot, dock)
    assert column(dock, 1) == ["✓ done", "✗ failed", "✓ done", "✓ done"]
    assert "b.tif" in column(dock, 3)[1]
    assert sorted(path.name for path in output.iterdir()) == ["c.zarr", "movies a.zarr", "tuesday a.zarr"]
    assert len(told) == 1
    assert "1 failed" in told[0].message
    found = read_registration(output / "c.zarr")
    assert len(found.transforms) == 5
    np.testing.assert_array_equal(
        np.asarray(read(output / "c.zarr" / "aligned").data), np.asarray(found.warp(read(folder / "c.tif", axes="tyx")).data)
    )
    stamp = (output / "c.zarr" / "zarr.json").stat().st_mtime_ns
    run(qtbot, dock)
    assert column(dock, 1) == ["✓ done before", "✗ failed", "✓ done before", "✓ done before"]
    assert (output / "c.zarr" / "zarr.json").stat().st_mtime_ns == stamp
    assert dock._runner._line.text() == "3 done before, 1 failed."
    place = dock._table.visualItemRect(dock._table.item(2, 0)).center()
    qtbot.mouseClick(dock._table.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(place))
    qtbot.mouseDClick(dock._table.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(place))
    assert [layer.name for layer in viewer.layers] == ["c [denoised]", "c [aligned]"]


def test_other_results_are_replaced_only_when_told(open_dock: Any, qtbot: Any, folder: Path, output: Path, told: list) -> None:
    _, dock = open_dock()
    dock.add([folder / "c.tif"])
    dock._folder.setText(str(output))
    finish(
        work(
            folder / "c.tif",
            output / "c.zarr",
            presets()["fast"].model_copy(update={"denoise": None}),
            axes="tyx",
            device="cpu",
            overwrite=False,
        )
    )
    dock._axes.setText("tyx")
    run(qtbot, dock)
    assert column(dock, 1) == ["✗ failed"]
    assert "exists already" in column(dock, 3)[0]
    assert not (output / "c.zarr" / "denoised").exists()
    qtbot.mouseClick(dock._replace, Qt.MouseButton.LeftButton, pos=QPoint(8, dock._replace.height() // 2))
    run(qtbot, dock)
    assert column(dock, 1) == ["✓ done"]
    assert (output / "c.zarr" / "denoised").is_dir()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    log: list[str] = []

    def pretend(source: Path, target: Path, *_: Any, **__: Any) -> Steps[str]:
        try:
            for number in range(1000 if source.name == "c.tif" else 3):
                time.sleep(0.01)
                log.append(source.name)
                yield Progress(number, 1000, "pretending")
            return "fine"
        finally:
            log.append("closed")

    monkeypatch.setattr(batch_dock, "work", pretend)
    return log


def test_cancel_pause_and_resume(open_dock: Any, qtbot: Any, folder: Path, output: Path, slow: list[str]) -> None:
    _, dock = open_dock()
    dock.add([folder / "a.tif", folder / "c.tif", folder / "tuesday"])
    qtbot.waitUntil(lambda: len(dock.jobs()) == 3)
    dock._folder.setText(str(output))
    qtbot.waitUntil(dock._run.isEnabled)
    press(qtbot, dock, "Run")
    qtbot.waitUntil(lambda: slow.count("c.tif") > 3)
    assert column(dock, 1) == ["✓ done", "▶ running", "waiting"]
    assert not dock._run.isEnabled()
    assert not dock._recipes.isEnabled()
    press(qtbot, dock, "Pause")
    qtbot.wait(100)
    count = len(slow)
    qtbot.wait(100)
    assert len(slow) == count
    press(qtbot, dock, "Resume")
    qtbot.waitUntil(lambda: len(slow) > count)
    press(qtbot, dock, "Cancel")
    qtbot.waitUntil(lambda: dock._current is None and not dock._runner.is_running)
    assert column(dock, 1) == ["✓ done", "– cancelled", "waiting"]
    assert slow[-1] == "closed"
    assert list(output.iterdir()) == []
    assert dock._run.isEnabled()


def test_closing_the_dock_stops_all(open_dock: Any, qtbot: Any, folder: Path, output: Path, slow: list[str]) -> None:
    viewer, dock = open_dock()
    dock.add([folder / "c.tif", folder / "a.tif"])
    dock._folder.setText(str(output))
    qtbot.waitUntil(dock._run.isEnabled)
    press(qtbot, dock, "Run")
    qtbot.waitUntil(lambda: len(slow) > 3)
    viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(lambda: slow[-1] == "closed")
    qtbot.wait(150)
    assert "a.tif" not in slow


def test_rows_are_removed_by_key_and_button(open_dock: Any, qtbot: Any, folder: Path, monkeypatch: Any) -> None:
    _, dock = open_dock()
    monkeypatch.setattr(batch_dock, "ask_files", lambda _: [folder / "a.tif", folder / "c.tif"])
    press(qtbot, dock, "Add files…")
    press(qtbot, dock, "Add files…")
    assert column(dock, 0) == ["a.tif", "c.tif"]
    dock._table.selectRow(0)
    press(qtbot, dock, "Remove")
    assert column(dock, 0) == ["c.tif"]
    assert not dock._remove.isEnabled()
    monkeypatch.setattr(batch_dock, "ask_folder", lambda *_: [folder / "tuesday"])
    press(qtbot, dock, "Add folder…")
    qtbot.waitUntil(lambda: column(dock, 0) == ["c.tif", "a.tif"])
    drop(dock, folder / "letter.txt")
    qtbot.waitUntil(lambda: "No .tif or .zarr" in dock._runner._line.text())
    dock._folder.setText("/does/not/exist")
    assert not dock._run.isEnabled()


def test_recipes_saved_meanwhile_are_offered(open_dock: Any, qtbot: Any, monkeypatch: Any) -> None:
    _, dock = open_dock()
    chosen = dock._recipes.currentData()
    monkeypatch.setattr(batch_dock, "saved", lambda: {"nuclei": presets()["best"].model_copy(update={"name": "nuclei"})})
    dock._recipes.showPopup()
    dock._recipes.hidePopup()
    assert dock._recipes.findData("nuclei") >= 0
    assert dock._recipes.currentData() == chosen


def test_dock_fits_in_300_pixels(make_napari_viewer: Any, qtbot: Any, folder: Path) -> None:
    dock = BatchDock(make_napari_viewer(show=True))
    qtbot.addWidget(dock)
    dock.add([folder])
    dock.resize(300, 480)
    dock.show()
    qtbot.waitUntil(lambda: bool(dock.jobs()) and not dock._runner.is_running)
    assert dock.width() == 300
    for widget in (dock._table, dock._run, dock._runner):
        assert dock.rect().contains(widget.geometry())
    assert all(each.toolTip() for each in dock.findChildren(QPushButton))
    dock.close_down()


def test_movies_are_found_and_results_left_out(folder: Path, output: Path) -> None:
    recipe = presets()["fast"]
    made = folder / "made.zarr"
    finish(work(folder / "c.tif", made, recipe, axes="tyx", device="cpu", overwrite=False))
    assert [path.name for path in movies_in([folder])] == ["a.tif", "b.tif", "c.tif", "a.tif"]
    assert movies_in([made / "aligned.zarr"]) == [made / "aligned.zarr"]
    assert movies_in([folder / "a.tif", folder / "a.tif", folder / "letter.txt"]) == [folder / "a.tif"]
    assert is_finished(folder / "c.tif", made, recipe, axes="tyx")
    assert not is_finished(folder / "c.tif", made, recipe, axes="zyx")
    assert not is_finished(folder / "c.tif", made, recipe)
    assert not is_finished(folder / "c.tif", made, presets()["best"])
    later = time.time() + 60
    os.utime(folder / "c.tif", (later, later))
    assert not is_finished(folder / "c.tif", made, recipe, axes="tyx")
    assert not is_finished(folder / "c.tif", output / "none.zarr", recipe)


def test_single_images_are_denoised_by_recipes_that_do_not_register(tmp_path: Path) -> None:
    image = np.random.default_rng(0).normal(100, 10, (32, 40)).astype(np.float32)
    tifffile.imwrite(tmp_path / "image.tif", image)
    how = {"axes": "", "device": "cpu", "overwrite": False}
    with pytest.raises(ValueError, match="switch Register off, save the recipe"):
        finish(work(tmp_path / "image.tif", tmp_path / "out.zarr", presets()["fast"], **how))
    assert not (tmp_path / "out.zarr").exists()
    finish(work(tmp_path / "image.tif", tmp_path / "out.zarr", Pipeline(denoise={"kind": "gaussian"}), **how))
    assert read(tmp_path / "out.zarr" / "denoised").outer_axes == "yx"


def test_results_never_share_a_name(tmp_path: Path) -> None:
    sources = [tmp_path / name for name in ("x/a.tif", "y/a.ome.tif", "z/x/A.tif", "b.zarr")]
    names = [path.name for path in targets(sources, tmp_path)]
    assert names == ["x a.zarr", "y a.zarr", "x A 2.zarr", "b.zarr"]


def test_errors_are_told_in_words() -> None:
    assert in_words(ValueError("/x/a.tif is bad\nfile"), Path("/x/a.tif")) == "a.tif is bad file"
    assert "ran out of memory" in in_words(RuntimeError("CUDA out of memory. Tried"), Path("a"))
    assert in_words(KeyError("x"), Path("a")).startswith("Unexpected error (KeyError)")
