"""Trainings whose steps are too large: told early and in plain words, and nothing bad is taken for good."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from napari_denoisereg.denoise.noise2void import Noise2Void
from napari_denoisereg.divergence import GROWN, Course, DivergedError, expect_no_growth
from napari_denoisereg.frame_pool import FramePool
from napari_denoisereg.model import Model
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Pace, Steps, finish
from napari_denoisereg.training import Budget, Training, saved_on_the_way

METHOD = Noise2Void(patch=16, batch=2)
MOVIE = Stack(np.random.default_rng(0).normal(100, 10, (4, 40, 40)).astype(np.float32), "tyx", name="noise")


class Toy:
    """A training whose losses are given; the network's weight is the number of iterations it has seen."""

    def __init__(
        self, losses: Sequence[float], held_out: Sequence[float], *, start: Model | None = None, every: int = 10
    ) -> None:
        self._losses, self._held_out = losses, iter(held_out)
        self.network = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.network.weight)
        if start is not None:
            self.network.load_state_dict(dict(start.weights))
        blank = FramePool([MOVIE], seed=0).model(METHOD, seed=0)
        budget = Budget(len(losses), learning_rate=0.5, every=every)
        self.training = Training(self.network, blank, budget, start=start)

    def steps(self) -> Steps[Model]:
        return self.training.run(self._loss, lambda: next(self._held_out))

    def _loss(self, iteration: int) -> torch.Tensor:
        with torch.no_grad():
            self.network.weight.fill_(iteration)
        return self._losses[iteration] + 0 * self.network.weight.sum()


def seen_by(model: Model) -> int:
    """How many iterations the weights have seen, counted from 0."""
    return round(float(model.weights["weight"])) + 1


def test_a_training_that_learns_is_told_without_a_doubt() -> None:
    model = finish(Toy([1.0] * 60, [1.0, 0.8, 0.6, 0.7], every=20).steps())
    assert model.provenance["iterations"] == 40
    assert "doubt" not in model.provenance


def test_a_network_no_better_than_before_is_warned_of() -> None:
    with pytest.warns(
        UserWarning, match=r"learnt nothing: .* 1 before .* 1\.4 at best since.* smaller learning rate than 0\.5"
    ):
        model = finish(Toy([1.0] * 60, [1.0, 1.5, 1.4, 1.6], every=20).steps())
    assert "learnt nothing" in model.provenance["doubt"]


def test_where_there_is_nothing_to_learn_nobody_is_alarmed() -> None:
    for sign in (1, -1):
        model = finish(Toy([sign * 1.0] * 60, [sign * 1.0, sign + 0.01, sign + 0.02, sign + 0.02], every=20).steps())
        assert "doubt" not in model.provenance


@pytest.mark.parametrize("last", [3.0, math.nan, math.inf])
def test_a_loss_that_ends_higher_than_it_began_is_warned_of_and_the_best_is_kept(last: float) -> None:
    with pytest.warns(UserWarning, match=rf"higher at the end \({last:.3g}\).*iteration 20 are kept \(0\.5\)"):
        model = finish(Toy([1.0] * 60, [1.0, 0.5, 2.0, last], every=20).steps())
    assert seen_by(model) == model.provenance["iterations"] == 20


def test_after_very_few_iterations_only_divergence_is_told() -> None:
    finish(Toy([1.0] * 8, [1.0, 1.4], every=50).steps())
    with pytest.warns(UserWarning, match="learnt nothing"):
        finish(Toy([1.0] * 8, [1.0, 1e9], every=50).steps())


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_with_the_best_weights(broken: float) -> None:
    toy = Toy([1.0] * 25 + [broken] * 100, [1.0, 0.5, 0.6])
    with pytest.warns(UserWarning, match=rf"became {broken} in iteration 25.*iteration 10 are kept.*smaller learning rate"):
        model = finish(toy.steps())
    assert seen_by(model) == 10
    assert model.provenance["iterations_in_all"] == 25
    assert all(math.isfinite(loss) for loss in toy.training.losses)


@pytest.mark.parametrize("held_out", [[1.0, 1.2, 1.1], [1.0, math.nan, math.nan]])
def test_a_loss_that_is_no_number_is_an_error_where_nothing_was_learnt(held_out: list[float]) -> None:
    with pytest.raises(DivergedError, match=r"became nan in iteration 25.*smaller learning rate than 0\.5"):
        finish(Toy([1.0] * 25 + [math.nan], held_out).steps())


def test_a_loss_that_explodes_is_an_error_early() -> None:
    toy = Toy([1.0] * 5 + [1e7] * 1000, [1.0] * 50, every=500)
    with pytest.raises(DivergedError, match=r"grew from 1 to .*smaller learning rate than 0\.5"):
        finish(toy.steps())
    assert len(toy.training.losses) <= 10


def test_one_bad_batch_is_no_divergence() -> None:
    losses = [0.5] * 30
    losses[20] = 5 * GROWN * losses[0]
    expect_no_growth(losses)
    losses[20] *= 3
    with pytest.raises(DivergedError):
        expect_no_growth(losses)


def test_losses_that_begin_near_zero_may_grow_to_what_is_usual() -> None:
    expect_no_growth([1e-9] + [2.0] * 50)


def test_weights_that_give_no_numbers_are_never_a_model() -> None:
    with pytest.raises(DivergedError, match="held-out data is nan"):
        finish(Toy([1.0] * 4, [1.0, math.nan]).steps())


def test_fine_tuning_never_ends_with_a_worse_model() -> None:
    start = finish(Toy([1.0] * 60, [1.0, 0.8, 0.7, 0.6], every=20).steps())
    with pytest.warns(UserWarning, match=r"began with \(held-out loss 0\.6\) is kept"):
        model = finish(Toy([0.6] * 80, [0.6, 0.9, 0.8, 0.7, 0.65], start=start, every=20).steps())
    assert seen_by(model) == 60
    assert model.provenance["iterations"] == 0
    with pytest.raises(DivergedError):
        finish(Toy([0.6] * 12 + [math.nan], [0.6, 0.9], start=start).steps())


def test_a_training_that_goes_on_knows_what_was_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pace, "is_due", lambda self, last=False: True)
    toy = Toy([1.0] * 60, [1.0, 1.5, 1.5], every=20)
    steps = toy.steps()
    for _ in range(25):
        next(steps)
    left = toy.training.unfinished()
    steps.close()
    with pytest.warns(UserWarning, match="was 1 before the training, and 1.4 at best"):
        finish(Toy([1.0] * 60, [1.4, 1.6], start=left, every=20).steps())


def test_nothing_is_left_to_go_on_with_where_it_would_diverge_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Pace, "is_due", lambda self, last=False: True)
    path = tmp_path / "a.unfinished"
    steps = saved_on_the_way(Toy([1.0] * 5 + [math.nan], [1.0]).steps(), path, interval=0.0, keep_when_stopped=True)
    next(steps)
    assert path.exists()
    with pytest.raises(DivergedError):
        finish(steps)
    assert not path.exists()


def test_words_name_what_is_kept() -> None:
    assert "iteration 70" in Course(iterations=100, before=0.5, least=0.4, last=0.9, kept=70).doubt()
    assert Course(iterations=100, before=0.5, least=0.4, last=0.42, kept=70).doubt() == ""
