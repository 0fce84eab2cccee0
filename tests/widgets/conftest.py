"""What tests of widgets share."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from qtpy.QtCore import QSettings, Qt, QTimer

Heartbeat = Callable[[], AbstractContextManager[list[float]]]
"""What the fixture `heartbeat` gives."""


@pytest.fixture
def working_threads() -> Callable[[], list[str]]:
    """Function that names the threads of workers that are not done."""
    return lambda: [thread.name for thread in threading.enumerate() if thread.name.startswith("napari-denoisereg")]


@pytest.fixture(autouse=True)
def forgotten_memories(tmp_path: Path) -> None:
    """What docks remember is kept in a folder of the test, not in the user's settings."""
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(tmp_path / "settings"))


@pytest.fixture
def heartbeat() -> Heartbeat:
    """A timer that beats every 5 ms on the GUI thread while the ``with`` block lasts.

    The block is given a list that is filled at its end: the seconds in which the GUI thread was held up between two beats. What
    a busy machine gave to other threads and programs is not counted, so that a test says the same everywhere.
    """
    schedule = Path(f"/proc/self/task/{threading.main_thread().native_id}/schedstat")
    if not schedule.exists():
        pytest.skip("What the machine gave to others is known on Linux only.")

    @contextmanager
    def beating() -> Iterator[list[float]]:
        beats, held_up = list[tuple[float, float, float]](), list[float]()
        timer = QTimer()
        timer.setTimerType(Qt.TimerType.PreciseTimer)
        timer.timeout.connect(
            lambda: beats.append((time.perf_counter(), int(schedule.read_text().split()[1]) / 1e9, time.thread_time()))
        )
        timer.start(5)
        try:
            yield held_up
        finally:
            timer.stop()
        for before, after in pairwise(beats):
            passed, turned_away, worked = (late - early for early, late in zip(before, after, strict=True))
            held_up.append(min(passed - turned_away, worked))

    return beating
