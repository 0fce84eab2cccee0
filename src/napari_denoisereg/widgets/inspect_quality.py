"""View *Did it help?*: figures per frame as a plot and a list, before and after; click one to go to the frame."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSortFilterProxyModel, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QAbstractItemView, QComboBox, QHeaderView, QPushButton, QTableView, QWidget

from napari_denoisereg.widgets.editors import calm
from napari_denoisereg.widgets.inspect_figures import FrameFigures, measures
from napari_denoisereg.widgets.inspect_plots import AFTER, BEFORE, FramePlot, Line
from napari_denoisereg.widgets.inspect_results import Results
from napari_denoisereg.widgets.inspect_view import View
from napari_denoisereg.widgets.source_form import row_label

HEADS = ("Frame", "Before", "After", "Gain", "")
Role = Qt.ItemDataRole


class FigureTable(QAbstractTableModel):
    """Figures as rows: frame, before, after, gain, and whether to look at it."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._figures: FrameFigures | None = None

    def set_figures(self, figures: FrameFigures | None) -> None:
        """Show other figures, or none."""
        self.beginResetModel()
        self._figures = figures
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802, ARG002 - Qt's
        """One row per frame."""
        return 0 if self._figures is None else len(self._figures.before)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802, ARG002 - Qt's
        """As many as there are heads."""
        return len(HEADS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Role.DisplayRole) -> Any:  # noqa: N802 - Qt's
        """Names of the columns."""
        if role == Role.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return HEADS[section]
        return None

    def data(self, index: QModelIndex, role: int = Role.DisplayRole) -> Any:
        """Text to show, or a number to sort by (``UserRole``)."""
        if self._figures is None or not index.isValid():
            return None
        value = self._value(index.row(), index.column())
        if role == Role.UserRole:
            return value
        if role == Role.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignCenter if index.column() == 4 else Qt.AlignmentFlag.AlignRight
        if role == Role.ToolTipRole and index.column() == 4 and value:
            return self._figures.reason(index.row())
        return self._text(index.column(), value) if role == Role.DisplayRole else None

    def _value(self, frame: int, column: int) -> float:
        assert self._figures is not None
        figures = self._figures
        if column == 4:
            return float(frame in figures.flagged)
        return float((frame, figures.before[frame], figures.after[frame], figures.gain[frame])[column])

    @staticmethod
    def _text(column: int, value: float) -> str:
        if column == 4:
            return "⚠" if value else ""
        if column == 0:
            return str(int(value))
        return "–" if np.isnan(value) else f"{value:+.3g}" if column == 3 else f"{value:.3g}"


class FigureList(QTableView):
    """A sorted list of figures. Signal ``row_chosen(int)``: the user goes to a frame."""

    row_chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model, self._sorted = FigureTable(self), QSortFilterProxyModel(self)
        self._is_following = False
        self._sorted.setSourceModel(self._model)
        self._sorted.setSortRole(Role.UserRole)
        self.setModel(self._sorted)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setTabKeyNavigation(False)
        self.setMinimumHeight(170)
        rows, heads = QHeaderView(Qt.Orientation.Vertical, self), QHeaderView(Qt.Orientation.Horizontal, self)
        rows.setDefaultSectionSize(rows.fontMetrics().height() + 6)
        self.setVerticalHeader(rows)
        rows.hide()
        heads.setSectionsClickable(True)
        heads.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.setHorizontalHeader(heads)
        self.setSortingEnabled(True)
        self.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self.setToolTip("Click a row, or use the arrow keys, to go to its frame; click a head to sort by it.")

    def set_figures(self, figures: FrameFigures | None) -> None:
        """Show other figures, or none."""
        self._is_following = True
        self._model.set_figures(figures)
        self._is_following = False

    def set_frame(self, frame: int) -> None:
        """Say which frame is in view."""
        self._is_following = True
        row = self._sorted.mapFromSource(self._model.index(frame, 0))
        self.setCurrentIndex(row)
        self.scrollTo(row)
        self._is_following = False

    def currentChanged(self, current: QModelIndex, previous: QModelIndex) -> None:  # noqa: N802 - Qt's name
        """Tell where the user went."""
        super().currentChanged(current, previous)
        if current.isValid() and not self._is_following:
            self.row_chosen.emit(self._sorted.mapToSource(current).row())


class QualityView(View):
    """The view; see `View`."""

    title = "Did it help?"

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self._figures: FrameFigures | None = None
        self._measure = QComboBox()
        calm(self._measure)
        self._measure.setToolTip("What to compare before and after: at keypoints where you marked some, else by likeness.")
        self._plot = FramePlot()
        self._plot.setToolTip("Click to go to that frame. Triangles: frames to look at. Grey line: the frame in view.")
        self._table = FigureList()
        self._next = QPushButton("Next frame to look at")
        self._next.setToolTip("Go to the next frame marked ⚠: it became worse, or fits far less well than the others.")
        self._rows.addRow(row_label("Measure"), self._measure)
        self._rows.addRow(self._words)
        self._rows.addRow(self._plot)
        self._rows.addRow(self._next)
        self._rows.addRow(self._table)
        self._measure.currentIndexChanged.connect(self._on_measure)
        self._plot.frame_clicked.connect(self.frame_wanted)
        self._next.clicked.connect(self._on_next)
        self._table.row_chosen.connect(self.frame_wanted)

    def missing(self, results: Results) -> str:
        """See `View.missing`."""
        nothing = "There is nothing to compare yet: run Denoise and register on this movie, or choose its results above."
        return "" if measures(results) else nothing

    def begin(self) -> None:
        """Offer what can be measured and measure the most telling."""
        assert self._results is not None
        names, wanted = list(measures(self._results)), self._measure.currentText()
        self._measure.blockSignals(True)
        self._measure.clear()
        self._measure.addItems(names)
        self._measure.setCurrentIndex(names.index(wanted) if wanted in names else 0)
        self._measure.blockSignals(False)
        self._on_measure()

    def end(self) -> None:
        """Forget the figures."""
        self._set_figures(None)

    def follow(self) -> None:
        """Mark the frame in view in plot and list."""
        self._plot.set_frame(self._position.frame)
        if self._figures is not None:
            self._table.set_frame(self._position.frame)

    def set_theme(self, name: str) -> None:
        """See `View.set_theme`."""
        self._plot.set_theme(name)

    def _on_measure(self, _: int = 0) -> None:
        if self._results is None:
            return
        self._set_figures(None)
        self.say("Measuring …")
        work = measures(self._results)[self._measure.currentText()]
        self._background.ask(work, self._set_figures, restart=True)

    def _set_figures(self, figures: FrameFigures | None) -> None:
        self._figures = figures
        self._table.set_figures(figures)
        flagged = () if figures is None else figures.flagged
        self._next.setEnabled(bool(flagged))
        if figures is None:
            self._plot.show_frames(np.zeros(0), [])
            return
        self.say(figures.words())
        self._plot.set_names("Frame", figures.label.partition(" to ")[0])
        lines = [Line("before", figures.before, BEFORE, is_dashed=True), Line("after", figures.after, AFTER)]
        self._plot.show_frames(np.arange(len(figures.before)), lines)
        self._plot.show_marks(flagged, figures.after)
        self.follow()

    def _on_next(self) -> None:
        if self._figures is not None and self._figures.flagged:
            later = [frame for frame in self._figures.flagged if frame > self._position.frame]
            self.frame_wanted.emit((later or self._figures.flagged)[0])
