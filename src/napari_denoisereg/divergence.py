"""Divergence: how to tell that a descent's steps were too large, and what to say of it."""

from collections.abc import Sequence
from dataclasses import dataclass

GROWN = 1e3
"""A loss so many times what it was at first does not come back to anything good: seen with four networks at rates of 0.1."""
FEW = 10
"""Losses that are averaged before they are said to have grown."""
LEAST_LOSS = 0.1
"""A first loss may be near 0 by chance; images are standardised, so losses are about 1."""
LEAST_TRAINED = 50
"""Iterations before which nobody expects a network to have learnt something; only divergence is told then."""
NO_BETTER = 0.05
"""Share of the loss before training by which losses on held-out data differ without meaning anything."""


class DivergedError(ValueError):
    """A descent went up, or to where there are no numbers: its steps are too large."""


def expect_no_growth(losses: Sequence[float]) -> None:
    """Refuse losses that have grown beyond hope.

    Parameters
    ----------
    losses : sequence of float
        Of every iteration so far.

    Raises
    ------
    DivergedError
        When the latest are `GROWN` times the first.
    """
    recent = losses[-FEW:]
    mean = sum(recent) / FEW
    if len(recent) == FEW and mean > _hopeless(losses[0]):
        raise DivergedError(
            f"The loss grew from {losses[0]:.3g} to {mean:.3g} within {len(losses)} iterations: the steps are too large."
        )


@dataclass(frozen=True)
class Course:
    """How a training went, on held-out data.

    Parameters
    ----------
    iterations : int
        So many in all.
    before, least, last : float
        Loss before it, of the weights that are kept, and at the end.
    kept : int
        Iteration of the weights that are kept; 0 are those that it began with.
    """

    iterations: int
    before: float
    least: float
    last: float
    kept: int

    def doubt(self) -> str:
        """Why what was trained is not to be trusted.

        Returns
        -------
        str
            In plain words; empty where nothing speaks against it.
        """
        is_short = self.iterations < LEAST_TRAINED
        limit = _hopeless(self.before) if is_short else self.before + NO_BETTER * abs(self.before)
        if self.kept == 0 and not is_short:
            return (
                f"The model that the training began with (held-out loss {self.before:.3g}) is kept: none after it was better."
            )
        if self.least > limit:
            return (
                f"The network has learnt nothing: its held-out loss was {self.before:.3g} before the training, and "
                f"{self.least:.3g} at best since."
            )
        if not self.last <= limit:  # no number, too
            return (
                f"The held-out loss was higher at the end ({self.last:.3g}) than before the training ({self.before:.3g}); the "
                f"weights of iteration {self.kept} are kept ({self.least:.3g})."
            )
        return ""


def _hopeless(first: float) -> float:
    """What a loss does not come back from."""
    return GROWN * max(abs(first), LEAST_LOSS)
