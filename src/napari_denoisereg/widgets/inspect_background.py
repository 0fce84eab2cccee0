"""Small work off the GUI thread: what is asked for last is what counts. No bar; for long jobs there is the `Runner`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]  # qtpy renames pyqtSignal

from napari_denoisereg.steps import Progress, Steps
from napari_denoisereg.widgets.worker import Outcome, StepsWorker, worker_for

LONGEST_WAIT = 2.0  # s
MILLISECONDS_BETWEEN_POLLS = 10
Ask = tuple[Callable[[], Steps[Any]], Callable[[Any], None]]


class Background(QObject):
    """Does one thing at a time; of the things asked for meanwhile only the last is done next.

    Signals: ``progressed(Progress)``, ``failed(error)``, and ``idle()`` when nothing is left to do.

    Parameters
    ----------
    parent : QObject
        Qt parent.
    """

    progressed = Signal(object)
    failed = Signal(object)
    idle = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._worker: StepsWorker | None = None
        self._then: Callable[[Any], None] | None = None
        self._waiting: Ask | None = None
        self._polls = QTimer(self)
        self._polls.setInterval(MILLISECONDS_BETWEEN_POLLS)
        self._polls.timeout.connect(self._on_poll)

    @property
    def is_busy(self) -> bool:
        """Whether something is being done."""
        return self._worker is not None

    def ask(self, work: Callable[[], Steps[Any]], then: Callable[[Any], None], *, restart: bool = False) -> None:
        """Ask for work.

        Parameters
        ----------
        work : callable
            Makes the Steps; they touch neither layers nor widgets.
        then : callable
            Called with the result on the GUI thread.
        restart : bool
            Whether work that goes on is stopped and its result dropped; otherwise it ends first.
        """
        if self._worker is None:
            self._begin(work, then)
            return
        self._waiting = (work, then)
        if restart:
            self._worker.quit()

    def cancel(self) -> None:
        """Stop; nothing arrives any more."""
        self._waiting = self._then = None
        if self._worker is not None:
            self._worker.quit()

    def close_down(self) -> None:
        """Stop and wait, though not for long."""
        worker = self._worker
        self.cancel()
        if worker is not None:
            worker.wait(LONGEST_WAIT)
            self._on_poll()

    def _begin(self, work: Callable[[], Steps[Any]], then: Callable[[Any], None]) -> None:
        self._worker, self._then = worker_for(work(), "Inspect"), then
        self._worker.start()
        self._polls.start()

    def _on_poll(self) -> None:
        worker = self._worker
        if worker is None:
            return
        for said in worker.poll():
            if isinstance(said, Outcome):
                self._end(said, worker.abort_requested)
            elif isinstance(said, Progress) and self._then is not None:
                self.progressed.emit(said)

    def _end(self, outcome: Outcome, was_stopped: bool) -> None:
        then, self._worker, self._then = self._then, None, None
        self._polls.stop()
        if self._waiting is not None:
            (work, following), self._waiting = self._waiting, None
            self._begin(work, following)
        if then is None or was_stopped:
            pass
        elif outcome.error is not None:
            self.failed.emit(outcome.error)
        else:
            then(outcome.result)
        if self._worker is None:
            self.idle.emit()
