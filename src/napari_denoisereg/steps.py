"""Steps: long work as a generator that yields Progress and returns its result.

Headless code runs it to the end with `finish`; the GUI hands it to a worker and gets the bar, the live preview, pause and
cancel for nothing: closing the generator at any ``yield`` stops the work, and its ``finally`` blocks release what it held.
Work yields at most ten times a second (`Pace`), and at least once per batch longer than that.
"""

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a piece of long work is.

    Parameters
    ----------
    done, total : float
        Units of work done and to do; the last Progress of a Steps has ``done == total``.
    stage : str
        What is going on, in plain words, e.g. ``"training"``.
    figures : mapping of str to float
        Numbers worth showing, e.g. ``{"loss": 0.2}``.
    preview : Any
        An image worth showing (numpy, spatial axes only) or None.
    training : Any
        While a network is trained the `training.Training`: to stop it with the best weights, to look at what it has learnt, to
        save it as it is. Else None.
    """

    done: float
    total: float
    stage: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    preview: Any = None
    training: Any = None

    @property
    def fraction(self) -> float:
        """Part of the work that is done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total > 0 else 1.0


T = TypeVar("T")
Steps = Generator[Progress, None, T]
"""Long work that yields `Progress` and returns a ``T``."""


class Pace:
    """Says when the next Progress is due, so that work yields at most ten times a second.

    Parameters
    ----------
    interval : float
        Least time between two yields, s.
    """

    def __init__(self, interval: float = 0.1) -> None:
        self._interval = interval
        self._next = 0.0

    def is_due(self, last: bool = False) -> bool:
        """Whether to yield now.

        Parameters
        ----------
        last : bool
            True for the last Progress, which is always due.

        Returns
        -------
        bool
            True when a yield is due; the clock then starts again.
        """
        now = time.monotonic()
        if not last and now < self._next:
            return False
        self._next = now + self._interval
        return True


def finish(steps: Steps[T], on_progress: Callable[[Progress], None] | None = None) -> T:
    """Run Steps to the end.

    Parameters
    ----------
    steps : Steps
        The work. It is closed also when ``on_progress`` raises or the user presses Ctrl-C.
    on_progress : callable, optional
        Called with every Progress.

    Returns
    -------
    T
        What the work returns.
    """
    try:
        while True:
            progress = next(steps)
            if on_progress is not None:
                on_progress(progress)
    except StopIteration as end:
        return end.value
    finally:
        steps.close()


def portion(steps: Steps[T], start: float, stop: float, stage: str = "") -> Steps[T]:
    """Make Steps a part of longer work: its progress is mapped to ``start``..``stop`` of a total of 1.

    Parameters
    ----------
    steps : Steps
        The part.
    start, stop : float
        Where the part begins and ends in the whole, 0 to 1.
    stage : str
        Put before the part's own stage.

    Returns
    -------
    Steps
        Returns what the part returns.
    """
    try:
        while True:
            inner = next(steps)
            name = ": ".join(part for part in (stage, inner.stage) if part)
            done = start * (1 - inner.fraction) + stop * inner.fraction  # exactly stop at the end
            yield Progress(done, 1.0, name, inner.figures, inner.preview, inner.training)
    except StopIteration as end:
        return end.value
    finally:
        steps.close()
