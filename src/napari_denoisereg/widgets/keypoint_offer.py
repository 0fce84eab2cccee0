"""Offers the marks of an earlier session of the same movie, e.g. after a crash."""

from __future__ import annotations

import datetime

from qtpy.QtCore import Signal  # type: ignore[attr-defined]  # qtpy renames pyqtSignal
from qtpy.QtWidgets import QGridLayout, QWidget

from napari_denoisereg.widgets.keypoint_autosave import Saved, forget, newest_session
from napari_denoisereg.widgets.keypoint_movie import Movie
from napari_denoisereg.widgets.keypoint_panels import quiet_button
from napari_denoisereg.widgets.source_form import wrapped_label

OFFER = "{n} marks of this movie were saved on {when}."


class Offer(QWidget):
    """The offer, seen only where there is one.

    Signal ``accepted(saved)``.
    """

    accepted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._saved: Saved | None = None
        self._movie: Movie | None = None
        self._words = wrapped_label()
        restore = quiet_button("Restore", "Go on with these marks.")
        discard = quiet_button("Discard", "Delete these saved marks for good.")
        rows = QGridLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addWidget(self._words, 0, 0, 1, 2)
        rows.addWidget(restore, 1, 0)
        rows.addWidget(discard, 1, 1)
        restore.clicked.connect(lambda: self.accepted.emit(self._saved))
        discard.clicked.connect(self._on_discard)
        self.setVisible(False)

    def look_for(self, movie: Movie | None) -> None:
        """Offer the newest marks of a movie.

        Parameters
        ----------
        movie : Movie, optional
            None offers nothing.
        """
        self._movie = movie
        self._saved = None if movie is None else newest_session(movie.key, movie.n_axes)
        self.setVisible(self._saved is not None)
        if self._saved is not None:
            when = datetime.datetime.fromtimestamp(self._saved.when).strftime("%d %b %Y, %H:%M")
            self._words.setText(OFFER.format(n=len(self._saved.marks), when=when))

    def _on_discard(self) -> None:
        if self._saved is not None:
            forget(self._saved)
            self.look_for(self._movie)
