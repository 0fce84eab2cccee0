"""minimise(): the one descent loop, for displacement fields and for network weights."""

import math
import time
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

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
) -> Steps[list[float]]:
    """Adam (doi:10.48550/arXiv.1412.6980), β = (0.9, 0.999), within a budget.

    Parameters
    ----------
    parameters : iterable of Tensor
        What is changed, in place.
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

    Returns
    -------
    Steps of list of float
        The losses. Yields at least once per tenth of a second or per iteration, whichever is longer.

    Raises
    ------
    FloatingPointError
        When the loss is no longer finite.
    """
    optimiser = torch.optim.Adam(list(parameters), lr=learning_rate, betas=(0.9, 0.999))
    pace, start, losses = Pace(), time.monotonic(), list[float]()
    done = 0.0
    for iteration in range(iterations):
        if schedule is not None:
            optimiser.param_groups[0]["lr"] = learning_rate * schedule(done)
        optimiser.zero_grad(set_to_none=True)
        value = loss(iteration)
        losses.append(float(value.detach()))
        if not math.isfinite(losses[-1]):
            raise FloatingPointError(f"The loss became {losses[-1]} in iteration {iteration}; lower the learning rate.")
        value.backward()
        optimiser.step()
        if after is not None:
            after(iteration)
        spent = 0.0 if seconds is None else (time.monotonic() - start) / seconds
        done = max((iteration + 1) / iterations, spent)
        if pace.is_due(last=done >= 1):
            shown = preview() if preview is not None else None
            yield Progress(min(done, 1.0), 1.0, stage, {"loss": losses[-1], "iteration": iteration + 1}, shown)
        if done >= 1:
            break
    return losses
