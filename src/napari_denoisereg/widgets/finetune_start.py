"""What a training starts from, by which method, and for how long: the upper part of the dock *Fine-tune*."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]  # qtpy renames pyqtSignal
from qtpy.QtWidgets import QDoubleSpinBox, QFormLayout, QVBoxLayout, QWidget

from napari_denoisereg.widgets.device_chooser import DeviceChooser
from napari_denoisereg.widgets.editors import calm
from napari_denoisereg.widgets.elided_combo import ElidedCombo
from napari_denoisereg.widgets.form import MethodForm, first_line
from napari_denoisereg.widgets.section import Section
from napari_denoisereg.widgets.source_form import row_label, wrapped_label

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_denoisereg.method import Method
    from napari_denoisereg.model import Model

FIRST_METHOD = "noise2void"
MINUTES = 5.0
MANY_ITERATIONS = 10_000_000  # the time ends a training first
BUDGET = ("seconds", "iterations")
SCRATCH = "From scratch: the network knows nothing yet and learns from this movie alone."
CRASHED = "Goes on exactly where the interrupted training was. Open the same movie, with the same axes."


@dataclass(frozen=True, eq=False)
class Start:
    """Something to start from.

    Parameters
    ----------
    title : str
        In the list.
    about : str
        Below it.
    model : Model
        Without weights it says what it is; ``load`` gives them.
    load : callable
        Gives the whole model; called in the worker.
    key : str
        Tells it from the others.
    """

    title: str
    about: str
    model: Model
    load: Callable[[], Model]
    key: str

    @property
    def is_unfinished(self) -> bool:
        """Whether its training was interrupted."""
        return self.model.unfinished is not None


class StartForm(QWidget):
    """Start, method, minutes and settings.

    Signal ``changed()``.

    Parameters
    ----------
    parent : QWidget, optional
        Qt parent.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._methods: dict[str, type[Method]] = {}
        self._starts: list[Start] = []
        self._form: MethodForm | None = None
        self._start = ElidedCombo()
        calm(self._start)
        self._start.setToolTip("A model that has learnt from similar movies needs less time. It is not changed.")
        self._about = wrapped_label(SCRATCH)
        self._method = ElidedCombo()
        calm(self._method)
        self._method.setToolTip(
            "What the network shall learn: to denoise, to register, or features that registrars compare images by."
        )
        self._about_method = wrapped_label()
        self._minutes = QDoubleSpinBox()
        calm(self._minutes)
        self._minutes.setRange(0.1, 10_000.0)
        self._minutes.setDecimals(1)
        self._minutes.setValue(MINUTES)
        self._minutes.setSuffix(" min")
        self._minutes.setToolTip("How long to train. You can stop earlier and keep the best; pauses do not count.")
        self.device = DeviceChooser()
        self._page = QWidget()
        self._place = QVBoxLayout(self._page)
        self._place.setContentsMargins(0, 0, 0, 0)
        self._settings = Section("Settings of the method", self._page)
        rows = QFormLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        rows.addRow(row_label("Start"), self._start)
        rows.addRow(self._about)
        rows.addRow(row_label("Method"), self._method)
        rows.addRow(self._about_method)
        rows.addRow(row_label("Time"), self._minutes)
        rows.addRow(row_label("Device"), self.device)
        rows.addRow(self._settings)
        self._start.currentIndexChanged.connect(self._on_start)
        self._method.currentIndexChanged.connect(self._on_method)
        self._minutes.valueChanged.connect(self._on_edited)
        self._settings.toggled.connect(self._on_opened)

    def set_methods(self, methods: Sequence[type[Method]]) -> None:
        """Say which methods there are.

        Parameters
        ----------
        methods : sequence of type of Method
            Those that are trained.
        """
        self._methods = {member.kind: member for member in methods}
        self._method.blockSignals(True)
        self._method.clear()
        for kind, member in self._methods.items():
            self._method.addItem(member.title, kind)
            self._method.setItemData(self._method.count() - 1, first_line(member), Qt.ItemDataRole.ToolTipRole)
        self._method.setCurrentIndex(max(0, self._method.findData(FIRST_METHOD)))
        self._method.blockSignals(False)
        self._show_form()

    def set_starts(self, starts: Sequence[Start]) -> None:
        """Say what there is to start from; the choice stays where it can.

        Parameters
        ----------
        starts : sequence of Start
            Beside *From scratch*.
        """
        chosen = self.start()
        self._starts = [start for start in starts if start.model.method.kind in self._methods]
        self._start.blockSignals(True)
        self._start.clear()
        self._start.addItem("From scratch", "")
        for start in self._starts:
            self._start.addItem(start.title, start.key)
        self._start.blockSignals(False)
        self.choose("" if chosen is None else chosen.key)

    def choose(self, key: str) -> None:
        """Choose a start.

        Parameters
        ----------
        key : str
            Of a `Start`; *From scratch* where there is no such.
        """
        self._start.setCurrentIndex(max(0, self._start.findData(key)))
        self._on_start()

    def start(self) -> Start | None:
        """What to start from; None for *From scratch*."""
        key = self._start.currentData()
        return next((start for start in self._starts if start.key == key), None)

    def value(self) -> Method | None:
        """The method with its settings and its budget; None before `set_methods`.

        Raises
        ------
        ValueError
            When a setting is not valid.
        """
        start = self.start()
        if start is not None and start.is_unfinished:
            return start.model.method
        method = self._base() if self._form is None else self._form.value()
        if method is None:
            return None
        budget = {"seconds": 60.0 * self._minutes.value(), "iterations": MANY_ITERATIONS}
        return method.model_copy(update={name: budget[name] for name in BUDGET if name in type(method).model_fields})

    def set_minutes(self, minutes: float) -> None:
        """Say how long to train, min."""
        self._minutes.setValue(minutes)

    def _base(self) -> Method | None:
        """Settings to begin with: those of the start, or the method's own."""
        start, member = self.start(), self._methods.get(self._method.currentData() or "")
        if start is not None:
            return start.model.method
        return None if member is None else member()

    def _on_start(self, _: Any = None) -> None:
        start = self.start()
        self._about.setText(SCRATCH if start is None else start.about)
        self._method.setEnabled(start is None)
        self._minutes.setEnabled(start is None or not start.is_unfinished)
        self._settings.setEnabled(start is None or not start.is_unfinished)
        if start is not None:
            self._method.blockSignals(True)
            self._method.setCurrentIndex(self._method.findData(start.model.method.kind))
            self._method.blockSignals(False)
            if start.is_unfinished:
                self._minutes.setValue(getattr(start.model.method, "seconds", 60.0 * MINUTES) / 60.0)
        self._show_form()
        self.changed.emit()

    def _on_method(self, _: int) -> None:
        self._show_form()
        self.changed.emit()

    def _on_edited(self, _: Any = None) -> None:
        self.changed.emit()

    def _on_opened(self, is_open: bool) -> None:
        if is_open:
            self._show_form()

    def _show_form(self) -> None:
        """Make the form of the method, once somebody has opened it: widgets are slow to make."""
        if self._form is not None:
            self._form.hide()
            self._place.removeWidget(self._form)
            self._form.deleteLater()
            self._form = None
        base = self._base()
        self._about_method.setText("" if base is None else f"{base.title}. {first_line(type(base))}")
        if base is not None and self._settings.isExpanded():
            self._form = MethodForm(type(base), skip=BUDGET)
            self._form.set_value(base)
            self._form.changed.connect(self._on_edited)
            self._place.addWidget(self._form)
