"""An array that watches how it is read."""

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pytest


class Watched:
    """An array like one on disk: it counts reads and refuses to be read by more than one entry of its first axis."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = values
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim
        self.reads = list[Any]()

    def __getitem__(self, index: Any) -> np.ndarray:
        part = self._values[index]
        assert part.size <= self._values[0].size, f"More than one frame was read at once: {index}."
        if part.size:  # dask looks at an empty part to learn the type
            self.reads.append(index)
        return part

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise AssertionError("The array was read whole.")


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[[np.ndarray], Watched]:
    """Make a watched array; dask arrays of more than a frame refuse to be computed as long as the test runs."""
    compute = da.Array.compute

    def wrap(values: np.ndarray) -> Watched:
        def guarded(self: da.Array, **options: Any) -> Any:
            assert self.size <= values[0].size, f"A dask array of shape {self.shape} was computed whole."
            return compute(self, **options)

        monkeypatch.setattr(da.Array, "compute", guarded)
        return Watched(values)

    return wrap
