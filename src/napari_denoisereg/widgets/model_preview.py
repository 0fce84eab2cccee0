"""Pictures side by side with captions, as large as there is room, pixels square."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QRect, QSize, Qt
from qtpy.QtGui import QImage, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

if TYPE_CHECKING:
    from napari_denoisereg.widgets.finetune_pictures import Panel, Picture

GAP = 6  # px
EMPTY = "Pictures of the region in view appear here while the network learns."


class PictureRow(QWidget):
    """Shows panels.

    Parameters
    ----------
    parent : QWidget, optional
        Qt parent.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._panels: list[tuple[str, QImage]] = []
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(120, 100)
        self.setAccessibleName("Preview")
        self.setToolTip("What the network makes of the frame and region in view. Move or zoom the viewer to look elsewhere.")

    def captions(self) -> list[str]:
        """What is written above the pictures."""
        return [caption for caption, _ in self._panels]

    def show_panels(self, panels: Sequence[Panel]) -> None:
        """Show other pictures.

        Parameters
        ----------
        panels : sequence of Panel
            Side by side.
        """
        self._panels = [(panel.caption, image_of(panel.pixels)) for panel in panels]
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Room for three pictures."""
        return QSize(660, 220)

    def paintEvent(self, _: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Paint the pictures."""
        painter = QPainter(self)
        painter.setPen(self.palette().windowText().color())
        if not self._panels:
            painter.drawText(self.rect(), int(Qt.AlignmentFlag.AlignCenter) | int(Qt.TextFlag.TextWordWrap), EMPTY)
        line = painter.fontMetrics().height()
        width = (self.width() - GAP * (len(self._panels) - 1)) // max(1, len(self._panels))
        for number, (caption, image) in enumerate(self._panels):
            left = number * (width + GAP)
            room = QSize(width, max(1, self.height() - line))
            size = image.size().scaled(room, Qt.AspectRatioMode.KeepAspectRatio)
            top = QRect(left, 0, width, line)
            text = painter.fontMetrics().elidedText(caption, Qt.TextElideMode.ElideRight, width)
            painter.drawText(top, int(Qt.AlignmentFlag.AlignCenter), text)
            painter.drawImage(QRect(left + (width - size.width()) // 2, line, size.width(), size.height()), image)
        painter.end()


def image_of(pixels: Picture) -> QImage:
    """A picture as Qt's.

    Parameters
    ----------
    pixels : ndarray
        ``(y, x)`` or ``(y, x, 3)``, uint8.

    Returns
    -------
    QImage
        A copy.
    """
    height, width = pixels.shape[:2]
    kind = QImage.Format.Format_Grayscale8 if pixels.ndim == 2 else QImage.Format.Format_RGB888
    values = np.ascontiguousarray(pixels)
    return QImage(values.tobytes(), width, height, values.strides[0], kind).copy()
