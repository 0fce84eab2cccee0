"""Forms of Methods, without an engine: a small family made here stands for denoisers and registrars."""

from typing import Any, Literal

import pytest
from pydantic import ConfigDict, model_validator
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QCheckBox, QComboBox, QDoubleSpinBox, QLabel, QLineEdit
from superqt import QCollapsible

from napari_denoisereg.method import Method, setting
from napari_denoisereg.widgets.form import FamilyForm, MethodForm, SeveralForm


class Brewer(Method, family="brewer of the form tests"):
    """Makes a drink."""


class Tea(Brewer, kind="tea"):
    """Leaves in hot water.

    More words that no form shows.
    """

    minutes: float = setting(3.0, "How long the leaves stay in.", unit="min", gt=0, le=60)
    leaves: int = setting(20_000, "How many leaves.", ge=1, le=10_000_000)
    rate: float = setting(1e-4, "How fast it cools.", gt=0, le=0.1, advanced=True)
    milk: bool = setting(False, "Whether there is milk in it.")
    sort: Literal["green", "black"] = setting("black", "Which leaves.")
    sugar: int | None = setting(None, "Lumps of sugar.", ge=0, le=5, advanced=True)
    label: str = setting("mine", "Written on the cup.", advanced=True)
    shades: tuple[int, ...] = setting((1, 2), "Shades it goes through.", advanced=True)

    @model_validator(mode="after")
    def _no_milk_in_green_tea(self) -> "Tea":
        if self.milk and self.sort == "green":
            raise ValueError("Nobody takes milk in green tea; choose black.")
        return self


class Water(Brewer, kind="water"):
    """Nothing added."""


class Breakfast(Method):
    """A nested Method."""

    drink: Brewer = setting(Tea(), "What to drink.")
    second: Brewer | None = setting(None, "What to drink after that.")
    more: tuple[Brewer, ...] = setting((), "What else to drink.")
    eggs: int = setting(1, "Boiled eggs.", ge=0, lt=4, multiple_of=1)


def keep(qtbot: Any, form: Any) -> Any:
    qtbot.addWidget(form)
    form.show()
    return form


def child(form: Any, name: str, kind: type) -> Any:
    editor = next(w for w in form._editors.values() if w.accessibleName() == name)
    return editor if isinstance(editor, kind) else editor.findChild(kind)


def open_more(qtbot: Any, form: Any) -> None:
    for box in form.findChildren(QCollapsible):
        qtbot.mouseClick(box.toggleButton(), Qt.MouseButton.LeftButton)
        assert box.isExpanded()


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize(
    "method",
    [
        Tea(),
        Tea(minutes=0.0125, leaves=9_999_999, rate=3.7e-6, milk=True, sugar=3, label="yours", shades=(4,)),
        Water(),
        Breakfast(),
        Breakfast(drink=Water(), second=Tea(minutes=7), more=(Tea(leaves=5), Water(), Tea()), eggs=3),
    ],
    ids=repr,
)
def test_form_gives_back_the_method_it_shows(qtbot: Any, method: Method, is_open: bool) -> None:
    form = keep(qtbot, MethodForm(type(method)))
    if is_open:
        open_more(qtbot, form)
    form.set_value(method)
    assert form.value() == method


def test_fresh_form_has_the_defaults(qtbot: Any) -> None:
    assert keep(qtbot, MethodForm(Breakfast)).value() == Breakfast()


def test_typing_a_number_changes_the_value_and_says_so(qtbot: Any) -> None:
    form = keep(qtbot, MethodForm(Tea))
    box = child(form, "minutes", QDoubleSpinBox)
    box.selectAll()
    with qtbot.waitSignal(form.changed):
        qtbot.keyClicks(box, "4.5")
        qtbot.keyClick(box, Qt.Key.Key_Return)
    assert form.value().minutes == 4.5


def test_bounds_are_kept_while_typing(qtbot: Any) -> None:
    form = keep(qtbot, MethodForm(Tea))
    box = child(form, "minutes", QDoubleSpinBox)
    box.selectAll()
    qtbot.keyClicks(box, "999")
    qtbot.keyClick(box, Qt.Key.Key_Return)
    assert form.problem() == ""
    assert 0 < form.value().minutes <= 60


def test_clicking_a_check_box_changes_the_value(qtbot: Any) -> None:
    form = keep(qtbot, MethodForm(Tea))
    box = child(form, "milk", QCheckBox)
    qtbot.mouseClick(box, Qt.MouseButton.LeftButton, pos=QPoint(8, box.height() // 2))
    assert form.value().milk is True


def test_what_is_not_valid_is_said_in_place(qtbot: Any) -> None:
    form = keep(qtbot, MethodForm(Tea))
    form.set_value(Tea(milk=True))
    child(form, "sort", QComboBox).setCurrentText("green")
    problem = form.findChild(QLabel, "problem")
    assert "milk in green tea" in problem.text()
    assert problem.isVisible()
    with pytest.raises(ValueError, match="milk in green tea"):
        form.value()
    child(form, "sort", QComboBox).setCurrentText("black")
    assert not problem.isVisible()


def test_broken_text_is_said_in_place(qtbot: Any) -> None:
    form = keep(qtbot, MethodForm(Tea))
    open_more(qtbot, form)
    child(form, "shades", QLineEdit).setText("[1, ")
    assert "Expected e.g." in form.problem()


def test_every_setting_has_its_description_as_tooltip_and_its_unit(qtbot: Any) -> None:
    form = keep(qtbot, MethodForm(Tea))
    labels = {label.text(): label.toolTip() for label in form.findChildren(QLabel)}
    assert labels["Minutes (min)"] == "How long the leaves stay in."
    assert child(form, "minutes", QDoubleSpinBox).parentWidget().toolTip() == "How long the leaves stay in."


def test_advanced_settings_wait_behind_a_click(qtbot: Any) -> None:
    form = keep(qtbot, MethodForm(Tea))
    form.set_value(Tea(rate=3.7e-6))
    assert not form.findChild(QCollapsible).isExpanded()
    open_more(qtbot, form)
    assert form.value() == Tea(rate=3.7e-6)
    rate = child(form, "rate", QDoubleSpinBox)
    qtbot.waitUntil(lambda: rate.visibleRegion().boundingRect().height() > 5)


def test_choosing_a_member_shows_its_form(qtbot: Any) -> None:
    form = keep(qtbot, FamilyForm(Brewer, is_optional=True))
    assert form.value() is None
    with qtbot.waitSignal(form.changed):
        form.findChild(QComboBox).setCurrentText("Tea")
    assert form.value() == Tea()
    form.set_value(Water())
    assert form.value() == Water()
    form.set_value(None)
    assert form.value() is None


def test_steps_are_added_and_removed_with_clicks(qtbot: Any) -> None:
    form = keep(qtbot, SeveralForm(Brewer))
    qtbot.mouseClick(form._add, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(form._add, Qt.MouseButton.LeftButton)
    assert form.value() == (Tea(), Tea())
    qtbot.mouseClick(form._remove, Qt.MouseButton.LeftButton)
    assert form.value() == (Tea(),)


def test_skipped_fields_keep_what_was_set(qtbot: Any) -> None:
    form = keep(qtbot, MethodForm(Tea, skip=("label", "leaves")))
    form.set_value(Tea(label="hers", leaves=7))
    assert form.value() == Tea(label="hers", leaves=7)


def test_wheel_over_an_untouched_box_changes_nothing(qtbot: Any) -> None:
    form = keep(qtbot, MethodForm(Tea))
    box = child(form, "minutes", QDoubleSpinBox)
    wheel = QWheelEvent(
        QPointF(5, 5),
        QPointF(box.mapToGlobal(QPoint(5, 5))),
        QPoint(0, 120),
        QPoint(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    box.clearFocus()
    QApplication.sendEvent(box, wheel)
    assert form.value() == Tea()


class Aliased(Method):
    """A field whose JSON name is another."""

    model_config = ConfigDict(populate_by_name=True)
    many: int = setting(2, "How many.", alias="n")


def test_fields_with_another_name_in_json_work(qtbot: Any) -> None:
    form = keep(qtbot, MethodForm(Aliased))
    form.set_value(Aliased(n=5))
    assert form.value().many == 5


def test_settings_that_hardly_anybody_changes_come_last(qtbot: Any) -> None:
    class Trained(Method, family="trainedform", kind="trained"):
        seed: int = setting(0, "Seed.", advanced=True)
        every: int = setting(50, "Judged so often.", advanced=True)
        masked: float = setting(0.1, "Share.", advanced=True)

    form = keep(qtbot, MethodForm(Trained))
    assert [row["name"] for row in form._later] == ["masked", "every", "seed"]
