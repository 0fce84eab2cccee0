"""Training: how a network is trained so that people can follow it, stop it, and go on with it later.

Every method that has a network trains it through `Training`, which adds to the descent of `optimize.minimise`:

- **Two curves.** ``loss`` is what is gone down on; ``validation`` is the same on data held out from training.
- **The best weights are kept**, by ``score`` (e.g. keypoint error) where there is one, else by ``validation``; early and middle
  ones too, to look at how the network learnt. A model that was trained before is a candidate, too.
- **Divergence is told.** A loss that is no number, or far above what it was at first, ends the training: with the best weights
  where they had learnt something, else with an error. Who ends up no better than before is warned.
- **Stopping** at any moment with the best weights (`stop`), **looking** at what it has learnt so far (`model`), and **saving**
  everything (`unfinished`): given to ``fit`` as ``start`` the training goes on where it was. With a budget in iterations, on
  the CPU, the result is the same bit by bit as without the interruption.

The consumer of the Steps does all this between two yields, through ``Progress.training``. A method writes::

    pool = FramePool(stacks, seed=self.seed)
    aside = pool.hold_out(8, self.patch)
    training = Training(network, pool.model(self), self.budget(network), random=(pool.random, random), start=start)
    return (yield from training.run(loss, validate))

``loss(iteration)`` returns a scalar Tensor and may draw random numbers only from the generators named in ``random``.
``validate()`` returns a number; it runs in evaluation mode without gradients, and must be the same function at every call:
fixed data, and a generator made afresh from the seed.
"""

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_denoisereg.divergence import Course, DivergedError, expect_no_growth
from napari_denoisereg.model import Model, Unfinished
from napari_denoisereg.optimize import Descent, evaluating, minimise
from napari_denoisereg.steps import Pace, Progress, Steps

Random = torch.Generator | np.random.Generator
MOMENTS = {"early": 0.1, "middle": 0.5}
"""Shares of the budget after which weights are kept to look at."""
BUDGET_FIELDS = ("iterations", "seconds")


@dataclass(frozen=True)
class Budget:
    """How long and how fast a training goes.

    Parameters
    ----------
    iterations : int
        At most so many.
    seconds : float, optional
        At most so long, s; pauses do not count.
    learning_rate : float
        Adam's first step.
    schedule : callable, optional
        See `optimize.minimise`.
    every : int
        The network is judged after every so many iterations.
    """

    iterations: int
    seconds: float | None = None
    learning_rate: float = 1e-3
    schedule: Callable[[float], float] | None = None
    every: int = 50


class Training:
    """The training of one network.

    Parameters
    ----------
    network : nn.Module
        In training mode, on its device; changed in place.
    blank : Model
        What the trained model will say about itself: method, dimension, statistics, provenance. It has no weights yet.
    budget : Budget
        How long.
    random : sequence of Generator
        Everything that ``loss`` draws random numbers from.
    start : Model, optional
        What ``fit`` was given. When its training was interrupted, and was one of the same settings (budgets apart) on the
        same data, it is gone on with. Otherwise nothing happens here: the method has put its weights into the network.
    """

    def __init__(
        self, network: nn.Module, blank: Model, budget: Budget, *, random: Sequence[Random] = (), start: Model | None = None
    ) -> None:
        self._network, self._blank, self._budget, self._random = network, blank, budget, tuple(random)
        self._descent = Descent(network.parameters())
        self._kept: dict[str, Model] = {}
        self._figure = math.inf
        self._before = math.inf
        self._is_stopped, self._is_fine_tuning = False, start is not None
        self.validation: list[tuple[int, float]] = []
        """Iteration and figure of every judgement so far; low is good."""
        self.is_resumed = start is not None and self._fits(start)
        if start is not None and self.is_resumed:
            self._restore(start)

    @property
    def losses(self) -> Sequence[float]:
        """The loss of every iteration so far."""
        return self._descent.losses

    @property
    def kept(self) -> Mapping[str, Model]:
        """Models by name: ``"early"``, ``"middle"``, ``"best"``; those that there are by now."""
        return dict(self._kept)

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._is_stopped

    def stop(self) -> None:
        """End after the iteration under way, with the best weights. May be called from any thread."""
        self._is_stopped = True

    def run(
        self,
        loss: Callable[[int], Tensor],
        validate: Callable[[], float],
        *,
        score: Callable[[Model], float] | None = None,
        stage: str = "training",
    ) -> Steps[Model]:
        """Train.

        Parameters
        ----------
        loss, validate : callable
            See the module.
        score : callable, optional
            Chooses the best weights instead of ``validate``: judges a model, low is good.
        stage : str
            Shown with the progress.

        Returns
        -------
        Steps of Model
            The best one. Each Progress has the figures ``loss``, ``validation`` (where judged) and ``score`` (where given), and
            this object as ``training``. Its provenance has a ``doubt``, which is a warning, too, where it is not to be trusted.

        Raises
        ------
        DivergedError
            When the loss is no longer finite, or far above what it was at first, and nothing had been learnt until then.
        """
        judged: dict[str, float] = {}

        def after(iteration: int) -> None:
            expect_no_growth(self.losses)
            if (iteration + 1) % self._budget.every == 0:
                judged.update(self._judge(validate, score))

        budget = self._budget
        if not self.is_resumed:
            began = time.monotonic()
            self._judge_before(validate, score)
            self._descent.seconds = time.monotonic() - began  # it may estimate flows, which take time
        steps = minimise(
            (),
            loss,
            iterations=budget.iterations,
            seconds=budget.seconds,
            learning_rate=budget.learning_rate,
            schedule=budget.schedule,
            stage=stage,
            after=after,
            descent=self._descent,
        )
        broken = ""
        try:
            for progress in steps:
                yield replace(progress, figures={**progress.figures, **judged}, training=self)
                if self._is_stopped:
                    break
        except DivergedError as error:
            if not self._has_learnt():
                raise DivergedError(f"{error} {self._remedy()}") from error
            broken = f"{error} The weights of iteration {self._kept['best'].provenance['iterations']} are kept."
        finally:
            steps.close()
        if not broken and (not self.validation or self.validation[-1][0] != len(self.losses)):
            self._judge(validate, score)
        if self._is_stopped or broken:
            yield Progress(1, 1, stage, training=self)
        return self._result(broken or self._doubt())

    def model(self) -> Model:
        """The model as it is now.

        Returns
        -------
        Model
            Copies of the weights on the CPU.
        """
        weights = {name: value.detach().cpu().clone() for name, value in self._network.state_dict().items()}
        provenance = {**self._blank.provenance, "iterations": len(self.losses)}
        return replace(self._blank, weights=weights, provenance=provenance)

    def unfinished(self) -> Model:
        """Everything, to go on later.

        Returns
        -------
        Model
            The best weights so far, and in ``unfinished`` where the training is.
        """
        now = self.model()
        best = self._kept.get("best", now)
        tensors: dict[str, Tensor] = {f"network.{name}": value for name, value in now.weights.items()}
        tensors |= {f"moments.{name}": value for name, value in self._descent.moments().items()}
        tensors["losses"] = torch.tensor(self.losses, dtype=torch.float64)
        tensors["validation"] = torch.tensor(self.validation, dtype=torch.float64).reshape(-1, 2)
        for name in MOMENTS.keys() & self._kept.keys():
            tensors |= {f"{name}.{part}": value for part, value in self._kept[name].weights.items()}
        states: dict[str, Any] = {}
        for number, each in enumerate(self._random):
            if isinstance(each, torch.Generator):
                tensors[f"random.{number}"] = each.get_state().clone()
            else:
                states[str(number)] = each.bit_generator.state
        record = {
            "seconds": self._descent.seconds,
            "figure": self._figure if math.isfinite(self._figure) else None,
            "before": self._before if math.isfinite(self._before) else None,
            "random": states,
            "kept": {name: dict(model.provenance) for name, model in self._kept.items()},
            "share": self._share(),
        }
        return replace(best, unfinished=Unfinished(tensors, record))

    def _share(self) -> float:
        return min(1.0, self._descent.spent(self._budget.iterations, self._budget.seconds))

    def _fits(self, start: Model) -> bool:
        if start.unfinished is None or type(start.method) is not type(self._blank.method):
            return False
        same = start.method.model_dump(exclude=set(BUDGET_FIELDS)) == self._blank.method.model_dump(exclude=set(BUDGET_FIELDS))
        return same and start.provenance.get("data") == self._blank.provenance.get("data")

    def _restore(self, start: Model) -> None:
        assert start.unfinished is not None
        tensors, record = start.unfinished.tensors, start.unfinished.record

        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

        self._network.load_state_dict(part("network."))
        self._descent.restore(part("moments."), tensors["losses"].tolist(), float(record["seconds"]))
        self.validation = [(int(iteration), figure) for iteration, figure in tensors["validation"].tolist()]
        for name, provenance in record["kept"].items():
            weights = start.weights if name == "best" else part(f"{name}.")
            self._kept[name] = replace(self._blank, weights=weights, provenance=provenance)
        self._figure = math.inf if record["figure"] is None else float(record["figure"])
        self._before = math.inf if record.get("before") is None else float(record["before"])
        for number, each in enumerate(self._random):
            if isinstance(each, torch.Generator):
                each.set_state(tensors[f"random.{number}"])
            else:
                each.bit_generator.state = record["random"][str(number)]

    def _judge_before(self, validate: Callable[[], float], score: Callable[[Model], float] | None) -> None:
        """What training must be better than; the weights of a model that was trained before may stay the best."""
        if self._is_fine_tuning:
            self._before = self._judge(validate, score)["validation"]
        else:
            with evaluating(self._network):
                self._before = float(validate())

    def _judge(self, validate: Callable[[], float], score: Callable[[Model], float] | None) -> dict[str, float]:
        with evaluating(self._network):
            figures = {"validation": float(validate())}
        self.validation.append((len(self.losses), figures["validation"]))
        if not math.isfinite(figures["validation"]):
            return figures
        now = self.model()
        if score is not None:
            figures["score"] = float(score(now))
        figure = figures.get("score", figures["validation"])
        told = replace(now, provenance={**now.provenance, **figures})
        for name, share in MOMENTS.items():
            if name not in self._kept and self._share() >= share:
                self._kept[name] = told
        if figure < self._figure or "best" not in self._kept:
            self._kept["best"], self._figure = told, figure
        return figures

    def _has_learnt(self) -> bool:
        """Whether the best weights are better on held-out data than those that training began with."""
        best = self._kept.get("best")
        return best is not None and best.provenance["iterations"] > 0 and best.provenance["validation"] < self._before

    def _doubt(self) -> str:
        """Why a training that came to its end is not to be trusted; see `Course`."""
        last = self.validation[-1][1]
        if "best" not in self._kept:
            raise DivergedError(f"The loss on held-out data is {last}. {self._remedy()}")
        told = self._kept["best"].provenance
        return Course(len(self.losses), self._before, told["validation"], last, told["iterations"]).doubt()

    def _remedy(self) -> str:
        return f"Train again with a smaller learning rate than {self._budget.learning_rate:g}."

    def _result(self, doubt: str) -> Model:
        best, recent = self._kept["best"], self.losses[-50:]
        more = {"iterations_in_all": len(self.losses), "loss": sum(recent) / len(recent), "stopped": self._is_stopped}
        if not doubt:
            return replace(best, provenance={**best.provenance, **more})
        words = f"{doubt} {self._remedy()}"
        warnings.warn(words, stacklevel=2)
        return replace(best, provenance={**best.provenance, **more, "doubt": words})


def saved_on_the_way(
    steps: Steps[Model], path: str | Path, *, interval: float = 20.0, keep_when_stopped: bool = False
) -> Steps[Model]:
    """Save a training now and then, so that it can go on after a crash.

    Parameters
    ----------
    steps : Steps of Model
        What a method's ``fit`` returns.
    path : str or Path
        File to write; removed at the end, and where the training fails. A crash leaves it.
    interval : float
        Time between two savings, s; longer where saving takes more than a twentieth of it.
    keep_when_stopped : bool
        Whether an error, Ctrl-C or closing the steps leaves what was saved last, too.

    Returns
    -------
    Steps of Model
        What ``steps`` return.
    """
    pace, target = Pace(interval), Path(path)
    pace.is_due()  # nothing worth saving at once
    is_over = False
    try:
        while True:
            progress = next(steps)
            if progress.training is not None and pace.is_due():
                progress.training.unfinished().save(target)
            yield progress
    except StopIteration as end:
        is_over = True
        return end.value
    except DivergedError:  # to go on would diverge again
        is_over = True
        raise
    finally:
        steps.close()
        if is_over or not keep_when_stopped:
            target.unlink(missing_ok=True)


def gone_on_with(steps: Steps[Model], start: Model | None) -> Steps[Model]:
    """Refuse to begin afresh where an interrupted training is to go on.

    Parameters
    ----------
    steps : Steps of Model
        What a method's ``fit`` returns.
    start : Model, optional
        What ``fit`` was given; interrupted or not.

    Returns
    -------
    Steps of Model
        What ``steps`` return.

    Raises
    ------
    ValueError
        When ``start`` is an interrupted training of other data, or with other settings.
    """
    try:
        while True:
            progress = next(steps)
            training = progress.training
            if start is not None and start.unfinished is not None and training is not None and not training.is_resumed:
                data = start.provenance.get("data", ())
                named = ", ".join(f"{each['name']!r} ({' × '.join(map(str, each['shape']))})" for each in data)
                raise ValueError(
                    f"The interrupted training was of {named}: open that with the same axes and settings, and the same other "
                    "movies if there were some; or choose another start."
                )
            yield progress
    except StopIteration as end:
        return end.value
    finally:
        steps.close()
