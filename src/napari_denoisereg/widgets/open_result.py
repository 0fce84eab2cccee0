"""*File > IO Utilities > Open a result of denoisereg…*: asks for a folder and shows what is in it, with progress and Cancel.

A command and no reader of napari's: a reader of folders is asked about every folder that anybody opens, and every such user
would have to choose a reader.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Layer
from napari.utils.notifications import show_warning
from napari.viewer import Viewer
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_denoisereg.widgets.job_dock import JobDock
from napari_denoisereg.widgets.saved_result import read_layers

if TYPE_CHECKING:
    LayerData = tuple[Any, dict[str, Any], str]

DOCK = "Open a result"
QUESTION = "Open a result of denoisereg: the folder that a run wrote, e.g. result.zarr"


class OpenResultDock(JobDock):
    """How far the reading is, with Pause and Cancel; gone from sight when all is shown.

    Parameters
    ----------
    viewer : napari.Viewer
        Gets the layers.
    """

    def open(self, folder: Path) -> None:
        """Read a result and show its layers: all of them or, when something is wrong, none.

        Parameters
        ----------
        folder : Path
            ``OUT.zarr``.
        """
        if self._runner.is_running:
            show_warning("One result at a time: wait for the present one or cancel it.")
            return
        self._runner.start(read_layers(folder), f"Open {folder.name}", self._show)

    def _show(self, layers: list[LayerData]) -> None:
        for layer in [Layer.create(*each) for each in layers]:
            self._viewer.add_layer(layer)
        holder = self.parentWidget()
        if holder is not None:
            holder.hide()


def open_result(viewer: Viewer) -> None:
    """Command *Open a result of denoisereg…*.

    Parameters
    ----------
    viewer : Viewer
        Given by napari.
    """
    name = QFileDialog.getExistingDirectory(QApplication.activeWindow(), QUESTION)
    if name:
        OpenResultDock.of(viewer, DOCK).open(Path(name))
