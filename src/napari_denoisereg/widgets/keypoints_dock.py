"""Dock *Keypoints*: mark landmarks through a movie, see how far off they are before and after registration, write a report.

The dock holds layout and wiring. What clicks mean is `keypoint_session`, what the marks are is `keypoint_book`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QVBoxLayout, QWidget

from napari_denoisereg.evaluation.agreement import annotator_distances
from napari_denoisereg.widgets import keypoint_files
from napari_denoisereg.widgets.denoise_register_job import load_engine
from napari_denoisereg.widgets.dock import Dock, scrolled
from napari_denoisereg.widgets.help_button import help_button
from napari_denoisereg.widgets.keypoint_autosave import Saved
from napari_denoisereg.widgets.keypoint_latest import LatestRunner
from napari_denoisereg.widgets.keypoint_marks import Marks
from napari_denoisereg.widgets.keypoint_movie import Movie
from napari_denoisereg.widgets.keypoint_offer import Offer
from napari_denoisereg.widgets.keypoint_outline import HOW, Outline
from napari_denoisereg.widgets.keypoint_panels import ErrorPanel, MarkPanel, quiet_button
from napari_denoisereg.widgets.keypoint_predict import Ways, ways_of
from napari_denoisereg.widgets.keypoint_report import report_steps
from napari_denoisereg.widgets.keypoint_session import KeypointSession
from napari_denoisereg.widgets.keypoint_setup import KeypointSetup
from napari_denoisereg.widgets.layers import METADATA_KEY, in_words
from napari_denoisereg.widgets.report_pdf import PdfPages
from napari_denoisereg.widgets.runner import report
from napari_denoisereg.widgets.slices import GuiSlices
from napari_denoisereg.widgets.source_form import wrapped_label

if TYPE_CHECKING:
    import napari

    from napari_denoisereg.evaluation.point_fit import FitModel

ABOUT = "Mark what should not move, and see how far off it is."
START, FINISH = "Start annotating", "Finish annotating"
ABOUT_START = "Make a layer of keypoints on the movie and mark landmarks in it."
ABOUT_FINISH = "Stop marking; the keypoints stay in their layer."
REPORTS = "Web page (*.html);;PDF (*.pdf)"

Action = Callable[[KeypointSession], object]


class KeypointsDock(Dock):
    """The dock.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari.
    """

    first_size, least_width = (340, 700), 280

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._session: KeypointSession | None = None
        self._outline: Outline | None = None
        self._replaced: Any = None  # the user's layer that the session's stands for
        self._ways: tuple[Any, Ways] | None = None  # the last registration that was read
        self._setup = KeypointSetup(napari_viewer)
        self._about = wrapped_label(ABOUT)
        self._offer = Offer()
        self._start = quiet_button(START, ABOUT_START)
        self._marking, self._errors = MarkPanel(), ErrorPanel()
        self._import = quiet_button(
            "Import…", "Add keypoints from a CSV file: napari, BigWarp, plain t, y, x, or this plugin's."
        )
        self._export = quiet_button("Export…", "Write the keypoints to a CSV file; choose the format in the dialog.")
        self._report = quiet_button("Report…", "Write figures, plots and a methods paragraph with references, as HTML or PDF.")
        self._runner, self._searcher, self._writer = LatestRunner(), LatestRunner(), LatestRunner()
        self._pages = GuiSlices(self)
        self._lay_out()
        self._connect()
        self._refresh_buttons()
        self._runner.request(load_engine(), "Loading the engine", lambda _: self._on_engine())

    # ------------------------------------------------------------------------------------------ making
    def _lay_out(self) -> None:
        page = QWidget()
        rows = QVBoxLayout(page)
        for widget in (self._setup, self._offer, self._start, self._marking):
            rows.addWidget(widget)
        rows.addWidget(self._errors, 1)
        rows.addStretch(0)
        top, files = QHBoxLayout(), QHBoxLayout()
        top.addWidget(self._about, 1)
        top.addWidget(help_button("how-to/keypoints"))
        for each in (self._import, self._export, self._report):
            files.addWidget(each)
        self.stack(top, scrolled(page), files, self._runner, self._searcher, self._writer)

    def _connect(self) -> None:
        marking, errors = self._marking, self._errors
        actions: dict[Any, Action] = {
            marking.accept: lambda session: session.accept(),
            marking.first: lambda session: session.go(0),
            marking.back: lambda session: session.step(-1),
            marking.forward: lambda session: session.step(1),
            marking.undo: lambda session: session.undo(),
            marking.redo: lambda session: session.redo(),
            marking.outline: self._draw,
            marking.sample: self._sample,
            errors.worst: self._go_to_worst,
            errors.exclude: self._exclude,
            errors.hold_out: self._hold_out,
            errors.delete: lambda session: session.book.remove(errors.table.selected_rows()),
            self._import: self._read,
            self._export: self._write,
            self._report: self._write_report,
        }
        for each, action in actions.items():
            each.clicked.connect(lambda _=False, act=action: self._with_session(act))
        self._start.clicked.connect(self._on_start)
        self._offer.accepted.connect(self._on_restore)
        self._setup.source_changed.connect(self._on_source)
        self._setup.judged_changed.connect(self._judge)
        self._setup.who_changed.connect(self._on_habits)
        for box in (marking.after_click, marking.looks):
            box.toggled.connect(self._on_habits)
        errors.scope.currentIndexChanged.connect(lambda _: self._show_table())
        errors.table.picked.connect(lambda row: self._with_session(lambda session: session.look_at(row)))
        errors.table.selection_changed.connect(self._refresh_buttons)

    def _on_engine(self) -> None:
        plot = self._errors.add_plot()
        plot.frame_chosen.connect(lambda frame: self._with_session(lambda session: session.go(frame)))
        self._setup.source.set_ready()

    # ------------------------------------------------------------------------------------------ sessions
    def _on_source(self) -> None:
        movie = self._setup.movie()
        if self._session is not None and (movie is None or movie.layer is not self._session.movie.layer):
            self._finish()
        elif self._session is None:
            is_here = movie is not None and any(
                keypoint_files.is_ours(layer, movie) for layer in keypoint_files.points_layers(self._viewer.layers, movie)
            )
            self._offer.look_for(None if is_here else movie)
        self._refresh_buttons()

    def _on_start(self) -> None:
        movie, layer = self._setup.movie(), self._setup.begin_with()
        if self._session is not None or movie is None:
            self._finish()
            return
        try:
            marks = (
                Marks.none(movie.n_axes)
                if layer is None
                else keypoint_files.marks_of_layer(layer, movie, self._setup.annotator())
            )
        except ValueError as error:
            report(error)
            return
        if layer is not None and keypoint_files.is_ours(layer, movie):
            self._viewer.layers.remove(layer)
        elif layer is not None:
            layer.visible, self._replaced = False, layer
        self._begin(movie, marks)

    def _on_restore(self, saved: Saved) -> None:
        movie = self._setup.movie()
        if movie is not None:
            self._begin(movie, saved.marks)

    def _begin(self, movie: Movie, marks: Marks) -> None:
        session = KeypointSession(self._viewer, movie, marks, self._setup.annotator())
        self._session, self._outline = session, Outline(self._viewer, movie)
        session.changed.connect(self._on_changed)
        session.moved.connect(self._on_moved)
        session.stepped.connect(self._on_stepped)
        session.said.connect(self._marking.advice.setText)
        session.search.connect(self._on_search)
        session.ended.connect(self._finish)
        self._offer.look_for(None)
        self._setup.hold(True)
        self._setup.offer_annotators(marks.points.annotators)
        if not len(marks):
            session.go(0)
        self._on_habits()
        self._judge()
        window = self.window()
        if window is not None:
            window.setFocus()  # napari hands keys on to the canvas

    def _finish(self) -> None:
        session, self._session = self._session, None
        if session is None:
            return
        self._searcher.drop()
        if self._outline is not None:
            self._outline.remove()
        session.close()
        if self._replaced is not None and not len(session.marks):
            self._replaced.visible = True
        self._replaced = None
        self._setup.hold(False)
        self._on_source()

    def _with_session(self, action: Action) -> None:
        """Do something with the session; what is wrong is told, and changes nothing."""
        if self._session is not None:
            try:
                action(self._session)
            except (ValueError, OSError) as error:
                report(error)

    def _on_search(self, steps: Any) -> None:
        def take(answer: Any) -> None:
            self._with_session(lambda session: session.take_found(answer))

        self._searcher.request(steps, "Looking in the movie", take, seen=False)

    def _on_habits(self, _: Any = None) -> None:
        session = self._session
        if session is not None:
            session.annotator, session.only_own = self._setup.annotator(), self._setup.only_own()
            session.steps_after_click = self._marking.after_click.isChecked()
            session.looks_in_movie = self._marking.looks.isChecked()
            session.refresh()

    def _judge(self) -> None:
        """Measure the error after what is chosen to be judged."""
        chosen, session = self._setup.judged(), self._session
        if session is None:
            return
        if chosen is None or isinstance(chosen, str):
            fit: FitModel | None = self._setup.judged()
            session.book.register_by(None, fit)
        elif self._ways is not None and self._ways[0] is chosen:
            session.book.register_by(self._ways[1], None)
        else:

            def take(ways: Ways) -> None:
                self._ways = (chosen, ways)
                self._judge()

            self._runner.request(ways_of(chosen, session.movie.stack.grid), "Reading the registration", take)

    # ------------------------------------------------------------------------------------------ showing
    def _on_changed(self) -> None:
        session = self._session
        if session is None:
            return
        self._errors.show_error(session.book.error, session.frame)
        points, included = session.marks.points, session.marks.included
        self._errors.say_agreement(
            annotator_distances(points.where(included)) if len(session.book.error.annotators) > 1 else []
        )
        self._show_table()
        if session.book.saving_error is not None:
            report(session.book.saving_error)

    def _on_moved(self, touched: Any) -> None:
        self._errors.follow(touched)

    def _on_stepped(self) -> None:
        if self._session is not None:
            self._errors.show_frame(self._session.frame)
            if self._errors.scope.currentData() == "frame":
                self._show_table()

    def _show_table(self) -> None:
        session = self._session
        if session is not None:
            scope = str(self._errors.scope.currentData())
            self._errors.table.lines.show(session.marks, session.book.error, scope, session.frame)
            self._refresh_buttons()

    def _go_to_worst(self, session: KeypointSession) -> None:
        row = session.book.worst()
        if row is not None:
            session.look_at(row)
            self._errors.table.select_row(row)

    def _exclude(self, session: KeypointSession) -> None:
        rows = self._errors.table.selected_rows()
        session.book.include(rows, not session.marks.included[rows].any())

    def _hold_out(self, session: KeypointSession) -> None:
        rows = self._errors.table.selected_rows()
        session.book.hold_out(rows, not session.marks.check[rows].all())

    def _refresh_buttons(self) -> None:
        """Switch on what can be pressed now."""
        session = self._session
        is_on = session is not None
        self._start.setText(FINISH if is_on else START)
        self._start.setToolTip(ABOUT_FINISH if is_on else ABOUT_START)
        self._start.setEnabled(is_on or self._setup.movie() is not None)
        for widget in (self._marking, self._errors):
            widget.setVisible(is_on)
        self._about.setText(ABOUT if session is None else f"{session.movie.look.name}, {in_words(session.movie.stack)}")
        self._import.setEnabled(is_on)
        for each in (self._export, self._report):
            each.setEnabled(session is not None and len(session.marks) > 0)
        if session is not None:
            self._marking.refresh(session)
            self._errors.refresh(session)

    # ------------------------------------------------------------------------------------------ outlines
    def _draw(self, _: KeypointSession) -> None:
        if self._outline is not None:
            self._outline.draw()
            self._marking.advice.setText(HOW)

    def _sample(self, session: KeypointSession) -> None:
        if self._outline is not None:
            frame, corners = self._outline.take()
            session.sample_outline(frame, corners, self._marking.n_points.value())
            self._outline.remove()

    # ------------------------------------------------------------------------------------------ files
    def _read(self, session: KeypointSession) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Add keypoints", "", f"{keypoint_files.ANY_CSV};;All files (*)")
        if path:
            session.add_points(keypoint_files.read(path, session.movie), "import keypoints")
            self._setup.offer_annotators(session.marks.points.annotators)

    def _write(self, session: KeypointSession) -> None:
        path, chosen = QFileDialog.getSaveFileName(self, "Export keypoints", "keypoints.csv", ";;".join(keypoint_files.FILTERS))
        if path:
            _told(keypoint_files.write(session.marks.points, path, chosen, session.movie))

    def _write_report(self, session: KeypointSession) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Write a report", "keypoint report.html", REPORTS)
        if path:
            book = session.book
            steps = report_steps(book.marks, book.ways, book.fit, session.movie, self._recipe(), path)
            self._writer.request(steps, "Writing the report", self._on_report)

    def _on_report(self, made: Path | PdfPages) -> None:
        if isinstance(made, PdfPages):
            self._pages.start(made.slices(), lambda: _told(made.path))
        else:
            _told(made)

    def _recipe(self) -> Any:
        """Recipe of the registration that is judged, as its layer keeps it."""
        judged = self._setup.judged()
        for layer in self._viewer.layers:
            record = layer.metadata.get(METADATA_KEY)
            if judged is not None and isinstance(record, dict) and record.get("registration") is judged:
                return record.get("recipe")
        return None

    # ------------------------------------------------------------------------------------------ opening, closing
    def open_up(self) -> None:
        """Follow the viewer's layers."""
        self._setup.connect_viewer()

    def close_down(self) -> None:
        """Finish the session, stop work, and let go of the viewer."""
        self._finish()
        self._setup.disconnect_viewer()
        for runner in (self._runner, self._searcher, self._writer):
            runner.close_down()
        self._pages.drop()


def _told(path: Any) -> None:
    show_info(f"Written: {path}")
