"""What the dock works on: the axes that a person corrected are kept until another layer is chosen."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_denoisereg.widgets.source_form import SourceForm


@pytest.fixture
def shown(qtbot: Any) -> Iterator[tuple[SourceForm, Image, Image]]:
    """Form on the first of two layers whose axes are not labelled."""
    viewer = ViewerModel()  # no canvas is needed
    first, second = (viewer.add_image(np.zeros((6, 16, 16)), name=name) for name in ("first", "second"))
    form = SourceForm(viewer)
    qtbot.addWidget(form)
    form.set_ready()
    form.chooser.set_layer(first)
    yield form, first, second
    form.chooser.disconnect_viewer()


def test_corrected_axes_survive_changes_of_the_layer(shown: tuple[SourceForm, Image, Image]) -> None:
    form, first, _ = shown
    assert form._axes.currentText() == "tyx"
    assert form.words() == "6 frames of 16 × 16 px. Slices of a volume instead? Choose the axes zyx."
    form._axes.setCurrentText("zyx")
    first.scale = (3, 0.5, 0.5)
    first.units = ("um", "um", "um")
    first.data = np.zeros((5, 16, 16))
    assert form._axes.currentText() == "zyx"
    assert form.words() == "5 sections of 16 × 16 px"
    stack = form.stack()
    assert stack is not None
    assert (stack.axes, stack.spacing) == ("zyx", (3, 0.5, 0.5))


def test_pictures_of_a_few_pixels_are_refused(shown: tuple[SourceForm, Image, Image]) -> None:
    form, first, _ = shown
    first.data = np.zeros((16, 16, 6))
    assert "Only 16 frames of 16 × 6 px: too small" in form.words()
    assert form.stack() is None


def test_axes_of_another_layer_are_guessed(shown: tuple[SourceForm, Image, Image]) -> None:
    form, first, second = shown
    form._axes.setCurrentText("zyx")
    form.chooser.set_layer(second)
    assert form._axes.currentText() == "tyx"
    form._axes.setCurrentText("zyx")
    form.chooser.set_layer(first)
    assert form._axes.currentText() == "tyx"


def test_axes_are_guessed_for_another_number_of_dimensions(shown: tuple[SourceForm, Image, Image]) -> None:
    form, first, _ = shown
    form._axes.setCurrentText("zyx")
    first.data = np.zeros((6, 4, 16, 16))
    assert form._axes.currentText() == "tzyx"


def test_corrected_axes_are_proposed_in_the_next_session(shown: tuple[SourceForm, Image, Image], qtbot: Any) -> None:
    form, _, _ = shown
    form._axes.setCurrentText("zyy")  # no axes
    form._axes.setCurrentText("zyx")
    viewer = ViewerModel()
    viewer.add_image(np.zeros((6, 16, 16)), name="unlabelled")
    labelled = viewer.add_image(np.zeros((6, 16, 16)), name="labelled", axis_labels=("t", "y", "x"))
    later = SourceForm(viewer)
    qtbot.addWidget(later)
    later.chooser.set_layer(viewer.layers["unlabelled"])
    assert later._axes.currentText() == "zyx"
    later.chooser.set_layer(labelled)
    assert later._axes.currentText() == "tyx"
    later.chooser.disconnect_viewer()
