"""Journeys through the Inspect dock in a real viewer, with real clicks and keys."""

from collections.abc import Callable, Iterator
from typing import Any

import dask.array as da
import numpy as np
import pytest
import torch
from napari.layers import Image, Layer, Points, Vectors
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtWidgets import QCheckBox, QComboBox, QPushButton, QWidget

from napari_denoisereg.geometry import Affine, Displacement, Identity, PerFrame
from napari_denoisereg.pipeline import presets
from napari_denoisereg.register import Registration
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish
from napari_denoisereg.widgets.arrows import arrows_of
from napari_denoisereg.widgets.inspect_dock import InspectDock
from napari_denoisereg.widgets.layers import METADATA_KEY, Look, arrow_layer_data, detect_axes, image_layer_data, stack_from

T, SIDE = 6, 48
"""Frames, and pixels along y and x, of the movies here."""


def movie(axes: str = "tyx", *, lazy: bool = False, **settings: Any) -> Image:
    """Blobs that drift by (1, 2) pixels a frame, on noise."""
    random = np.random.default_rng(3)
    y, x = np.mgrid[:SIDE, :SIDE]
    centres = random.uniform(10, SIDE - 20, (8, 2))

    def plane(t: int) -> np.ndarray:
        return sum(np.exp(-((y - cy - t) ** 2 + (x - cx - 2 * t) ** 2) / 12) for cy, cx in centres)

    sizes = {"t": T, "c": 2, "z": 4 if "t" in axes else T, "y": SIDE, "x": SIDE}
    frames = "t" if "t" in axes else "z"
    data = np.zeros([sizes[axis] for axis in axes], np.float32)
    moved = np.moveaxis(data, axes.index(frames), 0)
    for t in range(T):
        moved[t] = 100 * plane(t)
    data += random.normal(20, 8, data.shape).astype(np.float32)
    steps = {"t": 2.0, "c": 1.0, "z": 1.0, "y": 0.5, "x": 0.5}
    place = {
        "scale": [steps[axis] for axis in axes],
        "units": ["second" if axis == "t" else "pixel" if axis == "c" else "micrometer" for axis in axes],
        "axis_labels": tuple(axes),
        "rotate": 20.0 if len(axes) == 3 else None,
    }
    chunks = tuple(1 if axis in "tc" else n for axis, n in zip(axes, data.shape, strict=True))
    return Image(da.from_array(data, chunks=chunks) if lazy else data, name="cells", **place, **settings)


def registered(stack: Stack, *, flagged: tuple[int, ...] = (3,)) -> Registration:
    grid = stack.grid
    eye = torch.eye(grid.ndim, dtype=torch.float64)
    shifts = [torch.tensor([0.0, 0.5 * t, 1.0 * t][-grid.ndim :], dtype=torch.float64) for t in range(stack.n_frames)]
    found = [Identity(grid.ndim), *(Affine.about(eye, shift, grid.centre) for shift in shifts[1:])]
    quality = {"before": np.linspace(1, 0.2, stack.n_frames), "after": np.linspace(1, 0.9, stack.n_frames)}
    return Registration(PerFrame(found), grid, quality, flagged)


def results_for(source: Image, axes: str, *, keypoints: bool = False) -> list[Layer]:
    """Layers as a run of *Denoise and register* leaves them."""
    stack, look, recipe = stack_from(source, axes), Look.of(source, axes), presets()["fast"]
    registration = registered(stack)
    denoised = stack.with_data(stack.map_frames(lambda _, frame: (0.9 * frame).astype("f4")))
    made = [
        image_layer_data(denoised, look, "denoised", recipe),
        image_layer_data(registration.warp(stack), look, "aligned", recipe),
        arrow_layer_data(finish(arrows_of(registration)), look, recipe, registration=registration),
    ]
    layers = [Layer.create(*each) for each in made]
    if keypoints:
        marks = np.array([[t, 10 + t, 12 + 2 * t] for t in range(T)], float)
        layers.append(Points(marks, name="marks", features={"id": np.zeros(T, int)}, **look.place))
    return layers


@pytest.fixture
def open_dock(make_napari_viewer: Any, qtbot: Any, working_threads: Any) -> Iterator[Callable[..., Any]]:
    """Open the dock the way the menu does; at the end nothing may be left at work."""

    def opened(*layers: Layer, show: bool = False) -> tuple[Any, InspectDock]:
        viewer = make_napari_viewer(show=show)
        for layer in layers:
            viewer.add_layer(layer)
        viewer.dims.set_current_step(0, 0)
        _, dock = viewer.window.add_plugin_dock_widget("napari-denoisereg", "Inspect")
        qtbot.waitUntil(lambda: dock._is_ready and not busy(dock), timeout=60_000)
        return viewer, dock

    yield opened
    qtbot.waitUntil(lambda: not working_threads(), timeout=5000)


@pytest.fixture
def ready(open_dock: Callable[..., Any]) -> Callable[..., Any]:
    """Open the dock on a movie and its results."""

    def opened(
        axes: str = "tyx", *, keypoints: bool = False, lazy: bool = False, show: bool = False
    ) -> tuple[Any, InspectDock]:
        source = movie(axes, lazy=lazy)
        return open_dock(source, *results_for(source, axes, keypoints=keypoints), show=show)

    return opened


def busy(dock: InspectDock) -> bool:
    every = [view._background for view in dock.views] + [dock.views[3]._reading, dock._background]
    return any(background.is_busy for background in every)


def click(qtbot: Any, widget: QWidget) -> None:
    if isinstance(widget, QCheckBox):
        qtbot.mouseClick(widget, Qt.MouseButton.LeftButton, pos=QPoint(8, widget.height() // 2))
    else:
        qtbot.mouseClick(widget, Qt.MouseButton.LeftButton)


def press(qtbot: Any, parent: QWidget, text: str) -> None:
    boxes = [each for kind in (QPushButton, QCheckBox) for each in parent.findChildren(kind)]
    click(qtbot, next(each for each in boxes if each.text() == text))


def toggle(qtbot: Any, dock: InspectDock, title: str) -> Any:
    """Click on a section's title; return its view."""
    view, section = next((v, s) for v, s in zip(dock.views, dock.sections, strict=True) if v.title == title)
    click(qtbot, section.toggleButton())
    qtbot.waitUntil(lambda: not busy(dock), timeout=10_000)
    return view


def settle(qtbot: Any, dock: InspectDock) -> None:
    qtbot.waitUntil(lambda: not busy(dock), timeout=10_000)


def choose(qtbot: Any, dock: InspectDock, box: QComboBox, text: str) -> None:
    """Choose with the keyboard."""
    box.setFocus()
    for _ in range(box.count()):
        qtbot.keyClick(box, Qt.Key.Key_Up)
    while box.currentText() != text:
        before = box.currentIndex()
        qtbot.keyClick(box, Qt.Key.Key_Down)
        assert box.currentIndex() == before + 1, f"{text!r} is not offered"
    settle(qtbot, dock)


def names(viewer: Any) -> list[str]:
    return [layer.name for layer in viewer.layers]


def state(viewer: Any) -> list[tuple[Any, ...]]:
    """What must be as it was when a view is switched off."""
    return [(layer.name, layer.visible, id(layer.data), layer.scale.tolist()) for layer in viewer.layers]


# ------------------------------------------------------------------------------------------ did it help
def test_results_are_found_and_shown(ready: Any, qtbot: Any) -> None:
    viewer, dock = ready(keypoints=True)
    assert "Found: denoised, aligned, displacement, keypoints" in dock._words.text()
    view = dock.views[0]
    assert dock.sections[0].isExpanded()
    assert "Keypoint error (µm)" in view._words.text()
    assert "Better in 5 of 5 frames" in view._words.text()
    choose(qtbot, dock, view._measure, "Likeness of frames")
    assert "0.52 before, 0.94 after" in view._words.text()
    assert "Look at frame 3." in view._words.text()
    assert len(names(viewer)) == 5


def test_plot_list_and_button_go_to_frames(ready: Any, qtbot: Any) -> None:
    viewer, dock = ready(show=True)
    view = dock.views[0]
    press(qtbot, view, "Next frame to look at")
    assert viewer.dims.current_step[0] == 3
    table = view._table
    assert table.currentIndex().row() == 3
    click_row(qtbot, table, 4)
    assert viewer.dims.current_step[0] == 4
    qtbot.keyClick(table, Qt.Key.Key_Down)
    assert viewer.dims.current_step[0] == 5
    qtbot.wait(100)  # for the plot to be laid out
    box = view._plot.getPlotItem().vb
    place = view._plot.mapFromScene(box.mapViewToScene(box.viewRect().center()))
    qtbot.mouseClick(view._plot.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert viewer.dims.current_step[0] in (2, 3)
    viewer.dims.set_current_step(0, 1)
    assert table.currentIndex().row() == 1


def click_row(qtbot: Any, table: Any, row: int) -> None:
    index = table.model().index(row, 1)
    table.scrollTo(index)
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=table.visualRect(index).center())


def test_list_sorts_by_gain_and_still_goes_to_the_right_frame(ready: Any, qtbot: Any) -> None:
    viewer, dock = ready(show=True)
    table = dock.views[0]._table
    table.sortByColumn(3, Qt.SortOrder.DescendingOrder)
    click_row(qtbot, table, 0)
    assert viewer.dims.current_step[0] == 5  # gained most


def test_noise_is_a_measure_where_nothing_was_registered(open_dock: Any, qtbot: Any) -> None:
    source = movie()
    denoised = results_for(source, "tyx")[0]
    _, dock = open_dock(source, denoised)
    assert "Noise (grey values)" in dock.views[0]._words.text()
    assert "Better in 6 of 6" in dock.views[0]._words.text()


def test_likeness_is_measured_where_the_registration_does_not_know_it(open_dock: Any, qtbot: Any) -> None:
    source = movie()
    layers = results_for(source, "tyx")
    record = layers[2].metadata[METADATA_KEY]
    kept = record["registration"]
    record["registration"] = Registration(kept.transforms, kept.grid)
    _, dock = open_dock(source, *layers)
    figures = dock.views[0]._figures
    assert figures.after[1:].mean() > figures.before[1:].mean() + 0.1


def test_nothing_to_inspect_is_said(open_dock: Any, qtbot: Any) -> None:
    viewer, dock = open_dock()
    assert "Open Sample" in dock._words.text()
    viewer.add_layer(movie())
    assert "No results yet" in dock._words.text()
    view = toggle(qtbot, dock, "Did it help?")
    assert "run Denoise and register" in view._words.text()
    assert not view._plot.isVisibleTo(view)
    view = toggle(qtbot, dock, "Deformation")
    assert "needs a registration" in view._words.text()


# ------------------------------------------------------------------------------------------ compare
def test_overlay_shows_the_frame_in_view_and_goes_without_a_trace(ready: Any, qtbot: Any) -> None:
    viewer, dock = ready()
    viewer.layers["cells [denoised]"].visible = False
    before = state(viewer)
    view = toggle(qtbot, dock, "Compare pictures")
    assert not dock.sections[0].isExpanded()
    green, magenta = viewer.layers[-2:]
    assert (green.colormap.name, magenta.colormap.name) == ("green", "magenta")
    assert not viewer.layers["cells"].visible
    source = viewer.layers["cells"]
    np.testing.assert_allclose(green.data_to_world((0, 7, 9)), source.data_to_world((0, 7, 9)))
    assert green.data.shape == source.data.shape
    viewer.dims.set_current_step(0, 4)
    settle(qtbot, dock)
    assert "frame 4" in magenta.name
    inner = (slice(8, 30), slice(8, 30))
    aligned = np.corrcoef(green.data[4][inner].ravel(), magenta.data[4][inner].ravel())[0, 1]
    choose(qtbot, dock, view._which, "Recorded: with first frame")
    recorded = np.corrcoef(green.data[4][inner].ravel(), magenta.data[4][inner].ravel())[0, 1]
    assert aligned > recorded + 0.1
    toggle(qtbot, dock, "Compare pictures")
    assert state(viewer) == before


def test_checkerboard_follows_its_tile_size(ready: Any, qtbot: Any) -> None:
    viewer, dock = ready()
    view = toggle(qtbot, dock, "Compare pictures")
    choose(qtbot, dock, view._which, "Noisy and denoised")
    choose(qtbot, dock, view._mode, "Checkerboard")
    assert view._tile.isVisibleTo(view)
    assert not view._divider.isVisibleTo(view)
    first, second = view._pair.first, view._pair.second
    view._tile.setFocus()
    view._tile.selectAll()
    qtbot.keyClicks(view._tile, "10")
    board = viewer.layers[-1].data[0]
    np.testing.assert_array_equal(board[:10, :10], first[:10, :10])
    np.testing.assert_array_equal(board[:10, 10:20], second[:10, 10:20])


def test_divider_is_dragged_in_the_picture_or_moved_by_keys(ready: Any, qtbot: Any) -> None:
    viewer, dock = ready()
    view = toggle(qtbot, dock, "Compare pictures")
    choose(qtbot, dock, view._mode, "Swipe (divider)")
    left, right = viewer.layers[-2:]
    assert viewer.layers.selection.active is right
    assert right.data.shape[-1] == SIDE // 2
    np.testing.assert_allclose(right.data_to_world((0, 0, 0)), left.data_to_world((0, 0, SIDE // 2)))
    drag = view._on_drag(right, Mouse(viewer.layers["cells"].data_to_world((0, 5, 11.5)), "mouse_press"))
    next(drag)
    assert right.data.shape[-1] == SIDE - 12
    view._divider.setFocus()
    qtbot.keyClick(view._divider, Qt.Key.Key_Home)
    assert right.data.shape[-1] == SIDE
    np.testing.assert_allclose(right.data_to_world((0, 0, 0)), left.data_to_world((0, 0, 0)))


class Mouse:
    """What napari tells a drag callback."""

    def __init__(self, position: Any, kind: str) -> None:
        self.position, self.type = position, kind


def test_flicker_blinks_slowly_and_surely_stops(ready: Any, qtbot: Any) -> None:
    viewer, dock = ready(show=True)
    view = toggle(qtbot, dock, "Compare pictures")
    choose(qtbot, dock, view._mode, "Flicker")
    assert view._timer.isActive()
    assert view._timer.interval() >= 333
    top = viewer.layers[-1]
    seen = top.visible
    qtbot.waitUntil(lambda: top.visible != seen, timeout=2000)
    choose(qtbot, dock, view._mode, "Checkerboard")
    assert not view._timer.isActive()
    choose(qtbot, dock, view._mode, "Flicker")
    dock.hide()
    assert not view._timer.isActive()
    dock.show()
    assert view._timer.isActive()
    toggle(qtbot, dock, "Compare pictures")
    assert not view._timer.isActive()


def test_user_may_take_a_layer_away_or_show_a_hidden_one(ready: Any, qtbot: Any) -> None:
    viewer, dock = ready()
    toggle(qtbot, dock, "Compare pictures")
    viewer.layers["cells"].visible = True
    viewer.layers["cells"].visible = False
    viewer.layers.remove(viewer.layers[-1])
    assert not dock.sections[1].isExpanded()
    assert names(viewer) == ["cells", "cells [denoised]", "cells [aligned]", "cells [displacement]"]
    assert not viewer.layers["cells"].visible  # the user's last word
    assert viewer.layers["cells [aligned]"].visible


def test_only_frames_in_view_are_read(open_dock: Any, qtbot: Any) -> None:
    read = []

    def load(block_info: Any = None) -> np.ndarray:
        read.append(block_info[None]["chunk-location"][0])
        return np.random.default_rng(len(read)).normal(size=(1, 32, 32)).astype("f4")

    data = da.map_blocks(load, dtype="f4", chunks=((1,) * 500, (32,), (32,)), meta=np.zeros((0, 0, 0), "f4"))
    viewer, dock = open_dock(Image(data, name="long", contrast_limits=(-3, 3)))
    viewer.dims.set_current_step(0, 100)
    read.clear()
    toggle(qtbot, dock, "Compare pictures")
    viewer.dims.set_current_step(0, 200)
    settle(qtbot, dock)
    assert set(read) <= {0, 99, 100, 200}


# ------------------------------------------------------------------------------------------ deformation
def test_deformation_in_four_pictures(ready: Any, qtbot: Any) -> None:
    viewer, dock = ready()
    viewer.dims.set_current_step(0, 4)
    before = state(viewer)
    view = toggle(qtbot, dock, "Deformation")
    assert "Frame 4: moved by 4.47 µm on average" in view._words.text()
    arrows = viewer.layers["Displacement arrows"]
    np.testing.assert_allclose(arrows.data[:, 1], np.broadcast_to([0, 4, 8], (len(arrows.data), 3)), atol=1e-4)
    assert set(arrows.data[:, 0, 0]) == {4}
    for text in ("Arrows", "Deformed grid", "Size of the displacement", "Stretch and folds"):
        press(qtbot, view, text)
        settle(qtbot, dock)
    assert names(viewer)[4:] == ["Deformed grid", "Size of the displacement (µm)", "Stretch and folds"]
    assert isinstance(viewer.layers["Deformed grid"], Vectors)
    np.testing.assert_allclose(viewer.layers["Size of the displacement (µm)"].data[0], 20**0.5, rtol=1e-5)
    np.testing.assert_allclose(viewer.layers["Stretch and folds"].data[0], 1, atol=1e-5)
    viewer.dims.set_current_step(0, 2)
    settle(qtbot, dock)
    np.testing.assert_allclose(viewer.layers["Size of the displacement (µm)"].data[0], 5**0.5, rtol=1e-5)
    assert set(viewer.layers["Deformed grid"].data[:, 0, 0]) == {2}
    toggle(qtbot, dock, "Deformation")
    viewer.dims.set_current_step(0, 4)
    assert state(viewer) == before


def test_flow_of_the_denoised_movie_leads_to_the_next_frame(ready: Any, qtbot: Any) -> None:
    viewer, dock = ready()
    before = state(viewer)
    view = toggle(qtbot, dock, "Deformation")
    press(qtbot, view, "Flow to the next frame")
    settle(qtbot, dock)
    layer = viewer.layers["[optical flow]"]
    assert isinstance(layer, Vectors)
    assert set(layer.data[:, 0, 0]) == {0}
    np.testing.assert_allclose(np.median(layer.data[:, 1], axis=0), [0, 1, 2], atol=0.3)
    viewer.dims.set_current_step(0, T - 1)
    settle(qtbot, dock)
    assert len(viewer.layers["[optical flow]"].data) == 0
    press(qtbot, view, "Flow to the next frame")
    settle(qtbot, dock)
    assert "[optical flow]" not in names(viewer)
    toggle(qtbot, dock, "Deformation")
    viewer.dims.set_current_step(0, 0)
    assert state(viewer) == before


def test_folds_are_said_and_red(open_dock: Any, qtbot: Any) -> None:
    source = movie()
    layers = results_for(source, "tyx")
    record = layers[2].metadata[METADATA_KEY]
    grid = record["registration"].grid
    field = torch.zeros(2, *grid.shape)
    field[1] = 6 * torch.sin(grid.points()[1])
    record["registration"] = Registration(PerFrame([Identity(2), *[Displacement(field, grid)] * (T - 1)]), grid)
    viewer, dock = open_dock(source, *layers)
    viewer.dims.set_current_step(0, 2)
    view = toggle(qtbot, dock, "Deformation")
    press(qtbot, view, "Stretch and folds")
    settle(qtbot, dock)
    assert "Folds over itself" in view._words.text()
    layer = viewer.layers["Stretch and folds"]
    assert layer.data.min() < 0
    red, green, blue = layer.colormap.map(-0.1)[0][:3]
    assert red > 0.7
    assert max(green, blue) < 0.1


# ------------------------------------------------------------------------------------------ motion over time
def test_motion_is_read_in_world_units(ready: Any, qtbot: Any) -> None:
    _, dock = ready()
    view = toggle(qtbot, dock, "Motion over time")
    assert "shift up to 5.59 µm" in view._words.text()  # 5 * |(0.5, 1)|
    lines = {item.name(): item.getData() for item in view._shift.getPlotItem().listDataItems() if item.name()}
    np.testing.assert_allclose(lines["shift in x"][0], np.arange(T) * 2.0)  # s
    np.testing.assert_allclose(lines["shift in x"][1], np.arange(T) * 1.0, atol=1e-9)
    np.testing.assert_allclose(lines["shift in y"][1], np.arange(T) * 0.5, atol=1e-9)


def test_kymograph_along_a_drawn_line(ready: Any, qtbot: Any) -> None:
    viewer, dock = ready(show=True)
    view = toggle(qtbot, dock, "Motion over time")
    assert not view._before.isVisibleTo(view)
    press(qtbot, view, "Draw a line")
    line = viewer.layers["Line"]
    assert viewer.layers.selection.active is line
    assert str(line.mode) == "add_line"
    source = viewer.layers["cells"]
    np.testing.assert_allclose(line.data_to_world((5, 7)), source.data_to_world((0, 5, 7))[-2:])
    line.add_lines([[[24, 4], [24, 40]]])
    settle(qtbot, dock)
    assert view._before.isVisibleTo(view)
    before = view._before._image.image
    assert before.shape == (T, 37)
    after = view._after._image.image
    assert np.diff(after[:, 5:25], axis=0).std() < np.diff(before[:, 5:25], axis=0).std()
    line.add_lines([[[4, 24], [40, 24]]])
    settle(qtbot, dock)
    assert len(line.data) == 1
    toggle(qtbot, dock, "Motion over time")
    assert "Line" not in names(viewer)
    toggle(qtbot, dock, "Motion over time")
    np.testing.assert_allclose(viewer.layers["Line"].data[0], [[4, 24], [40, 24]])


def test_axes_that_were_corrected_for_the_run_are_those_of_inspect(open_dock: Any) -> None:
    source = movie("zyx")
    plain = Image(source.data, name="cells", scale=source.scale)
    assert detect_axes(plain) == "tyx"
    _, dock = open_dock(plain, *results_for(plain, "zyx"))
    assert dock._results.noisy.axes == "zyx"
    assert dock._results.denoised is not None
    assert dock._results.registration is not None


# ------------------------------------------------------------------------------------------ noise
def test_residual_histogram_and_profile(ready: Any, qtbot: Any) -> None:
    viewer, dock = ready(show=True)
    before = state(viewer)
    view = toggle(qtbot, dock, "Noise taken away")
    assert "total intensity changed" in view._words.text()  # the pretended denoiser takes a tenth of everything
    assert "total intensity changed (to 0.900" in view._words.text()
    press(qtbot, view, "Show the residual")
    residual = viewer.layers["Residual (noisy − denoised)"]
    np.testing.assert_allclose(residual.data[0], 0.1 * viewer.layers["cells"].data[0], rtol=1e-4, atol=1e-4)
    assert len(view._histogram.getPlotItem().listDataItems()) == 2
    press(qtbot, view, "Draw a line")
    viewer.layers["Line"].add_lines([[[24, 4], [24, 40]]])
    settle(qtbot, dock)
    noisy, denoised = (item.getData()[1] for item in view._profile.getPlotItem().listDataItems())
    np.testing.assert_allclose(denoised, 0.9 * noisy, rtol=1e-4)
    assert not viewer.layers["cells"].visible
    press(qtbot, view, "Show the residual")
    assert viewer.layers["cells"].visible
    toggle(qtbot, dock, "Noise taken away")
    assert state(viewer) == before


# ------------------------------------------------------------------------------------------ all kinds of data
@pytest.mark.parametrize("axes", ["tyx", "zyx", "tzyx", "tcyx", "czyx", "tzcyx"])
def test_every_view_works_on_every_kind_of_movie(ready: Any, qtbot: Any, axes: str) -> None:
    viewer, dock = ready(axes, lazy=True)
    before = state(viewer)
    for view in dock.views[1:]:
        shown = toggle(qtbot, dock, view.title)
        assert not shown._words.text().startswith("⚠ Expected")
        place = axes.index("t" if "t" in axes else "z")
        viewer.dims.set_current_step(place, 3)
        settle(qtbot, dock)
        for layer in viewer.layers:
            if "view" in layer.metadata.get(METADATA_KEY, {}) and isinstance(layer, Image):
                assert layer.data.shape == viewer.layers["cells"].data.shape
    viewer.dims.ndisplay = 3
    settle(qtbot, dock)
    viewer.dims.ndisplay = 2
    toggle(qtbot, dock, dock.views[-1].title)
    assert [each[:2] for each in state(viewer)] == [each[:2] for each in before]


def test_plane_of_a_volume_is_followed(ready: Any, qtbot: Any) -> None:
    viewer, dock = ready("tzyx")
    viewer.dims.set_current_step(1, 1)
    toggle(qtbot, dock, "Deformation")
    assert set(viewer.layers["Displacement arrows"].data[:, 0, 1]) == {1}
    viewer.dims.set_current_step(1, 3)
    settle(qtbot, dock)
    assert set(viewer.layers["Displacement arrows"].data[:, 0, 1]) == {3}


# ------------------------------------------------------------------------------------------ which results
def test_newest_results_are_taken_and_others_can_be_chosen(ready: Any, qtbot: Any) -> None:
    viewer, dock = ready()
    for layer in results_for(viewer.layers["cells"], "tyx"):
        viewer.add_layer(layer)
    box = dock._boxes["aligned"]
    assert box.currentData() is viewer.layers["cells [aligned] [1]"]
    box.setCurrentIndex(1)
    box.activated.emit(1)
    assert dock._results.aligned.data is viewer.layers["cells [aligned]"].data
    viewer.layers.remove("cells [aligned]")
    assert dock._results.aligned.data is viewer.layers["cells [aligned] [1]"].data


def test_renamed_movie_keeps_its_results(ready: Any, qtbot: Any) -> None:
    viewer, dock = ready()
    viewer.layers["cells"].name = "HeLa 3"
    viewer.layers.remove("cells [denoised]")
    assert "Found: aligned, displacement" in dock._words.text()


def test_views_follow_a_movie_that_is_exchanged_or_removed(ready: Any, qtbot: Any) -> None:
    viewer, dock = ready()
    view = toggle(qtbot, dock, "Compare pictures")
    viewer.add_layer(Image(np.random.default_rng(0).normal(size=(4, 20, 24)), name="other"))
    dock.chooser.set_layer(viewer.layers["other"])
    settle(qtbot, dock)
    assert view._pair.first.shape == (20, 24)
    viewer.layers.clear()
    settle(qtbot, dock)
    assert names(viewer) == []
    assert "Open Sample" in dock._words.text()


# ------------------------------------------------------------------------------------------ closing
@pytest.mark.parametrize("place", range(5))
def test_closing_the_dock_leaves_nothing(ready: Any, qtbot: Any, working_threads: Any, place: int) -> None:
    viewer, dock = ready()
    before = state(viewer)
    if place:
        toggle(qtbot, dock, dock.views[place].title)
    if place == 1:
        choose(qtbot, dock, dock.views[1]._mode, "Flicker")
    viewer.window.remove_dock_widget(dock)
    assert state(viewer) == before
    assert not [timer for timer in dock.findChildren(QTimer) if timer.isActive()]
    assert working_threads() == []
    viewer.dims.set_current_step(0, 2)  # a closed dock does not listen any more
    viewer.layers.clear()


def test_closing_the_viewer_while_it_works_is_quiet(ready: Any, qtbot: Any) -> None:
    viewer, dock = ready()
    choose_view = dock.sections[2].toggleButton()
    click(qtbot, choose_view)
    viewer.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_dock_fits_in_300_pixels_in_both_themes(ready: Any, qtbot: Any, theme: str) -> None:
    viewer, dock = ready(show=True)
    viewer.theme = theme
    dock.resize(300, 600)
    for view in dock.views:
        if not view.is_on:
            toggle(qtbot, dock, view.title)
        qtbot.wait(20)
        area = view
        while area.objectName() != "qt_scrollarea_viewport":
            area = area.parentWidget()
        for child in view.findChildren(QWidget):
            if child.isVisible() and child.parentWidget() is view:
                assert child.mapTo(area, child.rect().topRight()).x() <= area.width(), child


def test_everything_has_a_tooltip(ready: Any, qtbot: Any) -> None:
    _, dock = ready()
    for view in dock.views:
        for kind in (QPushButton, QCheckBox, QComboBox):
            silent = [each for each in view.findChildren(kind) if not each.toolTip()]
            assert silent == []
