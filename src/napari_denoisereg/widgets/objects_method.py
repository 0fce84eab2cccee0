"""How the dock *Register objects* registers: a choice of motions in plain words, and any other method behind *Advanced*."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from qtpy.QtCore import Signal  # type: ignore[attr-defined]  # qtpy renames pyqtSignal
from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from napari_denoisereg.widgets.editors import calm
from napari_denoisereg.widgets.form import FamilyForm
from napari_denoisereg.widgets.section import Section
from napari_denoisereg.widgets.source_form import wrapped_label
from napari_denoisereg.widgets.transforms_make import KINDS

if TYPE_CHECKING:
    from napari_denoisereg.register import Registrar, Series

MOTIONS = ("rigid", "translation", "similarity", "affine")  # the first is chosen: cells that crawl are not blown up by it
OTHER = "Other (see Advanced)"
ABOUT = (
    "What each object may do between frames. Cells that crawl and change their shape: rigid, or shift only. Nuclei that grow "
    "or are squeezed: similarity or affine; of cells these would take a new shape for stretch."
)
METHOD, SERIES = "Method, used for every object:", "Which frames are compared:"


class ObjectsMethod(QWidget):
    """The folded part; ``choice`` is laid out by the dock. Signal ``changed()``.

    Parameters
    ----------
    parent : QWidget, optional
        Qt parent.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._is_ready = False
        self._method: FamilyForm | None = None
        self._series: FamilyForm | None = None
        self.choice = QComboBox()
        calm(self.choice)
        self.choice.setToolTip(ABOUT)
        for motion in MOTIONS:
            self.choice.addItem(KINDS[motion], motion)
        self.choice.addItem(OTHER, "")
        self._page = QWidget()
        self._rows = QVBoxLayout(self._page)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._advanced = Section("Advanced", self._page)
        self._advanced.toggleButton().setToolTip("Show the settings of the method, and other methods.")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._advanced)
        self.choice.currentIndexChanged.connect(self._on_chosen)
        self._advanced.toggled.connect(lambda _: self._make_forms())

    def set_ready(self) -> None:
        """Allow to make methods: from here on the engine is imported."""
        self._is_ready = True
        self._make_forms()
        self.changed.emit()

    def value(self) -> Registrar | None:
        """The method; None before the engine is there. Raises ValueError where a setting is not valid."""
        if not self._is_ready:
            return None
        if self._method is not None:
            return cast("Registrar", self._method.value())
        from napari_denoisereg.register import Registrar

        return Registrar.coerce({"kind": "affine", "motion": self.choice.currentData()})

    def series(self) -> Series:
        """How pairs of frames become a series."""
        from napari_denoisereg.register import Series

        return Series.coerce("combined") if self._series is None else cast("Series", self._series.value())

    def _on_chosen(self, _: int) -> None:
        motion = self.choice.currentData()
        if not motion:
            self._advanced.expand(animate=False)
        elif self._method is not None:
            from napari_denoisereg.register import Registrar

            self._method.blockSignals(True)
            self._method.set_value(Registrar.coerce({"kind": "affine", "motion": motion}))
            self._method.blockSignals(False)
        self.changed.emit()

    def _make_forms(self) -> None:
        """Make the forms when they are first asked for: widgets are slow to make."""
        if not self._advanced.isExpanded() or self._method is not None or not self._is_ready:
            return
        from napari_denoisereg.register import Registrar, Series

        value = Registrar.coerce({"kind": "affine", "motion": self.choice.currentData() or MOTIONS[0]})
        self._method, self._series = FamilyForm(Registrar), FamilyForm(Series)
        self._method.set_value(value)
        self._series.set_value(Series.coerce("combined"))
        self._method.changed.connect(self._on_edited)
        self._series.changed.connect(self.changed)
        for title, form in ((METHOD, self._method), (SERIES, self._series)):
            form.setToolTip(title.rstrip(":"))
            self._rows.addWidget(wrapped_label(title))
            self._rows.addWidget(form)

    def _on_edited(self) -> None:
        """The settings are no longer just those of a motion."""
        self.choice.blockSignals(True)
        self.choice.setCurrentIndex(self.choice.count() - 1)
        self.choice.blockSignals(False)
        self.changed.emit()
