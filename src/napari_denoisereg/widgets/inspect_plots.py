"""Plots of the Inspect dock: figures over frames, intensities, kymographs. Click a frame to go there.

Colours are Okabe and Ito's, as in the report (`evaluation.chart`): before is vermillion and dashed, after is blue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyqtgraph as pg
from napari.utils.theme import get_theme
from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]  # qtpy renames pyqtSignal
from qtpy.QtWidgets import QSizePolicy, QWidget

BEFORE, AFTER, LOOK_HERE = "#d55e00", "#3a93d8", "#e69f00"
MORE_COLOURS = ("#3a93d8", "#d55e00", "#009e73")
FEW = 60  # frames whose points are drawn
HEIGHT = 180  # px


@dataclass(frozen=True, eq=False)
class Line:
    """One line of a plot.

    Parameters
    ----------
    name : str
        In the legend.
    values : ndarray
        Heights; NaN interrupts the line.
    colour : str
        ``"#rrggbb"``.
    is_dashed : bool
        Told apart without colour.
    """

    name: str
    values: np.ndarray[Any, Any]
    colour: str
    is_dashed: bool = False


class Plot(pg.PlotWidget):  # type: ignore[misc]  # pyqtgraph has no types
    """A plot that fits a narrow dock: no menu, no zoom by accident, colours of the viewer's theme.

    Parameters
    ----------
    across, upward : str
        What the axes are called.
    parent : QWidget, optional
        Qt parent.
    """

    def __init__(self, across: str = "", upward: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._names = across, upward
        item = self.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        item.setMouseEnabled(x=False, y=False)
        item.setClipToView(True)
        for side in ("bottom", "left"):
            item.getAxis(side).enableAutoSIPrefix(False)  # "Loss (x0.001)" puzzles
        self.setFixedHeight(HEIGHT)
        self.setMinimumWidth(120)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.set_theme("dark")

    def set_names(self, across: str, upward: str) -> None:
        """Name the axes."""
        self._names = across, upward
        for side, name in zip(("bottom", "left"), self._names, strict=True):
            self.getPlotItem().setLabel(side, name)

    def set_theme(self, name: str) -> None:
        """Take the colours of one of napari's themes."""
        theme = get_theme(name)
        ink = theme.text.as_hex(format="long")
        self.setBackground(theme.background.as_hex(format="long"))
        for side in ("bottom", "left"):
            axis = self.getPlotItem().getAxis(side)
            axis.setPen(ink)
            axis.setTextPen(ink)
        self.set_names(*self._names)

    def show_lines(self, across: np.ndarray[Any, Any], lines: Sequence[Line]) -> None:
        """Draw lines instead of those there are.

        Parameters
        ----------
        across : ndarray
            Places ``(N,)``.
        lines : sequence of Line
            With N heights each.
        """
        item = self.getPlotItem()
        for old in list(item.listDataItems()):
            item.removeItem(old)
        for line in lines:
            style = Qt.PenStyle.DashLine if line.is_dashed else Qt.PenStyle.SolidLine
            dots = {"symbol": "s" if line.is_dashed else "o", "symbolSize": 5, "symbolBrush": line.colour, "symbolPen": None}
            pen = pg.mkPen(line.colour, width=2, style=style)
            more = dots if len(across) <= FEW else {}
            self.plot(across, np.asarray(line.values, float), pen=pen, name=line.name, connect="finite", **more)
        # Above the plot, where it covers nothing.
        legend = [f'<span style="color:{line.colour}">{"▪ ▪" if line.is_dashed else "●—"} {line.name}</span>' for line in lines]
        item.setTitle(" &nbsp; ".join(legend) if any(line.name for line in lines) else None, size="9pt")
        item.enableAutoRange()

    def wheelEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Leave the wheel to the dock, which scrolls."""
        event.ignore()


class FramePlot(Plot):
    """A plot over frames. Signal ``frame_clicked(int)``.

    Parameters
    ----------
    across, upward : str
        What the axes are called.
    parent : QWidget, optional
        Qt parent.
    """

    frame_clicked = Signal(int)

    def __init__(self, across: str = "Frame", upward: str = "", parent: QWidget | None = None) -> None:
        super().__init__(across, upward, parent)
        self._times = np.zeros(0)
        self._cursor = pg.InfiniteLine(angle=90, pen=pg.mkPen("#888888", width=1))
        self.addItem(self._cursor, ignoreBounds=True)
        self._marks = pg.ScatterPlotItem(symbol="t", size=12, brush=LOOK_HERE, pen=None)
        self.addItem(self._marks)
        self.scene().sigMouseClicked.connect(self._on_clicked)

    def show_frames(self, times: np.ndarray[Any, Any], lines: Sequence[Line]) -> None:
        """Draw lines over frames; `times` ``(T,)`` is where each frame stands on the axis."""
        self._times = np.asarray(times, float)
        self._marks.setData([], [])
        self.show_lines(self._times, lines)

    def show_marks(self, frames: Sequence[int], values: np.ndarray[Any, Any]) -> None:
        """Mark frames to look at, at the heights they have in `values` ``(T,)``."""
        chosen = [frame for frame in frames if np.isfinite(values[frame])]
        self._marks.setData(self._times[chosen], np.asarray(values, float)[chosen])

    def set_frame(self, frame: int) -> None:
        """Say which frame is in view."""
        if frame < len(self._times):
            self._cursor.setPos(self._times[frame])

    def _on_clicked(self, event: Any) -> None:
        box = self.getPlotItem().vb
        if (
            len(self._times)
            and event.button() == Qt.MouseButton.LeftButton
            and box.sceneBoundingRect().contains(event.scenePos())
        ):
            place = box.mapSceneToView(event.scenePos()).x()
            self.frame_clicked.emit(int(np.abs(self._times - place).argmin()))


class KymographPlot(FramePlot):
    """Intensities along a line over time: frames go right, the line goes up.

    Parameters
    ----------
    title : str
        Above the picture.
    parent : QWidget, optional
        Qt parent.
    """

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self._title = title
        self._image = pg.ImageItem(axisOrder="col-major")
        self._image.setZValue(-10)
        self.addItem(self._image)

    def show_kymograph(self, table: np.ndarray[Any, Any], times: np.ndarray[Any, Any], length: float) -> None:
        """Draw a kymograph.

        Parameters
        ----------
        table : ndarray
            ``(T, N)``, NaN outside the image.
        times : ndarray
            Where each frame stands on the axis ``(T,)``.
        length : float
            Of the line, world units.
        """
        self._times = np.asarray(times, float)
        step = float(times[1] - times[0]) if len(times) > 1 else 1.0
        known = table[np.isfinite(table)]
        low, high = np.percentile(known, [1, 99.5]) if known.size else (0.0, 1.0)
        self._image.setImage(np.nan_to_num(table, nan=low), levels=(low, high if high > low else low + 1.0))
        self._image.setRect(float(times[0]) - step / 2, 0.0, step * len(times), length)
        self.getPlotItem().setTitle(self._title, size="9pt")
        self.getPlotItem().enableAutoRange()
