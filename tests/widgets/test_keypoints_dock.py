"""Journeys through the Keypoints dock in a real viewer, with real clicks, drags and keys."""

import gc
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Points
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtWidgets import (
    QAbstractButton,
    QApplication,
    QCheckBox,
    QComboBox,
    QFileDialog,
    QLabel,
    QPushButton,
    QSpinBox,
    QTableView,
    QToolButton,
    QWidget,
)
from superqt import QCollapsible

from napari_denoisereg.evaluation.keypoints import Keypoints, registration_error
from napari_denoisereg.geometry import Grid, PerFrame, Translation
from napari_denoisereg.io.keypoints import read_keypoints, write_keypoints
from napari_denoisereg.register import Registration
from napari_denoisereg.steps import finish
from napari_denoisereg.widgets import keypoint_autosave, report_pdf
from napari_denoisereg.widgets.denoise_register_job import load_engine
from napari_denoisereg.widgets.keypoint_marks import Marks
from napari_denoisereg.widgets.keypoints_dock import KeypointsDock
from napari_denoisereg.widgets.layers import METADATA_KEY

N_FRAMES, SIDE, STEP = 5, 64, 2.0
PLACE = {"scale": (1, 0.5, 0.5), "units": ("s", "um", "um"), "axis_labels": ("t", "y", "x")}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where marks are saved."""
    place = tmp_path / "saved"
    monkeypatch.setattr(keypoint_autosave, "default_folder", lambda: place)
    return place


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list:
    """Notifications that were shown."""
    shown: list = []
    monkeypatch.setattr(notification_manager, "dispatch", shown.append)
    return shown


@pytest.fixture
def open_dock(make_napari_viewer: Any, qtbot: Any, working_threads: Any) -> Iterator[Callable[..., Any]]:
    """Open the dock the way the menu does; at the end nothing may be left at work."""
    finish(load_engine())

    def opened(*layers: Any, show: bool = False) -> tuple[Any, KeypointsDock]:
        viewer = make_napari_viewer(show=show)
        for layer in layers:
            viewer.add_layer(layer)
        _, dock = viewer.window.add_plugin_dock_widget("napari-denoisereg", "Keypoints")
        qtbot.waitUntil(lambda: dock._start.isEnabled(), timeout=60_000)
        return viewer, dock

    yield opened
    qtbot.waitUntil(lambda: not working_threads(), timeout=5000)


def movie(n_frames: int = N_FRAMES, **changes: Any) -> Image:
    """Spots that move by STEP pixels a frame, down and to the right."""
    rng = np.random.default_rng(1)
    spots = rng.uniform(-10, SIDE, (60, 2))
    frames = []
    for frame in range(n_frames):
        down, across = (np.exp(-((np.arange(SIDE) - spots[:, [axis]] - STEP * frame) ** 2) / 4) for axis in (0, 1))
        frames.append(down.T @ across)
    return Image(**{"data": np.array(frames, np.float32), "name": "cells", **PLACE, **changes})


def registered(viewer: Any, miss: float = 0.5, n_frames: int = N_FRAMES) -> None:
    """Add what a registration adds: a layer that carries it. It misses by some pixels along y."""
    grid = Grid((SIDE, SIDE), (0.5, 0.5), units=("um", "um"))
    found = [Translation([0.5 * (STEP * t + (miss if t else 0)), 0.5 * STEP * t]) for t in range(n_frames)]
    layer = viewer.add_vectors(np.zeros((1, 2, 3)), name="cells [displacement]")
    layer.metadata = {METADATA_KEY: {"registration": Registration(PerFrame(found), grid), "recipe": {}}}


def tracked(n_ids: int = 4, n_frames: int = N_FRAMES) -> Points:
    first = np.random.default_rng(2).uniform(8, 48, (n_ids, 2))
    rows = np.vstack([np.column_stack([np.full(n_ids, t), first + STEP * t]) for t in range(n_frames)])
    return Points(rows, name="Keypoints", features={"id": np.tile(np.arange(n_ids), n_frames)}, **PLACE)


def button(dock: QWidget, text: str) -> QAbstractButton:
    return next(each for each in dock.findChildren(QPushButton) if each.text().startswith(text))


def press(qtbot: Any, dock: QWidget, text: str) -> None:
    each = button(dock, text)
    assert each.isEnabled(), f"{text} cannot be pressed"
    qtbot.mouseClick(each, Qt.MouseButton.LeftButton)


def start(qtbot: Any, dock: KeypointsDock) -> Any:
    press(qtbot, dock, "Start annotating")
    quiet(qtbot, dock)
    return dock._session


def quiet(qtbot: Any, dock: KeypointsDock) -> None:
    runners = (dock._runner, dock._searcher, dock._writer)
    qtbot.waitUntil(lambda: not any(runner.is_running for runner in runners), timeout=20_000)


def on_canvas(viewer: Any, dock: KeypointsDock, place: Any) -> tuple[QWidget, QPoint]:
    """The canvas and the pixel of it where a place (y, x) of the movie is drawn."""
    canvas = viewer.window._qt_viewer.canvas
    world = dock._session.movie.layer.data_to_world((dock._session.frame, *place))
    there = canvas.view.scene.transform.map([world[2], world[1], 0, 1])
    return canvas.native, QPoint(round(there[0] / there[3]), round(there[1] / there[3]))


class Mouse:
    """A mouse event as napari's canvas makes it."""

    def __init__(self, layer: Points, row: Any) -> None:
        self.position = tuple(layer.data_to_world(row))
        self.pos = np.array(row[-2:], float) * 10
        self.view_direction, self.up_direction, self.dims_displayed = None, None, [1, 2]
        self.button, self.modifiers, self.handled, self.type = 1, (), False, "mouse_press"


def drag(dock: KeypointsDock, row: int, *places: Any) -> None:
    """Drag a mark through places (y, x), by the layer's own mouse callback."""
    layer = dock._session.layer.points
    event = Mouse(layer, layer.data[row])
    (answer,) = [callback for callback in layer.mouse_drag_callbacks if callback.__name__ == "_on_mouse"]
    hand = answer(layer, event)
    next(hand)
    for place in places:
        moved = Mouse(layer, [layer.data[row][0], *place])
        event.position, event.pos, event.type = moved.position, moved.pos, "mouse_move"
        next(hand)
        assert event.handled
    event.type = "mouse_release"
    with pytest.raises(StopIteration):
        next(hand)


# ---------------------------------------------------------------------------------------------- marking
def test_a_landmark_is_followed_with_clicks_drags_and_keys(open_dock: Any, qtbot: Any) -> None:
    """The real canvas: click in frame 0, accept with the space bar, drag, click another place, step with arrows."""
    viewer, dock = open_dock(movie(), show=True)
    registered(viewer)
    session = start(qtbot, dock)
    assert session.book.ways is not None
    canvas, here = on_canvas(viewer, dock, (20, 30))
    qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=here)
    assert (session.frame, len(session.marks), len(session.proposed)) == (1, 1, 1)
    np.testing.assert_allclose(session.marks.points.position[0], (20, 30), atol=0.3)
    first = session.marks.points.position[0]
    np.testing.assert_allclose(session.proposed.marks.points.position[0], first + np.array([STEP + 0.5, STEP]))
    assert "keypoint 0" in dock._marking.advice.text()
    qtbot.keyClick(canvas, Qt.Key.Key_Space)
    assert (session.frame, len(session.marks)) == (2, 2)
    _, here = on_canvas(viewer, dock, session.proposed.marks.points.position[0])
    _, there = on_canvas(viewer, dock, (10, 12))
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=here)
    for part in (0.3, 0.6, 1.0):
        qtbot.mouseMove(canvas, here + (there - here) * part)
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=there)
    assert (session.frame, len(session.marks), len(session.proposed)) == (2, 3, 0)
    np.testing.assert_allclose(session.marks.points.position[2], (10, 12), atol=0.5)
    assert session.layer.points.mouse_pan
    qtbot.keyClick(canvas, Qt.Key.Key_Right)
    assert session.frame == 3
    _, here = on_canvas(viewer, dock, (40, 41))
    qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=here)
    assert (session.frame, len(session.marks)) == (4, 4)
    np.testing.assert_allclose(session.marks.points.position[3], (40, 41), atol=0.3)
    qtbot.keyClick(canvas, Qt.Key.Key_Left)
    assert session.frame == 3
    assert len(set(session.marks.points.id.tolist())) == 1
    assert len({tuple(colour) for colour in session.layer.points.border_color.tolist()}) == 1


def test_every_step_has_a_button(open_dock: Any, qtbot: Any) -> None:
    viewer, dock = open_dock(movie(), tracked())
    registered(viewer)
    dock._setup._begin.setCurrentIndex(0)
    session = start(qtbot, dock)
    session.click([0, 20, 30])
    press(qtbot, dock, "✔ Accept")
    assert (session.frame, len(session.marks)) == (2, 2)
    press(qtbot, dock, "◀ Back")
    press(qtbot, dock, "Next")
    press(qtbot, dock, "Next")
    assert (session.frame, len(session.marks)) == (3, 2)  # what is not accepted is no mark
    press(qtbot, dock, "✔ Accept")
    press(qtbot, dock, "✔ Accept")
    assert session.frame == 0
    assert "last frame" in dock._marking.advice.text()
    press(qtbot, dock, "Undo")
    assert len(session.marks) == 3
    press(qtbot, dock, "Redo")
    assert len(session.marks) == 4
    session.go(3)
    press(qtbot, dock, "|◀ First")
    assert session.frame == 0


def test_all_landmarks_of_a_frame_can_be_clicked_first(open_dock: Any, qtbot: Any) -> None:
    viewer, dock = open_dock(movie())
    registered(viewer)
    session = start(qtbot, dock)
    dock._marking.after_click.click()
    for place in ((10, 10), (20, 40), (40, 20)):
        session.click([0, *place])
    assert (session.frame, len(session.marks)) == (0, 3)
    session.accept()
    assert len(session.proposed) == 3
    assert "3 diamonds" in dock._marking.advice.text()
    session.click([1, 21, 41])
    assert (session.frame, len(session.proposed), len(session.marks)) == (1, 2, 4)
    session.accept()
    assert len(session.marks) == 6


def test_without_registration_the_landmark_is_looked_for_in_the_movie(open_dock: Any, qtbot: Any) -> None:
    _, dock = open_dock(movie())
    session = start(qtbot, dock)
    session.click([0, 30, 30])
    quiet(qtbot, dock)
    np.testing.assert_allclose(session.proposed.marks.points.position[0], (32, 32), atol=0.2)
    np.testing.assert_allclose(session.layer.points.data[-1][1:], (32, 32), atol=0.2)
    dock._marking.looks.click()
    session.accept()
    assert session.proposed.is_guess


def test_new_landmarks_begin_in_the_first_frame(open_dock: Any, qtbot: Any) -> None:
    _, dock = open_dock(movie())
    session = start(qtbot, dock)
    session.go(2)
    session.click([2, 30, 30])
    assert len(session.marks) == 0
    assert "begin in frame 0" in dock._marking.advice.text()


def test_napari_s_own_tools_work_too(open_dock: Any, qtbot: Any) -> None:
    viewer, dock = open_dock(movie(), tracked())
    session = start(qtbot, dock)
    layer = session.layer.points
    n = len(session.marks)
    layer.add([0, 11, 12])
    quiet(qtbot, dock)
    assert len(session.marks) == n + 1
    assert session.marks.points.position[n].tolist() == [11, 12]
    layer.remove([n])
    assert len(session.marks) == n
    layer.data = np.vstack([layer.data[:1] + np.array([0, 3, 0]), layer.data[1:]])
    np.testing.assert_allclose(session.marks.points.position[0], layer.data[0][1:])
    press(qtbot, dock, "Undo")
    assert session.layer.points.data[0][1] == pytest.approx(layer.data[0][1])
    assert viewer.layers["Keypoints"].data.shape == (4 * N_FRAMES, 3)


@pytest.mark.parametrize("n_moves", [0, 1, 7])
def test_a_mark_lies_where_a_quick_hand_lets_go(open_dock: Any, qtbot: Any, n_moves: int) -> None:
    """Moves that follow one another within some milliseconds are not told: letting go counts as well."""
    _, dock = open_dock(movie(), tracked())
    session = start(qtbot, dock)
    session.go(0)
    layer = session.layer.points
    event, goal = Mouse(layer, layer.data[0]), Mouse(layer, [0, 30, 31])
    hand = session.layer._on_mouse(layer, event)
    next(hand)
    first = event.position, event.pos
    for part in np.linspace(0, 0.6, n_moves):
        event.position, event.pos = (
            (1 - part) * np.array(a) + part * np.array(b) for a, b in zip(first, (goal.position, goal.pos), strict=True)
        )
        event.type = "mouse_move"
        next(hand)
    event.position, event.pos, event.type = goal.position, goal.pos, "mouse_release"
    with pytest.raises(StopIteration):
        next(hand)
    np.testing.assert_allclose(session.marks.points.position[0], (30, 31))
    assert dock._session.book.history.undoable == "move keypoint 0 in frame 0"


@pytest.mark.parametrize("key", ["Right", "Delete"])
def test_a_key_during_a_drag_moves_no_other_mark(open_dock: Any, qtbot: Any, key: str) -> None:
    _, dock = open_dock(movie(), tracked())
    session = start(qtbot, dock)
    session.go(0)
    layer, before = session.layer.points, session.marks.points.position.copy()
    event = Mouse(layer, layer.data[0])
    hand = session.layer._on_mouse(layer, event)
    next(hand)
    goal = Mouse(layer, [0, 30, 31])
    event.position, event.pos, event.type = goal.position, goal.pos, "mouse_move"
    next(hand)
    if key == "Right":
        session.step(1)
    else:
        layer.remove_selected()
    next(hand)
    event.type = "mouse_release"
    with pytest.raises(StopIteration):
        next(hand)
    np.testing.assert_array_equal(session.marks.points.position, before if key == "Right" else before[1:])
    np.testing.assert_array_equal(session.book.error.position, session.marks.points.position)
    np.testing.assert_array_equal(layer.data[: len(session.marks), 1:], session.marks.points.position)
    assert not session._is_dragging


def test_several_marks_moved_with_napari_s_select_tool_all_move(open_dock: Any, qtbot: Any) -> None:
    _, dock = open_dock(movie(), tracked())
    session = start(qtbot, dock)
    before = session.marks.points.position.copy()
    moved = session.layer.points.data.copy()
    moved[:3, 1:] += 2
    session.layer.points.data = moved
    np.testing.assert_allclose(session.marks.points.position[:3], before[:3] + 2)
    session.undo()
    np.testing.assert_array_equal(session.marks.points.position, before)


def test_the_fit_that_was_chosen_stays_when_layers_come(open_dock: Any, qtbot: Any) -> None:
    viewer, dock = open_dock(movie(), tracked())
    judged = dock._setup._judged
    judged.setCurrentIndex(judged.findData("thin-plate"))
    session = start(qtbot, dock)
    assert (judged.currentData(), session.book.fit) == ("thin-plate", "thin-plate")
    viewer.add_points(np.zeros((1, 3)))
    assert (judged.currentData(), session.book.fit) == ("thin-plate", "thin-plate")


def test_a_report_is_written_while_the_registration_changes(
    open_dock: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, dock = open_dock(movie(), tracked())
    start(qtbot, dock)
    target = tmp_path / "report.html"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(target), ""))
    press(qtbot, dock, "Report…")
    registered(viewer)
    dock._setup._judged.setCurrentIndex(0)
    viewer.add_points(np.zeros((1, 3)))
    dock._setup._judged.setCurrentIndex(1)
    quiet(qtbot, dock)
    assert target.is_file()


# ---------------------------------------------------------------------------------------------- live errors
def full(session: Any) -> Any:
    points = session.marks.points.where(session.marks.included)
    return registration_error(points, None if session.book.ways is None else session.book.ways.back)


def cells(dock: KeypointsDock, line: int) -> list[str]:
    model = dock._errors.table.lines
    return [model.data(model.index(line, column)) for column in range(model.columnCount())]


def test_table_plot_arrows_and_words_follow_a_drag(open_dock: Any, qtbot: Any) -> None:
    viewer, dock = open_dock(movie(), tracked())
    registered(viewer)
    session = start(qtbot, dock)
    session.go(3)
    assert [cells(dock, line)[4] for line in range(4)] == ["0.50"] * 4
    row = int(session.rows_in_view()[1])
    seen = []
    dock._errors.table.lines.dataChanged.connect(lambda *_: seen.append((cells(dock, 1)[4], dock._errors.summary.text())))
    before = session.layer.arrows.data.copy()
    place = session.marks.points.position[row]
    drag(dock, row, place + np.array([2, 0]), place + np.array([4, 0]))
    assert [after for after, _ in seen[:2]] == ["1.50", "3.50"]
    assert len({words for _, words in seen[:2]}) == 2
    assert np.abs(session.layer.arrows.data - before).max() == pytest.approx(4)
    lengths = np.linalg.norm(session.layer.arrows.data[:, 1, 1:], axis=1)
    np.testing.assert_allclose(lengths, full(session).where(full(session).frame == 3).after)
    x, y = dock._errors.plot._lines["after", "mean"].getData()
    np.testing.assert_allclose(y[x == 3], (3 * 0.5 + 3.5) / 4)
    session.go(0)
    drag(dock, 1, session.marks.points.position[1] + np.array([0, 3]))
    x, y = dock._errors.plot._lines["before", "mean"].getData()
    np.testing.assert_allclose(y, [row["before_mean"] for row in full(session).table("frame")])
    for line in range(4):
        assert cells(dock, line)[3] == "–"  # the first frame has no error


def test_many_labels_step_aside_during_a_drag(open_dock: Any, qtbot: Any) -> None:
    _, dock = open_dock(movie(), tracked(40))
    session = start(qtbot, dock)
    session.go(2)
    text, seen = session.layer.points.text, []
    session.moved.connect(lambda _: seen.append(text.visible))

    def move_one() -> None:
        row = int(session.rows_in_view()[0])
        drag(dock, row, *(session.marks.points.position[row] + np.array([[2, 0], [4, 0]])))

    for wanted in (True, False):  # what the user has chosen comes back
        text.visible = wanted
        move_one()
        assert text.visible == wanted
    session.book.remove(np.flatnonzero(session.marks.points.id >= 20))
    text.visible = True
    move_one()
    assert seen == [False] * 6 + [True] * 3


def test_following_a_drag_takes_less_than_a_screen_refresh(open_dock: Any, qtbot: Any) -> None:
    """100 keypoints in 100 frames: errors, table, plot, arrows and point; what others do on this machine does not count."""
    viewer, dock = open_dock(movie(100), tracked(100, 100))
    registered(viewer, n_frames=100)
    session = start(qtbot, dock)
    taken = {}
    for name, frame in (("a frame", 50), ("the fixed frame", 0)):
        session.go(frame)
        row = int(session.rows_in_view()[3])
        place = np.array(session.layer.points.data[row])
        times = []
        for number in range(25):
            begin = time.thread_time()
            session.drag(row, place + np.array([0, 0.1 * number, 0]))
            times.append(time.thread_time() - begin)
        session.drop(row)
        taken[name] = 1000 * statistics.median(times)
    assert max(taken.values()) < 16, taken


def test_views_of_plot_and_table(open_dock: Any, qtbot: Any) -> None:
    viewer, dock = open_dock(movie(), tracked())
    registered(viewer)
    session = start(qtbot, dock)
    errors = dock._errors
    for place, n_lines in ((0, 4), (1, 4), (2, 4 * N_FRAMES)):
        errors.scope.setCurrentIndex(place)
        assert errors.table.lines.rowCount() == n_lines
        for column in range(6):
            errors.table.sortByColumn(column, Qt.SortOrder.DescendingOrder)
    for place, n_curves in ((0, 4), (1, 4), (2, 2)):
        errors.view.setCurrentIndex(place)
        assert len(errors.plot._lines) == n_curves
    errors.scope.setCurrentIndex(1)
    np.testing.assert_allclose(errors.table.lines.figures(0)[1], 0.5)
    errors.plot.frame_chosen.emit(2)
    assert session.frame == 2
    press(qtbot, dock, "Go to worst")
    assert session.frame == session.marks.points.frame[session.book.worst()]


def test_excluded_marks_do_not_count_until_they_are_included(open_dock: Any, qtbot: Any) -> None:
    viewer, dock = open_dock(movie(), tracked())
    registered(viewer)
    session = start(qtbot, dock)
    session.go(2)
    row = int(session.rows_in_view()[0])
    session.book.push(session.marks.moved([row], [[60, 5]]), "spoil")
    press(qtbot, dock, "Go to worst")
    assert dock._errors.table.selected_rows() == [row]
    spoilt = session.book.error.overall("after")
    press(qtbot, dock, "Exclude")
    assert session.book.error.overall("after") < spoilt / 2
    np.testing.assert_allclose(session.book.error.overall("after"), full(session).table()[0]["after_mean"])
    assert str(session.layer.points.symbol[row]) == "x"
    session.layer.select([row])
    session.toggle_selected()
    assert session.marks.included.all()
    press(qtbot, dock, "Undo")
    assert not session.marks.included[row]


def test_a_fit_to_the_points_is_judged_without_them_and_says_so(open_dock: Any, qtbot: Any) -> None:
    _, dock = open_dock(movie(), tracked(8))
    session = start(qtbot, dock)
    dock._setup._judged.setCurrentIndex(dock._setup._judged.findData("thin-plate"))
    assert dock._errors.warning.isVisibleTo(dock)
    assert "not its accuracy" in dock._errors.warning.text()
    np.testing.assert_allclose(session.book.error.overall("after"), 0, atol=1e-6)  # a shift: any fit follows it
    dock._errors.scope.setCurrentIndex(1)
    dock._errors.table.selectRow(0)
    press(qtbot, dock, "Hold out")
    assert session.marks.check.sum() == N_FRAMES
    assert "1 check points" in dock._errors.warning.text()
    dock._setup._judged.setCurrentIndex(0)
    assert not dock._errors.warning.isVisibleTo(dock)


# ---------------------------------------------------------------------------------------------- people, outlines
def test_two_annotators_have_marks_of_their_own_and_their_distance_is_told(open_dock: Any, qtbot: Any) -> None:
    viewer, dock = open_dock(movie())
    registered(viewer)
    session = start(qtbot, dock)
    for name, offset in (("Anna", 0), ("Ben", 1)):
        dock._setup._who.setCurrentText(name)
        session.go(0)
        session.click([0, 20, 30 + offset])
        session.accept()
    points = session.marks.points
    assert points.annotators == ("Anna", "Ben")
    assert set(points.id.tolist()) == {0}
    assert "Anna – Ben: 1.00 px apart" in dock._errors.agreement.text()
    dock._setup._only_own.click()
    assert session.layer.points.shown.tolist() == (points.annotator == "Ben").tolist() + [True] * len(session.proposed)


def test_points_are_marked_along_an_outline(open_dock: Any, qtbot: Any, told: list) -> None:
    viewer, dock = open_dock(movie())
    registered(viewer)
    session = start(qtbot, dock)
    button(dock, "Mark along").click()
    assert "Draw outline" in told[-1].message
    for frame in (0, 2):
        session.go(frame)
        button(dock, "Draw outline").click()
        outline = viewer.layers["cells [outline]"]
        assert outline.mode == "add_polygon"
        corners = np.array([[10, 10], [10, 40], [40, 40], [40, 10]]) + STEP * frame
        outline.add_polygons(np.column_stack([np.full(4, frame), np.roll(corners, frame, axis=0)]))
        dock._marking.n_points.setValue(8)
        button(dock, "Mark along").click()
        assert "cells [outline]" not in viewer.layers
        assert viewer.layers.selection.active is session.layer.points
    points = session.marks.points
    assert (len(points), set(points.kind.tolist())) == (16, {"contour"})
    np.testing.assert_allclose(points.in_frame(2).position, points.in_frame(0).position + 2 * STEP, atol=0.6)


# ---------------------------------------------------------------------------------------------- files
def test_files_go_out_and_come_in(
    open_dock: Any, qtbot: Any, told: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, dock = open_dock(movie(), tracked())
    registered(viewer)
    session = start(qtbot, dock)
    target = tmp_path / "points.csv"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(target), ""))
    press(qtbot, dock, "Export…")
    assert len(read_keypoints(target)) == 4 * N_FRAMES
    theirs = Keypoints([0, 1], [0, 0], [[5, 5], [6, 6]], "Cem")
    write_keypoints(theirs, tmp_path / "theirs.csv")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, **__: (str(tmp_path / "theirs.csv"), ""))
    press(qtbot, dock, "Import…")
    assert "Cem" in session.marks.points.annotators
    (tmp_path / "theirs.csv").write_text("frame,id,y,x\n99,0,1,1\n")
    n = len(session.marks)
    press(qtbot, dock, "Import…")
    assert "frames 0 to 4" in told[-1].message
    assert len(session.marks) == n
    for name, begin in (("report.html", b"<!DOCTYPE html>"), ("report.pdf", b"%PDF")):
        target = tmp_path / name
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, to=target, **__: (str(to), ""))
        press(qtbot, dock, "Report…")
        qtbot.waitUntil(target.is_file, timeout=10_000)
        assert target.read_bytes().startswith(begin)
    assert target.stat().st_size > 20_000  # the charts are in it
    assert b"Methods paragraph" in (tmp_path / "report.html").read_bytes()
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(tmp_path / "none" / "x.csv"), ""))
    press(qtbot, dock, "Export…")
    assert "does not exist" in told[-1].message


def test_the_plot_follows_the_theme(open_dock: Any, qtbot: Any) -> None:
    viewer, dock = open_dock(movie(), tracked(), show=True)
    registered(viewer)
    start(qtbot, dock)
    seen = []
    for theme in ("light", "dark", "light"):
        viewer.theme = theme
        qtbot.wait(200)
        corners = [each.grab().toImage().pixelColor(1, 1).lightness() for each in (dock._errors.plot, dock._errors)]
        assert corners[0] == pytest.approx(corners[1], abs=3)
        seen.append({label.item.toHtml().split("color:")[1][:7] for _, label in dock._errors.plot._legend.items})
    assert seen[0] == seen[2] != seen[1]
    assert len(seen[0]) == 1


def test_a_pdf_is_drawn_while_annotating_ends_and_the_viewer_closes(
    open_dock: Any, qtbot: Any, told: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Qt's text engine keeps timers: drawn in another thread, it took the program down when they ended there."""
    viewer, dock = open_dock(movie(), tracked())
    registered(viewer)
    start(qtbot, dock)
    threads: list[str] = []
    drawn = report_pdf.QTextDocument

    def watched() -> Any:
        threads.append(threading.current_thread().name)
        return drawn()

    monkeypatch.setattr(report_pdf, "QTextDocument", watched)
    first, second = tmp_path / "first.pdf", tmp_path / "second.pdf"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(first), ""))
    press(qtbot, dock, "Report…")
    qtbot.waitUntil(first.is_file, timeout=10_000)
    assert "Written" in told[-1].message
    assert set(threads) == {threading.main_thread().name}
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(second), ""))
    press(qtbot, dock, "Report…")
    qtbot.waitUntil(lambda: dock._pages.is_running, timeout=10_000)
    press(qtbot, dock, "Finish annotating")
    gc.collect()
    qtbot.waitUntil(second.is_file, timeout=10_000)
    second.unlink()
    start(qtbot, dock)
    press(qtbot, dock, "Report…")
    qtbot.waitUntil(lambda: dock._pages.is_running, timeout=10_000)
    viewer.close()
    qtbot.waitUntil(lambda: not dock._pages.is_running, timeout=1000)
    assert [each.name for each in tmp_path.glob("*.pdf*")] == ["first.pdf"]


def test_marks_of_a_lost_session_are_offered_and_restored(open_dock: Any, qtbot: Any, folder: Path) -> None:
    viewer, dock = open_dock(movie(), tracked())
    session = start(qtbot, dock)
    session.book.include([2], False)
    viewer.window.remove_dock_widget(dock)
    viewer.layers.clear()
    viewer.add_layer(movie())
    _, again = viewer.window.add_plugin_dock_widget("napari-denoisereg", "Keypoints")
    assert again is not dock
    qtbot.waitUntil(lambda: again._offer.isVisibleTo(again), timeout=20_000)
    press(qtbot, again, "Restore")
    quiet(qtbot, again)
    assert again._session.marks.to_dict() == session.marks.to_dict()
    assert len(list(folder.iterdir())) >= 1


# ---------------------------------------------------------------------------------------------- manners
def test_finishing_leaves_the_marks_and_going_on_takes_them_up(open_dock: Any, qtbot: Any) -> None:
    viewer, dock = open_dock(movie(), tracked())
    session = start(qtbot, dock)
    assert not viewer.layers["Keypoints"].visible
    session.book.include([3], False)
    press(qtbot, dock, "Finish")
    assert [layer.name for layer in viewer.layers] == ["cells", "Keypoints", "cells [keypoints]"]
    kept = viewer.layers["cells [keypoints]"]
    np.testing.assert_array_equal(kept.scale, viewer.layers["cells"].scale)
    assert (kept.units, kept.axis_labels) == (viewer.layers["cells"].units, viewer.layers["cells"].axis_labels)
    assert {"id", "annotator", "kind", "included"} <= set(kept.features)
    again = start(qtbot, dock)
    assert again.marks.to_dict() == session.marks.to_dict()
    assert [layer.name for layer in viewer.layers] == ["cells", "Keypoints", "cells [keypoint error]", "cells [keypoints]"]


@pytest.mark.parametrize("lost", ["cells", "cells [keypoints]", "cells [keypoint error]"])
def test_layers_that_the_user_removes(open_dock: Any, qtbot: Any, lost: str) -> None:
    viewer, dock = open_dock(movie(), tracked())
    session = start(qtbot, dock)
    viewer.layers.remove(lost)
    if lost == "cells [keypoint error]":  # arrows are not wanted: fine
        session.go(2)
        assert dock._session is session
        return
    assert dock._session is None
    assert "cells [keypoint error]" not in viewer.layers
    assert session.book.marks is not None


def test_closing_leaves_no_listener_and_no_timer(open_dock: Any, qtbot: Any) -> None:
    viewer, dock = open_dock(movie(), tracked())
    events = viewer.dims.events.current_step, viewer.layers.events.removed, viewer.layers.events.inserted
    session = start(qtbot, dock)
    points = session.layer.points
    dock.close_down()
    ours = [str(callback) for event in events for callback in event.callbacks if "eypoint" in str(callback)]
    assert ours == []
    assert points.keymap == {}
    assert [callback for callback in points.mouse_drag_callbacks if "Keypoint" in str(callback)] == []
    assert not [timer for timer in dock.findChildren(QTimer) if timer.isActive()]
    assert not [thread for thread in threading.enumerate() if "autosave" in thread.name]
    viewer.dims.set_current_step(0, 3)
    gc.collect()


def test_everything_tells_what_it_does_and_can_be_reached_by_key(open_dock: Any, qtbot: Any) -> None:
    _, dock = open_dock(movie(), tracked())
    start(qtbot, dock)
    own = (QComboBox, QCheckBox, QSpinBox, QTableView, QToolButton)
    for widget in [*dock.findChildren(QPushButton), *(each for kind in own for each in dock.findChildren(kind))]:
        is_title = isinstance(widget.parent(), QCollapsible)  # of a section: it says what it is
        is_part = isinstance(widget.parent(), QComboBox | QSpinBox)
        assert widget.toolTip() or is_title or is_part, f"{type(widget).__name__} {widget.text()}"
    for each in dock.findChildren(QPushButton):
        if each.toolTip():
            assert each.focusPolicy() & Qt.FocusPolicy.TabFocus
    assert dock.minimumSizeHint().width() <= 340
    assert all(label.wordWrap() or len(label.text()) < 30 for label in dock.findChildren(QLabel))


def test_a_volume_movie_is_marked_in_its_planes(open_dock: Any, qtbot: Any) -> None:
    data = np.random.default_rng(0).normal(0, 1, (3, 4, 32, 32)).astype(np.float32)
    _, dock = open_dock(Image(data, name="cells", axis_labels=("t", "z", "y", "x")))
    session = start(qtbot, dock)
    session.click([0, 2, 10, 12])
    quiet(qtbot, dock)
    session.accept()
    assert session.marks.points.n_axes == 3
    assert session.marks.points.position[0].tolist() == [2, 10, 12]
    assert not dock._marking.outline.isVisibleTo(dock)
    assert isinstance(session.marks, Marks)
    QApplication.processEvents()
