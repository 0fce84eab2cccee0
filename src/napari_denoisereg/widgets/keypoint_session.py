"""Annotating a movie: what clicks, drags and keys mean. Between the book of marks and napari's layers; no widget in sight.

A proposal is where a keypoint is expected in the frame in view; it is no mark, is not saved, and vanishes with the frame unless
it is accepted, dragged or replaced by a click.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]  # qtpy renames pyqtSignal

from napari_denoisereg.evaluation.keypoints import Floats, Ints, Keypoints
from napari_denoisereg.steps import Steps
from napari_denoisereg.widgets.keypoint_book import KeypointBook
from napari_denoisereg.widgets.keypoint_layer import KeypointLayer, label_of
from napari_denoisereg.widgets.keypoint_marks import Flags, Marks
from napari_denoisereg.widgets.keypoint_movie import Movie
from napari_denoisereg.widgets.keypoint_predict import found_in_movie
from napari_denoisereg.widgets.keypoint_proposals import FIXED, Proposals, contour_marks, propose

FIRST = "Frame 0: click a landmark that you can find again in every frame."
PROPOSED = "Frame {frame}: is {what} in the right place? If not, drag it or click there. Space accepts and goes on."
NOTHING = "Frame {frame}: all is marked here. Drag to correct, → goes on; another landmark begins in frame 0."
FINISHED = "That was the last frame. Click the next landmark in frame 0, or look at the errors below."
BEGINS = "New landmarks begin in frame 0, which all frames are compared with: press First frame and click it there."


class KeypointSession(QObject):
    """Keypoints of one movie in one viewer.

    Signals: ``changed()``, marks or proposals are others; ``moved(rows)``, the errors of these marks changed during a drag;
    ``stepped()``, another frame is in view; ``said(text)``, what to do now; ``search(steps)``, long work whose result belongs
    to `take_found`; ``ended()``, the user took the layer away.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    movie : Movie
        Which movie.
    marks : Marks
        To begin with.
    annotator : str
        Who marks.
    folder : Path, optional
        Where to save; the user's data folder by default.
    """

    changed = Signal()
    moved = Signal(object)
    stepped = Signal()
    said = Signal(str)
    search = Signal(object)
    ended = Signal()

    def __init__(self, viewer: Any, movie: Movie, marks: Marks, annotator: str, folder: Path | None = None) -> None:
        super().__init__()
        self.movie = movie
        self.annotator = annotator
        self.steps_after_click = True
        self.looks_in_movie = True
        self.only_own = False
        self.book = KeypointBook(marks, movie.n_frames, movie.key, folder)
        self.book.on_change = self._on_book
        self.proposed = propose(marks, annotator, FIXED, None)
        self._viewer = viewer
        self._is_dragging = False
        self.layer = KeypointLayer(viewer, movie)
        self.layer.clicked.connect(self.click)
        self.layer.dragged.connect(self.drag)
        self.layer.dropped.connect(self.drop)
        self.layer.deleted.connect(self._on_deleted)
        self.layer.edited.connect(self._on_edited)
        self.layer.removed.connect(self.ended)
        self._bind_keys()
        self.frame = movie.frame_in_view(viewer)
        viewer.dims.events.current_step.connect(self._on_dims)
        viewer.layers.selection.active = self.layer.points
        self.refresh()

    @property
    def marks(self) -> Marks:
        """The present marks."""
        return self.book.marks

    # ------------------------------------------------------------------------------------------ marking
    def click(self, place: Any) -> None:
        """A click where nothing is: in frame 0 a new keypoint, elsewhere the place of the proposal that is nearest.

        Parameters
        ----------
        place : array_like
            Data coordinates of the layer.
        """
        frames, positions = self.movie.marks(place)
        if frames[0] == FIXED:
            number = self.marks.next_id(self.annotator, "interior")
            self.book.add(Keypoints([FIXED], [number], positions, self.annotator), f"mark keypoint {number} in frame {FIXED}")
        elif len(self.proposed):
            self._take(int(np.linalg.norm(self.proposed.marks.points.position - positions, axis=1).argmin()), positions)
        else:
            self.said.emit(BEGINS)
            return
        if self.steps_after_click and (frames[0] == FIXED or not len(self.proposed)):
            self.step(1)

    def accept(self) -> None:
        """Make marks of all proposals in view and go to the next frame; after the last one, to the first."""
        if len(self.proposed):
            points = self.proposed.marks.points
            self.book.add(points, f"accept {len(points)} keypoint{'s' if len(points) > 1 else ''} in frame {self.frame}")
        if self.frame < self.movie.n_frames - 1:
            self.step(1)
            return
        self.go(FIXED)
        self.said.emit(FINISHED)

    def drag(self, row: int, place: Any) -> None:
        """A mark or proposal is being moved; errors follow at once.

        Parameters
        ----------
        row : int
            Marks first, then proposals.
        place : array_like
            Data coordinates of the layer.
        """
        self._is_dragging = True
        _, positions = self.movie.marks(place)
        self.layer.move(np.array([row]), positions, for_good=False)
        if row < len(self.marks):
            touched = self.book.error.move(row, positions)
            self._show_arrows()
            self.moved.emit(touched)

    def drop(self, row: int) -> None:
        """A drag is over.

        Parameters
        ----------
        row : int
            Marks first, then proposals.
        """
        self._is_dragging = False
        _, positions = self.movie.marks(self.layer.points.data[row])
        if row >= len(self.marks):
            self._take(row - len(self.marks), positions)
            return
        self.book.push(self.marks.moved([row], positions), f"move {self.book.words([row])}")
        self.layer.select([row])

    def add_points(self, points: Keypoints, title: str) -> None:
        """Add marks from elsewhere; those without a name become the present annotator's.

        Parameters
        ----------
        points : Keypoints
            In pixels.
        title : str
            For undo.

        Raises
        ------
        ValueError
            When they do not fit the movie.
        """
        who = [name or self.annotator for name in points.annotator.tolist()]
        self.book.add(Keypoints(points.frame, points.id, points.position, who, points.kind), title)

    def sample_outline(self, frame: int, outline: Floats, n: int) -> None:
        """Mark points along an outline: new ones in frame 0, elsewhere those that are expected there.

        Parameters
        ----------
        frame : int
            It was drawn in.
        outline : ndarray
            Corners ``(M, 2)``, pixels.
        n : int
            How many new ones.

        Raises
        ------
        ValueError
            When it cannot be compared with one of frame 0.
        """
        found = contour_marks(self.marks, self.annotator, frame, outline, n, self.book.ways)
        self._viewer.layers.selection.active = self.layer.points
        self.book.add(found, f"mark {len(found)} contour points in frame {frame}")

    def undo(self) -> None:
        """Take the last change back."""
        title = self.book.undo()
        self.said.emit(f"Undone: {title}." if title else "Nothing to undo.")

    def redo(self) -> None:
        """Do again what was undone."""
        title = self.book.redo()
        self.said.emit(f"Done again: {title}." if title else "Nothing to do again.")

    def toggle_selected(self) -> None:
        """Exclude the marks selected in the canvas; include them where all are excluded."""
        rows = [row for row in sorted(self.layer.points.selected_data) if row < len(self.marks)]
        self.book.include(rows, not self.marks.included[rows].any())

    # ------------------------------------------------------------------------------------------ going through
    def step(self, by: int) -> None:
        """Show another frame.

        Parameters
        ----------
        by : int
            1 for the next, -1 for the one before.
        """
        self.go(self.frame + by)

    def go(self, frame: int) -> None:
        """Show a frame.

        Parameters
        ----------
        frame : int
            The nearest that exists.
        """
        self.movie.show_frame(self._viewer, int(np.clip(frame, 0, self.movie.n_frames - 1)))
        self._on_dims()

    def look_at(self, row: int) -> None:
        """Show a mark, in the middle of the picture.

        Parameters
        ----------
        row : int
            Of the mark.
        """
        self.go(int(self.marks.points.frame[row]))
        self.movie.look_at(self._viewer, self.marks.points.position[row])
        self.layer.select([row])

    def rows_in_view(self) -> Ints:
        """Rows of the marks in the frame in view."""
        return np.flatnonzero(self.marks.points.frame == self.frame)

    def advice(self) -> str:
        """What to do now, in a sentence."""
        if not len(self.proposed):
            return FIRST if self.frame == FIXED else NOTHING.format(frame=self.frame)
        _, kind, number = self.proposed.marks.name(0)
        n = len(self.proposed)
        what = f"keypoint {label_of(kind, number)} (diamond)" if n == 1 else f"each of the {n} diamonds"
        return PROPOSED.format(frame=self.frame, what=what)

    def take_found(self, answer: tuple[Proposals, Floats]) -> None:
        """Move proposals to where they were found in the movie, unless others have taken their place meanwhile.

        Parameters
        ----------
        answer : tuple
            Of the long work that ``search`` asked for.
        """
        proposals, found = answer
        if proposals is self.proposed and not self._is_dragging:
            everything = np.arange(len(proposals))
            self.proposed = replace(proposals, marks=proposals.marks.moved(everything, found))
            self.layer.move(len(self.marks) + everything, found, for_good=True)

    def refresh(self, before: Proposals | None = None) -> None:
        """Show everything anew.

        Parameters
        ----------
        before : Proposals, optional
            Those of them that are still needed stay where they are.
        """
        self._propose(before)
        self._show()
        self.changed.emit()
        self.said.emit(self.advice())

    def close(self) -> None:
        """Let go of the viewer and wait until everything is saved; marks stay in their layer, proposals and arrows go."""
        self._viewer.dims.events.current_step.disconnect(self._on_dims)
        self._bind_keys(unbind=True)
        self.book.on_change = lambda: None
        self.layer.show(self.marks, Marks.none(self.movie.n_axes), np.ones(len(self.marks), bool))
        self.layer.let_go(keep=len(self.marks) > 0)
        self.book.finish()

    # ------------------------------------------------------------------------------------------ inner life
    def _on_book(self) -> None:
        self.refresh(self.proposed)

    def _take(self, number: int, positions: Floats) -> None:
        """Make a mark of a proposal, at a place."""
        only = self.proposed.marks.points.where(np.array([number]))
        moved = Keypoints(only.frame, only.id, positions, only.annotator, only.kind)
        self.book.add(moved, f"mark keypoint {label_of(str(only.kind[0]), int(only.id[0]))} in frame {self.frame}")

    def _on_dims(self, _: Any = None) -> None:
        frame = self.movie.frame_in_view(self._viewer)
        if frame == self.frame:
            return
        self._give_up_drag()
        self.frame = frame
        had = len(self.proposed)
        self._propose()
        if had or len(self.proposed):
            self._show()
        else:
            self._show_arrows()
        self.stepped.emit()
        self.said.emit(self.advice())

    def _give_up_drag(self) -> None:
        """Another frame came into view, or marks changed, during a drag: what is dragged goes back to where it was."""
        if self._is_dragging:
            self.book.error.follow(self.marks.points, self.marks.included)
            self._show()
            self.changed.emit()

    def _propose(self, before: Proposals | None = None) -> None:
        kept = before if before is not None and (before.marks.points.frame == self.frame).all() else None
        self.proposed = propose(self.marks, self.annotator, self.frame, self.book.ways, kept)
        if self.book.ways is None and self.looks_in_movie and self.proposed.is_guess:
            self.search.emit(self._looked_for(self.proposed))

    def _looked_for(self, proposals: Proposals) -> Steps[tuple[Proposals, Floats]]:
        stack, points = self.movie.stack.channel(self.movie.channel), proposals.marks.points
        steps = found_in_movie(stack, proposals.start, int(points.frame[0]), proposals.origin, points.position)
        found = yield from steps
        return proposals, found

    def _show(self) -> None:
        self._is_dragging = False  # rows are others now
        self.layer.show(self.marks, self.proposed.marks, self._shown())
        self._show_arrows()

    def _shown(self) -> Flags:
        points = self.marks.points
        return points.annotator == self.annotator if self.only_own else np.ones(len(points), bool)

    def _show_arrows(self) -> None:
        """Draw from where each keypoint is expected in the frame in view to where it is marked."""
        error, rows = self.book.error, self.rows_in_view()
        rows = rows[error.counts[rows] & self._shown()[rows]]
        ends = error.position[rows]
        if self.book.ways is not None and self.book.fit is None:
            starts = self.book.ways.forth[self.frame](error.fixed_places()[rows])
        else:
            starts = ends - error.residual[rows]
        known = np.isfinite(starts).all(axis=1)
        self.layer.show_arrows(self.frame, starts[known], ends[known])

    # ------------------------------------------------------------------------------------------ napari
    def _bind_keys(self, *, unbind: bool = False) -> None:
        keys = {
            "Space": self.accept,
            "Right": lambda: self.step(1),
            "Left": lambda: self.step(-1),
            "Control-Z": self.undo,
            "Control-Shift-Z": self.redo,
            "E": self.toggle_selected,
        }
        for key, action in keys.items():
            self.layer.points.bind_key(key, None if unbind else (lambda _, act=action: act()), overwrite=True)

    def _on_deleted(self, rows: Ints) -> None:
        chosen = rows[rows < len(self.marks)]
        if len(chosen):
            self.book.remove(chosen)
        else:
            self.refresh()  # a proposal was deleted: it comes back

    def _on_edited(self) -> None:
        """Follow what napari's own tools did."""
        data, n_known = self.layer.points.data, len(self.marks) + len(self.proposed)
        if len(data) > n_known:
            places = np.array(data[n_known:])
            self._show()
            for place in places:
                self.click(place)
            return
        _, positions = self.movie.marks(data)
        here = np.vstack([self.marks.points.position, self.proposed.marks.points.position])
        rows = np.flatnonzero((positions != here).any(axis=1))
        marked, proposed = rows[rows < len(self.marks)], rows[rows >= len(self.marks)] - len(self.marks)
        both = self.marks.moved(marked, positions[marked])
        if len(proposed):
            points = self.proposed.marks.points
            moved = Keypoints(points.frame, points.id, positions[len(self.marks) :], points.annotator, points.kind)
            both = both.with_points(moved.where(proposed))
        if len(rows):
            words = self.book.words(marked) if len(rows) == len(marked) else f"{len(rows)} marks"
            self.book.push(both, f"move {words}")
