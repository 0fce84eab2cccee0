"""The table of errors: one row per mark in view, per keypoint, or per mark of the movie; it follows a drag cell by cell."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QItemSelectionModel, QModelIndex, QPersistentModelIndex, QSize, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from napari_denoisereg.evaluation.keypoints import Floats, Ints
from napari_denoisereg.evaluation.live_error import LiveError
from napari_denoisereg.widgets.keypoint_layer import colour_of, label_of
from napari_denoisereg.widgets.keypoint_marks import Marks

Index = QModelIndex | QPersistentModelIndex
KEYPOINT, FRAME, WHO, BEFORE, AFTER, GAIN = range(6)
HEADERS = ("Point", "Frame", "Who", "Before", "After", "Gain")
TIPS = (
    "Number of the keypoint in its colour; c: on a contour; ✕: excluded; ✓: held out to check a fit.",
    "Frame of the mark.",
    "Who marked it.",
    "Error without registration, px: distance to where the keypoint is in frame 0.",
    "Error after registration, px.",
    "By how much registration makes the error smaller, px. Negative: it makes it worse.",
)
SCOPES = {
    "frame": ("This frame", "One row per mark in the frame in view."),
    "mean": ("Mean over frames", "One row per keypoint: its mean error over all frames."),
    "all": ("All frames", "One row per mark of the whole movie."),
}


class ErrorTableModel(QAbstractTableModel):
    """Errors as a table; the numbers are read from a LiveError when they are painted."""

    def __init__(self) -> None:
        super().__init__()
        self._marks = Marks.none(2)
        self._error = LiveError(self._marks.points)
        self._groups: list[Ints] = []  # the marks that each line stands for
        self._line_of = np.empty(0, np.int64)  # line of each mark, -1 where it has none
        self._sorting: tuple[int, Qt.SortOrder] | None = None

    def show(self, marks: Marks, error: LiveError, scope: str, frame: int) -> None:
        """Show other marks.

        Parameters
        ----------
        marks : Marks
            All marks.
        error : LiveError
            Their errors.
        scope : str
            One of `SCOPES`.
        frame : int
            In view.
        """
        self.beginResetModel()
        self._marks, self._error = marks, error
        if scope == "mean":
            names = [marks.name(row) for row in range(len(marks))]
            order: dict[Any, list[int]] = {}
            for row, name in enumerate(names):
                order.setdefault(name, []).append(row)
            self._groups = [np.array(order[name]) for name in sorted(order)]
        else:
            rows = np.arange(len(marks)) if scope == "all" else np.flatnonzero(marks.points.frame == frame)
            points = marks.points
            by = np.lexsort((points.id[rows], points.kind[rows], points.annotator[rows], points.frame[rows]))
            self._groups = [np.array([row]) for row in rows[by].tolist()]
        self._order()
        self.endResetModel()

    def follow(self, touched: Ints) -> None:
        """Paint the numbers of marks anew.

        Parameters
        ----------
        touched : ndarray
            Rows of the marks.
        """
        lines = self._line_of[touched]
        lines = lines[lines >= 0]
        if len(lines):
            self.dataChanged.emit(self.index(int(lines.min()), BEFORE), self.index(int(lines.max()), GAIN))

    def rows_of(self, line: int) -> Ints:
        """Marks that a line stands for.

        Parameters
        ----------
        line : int
            Of the table.

        Returns
        -------
        ndarray
            Rows of the marks.
        """
        return self._groups[line]

    def line_of(self, row: int) -> int:
        """Line that shows a mark.

        Parameters
        ----------
        row : int
            Of the mark.

        Returns
        -------
        int
            -1 where none does.
        """
        return int(self._line_of[row]) if row < len(self._line_of) else -1

    def figures(self, line: int) -> tuple[float, float, float]:
        """Error before, after, and the gain of a line.

        Parameters
        ----------
        line : int
            Of the table.

        Returns
        -------
        tuple of float
            Pixels; NaN where it is unknown. Of several marks the mean over those that count.
        """
        rows = self._groups[line]
        if len(rows) > 1:
            rows = rows[self._error.counts[rows]]
        before, after = _mean(self._error.before[rows]), _mean(self._error.after[rows])
        return before, after, before - after

    # ------------------------------------------------------------------------------------------ Qt asks
    def rowCount(self, parent: Index | None = None) -> int:  # noqa: N802 - Qt's name
        """Number of lines."""
        return 0 if parent is not None and parent.isValid() else len(self._groups)

    def columnCount(self, parent: Index | None = None) -> int:  # noqa: N802 - Qt's name
        """Number of columns."""
        return 0 if parent is not None and parent.isValid() else len(HEADERS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: N802
        """Names of the columns, and what they mean."""
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return HEADERS[section]
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.ToolTipRole:
            return TIPS[section]
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """What a cell shows."""
        row, column = int(self._groups[index.row()][0]), index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(index.row(), row, column)
        if role == Qt.ItemDataRole.ToolTipRole:
            return TIPS[column]
        if role == Qt.ItemDataRole.DecorationRole and column == KEYPOINT:
            return _dot(int(self._marks.points.id[row]))
        if role == Qt.ItemDataRole.TextAlignmentRole and column >= BEFORE:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; the order stays during a drag."""
        self.layoutAboutToBeChanged.emit()
        self._sorting = (column, order) if column >= 0 else None
        self._order()
        self.layoutChanged.emit()

    def _order(self) -> None:
        if self._sorting is not None:
            column, order = self._sorting
            keys = [self._sort_key(line, column) for line in range(len(self._groups))]
            lines = sorted(range(len(keys)), key=keys.__getitem__, reverse=order == Qt.SortOrder.DescendingOrder)
            self._groups = [self._groups[line] for line in lines]
        self._line_of = np.full(len(self._marks), -1, dtype=np.int64)
        for line, rows in enumerate(self._groups):
            self._line_of[rows] = line

    def _sort_key(self, line: int, column: int) -> Any:
        points, row = self._marks.points, int(self._groups[line][0])
        if column >= BEFORE:
            value = self.figures(line)[column - BEFORE]
            return -np.inf if np.isnan(value) else value
        return {KEYPOINT: (points.kind[row], points.id[row]), FRAME: points.frame[row], WHO: points.annotator[row]}[column]

    def _text(self, line: int, row: int, column: int) -> str:
        if column >= BEFORE:
            value = self.figures(line)[column - BEFORE]
            return "–" if np.isnan(value) else f"{value:.2f}"
        points = self._marks.points
        if column == WHO:
            return str(points.annotator[row])
        if column == FRAME:
            return str(points.frame[row]) if len(self._groups[line]) == 1 else "all"
        marks = ("" if self._marks.included[self._groups[line]].any() else " ✕") + (" ✓" if self._marks.check[row] else "")
        return label_of(str(points.kind[row]), int(points.id[row])) + marks


class ErrorTable(QTableView):
    """The table.

    Signals: ``picked(row)``, a mark to be shown; ``selection_changed()``.
    """

    picked = Signal(int)
    selection_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.lines = ErrorTableModel()
        self.setModel(self.lines)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTabKeyNavigation(False)  # the tab key goes on to the next control
        self.setSortingEnabled(True)
        across, down = self.horizontalHeader(), self.verticalHeader()
        assert across is not None
        assert down is not None
        across.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.lines.sort(-1)
        across.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        across.setMinimumSectionSize(30)
        down.setVisible(False)
        down.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        down.setDefaultSectionSize(self.fontMetrics().height() + 6)
        self.setMinimumHeight(110)
        self.setToolTip("Errors in pixels. Click a row to see the mark; select rows to exclude, hold out or delete them.")
        self.setAccessibleName("Errors of keypoints")
        self.clicked.connect(self._on_clicked)
        self._selection().selectionChanged.connect(lambda *_: self.selection_changed.emit())

    def selected_rows(self) -> list[int]:
        """Rows of the marks that the selected lines stand for."""
        lines = {index.row() for index in self._selection().selectedRows()}
        return sorted(int(row) for line in lines for row in self.lines.rows_of(line))

    def select_row(self, row: int) -> None:
        """Select the line of a mark and scroll there, without telling.

        Parameters
        ----------
        row : int
            Of the mark.
        """
        line = self.lines.line_of(row)
        self.clearSelection()
        if line >= 0:
            flags = QItemSelectionModel.SelectionFlag
            self._selection().select(self.lines.index(line, 0), flags.ClearAndSelect | flags.Rows)
            self.scrollTo(self.lines.index(line, 0))

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Room to leave for the plot."""
        return QSize(260, 130)

    def _selection(self) -> QItemSelectionModel:
        model = self.selectionModel()
        assert model is not None
        return model

    def _on_clicked(self, index: QModelIndex) -> None:
        rows = self.lines.rows_of(index.row())
        if len(rows) == 1:
            self.picked.emit(int(rows[0]))


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


_DOTS: dict[str, QPixmap] = {}


def _dot(number: int) -> QPixmap:
    colour = colour_of(number)
    if colour not in _DOTS:
        _DOTS[colour] = QPixmap(9, 9)
        _DOTS[colour].fill(QColor(colour))
    return _DOTS[colour]
