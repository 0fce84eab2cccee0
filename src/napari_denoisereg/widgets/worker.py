"""Run Steps in a thread of its own. No widget and no layer in sight.

superqt's ``GeneratorWorker`` does not close its generator when it is aborted, so that GPU memory and temporary files stay until
garbage collection, and it takes every ``RuntimeError`` of the work (which is what torch raises) for a deleted worker and keeps
silent. This worker closes the Steps whatever happens, and reports every error.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from napari.qt.threading import create_worker
from superqt.utils import GeneratorWorker

from napari_denoisereg.steps import Progress, Steps

LEAST_SECONDS_BETWEEN_REPORTS = 0.05  # a GUI needs no more, and each report wakes its thread


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
class Failure:
    """An error of the work, handed over as its result: napari connects slots to ``errored`` that fail under PySide6.

    Parameters
    ----------
    error : Exception
        With its traceback.
    """

    error: Exception


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
        self._go_on = threading.Event()
        self._go_on.set()
        self._done = threading.Event()

    def work(self) -> Any:
        """Run the Steps to their end, to an error (returned as `Failure`), or to the yield after `quit`."""
        steps, due = self._job.steps, 0.0
        try:
            while True:
                self._go_on.wait()
                if self.abort_requested:
                    self.aborted.emit()
                    return None
                progress = next(steps)
                now = time.monotonic()
                if now >= due or progress.fraction >= 1:
                    self.yielded.emit(progress)
                    due = now + LEAST_SECONDS_BETWEEN_REPORTS
        except StopIteration as end:
            return end.value
        except Exception as error:  # noqa: BLE001 - it is reported on the GUI thread
            return Failure(error)
        finally:
            steps.close()
            self._done.set()

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
