"""A part of a form that waits behind its title until somebody clicks it."""

from __future__ import annotations

from qtpy.QtWidgets import QWidget
from superqt import QCollapsible

LARGEST_HEIGHT = 16_777_215  # Qt's own for "no limit"


class Section(QCollapsible):
    """A closed section that opens at a click.

    superqt limits the height of the content to its size hint, which is too little once labels wrap in a narrow dock; here it
    may take what it needs. Closed content is hidden, so that the tab key does not enter it.

    Parameters
    ----------
    title : str
        Always seen.
    content : QWidget
        Seen when open.
    parent : QWidget, optional
        Qt parent.
    """

    def __init__(self, title: str, content: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(title, parent, expandedIcon="▾", collapsedIcon="▸")
        self.content().deleteLater()
        self.setContent(content)
        self.setDuration(0)
        self.toggled.connect(self._on_toggled)
        self._on_toggled(False)

    def _on_toggled(self, is_open: bool) -> None:
        self.content().setMaximumHeight(LARGEST_HEIGHT if is_open else 0)
        self.content().setVisible(is_open)
