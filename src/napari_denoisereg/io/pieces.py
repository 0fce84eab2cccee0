"""Arrays that are read piece by piece when someone looks, and say so clearly when a piece cannot be read."""

import math
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Pieces:
    """What dask reads from: shape, dtype and basic slicing; values in native byte order.

    Parameters
    ----------
    read : callable
        Called with an index of slices, one per axis; returns the values.
    shape : sequence of int
        Of the whole.
    dtype : dtype
        Of the values, any byte order.
    path : Path
        Named in errors.
    """

    def __init__(self, read: Callable[[tuple[slice, ...]], Array], shape: Sequence[int], dtype: Any, path: Path) -> None:
        self._read = read
        self._path = path
        self.shape = tuple(int(size) for size in shape)
        self.dtype = np.dtype(dtype).newbyteorder("=")
        self.ndim = len(self.shape)

    def __getitem__(self, index: Any) -> Array:
        """Read a part.

        Raises
        ------
        ValueError
            When the file cannot be decoded there.
        """
        slices = _as_slices(index, self.shape)
        try:
            values = np.asarray(self._read(slices))
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, zlib.error) as error:
            where = tuple(part.start for part in slices)
            raise ValueError(
                f"{self._path} cannot be read at index {where} ({type(error).__name__}: {error}); the file is damaged "
                "or was cut off while copying. Copy it again."
            ) from error
        dropped = tuple(0 if isinstance(part, (int, np.integer)) else slice(None) for part in _full(index, self.ndim))
        return np.array(values[dropped], dtype=self.dtype, order="C")  # a copy: no piece keeps a file mapped


def lazy(pieces: Pieces, chunks: Sequence[int]) -> da.Array:
    """Make a dask array that reads `Pieces`.

    Parameters
    ----------
    pieces : Pieces
        What to read.
    chunks : sequence of int
        How much at once, per axis.

    Returns
    -------
    dask.array.Array
        Nothing is read yet.
    """
    meta = np.empty((0,) * pieces.ndim, pieces.dtype)  # so that nothing is read to learn the type
    # name=False: the file's content is not hashed; inline_array: a part of a frame is read as a part.
    return da.from_array(pieces, chunks=tuple(chunks), name=False, asarray=False, inline_array=True, meta=meta)


def n_bytes(shape: Sequence[int], dtype: Any) -> int:
    """Size of an array.

    Parameters
    ----------
    shape : sequence of int
        Its shape.
    dtype : dtype
        Its type.

    Returns
    -------
    int
        Bytes, uncompressed.
    """
    return math.prod(int(size) for size in shape) * np.dtype(dtype).itemsize


def _full(index: Any, ndim: int) -> tuple[Any, ...]:
    parts = index if isinstance(index, tuple) else (index,)
    return (*parts, *(slice(None),) * (ndim - len(parts)))


def _as_slices(index: Any, shape: Sequence[int]) -> tuple[slice, ...]:
    """Every axis as a slice with start, stop and step 1 or more."""
    slices = []
    for part, size in zip(_full(index, len(shape)), shape, strict=True):
        if isinstance(part, (int, np.integer)):
            start = int(part) % size
            slices.append(slice(start, start + 1, 1))
        else:
            slices.append(slice(*part.indices(size)))
    return tuple(slices)
