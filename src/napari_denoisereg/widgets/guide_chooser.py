"""Keypoints that pull a registration: none, or those of a points layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Points
from qtpy.QtWidgets import QWidget

from napari_denoisereg.widgets.fresh_combo import FreshCombo, in_row, layers_of
from napari_denoisereg.widgets.transforms_session import marks_in

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_denoisereg.evaluation.keypoints import Keypoints
    from napari_denoisereg.stack import Stack

NO_KEYPOINTS = "No keypoints"
ABOUT = (
    "Places that you marked in several frames (dock 'Keypoints') pull the registration. The methods pose, affine and elastic "
    "follow them (recipes Fast, Balanced, Best); their setting 'landmark weight' says how much."
)


class GuideChooser(QWidget):
    """The choice; its list follows the viewer's layers when it is opened.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers.
    parent : QWidget, optional
        Qt parent.
    """

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._choice = FreshCombo(NO_KEYPOINTS, ABOUT, lambda: layers_of(viewer, Points))
        in_row(self, "Guide by", self._choice)

    def landmarks(self, layer: Image, stack: Stack) -> Keypoints | None:
        """The chosen keypoints in the pixels of a stack.

        Parameters
        ----------
        layer : Image
            The movie.
        stack : Stack
            Made of it.

        Returns
        -------
        Keypoints or None
            None where none are chosen.

        Raises
        ------
        ValueError
            When the chosen layer is gone, has no ids or other axes.
        """
        chosen = self._choice.currentData()
        if chosen is not None and chosen not in self._viewer.layers:
            raise ValueError(f"The layer {chosen.name!r} was removed; choose another one in 'Guide by', or '{NO_KEYPOINTS}'.")
        return None if chosen is None else marks_in(chosen, layer, stack.axes, stack.grid)
