"""Layers that a view shows for as long as it is on.

The user's layers are never changed; images that would be in the way are hidden meanwhile and come back as they were.

Images of one frame are repeated along the other axes without taking memory (`numpy.broadcast_to`), so that a layer lies exactly
on its movie, whatever its rotation, and does not blink while the next frame is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from napari.layers import Image, Layer

from napari_denoisereg.widgets.inspect_results import Results, record_of
from napari_denoisereg.widgets.layers import METADATA_KEY, VIEW_KEY


class Stage:
    """Layers of one view.

    Parameters
    ----------
    viewer : napari.Viewer
        Where they are shown.
    on_removed : callable
        Called when the user takes one of them away.
    """

    def __init__(self, viewer: Any, on_removed: Callable[[], None]) -> None:
        self._viewer = viewer
        self._on_removed = on_removed
        self._layers: dict[str, Layer] = {}
        self._hidden: list[Layer] = []
        self._active: Layer | None = None
        self._has_hidden = False

    def layer(self, key: str) -> Layer | None:
        """The layer of that key, None where there is none."""
        return self._layers.get(key)

    def show_image(self, key: str, frame: np.ndarray[Any, Any], results: Results, **settings: Any) -> Layer:
        """Show one frame at every frame of the movie, or change the one shown.

        Parameters
        ----------
        key : str
            Which of the view's layers.
        frame : ndarray
            Spatial axes of the movie, perhaps coarser or only a part.
        results : Results
            Says where the movie lies.
        **settings
            Of the layer; ``steps`` and ``start`` as in `Look.placed`, per spatial axis, where the frame is coarser or a part.

        Returns
        -------
        Layer
            On top of all others.
        """
        axes, ndim = results.look.axes, len(results.spatial)
        steps, start = settings.pop("steps", (1.0,) * ndim), settings.pop("start", (0.0,) * ndim)
        is_spatial = [axis in results.spatial for axis in axes]
        index = tuple(slice(None) if each else None for each in is_spatial)
        sizes, by_axis = iter(frame.shape), (dict(zip(results.spatial, each, strict=True)) for each in (steps, start))
        shape = [next(sizes) if each else n for each, n in zip(is_spatial, results.noisy.shape, strict=True)]
        every_step, every_start = by_axis
        place = results.look.placed([every_step.get(a, 1.0) for a in axes], [every_start.get(a, 0.0) for a in axes])
        return self._show(key, np.broadcast_to(frame[index], shape), "image", place, settings)

    def show_vectors(self, key: str, data: np.ndarray[Any, Any], results: Results, **settings: Any) -> Layer:
        """Show vectors ``(N, 2, ndim)`` in voxels of the movie, or change those shown; see `show_image`."""
        return self._show(key, data, "vectors", dict(results.look.place), settings)

    def show_line(self, key: str, results: Results, **settings: Any) -> Layer:
        """Show an empty shapes layer ``(y, x)`` at every frame; see `show_image`."""
        whole = results.layer.data_to_world(np.zeros(results.layer.ndim))
        columns = [np.subtract(results.layer.data_to_world(row), whole)[-2:] for row in np.eye(results.layer.ndim)[-2:]]
        affine = np.eye(3)
        affine[:2, :2], affine[:2, 2] = np.stack(columns, axis=1), whole[-2:]
        place = {
            "affine": affine,
            "units": tuple(results.layer.units[-2:]),
            "axis_labels": tuple(results.layer.axis_labels[-2:]),
        }
        return self._show(key, [], "shapes", place, {"ndim": 2, **settings})

    def select(self, key: str) -> None:
        """Make a layer the active one, so that the mouse acts on it; the user's choice comes back with `clear`."""
        if self._active is None:
            self._active = self._viewer.layers.selection.active
        self._viewer.layers.selection.active = self._layers[key]

    def hide_others(self, *, images: bool) -> None:
        """Hide the arrows of results and, where wanted, the user's images, once.

        They come back with `bring_back`, unless the user shows or hides them meanwhile.
        """
        if self._has_hidden:
            return
        self._has_hidden = True
        for layer in self._viewer.layers:
            record = record_of(layer)
            is_in_the_way = "registration" in record or (images and isinstance(layer, Image))
            if is_in_the_way and layer.visible and VIEW_KEY not in record:
                layer.visible = False
                layer.events.visible.connect(self._on_visible)
                self._hidden.append(layer)

    def bring_back(self) -> None:
        """Show what was hidden."""
        for layer in list(self._hidden):
            self._forget(layer)
            layer.visible = True
        self._has_hidden = False

    def drop(self, *keys: str) -> None:
        """Take layers away."""
        for key in keys:
            layer = self._layers.pop(key, None)
            if layer is not None and layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        if not self._layers:
            self._listen(False)

    def clear(self) -> None:
        """Take all layers away, bring back what was hidden, and the layer that was selected."""
        self.drop(*list(self._layers))
        self.bring_back()
        if self._active is not None and self._active in self._viewer.layers:
            self._viewer.layers.selection.active = self._active
        self._active = None

    def _show(self, key: str, data: Any, kind: str, place: dict[str, Any], settings: dict[str, Any]) -> Layer:
        layer = self._layers.get(key)
        if layer is not None:
            self._change(layer, data, place, settings)
            return layer
        if kind == "image":
            settings.setdefault("rgb", False)
        metadata = {METADATA_KEY: {VIEW_KEY: key}}
        chosen = set(self._viewer.layers.selection), self._viewer.layers.selection.active
        layer = Layer.create(data, {**place, **settings, "metadata": metadata}, kind)
        self._listen(True)
        self._layers[key] = self._viewer.add_layer(layer)
        self._viewer.layers.selection = chosen[0]
        self._viewer.layers.selection.active = chosen[1]
        return layer

    def _change(self, layer: Layer, data: Any, place: dict[str, Any], settings: dict[str, Any]) -> None:
        """New data and place; how the layer looks is the user's from now on, but for its name and colours by value."""
        layer.data = data
        if not np.array_equal(layer.translate, place["translate"]):
            layer.translate = place["translate"]
        if not np.array_equal(layer.scale, place["scale"]):
            layer.scale = place["scale"]
        for name in ("name", "features"):
            if name in settings:
                setattr(layer, name, settings[name])

    def _listen(self, is_wanted: bool) -> None:
        self._viewer.layers.events.removed.disconnect(self._on_layer_removed)
        if is_wanted:
            self._viewer.layers.events.removed.connect(self._on_layer_removed)

    def _on_layer_removed(self, event: Any) -> None:
        if event.value in self._layers.values():
            self._on_removed()

    def _on_visible(self, event: Any) -> None:
        if event.source in self._hidden:
            self._forget(event.source)

    def _forget(self, layer: Layer) -> None:
        layer.events.visible.disconnect(self._on_visible)
        self._hidden.remove(layer)
