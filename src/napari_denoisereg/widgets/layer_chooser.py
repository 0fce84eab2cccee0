"""Choose one of the viewer's image layers.

The choice is a layer, not its data and not its name: renaming, reordering and editing keep it, and removing it moves the choice
to another one.
"""

from __future__ import annotations

from typing import Any

from napari.layers import Image, Layer
from qtpy.QtCore import Signal  # type: ignore[attr-defined]  # qtpy renames pyqtSignal
from qtpy.QtWidgets import QComboBox, QWidget

from napari_denoisereg.widgets.editors import calm
from napari_denoisereg.widgets.layers import METADATA_KEY, VIEW_KEY


class LayerChooser(QComboBox):
    """Combo box of image layers.

    Signal ``layer_changed(layer or None)``: another layer is chosen, or the chosen one changed its data, axes or scale.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers.
    parent : QWidget, optional
        Qt parent.
    """

    layer_changed = Signal(object)

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        calm(self)
        self._viewer = viewer
        self._layers: list[Image] = []
        self._chosen: Image | None = None
        self._watched: Image | None = None
        self._is_connected = False
        self.connect_viewer()
        self._on_layers()
        active = viewer.layers.selection.active
        if active is not None and active in self._layers:
            self.set_layer(active)
        self.currentIndexChanged.connect(self._on_index)

    def layer(self) -> Image | None:
        """The chosen layer, None where there is none."""
        return self._chosen

    def set_layer(self, layer: Layer) -> None:
        """Choose a layer.

        Parameters
        ----------
        layer : Layer
            An image layer of the viewer; others are ignored.
        """
        if layer in self._layers:
            self.setCurrentIndex(self._layers.index(layer))
            self._choose(layer)

    def connect_viewer(self) -> None:
        """Follow the viewer's layers."""
        if not self._is_connected:
            for event in self._events():
                event.connect(self._on_layers)
            self._is_connected = True

    def disconnect_viewer(self) -> None:
        """Stop following the viewer's layers and forget them."""
        if self._is_connected:
            for event in self._events():
                event.disconnect(self._on_layers)
            for layer in self._layers:
                layer.events.name.disconnect(self._on_name)
            self._is_connected = False
        self._watch(None)

    def _events(self) -> tuple[Any, ...]:
        events = self._viewer.layers.events
        return events.inserted, events.removed, events.reordered

    def _on_layers(self, _: Any = None) -> None:
        images = (layer for layer in self._viewer.layers if isinstance(layer, Image))
        self._layers = [layer for layer in images if VIEW_KEY not in layer.metadata.get(METADATA_KEY, ())]
        chosen = self._chosen if self._chosen in self._layers else self._likely()
        self.blockSignals(True)
        self.clear()
        self.addItems([layer.name for layer in self._layers])
        for place, layer in enumerate(self._layers):
            layer.events.name.disconnect(self._on_name)
            layer.events.name.connect(self._on_name)
            if layer == chosen:
                self.setCurrentIndex(place)
        self.blockSignals(False)
        if chosen is not self._chosen:
            self._choose(chosen)

    def _likely(self) -> Image | None:
        """The newest layer that is no result of ours."""
        own = [layer for layer in self._layers if METADATA_KEY not in layer.metadata]
        return (own or self._layers or [None])[-1]

    def _on_name(self, _: Any = None) -> None:
        for place, layer in enumerate(self._layers):
            self.setItemText(place, layer.name)

    def _on_index(self, place: int) -> None:
        self._choose(self._layers[place] if 0 <= place < len(self._layers) else None)

    def _on_edited(self, _: Any = None) -> None:
        self.layer_changed.emit(self._chosen)

    def _choose(self, layer: Image | None) -> None:
        self._chosen = layer
        self._watch(layer)
        self.layer_changed.emit(layer)

    def _watch(self, layer: Image | None) -> None:
        for watched, action in ((self._watched, "disconnect"), (layer, "connect")):
            if watched is not None:
                for name in ("data", "axis_labels", "units", "scale"):
                    getattr(getattr(watched.events, name), action)(self._on_edited)
        self._watched = layer
