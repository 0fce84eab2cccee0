"""Is a TIFF file all there? Its chain of directories is followed and compared with the length of the file.

A TIFF that was cut off while copying still opens: what is missing at its end is silently left out, so that a movie has
fewer frames or loses its calibration. Only the directories are read here, never the pixels.

References
----------
TIFF Revision 6.0, Adobe 1992, section 2; BigTIFF, https://www.awaresystems.be/imaging/tiff/bigtiff.html
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

STRIP_OFFSETS, STRIP_COUNTS, TILE_OFFSETS, TILE_COUNTS, LSM_INFO = 273, 279, 324, 325, 34412
_VALUE_SIZE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_VALUE_TYPE = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}


class _CutError(Exception):
    """The file ends before what it announces."""


@dataclass(frozen=True)
class _Layout:
    """How directories are written: byte order and sizes of classic TIFF or BigTIFF."""

    order: str
    count: str
    entry: str
    pointer: str

    def size(self, part: str) -> int:
        return struct.calcsize(self.order + part)


@dataclass(frozen=True)
class _Entry:
    """One tag: what type, how many values, and where they are."""

    kind: int
    count: int
    offset: int

    @property
    def n_bytes(self) -> int:
        return _VALUE_SIZE.get(self.kind, 1) * self.count


def check_complete(path: Path) -> None:
    """Refuse a TIFF whose end is missing.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    ValueError
        When it is no TIFF, or something it announces lies beyond its end.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            for _ in _directories(file, size):
                pass
        except _CutError as error:
            raise ValueError(
                f"{path} is cut off: {error}, but the file ends after {size} bytes; copy or export it again."
            ) from None
        except struct.error:
            raise ValueError(f"{path} is cut off: it ends after {size} bytes; copy or export it again.") from None


def _directories(file: BinaryIO, size: int) -> Iterator[int]:
    """Follow the chain, checking each directory; yields their offsets."""
    layout, offset = _read_header(file)
    seen: set[int] = set()
    while offset and offset not in seen:
        seen.add(offset)
        number = len(seen)
        if offset + layout.size(layout.count) > size:
            raise _CutError(f"directory {number} should be at byte {offset}")
        file.seek(offset)
        (n_entries,) = struct.unpack(layout.order + layout.count, file.read(layout.size(layout.count)))
        length = n_entries * layout.size(layout.entry)
        body = file.read(length + layout.size(layout.pointer))
        entries_at = offset + layout.size(layout.count)
        _check_page(file, _entries(body[:length], entries_at, layout), layout, size, number)
        yield offset
        (offset,) = struct.unpack(layout.order + layout.pointer, body[length:])


def _read_header(file: BinaryIO) -> tuple[_Layout, int]:
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    version = struct.unpack(order + "H", start[2:4])[0] if order and len(start) >= 8 else None
    if order is None or version not in (42, 43):
        raise ValueError(f"{file.name} is no TIFF file (or its first bytes are lost); expected a .tif written as TIFF.")
    if version == 42:
        return _Layout(order, "H", "HHI4s", "I"), struct.unpack(order + "I", start[4:8])[0]
    return _Layout(order, "Q", "HHQ8s", "Q"), struct.unpack(order + "Q", start[8:16])[0]


def _entries(body: bytes, start: int, layout: _Layout) -> dict[int, _Entry]:
    entries = {}
    step, inline = layout.size(layout.entry), layout.size(layout.pointer)
    for number, (tag, kind, count, value) in enumerate(struct.iter_unpack(layout.order + layout.entry, body)):
        entry = _Entry(kind, count, start + (number + 1) * step - inline)
        if entry.n_bytes > inline:
            entry = _Entry(kind, count, struct.unpack(layout.order + layout.pointer, value)[0])
        entries[tag] = entry
    return entries


def _check_page(file: BinaryIO, entries: dict[int, _Entry], layout: _Layout, size: int, number: int) -> None:
    for tag, entry in entries.items():
        if entry.offset + entry.n_bytes > size:
            raise _CutError(f"tag {tag} of page {number} should end at byte {entry.offset + entry.n_bytes}")
    for offsets_tag, counts_tag in ((STRIP_OFFSETS, STRIP_COUNTS), (TILE_OFFSETS, TILE_COUNTS)):
        if offsets_tag not in entries:
            continue
        ends = _values(file, entries[offsets_tag], layout)
        if counts_tag in entries and LSM_INFO not in entries:  # LSM files state the uncompressed sizes
            counts = _values(file, entries[counts_tag], layout)
            ends = np.where(counts > 0, ends + counts, 0) if len(counts) == len(ends) else ends
        if len(ends) and int(ends.max()) > size:
            raise _CutError(f"the pixels of page {number} should end at byte {int(ends.max())}")


def _values(file: BinaryIO, entry: _Entry, layout: _Layout) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    file.seek(entry.offset)
    kind = _VALUE_TYPE.get(entry.kind, "u4")
    return np.frombuffer(file.read(entry.n_bytes), layout.order + kind).astype(np.uint64)
