"""The panel below the canvas, which comes when it is needed and goes with the dock."""

from __future__ import annotations

from typing import Any

from napari_denoisereg.widgets.finetune_watch import Watch

NAME = "Training preview"


class Panel:
    """Keeps a `Watch` in the viewer's window.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose window.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self.watch = Watch()
        self.watch.plot.set_theme(viewer.theme)
        viewer.events.theme.connect(self._on_theme)

    def show(self) -> None:
        """Put the panel below the canvas, also again after the user has closed it."""
        if self.watch.parentWidget() is None:
            self._viewer.window.add_dock_widget(self.watch, name=NAME, area="bottom")
        around = self.watch.parentWidget()
        if around is not None:
            around.show()

    def _on_theme(self, _: Any = None) -> None:
        self.watch.plot.set_theme(self._viewer.theme)

    def close_down(self) -> None:
        """Take the panel away."""
        self._viewer.events.theme.disconnect(self._on_theme)
        if self.watch.parentWidget() is not None:
            self._viewer.window.remove_dock_widget(self.watch)
        self.watch.deleteLater()
