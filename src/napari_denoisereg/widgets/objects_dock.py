"""Dock *Register objects*: choose a movie and labels that follow its objects, press Run; each object gets a motion of its own.

The dock holds layout and wiring. What runs, and what comes of it, is in `objects_job`, how to register in `objects_method`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari.layers import Image, Labels
from napari.utils.notifications import show_warning
from qtpy.QtWidgets import QFileDialog, QFormLayout, QHBoxLayout, QPushButton, QWidget

from napari_denoisereg.widgets.denoise_register_job import Engine, load_engine
from napari_denoisereg.widgets.device_chooser import DeviceChooser
from napari_denoisereg.widgets.dock import Dock, button, scrolled, separator
from napari_denoisereg.widgets.fresh_combo import FreshCombo, layers_of
from napari_denoisereg.widgets.help_button import help_button
from napari_denoisereg.widgets.layers import Look
from napari_denoisereg.widgets.objects_job import (
    Outcome,
    labels_on,
    recipe_of,
    result_layers,
    run_objects,
    save,
    summary,
    warning,
    world_offset,
)
from napari_denoisereg.widgets.objects_method import ObjectsMethod
from napari_denoisereg.widgets.objects_text import ObjectsJob, objects_text
from napari_denoisereg.widgets.preferences import apply_preferences, limit_threads
from napari_denoisereg.widgets.recipe_actions import RecipeActions
from napari_denoisereg.widgets.recipe_text import Job
from napari_denoisereg.widgets.result_layers import NOT_SHOWN
from napari_denoisereg.widgets.runner import Runner, report
from napari_denoisereg.widgets.source_form import SourceForm, row_label, wrapped_label

if TYPE_CHECKING:
    import napari

    from napari_denoisereg.stack import Stack

NO_LABELS = "Choose labels"
ABOUT_LABELS = (
    "A Labels layer of the movie in which each object keeps its number from frame to frame, as tracking programs make it."
)
NEEDED = (
    "Each object needs the same number in all frames, and a new object a number of its own: labels as tracking programs "
    "(TrackMate, btrack, ultrack) make them."
)
FITS = "These labels lie on the movie. Objects are followed by their number."
ABOUT_RUN = "Register every object by itself. You can go on using napari; Cancel leaves everything as it was."
FORMATS = {"all": ("Objects (*.zarr)", ".zarr"), "table": ("Table (*.csv)", ".csv")}
WATCHED = ("data", "scale", "translate", "rotate", "shear", "affine")


class ObjectsDock(Dock):
    """The dock.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._is_connected = False
        self._watched: Labels | None = None
        self._result: tuple[Outcome, list[float], str] | None = None
        self._make_widgets()
        self._lay_out()
        self.open_up()
        self._connect()
        self._on_layers()
        self._runner.start(load_engine(), "Loading the engine", self._on_engine)

    # ------------------------------------------------------------------------------------------ making
    def _make_widgets(self) -> None:
        self._source = SourceForm(self._viewer)
        self._labels = FreshCombo(NO_LABELS, ABOUT_LABELS, lambda: layers_of(self._viewer, Labels)[::-1])
        self._words = wrapped_label(NEEDED)
        self._method = ObjectsMethod()
        self._device = DeviceChooser()
        self._told = wrapped_label()
        self._told.hide()
        self._save = button("Save…", "Keep the transforms of every object, and the table of their motion, in a .zarr folder.")
        self._save_table = button(
            "Save table…", "Write a table (.csv) of where each object was, how it turned and grew, frame by frame."
        )
        self._run = QPushButton("Run")
        self._runner = Runner()
        self._actions = RecipeActions(self._runner, self._job, {"Copy as Python": objects_text})

    def _lay_out(self) -> None:
        page = QWidget()
        rows = QFormLayout(page)
        rows.setRowWrapPolicy(QFormLayout.RowWrapPolicy.DontWrapRows)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        rows.addRow(self._source)
        rows.addRow(separator())
        labels = QHBoxLayout()
        labels.addWidget(self._labels, 1)
        labels.addWidget(help_button("how-to/regions"))
        rows.addRow(row_label("Labels"), labels)
        rows.addRow(self._words)
        rows.addRow(row_label("Motion"), self._method.choice)
        rows.addRow(row_label("Device"), self._device)
        rows.addRow(self._method)
        rows.addRow(self._actions)
        rows.addRow(self._told)
        kept = QHBoxLayout()
        kept.addWidget(self._save)
        kept.addWidget(self._save_table)
        self.stack(scrolled(page), self._run, kept, self._runner)

    def _connect(self) -> None:
        self._source.changed.connect(self._refresh)
        self._labels.currentIndexChanged.connect(self._refresh)
        self._method.changed.connect(self._refresh_buttons)
        self._run.clicked.connect(self._on_run)
        self._save.clicked.connect(lambda: self._on_save("all"))
        self._save_table.clicked.connect(lambda: self._on_save("table"))
        self._runner.started.connect(self._refresh_buttons)
        self._runner.finished.connect(self._refresh_buttons)

    # ------------------------------------------------------------------------------------------ what is chosen
    def _chosen(self) -> tuple[Image, Stack, Stack] | None:
        """The movie, its stack, its labels; None where something is missing. Raises ValueError for what does not fit."""
        movie, stack, labels = self._source.chooser.layer(), self._source.stack(), self._labels.currentData()
        if movie is None or stack is None or labels is None:
            return None
        return movie, stack, labels_on(labels, movie, stack)

    def _on_layers(self, _: Any = None) -> None:
        """Follow the viewer's layers; the newest labels are chosen where none are."""
        self._labels.blockSignals(True)
        self._labels.renew()
        if self._labels.currentIndex() == 0 and self._labels.count() > 1:
            self._labels.setCurrentIndex(1)
        self._labels.blockSignals(False)
        self._refresh()

    def _refresh(self, _: Any = None) -> None:
        """Say whether the labels fit the movie."""
        self._watch(self._labels.currentData())
        try:
            self._words.setText(NEEDED if self._chosen() is None else FITS)
        except ValueError as error:
            self._words.setText(f"⚠ {error}")
        self._refresh_buttons()

    def _refresh_buttons(self, _: Any = None) -> None:
        is_idle, is_ready = not self._runner.is_running, False
        tip = NEEDED
        try:
            is_ready = self._chosen() is not None and self._method.value() is not None
            tip = ABOUT_RUN if is_ready else NEEDED
        except ValueError as error:
            tip = str(error)
        self._run.setEnabled(is_idle and is_ready)
        self._run.setToolTip(tip)
        self._actions.setEnabled(is_idle and is_ready)
        for each in (self._save, self._save_table):
            each.setEnabled(is_idle and self._result is not None)

    # ------------------------------------------------------------------------------------------ acts
    def _on_engine(self, engine: Engine) -> None:
        limit_threads(apply_preferences().threads)
        self._device.offer(engine.devices)
        self._method.set_ready()
        self._runner.clear("Ready.")
        self._source.set_ready()

    def _on_run(self) -> None:
        look = self._source.look()
        try:
            chosen, method = self._chosen(), self._method.value()
            offset = [] if chosen is None else world_offset(chosen[0], chosen[1])
        except ValueError as error:
            report(error)
            self._refresh()
            return
        if chosen is None or method is None or look is None:
            return
        _, stack, labels = chosen
        channel = self._source.channel()

        def show(outcome: Outcome) -> None:
            self._show(outcome, look, offset, channel)

        steps = run_objects(stack, labels, method, device=self._device.device(), channel=channel, series=self._method.series())
        self._runner.start(steps, f"Register objects of {look.name}", show)

    def _job(self) -> ObjectsJob | None:
        """What *Run* would do now; raises ValueError for what does not fit."""
        chosen, method = self._chosen(), self._method.value()
        if chosen is None or method is None:
            return None
        movie, stack, labels = chosen
        recipe = recipe_of(method, self._method.series(), self._source.channel())
        device = self._device.device()
        return ObjectsJob(Job.of(recipe, stack, movie, device), Job.of(recipe, labels, self._labels.currentData(), device))

    def _show(self, outcome: Outcome, look: Look, offset: list[float], channel: int) -> None:
        self._told.setText(summary(outcome))
        self._told.show()
        if warning(outcome):
            show_warning(warning(outcome))
        self._result = (outcome, offset, look.name) if outcome.objects else None
        try:
            layers = result_layers(outcome, look, channel=channel)
            active = self._viewer.layers.selection.active
            for layer in layers:
                self._viewer.add_layer(layer)
            self._viewer.layers.selection.active = active
        except Exception as error:  # noqa: BLE001 - hours of work must not end without a word
            report(error)
            self._runner.say(NOT_SHOWN)

    def _on_save(self, what: Literal["all", "table"]) -> None:
        if self._result is None:
            return
        outcome, offset, name = self._result
        path = ask_target(self, name, what)
        if path is not None:
            steps = save(outcome, offset, path, what)  # the dialog asked before replacing
            self._runner.start(steps, f"Save {path.name}", lambda written: self._runner.say(f"Saved {written}."))

    # ------------------------------------------------------------------------------------------ opening, closing
    def open_up(self) -> None:
        """Follow the viewer's layers."""
        self._source.chooser.connect_viewer()
        if not self._is_connected:
            for event in self._events():
                event.connect(self._on_layers)
            self._is_connected = True

    def close_down(self) -> None:
        """Stop work, wait for it a moment, and let go of the viewer."""
        self._runner.close_down()
        self._source.chooser.disconnect_viewer()
        self._watch(None)
        if self._is_connected:
            for event in self._events():
                event.disconnect(self._on_layers)
            self._is_connected = False

    def _events(self) -> tuple[Any, ...]:
        events = self._viewer.layers.events
        return events.inserted, events.removed, events.reordered

    def _watch(self, labels: Labels | None) -> None:
        """Notice when the chosen labels are moved onto the movie."""
        if labels is self._watched:
            return
        for watched, action in ((self._watched, "disconnect"), (labels, "connect")):
            if watched is not None:
                for name in WATCHED:
                    getattr(getattr(watched.events, name), action)(self._refresh)
        self._watched = labels


def ask_target(parent: QWidget, name: str, what: Literal["all", "table"]) -> Path | None:
    """Ask where to save; the dialog asks before something is replaced.

    Parameters
    ----------
    parent : QWidget
        Of the question.
    name : str
        Of the movie.
    what : {"all", "table"}
        What is saved.

    Returns
    -------
    Path or None
        With the right suffix; None when the user changed their mind.
    """
    kinds, suffix = FORMATS[what]
    path, _ = QFileDialog.getSaveFileName(parent, "Save objects", f"{name} objects{suffix}", kinds)
    return None if not path else Path(path if path.lower().endswith(suffix) else path + suffix)
