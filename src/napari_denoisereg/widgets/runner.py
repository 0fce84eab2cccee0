"""Runner: a bar, a line that says what goes on and how long it will take, and buttons to pause and to cancel.

One job at a time. A timer asks the worker what it has to say, and the Runner's signals tell it on the GUI thread; after
`cancel` nothing arrives any more, not even a result that was finished in the same moment.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import notification_manager, show_error, show_warning
from qtpy.QtCore import Qt, QTimer, Signal  # type: ignore[attr-defined]  # qtpy renames pyqtSignal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_denoisereg.steps import Progress
from napari_denoisereg.widgets.worker import Outcome, StepsWorker, worker_for

if TYPE_CHECKING:
    from napari_denoisereg.steps import Steps

BAR_STEPS = 1000
MILLISECONDS_BETWEEN_POLLS = 20
OUT_OF_MEMORY = "The computer ran out of memory. Close other programs, choose smaller tiles or batches, or a part of the data."
FIGURES = {"validation": "held-out", "score": "keypoints (px)"}  # as the plot and the manual say
LONGEST_WAIT = 2.0  # s; longer batches end in the background


class Clock:
    """How much longer work will take, from how far it is; pauses do not count."""

    def __init__(self) -> None:
        self._start = self._paused = time.monotonic()
        self._running = True

    def pause(self) -> None:
        """Stop counting."""
        if self._running:
            self._paused, self._running = time.monotonic(), False

    def resume(self) -> None:
        """Go on counting."""
        if not self._running:
            self._start += time.monotonic() - self._paused
            self._running = True

    def seconds_left(self, fraction: float) -> float | None:
        """How much longer.

        Parameters
        ----------
        fraction : float
            Part of the work that is done, 0 to 1.

        Returns
        -------
        float or None
            Seconds; None while it is too early to say.
        """
        spent = (time.monotonic() if self._running else self._paused) - self._start
        if fraction <= 0.01 or spent < 1.0:
            return None
        return spent * (1 - fraction) / fraction


def duration_in_words(seconds: float) -> str:
    """A duration as people say it.

    Parameters
    ----------
    seconds : float
        Not negative.

    Returns
    -------
    str
        E.g. ``"40 s"``, ``"3 min"``, ``"2 h 10 min"``.
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class Runner(QWidget):
    """Runs Steps off the GUI thread.

    Signals: ``started()``, ``progressed(Progress)``, ``previewed(image)``, ``returned(result)``, ``failed(error)``,
    ``cancelled()``, and after each job, whatever its end, ``finished()``.
    """

    started = Signal()
    progressed = Signal(object)
    previewed = Signal(object)
    returned = Signal(object)
    failed = Signal(object)
    cancelled = Signal()
    finished = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._worker: StepsWorker | None = None
        self._then: Callable[[Any], None] | None = None
        self._leash = _Leash()
        self.destroyed.connect(self._leash.let_go)
        self._polls = QTimer(self)
        self._polls.setInterval(MILLISECONDS_BETWEEN_POLLS)
        self._polls.timeout.connect(self._on_poll)
        self._clock = Clock()
        self._bar = QProgressBar()
        self._bar.setRange(0, BAR_STEPS)
        self._bar.setTextVisible(True)
        self._line = QLabel("Ready.")
        self._line.setWordWrap(True)
        self._line.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._pause = QPushButton("Pause")
        self._pause.setToolTip("Let the computer do something else for a while; Resume goes on where it stopped.")
        self._pause.clicked.connect(self._on_pause)
        self._cancel = QPushButton("Cancel")
        self._cancel.setToolTip("Stop within a moment and leave everything as it was.")
        self._cancel.clicked.connect(self._on_cancel)
        buttons = QHBoxLayout()
        buttons.addWidget(self._bar, 1)
        buttons.addWidget(self._pause)
        buttons.addWidget(self._cancel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._line)
        layout.addLayout(buttons)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self._show_idle("Ready.")

    @property
    def is_running(self) -> bool:
        """Whether a job runs, is paused, or is being cancelled."""
        return self._worker is not None

    def start(self, steps: Steps[Any], title: str, then: Callable[[Any], None] | None = None) -> None:
        """Start a job.

        Parameters
        ----------
        steps : Steps
            The work. It must touch neither layers nor widgets.
        title : str
            In plain words, e.g. ``"Denoise and register"``.
        then : callable, optional
            Called with the result on the GUI thread, unless the job was cancelled or failed.

        Raises
        ------
        RuntimeError
            While another job runs.
        """
        if self._worker is not None:
            steps.close()
            raise RuntimeError("One job at a time: wait for the present one or cancel it.")
        worker = worker_for(steps, title)
        self._worker = self._leash.worker = worker
        self._clock, self._then = Clock(), then
        self._line.setText(f"{title} …")
        self._bar.setRange(0, 0)
        for button in (self._pause, self._cancel):
            button.setEnabled(True)
        worker.start()
        self._polls.start()
        self.started.emit()

    def pause(self) -> None:
        """Let the job wait at its next yield."""
        if self._worker is not None and not self._worker.abort_requested:
            self._worker.pause()
            self._clock.pause()
            self._pause.setText("Resume")
            self._line.setText("Paused.")

    def resume(self) -> None:
        """Let a paused job go on."""
        if self._worker is not None:
            self._worker.resume()
            self._clock.resume()
            self._pause.setText("Pause")
            self._line.setText("Going on …")

    def cancel(self) -> None:
        """Stop the job at its next yield; none of its results arrives."""
        if self._worker is not None:
            self._worker.quit()
            for button in (self._pause, self._cancel):
                button.setEnabled(False)
            self._line.setText("Cancelling …")

    def close_down(self) -> None:
        """Stop the job and wait for it, though not for long; for docks that are being closed."""
        self.cancel()
        self._leash.pull()
        self._on_poll()

    def clear(self, text: str) -> None:
        """Empty the bar and show a line of text.

        Parameters
        ----------
        text : str
            In plain words.
        """
        self._line.setText(text)
        self._bar.setRange(0, BAR_STEPS)
        self._bar.reset()

    def say(self, text: str) -> None:
        """Show a line of text until the next job.

        Parameters
        ----------
        text : str
            In plain words.
        """
        self._line.setText(text)

    def _on_pause(self) -> None:
        if self._worker is not None and self._worker.is_paused:
            self.resume()
        else:
            self.pause()

    def _on_cancel(self) -> None:
        self.cancel()

    def _on_poll(self) -> None:
        worker = self._worker
        if worker is None:
            return
        for said in worker.poll():
            if isinstance(said, Outcome):
                self._end(said, worker.abort_requested)
            elif not worker.abort_requested:  # a slot may have cancelled meanwhile
                if isinstance(said, Progress):
                    self._show(said)
                else:
                    show_warning(str(said))

    def _show(self, progress: Progress) -> None:
        self._bar.setRange(0, BAR_STEPS)
        self._bar.setValue(round(BAR_STEPS * progress.fraction))
        if self._worker is not None and not self._worker.is_paused:
            self._line.setText(self._words(progress))
        self.progressed.emit(progress)
        if progress.preview is not None:
            self.previewed.emit(progress.preview)

    def _words(self, progress: Progress) -> str:
        left = self._clock.seconds_left(progress.fraction)
        figures = (f"{FIGURES.get(name, name)} {value:.3g}" for name, value in progress.figures.items())
        stage = progress.stage[:1].upper() + progress.stage[1:] or "Working"
        return " · ".join([stage, *figures, *([] if left is None else [f"about {duration_in_words(left)} left"])])

    def _end(self, outcome: Outcome, was_cancelled: bool) -> None:
        then = self._then
        self._worker = self._leash.worker = self._then = None
        self._polls.stop()
        try:
            if was_cancelled:
                self._show_idle("Cancelled. Nothing was changed.")
                self.cancelled.emit()
            elif outcome.error is not None:
                # Napari's message is gone after some seconds, and cut off where it is long.
                words = in_words(outcome.error)
                self._show_idle(f"Stopped by an error. {words}".rstrip())
                report(outcome.error)
                self.failed.emit(outcome.error)
            else:
                self._show_idle("Done.")
                if then is not None:
                    then(outcome.result)
                self.returned.emit(outcome.result)
        finally:
            self.finished.emit()

    def _show_idle(self, line: str) -> None:
        self._bar.setRange(0, BAR_STEPS)
        self._bar.reset()
        if line == "Done.":
            self._bar.setValue(BAR_STEPS)
        self._line.setText(line)
        self._line.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._pause.setText("Pause")
        for button in (self._pause, self._cancel):
            button.setEnabled(False)


class _Leash:
    """Stops a worker when its runner is gone: a plain object, which still works while Qt takes the widget apart."""

    def __init__(self) -> None:
        self.worker: StepsWorker | None = None

    def pull(self) -> None:
        if self.worker is not None:
            self.worker.quit()
            self.worker.wait(LONGEST_WAIT)

    def let_go(self, *_: Any) -> None:
        self.pull()
        if self.worker is not None:
            self.worker.poll()  # tells napari that it ended


def report(error: Exception) -> None:
    """Tell the user about an error.

    Errors that this project raises on purpose say what to do and are shown as they are. Anything else is unexpected: napari
    shows it with a button that opens the traceback.

    Parameters
    ----------
    error : Exception
        What was raised.
    """
    words = in_words(error)
    if words:
        show_error(words)
    else:
        notification_manager.receive_error(type(error), error, error.__traceback__)


def in_words(error: Exception) -> str:
    """An error as a user understands it.

    Parameters
    ----------
    error : Exception
        What was raised.

    Returns
    -------
    str
        What is wrong and what to do; empty where the error is unexpected, so that only its traceback helps.
    """
    if isinstance(error, ValueError | TypeError | OSError) and _raised_here(error.__traceback__):
        return str(error)
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return OUT_OF_MEMORY
    return ""


def _raised_here(trace: TracebackType | None) -> bool:
    frames = [frame for frame, _ in traceback.walk_tb(trace)]
    return not frames or str(frames[-1].f_globals.get("__name__", "")).startswith("napari_denoisereg")
