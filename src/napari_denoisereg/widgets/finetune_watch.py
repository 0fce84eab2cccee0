"""Panel below the canvas: what the network makes of the region in view, and how its losses fall."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QSplitter, QVBoxLayout, QWidget

from napari_denoisereg.widgets.loss_plot import LossPlot
from napari_denoisereg.widgets.model_preview import PictureRow

if TYPE_CHECKING:
    from napari_denoisereg.widgets.finetune_job import Sight


class Watch(QWidget):
    """Pictures and curves.

    Parameters
    ----------
    parent : QWidget, optional
        Qt parent.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.pictures = PictureRow()
        self.plot = LossPlot()
        split = QSplitter(Qt.Orientation.Horizontal)
        split.addWidget(self.pictures)
        split.addWidget(self.plot)
        split.setStretchFactor(0, 3)
        split.setStretchFactor(1, 1)
        split.setSizes([600, 240])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 4)
        layout.addWidget(split)

    def show_sight(self, sight: Sight) -> None:
        """Show what there is to see; what a sight does not have stays as it is.

        Parameters
        ----------
        sight : Sight
            Of a training or a comparison.
        """
        if sight.panels:
            self.pictures.show_panels(sight.panels)
        if len(sight.losses):
            self.plot.show_losses(sight.losses, sight.validation)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Height that napari gives the panel at first."""
        return QSize(900, 240)
