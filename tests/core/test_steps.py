"""Steps: generators of progress that return a result, can be closed anywhere and nest."""

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_denoisereg.steps import Pace, Progress, Steps, finish, portion

fractions = st.floats(0, 1)


class Work:
    """Three steps that note how they ended."""

    def __init__(self) -> None:
        self.was_released = False
        self.was_completed = False

    def steps(self) -> Steps[str]:
        try:
            for number in range(1, 4):
                yield Progress(number, 3, "counting", {"loss": 1 / number}, preview=number)
            self.was_completed = True
            return "done"
        finally:
            self.was_released = True


def nested(work: Work) -> Steps[str]:
    return (yield from portion(portion(work.steps(), 0.0, 0.5, "inner"), 0.2, 1.0, "outer"))


def test_finish_returns_the_result_and_shows_every_progress() -> None:
    seen = list[Progress]()
    work = Work()
    assert finish(work.steps(), seen.append) == "done"
    assert [progress.done for progress in seen] == [1, 2, 3]
    assert work.was_released


def test_finish_returns_the_result_of_work_without_steps() -> None:
    def nothing() -> Steps[int]:
        return 7
        yield

    assert finish(nothing()) == 7


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_finish_closes_the_work_when_the_listener_fails(error: type[BaseException]) -> None:
    def fail(_: Progress) -> None:
        raise error

    work = Work()
    with pytest.raises(error):
        finish(nested(work), fail)
    assert work.was_released
    assert not work.was_completed


@pytest.mark.parametrize("count", [1, 2, 3])
def test_closing_reaches_the_innermost_work(count: int) -> None:
    work = Work()
    steps = nested(work)
    for _ in range(count):
        next(steps)
    steps.close()
    assert work.was_released
    assert not work.was_completed


def test_error_of_the_inner_work_comes_out() -> None:
    def fail() -> Steps[None]:
        yield Progress(1, 2)
        raise FloatingPointError("inner")

    with pytest.raises(FloatingPointError, match="inner"):
        finish(portion(fail(), 0.0, 1.0))


@given(fractions, fractions, st.integers(1, 7))
def test_portion_ends_exactly_where_it_was_told(one: float, two: float, count: int) -> None:
    start, stop = sorted((one, two))

    def counting() -> Steps[None]:
        for number in range(1, count + 1):
            yield Progress(number, count)

    seen = list[Progress]()
    finish(portion(counting(), start, stop), seen.append)
    assert seen[-1].done == stop
    assert all(start - 1e-12 <= progress.done <= stop + 1e-12 for progress in seen)
    assert all(later.done >= earlier.done - 1e-12 for earlier, later in itertools.pairwise(seen))


def test_portion_keeps_figures_and_preview_and_joins_stages() -> None:
    seen = list[Progress]()
    assert finish(nested(Work()), seen.append) == "done"
    assert [progress.stage for progress in seen] == ["outer: inner: counting"] * 3
    assert [progress.preview for progress in seen] == [1, 2, 3]
    assert seen[0].figures == {"loss": 1.0}


@pytest.mark.parametrize(("done", "total", "fraction"), [(0, 4, 0), (1, 4, 0.25), (4, 4, 1), (5, 4, 1), (0, 0, 1)])
def test_fraction_is_between_zero_and_one(done: float, total: float, fraction: float) -> None:
    assert Progress(done, total).fraction == fraction


def test_pace_is_due_at_once_then_after_its_interval_and_always_at_the_end() -> None:
    pace = Pace(interval=0.05)
    assert pace.is_due()
    assert not pace.is_due()
    assert pace.is_due(last=True)
    time.sleep(0.06)
    assert pace.is_due()


def test_pace_lets_work_yield_at_most_ten_times_a_second() -> None:
    pace, start, count = Pace(), time.monotonic(), 0
    while time.monotonic() - start < 0.35:
        count += pace.is_due()
    assert 2 <= count <= 4
