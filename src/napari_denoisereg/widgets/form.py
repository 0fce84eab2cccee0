"""Method class to form: what a Method declares is what the user sees.

Each field of the class becomes a row: its name in plain words with its unit, an editor that knows its bounds, its description
as tooltip. Fields declared ``advanced`` wait behind *More settings*. A field that holds a Method becomes a choice of its
members with the chosen member's own form below; a tuple of them a list of such choices.

Every form is a value: `value` makes the Method, `set_value` shows one, ``changed`` says that the user did something. What is
not valid is said in place, under the form, and raised only by `value`.
"""

from __future__ import annotations

import typing
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_denoisereg.method import Method, describe
from napari_denoisereg.widgets.editors import Editor, OptionalEditor, calm, simple_editor, without_none
from napari_denoisereg.widgets.elided_combo import ElidedCombo
from napari_denoisereg.widgets.section import Section

BOX_MARGINS = 4, 4, 4, 4  # px: docks are narrow, and boxes lie in boxes
LAST = ("every", "seed")  # settings that hardly anybody changes come last, whatever class declares them


class MethodForm(Editor):
    """Form for the settings of one Method class.

    Parameters
    ----------
    method : type of Method
        Whose settings.
    skip : collection of str
        Fields that are edited elsewhere; they keep the value last set.
    parent : QWidget, optional
        Qt parent.
    """

    def __init__(self, method: type[Method], *, skip: Collection[str] = (), parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._method = method
        self._kept: dict[str, Any] = {}
        self._editors: dict[str, Editor] = {}
        self._problem = QLabel()
        self._problem.setWordWrap(True)
        self._problem.setObjectName("problem")
        self._problem.hide()
        settings = describe(method)
        plain = self._rows([row for row in settings if row["name"] not in skip and not row["advanced"]])
        later = [row for row in settings if row["name"] not in skip and row["advanced"]]
        self._later = sorted(later, key=lambda row: LAST.index(row["name"]) if row["name"] in LAST else -1)
        parts: list[QWidget] = [plain] if plain is not None else []
        if self._later:
            page = QWidget()
            self._advanced = QVBoxLayout(page)
            self._advanced.setContentsMargins(0, 0, 0, 0)
            more = Section("More settings", page)
            more.toggled.connect(self._on_opened)
            parts.append(more)
        self._hold(*parts, self._problem, vertical=True)
        self._kept.update({row["name"]: row["default"] for row in settings if row["name"] not in self._editors})

    def value(self) -> Method:
        """The Method with these settings.

        Returns
        -------
        Method
            An instance of the form's class.

        Raises
        ------
        ValueError
            When a setting is not valid; the same text is shown under the form.
        """
        settings = {**self._kept, **{name: editor.value() for name, editor in self._editors.items()}}
        fields = self._method.model_fields
        try:
            return self._method.model_validate({fields[name].alias or name: value for name, value in settings.items()})
        except ValidationError as error:
            raise ValueError(_in_words(error)) from None

    def set_value(self, value: Method) -> None:
        """Show a Method's settings.

        Parameters
        ----------
        value : Method
            An instance of the form's class.
        """
        for name in self._kept:
            self._kept[name] = getattr(value, name)
        for name, editor in self._editors.items():
            editor.set_value(getattr(value, name))
        self._show_problem()

    def problem(self) -> str:
        """What is not valid.

        Returns
        -------
        str
            In plain words; empty when all is well.
        """
        try:
            self.value()
        except ValueError as error:
            return str(error)
        return ""

    def _rows(self, settings: list[dict[str, Any]]) -> QWidget | None:
        if not settings:
            return None
        page = QWidget()
        layout = QFormLayout(page)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for row in settings:
            editor = editor_for(row)
            editor.setToolTip(row["description"])
            editor.setAccessibleName(row["name"])
            editor.set_value(row["default"])
            editor.changed.connect(self._on_changed)
            self._editors[row["name"]] = editor
            label = QLabel(title_of(row))
            label.setToolTip(row["description"])
            label.setBuddy(editor)
            if isinstance(editor, FamilyForm | SeveralForm):
                layout.addRow(label)
                layout.addRow(editor)
            else:
                layout.addRow(label, editor)
        return page

    def _on_opened(self, _: bool) -> None:
        """Make the rows of *More settings* when they are first asked for: widgets are slow to make."""
        page = self._rows(self._later)
        for row in self._later:
            self._editors[row["name"]].blockSignals(True)
            self._editors[row["name"]].set_value(self._kept.pop(row["name"]))
            self._editors[row["name"]].blockSignals(False)
        self._later = []
        if page is not None:
            self._advanced.addWidget(page)

    def _on_changed(self) -> None:
        self._show_problem()
        self.changed.emit()

    def _show_problem(self) -> None:
        text = self.problem()
        self._problem.setText(text)
        self._problem.setVisible(bool(text))


class FamilyForm(Editor):
    """A choice of one member of a family, with its form below.

    Parameters
    ----------
    family : type of Method
        Its members are the choices.
    is_optional : bool
        Whether *none* is one of them.
    parent : QWidget, optional
        Qt parent.
    """

    def __init__(self, family: type[Method], *, is_optional: bool = False, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._members: Mapping[str, type[Method]] = family.members()
        self._choice = ElidedCombo()
        calm(self._choice)
        if is_optional:
            self._choice.addItem("None", "")
        for kind, member in self._members.items():
            self._choice.addItem(member.title, kind)
            self._choice.setItemData(self._choice.count() - 1, first_line(member), Qt.ItemDataRole.ToolTipRole)
        self._about = QLabel()
        self._about.setWordWrap(True)
        self._about.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._form: MethodForm | None = None
        self._place = self._hold(self._choice, self._about, vertical=True)
        self._choice.currentIndexChanged.connect(self._on_chosen)
        self._show_form()

    def value(self) -> Method | None:
        """The chosen member with its settings, or None."""
        return None if self._form is None else self._form.value()

    def set_value(self, value: Method | None) -> None:
        """Choose a member and show its settings.

        Parameters
        ----------
        value : Method or None
            A member of the family.
        """
        kind = "" if value is None else value.kind
        place = self._choice.findData(kind)
        if place < 0:
            raise ValueError(f"Expected one of {', '.join(self._members)}, got {kind!r}.")
        self._choice.setCurrentIndex(place)
        if value is not None and self._form is not None:
            self._form.set_value(value)

    def _on_chosen(self) -> None:
        self._show_form()
        self.changed.emit()

    def _show_form(self) -> None:
        if self._form is not None:
            self._form.hide()
            self._place.removeWidget(self._form)
            self._form.deleteLater()
            self._form = None
        member = self._members.get(self._choice.currentData() or "")
        self._about.setText(first_line(member) if member else "")
        self._about.setVisible(member is not None)
        if member is not None:
            self._form = MethodForm(member)
            self._form.changed.connect(self.changed)
            self._place.addWidget(self._form)


class SeveralForm(Editor):
    """Several members of a family, one after the other.

    Parameters
    ----------
    family : type of Method
        Its members are the choices.
    parent : QWidget, optional
        Qt parent.
    """

    def __init__(self, family: type[Method], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._family = family
        self._forms: list[tuple[QGroupBox, FamilyForm]] = []
        self._add = QPushButton("Add a step")
        self._add.clicked.connect(self._on_add)
        self._remove = QPushButton("Remove the last")
        self._remove.clicked.connect(self._on_remove)
        buttons = QWidget()
        row = QHBoxLayout(buttons)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._add)
        row.addWidget(self._remove)
        self._boxes = QVBoxLayout()
        self._hold(buttons, vertical=True).insertLayout(0, self._boxes)
        self._remove.setEnabled(False)

    def value(self) -> tuple[Method, ...]:
        """The chosen members in their order."""
        return tuple(method for method in (form.value() for _, form in self._forms) if method is not None)

    def set_value(self, value: tuple[Method, ...]) -> None:
        """Show members; forms of the same kind at the same place stay.

        Parameters
        ----------
        value : tuple of Method
            Members of the family.
        """
        while len(self._forms) > len(value):
            self._drop()
        while len(self._forms) < len(value):
            self._append()
        for (_, form), method in zip(self._forms, value, strict=True):
            form.set_value(method)

    def _on_add(self) -> None:
        self._append()
        self.changed.emit()

    def _on_remove(self) -> None:
        self._drop()
        self.changed.emit()

    def _append(self) -> None:
        box = QGroupBox(f"Step {len(self._forms) + 1}")
        form = FamilyForm(self._family)
        form.changed.connect(self.changed)
        layout = QVBoxLayout(box)
        layout.setContentsMargins(*BOX_MARGINS)
        layout.addWidget(form)
        self._forms.append((box, form))
        self._boxes.addWidget(box)
        self._remove.setEnabled(True)

    def _drop(self) -> None:
        box, _ = self._forms.pop()
        box.hide()
        self._boxes.removeWidget(box)
        box.deleteLater()
        self._remove.setEnabled(bool(self._forms))


def editor_for(setting: Mapping[str, Any]) -> Editor:
    """Make the editor of a setting.

    Parameters
    ----------
    setting : mapping
        A row of `method.describe`.

    Returns
    -------
    Editor
        A `FamilyForm`, `SeveralForm`, `MethodForm` or a simple editor.
    """
    annotation, is_optional = without_none(setting["annotation"])
    if isinstance(annotation, type) and issubclass(annotation, Method):
        if not annotation.kind:
            return FamilyForm(annotation, is_optional=is_optional)
        return OptionalEditor(MethodForm(annotation)) if is_optional else MethodForm(annotation)
    parts = typing.get_args(annotation)
    is_open_tuple = typing.get_origin(annotation) is tuple and len(parts) == 2 and parts[1] is Ellipsis
    if is_open_tuple and isinstance(parts[0], type) and issubclass(parts[0], Method):
        return SeveralForm(parts[0])
    return simple_editor(setting["annotation"], setting)


def title_of(setting: Mapping[str, Any]) -> str:
    """Name of a setting in plain words, with its unit.

    Parameters
    ----------
    setting : mapping
        A row of `method.describe`.

    Returns
    -------
    str
        E.g. ``"Learning rate"``, ``"Patch (px)"``.
    """
    words = str(setting["name"]).replace("_", " ")
    unit = f" ({setting['unit']})" if setting.get("unit") else ""
    return words[:1].upper() + words[1:] + unit


def first_line(method: type[Method]) -> str:
    """What a method does, in one sentence: how its docstring begins.

    Parameters
    ----------
    method : type of Method
        A member of a family.

    Returns
    -------
    str
        For people.
    """
    return (method.__doc__ or "").strip().partition("\n")[0]


def _in_words(error: ValidationError) -> str:
    lines = []
    for entry in error.errors():
        place = ", ".join(str(part).replace("_", " ") for part in entry["loc"])
        message = str(entry["msg"]).removeprefix("Value error, ")
        lines.append(f"{place[:1].upper() + place[1:]}: {message}" if place else message)
    return "\n".join(lines)
