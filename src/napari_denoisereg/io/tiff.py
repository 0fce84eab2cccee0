"""TIFF, ImageJ hyperstacks and OME-TIFF, read lazily and written frame by frame.

Reading opens the file, checks that nothing is cut off, and reads a page when someone looks at it. Writing makes an ImageJ
hyperstack (``.tif``; uint8, uint16, float32, one unit for all spatial axes, below 4 GB) or an OME-TIFF (``.ome.tif`` and
everything else); pages are in the order t, z, c, so that Fiji shows both with the right axes.
"""

import itertools
import os
import re
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import tifffile

from napari_denoisereg.atomic import check_writable, find, replacing
from napari_denoisereg.geometry.units import canonical
from napari_denoisereg.io.pieces import Array, Pieces, lazy, n_bytes
from napari_denoisereg.io.tiff_metadata import read_calibration, to_imagej, to_ome
from napari_denoisereg.io.tiff_structure import check_complete
from napari_denoisereg.stack import AXES, Stack
from napari_denoisereg.steps import Pace, Progress, Steps

IMAGEJ_TYPES = ("uint8", "uint16", "float32")
OME_TYPES = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64")
CLASSIC_LIMIT = 2**32 - 2**25  # bytes; room for the directories


def read(path: str | Path, *, axes: str | None = None, name: str | None = None) -> Stack:
    """Read a TIFF, ImageJ or OME-TIFF lazily.

    Parameters
    ----------
    path : str or Path
        The file.
    axes : str, optional
        What the dimensions are, e.g. ``"tyx"``, in the order of the file; by default what the file says, and ``"t"`` where
        it does not say what the pages are.
    name : str, optional
        Name of the stack, the file's by default.

    Returns
    -------
    Stack
        Axes in the order ``tczyx``, those of length 1 left out; data is a dask array that reads page by page. A single image
        is a stack of one frame, see `Stack.of_image`.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        For colour images, files that are cut off, and axes that do not fit.
    """
    source = find(path)
    check_complete(source)
    try:
        file = tifffile.TiffFile(source)
    except (tifffile.TiffFileError, OSError, IndexError, KeyError, ValueError) as error:
        raise ValueError(f"{source} cannot be read as TIFF ({error}); export it again as TIFF.") from error
    keep_open = False
    try:
        number = max(range(len(file.series)), key=lambda each: file.series[each].size)  # not a thumbnail or label
        series = file.series[number]
        full = _with_axes_of_one(file, number)
        _refuse_colour(series, axes, source)
        _check_pages(file, series, source)
        calibration = read_calibration(file, number)
        reader: _Mapped | _Paged
        if series.dataoffset is not None and not series.is_multifile:
            dtype = np.dtype(file.byteorder + series.dtype.char)
            reader = _Mapped(source, dtype, series.dataoffset, series.shape)
        else:
            reader, keep_open = _Paged(file, number), True
    finally:
        if not keep_open:
            file.close()
    chunks = (1,) * (len(series.shape) - reader.page_ndim) + tuple(series.shape[-reader.page_ndim :])
    data = lazy(Pieces(reader, series.shape, series.dtype, source), chunks)
    data, letters = _arranged(data, series, full, axes, source)
    stem = source.name.split(".")[0] or source.name
    make = Stack if {"t", "z"} & set(letters) else Stack.of_image
    return make(data, letters, name=name or stem, **calibration.arguments(letters))


def write(
    stack: Stack, path: str | Path, *, overwrite: bool = False, compression: str | None = None, ome: bool | None = None
) -> Steps[Path]:
    """Write a stack as TIFF, frame by frame.

    Parameters
    ----------
    stack : Stack
        What to write; a lazy one is never in memory whole.
    path : str or Path
        The file.
    overwrite : bool
        Whether an earlier file may be replaced; it stays until the end.
    compression : str, optional
        E.g. ``"zlib"``, ``"zstd"``; none by default.
    ome : bool, optional
        Whether to write OME-TIFF; by default for ``.ome.tif`` and for what ImageJ's own format cannot hold.

    Returns
    -------
    Steps of Path
        Long work; closing it leaves nothing behind.

    Raises
    ------
    OSError
        See `check_writable`; before anything is computed.
    ValueError
        When TIFF cannot hold the type or the units.
    """
    target = Path(path)
    size = n_bytes(stack.shape, stack.dtype)
    check_writable(target, size, overwrite=overwrite)
    if ome is None:
        ome = ".ome." in target.name.lower() or not _fits_imagej(stack, size)
    description, arguments = _description(stack, ome)
    arguments |= {"photometric": "minisblack", "metadata": None, "software": "napari-denoisereg"}
    return _write(stack, target, overwrite, size, arguments | {"compression": compression, "description": description})


def _write(stack: Stack, target: Path, overwrite: bool, size: int, arguments: dict[str, Any]) -> Steps[Path]:
    pace = Pace()
    rest = {name: value for name, value in arguments.items() if name not in ("description", "extratags")}
    bigtiff = size > CLASSIC_LIMIT
    with replacing(target, overwrite=overwrite) as part, tifffile.TiffWriter(part, bigtiff=bigtiff, byteorder="<") as file:
        for number in range(stack.n_frames):
            for plane, page in enumerate(_pages(stack, number)):
                first = number == 0 and plane == 0
                file.write(page, contiguous=False, **(arguments if first else rest))
            if number + 1 < stack.n_frames and pace.is_due():
                yield Progress(number + 1, stack.n_frames, f"writing {target.name}")
    yield Progress(stack.n_frames, stack.n_frames, f"writing {target.name}")
    return target


class _Mapped:
    """Reads from a file whose pixels follow each other: nothing is held open, and it can be sent to other processes."""

    def __init__(self, path: Path, dtype: np.dtype[Any], offset: int, shape: tuple[int, ...]) -> None:
        self._arguments: dict[str, Any] = {"dtype": dtype, "mode": "r", "offset": offset, "shape": shape}
        self._path = path
        self.page_ndim = 2

    def __call__(self, index: tuple[slice, ...]) -> Array:
        return np.memmap(self._path, **self._arguments)[index]


class _Paged:
    """Reads page by page from a file that stays open as long as someone may look at it."""

    def __init__(self, file: tifffile.TiffFile, number: int) -> None:
        series = file.series[number]
        self._file, self._number, self._series = file, number, series
        self._lock = threading.Lock()
        self._close = weakref.finalize(self, file.close)
        self.page_ndim = next(n for n in range(1, 5) if np.prod(series.shape[-n:]) == series.keyframe.size)
        self._lead = tuple(series.shape[: -self.page_ndim])

    def __reduce__(self) -> tuple[Any, ...]:
        return _paged, (self._file.filehandle.path, self._number)

    def __call__(self, index: tuple[slice, ...]) -> Array:
        lead, inner = index[: len(self._lead)], index[len(self._lead) :]
        numbers = [range(size)[part] for size, part in zip(self._lead, lead, strict=True)]
        pages = [self._page(place)[inner] for place in itertools.product(*numbers)]
        return np.stack(pages).reshape(*(len(each) for each in numbers), *pages[0].shape)

    def _page(self, place: tuple[int, ...]) -> Array:
        number = int(np.ravel_multi_index(place, self._lead)) if place else 0
        with self._lock:  # One file position is shared by all threads.
            page = self._series.pages[number]
            values: Array = np.empty(0) if page is None else page.asarray()  # None is refused when opening
        return values.reshape(self._series.shape[-self.page_ndim :])


def _paged(path: str, number: int) -> _Paged:
    return _Paged(tifffile.TiffFile(path), number)


def _refuse_colour(series: tifffile.TiffPageSeries, axes: str | None, path: Path) -> None:
    meaning = getattr(series.keyframe.photometric, "name", "")
    colour = meaning in ("RGB", "YCBCR", "SEPARATED", "CIELAB")  # a palette is only a look-up table on intensities
    samples = "S" in series.axes and series.shape[series.axes.index("S")] > 1
    if (colour or samples) and not (axes and samples):
        example = series.axes.lower().replace("s", "c").replace("i", "t").replace("q", "t")
        # Some programs write 3 or 4 frames of a movie as the colours of one image.
        frames = f" If it holds {series.shape[0]} frames of a movie, say axes='tyx'." if series.axes == "SYX" else ""
        raise ValueError(
            f"{path} is a colour (RGB) image of shape {series.shape}, expected intensities; convert it to greyscale first, or "
            f"say that the colours are channels, e.g. axes={example!r}.{frames}"
        )


def _check_pages(file: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path) -> None:
    missing = sum(page is None for page in series.pages)
    if missing:
        raise ValueError(
            f"{path} lacks {missing} of its {len(series.pages)} planes (other files of the same OME-TIFF set?); "
            "put all files of the set into one folder."
        )
    first = file.pages.first
    announced = re.search(r"^images=(\d+)$", first.description, re.MULTILINE) if file.is_imagej else None
    # Above 4 GB ImageJ writes a directory for the first page only, the others just follow.
    n_following = int(announced.group(1)) if announced and len(file.pages) == 1 and first.is_contiguous else 1
    end = first.dataoffsets[0] + n_following * first.nbytes if first.is_contiguous else 0
    if end > path.stat().st_size:
        raise ValueError(
            f"{path} is cut off: its pixels should end at byte {end}, but the file ends after {path.stat().st_size} bytes; "
            "copy or export it again."
        )


def _with_axes_of_one(file: tifffile.TiffFile, number: int) -> tuple[tuple[int, ...], str]:
    """Shape and axes of a series, with those of length 1."""
    if callable(file.series):  # tifffile 2026.5.2 and later
        series = file.series(squeeze=False)[number]
        return tuple(series.shape), series.axes
    series = file.series[number]
    return tuple(series.get_shape(squeeze=False)), series.get_axes(squeeze=False)


def _arranged(
    data: da.Array, series: tifffile.TiffPageSeries, whole: tuple[tuple[int, ...], str], axes: str | None, path: Path
) -> tuple[da.Array, str]:
    """Name the axes, drop those of length 1, and put the rest into our order; ``whole`` of `_with_axes_of_one`."""
    full, named = whole
    if axes is None:
        letters = _named(named, full, path)
        kept = [n for n, size in enumerate(full) if size > 1 or letters[n] in "yx"]
        shape, letters = tuple(full[n] for n in kept), "".join(letters[n] for n in kept)
    else:
        letters = axes.lower()
        fitting = [shape for shape in (tuple(series.shape), full) if len(shape) == len(letters)]
        if not fitting or len(set(letters)) < len(letters) or not {"y", "x"} <= set(letters) <= set(AXES):
            raise ValueError(
                f"Expected axes with {len(series.shape)} different letters of {AXES!r} for {path} of shape {series.shape}, "
                f"got {axes!r}; the file itself says {series.axes!r}."
            )
        shape = fitting[0]
    ordered = "".join(axis for axis in AXES if axis in letters)
    return data.reshape(shape).transpose(tuple(letters.index(axis) for axis in ordered)), ordered


def _named(axes: str, shape: tuple[int, ...], path: Path) -> str:
    """Our letters for tifffile's: a single unknown axis is time, or depth where there is time already."""
    letters = list(axes.lower())
    unknown = [n for n, letter in enumerate(letters) if letter not in AXES and shape[n] > 1]
    if len(unknown) > 1 or (unknown and {"t", "z"} <= set(letters)):
        raise ValueError(
            f"{path} has shape {shape} with dimensions {axes!r} whose meaning is not known; say what they are, e.g. "
            f"axes={'tczyx'[-len(shape) :]!r}."
        )
    if unknown:
        letters[unknown[0]] = "z" if "t" in letters else "t"
    spare = iter("0123456789")  # axes of length 1 that will be dropped
    return "".join(letter if letter in AXES else next(spare) for letter in letters)


def _fits_imagej(stack: Stack, size: int) -> bool:
    units = {canonical(unit) for axis, unit in zip(stack.axes, stack.units, strict=True) if axis in "zyx"}
    steps = [step for axis, step in zip(stack.axes, stack.spacing, strict=True) if axis in "yx"]
    is_rational = all(1e-6 <= step <= 1e6 for step in steps)  # what resolution tags hold to six digits
    starts_at_0 = "t" not in stack.axes or not stack.origin[stack.axes.index("t")]  # ImageJ has no place for it
    is_held = is_rational and starts_at_0 and len(units) == 1
    return stack.dtype.name in IMAGEJ_TYPES and is_held and size <= CLASSIC_LIMIT


def _description(stack: Stack, ome: bool) -> tuple[bytes, dict[str, Any]]:
    if not ome:
        text, arguments = to_imagej(stack)
        return text.encode("ascii"), arguments
    if stack.dtype.name not in OME_TYPES:
        raise ValueError(
            f"TIFF programs cannot read {stack.dtype} ({stack.name!r}); convert it, e.g. to float32, or write .ome.zarr."
        )
    return to_ome(stack).encode("utf-8"), {}


def _pages(stack: Stack, number: int) -> Iterator[Array]:
    """Planes of one frame in the order z, c; at most one frame of every channel is in memory."""
    channels = [stack.frame(number, channel) for channel in range(stack.n_channels)]
    planes = [channel.reshape(-1, *channel.shape[-2:]) for channel in channels]
    for depth in range(len(planes[0])):
        for plane in planes:
            yield np.ascontiguousarray(plane[depth], dtype=stack.dtype.newbyteorder("="))


def is_tiff(path: str | Path) -> bool:
    """Whether a name is that of a TIFF.

    Parameters
    ----------
    path : str or Path
        A file name.

    Returns
    -------
    bool
        True for ``.tif`` and ``.tiff``, in any case.
    """
    return os.fspath(path).lower().endswith((".tif", ".tiff"))
