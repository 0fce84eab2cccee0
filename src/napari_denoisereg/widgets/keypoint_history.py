"""Undo and redo: the values of the past and of the undone future. Knows nothing of what the values are."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")
LONGEST = 200  # steps; older ones are forgotten


class History(Generic[T]):
    """Steps between values that never change themselves.

    Parameters
    ----------
    first : T
        The value to begin with.
    longest : int
        How many steps can be undone.
    """

    def __init__(self, first: T, longest: int = LONGEST) -> None:
        self._values, self._titles = [first], [""]
        self._place = 0
        self._longest = longest

    @property
    def value(self) -> T:
        """The present value."""
        return self._values[self._place]

    def push(self, value: T, title: str) -> None:
        """Make a step; what was undone is forgotten.

        Parameters
        ----------
        value : T
            The new value.
        title : str
            What was done, in plain words, e.g. ``"move keypoint 3"``.
        """
        del self._values[self._place + 1 :], self._titles[self._place + 1 :]
        self._values.append(value)
        self._titles.append(title)
        surplus = max(0, len(self._values) - self._longest - 1)
        del self._values[:surplus], self._titles[:surplus]
        self._place = len(self._values) - 1

    @property
    def undoable(self) -> str:
        """What `undo` would take back; empty where there is nothing."""
        return self._titles[self._place] if self._place > 0 else ""

    @property
    def redoable(self) -> str:
        """What `redo` would do again; empty where there is nothing."""
        return self._titles[self._place + 1] if self._place + 1 < len(self._values) else ""

    def undo(self) -> T:
        """Go a step back, if there is one.

        Returns
        -------
        T
            The value before.
        """
        self._place = max(0, self._place - 1)
        return self.value

    def redo(self) -> T:
        """Go a step forth again, if there is one.

        Returns
        -------
        T
            The value after.
        """
        self._place = min(len(self._values) - 1, self._place + 1)
        return self.value
