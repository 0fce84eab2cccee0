"""A small dock at the bottom for work that a menu command starts: how far it is, with Pause and Cancel."""

from __future__ import annotations

from typing import Self

from napari.viewer import Viewer
from qtpy.QtWidgets import QVBoxLayout

from napari_denoisereg.widgets.dock import Dock
from napari_denoisereg.widgets.runner import Runner


class JobDock(Dock):
    """What goes on, with Pause and Cancel.

    Parameters
    ----------
    viewer : napari.Viewer
        Gets the results.
    """

    first_size = (420, 90)

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._runner = Runner()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 4, 8, 8)
        layout.addWidget(self._runner)
        self.setMinimumWidth(self.least_width)

    @classmethod
    def of(cls, viewer: Viewer, name: str) -> Self:
        """The dock of a viewer, brought to sight; made when there is none.

        Parameters
        ----------
        viewer : Viewer
            Whose.
        name : str
            Its title.

        Returns
        -------
        JobDock
            Of this class.
        """
        there = viewer.window.dock_widgets.get(name)
        if isinstance(there, cls):
            holder = there.parentWidget()
            if holder is not None:
                holder.show()
            return there
        dock = cls(viewer)
        viewer.window.add_dock_widget(dock, name=name, area="bottom", tabify=False)
        return dock

    @property
    def runner(self) -> Runner:
        """What runs the work."""
        return self._runner

    def close_down(self) -> None:
        """Stop work."""
        self._runner.close_down()
