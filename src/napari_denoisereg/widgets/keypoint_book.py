"""The book of a movie's marks: every change is a step that can be undone, is saved at once, and measures the errors anew.

No Qt, no layers: the session reads it and is told of changes by a callback.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from napari_denoisereg.evaluation.keypoints import Keypoints
from napari_denoisereg.evaluation.live_error import LiveError, SteeredError
from napari_denoisereg.evaluation.point_fit import FitModel
from napari_denoisereg.widgets.keypoint_autosave import Autosave
from napari_denoisereg.widgets.keypoint_history import History
from napari_denoisereg.widgets.keypoint_layer import label_of
from napari_denoisereg.widgets.keypoint_marks import Marks
from napari_denoisereg.widgets.keypoint_predict import Ways


class KeypointBook:
    """Marks, their history and their errors.

    Parameters
    ----------
    marks : Marks
        To begin with.
    n_frames : int
        Of the movie.
    key : str
        Tells the movie from others, for autosaving.
    folder : Path, optional
        Where to save; the user's data folder by default.

    Attributes
    ----------
    error : LiveError
        Errors of the present marks.
    ways : Ways or None
        The registration that *after* means.
    fit : FitModel or None
        What is fitted to the marks themselves instead.
    on_change : callable
        Called after each change of the marks.
    """

    def __init__(self, marks: Marks, n_frames: int, key: str, folder: Path | None = None) -> None:
        self.history = History(marks)
        self.ways: Ways | None = None
        self.fit: FitModel | None = None
        self.on_change: Callable[[], None] = lambda: None
        self._n_frames = n_frames
        self._autosave = Autosave(key, folder)
        if len(marks):
            self._autosave.save(marks)
        self.measure()

    @property
    def marks(self) -> Marks:
        """The present marks."""
        return self.history.value

    @property
    def saving_error(self) -> OSError | None:
        """Why the last change could not be saved, if so."""
        return self._autosave.error

    def measure(self) -> None:
        """Measure all errors."""
        self.error = measured(self.marks, self.ways, self.fit)

    def register_by(self, ways: Ways | None, fit: FitModel | None) -> None:
        """Choose what *after* means.

        Parameters
        ----------
        ways : Ways, optional
            A registration.
        fit : {"affine", "thin-plate"}, optional
            A fit to the marks themselves.
        """
        self.ways, self.fit = ways, fit
        self.measure()
        self.on_change()

    # ------------------------------------------------------------------------------------------ changes
    def push(self, marks: Marks, title: str) -> None:
        """Make a change.

        Parameters
        ----------
        marks : Marks
            The new state.
        title : str
            For undo, e.g. ``"move keypoint 3"``.
        """
        self.history.push(marks, title)
        self._changed()

    def add(self, points: Keypoints, title: str) -> None:
        """Add marks; those that are there already move.

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
        if len(points) and points.frame.max() >= self._n_frames:
            raise ValueError(
                f"The movie has frames 0 to {self._n_frames - 1}, the keypoints go up to frame {points.frame.max()}; "
                "choose those that belong to this movie."
            )
        self.push(self.marks.with_points(points), title)

    def remove(self, rows: Any) -> None:
        """Delete marks.

        Parameters
        ----------
        rows : array_like
            Which.
        """
        if len(rows):
            self.push(self.marks.without(rows), f"delete {self.words(rows)}")

    def include(self, rows: Any, counts: bool) -> None:
        """Let marks count, or not.

        Parameters
        ----------
        rows : array_like
            Which.
        counts : bool
            True to include.
        """
        if len(rows):
            self.push(self.marks.including(rows, counts), f"{'include' if counts else 'exclude'} {self.words(rows)}")

    def hold_out(self, rows: Any, held_out: bool) -> None:
        """Use keypoints to check a fit instead of for steering it, or let them steer again.

        Parameters
        ----------
        rows : array_like
            A mark of each.
        held_out : bool
            True to hold out.
        """
        if len(rows):
            words = "hold out" if held_out else "steer with"
            self.push(self.marks.checking(rows, held_out), f"{words} {self.words(rows)}")

    def undo(self) -> str:
        """Take the last change back.

        Returns
        -------
        str
            What was taken back; empty where there was nothing.
        """
        title = self.history.undoable
        if title:
            self.history.undo()
            self._changed()
        return title

    def redo(self) -> str:
        """Do again what was undone.

        Returns
        -------
        str
            What was done again; empty where there was nothing.
        """
        title = self.history.redoable
        if title:
            self.history.redo()
            self._changed()
        return title

    # ------------------------------------------------------------------------------------------ questions
    def worst(self) -> int | None:
        """Row of the mark with the largest error that counts: after registration, or before where there is none."""
        values = np.where(self.error.counts, self.error.after if self.error.is_registered else self.error.before, np.nan)
        return None if np.isnan(values).all() else int(np.nanargmax(values))

    def words(self, rows: Any) -> str:
        """Marks in words.

        Parameters
        ----------
        rows : array_like
            Which.

        Returns
        -------
        str
            E.g. ``"keypoint 3 in frame 2"``.
        """
        if len(rows) != 1:
            return f"{len(rows)} marks"
        _, kind, number = self.marks.name(int(rows[0]))
        return f"keypoint {label_of(kind, number)} in frame {self.marks.points.frame[rows[0]]}"

    def finish(self) -> None:
        """Wait until everything is saved."""
        self._autosave.finish()

    def _changed(self) -> None:
        self._autosave.save(self.marks)
        is_steered = isinstance(self.error, SteeredError)  # those held out may be others
        if is_steered or not self.error.follow(self.marks.points, self.marks.included):
            self.measure()
        self.on_change()


def measured(marks: Marks, ways: Ways | None, fit: FitModel | None) -> LiveError:
    """Measure the errors of marks.

    Parameters
    ----------
    marks : Marks
        All marks.
    ways : Ways, optional
        A registration.
    fit : {"affine", "thin-plate"}, optional
        What is fitted to the marks instead.

    Returns
    -------
    LiveError
        Before, and after where there is something.
    """
    if fit is not None:
        return SteeredError(marks.points, fit, check=marks.check, included=marks.included)
    return LiveError(marks.points, None if ways is None else ways.back, included=marks.included)
