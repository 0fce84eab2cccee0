"""Work that only the GUI thread may do, a slice at a time, so that clicks and drawing come in between.

For what Qt itself draws; everything else is Steps in a `Runner`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from qtpy.QtCore import QObject, QTimer

from napari_denoisereg.widgets.runner import report


class GuiSlices(QObject):
    """Runs a generator on the GUI thread, one ``next`` at a time.

    Parameters
    ----------
    parent : QObject, optional
        Whose end is the end of the work, too.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._work = _Work()
        self.destroyed.connect(self._work.drop)
        self._turns = QTimer(self)
        self._turns.setInterval(0)
        self._turns.timeout.connect(self._on_turn)

    @property
    def is_running(self) -> bool:
        """Whether there are slices left."""
        return self._work.slices is not None

    def start(self, slices: Generator[None, None, None], then: Callable[[], None]) -> None:
        """Start work; earlier work that is not finished is dropped.

        Parameters
        ----------
        slices : generator
            Each ``next`` takes well below 50 ms. What it raises is told to the user.
        then : callable
            Called at the end, unless it was dropped or failed.
        """
        self.drop()
        self._work.slices, self._work.then = slices, then
        self._turns.start()

    def drop(self) -> None:
        """Stop; the generator is closed, and so cleans up."""
        self._turns.stop()
        self._work.drop()

    def _on_turn(self) -> None:
        slices, then = self._work.slices, self._work.then
        if slices is None or then is None:
            return
        try:
            next(slices)
        except StopIteration:
            self.drop()
            then()
        except Exception as error:  # noqa: BLE001 - it is told
            self.drop()
            report(error)


class _Work:
    """What is left to do: a plain object, which can still close it while Qt takes the widgets apart."""

    def __init__(self) -> None:
        self.slices: Generator[None, None, None] | None = None
        self.then: Callable[[], None] | None = None

    def drop(self, *_: Any) -> None:
        slices, self.slices, self.then = self.slices, None, None
        if slices is not None:
            slices.close()
