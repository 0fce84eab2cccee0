"""A stack of sections gets the recipe for sections; what the user chooses instead stays."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

from napari_denoisereg.steps import finish
from napari_denoisereg.widgets.denoise_register_dock import DenoiseRegisterDock
from napari_denoisereg.widgets.denoise_register_job import load_engine


def stack(axes: str, name: str) -> Image:
    data = np.random.default_rng(0).normal(100, 5, (4, 48, 48)).astype(np.float32)
    return Image(data, name=name, axis_labels=tuple(axes))


@pytest.fixture
def open_dock(make_napari_viewer: Any, qtbot: Any, working_threads: Any) -> Iterator[Any]:
    """The dock beside layers."""
    finish(load_engine())

    def opened(*layers: Image) -> tuple[Any, DenoiseRegisterDock]:
        viewer = make_napari_viewer()
        for layer in layers:
            viewer.add_layer(layer)
        _, dock = viewer.window.add_plugin_dock_widget("napari-denoisereg", "Denoise and register")
        qtbot.waitUntil(lambda: dock._engine is not None and not dock._runner.is_running, timeout=60_000)
        return viewer, dock

    yield opened
    qtbot.waitUntil(lambda: not working_threads(), timeout=5000)


def click(qtbot: Any, widget: QWidget) -> None:
    assert widget.isEnabled()
    qtbot.mouseClick(widget, Qt.MouseButton.LeftButton)


def shown(dock: DenoiseRegisterDock) -> tuple[str, bool]:
    return dock.value().name, dock._sections.isVisibleTo(dock)


def test_sections_get_their_recipe_and_a_click_takes_it_back(open_dock: Any, qtbot: Any) -> None:
    _, dock = open_dock(stack("zyx", "tissue"))
    assert shown(dock) == ("sections", True)
    assert "z is the section axis" in dock._sections._words.text()
    assert dock._source.stack().frame_axis == "z"
    assert not dock._denoise.isChecked()
    assert dock._sections._button.text() == "Use Fast instead"
    click(qtbot, dock._sections._button)
    assert shown(dock) == ("fast", True)
    assert dock._denoise.isChecked()
    click(qtbot, dock._sections._button)
    assert shown(dock) == ("sections", True)


def test_a_time_lapse_gets_back_what_was_chosen_for_it(open_dock: Any, qtbot: Any) -> None:
    viewer, dock = open_dock(stack("tyx", "cells"), stack("zyx", "tissue"))
    dock._source.chooser.set_layer(viewer.layers["cells"])
    assert shown(dock) == ("fast", False)
    place = dock._recipes.findData("balanced")
    dock._recipes.setCurrentIndex(place)
    dock._source.chooser.set_layer(viewer.layers["tissue"])
    assert shown(dock) == ("sections", True)
    dock._source.chooser.set_layer(viewer.layers["cells"])
    assert shown(dock) == ("balanced", False)


def test_corrected_axes_change_the_recipe_and_a_choice_stays(open_dock: Any, qtbot: Any) -> None:
    _, dock = open_dock(Image(np.random.default_rng(0).normal(100, 5, (4, 48, 48)).astype(np.float32), name="unlabelled"))
    assert shown(dock) == ("fast", False)
    dock._source._axes.setCurrentText("zyx")
    assert shown(dock) == ("sections", True)
    dock._recipes.setCurrentIndex(dock._recipes.findData("best"))
    dock._source.chooser.layer().scale = (1, 0.5, 0.5)  # the layer changed, what it is did not
    assert shown(dock) == ("best", True)
    dock._source._axes.setCurrentText("tyx")
    dock._recipes.setCurrentIndex(dock._recipes.findData("sections"))
    assert "is for stacks of sections" in dock._sections._words.text()
