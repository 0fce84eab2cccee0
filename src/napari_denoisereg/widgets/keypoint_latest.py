"""A runner for work of which only the newest counts: what is asked for while it works replaces it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari_denoisereg.steps import Steps
from napari_denoisereg.widgets.runner import Runner

Request = tuple[Steps[Any], str, Callable[[Any], None]]


class LatestRunner(Runner):
    """A runner that is seen only while it works, and works on the newest request only."""

    def __init__(self) -> None:
        super().__init__()
        self._next: Request | None = None
        self.setVisible(False)
        self.finished.connect(self._on_free)

    def request(self, steps: Steps[Any], title: str, then: Callable[[Any], None], *, seen: bool = True) -> None:
        """Have work done; earlier work that is not finished is dropped.

        Parameters
        ----------
        steps : Steps
            The work.
        title : str
            In plain words.
        then : callable
            Takes the result.
        seen : bool
            Whether the bar shows.
        """
        if self.is_running:
            self._next = (steps, title, then)
            self.cancel()
            return
        self.start(steps, title, then)
        self.setVisible(seen)

    def drop(self) -> None:
        """Forget all that was asked for."""
        self._next = None
        self.cancel()

    def _on_free(self) -> None:
        waiting, self._next = self._next, None
        seen = self.isVisible()
        self.setVisible(False)
        if waiting is not None:
            self.request(*waiting, seen=seen)
