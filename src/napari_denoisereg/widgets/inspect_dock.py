"""Dock *Inspect* shows whether it helped, and whether to trust the result.

Choose a movie; its results are found by themselves. Each view opens by a click on its title and is switched off when another
one opens: the layers it made go, and the viewer is as it was. Only what is in view is read.
"""

from __future__ import annotations

from typing import Any

from napari.layers import Image, Layer
from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QVBoxLayout, QWidget

from napari_denoisereg.widgets.denoise_register_job import load_engine
from napari_denoisereg.widgets.dock import Dock, scrolled, separator
from napari_denoisereg.widgets.editors import calm
from napari_denoisereg.widgets.help_button import help_button
from napari_denoisereg.widgets.inspect_background import Background
from napari_denoisereg.widgets.inspect_deformation import DeformationView
from napari_denoisereg.widgets.inspect_noise import NoiseView
from napari_denoisereg.widgets.inspect_overlay import OverlayView
from napari_denoisereg.widgets.inspect_quality import QualityView
from napari_denoisereg.widgets.inspect_results import Position, Results, axes_of, candidates, record_of, results_of
from napari_denoisereg.widgets.inspect_traces import TracesView
from napari_denoisereg.widgets.inspect_view import View
from napari_denoisereg.widgets.layer_chooser import LayerChooser
from napari_denoisereg.widgets.layers import IMAGE_AXES, in_words
from napari_denoisereg.widgets.runner import report
from napari_denoisereg.widgets.section import Section
from napari_denoisereg.widgets.source_form import NO_LAYER, row_label, wrapped_label

ROLES = {"denoised": "Denoised", "aligned": "Aligned", "displacement": "Displacement", "keypoints": "Keypoints"}
NOTHING = "none"
ONE_IMAGE = (
    "A single image has no frames to compare. To judge what denoising did, switch the eye of its layer [denoised] on and off."
)


class InspectDock(Dock):
    """The dock.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari.
    """

    first_size = (340, 680)

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._results: Results | None = None
        self._is_ready = self._is_connected = False
        self._chosen: dict[str, Layer] = {}
        self._background = Background(self)
        self.chooser = LayerChooser(napari_viewer)
        self.chooser.setToolTip("The movie to inspect; what was made of it is found by itself.")
        self._words = wrapped_label("Loading the engine …")
        self._boxes = {role: QComboBox() for role in ROLES}
        views = (QualityView, OverlayView, DeformationView, TracesView, NoiseView)
        self.views: tuple[View, ...] = tuple(make(napari_viewer) for make in views)
        self.sections = tuple(Section(view.title, view) for view in self.views)
        self._lay_out()
        self._choose_source()
        self._connect()
        self._on_theme()
        self._background.ask(load_engine, self._on_engine)

    def _lay_out(self) -> None:
        page = QWidget()
        column = QVBoxLayout(page)
        top = QHBoxLayout()
        top.addWidget(row_label("Movie"))
        top.addWidget(self.chooser, 1)
        top.addWidget(help_button("how-to/inspect"))
        column.addLayout(top)
        column.addWidget(self._words)
        column.addWidget(self._made_from())
        column.addWidget(separator())
        for section in self.sections:
            column.addWidget(section)
        column.addStretch(1)
        self.stack(scrolled(page))

    def _made_from(self) -> Section:
        """Which layers are the results, for movies that were run more than once."""
        page = QWidget()
        rows = QFormLayout(page)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for role, box in self._boxes.items():
            calm(box)
            box.setToolTip(f"Which layer to take as the {ROLES[role].lower()} one; the newest by default.")
            rows.addRow(row_label(ROLES[role]), box)
        return Section("Results", page)

    def _connect(self) -> None:
        self.chooser.layer_changed.connect(self._on_layers)
        for role, box in self._boxes.items():
            box.activated.connect(lambda place, role=role: self._on_choice(role, place))
        for view, section in zip(self.views, self.sections, strict=True):
            section.toggled.connect(lambda is_open, view=view: self._on_section(view, is_open))
            view.frame_wanted.connect(self._on_frame_wanted)
            view.closed.connect(section.collapse)
        self._background.failed.connect(report)
        self._connect_viewer()

    # ------------------------------------------------------------------------------------------ the viewer
    def _connect_viewer(self) -> None:
        if not self._is_connected:
            for event, slot in self._events():
                event.connect(slot)
            self._is_connected = True

    def _disconnect_viewer(self) -> None:
        if self._is_connected:
            for event, slot in self._events():
                event.disconnect(slot)
            self._is_connected = False

    def _events(self) -> list[tuple[Any, Any]]:
        layers, dims = self._viewer.layers.events, self._viewer.dims.events
        return [
            (layers.inserted, self._on_layers),
            (layers.removed, self._on_layers),
            (dims.current_step, self._on_dims),
            (dims.ndisplay, self._on_dims),
            (self._viewer.events.theme, self._on_theme),
        ]

    def _position(self, results: Results) -> Position:
        return results.position(self._viewer.dims.point, is_whole=self._viewer.dims.ndisplay == 3)

    def _on_dims(self, _: Any = None) -> None:
        if self._results is not None:
            position = self._position(self._results)
            for view in self.views:
                view.look_at(position)

    def _on_theme(self, _: Any = None) -> None:
        for view in self.views:
            view.set_theme(self._viewer.theme)

    def _on_frame_wanted(self, frame: int) -> None:
        if self._results is not None:
            axis, place = self._results.step_of(frame)
            self._viewer.dims.set_point(self._viewer.dims.ndim + axis, place)

    # ------------------------------------------------------------------------------------------ what to inspect
    def _choose_source(self) -> None:
        """Where a result is selected in the viewer, begin with the movie it was made of."""
        layer = self.chooser.layer()
        source = None if layer is None else record_of(layer).get("source")
        if source in self._viewer.layers:
            self.chooser.set_layer(self._viewer.layers[source])

    def _on_engine(self, _: Any) -> None:
        self._is_ready = True
        self._on_layers()
        if self._results is not None and not self.views[0].missing(self._results):
            self.sections[0].expand(animate=False)

    def _on_choice(self, role: str, place: int) -> None:
        layer = self._boxes[role].itemData(place)
        self._chosen[role] = layer
        self._on_layers()

    def _on_layers(self, _: Any = None) -> None:
        """Find the results again; views are told only when they changed."""
        if not self._is_ready:
            return
        layer = self.chooser.layer()
        if layer is None or layer not in self._viewer.layers:
            self._set_results(None, NO_LAYER)
            return
        axes = axes_of(layer, self._viewer.layers)
        if axes in IMAGE_AXES:
            self._set_results(None, ONE_IMAGE)
            return
        try:
            results = results_of(layer, axes, self._offer(layer, axes))
        except (TypeError, ValueError) as error:
            self._set_results(None, f"⚠ {error}")
            return
        self._set_results(results, self._said(results))

    def _offer(self, source: Image, axes: str) -> dict[str, Layer | None]:
        """Fill the boxes and return what is chosen in them."""
        found, choices = candidates(self._viewer.layers, source, axes), dict[str, Layer | None]()
        for role, box in self._boxes.items():
            offered = [*found[role], None]
            wanted = self._chosen.get(role, offered[0])
            choices[role] = wanted if wanted in offered else offered[0]
            box.clear()
            for layer in offered:
                box.addItem(NOTHING if layer is None else layer.name, layer)
            box.setCurrentIndex(offered.index(choices[role]))
        return choices

    def _said(self, results: Results) -> str:
        there = {
            "denoised": results.denoised is not None,
            "aligned": results.aligned is not None,
            "displacement": results.registration is not None,
            "keypoints": results.keypoints is not None,
        }
        found = [ROLES[role].lower() for role, is_there in there.items() if is_there]
        said = f"{in_words(results.noisy)}. "
        return said + (f"Found: {', '.join(found)}." if found else "No results yet: run Denoise and register.")

    def _set_results(self, results: Results | None, words: str) -> None:
        self._words.setText(words)
        if _same(results, self._results):
            return
        self._results = results
        for view, section in zip(self.views, self.sections, strict=True):
            view.switch_off()
            if section.isExpanded() and results is not None:
                view.switch_on(results, self._position(results))

    def _on_section(self, view: View, is_open: bool) -> None:
        if not is_open:
            view.switch_off()
            return
        for other, section in zip(self.views, self.sections, strict=True):
            if other is not view and section.isExpanded():
                section.collapse(animate=False)
        if self._results is not None:
            view.switch_on(self._results, self._position(self._results))

    # ------------------------------------------------------------------------------------------ opening, closing
    def open_up(self) -> None:
        """Follow the viewer."""
        self.chooser.connect_viewer()
        self._connect_viewer()

    def close_down(self) -> None:
        """Take all own layers away, stop work and timers, and let go of the viewer."""
        self._disconnect_viewer()
        self.chooser.disconnect_viewer()
        for view in self.views:
            view.close_down()
        self._background.close_down()


def _same(one: Results | None, other: Results | None) -> bool:
    """Whether two results show the same data; a movie whose data, place or axes changed is another one."""
    if one is None or other is None:
        return one is other
    if one.layer is not other.layer or one.keypoints is not other.keypoints or one.registration is not other.registration:
        return False
    for role in ("noisy", "denoised", "aligned"):
        first, second = (
            None if stack is None else (id(stack.data), stack.axes, stack.spacing)
            for stack in (getattr(one, role), getattr(other, role))
        )
        if first != second:
            return False
    return True
