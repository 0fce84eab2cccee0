"""Journeys through the dock in a real viewer, with real clicks and keys.

Most use a recipe that only pretends to work, so that they are about the dock; the last ones run the engine's own *fast* recipe.
"""

import threading
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
from napari.layers import Image, Points, Vectors
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton, QWidget

from napari_denoisereg.checks import inspect
from napari_denoisereg.geometry import Identity, PerFrame, Translation
from napari_denoisereg.pipeline import Pipeline, Result, presets
from napari_denoisereg.register import Registration
from napari_denoisereg.steps import Progress, Steps, finish
from napari_denoisereg.widgets import denoise_register_dock, result_layers
from napari_denoisereg.widgets.denoise_register_dock import DenoiseRegisterDock
from napari_denoisereg.widgets.denoise_register_job import Engine, load_engine
from napari_denoisereg.widgets.layers import METADATA_KEY


class Pretend(Pipeline):
    """Checks its input like any recipe, then counts, then returns a plausible result."""

    log: ClassVar[list[str]] = []
    batches: ClassVar[int] = 4
    likeness: ClassVar[float] = 0.9
    flagged: ClassVar[tuple[int, ...]] = ()

    def run(self, stack: Any, *, device: str = "auto", models: Any = (), **_: Any) -> Steps[Result]:
        yield from inspect(stack, least_frames=2 if self.registrars else 1)
        try:
            for number in range(self.batches):
                time.sleep(0.01)
                self.log.append("batch")
                yield Progress(number + 1, self.batches, "pretending", {"loss": 0.5})
            chosen = stack.channel(self.channel)
            denoised = chosen.with_data(chosen.lazy().astype("f4").compute()) if self.denoise else None
            found = [Identity(stack.grid.ndim)]
            found += [Translation([float(t) * step for step in stack.grid.spacing]) for t in range(1, stack.n_frames)]
            likeness = {"before": np.full(stack.n_frames, 0.5), "after": np.full(stack.n_frames, self.likeness)}
            registration = Registration(PerFrame(found), stack.grid, likeness, self.flagged) if self.registrars else None
            return Result(self, denoised, registration, registration.warp(stack) if registration else None)
        finally:
            self.log.append("closed")

    def preview(self, stack: Any, frame: int, *, device: str = "auto") -> Steps[np.ndarray]:
        yield Progress(1, 1, "pretending")
        return stack.channel(self.channel).frame(frame).astype("f4")


def pretend_engine() -> Steps[Engine]:
    yield Progress(1, 1)
    real = presets()
    fields = {name: {field: getattr(recipe, field) for field in type(recipe).model_fields} for name, recipe in real.items()}
    return Engine({name: Pretend.model_construct(**values) for name, values in fields.items()}, ("auto", "cpu"))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list:
    """Notifications that were shown."""
    shown: list = []
    monkeypatch.setattr(notification_manager, "dispatch", shown.append)
    return shown


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> type[Pretend]:
    finish(load_engine())  # torch is imported once, not in the middle of a journey
    monkeypatch.setattr(denoise_register_dock, "load_engine", pretend_engine)
    Pretend.log, Pretend.batches, Pretend.flagged, Pretend.likeness = [], 4, (), 0.9
    return Pretend


@pytest.fixture
def open_dock(make_napari_viewer: Any, qtbot: Any, working_threads: Any) -> Iterator[Any]:
    """Open the dock the way the menu does; at the end nothing may be left at work."""

    def opened(*layers: Image) -> tuple[Any, DenoiseRegisterDock]:
        viewer = make_napari_viewer()
        for layer in layers:
            viewer.add_layer(layer)
        _, dock = viewer.window.add_plugin_dock_widget("napari-denoisereg", "Denoise and register")
        qtbot.waitUntil(lambda: not dock._runner.is_running, timeout=60_000)
        return viewer, dock

    yield opened
    qtbot.waitUntil(lambda: not working_threads(), timeout=5000)


def movie(**changes: Any) -> Image:
    values = np.random.default_rng(1).integers(10, 200, (6, 32, 40)).astype(np.uint16)
    settings = {"name": "cells", "scale": (2, 0.5, 0.5), "units": ("s", "um", "um"), "axis_labels": ("t", "y", "x")}
    return Image(**{"data": values, **settings, **changes})


def click(qtbot: Any, widget: QWidget) -> None:
    qtbot.mouseClick(widget, Qt.MouseButton.LeftButton)


def press(qtbot: Any, dock: QWidget, text: str) -> None:
    click(qtbot, next(each for each in dock.findChildren(QPushButton) if each.text() == text))


def run(qtbot: Any, dock: DenoiseRegisterDock) -> None:
    with qtbot.waitSignal(dock._runner.finished, timeout=240_000):
        press(qtbot, dock, "Run")


def names(viewer: Any) -> list[str]:
    return [layer.name for layer in viewer.layers]


def type_axes(qtbot: Any, dock: DenoiseRegisterDock, axes: str) -> None:
    line = dock._source._axes.lineEdit()
    line.selectAll()
    qtbot.keyClicks(line, axes)


@pytest.mark.usefixtures("pretend")
def test_run_adds_three_layers_on_the_source(open_dock: Any, qtbot: Any) -> None:
    source = movie()
    viewer, dock = open_dock(source)
    assert dock._source.words() == "6 frames of 32 × 40 px"
    run(qtbot, dock)
    assert names(viewer) == ["cells", "cells [denoised]", "cells [aligned]", "cells [displacement]"]
    for layer in list(viewer.layers)[1:]:
        np.testing.assert_array_equal(layer.scale, source.scale)
        assert (layer.units, layer.axis_labels) == (source.units, source.axis_labels)
        record = layer.metadata[METADATA_KEY]
        assert Pipeline.coerce(record["recipe"]).registrars
        assert (record["source"], record["recipe"]["name"]) == ("cells", "fast")
    assert isinstance(viewer.layers[3], Vectors)
    assert [layer.visible for layer in viewer.layers] == [True, True, True, False]  # no arrows over the picture
    assert viewer.layers.selection.active is source
    assert viewer.layers["cells [aligned]"].data.dtype == np.uint16
    assert viewer.layers[3].metadata[METADATA_KEY]["registration"].displacement(2).shape == (2, 32, 40)
    assert "0.50 before, 0.90 after" in dock._runner._line.text()
    assert "switch on the eye of [displacement]" in dock._runner._line.text()


@pytest.mark.usefixtures("pretend")
def test_second_run_gets_names_of_its_own(open_dock: Any, qtbot: Any) -> None:
    viewer, dock = open_dock(movie())
    run(qtbot, dock)
    run(qtbot, dock)
    assert len(set(names(viewer))) == 7
    assert dock._source.chooser.layer().name == "cells"


@pytest.mark.usefixtures("pretend")
def test_only_what_is_ticked_is_done(open_dock: Any, qtbot: Any) -> None:
    viewer, dock = open_dock(movie())
    dock._denoise.click()
    assert not dock._show_frame.isEnabled()
    run(qtbot, dock)
    assert names(viewer) == ["cells", "cells [aligned]", "cells [displacement]"]
    dock._register.click()
    assert not dock._run.isEnabled()
    dock._denoise.click()
    run(qtbot, dock)
    assert names(viewer)[3:] == ["cells [denoised]"]
    assert "displacement" not in dock._runner._line.text()


@pytest.mark.usefixtures("pretend")
def test_result_that_cannot_be_shown_is_told_and_adds_nothing(
    open_dock: Any, qtbot: Any, told: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("no room on the graphics card")

    viewer, dock = open_dock(movie())
    monkeypatch.setattr(result_layers, "arrow_layer_data", broken)
    run(qtbot, dock)
    assert names(viewer) == ["cells"]
    assert dock._runner._line.text() == result_layers.NOT_SHOWN
    assert any("no room" in note.message for note in told)


def test_cancel_leaves_nothing(open_dock: Any, qtbot: Any, pretend: type[Pretend]) -> None:
    pretend.batches = 1000
    viewer, dock = open_dock(movie())
    press(qtbot, dock, "Run")
    qtbot.waitUntil(lambda: len(pretend.log) > 3)
    assert not dock._run.isEnabled()
    with qtbot.waitSignal(dock._runner.finished, timeout=1000):
        press(qtbot, dock, "Cancel")
    assert pretend.log[-1] == "closed"
    assert names(viewer) == ["cells"]
    assert dock._run.isEnabled()


@pytest.mark.usefixtures("pretend")
def test_preview_shows_the_frame_in_view_and_goes_when_the_result_comes(open_dock: Any, qtbot: Any) -> None:
    viewer, dock = open_dock(movie(rotate=20))
    viewer.dims.set_current_step(0, 4)
    with qtbot.waitSignal(dock._runner.finished):
        press(qtbot, dock, "Preview this frame")
    preview = viewer.layers["cells [preview]"]
    np.testing.assert_array_equal(preview.data[0], viewer.layers["cells"].data[4])
    np.testing.assert_allclose(preview.data_to_world((0, 1, 1)), viewer.layers["cells"].data_to_world((4, 1, 1)))
    with qtbot.waitSignal(dock._runner.finished):
        press(qtbot, dock, "Preview this frame")
    assert len(viewer.layers) == 2
    run(qtbot, dock)
    assert "cells [preview]" not in names(viewer)


def test_flagged_frames_are_named(open_dock: Any, qtbot: Any, pretend: type[Pretend], told: list) -> None:
    pretend.flagged = (2, 5)
    _, dock = open_dock(movie())
    run(qtbot, dock)
    assert "frames 2, 5" in told[-1].message
    assert "frames 2, 5" in dock._runner._line.text()


def test_alignment_that_did_not_help_is_said(open_dock: Any, qtbot: Any, pretend: type[Pretend], told: list) -> None:
    pretend.likeness = 0.52
    _, dock = open_dock(movie())
    run(qtbot, dock)
    assert "hardly more alike" in told[-1].message


@pytest.mark.usefixtures("pretend")
@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (lambda: Image(np.zeros((6, 32, 40, 3), np.uint8), rgb=True), "colour"),
        (lambda: Image([np.zeros((6, 32, 40)), np.zeros((6, 16, 20))], multiscale=True), "multiscale"),
        (lambda: Image(np.zeros((6, 32, 40), bool)), "bool"),
    ],
    ids=["rgb", "multiscale", "bool"],
)
def test_layers_of_the_wrong_kind_are_refused_in_place(open_dock: Any, layer: Any, words: str) -> None:
    viewer, dock = open_dock(layer())
    assert words in dock._source.words()
    assert not dock._run.isEnabled()
    assert len(viewer.layers) == 1


@pytest.mark.usefixtures("pretend")
@pytest.mark.parametrize("shape", [(32, 40), (1, 32, 40), (2, 32, 40)], ids=["image", "one frame", "channels"])
def test_a_single_image_is_denoised_and_cannot_be_registered(open_dock: Any, qtbot: Any, shape: tuple[int, ...]) -> None:
    labels = {2: ("y", "x"), 3: ("c" if shape[0] > 1 else "t", "y", "x")}[len(shape)]
    data = np.random.default_rng(0).normal(size=shape)
    place = {"scale": (1.0, 0.5, 0.25)[-len(shape) :], "translate": (0.0, 3.0, -2.0)[-len(shape) :], "axis_labels": labels}
    viewer, dock = open_dock(Image(data, name="cells", colormap="green", contrast_limits=(-1, 2), **place))
    assert not dock._register.isEnabled()
    assert not dock._register.isChecked()
    assert "at least two frames" in dock._one_frame.text()
    run(qtbot, dock)
    assert names(viewer) == ["cells", "cells [denoised]"]
    clean = viewer.layers[1]
    expected = data[:1] if labels[0] == "c" else data  # the pretended recipe makes the chosen channel only
    np.testing.assert_allclose(clean.data, expected, rtol=1e-6)
    np.testing.assert_array_equal(clean.affine, viewer.layers[0].affine)
    np.testing.assert_array_equal(np.r_[clean.scale, clean.translate], np.r_[place["scale"], place["translate"]])
    assert (clean.axis_labels, clean.colormap.name) == (labels, "green")


@pytest.mark.usefixtures("pretend")
def test_a_movie_after_an_image_is_registered_again(open_dock: Any, qtbot: Any) -> None:
    viewer, dock = open_dock(Image(np.zeros((32, 40)), name="image"))
    viewer.add_layer(movie())
    assert dock._register.isEnabled() is (dock._source.chooser.layer().ndim == 3)
    dock._source.chooser.set_layer(viewer.layers["image"])
    dock.set_value(dock._engine.presets["sections"])
    assert "choose a recipe with a denoiser" in dock._one_frame.text()
    assert not dock._run.isEnabled()
    dock.set_value(dock._engine.presets["fast"])
    assert dock._run.isEnabled()
    assert dock.value().registrars == ()
    dock._source.chooser.set_layer(viewer.layers["cells"])
    assert dock._register.isEnabled()
    assert dock._register.isChecked()
    assert dock._one_frame.isHidden()


@pytest.mark.usefixtures("pretend")
@pytest.mark.parametrize(
    ("value", "words"), [(np.nan, "Frame 3 has"), (np.inf, "Frame 3 has"), (7.0, "Frame 3 is constant"), (1e37, "overflow")]
)
def test_bad_frames_are_named_and_change_nothing(open_dock: Any, qtbot: Any, told: list, value: float, words: str) -> None:
    data = np.random.default_rng(0).normal(size=(6, 32, 40))
    data[3] = value
    if value == 1e37:
        data[3, 0, 0] = 0
    viewer, dock = open_dock(movie(data=data, contrast_limits=(0, 1)))
    run(qtbot, dock)
    assert words in told[-1].message
    assert names(viewer) == ["cells"]
    assert dock._run.isEnabled()


@pytest.mark.usefixtures("pretend")
def test_axes_can_be_corrected_by_typing(open_dock: Any, qtbot: Any) -> None:
    _, dock = open_dock(Image(np.zeros((6, 32, 40)), name="sections"))
    assert "frames" in dock._source.words()
    type_axes(qtbot, dock, "zyx")
    assert dock._source.words() == "6 sections of 32 × 40 px"
    type_axes(qtbot, dock, "tyy")
    assert "one letter" in dock._source.words()
    assert not dock._run.isEnabled()


@pytest.mark.usefixtures("pretend")
def test_channel_is_chosen_and_all_channels_are_aligned(open_dock: Any, qtbot: Any) -> None:
    data = np.random.default_rng(1).integers(0, 99, (4, 2, 32, 40)).astype(np.uint8)
    viewer, dock = open_dock(Image(data, name="two", axis_labels=("t", "c", "y", "x")))
    dock._source._channel.stepUp()
    run(qtbot, dock)
    assert viewer.layers["two [aligned]"].data.shape == data.shape
    denoised = viewer.layers["two [denoised]"]
    np.testing.assert_array_equal(denoised.data[:, 0], data[:, 1])
    np.testing.assert_allclose(denoised.data_to_world((0, 0, 0, 0)), (0, 1, 0, 0))


@pytest.mark.usefixtures("pretend")
def test_volume_movie_and_lazy_data_work(open_dock: Any, qtbot: Any) -> None:
    import dask.array as da

    data = da.from_array(np.random.default_rng(1).integers(0, 99, (3, 4, 32, 40)).astype(np.uint8), chunks=(1, 4, 32, 40))
    viewer, dock = open_dock(Image(data, name="volume", contrast_limits=(0, 99)))
    assert "4 × 32 × 40 voxels" in dock._source.words()
    run(qtbot, dock)
    assert isinstance(viewer.layers["volume [aligned]"].data, da.Array)
    assert viewer.layers["volume [displacement]"].ndim == 4


@pytest.mark.usefixtures("pretend")
def test_choice_follows_the_layer_not_its_name_or_place(open_dock: Any) -> None:
    viewer, dock = open_dock(movie(), movie(name="other"))
    chooser = dock._source.chooser
    chooser.set_layer(viewer.layers["cells"])
    viewer.layers["cells"].name = "renamed"
    assert chooser.currentText() == "renamed"
    viewer.layers.reverse()
    assert chooser.layer().name == chooser.currentText() == "renamed"
    viewer.layers["renamed"].data = np.ones((7, 8, 9))
    assert dock._source.words() == "7 frames of 8 × 9 px"
    viewer.layers.remove("renamed")
    assert chooser.layer().name == "other"
    viewer.layers.clear()
    assert "Open Sample" in dock._source.words()
    assert not dock._run.isEnabled()


@pytest.mark.usefixtures("pretend")
def test_source_removed_while_running_still_gives_the_result(open_dock: Any, qtbot: Any) -> None:
    viewer, dock = open_dock(movie())
    with qtbot.waitSignal(dock._runner.finished):
        press(qtbot, dock, "Run")
        viewer.layers.clear()
    assert "cells [aligned]" in names(viewer)


@pytest.mark.usefixtures("pretend")
def test_advanced_settings_make_the_recipe_a_custom_one(open_dock: Any, qtbot: Any) -> None:
    _, dock = open_dock(movie())
    before = dock.value()
    click(qtbot, dock._advanced.toggleButton())
    assert dock.value() == before
    assert dock._recipes.currentData() == "fast"
    press(qtbot, dock._form, "Add a step")
    assert dock._recipes.currentData() == "custom"
    assert len(dock.value().registrars) == len(before.registrars) + 1
    dock._recipes.setCurrentIndex(dock._recipes.findData("balanced"))
    assert dock.value().model_dump() == presets()["balanced"].model_dump()


def test_closing_the_dock_stops_the_work(open_dock: Any, qtbot: Any, pretend: type[Pretend], working_threads: Any) -> None:
    pretend.batches = 1000
    viewer, dock = open_dock(movie())
    press(qtbot, dock, "Run")
    qtbot.waitUntil(lambda: len(pretend.log) > 3)
    start = time.monotonic()
    viewer.window.remove_dock_widget(dock)
    assert time.monotonic() - start < 1
    assert pretend.log[-1] == "closed"
    qtbot.waitUntil(lambda: not working_threads())
    viewer.layers.clear()  # a closed dock does not listen any more
    assert names(viewer) == []


def test_closing_the_viewer_stops_the_work(open_dock: Any, qtbot: Any, pretend: type[Pretend], working_threads: Any) -> None:
    pretend.batches = 1000
    viewer, dock = open_dock(movie())
    press(qtbot, dock, "Run")
    qtbot.waitUntil(lambda: len(pretend.log) > 3)
    n_threads = threading.active_count()
    viewer.close()
    qtbot.waitUntil(lambda: pretend.log[-1] == "closed", timeout=2000)
    qtbot.waitUntil(lambda: not working_threads())
    assert threading.active_count() <= n_threads


@pytest.mark.usefixtures("pretend")
def test_dock_fits_in_300_pixels_and_shows_its_buttons(make_napari_viewer: Any, qtbot: Any) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.add_layer(movie(name="a movie with a very long name that somebody gave it in a hurry"))
    dock = DenoiseRegisterDock(viewer)
    qtbot.addWidget(dock)
    dock.resize(300, 420)
    dock.show()
    qtbot.waitUntil(lambda: dock._run.isEnabled())
    click(qtbot, dock._advanced.toggleButton())
    qtbot.wait(50)
    assert dock.width() == 300
    for widget in (dock._run, dock._show_frame, dock._runner._bar, dock._runner._cancel):
        assert dock.rect().contains(widget.geometry().translated(widget.parentWidget().mapTo(dock, widget.rect().topLeft())))
    page = dock._form.parentWidget()
    while page.parentWidget().objectName() != "qt_scrollarea_viewport":
        page = page.parentWidget()
    assert page.width() <= page.parentWidget().width()
    dock.close_down()


@pytest.mark.slow
def test_sample_through_the_fast_recipe(make_napari_viewer: Any, qtbot: Any) -> None:
    """The whole road with the real engine: open the sample, choose *fast*, run, look at three layers."""
    viewer = make_napari_viewer()
    viewer.open_sample("napari-denoisereg", "nuclei")
    assert [type(layer) for layer in viewer.layers] == [Image, Points]
    _, dock = viewer.window.add_plugin_dock_widget("napari-denoisereg", "Denoise and register")
    qtbot.waitUntil(dock._run.isEnabled, timeout=60_000)
    dock._recipes.setCurrentIndex(dock._recipes.findData("fast"))
    run(qtbot, dock)
    assert names(viewer)[2:] == [f"Nuclei movie [{what}]" for what in ("denoised", "aligned", "displacement")]
    source, aligned = viewer.layers["Nuclei movie"], viewer.layers["Nuclei movie [aligned]"]
    registration = viewer.layers[-1].metadata[METADATA_KEY]["registration"]
    assert np.nanmean(registration.quality["after"]) > np.nanmean(registration.quality["before"])
    marks, scale = viewer.layers["Keypoints"].data, source.scale[1:]
    first, last = (marks[marks[:, 0] == frame, 1:] * scale for frame in (0, len(source.data) - 1))
    left = registration.points(len(source.data) - 1, first) - last
    assert np.linalg.norm(left, axis=1).mean() < 0.2 * np.linalg.norm(first - last, axis=1).mean()
    assert np.asarray(aligned.data[5]).shape == source.data[5].shape
    assert Pipeline.coerce(aligned.metadata[METADATA_KEY]["recipe"]).name == "fast"
