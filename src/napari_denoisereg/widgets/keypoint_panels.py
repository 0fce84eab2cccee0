"""The dock's two panels: buttons to mark keypoints with, and what came of it. Layout only; the dock connects them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QGridLayout, QHBoxLayout, QPushButton, QSpinBox, QVBoxLayout, QWidget

from napari_denoisereg.evaluation.keypoints import Ints
from napari_denoisereg.evaluation.live_error import LiveError, SteeredError
from napari_denoisereg.evaluation.report_methods import IN_SAMPLE
from napari_denoisereg.widgets.dock import button
from napari_denoisereg.widgets.editors import calm
from napari_denoisereg.widgets.keypoint_report import steering_of
from napari_denoisereg.widgets.keypoint_table import SCOPES, ErrorTable
from napari_denoisereg.widgets.section import Section
from napari_denoisereg.widgets.source_form import row_label, wrapped_label

if TYPE_CHECKING:
    from napari_denoisereg.evaluation.agreement import Agreement
    from napari_denoisereg.widgets.keypoint_plot import ErrorPlot
    from napari_denoisereg.widgets.keypoint_session import KeypointSession

CONTOUR_POINTS = 20
NO_ERROR = "No error yet: mark a keypoint in frame 0 and in another frame."


def quiet_button(text: str, tip: str) -> QPushButton:
    """A button that leaves the keyboard to the canvas when it is clicked; the tab key still reaches it.

    Parameters
    ----------
    text : str
        On it.
    tip : str
        What it does.

    Returns
    -------
    QPushButton
        The button.
    """
    made = button(text, tip)
    made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return made


class MarkPanel(QWidget):
    """What to do now, and buttons for it."""

    def __init__(self) -> None:
        super().__init__()
        self.advice = wrapped_label()
        font = self.advice.font()
        font.setBold(True)
        self.advice.setFont(font)
        self.accept = quiet_button(
            "✔ Accept, next frame  (Space)", "Take the proposed places (diamonds) as they are and go to the next frame."
        )
        self.first = quiet_button("|◀ First", "Go to frame 0, where new landmarks begin.")
        self.back = quiet_button("◀ Back (←)", "Go to the frame before.")
        self.forward = quiet_button("Next (→) ▶", "Go to the next frame.")
        self.undo = quiet_button("Undo", "Take the last change back (Ctrl+Z in the canvas).")
        self.redo = quiet_button("Redo", "Do again what was undone (Ctrl+Shift+Z in the canvas).")
        self.after_click = QCheckBox("Next frame after a click")
        self.after_click.setChecked(True)
        self.after_click.setToolTip(
            "On: follow one landmark through the movie, then the next. Off: click all landmarks of a frame, then press Next."
        )
        self.looks = QCheckBox("Look for it in the movie")
        self.looks.setChecked(True)
        self.looks.setToolTip(
            "Without a registration: look for the surroundings of the keypoint near its last place (normalised "
            "cross-correlation). Off: propose the last place."
        )
        self.outline = quiet_button(
            "Draw outline", "Draw around an object in the frame in view; points are then marked along it."
        )
        self.sample = quiet_button("Mark along it", "Mark points at equal distances along the outline.")
        self.n_points = QSpinBox()
        self.n_points.setRange(3, 500)
        self.n_points.setValue(CONTOUR_POINTS)
        self.n_points.setSuffix(" points")
        self.n_points.setToolTip("How many points to mark along an outline of frame 0; later outlines get the same points.")
        calm(self.n_points)
        self._lay_out()

    def _lay_out(self) -> None:
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addWidget(self.advice)
        rows.addWidget(self.accept)
        rows.addLayout(_row(self.first, self.back, self.forward))
        rows.addLayout(_row(self.undo, self.redo))
        rows.setSpacing(4)
        options = QWidget()
        inner = QVBoxLayout(options)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addWidget(self.after_click)
        inner.addWidget(self.looks)
        inner.addLayout(_row(self.outline, self.sample))
        inner.addWidget(self.n_points)
        rows.addWidget(Section("Contours and options", options))

    def refresh(self, session: KeypointSession) -> None:
        """Switch on what can be pressed now.

        Parameters
        ----------
        session : KeypointSession
            The present one.
        """
        history = session.book.history
        for each, what in ((self.undo, history.undoable), (self.redo, history.redoable)):
            each.setEnabled(bool(what))
        self.undo.setToolTip(
            f"Take back: {history.undoable} (Ctrl+Z in the canvas)." if history.undoable else "Nothing to undo."
        )
        self.redo.setToolTip(
            f"Again: {history.redoable} (Ctrl+Shift+Z in the canvas)." if history.redoable else "Nothing to redo."
        )
        self.looks.setVisible(session.book.ways is None)
        widgets: tuple[QWidget, ...] = (self.outline, self.sample, self.n_points)
        for widget in widgets:
            widget.setVisible(session.movie.n_axes == 2)


class ErrorPanel(QWidget):
    """Errors in a sentence, over time, and in a table, with buttons for its selected rows."""

    def __init__(self) -> None:
        super().__init__()
        self.summary = wrapped_label(NO_ERROR)
        self.warning = wrapped_label()
        self.warning.setVisible(False)
        self.agreement = wrapped_label()
        self.agreement.setVisible(False)
        self.view = QComboBox()
        self.view.setToolTip("What the plot shows.")
        self.scope = QComboBox()
        self.scope.setToolTip("What the table shows.")
        for box in (self.view, self.scope):
            calm(box)
        for key, (words, tip) in SCOPES.items():
            self.scope.addItem(words, key)
            self.scope.setItemData(self.scope.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.table = ErrorTable()
        self.worst = quiet_button("Go to worst", "Show the mark with the largest error.")
        self.exclude = quiet_button(
            "Exclude", "The selected marks do not count; press again to include them (E in the canvas)."
        )
        self.hold_out = quiet_button(
            "Hold out", "Use the selected keypoints to check a fit, not to steer it; press again to steer."
        )
        self.delete = quiet_button("Delete", "Delete the selected marks (Delete in the canvas). Undo brings them back.")
        self.plot: ErrorPlot | None = None
        self._error: LiveError | None = None
        self._rows = QGridLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        for line, label in enumerate((self.summary, self.warning, self.agreement)):
            self._rows.addWidget(label, line, 0, 1, 2)
        self._rows.addWidget(row_label("Plot"), 3, 0)
        self._rows.addWidget(self.view, 3, 1)
        self._rows.addWidget(row_label("Table"), 5, 0)
        self._rows.addWidget(self.scope, 5, 1)
        self._rows.addWidget(self.table, 6, 0, 1, 2)
        self._rows.addLayout(_row(self.worst, self.exclude), 7, 0, 1, 2)
        self._rows.addLayout(_row(self.hold_out, self.delete), 8, 0, 1, 2)
        self._rows.setColumnStretch(1, 1)
        self._rows.setRowStretch(4, 1)
        self._rows.setRowStretch(6, 1)

    def add_plot(self) -> ErrorPlot:
        """Make the plot: its library takes a while to import.

        Returns
        -------
        ErrorPlot
            In its place.
        """
        from napari_denoisereg.widgets.keypoint_plot import VIEWS, ErrorPlot

        plot = self.plot = ErrorPlot()
        self._rows.addWidget(self.plot, 4, 0, 1, 2)
        for key, (words, tip) in VIEWS.items():
            self.view.addItem(words, key)
            self.view.setItemData(self.view.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.view.currentIndexChanged.connect(lambda _: plot.set_view(str(self.view.currentData())))
        return plot

    def show_error(self, error: LiveError, frame: int) -> None:
        """Show other errors.

        Parameters
        ----------
        error : LiveError
            Of all marks.
        frame : int
            In view.
        """
        self._error = error
        self.say(error)
        if self.plot is not None:
            self.plot.show_error(error)
            self.plot.show_frame(frame)

    def show_frame(self, frame: int) -> None:
        """Mark the frame in view in the plot.

        Parameters
        ----------
        frame : int
            Counted from 0.
        """
        if self.plot is not None:
            self.plot.show_frame(frame)

    def follow(self, touched: Ints) -> None:
        """Follow a drag.

        Parameters
        ----------
        touched : ndarray
            Rows of the marks whose error changed.
        """
        self.table.lines.follow(touched)
        if self.plot is not None:
            self.plot.follow()
        if self._error is not None:
            self.say(self._error)

    def refresh(self, session: KeypointSession) -> None:
        """Switch on what can be pressed now.

        Parameters
        ----------
        session : KeypointSession
            The present one.
        """
        rows = self.table.selected_rows()
        marks = session.marks
        for each in (self.exclude, self.hold_out, self.delete):
            each.setEnabled(bool(rows))
        self.exclude.setText("Include" if rows and not marks.included[rows].any() else "Exclude")
        self.hold_out.setText("Let steer" if rows and marks.check[rows].all() else "Hold out")
        self.hold_out.setVisible(session.book.fit is not None)
        self.worst.setEnabled(session.book.worst() is not None)

    def say_agreement(self, found: Sequence[Agreement]) -> None:
        """Say how far apart annotators are.

        Parameters
        ----------
        found : sequence of Agreement
            One per pair.
        """
        known = [each for each in found if each.n_marks]
        lines = [f"{each.first} – {each.second}: {each.mean:.2f} px apart ({each.n_keypoints} keypoints)" for each in known]
        self.agreement.setText("\n".join(lines))
        self.agreement.setVisible(bool(lines))
        self.agreement.setToolTip("Mean distance between what two people marked: an error below it cannot be told from 0.")

    def say(self, error: LiveError) -> None:
        """Say how large the errors are.

        Parameters
        ----------
        error : LiveError
            Of all marks.
        """
        self.summary.setText(summary(error))
        steering = steering_of(error)
        self.warning.setVisible(steering is not None)
        if steering is not None:
            figures = {
                "at the points used": steering.in_sample,
                "leave-one-out": steering.leave_one_out,
                f"at {steering.n_check} check points": steering.check,
            }
            known = [f"{value:.2f} px {name}" for name, value in figures.items() if not np.isnan(value)]
            self.warning.setText(f"⚠ {IN_SAMPLE}\nMean error: {', '.join(known) or 'too few points'}.")


def summary(error: LiveError) -> str:
    """Errors in a sentence.

    Parameters
    ----------
    error : LiveError
        Of all marks.

    Returns
    -------
    str
        E.g. ``"Mean error: 12.3 px before, 0.52 px after registration (96 % less)."``
    """
    before, after = error.overall("before"), error.overall("after")
    if np.isnan(before):
        return NO_ERROR
    if np.isnan(after):
        return f"Mean error: {before:.2f} px without registration."
    change = f"{100 * (1 - after / before):.0f} % less" if after <= before else "more than before"
    name = "left out" if isinstance(error, SteeredError) else "after registration"
    return f"Mean error: {before:.2f} px before, {after:.2f} px {name} ({change})."


def _row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget, 1)
    return row
