"""The switch *Register* of a dock: off and greyed where there is a single frame, and as the user left it afterwards."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox, QWidget

ABOUT = "Align all frames with the first one: layers [aligned] and [displacement]."
ONE_FRAME = "Register needs at least two frames; here is only one, which can be denoised."


class RegisterSwitch(QCheckBox):
    """A box to tick.

    Parameters
    ----------
    parent : QWidget, optional
        Qt parent.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Register", parent)
        self._is_wanted = False
        self.setToolTip(ABOUT)

    def want(self, is_wanted: bool) -> None:
        """Tick it, or remember to as soon as it is possible."""
        self._is_wanted = is_wanted
        self.setChecked(is_wanted and self.isEnabled())

    def allow(self, is_possible: bool) -> None:
        """Say whether there is anything to register."""
        if is_possible == self.isEnabled():
            return
        if not is_possible:
            self._is_wanted = self.isChecked()
        self.setEnabled(is_possible)
        self.setToolTip(ABOUT if is_possible else ONE_FRAME)
        self.setChecked(self._is_wanted and is_possible)
