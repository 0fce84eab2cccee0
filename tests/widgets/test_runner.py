"""The runner: work off the GUI thread that can be paused, cancelled and closed, and leaves nothing behind."""

import threading
import time
from typing import Any

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton

from napari_denoisereg.steps import Progress, Steps
from napari_denoisereg.widgets.runner import Clock, Runner, duration_in_words


class Work:
    """Steps that say what happened to them."""

    def __init__(self, n: int = 1000, batch: float = 0.01, error: Exception | None = None) -> None:
        self.n, self.batch, self.error = n, batch, error
        self.done, self.closed = 0, False
        self.thread: int | None = None

    def steps(self) -> Steps[str]:
        try:
            self.thread = threading.get_ident()
            for number in range(self.n):
                time.sleep(self.batch)
                self.done = number + 1
                if self.error is not None and self.done == 3:
                    raise self.error
                yield Progress(self.done, self.n, "brewing", {"loss": 0.25}, np.zeros((2, 2)))
            return "tea"
        finally:
            self.closed = True


@pytest.fixture
def runner(qtbot: Any, working_threads: Any) -> Runner:
    widget = Runner()
    qtbot.addWidget(widget)
    widget.show()
    yield widget
    widget.close_down()
    assert not widget.is_running
    qtbot.waitUntil(lambda: not working_threads())


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list:
    """Notifications that were shown."""
    shown: list = []
    monkeypatch.setattr(notification_manager, "dispatch", shown.append)
    return shown


def button(runner: Runner, text: str) -> QPushButton:
    return next(each for each in runner.findChildren(QPushButton) if each.text() == text)


def click(qtbot: Any, runner: Runner, text: str) -> None:
    qtbot.mouseClick(button(runner, text), Qt.MouseButton.LeftButton)


def test_result_arrives_on_the_gui_thread_and_the_work_ran_on_another(runner: Runner, qtbot: Any) -> None:
    work, seen = Work(n=5), []
    with qtbot.waitSignals([runner.returned, runner.finished]):
        runner.start(work.steps(), "Tea", lambda result: seen.append((result, threading.get_ident())))
    assert seen == [("tea", threading.get_ident())]
    assert work.thread != threading.get_ident()
    assert work.closed
    assert not runner.is_running
    assert runner._bar.value() == runner._bar.maximum()


def test_progress_and_preview_are_shown_while_it_runs(runner: Runner, qtbot: Any) -> None:
    figures, previews = [], []
    runner.progressed.connect(lambda progress: figures.append(dict(progress.figures)))
    runner.previewed.connect(lambda image: previews.append(image.shape))
    with qtbot.waitSignal(runner.finished):
        runner.start(Work(n=30).steps(), "Tea")
    assert figures[0] == {"loss": 0.25}
    assert previews[0] == (2, 2)


def test_figures_are_called_as_in_the_plot_and_the_manual(runner: Runner, qtbot: Any) -> None:
    def steps() -> Steps[None]:
        yield Progress(1, 2, "training", {"loss": 0.25, "validation": 0.3, "score": 1.234})
        while True:
            time.sleep(0.01)
            yield Progress(1, 2)

    lines: list[str] = []
    runner.progressed.connect(lambda _: lines.append(runner._line.text()))
    with qtbot.waitSignal(runner.progressed):
        runner.start(steps(), "Tea")
    assert lines[0].startswith("Training · loss 0.25 · held-out 0.3 · keypoints (px) 1.23")


def test_cancel_stops_within_one_batch_and_nothing_arrives(runner: Runner, qtbot: Any) -> None:
    work, arrived = Work(batch=0.05), []
    runner.returned.connect(arrived.append)
    runner.start(work.steps(), "Tea", arrived.append)
    qtbot.waitUntil(lambda: work.done > 2)
    with qtbot.waitSignal(runner.cancelled, timeout=1000):
        before = work.done
        click(qtbot, runner, "Cancel")
    assert work.done <= before + 1
    assert work.closed
    assert arrived == []
    assert not runner.is_running
    assert "Cancelled" in runner._line.text()


def test_result_finished_in_the_moment_of_cancelling_does_not_arrive(runner: Runner, qtbot: Any) -> None:
    work, arrived = Work(n=3), []
    runner.start(work.steps(), "Tea", arrived.append)
    while not work.closed:  # no events: the result waits in the queue of this thread
        time.sleep(0.01)
    time.sleep(0.05)
    with qtbot.waitSignal(runner.finished):
        runner.cancel()
    assert arrived == []


def test_pause_stops_the_work_and_resume_goes_on(runner: Runner, qtbot: Any) -> None:
    work = Work(n=40)
    runner.start(work.steps(), "Tea")
    qtbot.waitUntil(lambda: work.done > 3)
    click(qtbot, runner, "Pause")
    qtbot.wait(60)
    paused_at = work.done
    qtbot.wait(120)
    assert work.done == paused_at
    assert not work.closed
    assert runner._line.text() == "Paused."
    with qtbot.waitSignal(runner.returned):
        click(qtbot, runner, "Resume")
        assert runner._line.text() == "Going on …"
    assert work.done == 40


def test_paused_work_can_be_cancelled(runner: Runner, qtbot: Any) -> None:
    work = Work()
    runner.start(work.steps(), "Tea")
    qtbot.waitUntil(lambda: work.done > 1)
    click(qtbot, runner, "Pause")
    qtbot.wait(50)
    with qtbot.waitSignal(runner.cancelled):
        click(qtbot, runner, "Cancel")
    assert work.closed


def test_one_job_at_a_time(runner: Runner, qtbot: Any) -> None:
    first, second = Work(), Work()
    runner.start(first.steps(), "Tea")
    with pytest.raises(RuntimeError, match="One job at a time"):
        runner.start(second.steps(), "Coffee")
    with qtbot.waitSignal(runner.cancelled):
        runner.cancel()
    assert second.done == 0


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("deep inside numpy"), "deep inside numpy"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "ran out of memory"),
        (MemoryError(), "ran out of memory"),
        (RuntimeError("something torch says"), "something torch says"),
        (KeyError("lost"), "lost"),
    ],
    ids=repr,
)
def test_errors_are_shown_and_leave_the_runner_ready(
    runner: Runner, qtbot: Any, told: list, error: Exception, words: str
) -> None:
    work = Work(error=error)
    with qtbot.waitSignals([runner.failed, runner.finished]):
        runner.start(work.steps(), "Tea")
    assert len(told) == 1
    assert words in told[0].message
    assert runner._line.text().startswith("Stopped by an error.")
    assert work.closed
    assert not runner.is_running
    with qtbot.waitSignal(runner.returned):
        runner.start(Work(n=2).steps(), "Tea again")


def test_errors_of_our_own_come_without_traceback(runner: Runner, qtbot: Any, told: list) -> None:
    from napari_denoisereg.checks import inspect
    from napari_denoisereg.stack import Stack

    with qtbot.waitSignal(runner.failed):
        runner.start(inspect(Stack(np.full((3, 8, 8), np.nan), "tyx")), "Check")
    assert "NaN" in told[0].message
    assert not hasattr(told[0], "exception")
    assert runner._line.text() == f"Stopped by an error. {told[0].message}"  # napari's message goes away


def test_closing_while_paused_running_or_idle_leaves_no_thread(runner: Runner, qtbot: Any) -> None:
    work = Work(batch=0.02)
    runner.start(work.steps(), "Tea")
    qtbot.waitUntil(lambda: work.done > 1)
    start = time.monotonic()
    runner.close_down()
    assert time.monotonic() - start < 0.5
    assert work.closed
    runner.close_down()


def test_deleting_the_widget_stops_the_work(qtbot: Any, working_threads: Any) -> None:
    work, widget = Work(), Runner()
    widget.start(work.steps(), "Tea")
    qtbot.waitUntil(lambda: work.done > 1)
    widget.deleteLater()
    qtbot.waitUntil(lambda: work.closed, timeout=2000)
    qtbot.waitUntil(lambda: not working_threads())


def test_gui_thread_is_free_while_work_is_busy(runner: Runner, qtbot: Any, heartbeat: Any) -> None:
    """During work that never sleeps and yields as often as it can."""

    def busy() -> Steps[None]:
        values, end = np.random.default_rng(0).normal(size=(200, 200)), time.monotonic() + 2
        while time.monotonic() < end:
            sum(number * number for number in range(500))
            values = np.tanh(values @ values.T / 200)
            yield Progress(1, 2, "busy", {"mean": float(values.mean())}, values)

    with heartbeat() as held_up, qtbot.waitSignal(runner.finished, timeout=10_000):
        runner.start(busy(), "Busy")
    assert len(held_up) > 50
    assert max(held_up) < 0.05, f"{1000 * max(held_up):.0f} ms"


def test_time_left_is_what_was_spent_on_the_same_share(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = Clock()
    now[0] = 110.0
    assert clock.seconds_left(0.25) == pytest.approx(30)
    clock.pause()
    now[0] = 200.0
    assert clock.seconds_left(0.25) == pytest.approx(30)
    clock.resume()
    assert clock.seconds_left(0.5) == pytest.approx(10)
    assert clock.seconds_left(0.0) is None


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (40, "40 s"), (180, "3 min"), (5400, "1 h 30 min"), (7800, "2 h 10 min")]
)
def test_durations_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert duration_in_words(seconds) == words
