"""minimise(): the one descent loop."""

import time

import pytest
import torch

from napari_denoisereg.divergence import DivergedError
from napari_denoisereg.optimize import minimise
from napari_denoisereg.steps import Progress, finish


def quadratic(place: torch.Tensor, wanted: torch.Tensor):
    return lambda _: ((place - wanted) ** 2).sum()


def test_it_finds_the_minimum_of_a_quadratic() -> None:
    place, wanted = torch.zeros(3, requires_grad=True), torch.tensor([1.0, -2.0, 0.5])
    losses = finish(minimise([place], quadratic(place, wanted), iterations=400, learning_rate=0.05))
    torch.testing.assert_close(place.detach(), wanted, atol=1e-3, rtol=0)
    assert len(losses) == 400
    assert losses[-1] < 1e-5 < losses[0]


def test_it_stops_after_so_many_iterations_and_says_so() -> None:
    place, seen, after = torch.zeros(1, requires_grad=True), list[Progress](), list[int]()
    losses = finish(
        minimise([place], quadratic(place, torch.ones(1)), iterations=7, after=after.append, stage="training"), seen.append
    )
    assert (len(losses), after) == (7, list(range(7)))
    assert (seen[-1].done, seen[-1].total, seen[-1].stage) == (1.0, 1.0, "training")
    assert seen[-1].figures == {"loss": losses[-1], "iteration": 7}


def test_it_stops_after_so_many_seconds() -> None:
    place, seen, start = torch.zeros(1, requires_grad=True), list[Progress](), time.monotonic()

    def slow(_: int) -> torch.Tensor:
        time.sleep(0.01)
        return (place**2).sum()

    losses = finish(minimise([place], slow, iterations=10**6, seconds=0.25), seen.append)
    assert 0.25 <= time.monotonic() - start < 2
    assert 1 <= len(losses) <= 26
    assert seen[-1].done == 1.0


def test_it_yields_at_most_ten_times_a_second() -> None:
    place, seen = torch.zeros(1, requires_grad=True), list[Progress]()
    start = time.monotonic()
    finish(minimise([place], quadratic(place, torch.ones(1)), iterations=10**6, seconds=0.4), seen.append)
    assert 2 <= len(seen) <= 10 * (time.monotonic() - start) + 2


def test_preview_is_made_only_when_it_is_shown() -> None:
    place, seen, made = torch.zeros(1, requires_grad=True), list[Progress](), list[int]()

    def preview() -> int:
        made.append(1)
        return len(made)

    finish(minimise([place], quadratic(place, torch.ones(1)), iterations=100, preview=preview), seen.append)
    assert [progress.preview for progress in seen] == list(range(1, len(made) + 1))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_an_error_and_spoils_nothing(value: float) -> None:
    place = torch.ones(1, requires_grad=True)
    loss = lambda iteration: (place * (value if iteration == 2 else 1.0)).sum()  # noqa: E731
    with pytest.raises(DivergedError, match=r"iteration 2 .*too large"):
        finish(minimise([place], loss, iterations=5))
    assert bool(torch.isfinite(place).all())


def test_closing_stops_the_descent() -> None:
    place, count = torch.zeros(1, requires_grad=True), list[int]()
    steps = minimise([place], quadratic(place, torch.ones(1)), iterations=10**9, after=count.append)
    next(steps)
    next(steps)
    steps.close()
    done = len(count)
    with pytest.raises(StopIteration):
        next(steps)
    assert len(count) == done
