"""Where to compute: one choice for all docks, remembered for the next session."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtWidgets import QComboBox, QWidget

from napari_denoisereg.widgets.editors import calm
from napari_denoisereg.widgets.preferences import first_choice, remember

NAMES = {"auto": "Automatic", "cpu": "Processor (CPU)", "cuda": "Graphics card (CUDA)", "mps": "Graphics card (Apple)"}


class DeviceChooser(QComboBox):
    """Empty until it is told what there is.

    Parameters
    ----------
    parent : QWidget, optional
        Qt parent.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        calm(self)
        self.setToolTip("Where to compute. Automatic takes a graphics card where there is one.")
        self.activated.connect(self._on_chosen)

    def offer(self, devices: Sequence[str]) -> None:
        """Say what there is; the one of the last time is chosen, or the preferred one.

        Parameters
        ----------
        devices : sequence of str
            Names as of `device.choose`.
        """
        self.clear()
        for name in devices:
            self.addItem(NAMES.get(name, name), name)
        self.setCurrentIndex(self.findData(first_choice("device", devices, devices[0])))

    def device(self) -> str:
        """The chosen one; ``"auto"`` before there is a choice."""
        return str(self.currentData() or "auto")

    def _on_chosen(self, _: int) -> None:
        remember("last/device", self.device())
