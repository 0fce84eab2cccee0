"""Dock *Transforms*: the transforms of the session; load, save, invert, chain, make by hand; apply them to chosen layers.

The dock holds layout and wiring. What is done is in `transforms_session` and `transforms_apply`, whether a layer fits in
`transforms_task`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_warning
from qtpy.QtCore import Qt
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_denoisereg.widgets import transforms_files
from napari_denoisereg.widgets.denoise_register_job import load_engine
from napari_denoisereg.widgets.dock import Dock, button, scrolled
from napari_denoisereg.widgets.editors import calm
from napari_denoisereg.widgets.help_button import help_button
from napari_denoisereg.widgets.runner import Runner, report
from napari_denoisereg.widgets.section import Section
from napari_denoisereg.widgets.source_form import wrapped_label
from napari_denoisereg.widgets.transforms_apply import Moved, apply
from napari_denoisereg.widgets.transforms_list import Known
from napari_denoisereg.widgets.transforms_make import MakeForm
from napari_denoisereg.widgets.transforms_session import chained, from_layer, from_points, inverted, kept, known_to, load, save
from napari_denoisereg.widgets.transforms_task import problem, task_for

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

EMPTY = "None yet. Register a movie, load a file (or drop it here), or make some by hand below."
DIRECTIONS = {False: "Align: bring every frame to the first", True: "Undo: bring aligned layers back"}
ROWS_SEEN = 4


class TransformsDock(Dock):
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
        self._known: list[Known] = []
        self._layers: list[Layer] = []
        self._make_widgets()
        self._lay_out()
        self.setAcceptDrops(True)
        self.open_up()
        self._connect()
        self._refresh()
        self._runner.start(load_engine(), "Loading the engine", self._on_engine)

    # ------------------------------------------------------------------------------------------ making
    def _make_widgets(self) -> None:
        self._list = QListWidget()
        self._list.setToolTip("The transforms of this session: found by a registration, loaded from files, or made by hand.")
        self._list.setAccessibleName("Transforms")
        self._nothing = wrapped_label(EMPTY)
        self._load_file = button("Load file…", "Read .csv, .tfm, .txt, .nii.gz, .mha or .nrrd. You can also drop it here.")
        self._load_folder = button(
            "Load folder…", "Read a .zarr, the result of a run, or a folder of ITK files, one per frame."
        )
        self._save = button(
            "Save…", "Write the chosen transforms: .zarr keeps everything, ITK and .csv are for other programs."
        )
        self._invert = button("Invert", "Make the way back: from the aligned movie to the movie as recorded.")
        self._remove = button("Remove", "Forget transforms that were loaded or made here. Files and layers stay.")
        self._next = QComboBox()
        calm(self._next)
        self._next.setToolTip("Transforms that follow the chosen ones.")
        self._chain = button("Chain", "Make transforms that do both in one step: first the chosen ones, then these.")
        self._make = MakeForm(self._viewer)
        self._targets = QListWidget()
        self._targets.setToolTip("Tick the layers to transform: images, labels, points, shapes, tracks. Grey ones do not fit.")
        self._targets.setAccessibleName("Layers to transform")
        self._targets.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self._direction = QComboBox()
        calm(self._direction)
        for is_inverse, title in DIRECTIONS.items():
            self._direction.addItem(title, is_inverse)
        self._direction.setToolTip("Which way to go. Points and shapes go the same way as the images.")
        self._apply = button("Apply", "Make a new layer of each ticked one. Images are computed when you look at them.")
        self._runner = Runner()

    def _lay_out(self) -> None:
        page = QWidget()
        rows = QVBoxLayout(page)
        heading = QHBoxLayout()
        heading.addWidget(QLabel("Transforms"), 1)
        heading.addWidget(help_button("how-to/transforms"))
        rows.addLayout(heading)
        rows.addWidget(self._list)
        rows.addWidget(self._nothing)
        rows.addLayout(_row(self._load_file, self._load_folder))
        rows.addLayout(_row(self._save, self._invert, self._remove))
        rows.addLayout(_row(QLabel("then"), self._next, self._chain, stretch=1))
        by_hand = Section("Make by hand", self._make)
        by_hand.toggleButton().setToolTip("Show where frames belong by points, or by a copy of the movie that you move.")
        rows.addWidget(by_hand)
        rows.addWidget(QLabel("Apply to"))
        rows.addWidget(self._targets)
        rows.addWidget(self._direction)
        rows.addStretch(1)
        for each in (self._list, self._targets):
            each.setWordWrap(True)
            each.setMinimumHeight(ROWS_SEEN * 2 * self.fontMetrics().height())
            each.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
            each.setMaximumHeight(3 * each.minimumHeight())
        self._list.setMaximumHeight(self._list.minimumHeight() + self.fontMetrics().height())
        self._list.setSpacing(2)
        self.stack(scrolled(page), self._apply, self._runner)

    def _connect(self) -> None:
        self._list.currentRowChanged.connect(self._on_chosen)
        self._targets.itemChanged.connect(self._refresh_buttons)
        self._load_file.clicked.connect(lambda: self._on_load(transforms_files.ask_file(self)))
        self._load_folder.clicked.connect(lambda: self._on_load(transforms_files.ask_folder(self)))
        self._save.clicked.connect(self._on_save)
        self._invert.clicked.connect(self._on_invert)
        self._remove.clicked.connect(self._on_remove)
        self._next.currentIndexChanged.connect(self._refresh_buttons)
        self._chain.clicked.connect(self._on_chain)
        self._make.from_points.connect(self._on_from_points)
        self._make.from_layer.connect(self._on_from_layer)
        self._apply.clicked.connect(self._on_apply)
        self._runner.started.connect(self._refresh_buttons)
        self._runner.finished.connect(self._refresh_buttons)

    # ------------------------------------------------------------------------------------------ what is there
    def chosen(self) -> Known | None:
        """The chosen transforms."""
        row = self._list.currentRow()
        return self._known[row] if 0 <= row < len(self._known) else None

    def choose(self, registration: Any) -> None:
        """Choose the transforms of a registration.

        Parameters
        ----------
        registration : Registration
            Of one that is in the list; others are ignored.
        """
        rows = [row for row, known in enumerate(self._known) if known.registration is registration]
        if rows:
            self._list.setCurrentRow(rows[0])

    def _on_engine(self, _: Any) -> None:
        self._runner.clear("Ready.")
        self._make.source.set_ready()

    def _refresh(self, _: Any = None) -> None:
        """Follow the session: layers come and go, transforms are loaded and made."""
        before = self.chosen()
        self._known = known_to(self._viewer)
        for combo in (self._list, self._next):
            combo.blockSignals(True)
            combo.clear()
        for known in self._known:
            item = QListWidgetItem(f"{known.name}\n{known.in_words}")
            item.setToolTip(f"{known.name}: {known.in_words}, one transform per frame")
            self._list.addItem(item)
            self._next.addItem(known.name)
        for combo in (self._list, self._next):
            combo.blockSignals(False)
        self._nothing.setVisible(not self._known)
        self._list.setVisible(bool(self._known))
        self._list.setCurrentRow(-1)
        if self._known:
            self.choose(self._known[-1].registration if before is None else before.registration)
        if self._list.currentRow() < 0 and self._known:
            self._list.setCurrentRow(len(self._known) - 1)
        self._make.refresh()
        self._on_chosen()

    def _on_chosen(self, _: int = -1) -> None:
        ticked = {id(layer) for layer in self._ticked()}
        self._layers = list(reversed(self._viewer.layers))
        known = self.chosen()
        self._targets.blockSignals(True)
        self._targets.clear()
        for layer in self._layers:
            item = QListWidgetItem(layer.name)
            reason = "Choose transforms first." if known is None else problem(layer, known)
            item.setFlags(Qt.ItemFlag.ItemIsUserCheckable | Qt.ItemFlag.ItemIsSelectable)
            if not reason:
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEnabled)
            item.setToolTip(reason or f"Make {layer.name!r} a new, transformed layer.")
            is_ticked = not reason and id(layer) in ticked
            item.setCheckState(Qt.CheckState.Checked if is_ticked else Qt.CheckState.Unchecked)
            self._targets.addItem(item)
        self._targets.blockSignals(False)
        self._refresh_buttons()

    def _ticked(self) -> list[Layer]:
        items = [self._targets.item(row) for row in range(self._targets.count())]
        states = [item is not None and item.checkState() == Qt.CheckState.Checked for item in items]
        return [layer for layer, is_ticked in zip(self._layers, states, strict=False) if is_ticked]

    def _refresh_buttons(self, _: Any = None) -> None:
        known, is_idle = self.chosen(), not self._runner.is_running
        for each in (self._save, self._invert, self._chain):
            each.setEnabled(is_idle and known is not None)
        for each in (self._load_file, self._load_folder):
            each.setEnabled(is_idle)
        self._remove.setEnabled(known is not None and any(known is each for each in kept(self._viewer)))
        self._apply.setEnabled(is_idle and known is not None and bool(self._ticked()))

    # ------------------------------------------------------------------------------------------ acts
    def _add(self, known: Known, words: str) -> None:
        kept(self._viewer).append(known)
        self._refresh()
        self.choose(known.registration)
        self._runner.say(words)

    def _on_load(self, path: Path | None) -> None:
        if path is not None and not self._runner.is_running:
            stack = self._make.source.stack()
            steps = load(path, None if stack is None else stack.grid)
            self._runner.start(steps, f"Load {path.name}", lambda known: self._add(known, f"Loaded: {known.in_words}."))

    def _on_save(self) -> None:
        known = self.chosen()
        path = None if known is None else transforms_files.ask_target(self, known.name)
        if known is not None and path is not None:
            steps = save(known, path, overwrite=True)  # the dialog asked
            self._runner.start(steps, f"Save {path.name}", lambda written: self._runner.say(f"Saved {written}."))

    def _on_invert(self) -> None:
        known = self.chosen()
        if known is not None:
            steps = inverted(known)
            self._runner.start(steps, "Invert", lambda found: self._add(found, "The inverse is a new entry of the list."))

    def _on_remove(self) -> None:
        known, others = self.chosen(), kept(self._viewer)
        others[:] = [each for each in others if each is not known]
        self._refresh()

    def _on_chain(self) -> None:
        known, place = self.chosen(), self._next.currentIndex()
        if known is None or not 0 <= place < len(self._known):
            return
        try:
            self._add(chained(known, self._known[place]), "Both in one are a new entry of the list.")
        except ValueError as error:
            report(error)

    def _on_from_points(self) -> None:
        points, movie, stack = self._make.points(), self._make.source.chooser.layer(), self._make.source.stack()
        if points is None or movie is None or stack is None:
            return

        def show(made: tuple[Known, str]) -> None:
            known, warning = made
            self._add(known, f"⚠ {warning}" if warning else "Made from points: a new entry of the list.")
            if warning:
                show_warning(warning)

        try:
            self._runner.start(from_points(points, movie, stack.axes, self._make.kind()), "Make from points", show)  # type: ignore[arg-type]
        except ValueError as error:
            report(error)

    def _on_from_layer(self) -> None:
        layer, movie, stack = self._make.moved(), self._make.source.chooser.layer(), self._make.source.stack()
        if layer is None or movie is None or stack is None:
            return
        try:
            self._add(
                from_layer(layer, movie, stack.axes, self._make.first_frame()), "Made from the layer: a new entry of the list."
            )
        except ValueError as error:
            report(error)

    def _on_apply(self) -> None:
        known, is_inverse = self.chosen(), bool(self._direction.currentData())
        if known is None:
            return
        try:
            tasks = [task_for(layer, known) for layer in self._ticked()]
        except (TypeError, ValueError) as error:
            report(error)
            self._on_chosen()
            return
        self._runner.start(apply(tasks, known, inverse=is_inverse), f"Apply {known.name}", self._show)

    def _show(self, moved: Moved) -> None:
        for layer in moved.as_layers():
            self._viewer.add_layer(layer)
        count = len(moved.layers)
        words = f"Done: {count} new layer{'s' if count > 1 else ''}."
        if moved.n_lost:
            words += f" ⚠ {moved.n_lost} points or shapes were left out: the transforms fold there, so they have no place."
            show_warning(words)
        self._runner.say(words)

    # ------------------------------------------------------------------------------------------ dropping, opening, closing
    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:  # noqa: N802 - Qt's name
        """Take files."""
        data = None if event is None else event.mimeData()
        if event is not None and data is not None and data.hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:  # noqa: N802 - Qt's name
        """Load the first file."""
        data = None if event is None else event.mimeData()
        if event is not None and data is not None and data.urls():
            event.acceptProposedAction()
            self._on_load(Path(data.urls()[0].toLocalFile()))

    def open_up(self) -> None:
        """Follow the viewer's layers."""
        if not self._is_connected:
            for event in self._events():
                event.connect(self._refresh)
            self._is_connected = True
            self._make.source.chooser.connect_viewer()

    def close_down(self) -> None:
        """Stop work and stop following the viewer."""
        self._runner.close_down()
        self._make.source.chooser.disconnect_viewer()
        if self._is_connected:
            for event in self._events():
                event.disconnect(self._refresh)
            self._is_connected = False

    def _events(self) -> tuple[Any, ...]:
        events = self._viewer.layers.events
        return events.inserted, events.removed, events.reordered


def _row(*widgets: QWidget, stretch: int | None = None) -> QHBoxLayout:
    """Widgets side by side, all alike or with one that takes what is left."""
    row = QHBoxLayout()
    for place, widget in enumerate(widgets):
        row.addWidget(widget, int(stretch is None or place == stretch))
    return row
