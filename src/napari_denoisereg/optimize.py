"""minimise(): the one descent loop, for displacement fields and for network weights."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from napari_denoisereg.divergence import DivergedError
from napari_denoisereg.steps import Pace, Progress, Steps


def minimise(  # noqa: PLR0913 - the loop's whole vocabulary; everything after loss is a keyword
    parameters: Iterable[Tensor],
    loss: Callable[[int], Tensor],
    *,
    iterations: int,
    seconds: float | None = None,
    learning_rate: float = 1e-3,
    schedule: Callable[[float], float] | None = None,
    stage: str = "optimising",
    preview: Callable[[], object] | None = None,
    after: Callable[[int], None] | None = None,
    descent: "Descent | None" = None,
) -> Steps[list[float]]:
    """Adam (doi:10.48550/arXiv.1412.6980), β = (0.9, 0.999), within a budget.

    Trainings of networks do not call this themselves but use `training.Training`, which adds held-out judging, stopping with
    the best weights, and going on after a crash.

    Parameters
    ----------
    parameters : iterable of Tensor
        What is changed, in place; those of ``descent`` where one is given.
    loss : callable
        Called with the iteration's number; returns a scalar Tensor to go down on.
    iterations : int
        At most so many.
    seconds : float, optional
        At most so long, s; the iteration under way is finished.
    learning_rate : float
        Adam's step.
    schedule : callable, optional
        Called before each iteration with the share of the budget that is spent, 0 to 1; returns what the step is multiplied
        by. A place, too, to change what depends on the share.
    stage : str
        Shown with the progress.
    preview : callable, optional
        Called when a Progress is due; its result is shown.
    after : callable, optional
        Called with the iteration's number after each step, e.g. to keep the best weights.
    descent : Descent, optional
        One that was interrupted: it is gone on with, and changed in place. A fresh one by default.

    Returns
    -------
    Steps of list of float
        The losses. Yields at least once per tenth of a second or per iteration, whichever is longer.

    Raises
    ------
    DivergedError
        When the loss is no longer finite; the parameters are those that it was computed with.
    """
    descent = descent or Descent(parameters)
    optimiser, losses, pace = descent.optimiser, descent.losses, Pace()
    began = time.monotonic() - descent.seconds
    done = descent.spent(iterations, seconds)
    while done < 1:
        iteration = len(losses)
        optimiser.param_groups[0]["lr"] = learning_rate * (1.0 if schedule is None else schedule(done))
        optimiser.zero_grad(set_to_none=True)
        value = loss(iteration)
        figure = float(value.detach())
        if not math.isfinite(figure):
            raise DivergedError(f"The loss became {figure} in iteration {iteration} ({stage}): the steps are too large.")
        value.backward()
        optimiser.step()
        losses.append(figure)
        descent.seconds = time.monotonic() - began
        if after is not None:
            after(iteration)
            descent.seconds = time.monotonic() - began
        done = descent.spent(iterations, seconds)
        if pace.is_due(last=done >= 1):
            shown = preview() if preview is not None else None
            yield Progress(min(done, 1.0), 1.0, stage, {"loss": figure, "iteration": iteration + 1}, shown)
            began = time.monotonic() - descent.seconds  # what happened meanwhile, e.g. a pause, is not training
    return losses


class Descent:
    """Where a descent is: enough to go on with it later exactly as if it had not been interrupted.

    Parameters
    ----------
    parameters : iterable of Tensor
        What is changed, in place.

    Attributes
    ----------
    losses : list of float
        Of every iteration so far.
    seconds : float
        Time spent so far, s; pauses do not count.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self.optimiser = torch.optim.Adam(list(parameters), lr=1.0, betas=(0.9, 0.999))  # minimise sets each step's rate
        self.losses: list[float] = []
        self.seconds = 0.0

    def moments(self) -> dict[str, Tensor]:
        """What Adam remembers of earlier gradients.

        Returns
        -------
        dict of str to Tensor
            Copies on the CPU, by number of the parameter and name.
        """
        remembered = self.optimiser.state_dict()["state"]
        return {
            f"{number}.{name}": value.detach().cpu().clone()
            for number, values in remembered.items()
            for name, value in values.items()
        }

    def restore(self, moments: Mapping[str, Tensor], losses: Iterable[float], seconds: float) -> None:
        """Be where another descent was.

        Parameters
        ----------
        moments : mapping of str to Tensor
            Its `moments`.
        losses : iterable of float
            Its losses.
        seconds : float
            Time it had spent, s.
        """
        state: dict[int, dict[str, Tensor]] = {}
        for place, value in moments.items():
            number, _, name = place.partition(".")
            state.setdefault(int(number), {})[name] = value.clone()
        self.optimiser.load_state_dict({"state": state, "param_groups": self.optimiser.state_dict()["param_groups"]})
        self.losses[:], self.seconds = list(losses), seconds

    def spent(self, iterations: int, seconds: float | None) -> float:
        """Share of a budget that is spent.

        Parameters
        ----------
        iterations : int
            At most so many.
        seconds : float or None
            At most so long, s.

        Returns
        -------
        float
            1 or more at its end; 0 before the first iteration, which is made in any case.
        """
        if not self.losses:
            return 0.0
        return max(len(self.losses) / iterations, 0.0 if seconds is None else self.seconds / seconds)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Use a network without training it: evaluation mode, no gradients; afterwards every layer is as it was.

    Parameters
    ----------
    network : nn.Module
        In any mode.

    Yields
    ------
    None
        Once.
    """
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad():  # no inference mode: encoders are read when first asked for, and training goes through them
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
