"""Zarr arrays compressed with Blosc, the default of OME-Zarr 0.4: chunks that were cut off are refused.

Blosc decodes a chunk that lacks its end to whatever lies in memory behind it, and tells nobody. The chunk's header says how
long it is, so that is compared with the file's length before the chunk is read.

References
----------
https://github.com/Blosc/c-blosc/blob/main/README_CHUNK_FORMAT.rst
"""

import itertools
from pathlib import Path
from typing import Any

from napari_denoisereg.io.pieces import Array

HEADER = 16  # bytes
COMPRESSED_SIZE = slice(12, 16)  # of the header


class WholeChunks:
    """Reads an array in a folder; what `Pieces` reads with.

    Parameters
    ----------
    array : zarr.Array
        Its chunks, not shards, end with Blosc, see `ends_with_blosc`.
    folder : Path
        Where its chunks are.
    """

    def __init__(self, array: Any, folder: Path) -> None:
        self._array = array
        self._folder = folder

    def __call__(self, index: tuple[slice, ...]) -> Array:
        """Read a part.

        Raises
        ------
        OSError
            When a chunk is shorter than it says.
        """
        chunks = [
            range(part.start // size, -(-part.stop // size)) for part, size in zip(index, self._array.chunks, strict=True)
        ]
        for place in itertools.product(*chunks):
            self._check(self._folder / self._array.metadata.encode_chunk_key(place))
        values: Array = self._array[index]
        return values

    def _check(self, path: Path) -> None:
        if not path.is_file():  # an empty region
            return
        with path.open("rb") as file:
            header = file.read(HEADER)
        length, stated = path.stat().st_size, int.from_bytes(header[COMPRESSED_SIZE], "little")
        if len(header) < HEADER or length < stated:
            raise OSError(f"chunk {path.name} has {length} of {max(stated, HEADER)} bytes")


def ends_with_blosc(array: Any) -> bool:
    """Whether the files of an array are Blosc's.

    Parameters
    ----------
    array : zarr.Array
        Version 2 or 3.

    Returns
    -------
    bool
        False for shards, which hold several chunks.
    """
    return array.shards is None and bool(array.compressors) and type(array.compressors[-1]).__name__ in ("Blosc", "BloscCodec")
