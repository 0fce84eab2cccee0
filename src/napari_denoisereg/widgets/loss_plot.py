"""Loss curves: what a network goes down on while it trains, and the same on data held out from training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_denoisereg.widgets.inspect_plots import Plot

TRAIN, VALIDATION = "#3a93d8", "#e69f00"  # Okabe and Ito's blue and orange
TITLE = f'<span style="color:{TRAIN}">● training</span> &nbsp; <span style="color:{VALIDATION}">■ held-out (what counts)</span>'


class LossPlot(Plot):
    """Both curves over iterations.

    Parameters
    ----------
    parent : QWidget, optional
        Qt parent.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Iteration", "Loss", parent)
        self.setMinimumHeight(120)
        self.setMaximumHeight(16_777_215)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        self.getPlotItem().setTitle(TITLE, size="9pt")
        self.setToolTip(
            "Both curves fall while the network learns. When only the blue one still falls, more training does not help."
        )
        self._train = self.plot(pen=pg.mkPen(TRAIN, width=1.5))
        self._validation = self.plot(pen=pg.mkPen(VALIDATION, width=2), symbol="s", symbolSize=5, symbolPen=None)
        self._validation.setSymbolBrush(VALIDATION)

    def show_losses(self, losses: np.ndarray[Any, Any], validation: np.ndarray[Any, Any]) -> None:
        """Draw the curves.

        Parameters
        ----------
        losses, validation : ndarray
            ``(N, 2)``: iteration and figure.
        """
        self._train.setData(losses[:, 0], losses[:, 1])
        self._validation.setData(validation[:, 0], validation[:, 1])
