"""A line that the user draws in the picture: for profiles and kymographs."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import Signal  # type: ignore[attr-defined]  # qtpy renames pyqtSignal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSpinBox, QWidget

from napari_denoisereg.widgets.editors import calm
from napari_denoisereg.widgets.inspect_results import Results
from napari_denoisereg.widgets.inspect_stage import Stage

KEY = "line"
COLOUR = "#f0e442"


class LineDrawer(QWidget):
    """A button to draw a line, and how wide it is. The line is remembered when its layer is taken away.

    Signal ``changed()``: there is another line, or another width.

    Parameters
    ----------
    stage : Stage
        Of the view; holds the layer.
    """

    changed = Signal()

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage
        self._results: Results | None = None
        self._corners: np.ndarray[Any, Any] | None = None
        self._is_tidying = False
        self._draw = QPushButton("Draw a line")
        self._draw.setToolTip("Then press in the picture where the line begins, drag, and release where it ends.")
        self._width = QSpinBox()
        self._width.setRange(1, 99)
        self._width.setValue(3)
        self._width.setSuffix(" px")
        self._width.setToolTip("How wide the line is: intensities are averaged across it.")
        calm(self._width)
        label = QLabel("Width")
        label.setBuddy(self._width)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._draw, 1)
        row.addWidget(label)
        row.addWidget(self._width)
        self._draw.clicked.connect(self._on_draw)
        self._width.valueChanged.connect(self._on_width)

    @property
    def corners(self) -> np.ndarray[Any, Any] | None:
        """Corners of the line ``(M, 2)``, voxels (y, x); None before one is drawn."""
        return self._corners

    @property
    def width_in_pixels(self) -> int:
        """Width of the line."""
        return int(self._width.value())

    def begin(self, results: Results) -> None:
        """Work on a movie; a line that was drawn before comes back where it still fits."""
        self._results = results
        if self._corners is not None and (self._corners > results.noisy.grid.shape[-2:]).any():
            self._corners = None
        if self._corners is not None:
            self._show().add_lines([self._corners])

    def end(self) -> None:
        """Let go of the movie; the view's stage takes the layer away."""
        layer = self._stage.layer(KEY)
        if layer is not None:
            layer.events.data.disconnect(self._on_data)
        self._results = None

    def _show(self) -> Any:
        assert self._results is not None
        known = self._stage.layer(KEY)
        if known is not None:
            return known
        self._stage.hide_others(images=False)  # arrows on which a line is hardly seen
        width = max(1.0, max(self._results.noisy.grid.shape[-2:]) / 200)
        layer = self._stage.show_line(KEY, self._results, name="Line", edge_color=COLOUR, edge_width=width)
        layer.events.data.connect(self._on_data)
        return layer

    def _on_draw(self) -> None:
        if self._results is not None:
            layer = self._show()
            self._stage.select(KEY)
            layer.mode = "add_line"

    def _on_width(self, _: int) -> None:
        if self._corners is not None:
            self.changed.emit()

    def _on_data(self, event: Any) -> None:
        layer = event.source
        if self._is_tidying or not len(layer.data):
            return
        if len(layer.data) > 1:  # the last line counts
            self._is_tidying = True
            try:
                layer.selected_data = set(range(len(layer.data) - 1))
                layer.remove_selected()
            finally:
                self._is_tidying = False
        corners = np.asarray(layer.data[-1], float)[:, -2:]
        if np.ptp(corners, axis=0).max() >= 1 and (self._corners is None or not np.array_equal(corners, self._corners)):
            self._corners = corners
            self.changed.emit()
