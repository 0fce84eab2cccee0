"""What all docks share: they scroll, and stop their work when napari takes them away: nobody calls `close` then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from qtpy.QtCore import QEvent, QSize, Qt
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import (
    QAbstractScrollArea,
    QFrame,
    QLayout,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)


class Dock(QWidget):
    """Base of docks: `close_down` is called whatever way the dock goes."""

    first_size: ClassVar[tuple[int, int]] = (320, 640)
    """That napari gives the dock at first."""
    least_width: ClassVar[int] = 260
    _had_parent = False

    def stack(self, *parts: QWidget | QLayout) -> None:
        """Put the parts of the dock below each other; what scrolls takes the room that is left.

        Parameters
        ----------
        *parts : QWidget or QLayout
            From top to bottom.
        """
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 4, 8, 8)
        for part in parts:
            if isinstance(part, QLayout):
                layout.addLayout(part)
            else:
                layout.addWidget(part, int(isinstance(part, QAbstractScrollArea)))
        self.setMinimumWidth(self.least_width)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def open_up(self) -> None:
        """Called when the widget gets a dock: listen to the viewer."""

    def close_down(self) -> None:
        """Called when the widget loses its dock or is closed, perhaps twice: stop work, let go of the viewer."""
        raise NotImplementedError

    def event(self, event: QEvent | None) -> bool:
        """Notice when napari puts the widget into a dock or takes it out."""
        if event is not None and event.type() == QEvent.Type.ParentChange:
            if self.parentWidget() is not None:
                self._had_parent = True
                self.open_up()
            elif self._had_parent:
                self.close_down()
        return bool(super().event(event))

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Size that napari gives the dock at first."""
        return QSize(*self.first_size)

    def closeEvent(self, event: QCloseEvent | None) -> None:  # noqa: N802 - Qt's name
        """Stop work when the widget is closed."""
        self.close_down()
        super().closeEvent(event)


def scrolled(page: QWidget) -> QScrollArea:
    """Let a page scroll up and down, for windows that are too low for it.

    Parameters
    ----------
    page : QWidget
        With its layout.

    Returns
    -------
    QScrollArea
        Around it.
    """
    layout = page.layout()
    if layout is not None:
        layout.setContentsMargins(0, 0, 6, 0)  # the scroll bar does not touch what is on the page
    area = QScrollArea()
    area.setWidget(page)
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    return area


def separator() -> QFrame:
    """A line across, between what is worked on and what is done with it.

    Returns
    -------
    QFrame
        The line.
    """
    line = QFrame()
    line.setFrameShape(QFrame.Shape.HLine)
    return line


def button(text: str, tip: str, action: Callable[..., Any] | None = None) -> QPushButton:
    """A button that says what it does.

    Parameters
    ----------
    text : str
        On it.
    tip : str
        Its tooltip.
    action : callable, optional
        Called when it is clicked.

    Returns
    -------
    QPushButton
        The button.
    """
    made = QPushButton(text)
    made.setToolTip(tip)
    if action is not None:
        made.clicked.connect(lambda: action())
    return made
