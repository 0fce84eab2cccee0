"""What of the viewer the dock *Fine-tune* reads and writes: more movies, keypoints, the region in view, result layers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer, Points
from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]  # qtpy renames pyqtSignal
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from napari_denoisereg.widgets.fresh_combo import FreshCombo, in_row, layers_of
from napari_denoisereg.widgets.layers import METADATA_KEY, stack_from
from napari_denoisereg.widgets.section import Section

if TYPE_CHECKING:
    from napari_denoisereg.evaluation.keypoints import Keypoints
    from napari_denoisereg.method import Method
    from napari_denoisereg.stack import Stack

NO_LABELS = "Choose a labels layer"
ABOUT_LABELS = "Things drawn on some frames of the movie, 0 is background. The network learns to tell them apart."
LEAST_SIDE = 16  # px: a smaller region shows nothing


class MoreLayers(QWidget):
    """Further movies to learn from: a list of the other image layers with boxes to tick.

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
        self._main: Layer | None = None
        self._layers: list[Image] = []
        self._is_connected = False
        self._list = QListWidget()
        self._list.setToolTip("Tick other movies of the same kind: the network learns from all of them.")
        self._list.setAccessibleName("Other layers to learn from")
        self._list.setMaximumHeight(90)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(Section("Learn from other layers too", self._list))
        self.connect_viewer()

    def set_main(self, layer: Layer | None) -> None:
        """Say which layer is trained on anyway."""
        self._main = layer
        self._on_layers()

    def stacks(self) -> tuple[Stack, ...]:
        """The ticked layers.

        Returns
        -------
        tuple of Stack
            Their first channels.

        Raises
        ------
        TypeError, ValueError
            When a layer is no movie.
        """
        ticked = [layer for number, layer in enumerate(self._layers) if self._is_ticked(number)]
        return tuple(stack_from(layer, may_be_image=True).channel(0) for layer in ticked)

    def connect_viewer(self) -> None:
        """Follow the viewer's layers."""
        if not self._is_connected:
            for event in (self._viewer.layers.events.inserted, self._viewer.layers.events.removed):
                event.connect(self._on_layers)
            self._is_connected = True

    def disconnect_viewer(self) -> None:
        """Stop following the viewer's layers."""
        if self._is_connected:
            for event in (self._viewer.layers.events.inserted, self._viewer.layers.events.removed):
                event.disconnect(self._on_layers)
            self._is_connected = False
        self._main, self._layers = None, []

    def _is_ticked(self, number: int) -> bool:
        item = self._list.item(number)
        return item is not None and item.checkState() == Qt.CheckState.Checked

    def _on_layers(self, _: Any = None) -> None:
        ticked = [layer for number, layer in enumerate(self._layers) if self._is_ticked(number)]
        self._layers = [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Image) and layer != self._main and METADATA_KEY not in layer.metadata
        ]
        self._list.clear()
        for layer in self._layers:
            item = QListWidgetItem(layer.name)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Checked if layer in ticked else Qt.CheckState.Unchecked)
            self._list.addItem(item)
        self.setVisible(bool(self._layers))


class LabelsRow(QWidget):
    """Labels to learn from, for methods that need some.

    Signal ``changed()``.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers.
    parent : QWidget, optional
        Qt parent.
    """

    changed = Signal()

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._choice = FreshCombo(NO_LABELS, ABOUT_LABELS, lambda: layers_of(viewer, Labels))
        self._choice.currentIndexChanged.connect(lambda _: self.changed.emit())
        in_row(self, "Labels", self._choice)

    def has_choice(self) -> bool:
        """Whether there are labels to learn from."""
        return self._choice.currentData() is not None

    def stack(self, movie: Stack) -> Stack | None:
        """The chosen labels.

        Parameters
        ----------
        movie : Stack
            They are drawn on; without channel axis.

        Returns
        -------
        Stack or None
            None where none are chosen.

        Raises
        ------
        ValueError
            When they are no voxels of the movie.
        """
        layer = self._choice.currentData()
        if layer is None or layer not in self._viewer.layers:
            return None
        expected = movie.shape[1:] if movie.is_image else movie.shape
        if tuple(layer.data.shape) != expected:
            raise ValueError(
                f"Expected labels as large as the movie, {expected}, got layer {layer.name!r} of {tuple(layer.data.shape)}; "
                "draw them on the movie itself (button 'New labels layer'). Frames without any are left out."
            )
        return replace(movie, data=layer.data[None] if movie.is_image else layer.data, name=layer.name)


def place_in_view(layer: Image, stack: Stack, viewer: Any) -> tuple[int, tuple[slice, ...]]:
    """Frame and region of a layer that the viewer shows.

    Parameters
    ----------
    layer : Image
        The layer.
    stack : Stack
        Made of it.
    viewer : napari.Viewer
        That shows it.

    Returns
    -------
    tuple of int and tuple of slice
        Frame number and, per spatial axis, voxels; the whole frame where hardly anything of it is in view.
    """
    point = layer.world_to_data(viewer.dims.point)
    low, high = np.asarray(layer.corner_pixels)
    axes, frame = stack.outer_axes, 0
    if not stack.is_image:
        frame = int(np.clip(round(float(point[axes.index(stack.frame_axis)])), 0, stack.n_frames - 1))
    shown = {layer.ndim - viewer.dims.ndim + axis for axis in viewer.dims.displayed}
    region = []
    for axis in stack.spatial_axes:
        number = axes.index(axis)
        length = layer.data.shape[number]
        start, stop = 0, length
        if number not in shown:
            start = int(np.clip(round(float(point[number])), 0, length - 1))
            stop = start + 1
        elif np.isfinite([low[number], high[number]]).all():
            start, stop = int(max(0, low[number])), int(min(length, high[number] + 1))
        if number in shown and stop - start < min(LEAST_SIDE, length):
            start, stop = 0, length
        region.append(slice(start, stop))
    return frame, tuple(region)


def keypoints_in(viewer: Any, method: Method, stack: Stack) -> Keypoints | None:
    """Keypoints that can choose the best model of a registrar: those of a points layer over the movie.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers.
    method : Method
        What will be trained.
    stack : Stack
        What on.

    Returns
    -------
    Keypoints or None
        None for denoisers, and where there is no points layer with marks in the first frame and later ones.
    """
    from napari_denoisereg.evaluation.keypoints import Keypoints
    from napari_denoisereg.register import Registrar

    if not isinstance(method, Registrar) or "c" in stack.axes:
        return None
    for layer in viewer.layers:
        if isinstance(layer, Points) and layer.ndim == len(stack.axes) and "id" in layer.features and len(layer.data):
            series = stack.axes.index(stack.frame_axis)
            frames = np.round(layer.data[:, series]).astype(int)
            inside = frames < stack.n_frames
            if (frames == 0).any() and (frames[inside] > 0).any():
                places = np.delete(layer.data, series, axis=1)[inside]
                return Keypoints(frames[inside], np.asarray(layer.features["id"])[inside], places)
    return None
