"""Stacks of sections want another recipe than time-lapses: it is chosen by itself, said, and taken back by a click."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal  # type: ignore[attr-defined]  # qtpy renames pyqtSignal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_denoisereg.widgets.source_form import wrapped_label

if TYPE_CHECKING:
    from napari_denoisereg.stack import Stack

SECTIONS = "sections"
CHOSEN = "A stack of sections: z is the section axis, each is aligned to its neighbours. Recipe Sections was chosen for it."
OFFERED = "A stack of sections along z: recipe Sections is made for it."
AGAINST = "This recipe is for stacks of sections (axes zyx), this layer is a time-lapse."


class SectionsAdvice(QWidget):
    """A line and a button, seen where they matter only.

    Signal ``wanted(str)``: name of the recipe to show.

    Parameters
    ----------
    usual : str
        Recipe for time-lapses where none was chosen before.
    """

    wanted = Signal(str)

    def __init__(self, usual: str) -> None:
        super().__init__()
        self._is_sections = False
        self._recipe = self._before = usual
        self._words = wrapped_label()
        self._button = QPushButton()
        self._button.setToolTip("Choose the other recipe; it can also be chosen in the list above.")
        self._button.clicked.connect(self._on_clicked)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._words)
        layout.addWidget(self._button)
        self.hide()

    def look_at(self, stack: Stack | None) -> None:
        """Say what is worked on; where that changes between time-lapse and sections, the recipe follows.

        Parameters
        ----------
        stack : Stack or None
            None changes nothing.
        """
        is_sections = self._is_sections if stack is None else stack.frame_axis == "z"
        if is_sections != self._is_sections:
            self._is_sections = is_sections
            if is_sections != (self._recipe == SECTIONS):
                self.wanted.emit(self._other)
        self._refresh()

    def follow(self, recipe: str) -> None:
        """Say which recipe is shown.

        Parameters
        ----------
        recipe : str
            Its name.
        """
        self._recipe = recipe
        if recipe != SECTIONS:
            self._before = recipe
        self._refresh()

    @property
    def _other(self) -> str:
        return self._before if self._recipe == SECTIONS else SECTIONS

    def _refresh(self) -> None:
        is_chosen = self._recipe == SECTIONS
        self.setVisible(self._is_sections or is_chosen)
        self._words.setText((CHOSEN if is_chosen else OFFERED) if self._is_sections else AGAINST)
        self._button.setText(f"Use {self._other.capitalize()} instead")

    def _on_clicked(self) -> None:
        self.wanted.emit(self._other)
