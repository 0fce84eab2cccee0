"""Dock *Many files*: a table of files, one recipe, one output folder; what fails is told and does not stop the others.

The dock holds layout and wiring; what a job is and does is in `batch_jobs`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_warning
from qtpy.QtCore import Qt
from qtpy.QtGui import (  # type: ignore[attr-defined]  # qtpy says where QShortcut is
    QDragEnterEvent,
    QDropEvent,
    QKeySequence,
    QShortcut,
)
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QTableWidget,
    QTableWidgetItem,
)

from napari_denoisereg.widgets.batch_files import RecipeBox, ask_files, ask_folder, open_result
from napari_denoisereg.widgets.batch_jobs import (
    Job,
    State,
    attempt,
    in_words,
    is_finished,
    is_movie,
    movies_in,
    search,
    targets,
    totals,
    work,
)
from napari_denoisereg.widgets.denoise_register_dock import FIRST_RECIPE
from napari_denoisereg.widgets.denoise_register_job import Engine, load_engine, saved
from napari_denoisereg.widgets.device_chooser import DeviceChooser
from napari_denoisereg.widgets.dock import Dock, button
from napari_denoisereg.widgets.editors import calm
from napari_denoisereg.widgets.help_button import help_button
from napari_denoisereg.widgets.preferences import first_choice
from napari_denoisereg.widgets.runner import Runner, duration_in_words
from napari_denoisereg.widgets.source_form import row_label, wrapped_label

if TYPE_CHECKING:
    import napari

    from napari_denoisereg.pipeline import Pipeline

COLUMNS = ("File", "State", "Time", "Result")
MARKS: dict[State, str] = {
    "waiting": "waiting",
    "running": "▶ running",
    "done": "✓ done",
    "skipped": "✓ done before",
    "failed": "✗ failed",
    "cancelled": "– cancelled",
}
EMPTY = "Add movies, or drop files and folders here (.tif, .ome.tif, .zarr). All go through one recipe."


class BatchDock(Dock):
    """The dock.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari.
    """

    first_size, least_width = (420, 640), 280

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._engine: Engine | None = None
        self._jobs: list[Job] = []
        self._order: list[tuple[Job, Path]] = []
        self._wanted: list[Path] = []  # files and folders that are still to be looked into
        self._current: Job | None = None
        self._start = 0.0
        self._make_widgets()
        self._lay_out()
        self.setAcceptDrops(True)
        self._connect()
        self._refresh()
        self._runner.start(load_engine(), "Loading the engine", self._on_engine)

    # ------------------------------------------------------------------------------------------ making
    def _make_widgets(self) -> None:
        self._table = QTableWidget(0, len(COLUMNS))
        self._table.setHorizontalHeaderLabels(list(COLUMNS))
        self._table.setToolTip("One row per movie. Delete removes the selected rows; double-click a finished one to open it.")
        self._table.setAccessibleName("Files")
        self._table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self._table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self._table.setTabKeyNavigation(False)
        self._table.setWordWrap(True)
        upright, header = self._table.verticalHeader(), self._table.horizontalHeader()
        assert upright is not None
        assert header is not None
        upright.hide()
        for place in range(3):
            header.setSectionResizeMode(place, QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Interactive)
        header.setStretchLastSection(True)
        self._hint = wrapped_label(EMPTY)
        self._add_files = button("Add files…", "Choose movies (.tif, .ome.tif). You can also drop them here.")
        self._add_folder = button("Add folder…", "Add every movie of a folder, or one .zarr.")
        self._remove = button("Remove", "Take the selected rows off the table (Delete). Files stay.")
        self._recipes = RecipeBox()
        calm(self._recipes)
        self._recipes.setToolTip("Recipe for all files: those of the program, and those you saved in 'Denoise and register'.")
        self._axes = QLineEdit()
        self._axes.setPlaceholderText("as the files say")
        self._axes.setToolTip(
            "What the dimensions are, e.g. tyx (t time, c channel, z depth or section); empty: as the files say."
        )
        self._folder = QLineEdit()
        self._folder.setPlaceholderText("Choose where results go")
        self._folder.setToolTip("Results are written here, one .zarr per movie.")
        self._choose = button("…", "Choose the output folder.")
        self._device = DeviceChooser()
        self._replace = QCheckBox("Replace other results")
        self._replace.setToolTip(
            "Results of another recipe, or of an older file, are replaced. Without this they count as failed."
        )
        self._run = button("Run", "Work through the table, one file after the other. What is done already is not done again.")
        self._runner = Runner()
        self._finder = Runner()  # looks through folders; never shown
        self._finder.hide()

    def _lay_out(self) -> None:
        rows = QFormLayout()
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        rows.addRow(row_label("Recipe"), self._recipes)
        rows.addRow(row_label("Axes"), self._axes)
        place = QHBoxLayout()
        place.addWidget(self._folder, 1)
        place.addWidget(self._choose)
        rows.addRow(row_label("Output"), place)
        rows.addRow(row_label("Device"), self._device)
        rows.addRow(self._replace)
        heading = QHBoxLayout()
        heading.addWidget(QLabel("Movies"), 1)
        heading.addWidget(help_button("how-to/batch"))
        buttons = QHBoxLayout()
        for each in (self._add_files, self._add_folder, self._remove):
            buttons.addWidget(each)
        self.stack(heading, self._hint, self._table, buttons, rows, self._run, self._runner)
        self._table.setMinimumHeight(80)

    def _connect(self) -> None:
        self._add_files.clicked.connect(lambda: self.add(ask_files(self)))
        self._add_folder.clicked.connect(lambda: self.add(ask_folder(self, "Add every movie of a folder")))
        self._remove.clicked.connect(self._on_remove)
        delete = QShortcut(QKeySequence(QKeySequence.StandardKey.Delete), self._table)
        delete.setContext(Qt.ShortcutContext.WidgetShortcut)
        delete.activated.connect(self._on_remove)
        self._table.itemSelectionChanged.connect(self._refresh_buttons)
        self._table.cellDoubleClicked.connect(self._on_double_click)
        self._choose.clicked.connect(self._on_choose)
        self._folder.textChanged.connect(self._refresh_buttons)
        self._run.clicked.connect(self._on_run)
        self._recipes.opened.connect(self._on_recipes_opened)
        self._finder.finished.connect(self._search)
        self._runner.returned.connect(self._on_returned)
        self._runner.cancelled.connect(self._on_cancelled)
        self._runner.finished.connect(self._on_finished)

    def _on_engine(self, engine: Engine) -> None:
        self._engine = engine
        self._runner.clear("Ready.")
        self._recipes.offer(engine.presets)
        self._recipes.setCurrentIndex(self._recipes.findData(first_choice("recipe", engine.presets, FIRST_RECIPE)))
        self._device.offer(engine.devices)

    def _on_recipes_opened(self) -> None:
        """Recipes may have been saved in other docks meanwhile."""
        if self._engine is not None and self._current is None:
            self._engine.presets.update(saved())
            self._recipes.offer(self._engine.presets)

    # ------------------------------------------------------------------------------------------ the table
    def add(self, paths: Sequence[Path]) -> None:
        """Add movies to the table, those of folders as soon as they are found; those that are there already stay as they are.

        Parameters
        ----------
        paths : sequence of Path
            Files and folders.
        """
        if all(is_movie(path) for path in paths):
            self._take(movies_in(paths))
        else:
            self._wanted += paths
            self._search()

    def _search(self) -> None:
        if self._wanted and not self._finder.is_running:
            wanted, self._wanted = self._wanted, []
            self._finder.start(search(wanted), "Looking for movies", self._take)

    def _take(self, movies: list[Path]) -> None:
        known = {job.source for job in self._jobs}
        self._jobs += [Job(path) for path in movies if path not in known]
        if not movies and not self._runner.is_running:
            self._runner.say("No .tif or .zarr movie there.")
        self._refresh()

    def jobs(self) -> list[Job]:
        """The jobs of the table, in its order."""
        return list(self._jobs)

    def _refresh(self) -> None:
        self._table.setRowCount(len(self._jobs))
        for row, job in enumerate(self._jobs):
            texts = (job.source.name, MARKS[job.state], duration_in_words(job.seconds) if job.seconds else "", job.words)
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                item.setToolTip(str(job.source) if column == 0 else text)
                self._table.setItem(row, column, item)
        self._table.resizeRowsToContents()
        self._hint.setVisible(not self._jobs)
        self._refresh_buttons()

    def _refresh_buttons(self) -> None:
        is_idle = self._engine is not None and not self._runner.is_running and self._current is None
        folder = self.output()
        self._run.setEnabled(is_idle and bool(self._jobs) and folder is not None)
        if folder is None and self._folder.text():
            self._runner.say("There is no such output folder; choose one with …")
        self._remove.setEnabled(bool(self._selected()) and self._current is None)
        for widget in (self._recipes, self._axes, self._folder, self._choose, self._device, self._replace):
            widget.setEnabled(self._current is None)

    def output(self) -> Path | None:
        """The output folder; None where there is none."""
        text = self._folder.text().strip()
        return Path(text) if text and Path(text).is_dir() else None

    def _selected(self) -> list[int]:
        model = self._table.selectionModel()
        return sorted({index.row() for index in model.selectedRows()}) if model is not None else []

    def _on_remove(self) -> None:
        if self._current is None:
            chosen = set(self._selected())
            self._jobs = [job for row, job in enumerate(self._jobs) if row not in chosen]
            self._table.clearSelection()
            self._refresh()

    def _on_choose(self) -> None:
        chosen = ask_folder(self, "Output folder")
        if chosen:
            self._folder.setText(str(chosen[0]))

    def _on_double_click(self, row: int, _: int) -> None:
        job, folder = self._jobs[row], self.output()
        if job.state in ("done", "skipped") and folder is not None:
            target = targets([each.source for each in self._jobs], folder)[row]
            for path in (target / "denoised", target / "aligned"):
                if path.is_dir():
                    open_result(self._viewer, path)

    # ------------------------------------------------------------------------------------------ running
    def _recipe(self) -> Pipeline:
        assert self._engine is not None
        return self._engine.presets[str(self._recipes.currentData())]

    def _on_run(self) -> None:
        folder = self.output()
        if folder is None:
            return
        places = targets([job.source for job in self._jobs], folder)
        self._order = [(job, target) for job, target in zip(self._jobs, places, strict=True)]
        for job in self._jobs:
            job.state, job.words, job.seconds = "waiting", "", 0.0
        self._next()

    def _next(self) -> None:
        """Start the next job that is not finished, or say how all went."""
        while self._order:
            job, target = self._order.pop(0)
            if is_finished(job.source, target, self._recipe(), axes=self._axes.text().strip()):
                job.state, job.words = "skipped", "This recipe made the result of this file before."
                continue
            job.state, self._current, self._start = "running", job, time.monotonic()
            options = {"axes": self._axes.text().strip(), "device": self._device.device()}
            steps = work(job.source, target, self._recipe(), overwrite=self._replace.isChecked(), **options)
            self._refresh()
            self._show_row(job)
            self._runner.start(attempt(steps), job.source.name)
            return
        self._current = None
        self._refresh()
        self._runner.say(totals(self._jobs))
        if any(job.state == "failed" for job in self._jobs):
            show_warning(f"{totals(self._jobs)} The table says why files failed.")

    def _end(self, state: State, words: str) -> None:
        if self._current is not None:
            self._current.state, self._current.words = state, words
            self._current.seconds = time.monotonic() - self._start

    def _on_returned(self, result: Any) -> None:
        if isinstance(result, Exception) and self._current is not None:
            self._end("failed", in_words(result, self._current.source))
        else:
            self._end("done", str(result))

    def _on_cancelled(self) -> None:
        self._end("cancelled", "Cancelled; nothing was written.")
        self._order.clear()

    def _on_finished(self) -> None:
        if self._current is not None:
            self._next()
        else:
            self._refresh_buttons()
            if self._engine is not None:
                self._runner.say("Ready." if not self._jobs else totals(self._jobs))

    def _show_row(self, job: Job) -> None:
        item = self._table.item(self._jobs.index(job), 0)
        if item is not None:
            self._table.scrollToItem(item)

    # ------------------------------------------------------------------------------------------ dropping, closing
    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:  # noqa: N802 - Qt's name
        """Take files and folders."""
        data = None if event is None else event.mimeData()
        if event is not None and data is not None and data.hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:  # noqa: N802 - Qt's name
        """Add what was dropped."""
        data = None if event is None else event.mimeData()
        if event is not None and data is not None:
            event.acceptProposedAction()
            self.add([Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()])

    def close_down(self) -> None:
        """Stop work; the jobs that were waiting are not started."""
        self._order.clear()
        self._wanted.clear()
        self._finder.close_down()
        self._runner.close_down()
