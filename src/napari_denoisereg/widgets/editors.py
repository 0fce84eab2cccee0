"""Editors for single settings: a number, a choice, a switch, some text, or one of these that may be left out.

They are magicgui's widgets, told what magicgui cannot know: bounds (its spin boxes stop at 999 otherwise), enough decimals
for the value, and not to change when the mouse wheel scrolls the form over them.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Union

from magicgui.widgets import create_widget
from qtpy.QtCore import QEvent, QObject, Qt, Signal  # type: ignore[attr-defined]  # qtpy renames pyqtSignal
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QBoxLayout,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

LARGEST_INT = 2**53  # floats, which Qt's large spin box counts in, are exact up to here
LARGEST_FLOAT = 1e12


class Editor(QWidget):
    """A widget that is a value: `value`, `set_value`, and the signal ``changed``."""

    changed = Signal()

    def value(self) -> Any:
        """What the user entered; raises ValueError where that is no value."""
        raise NotImplementedError

    def set_value(self, value: Any) -> None:
        """Show a value.

        Parameters
        ----------
        value : Any
            Of the setting's type.
        """
        raise NotImplementedError

    def _hold(self, *widgets: QWidget, vertical: bool = False) -> QBoxLayout:
        layout: QBoxLayout = QVBoxLayout(self) if vertical else QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in widgets:
            layout.addWidget(widget, 0 if vertical or isinstance(widget, QCheckBox) else 1)
        return layout


class SimpleEditor(Editor):
    """A number, a switch or one of several choices.

    Parameters
    ----------
    annotation : type
        ``int``, ``float``, ``bool`` or a ``Literal``.
    setting : mapping
        A row of `method.describe`.
    parent : QWidget, optional
        Qt parent.
    """

    def __init__(self, annotation: Any, setting: Mapping[str, Any], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._annotation = annotation
        self._widget = typing.cast("Any", create_widget(annotation=annotation, options=_options(annotation, setting)))
        native = self._widget.native
        if isinstance(native, QDoubleSpinBox):
            native.setStepType(QAbstractSpinBox.StepType.AdaptiveDecimalStepType)
        if not isinstance(native, QCheckBox):
            calm(native)
        self._hold(native)
        self._widget.changed.connect(self._on_changed)

    def value(self) -> Any:
        """The number, switch or choice."""
        return self._widget.value

    def set_value(self, value: Any) -> None:
        """Show a value; a float gets as many decimals as it has.

        Parameters
        ----------
        value : Any
            Of the annotated type.
        """
        native = self._widget.native
        if isinstance(native, QDoubleSpinBox):
            native.setDecimals(max(native.decimals(), _decimals(value)))
        self._widget.value = value

    def _on_changed(self) -> None:
        self.changed.emit()


class TextEditor(Editor):
    """Text, or JSON for types that have no editor of their own.

    Parameters
    ----------
    is_json : bool
        Whether the text is JSON.
    parent : QWidget, optional
        Qt parent.
    """

    def __init__(self, *, is_json: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._is_json = is_json
        self._line = QLineEdit()
        self._line.textChanged.connect(self._on_text_changed)
        self._hold(self._line)

    def value(self) -> Any:
        """The text, or what its JSON says; raises ValueError for broken JSON."""
        if not self._is_json:
            return self._line.text()
        try:
            return json.loads(self._line.text())
        except json.JSONDecodeError:
            raise ValueError(f"Expected e.g. 3 or [1, 2, 3], got {self._line.text()!r}.") from None

    def set_value(self, value: Any) -> None:
        """Show text.

        Parameters
        ----------
        value : Any
            Text or anything JSON can hold.
        """
        self._line.setText(json.dumps(value) if self._is_json else str(value))

    def _on_text_changed(self) -> None:
        self.changed.emit()


class PathEditor(Editor):
    """A file: its path to type or to choose.

    Parameters
    ----------
    parent : QWidget, optional
        Qt parent.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._line = QLineEdit()
        self._line.setPlaceholderText("no file")
        self._line.textChanged.connect(self._on_text_changed)
        choose = QPushButton("Choose…")
        choose.setToolTip("Look for the file.")
        choose.clicked.connect(self._on_choose)
        layout = self._hold(self._line, choose)
        layout.setStretch(1, 0)

    def value(self) -> Path:
        """The path; raises ValueError where there is none."""
        if not self._line.text().strip():
            raise ValueError("Expected a file; choose one, or switch this setting off.")
        return Path(self._line.text().strip())

    def set_value(self, value: Path) -> None:
        """Show a path.

        Parameters
        ----------
        value : Path
            It need not exist.
        """
        self._line.setText(str(value))

    def _on_choose(self) -> None:
        from napari_denoisereg.io.library import Library

        # The files that settings name are models: look where the user keeps them.
        chosen, _ = QFileDialog.getOpenFileName(self, "Choose a file", self._line.text() or str(Library().folder))
        if chosen:
            self._line.setText(chosen)

    def _on_text_changed(self) -> None:
        self.changed.emit()


class OptionalEditor(Editor):
    """A value that may be left out: a check box before another editor.

    Parameters
    ----------
    inner : Editor
        Edits the value.
    parent : QWidget, optional
        Qt parent.
    """

    def __init__(self, inner: Editor, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._inner = inner
        self._box = QCheckBox()
        self._box.setToolTip("Switch off to leave the choice to the method.")
        self._box.toggled.connect(self._on_toggled)
        inner.changed.connect(self.changed)
        inner.setEnabled(False)
        self._hold(self._box, inner)

    def value(self) -> Any:
        """The value or None."""
        return self._inner.value() if self._box.isChecked() else None

    def set_value(self, value: Any) -> None:
        """Show a value.

        Parameters
        ----------
        value : Any
            None to leave it out.
        """
        if value is not None:
            self._inner.set_value(value)
        self._box.setChecked(value is not None)

    def _on_toggled(self, is_on: bool) -> None:
        self._inner.setEnabled(is_on)
        self.changed.emit()


def simple_editor(annotation: Any, setting: Mapping[str, Any]) -> Editor:
    """Make the editor of a setting that is no Method.

    Parameters
    ----------
    annotation : type
        Of the setting.
    setting : mapping
        A row of `method.describe`.

    Returns
    -------
    Editor
        JSON text for types that have none of their own.
    """
    inner, is_optional = without_none(annotation)
    if is_optional:
        return OptionalEditor(simple_editor(inner, setting))
    if inner in (int, float, bool) or typing.get_origin(inner) is Literal:
        return SimpleEditor(inner, setting)
    if inner is Path:
        return PathEditor()
    return TextEditor(is_json=inner is not str)


def without_none(annotation: Any) -> tuple[Any, bool]:
    """Split ``X | None``.

    Parameters
    ----------
    annotation : type
        Any.

    Returns
    -------
    tuple of type, bool
        ``X`` and whether None was allowed; other unions stay as they are.
    """
    if typing.get_origin(annotation) not in (Union, types.UnionType):
        return annotation, False
    others = [part for part in typing.get_args(annotation) if part is not type(None)]
    if len(others) == len(typing.get_args(annotation)):
        return annotation, False
    return (others[0] if len(others) == 1 else Union[tuple(others)]), True  # noqa: UP007 - made at run time


def calm(widget: QWidget) -> None:
    """Keep the mouse wheel from changing a widget that was not clicked: it scrolls the form instead.

    Parameters
    ----------
    widget : QWidget
        A spin box or combo box.
    """
    widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    widget.installEventFilter(_WheelFilter(widget))
    if isinstance(widget, QComboBox):  # a long entry must not make a narrow dock wide
        widget.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        widget.setMinimumContentsLength(8)


class _WheelFilter(QObject):
    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802 - Qt's name
        """Hold back wheel events of widgets without focus."""
        if event is not None and event.type() == QEvent.Type.Wheel and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return bool(super().eventFilter(watched, event))


def _options(annotation: Any, setting: Mapping[str, Any]) -> dict[str, Any]:
    if annotation not in (int, float):
        return {}
    largest = LARGEST_INT if annotation is int else LARGEST_FLOAT
    lower, upper = setting.get("ge", setting.get("gt", -largest)), setting.get("le", setting.get("lt", largest))
    if annotation is int:
        return {
            "min": int(lower) + ("gt" in setting),
            "max": int(upper) - ("lt" in setting),
            "step": int(setting.get("multiple_of", 1)),
        }
    default = setting["default"] if isinstance(setting["default"], int | float) else 1.0
    step = float(Decimal(1).scaleb(-_decimals(default) - 1))
    # An open bound itself can be entered; the form then says that it is not valid.
    return {"min": float(lower), "max": float(upper), "step": step}


def _decimals(value: float) -> int:
    exponent = Decimal(repr(float(value))).normalize().as_tuple().exponent
    return min(12, max(1, -int(exponent)))
