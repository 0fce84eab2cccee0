"""Marks survive a crash: each change is written at once, in the background, and offered again for the same movie.

One file per session and movie, in the user's data folder, written beside its place and moved there: a killed program leaves the
state before or after the last change, never half of one. The oldest sessions of a movie are forgotten.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from napari_denoisereg.atomic import remove, replacing
from napari_denoisereg.widgets.keypoint_marks import Marks

KEPT_SESSIONS = 5  # per movie


@dataclass(frozen=True)
class Saved:
    """Marks of an earlier session.

    Parameters
    ----------
    path : Path
        The file.
    when : float
        Time of the last change, seconds since 1970.
    marks : Marks
        What was marked.
    """

    path: Path
    when: float
    marks: Marks


def default_folder() -> Path:
    """Where sessions are saved.

    Returns
    -------
    Path
        In the user's data folder; it may not exist yet.
    """
    return Path(platformdirs.user_data_dir("napari-denoisereg", appauthor=False)) / "keypoints"


def movie_key(name: str, shape: tuple[int, ...], source: str | None) -> str:
    """Tells a movie from others, for file names.

    Parameters
    ----------
    name : str
        Of its layer.
    shape : tuple of int
        Of its data.
    source : str, optional
        The file it was read from; its name alone counts where there is none.

    Returns
    -------
    str
        Letters, digits and dashes.
    """
    mark = hashlib.sha256(json.dumps([name if source is None else source, list(shape)]).encode()).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', name).strip('-')[:40] or 'movie'}-{mark}"


def newest_session(key: str, n_axes: int, folder: Path | None = None) -> Saved | None:
    """The last session of a movie that has marks.

    Parameters
    ----------
    key : str
        Of the movie.
    n_axes : int
        Its number of spatial axes.
    folder : Path, optional
        Where to look; the user's data folder by default.

    Returns
    -------
    Saved or None
        None where there is none. Files that cannot be read are passed over and stay where they are.
    """
    for path in _sessions(folder or default_folder(), key):
        try:
            marks = Marks.from_dict(json.loads(path.read_text(encoding="utf-8")), n_axes)
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if len(marks):
            return Saved(path, path.stat().st_mtime, marks)
    return None


def _sessions(folder: Path, key: str) -> list[Path]:
    """Files of a movie's sessions, the newest first."""
    return sorted(folder.glob(f"{key}.*.json"), key=lambda path: path.stat().st_mtime, reverse=True)


def forget(saved: Saved) -> None:
    """Delete a session.

    Parameters
    ----------
    saved : Saved
        Which.
    """
    remove(saved.path)


class Autosave:
    """Writes the newest marks in a thread of its own; those that come while it writes replace one another.

    Parameters
    ----------
    key : str
        Of the movie.
    folder : Path, optional
        Where to write; the user's data folder by default.
    """

    def __init__(self, key: str, folder: Path | None = None) -> None:
        self._folder = folder or default_folder()
        self.path = self._folder / f"{key}.{time.time_ns()}.json"
        self._key = key
        self._waiting: Marks | None = None
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self.error: OSError | None = None

    def save(self, marks: Marks) -> None:
        """Have marks written; returns at once.

        Parameters
        ----------
        marks : Marks
            The present state.
        """
        with self._change:
            self._waiting = marks
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="keypoint autosave", daemon=True)
                self._thread.start()

    def finish(self, seconds: float = 5.0) -> None:
        """Wait until everything is written.

        Parameters
        ----------
        seconds : float
            At most so long.
        """
        with self._change:
            thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def _work(self) -> None:
        while True:
            with self._change:
                marks, self._waiting = self._waiting, None
                if marks is None:
                    self._thread = None
                    return
            try:
                self._write(marks.to_dict())
                self.error = None
            except OSError as error:  # told by the dock: a full disk must not stop the work
                self.error = error

    def _write(self, content: dict[str, Any]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        is_first = not self.path.exists()
        with replacing(self.path, overwrite=True) as part:
            part.write_text(json.dumps(content), encoding="utf-8")
        if is_first:
            for old in _sessions(self._folder, self._key)[KEPT_SESSIONS:]:
                remove(old)
