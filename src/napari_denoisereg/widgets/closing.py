"""A dock that stops its work when napari takes it away: nobody calls `close` then."""

from __future__ import annotations

from qtpy.QtCore import QEvent
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QWidget


class ClosingWidget(QWidget):
    """Base of docks: `close_down` is called whatever way the dock goes."""

    _had_parent = False

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

    def closeEvent(self, event: QCloseEvent | None) -> None:  # noqa: N802 - Qt's name
        """Stop work when the widget is closed."""
        self.close_down()
        super().closeEvent(event)
