"""Journeys through the dock *Fine-tune* in a real viewer, with real clicks and keys and the real engine on a tiny movie."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels, Points
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QMessageBox, QPushButton, QWidget
from superqt import QCollapsible

from napari_denoisereg.io.library import Library
from napari_denoisereg.losses import Similarity
from napari_denoisereg.steps import finish
from napari_denoisereg.widgets import finetune_start
from napari_denoisereg.widgets.finetune_data import keypoints_in, place_in_view
from napari_denoisereg.widgets.finetune_dock import FineTuneDock
from napari_denoisereg.widgets.finetune_engine import load_workshop
from napari_denoisereg.widgets.finetune_job import InView, Order, train
from napari_denoisereg.widgets.layers import METADATA_KEY, stack_from

BRIEF, ENDLESS = 12, 10**7


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list:
    """Notifications that were shown."""
    shown: list = []
    monkeypatch.setattr(notification_manager, "dispatch", shown.append)
    return shown


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """An empty model library."""
    monkeypatch.setenv("DENOISEREG_MODELS", str(tmp_path / "models"))
    return Library()


@pytest.fixture
def open_dock(
    make_napari_viewer: Any, qtbot: Any, working_threads: Any, library: Library, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Any]]:
    """Open the dock the way the menu does; at the end nothing may be left at work, and no file of a training."""
    finish(load_workshop())  # torch is imported once, not in the middle of a journey
    monkeypatch.setattr(finetune_start, "MANY_ITERATIONS", BRIEF)

    def opened(*layers: Any) -> tuple[Any, FineTuneDock]:
        viewer = make_napari_viewer(show=True)
        for layer in layers:
            viewer.add_layer(layer)
        _, dock = viewer.window.add_plugin_dock_widget("napari-denoisereg", "Fine-tune")
        qtbot.waitUntil(lambda: not dock._runner.is_running, timeout=60_000)
        return viewer, dock

    yield opened
    qtbot.waitUntil(lambda: not working_threads(), timeout=5000)


def movie(seed: int = 0, **changes: Any) -> Image:
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:32, :40]
    clean = np.stack([300 + 200 * np.sin((x + t) / 4) * np.cos(y / 5) for t in range(6)])
    values = random.poisson(clean).astype(np.uint16)
    settings = {"name": "cells", "scale": (2, 0.5, 0.5), "units": ("s", "um", "um"), "axis_labels": ("t", "y", "x")}
    return Image(**{"data": values, **settings, **changes})


def click(qtbot: Any, widget: QWidget) -> None:
    assert widget.isEnabled()
    qtbot.mouseClick(widget, Qt.MouseButton.LeftButton)


def press(qtbot: Any, parent: QWidget, text: str) -> None:
    click(qtbot, next(each for each in parent.findChildren(QPushButton) if each.text() == text))


def wait(qtbot: Any, dock: FineTuneDock) -> None:
    qtbot.waitUntil(lambda: not dock._runner.is_running, timeout=60_000)


def names(viewer: Any) -> list[str]:
    return [layer.name for layer in viewer.layers]


def unfinished(library: Library) -> list[Path]:
    return list((library.folder / "unfinished").glob("*"))


def test_train_look_save_and_use(open_dock: Any, qtbot: Any, library: Library) -> None:
    viewer, dock = open_dock(movie())
    before = viewer.layers["cells"].data.tobytes()
    press(qtbot, dock, "Train")
    wait(qtbot, dock)
    watch = dock._panel.watch
    assert watch.pictures.captions() == ["Raw", "Denoised", "Residual"]
    assert len(watch.plot._train.getData()[0]) == BRIEF
    assert "Best after" in dock._result._words.text()
    dock._result._name.selectAll()
    qtbot.keyClicks(dock._result._name, "waves")
    qtbot.keyClicks(dock._result._notes, "from Monday")
    press(qtbot, dock._result, "Save to library")
    (entry,) = [each for each in library.entries() if not each.is_builtin]
    assert (entry.name, entry.notes) == ("waves", "from Monday")
    assert entry.model.thumbnail is not None
    press(qtbot, dock._result, "Use on layer")
    wait(qtbot, dock)
    assert names(viewer) == ["cells", "cells [denoised]"]
    source, result = viewer.layers
    for attribute in ("scale", "translate", "units", "axis_labels"):
        assert tuple(getattr(result, attribute)) == tuple(getattr(source, attribute)), attribute
    assert result.metadata[METADATA_KEY]["recipe"]["denoise"]["kind"] == "noise2void"
    dock._lesson = replace(dock._lesson, kept=dict(sorted(dock._lesson.kept.items())))  # the best was found before the middle
    press(qtbot, dock._result, "Early / best")
    wait(qtbot, dock)
    assert watch.pictures.captions() == ["Raw", "Early", "Middle", "Best"]
    assert source.data.tobytes() == before
    assert unfinished(library) == []


def test_what_was_trained_comes_into_view(open_dock: Any, qtbot: Any) -> None:
    viewer, dock = open_dock(movie())
    viewer.window.resize(1280, 800)
    press(qtbot, dock, "Train")
    wait(qtbot, dock)
    qtbot.waitUntil(lambda: dock._result.visibleRegion().boundingRect() == dock._result.rect(), timeout=2000)


@pytest.mark.parametrize(("kind", "name", "channels"), [("noise2void", "denoised", 1), ("deep_affine", "aligned", 2)])
def test_a_registrar_moves_all_channels(kind: str, name: str, channels: int, open_dock: Any, qtbot: Any) -> None:
    both = np.stack([movie().data, movie(1).data], axis=1)
    settings = {"axis_labels": ("t", "c", "y", "x"), "scale": (2, 1, 0.5, 0.5), "units": ("s", "pixel", "um", "um")}
    viewer, dock = open_dock(movie(data=both, **settings))
    method = dock._start._method
    method.setCurrentIndex(method.findData(kind))
    dock._source._channel.stepUp()
    press(qtbot, dock, "Train")
    wait(qtbot, dock)
    press(qtbot, dock._result, "Use on layer")
    wait(qtbot, dock)
    assert viewer.layers[f"cells [{name}]"].data.shape == (6, channels, 32, 40)


def test_train_says_why_it_cannot_be_pressed(open_dock: Any, qtbot: Any) -> None:
    viewer, dock = open_dock()
    assert "Open a time-lapse" in dock._train.toolTip()
    viewer.add_layer(Image(np.zeros((4, 32, 40, 3), np.uint8), rgb=True))
    assert "Split RGB" in dock._train.toolTip()
    assert not dock._train.isEnabled()
    viewer.add_layer(movie())
    dock._source.chooser.set_layer(viewer.layers["cells"])
    assert dock._train.isEnabled()
    assert dock._train.toolTip().startswith("Train on the layer")


def endless(qtbot: Any, dock: FineTuneDock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune_start, "MANY_ITERATIONS", ENDLESS)
    press(qtbot, dock, "Train")
    qtbot.waitUntil(lambda: dock._panel.watch.pictures.captions() != [], timeout=20_000)


def test_stop_and_keep_the_best_even_while_paused(
    open_dock: Any, qtbot: Any, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, dock = open_dock(movie())
    endless(qtbot, dock, monkeypatch)
    press(qtbot, dock._runner, "Pause")
    counts = [-1]

    def is_still() -> bool:
        qtbot.wait(400)  # longer than an iteration and its pictures
        counts.append(len(dock._training.losses))
        return counts[-1] == counts[-2]

    qtbot.waitUntil(is_still, timeout=20_000)
    press(qtbot, dock, "Stop and keep the best")
    wait(qtbot, dock)
    assert dock._lesson.model.provenance["stopped"]
    assert dock._lesson.model.provenance["iterations_in_all"] <= counts[-1] + 2
    assert not dock._result.isHidden()
    assert unfinished(library) == []


def test_cancel_leaves_nothing(open_dock: Any, qtbot: Any, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer, dock = open_dock(movie())
    endless(qtbot, dock, monkeypatch)
    press(qtbot, dock._runner, "Cancel")
    wait(qtbot, dock)
    assert names(viewer) == ["cells"]
    assert dock._result.isHidden()
    assert unfinished(library) == []
    assert dock._train.isEnabled()


def test_the_pictures_follow_the_view(open_dock: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer, dock = open_dock(movie())
    viewer.dims.set_current_step(0, 1)
    endless(qtbot, dock, monkeypatch)
    viewer.dims.set_current_step(0, 4)
    qtbot.waitUntil(lambda: dock._view.place[0] == 4, timeout=5000)
    press(qtbot, dock._runner, "Cancel")
    wait(qtbot, dock)


def left_by_a_crash(library: Library, layer: Image) -> Path:
    """The state of a training whose process is gone."""
    from napari_denoisereg.denoise.noise2void import Noise2Void

    steps = Noise2Void(iterations=BRIEF, patch=16, batch=1).fit([stack_from(layer)])
    training = next(steps).training
    library.unfinished_path()
    path = library.folder / "unfinished" / "999999999-0000.model"
    training.unfinished().save(path)
    steps.close()
    return path


def test_an_interrupted_training_is_offered_and_goes_on(open_dock: Any, qtbot: Any, library: Library) -> None:
    path = left_by_a_crash(library, movie())
    _, dock = open_dock(movie())
    dock._start.choose(str(path))
    assert dock._start.start().title == "Interrupted: cells (8% done)"
    assert dock._discard.isVisibleTo(dock)
    press(qtbot, dock, "Train")
    wait(qtbot, dock)
    assert dock._lesson.model.provenance["iterations_in_all"] == BRIEF
    assert unfinished(library) == []
    assert dock._start.start() is None


def test_an_interrupted_training_does_not_go_on_with_another_movie(
    open_dock: Any, qtbot: Any, library: Library, told: list
) -> None:
    path = left_by_a_crash(library, movie())
    _, dock = open_dock(movie(seed=3, name="others"))
    dock._start.choose(str(path))
    press(qtbot, dock, "Train")
    wait(qtbot, dock)
    assert "The interrupted training was of 'cells' (6 × 32 × 40): open that with" in str(told[-1].message)
    assert unfinished(library) == [path]
    press(qtbot, dock, "Forget the interrupted training")
    assert unfinished(library) == []
    assert dock._start.start() is None


def test_a_start_says_whether_it_knows_such_data(open_dock: Any, qtbot: Any) -> None:
    _, dock = open_dock(movie(scale=(1, 9.0, 9.0)))
    assert dock._judgement.isHidden()
    (builtin,) = [each for each in dock._shelf.entries() if each.is_builtin]
    dock._start.choose(str(builtin.path))
    qtbot.waitUntil(lambda: "Pixels are" in dock._judgement.text(), timeout=5000)
    assert "larger than in the data the model was trained on" in dock._judgement.text()
    press(qtbot, dock, "Train")
    wait(qtbot, dock)
    press(qtbot, dock._result, "Train longer")
    assert dock._start.start().title == "The model just trained"
    wait(qtbot, dock)
    assert dock._lesson.model.provenance["iterations_in_all"] == BRIEF


def test_an_encoder_learns_from_labels(open_dock: Any, qtbot: Any, library: Library, told: list) -> None:
    layer = movie()
    drawn = np.zeros(layer.data.shape, np.uint8)
    drawn[2] = layer.data[2] > 320
    viewer, dock = open_dock(layer, Labels(drawn, name="drawn"), Labels(drawn[:, :9], name="cut"))
    method = dock._start._method
    assert not dock._labels.isVisibleTo(dock)
    method.setCurrentIndex(method.findData("segmentation"))
    assert dock._labels.isVisibleTo(dock)
    assert not dock._train.isEnabled()
    choice = dock._labels._choice
    for name in ("cut", "drawn"):
        choice.showPopup()
        choice.setCurrentIndex(choice.findText(name))
        choice.hidePopup()
        press(qtbot, dock, "Train")
        if name == "cut":
            assert "labels as large as the movie" in str(told[-1].message)
    wait(qtbot, dock)
    assert dock._panel.watch.pictures.captions() == ["Raw", "Recognised"]
    assert "similarity 'Deep features'" in dock._result._words.text()
    assert not next(each for each in dock._result._buttons if each.text() == "Use on layer").isVisibleTo(dock._result)
    dock._result._name.setText("things")
    press(qtbot, dock._result, "Save to library")
    (entry,) = [each for each in library.entries() if not each.is_builtin]
    assert Similarity.coerce({"kind": "deepsim", "encoder": str(entry.path)}).has_encoder
    assert names(viewer) == ["cells", "drawn", "cut"]


def test_several_movies_are_learnt_from(open_dock: Any, qtbot: Any) -> None:
    _, dock = open_dock(movie(1, name="more"), movie())
    dock._source.chooser.set_layer(dock._viewer.layers["cells"])
    assert [dock._more._list.item(number).text() for number in range(dock._more._list.count())] == ["more"]
    dock._more._list.item(0).setCheckState(Qt.CheckState.Checked)
    press(qtbot, dock, "Train")
    wait(qtbot, dock)
    assert dock._lesson.model.provenance["trained_on"] == ["cells", "more"]


def test_library_rename_compare_delete_export_import(
    open_dock: Any, qtbot: Any, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list
) -> None:
    _, dock = open_dock(movie())
    press(qtbot, dock, "Train")
    wait(qtbot, dock)
    press(qtbot, dock._result, "Save to library")
    dock._library.expand(animate=False)
    qtbot.wait(100)  # until it is laid out: a button without size cannot be clicked
    shelf = dock._shelf
    assert [entry.name for entry in shelf.chosen()] == ["cells"]
    shelf._name.setText("renamed")
    press(qtbot, shelf, "Keep changes")
    assert told == []
    assert [entry.name for entry in shelf.chosen()] == ["renamed"]
    file = str(tmp_path / "given.zip")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (file, "bioimage.io package (*.zip)"))
    press(qtbot, shelf, "Export…")
    wait(qtbot, dock)
    assert Path(file).is_file()
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (file, ""))
    press(qtbot, shelf, "Import…")
    assert [entry.name for entry in library.entries() if not entry.is_builtin] == ["renamed", "renamed"]
    shelf._list.selectAll()
    shelf._list.item(2).setSelected(False)
    press(qtbot, shelf, "Compare")
    wait(qtbot, dock)
    assert dock._panel.watch.pictures.captions() == ["Raw", "renamed", "renamed"]
    shelf._list.clearSelection()
    shelf._list.item(0).setSelected(True)
    for answer, left in ((QMessageBox.StandardButton.No, 2), (QMessageBox.StandardButton.Yes, 1)):
        monkeypatch.setattr(QMessageBox, "question", lambda *_, answer=answer: answer)
        press(qtbot, shelf, "Delete…")
        assert len([entry for entry in library.entries() if not entry.is_builtin]) == left


def test_closing_the_dock_stops_the_work_and_takes_its_panel_along(
    open_dock: Any, qtbot: Any, working_threads: Any, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, dock = open_dock(movie())
    endless(qtbot, dock, monkeypatch)
    assert "Training preview" in viewer.window.dock_widgets
    viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(lambda: not working_threads())
    assert "Training preview" not in viewer.window.dock_widgets
    assert unfinished(library) == []
    viewer.layers.clear()  # a closed dock does not listen any more


def test_closing_the_viewer_stops_the_work(
    open_dock: Any, qtbot: Any, working_threads: Any, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, dock = open_dock(movie())
    endless(qtbot, dock, monkeypatch)
    viewer.close()
    qtbot.waitUntil(lambda: not working_threads(), timeout=5000)
    assert unfinished(library) == []


def test_the_panel_comes_back_after_it_was_closed(open_dock: Any, qtbot: Any) -> None:
    viewer, dock = open_dock(movie())
    press(qtbot, dock, "Train")
    wait(qtbot, dock)
    viewer.window.remove_dock_widget(dock._panel.watch)
    press(qtbot, dock._result, "Early / best")
    wait(qtbot, dock)
    assert "Training preview" in viewer.window.dock_widgets


def test_curves_follow_the_theme(open_dock: Any, qtbot: Any) -> None:
    viewer, dock = open_dock(movie())
    shades = []
    for theme in ("light", "dark"):
        viewer.theme = theme
        shades.append(dock._panel.watch.plot.backgroundBrush().color().lightness())
    assert shades[0] > 128 > shades[1]


def test_the_gui_thread_is_never_held_up(open_dock: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch, heartbeat: Any) -> None:
    """While the network learns and its pictures and curves are drawn."""
    _, dock = open_dock(movie())
    endless(qtbot, dock, monkeypatch)
    qtbot.wait(300)
    with heartbeat() as held_up:
        qtbot.wait(4000)
    press(qtbot, dock._runner, "Cancel")
    wait(qtbot, dock)
    assert len(held_up) > 50
    assert max(held_up) < 0.05, f"{1000 * max(held_up):.0f} ms"


def test_the_dock_fits_in_300_pixels(make_napari_viewer: Any, qtbot: Any, library: Library) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.add_layer(movie(name="a movie with a very long name that somebody gave it in a hurry"))
    dock = FineTuneDock(viewer)
    qtbot.addWidget(dock)
    dock.resize(300, 420)
    dock.show()
    qtbot.waitUntil(lambda: dock._train.isEnabled(), timeout=60_000)
    dock._library.expand(animate=False)
    dock._start._settings.expand(animate=False)
    qtbot.wait(50)
    assert dock.width() == 300
    for widget in (dock._train, dock._stop, dock._runner._bar, dock._runner._cancel):
        assert dock.rect().contains(widget.geometry().translated(widget.parentWidget().mapTo(dock, widget.rect().topLeft())))
    page = dock._area.widget()
    assert page.width() <= dock._area.viewport().width()
    dock.close_down()


def test_a_long_title_ends_in_dots_and_is_told_in_full(open_dock: Any, qtbot: Any) -> None:
    _, dock = open_dock()
    box = dock._start._method
    box.setCurrentIndex(box.findData("small_data"))
    title = box.currentText()
    box.setFixedWidth(150)
    qtbot.wait(50)
    assert box.shown().endswith("…")
    assert title.startswith(box.shown().rstrip("…").rstrip())
    assert dock._start._about_method.text().startswith(f"{title}. Video network")
    box.setFixedWidth(600)
    assert box.shown() == title


def test_every_control_has_a_tooltip(open_dock: Any) -> None:
    _, dock = open_dock(movie())
    sections = [section.toggleButton() for section in dock.findChildren(QCollapsible)]
    for button in dock.findChildren(QPushButton):
        assert button in sections or button.toolTip(), button.text()


def test_region_and_plane_in_view_are_found(make_napari_viewer: Any) -> None:
    viewer = make_napari_viewer()
    layer = viewer.add_image(np.zeros((3, 5, 32, 40)), axis_labels=("t", "z", "y", "x"), scale=(1, 2, 0.5, 0.5))
    stack = stack_from(layer)
    viewer.dims.set_current_step(0, 2)
    viewer.dims.set_current_step(1, 3)
    frame, region = place_in_view(layer, stack, viewer)
    assert (frame, region[0]) == (2, slice(3, 4))
    assert all(part.stop - part.start > 0 and part.start >= 0 for part in region)


def test_keypoints_judge_registrars_only(make_napari_viewer: Any) -> None:
    from napari_denoisereg.denoise.noise2void import Noise2Void
    from napari_denoisereg.register.denoisereg import DenoiseReg

    viewer = make_napari_viewer()
    stack = stack_from(viewer.add_layer(movie()))
    assert keypoints_in(viewer, DenoiseReg(), stack) is None
    places = np.array([[0, 3, 4], [1, 3, 5], [9, 1, 1]])
    viewer.add_layer(Points(places, features={"id": [1, 1, 1]}))
    found = keypoints_in(viewer, DenoiseReg(), stack)
    assert found is not None
    assert (found.frame.tolist(), found.position.tolist()) == ([0, 1], [[3, 4], [3, 5]])
    assert keypoints_in(viewer, Noise2Void(), stack) is None


def test_a_registrar_shows_frames_on_top_of_each_other_and_is_judged_by_keypoints(library: Library) -> None:
    from napari_denoisereg.evaluation.keypoints import Keypoints
    from napari_denoisereg.register.denoisereg import DenoiseReg

    stack = stack_from(movie())
    marks = Keypoints([0, 1, 2], [1, 1, 1], [[5.0, 5.0], [5.0, 6.0], [5.0, 7.0]])
    method = DenoiseReg(iterations=2, every=1, patch=16, batch=1, size=32)
    order = Order(method, (stack,), keypoints=marks)
    seen = []
    lesson = finish(train(order, InView((2, (slice(0, 32), slice(0, 40)))), library), seen.append)
    assert [panel.caption for panel in lesson.sight.panels] == ["Frame 0 + 2", "Aligned", "Denoised"]
    assert "score" in lesson.model.provenance
    assert any("score" in progress.figures for progress in seen)
