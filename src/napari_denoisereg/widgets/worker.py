"""Run Steps in a thread of its own. No widget and no layer in sight.

What the thread has to say waits in a queue, which the GUI thread empties with `poll`. No Qt signal crosses threads: under
PySide6 one in some hundred was lost. superqt's ``GeneratorWorker`` is only what napari wants to be told of, so that it asks
before it closes a window that is still at work. Its own thread does not close its generator when it is aborted, so that GPU
memory and temporary files stay until garbage collection, and it takes every ``RuntimeError`` of the work (which is what torch
raises) for a deleted worker and keeps silent.
"""

from __future__ import annotations

import threading
import time
import warnings
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from napari.qt.threading import create_worker
from superqt.utils import GeneratorWorker

from napari_denoisereg.steps import Progress, Steps
from napari_denoisereg.widgets.preferences import apply_preferences

LEAST_SECONDS_BETWEEN_REPORTS = 0.05  # a GUI needs no more, and each report costs it time


class Job:
    """Steps with a title. napari shows the title where it asks whether to close a window that is still at work.

    Parameters
    ----------
    steps : Steps
        The work, not begun.
    title : str
        In plain words.
    """

    def __init__(self, steps: Steps[Any], title: str) -> None:
        self.steps = steps
        self.title = title

    def __repr__(self) -> str:
        return self.title

    def __call__(self) -> Steps[Any]:
        """The work."""
        return self.steps


@dataclass(frozen=True)
class Outcome:
    """How the work ended, the last thing a worker says.

    Parameters
    ----------
    result : object
        What the Steps returned; None if they were stopped or failed.
    error : Exception, optional
        Why they failed, with its traceback.
    """

    result: Any = None
    error: Exception | None = None


def _nothing() -> Steps[None]:
    """What superqt's constructor is given: it insists on a generator function."""
    yield Progress(1, 1)


class StepsWorker(GeneratorWorker[Progress, None, Any]):
    """A worker that runs a Job.

    Parameters
    ----------
    job : Job
        The work.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(_nothing)
        self._job = job
        self._said: SimpleQueue[Progress | UserWarning | Outcome] = SimpleQueue()
        self._go_on = threading.Event()
        self._go_on.set()
        self._done = threading.Event()

    def start(self) -> None:
        """Start the thread; to be called on the GUI thread, like all but `work`."""
        self.started.emit()
        threading.Thread(target=self._tell, name=f"napari-denoisereg: {self._job!r}").start()

    def poll(self) -> list[Progress | UserWarning | Outcome]:
        """What the work has said since the last call, in order; the last of all is its Outcome."""
        said: list[Progress | UserWarning | Outcome] = []
        while True:
            try:
                said.append(self._said.get_nowait())
            except Empty:
                break
        if said and isinstance(said[-1], Outcome):
            self.finished.emit()  # napari need not ask any more
        return said

    def work(self) -> Any:
        """Run the Steps to their end or to the yield after `quit`, and close them whatever happens."""
        steps, due = self._job.steps, 0.0
        try:
            while True:
                self._go_on.wait()
                if self.abort_requested:
                    return None
                progress = next(steps)
                now = time.monotonic()
                if now >= due or progress.fraction >= 1:
                    self._said.put(progress)
                    due = now + LEAST_SECONDS_BETWEEN_REPORTS
        except StopIteration as end:
            return end.value
        finally:
            steps.close()

    def _tell(self) -> None:
        outcome = Outcome()
        try:
            apply_preferences()  # here, as every thread has a number of cores of its own
            with warnings.catch_warnings():
                warnings.simplefilter("always", UserWarning)
                warnings.showwarning = self._on_warning
                outcome = Outcome(self.work())
        except Exception as error:  # noqa: BLE001 - it is reported on the GUI thread
            outcome = Outcome(error=error)
        finally:
            self._said.put(outcome)
            self._done.set()

    def _on_warning(self, message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if category is UserWarning:  # those for users; libraries' deprecations are not
            self._said.put(UserWarning(str(message)))

    def quit(self) -> None:
        """Ask the work to stop at its next yield, also when it is paused."""
        super().quit()
        self._go_on.set()

    def pause(self) -> None:
        """Ask the work to wait at its next yield."""
        self._go_on.clear()

    def resume(self) -> None:
        """Let paused work go on."""
        self._go_on.set()

    @property
    def is_paused(self) -> bool:
        """Whether the work waits or is about to."""
        return not self._go_on.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait until the Steps are closed.

        Parameters
        ----------
        seconds : float
            At most so long.

        Returns
        -------
        bool
            Whether they are.
        """
        return self._done.wait(seconds)


def worker_for(steps: Steps[Any], title: str) -> StepsWorker:
    """Make a worker that napari knows of, so that it asks before it closes a window whose work is not done.

    Parameters
    ----------
    steps : Steps
        The work.
    title : str
        In plain words.

    Returns
    -------
    StepsWorker
        Not started.
    """
    return create_worker(Job(steps, title), _worker_class=StepsWorker, _start_thread=False, _ignore_errors=True)
