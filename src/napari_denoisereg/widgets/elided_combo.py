"""A combo box whose text ends in … where the dock is too narrow for it, instead of in the middle of a letter."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QPaintEvent
from qtpy.QtWidgets import QComboBox, QStyle, QStyleOptionComboBox, QStylePainter


class ElidedCombo(QComboBox):
    """A list to choose from."""

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: ARG002, N802 - Qt's name
        """Draw the chosen entry as far as there is room."""
        painter, option = QStylePainter(self), QStyleOptionComboBox()
        self.initStyleOption(option)
        option.currentText = self.shown()
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    def shown(self) -> str:
        """What is seen of the chosen entry."""
        option, style = QStyleOptionComboBox(), self.style()
        self.initStyleOption(option)
        assert style is not None
        place = style.subControlRect(QStyle.ComplexControl.CC_ComboBox, option, QStyle.SubControl.SC_ComboBoxEditField, self)
        margin = 2 * self.fontMetrics().horizontalAdvance(" ")
        return str(self.fontMetrics().elidedText(self.currentText(), Qt.TextElideMode.ElideRight, place.width() - margin))
