"""Where registration looks: everywhere, or only where a Labels or Shapes layer marks something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Shapes
from qtpy.QtWidgets import QWidget

from napari_denoisereg.widgets.fresh_combo import FreshCombo, in_row, layers_of

if TYPE_CHECKING:
    from napari.layers import Image, Layer

    from napari_denoisereg.stack import Stack

EVERYWHERE = "Everywhere"
ABOUT = (
    "Registration looks only at what a Labels or Shapes layer marks, e.g. one nucleus among many. Drawn in one frame "
    "it is followed from the first frame on; drawn in every frame it holds frame by frame."
)


class RegionChooser(QWidget):
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
        self._choice = FreshCombo(EVERYWHERE, ABOUT, lambda: layers_of(viewer, Labels, Shapes))
        in_row(self, "Look at", self._choice)

    def region(self, layer: Image, stack: Stack) -> Any:
        """What is marked, in the voxels of a stack.

        Parameters
        ----------
        layer : Image
            The movie.
        stack : Stack
            Made of it.

        Returns
        -------
        array or None
            ``(*spatial)`` or ``(T, *spatial)``; None for everywhere.

        Raises
        ------
        ValueError
            When the chosen layer is gone, or cannot be laid on the movie voxel by voxel.
        """
        chosen = self._choice.currentData()
        if chosen is not None and chosen not in self._viewer.layers:
            raise ValueError(f"The layer {chosen.name!r} was removed; choose another one in 'Look at', or '{EVERYWHERE}'.")
        return None if chosen is None else marked(chosen, layer, stack)


def marked(marks: Layer, layer: Image, stack: Stack) -> Any:
    """What a Labels or Shapes layer marks, in the voxels of a stack.

    Parameters
    ----------
    marks : Layer
        Labels or Shapes.
    layer : Image
        The movie.
    stack : Stack
        Made of it.

    Returns
    -------
    array
        ``(*spatial)`` or ``(T, *spatial)``; labels are not copied.

    Raises
    ------
    ValueError
        When labels are no voxels of the movie, or no shape has an area.
    """
    places = [stack.axes.index(axis) for axis in stack.frame_axis + stack.spatial_axes]
    if isinstance(marks, Shapes):
        return _shapes(marks, layer, places)
    shape = tuple(np.shape(marks.data))
    wanted = tuple(stack.shape[place] for place in places)
    data = np.take(marks.data, 0, stack.axes.index("c")) if len(shape) == len(stack.axes) and "c" in stack.axes else marks.data
    if tuple(data.shape) not in (wanted, wanted[1:], (1, *wanted[1:])):
        raise ValueError(
            f"Expected a mask as large as the movie, {wanted} or {wanted[1:]}, got layer {marks.name!r} of {shape}; "
            "draw it on the movie itself (button 'New labels layer')."
        )
    return data


def _shapes(marks: Shapes, layer: Image, places: list[int]) -> Any:
    """Areas of shapes, drawn where they lie in the movie: those of a frame in that frame, those without frame in all."""
    from skimage.draw import polygon

    if len(places) > 3:
        raise ValueError("Shapes are flat: for volumes mark the region in a Labels layer.")
    shape = tuple(int(layer.data.shape[place]) for place in places)
    mask, drawn = np.zeros(shape, bool), False
    for number, kind in enumerate(marks.shape_type):
        if kind in ("line", "path"):
            continue
        world = np.array([marks.data_to_world(corner) for corner in _outline(marks, number)])[:, -layer.ndim :]
        is_timeless = world.shape[1] < layer.ndim
        world = np.pad(world, ((0, 0), (layer.ndim - world.shape[1], 0)))
        corners = np.array([layer.world_to_data(corner) for corner in world])[:, places]
        area = polygon(corners[:, 1], corners[:, 2], shape[1:])
        frame = round(float(corners[0, 0]))
        if area[0].size and (is_timeless or 0 <= frame < shape[0]):
            # Without a time of its own it holds for all frames.
            mask[slice(None) if is_timeless else frame][..., area[0], area[1]] = True
            drawn = True
    if not drawn:
        raise ValueError(f"Layer {marks.name!r} has no shape with an area on the movie; draw a rectangle, ellipse or polygon.")
    return mask


def _outline(marks: Shapes, number: int) -> np.ndarray[Any, Any]:
    """Corners of a shape; of an ellipse many."""
    corners = np.asarray(marks.data[number], float)
    if marks.shape_type[number] != "ellipse":
        return corners
    middle = corners.mean(0)
    one, two = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angles = np.linspace(0, 2 * np.pi, 128, endpoint=False)[:, None]
    return middle + np.cos(angles) * one + np.sin(angles) * two
