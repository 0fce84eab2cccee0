"""Error over time: mean and median, each keypoint or each annotator, before and after registration. A click goes there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QEvent, QPointF, QSize, Qt, Signal  # type: ignore[attr-defined]  # qtpy renames pyqtSignal
from qtpy.QtGui import QColor, QPalette
from qtpy.QtWidgets import QWidget

from napari_denoisereg.evaluation.live_error import Curves, LiveError, Side

# Okabe and Ito's, bright enough for the dark theme and dark enough for the light one; lines differ in dash too.
COLOURS: dict[Side, str] = {"before": "#E69F00", "after": "#3C9BDE"}
SIDES: tuple[Side, Side] = ("before", "after")
VIEWS = {
    "mean": ("Mean and median", "Mean of the annotators' means (thick) and median of all marks (dotted) in each frame."),
    "each": ("Each keypoint", "One thin line per keypoint, and the mean."),
    "annotators": ("Each annotator", "Mean of each annotator's marks; they differ in dash."),
}
DASHES = (Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine, Qt.PenStyle.DotLine, Qt.PenStyle.DashDotLine)


class ErrorPlot(pg.PlotWidget):  # type: ignore[misc]  # pyqtgraph has no types
    """The plot.

    Signal ``frame_chosen(frame)``: a click in the plot.

    Parameters
    ----------
    parent : QWidget, optional
        Qt parent.
    """

    frame_chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, background=None)
        self._view = "mean"
        self._error: LiveError | None = None
        self._drawn: tuple[object, ...] = ()  # which lines there are
        self._lines: dict[tuple[Side, str], pg.PlotDataItem] = {}
        item = self.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        item.setMouseEnabled(x=False, y=False)
        item.setLimits(yMin=0)
        item.setLabel("bottom", "frame")
        item.setLabel("left", "error, px")
        self._legend = item.addLegend(offset=(4, 2), labelTextSize="8pt", verSpacing=-6)
        self._now = pg.InfiniteLine(0, pen=pg.mkPen("#8a8f98", width=1))
        item.addItem(self._now, ignoreBounds=True)
        self.setMinimumHeight(130)
        self.setToolTip("Error over time. Click to go to a frame. The thin vertical line is the frame in view.")
        self.setAccessibleName("Error over time")
        self.scene().sigMouseClicked.connect(self._on_clicked)
        self._dress()

    def set_view(self, view: str) -> None:
        """Choose what is drawn.

        Parameters
        ----------
        view : str
            One of `VIEWS`.
        """
        self._view = view
        if self._error is not None:
            self.show_error(self._error)

    def show_error(self, error: LiveError) -> None:
        """Draw other errors.

        Parameters
        ----------
        error : LiveError
            Read again at each `follow`.
        """
        lines = (self._view, error.is_registered, *error.curves("before").annotators)
        self._error = error
        if lines == self._drawn:
            self.follow()
            return
        self._drawn = lines
        item = self.getPlotItem()
        for line in self._lines.values():
            item.removeItem(line)
        self._lines = {}
        self._legend.clear()
        for side in SIDES if error.is_registered else SIDES[:1]:
            for name, look in self._looks(side, error.curves(side)).items():
                label = look.pop("label")
                self._lines[side, name] = pg.PlotDataItem(connect="finite", name=label, **look)
                item.addItem(self._lines[side, name])
        self.follow()

    def follow(self) -> None:
        """Draw the present values."""
        if self._error is None:
            return
        for side in SIDES if self._error.is_registered else SIDES[:1]:
            for name, (x, y) in self._values(self._error.curves(side)).items():
                self._lines[side, name].setData(x, y)

    def show_frame(self, frame: int) -> None:
        """Mark the frame in view.

        Parameters
        ----------
        frame : int
            Counted from 0.
        """
        self._now.setValue(frame)

    def _looks(self, side: Side, curves: Curves) -> dict[str, dict[str, Any]]:
        colour = COLOURS[side]
        thick = {"pen": pg.mkPen(colour, width=2), "label": side}
        if self._view == "mean":
            points = {"symbol": "o", "symbolSize": 4, "symbolBrush": colour, "symbolPen": None}
            median = {"pen": pg.mkPen(colour, width=1, style=Qt.PenStyle.DotLine), "label": f"{side}, median"}
            return {"mean": {**thick, **points}, "median": median}
        if self._view == "each":
            faint = QColor(colour)
            faint.setAlpha(90)
            return {"each": {"pen": pg.mkPen(faint, width=1), "label": None}, "mean": thick}
        return {
            f"annotator {who}": {
                "pen": pg.mkPen(colour, width=2, style=DASHES[number % len(DASHES)]),
                "label": f"{side}, {who or 'unnamed'}",
            }
            for number, who in enumerate(curves.annotators)
        }

    def _values(self, curves: Curves) -> dict[str, tuple[Any, Any]]:
        frames = curves.frames
        if self._view == "mean":
            return {"mean": (frames, curves.mean), "median": (frames, curves.median)}
        if self._view == "annotators":
            return {f"annotator {who}": (frames, values) for who, values in curves.annotators.items()}
        n_keypoints = curves.each.shape[1]
        gap = np.full((1, n_keypoints), np.nan)  # lines of different keypoints are not connected
        x = np.tile(np.append(frames, np.nan), n_keypoints)
        return {"each": (x, np.vstack([curves.each, gap]).T.ravel()), "mean": (frames, curves.mean)}

    def _on_clicked(self, event: Any) -> None:
        box = self.getPlotItem().vb
        place = box.mapSceneToView(QPointF(event.scenePos()))
        if event.button() == Qt.MouseButton.LeftButton:
            self.frame_chosen.emit(max(0, round(place.x())))

    def _dress(self) -> None:
        """Draw text and axes in the theme's colours."""
        colour = self.palette().color(QPalette.ColorRole.WindowText)
        self.setBackground(self.palette().color(QPalette.ColorRole.Window))
        for name in ("left", "bottom"):
            axis = self.getPlotItem().getAxis(name)
            axis.setPen(colour)
            axis.setTextPen(colour)
        self._legend.setLabelTextColor(colour)
        for _, label in self._legend.items:
            label.setText(label.text, color=colour)  # those there are do not change by themselves

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Room to leave for the table."""
        return QSize(260, 150)

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """Follow the theme."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange) and hasattr(self, "_legend"):
            self._dress()
