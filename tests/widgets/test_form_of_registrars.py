"""Forms of registrars whose settings are methods themselves: a similarity, a regularity, an encoder's file."""

from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QLineEdit

from napari_denoisereg.losses.deep_similarity import DeepSimilarity
from napari_denoisereg.losses.mind import Mind
from napari_denoisereg.register import Registrar
from napari_denoisereg.register.voxelmorph import VoxelMorph
from napari_denoisereg.widgets.form import FamilyForm, MethodForm

KINDS = ["voxelmorph", "fcn", "deep_affine"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_form_shows_and_gives_back_the_settings(kind: str, qtbot: QtBot) -> None:
    method = Registrar.member(kind)(similarity=Mind(sigma=2.0), refinement=7)
    form = MethodForm(type(method))
    qtbot.addWidget(form)
    assert form.value() == type(method)()
    form.set_value(method)
    assert form.value() == method


def test_another_similarity_is_chosen_by_keys(qtbot: QtBot) -> None:
    form = MethodForm(VoxelMorph)
    qtbot.addWidget(form)
    form.show()
    place = next(each for each in form.findChildren(FamilyForm) if "mind" in each._members)
    choice = place.findChild(QComboBox)
    assert choice.currentData() == "local_correlation"
    assert choice.itemText(choice.findData("mind")) == Mind.title
    choice.setFocus()
    for _ in range(choice.findData("mind") - choice.currentIndex()):
        qtbot.keyClick(choice, Qt.Key.Key_Down)
    assert form.value() == VoxelMorph(similarity=Mind())


def test_a_file_of_an_encoder_is_named_and_left_out(qtbot: QtBot) -> None:
    form = MethodForm(DeepSimilarity)
    qtbot.addWidget(form)
    form.show()
    assert form.value() == DeepSimilarity()
    box = next(each for each in form.findChildren(QCheckBox))
    qtbot.mouseClick(box, Qt.MouseButton.LeftButton)
    assert "choose one" in form.problem()
    line = next(each for each in form.findChildren(QLineEdit) if each.placeholderText() == "no file")
    qtbot.keyClicks(line, "nuclei.safetensors")
    assert form.value() == DeepSimilarity(encoder=Path("nuclei.safetensors"))
    qtbot.mouseClick(box, Qt.MouseButton.LeftButton)
    assert form.value() == DeepSimilarity()
    form.set_value(DeepSimilarity(encoder=Path("other.safetensors")))
    assert form.value().encoder == Path("other.safetensors")
