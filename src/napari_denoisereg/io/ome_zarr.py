"""OME-Zarr (OME-NGFF 0.4 and 0.5), read lazily and written frame by frame.

Chunks hold one frame, or one tile of it, so that a viewer reads only what it shows. Besides what OME-NGFF asks for, the
group's attribute ``"napari-denoisereg"`` keeps the history of the stack (the recipe). An image is written into a folder
beside its place and moved there at the end, so a run that is cancelled or killed leaves the old or the complete new one.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
import zarr.errors
from zarr.codecs import BloscCodec, Crc32cCodec

from napari_denoisereg.atomic import check_writable, find, replacing
from napari_denoisereg.io import ngff
from napari_denoisereg.io.blosc_chunks import WholeChunks, ends_with_blosc
from napari_denoisereg.io.pieces import Array, Pieces, lazy, n_bytes
from napari_denoisereg.stack import AXES, Stack
from napari_denoisereg.steps import Pace, Progress, Steps

OURS = "napari-denoisereg"
LARGEST_CHUNK = 1024  # pixels along y and x
SMALLEST_CHUNK = 2**18  # bytes; thinner planes of a volume are put together
Version = Literal["0.4", "0.5"]


def read(path: str | Path, *, axes: str | None = None, name: str | None = None) -> Stack:
    """Read an OME-Zarr image, or a plain zarr array, lazily.

    Parameters
    ----------
    path : str or Path
        Folder of the image (may lie inside a larger zarr: ``result.zarr/aligned``).
    axes : str, optional
        What the dimensions are; by default what the metadata says.
    name : str, optional
        Name of the stack.

    Returns
    -------
    Stack
        Level 0 of the image; data is a dask array that reads chunk by chunk. A single image (axes ``"yx"``, ``"cyx"``) is a
        stack of one frame, see `Stack.of_image`.

    Raises
    ------
    FileNotFoundError
        When there is no such folder.
    ValueError
        When it is no image, or parts of it are missing.
    """
    source = find(path)
    node = _open(source)
    if isinstance(node, zarr.Array):
        return _bare_array(node, source, axes, name)
    attributes = dict(node.attrs)
    image = ngff.multiscales(attributes)
    if image is None and "bioformats2raw.layout" in ngff.described(attributes) and "0" in node:
        return read(source / "0", axes=axes, name=name)
    if image is None:
        raise ValueError(_no_image(node, attributes, source))
    try:
        array = node[str(image["datasets"][0]["path"])]
        if not isinstance(array, zarr.Array):
            raise TypeError("level 0 is a group")
        place = ngff.placement(image, array.ndim)
    except (KeyError, TypeError, ValueError, IndexError, zarr.errors.BaseZarrError) as error:
        raise ValueError(
            f"{source} is no complete OME-Zarr image ({type(error).__name__}: {error}); copy or export it again."
        ) from error
    _check_chunks(array, source)
    letters = (axes or place.axes).lower()
    _check_letters(letters, array.shape, source)
    keep = {axis: n for n, axis in enumerate(letters)}
    ordered = "".join(axis for axis in AXES if axis in letters)
    return _kind(ordered)(
        _lazy(array, source).transpose(tuple(keep[axis] for axis in ordered)),
        ordered,
        spacing=tuple(place.spacing[keep[axis]] for axis in ordered),
        origin=tuple(place.origin[keep[axis]] for axis in ordered),
        units=tuple(place.units[keep[axis]] for axis in ordered),
        name=name or place.name or source.name.split(".")[0] or source.name,
        history=_history(attributes.get(OURS)),
    )


def write(
    stack: Stack,
    path: str | Path,
    *,
    overwrite: bool = False,
    version: Version = "0.5",
    levels: int = 1,
    compressed: bool = True,
) -> Steps[Path]:
    """Write a stack as OME-Zarr, frame by frame.

    Parameters
    ----------
    stack : Stack
        What to write; a lazy one is never in memory whole.
    path : str or Path
        The folder to make.
    overwrite : bool
        Whether an earlier zarr there may be replaced; it stays until the end.
    version : {"0.4", "0.5"}
        Of OME-NGFF: 0.4 is zarr 2, 0.5 is zarr 3.
    levels : int
        Number of resolution levels; each halves y and x.
    compressed : bool
        Whether to compress (Zstandard).

    Returns
    -------
    Steps of Path
        Long work; closing it leaves nothing behind.

    Raises
    ------
    OSError
        See `check_writable`; before anything is computed.
    ValueError
        For an unknown version or number of levels.
    """
    target = Path(path)
    if version not in ngff.VERSIONS or levels < 1:
        raise ValueError(
            f"Expected version '0.4' or '0.5' and at least one level, got {version!r} and {levels}; pass e.g. version='0.5'."
        )
    # Every further level takes a quarter of the one before.
    check_writable(target, int(n_bytes(stack.shape, stack.dtype) * (4 - 0.25 ** (levels - 1)) / 3), overwrite=overwrite)
    return _write(stack, target, overwrite, version, levels, compressed)


def write_into(
    stack: Stack, folder: Path, *, version: Version = "0.5", levels: int = 1, compressed: bool = True
) -> Steps[Path]:
    """Write an image into a folder that the caller puts in place (see `replacing`), e.g. beside other results.

    Parameters
    ----------
    stack : Stack
        What to write.
    folder : Path
        The image's own folder; made here.
    version, levels, compressed
        See `write`.

    Returns
    -------
    Steps of Path
        Long work; when it is closed the caller deletes what is there.
    """
    axes = "".join(axis for axis in AXES if axis in stack.outer_axes)
    group = zarr.create_group(folder, zarr_format=2 if version == "0.4" else 3)
    arrays = [_create(group, stack, axes, level, compressed) for level in range(levels)]
    pace = Pace()
    for number in range(stack.n_frames):
        for channel in range(stack.n_channels):
            frame = stack.frame(number, channel)
            for array in arrays:
                array[_index(stack, axes, number, channel)] = frame
                frame = _halved(frame) if levels > 1 else frame
        if number + 1 < stack.n_frames and pace.is_due():
            yield Progress(number + 1, stack.n_frames, f"writing {stack.name}")
    ours = {OURS: {"history": list(stack.history)}}
    group.update_attributes(ngff.image_attributes(stack, axes, version, levels) | ours)
    yield Progress(stack.n_frames, stack.n_frames, f"writing {stack.name}")
    return folder


def images_in(path: str | Path) -> list[str]:
    """Names of the images directly inside a zarr group.

    Parameters
    ----------
    path : str or Path
        E.g. what ``denoisereg run`` wrote.

    Returns
    -------
    list of str
        Sorted; each can be read as ``path/name``.
    """
    node = _open(find(path))
    groups = node.groups() if isinstance(node, zarr.Group) else ()
    return sorted(name for name, group in groups if ngff.multiscales(dict(group.attrs)) is not None)


def _write(stack: Stack, target: Path, overwrite: bool, version: Version, levels: int, compressed: bool) -> Steps[Path]:
    with replacing(target, overwrite=overwrite) as part:
        yield from write_into(stack, part, version=version, levels=levels, compressed=compressed)
    return target


def _create(group: zarr.Group, stack: Stack, axes: str, level: int, compressed: bool) -> Any:
    sizes = dict(zip(stack.axes, stack.shape, strict=True))
    shape = tuple(-(-sizes[axis] // 2**level) if axis in "yx" else sizes[axis] for axis in axes)
    chunks = _chunks(axes, shape, stack)
    old = group.metadata.zarr_format == 2
    compressors: Any = None
    if compressed:
        # Blosc alone is what every reader of version 0.4 knows; version 0.5 has checksums, too.
        blosc = {"id": "blosc", "cname": "zstd", "clevel": 3, "shuffle": 1}
        compressors = blosc if old else (BloscCodec(cname="zstd", clevel=3), Crc32cCodec())
    return group.create_array(
        str(level),
        shape=shape,
        chunks=chunks,
        dtype=stack.dtype.newbyteorder("="),
        compressors=compressors,
        chunk_key_encoding={"name": "v2" if old else "default", "separator": "/"},
        dimension_names=None if old else list(axes),
        fill_value=0,
        config={"write_empty_chunks": True},
        attributes={OURS: {"every_chunk_written": True}},  # so that a missing chunk is known to be lost
    )


def _chunks(axes: str, shape: Sequence[int], stack: Stack) -> tuple[int, ...]:
    sizes = dict(zip(axes, shape, strict=True))
    chunk = {axis: 1 if axis in "tcz" else min(sizes[axis], LARGEST_CHUNK) for axis in axes}
    if "z" in stack.spatial_axes:
        plane = chunk["y"] * chunk["x"] * stack.dtype.itemsize
        chunk["z"] = max(1, min(sizes["z"], SMALLEST_CHUNK // plane))
    return tuple(chunk[axis] for axis in axes)


def _index(stack: Stack, axes: str, number: int, channel: int) -> tuple[int | slice, ...]:
    fixed = {stack.frame_axis: number, "c": channel}
    return tuple(fixed.get(axis, slice(None)) for axis in axes)


def _halved(frame: Array) -> Array:
    """Mean of 2 × 2 pixels in y and x; odd edges repeat their last pixel."""
    padding = [(0, 0)] * (frame.ndim - 2) + [(0, size % 2) for size in frame.shape[-2:]]
    padded = np.pad(frame, padding, mode="edge")
    blocks = padded.reshape(*padded.shape[:-2], padded.shape[-2] // 2, 2, padded.shape[-1] // 2, 2)
    mean = blocks.mean(axis=(-3, -1), dtype=np.float64)
    return (mean if frame.dtype.kind == "f" else np.rint(mean)).astype(frame.dtype)


def _open(source: Path) -> Any:
    if not source.is_dir():
        raise ValueError(f"Expected a zarr folder, got the file {source}; pass the folder, or unzip it first.")
    try:
        return zarr.open(source, mode="r")
    except (FileNotFoundError, AttributeError, KeyError, TypeError, ValueError, zarr.errors.BaseZarrError) as error:
        raise ValueError(
            f"{source} is no zarr, or its metadata is lost ({type(error).__name__}: {error}); expected a folder with "
            "zarr.json or .zgroup. Copy or export it again."
        ) from error


def _lazy(array: Any, source: Path) -> Any:
    """Read whole chunks, several small ones at once."""
    chunks = []
    for axis, (size, chunk) in enumerate(zip(array.shape, array.chunks, strict=True)):
        several = max(1, LARGEST_CHUNK // chunk) if axis >= array.ndim - 2 else 1
        chunks.append(min(size, chunk * several))
    read_part = WholeChunks(array, source / array.path) if ends_with_blosc(array) else array.__getitem__
    return lazy(Pieces(read_part, array.shape, array.dtype, source), chunks)


def _history(ours: Any) -> tuple[Mapping[str, Any], ...]:
    """What was done to the stack; empty where somebody else uses our key."""
    history = ours.get("history", ()) if isinstance(ours, Mapping) else ()
    return tuple(history) if isinstance(history, list) and all(isinstance(step, Mapping) for step in history) else ()


def _bare_array(array: Any, source: Path, axes: str | None, name: str | None) -> Stack:
    names = getattr(array.metadata, "dimension_names", None) or ()
    letters = axes or "".join(str(each).lower() for each in names)
    if not letters:
        example = "tczyx"[-array.ndim :] if array.ndim != 3 else "tyx"
        raise ValueError(f"{source} is a plain zarr array of shape {array.shape}; say its axes, e.g. axes={example!r}.")
    _check_letters(letters.lower(), array.shape, source)
    data = _lazy(array, source)
    ordered = "".join(axis for axis in AXES if axis in letters.lower())
    return _kind(ordered)(
        data.transpose(tuple(letters.lower().index(axis) for axis in ordered)), ordered, name=name or source.name.split(".")[0]
    )


def _kind(axes: str) -> Callable[..., Stack]:
    return Stack if {"t", "z"} & set(axes) else Stack.of_image


def _check_letters(letters: str, shape: Sequence[int], source: Path) -> None:
    if len(letters) != len(shape) or len(set(letters)) < len(letters) or not {"y", "x"} <= set(letters) <= set(AXES):
        raise ValueError(
            f"Expected axes with {len(shape)} different letters of {AXES!r} for {source} of shape {tuple(shape)}, got "
            f"{letters!r}; pass axes=..."
        )


def _check_chunks(array: Any, source: Path) -> None:
    """Images written here have every chunk, so a copy that lost some can be told from an empty region."""
    ours = dict(array.attrs).get(OURS, {})
    if ours.get("every_chunk_written") and (lost := array.nchunks - array.nchunks_initialized):
        raise ValueError(f"{source} is not complete: {lost} of {array.nchunks} chunks are missing; copy it again.")


def _no_image(node: zarr.Group, attributes: dict[str, Any], source: Path) -> str:
    inside = sorted(name for name, group in node.groups() if ngff.multiscales(dict(group.attrs)) is not None)
    if inside:
        return f"{source} holds several images ({', '.join(inside)}); read one of them, e.g. {source / inside[0]}."
    if "plate" in ngff.described(attributes):
        return f"{source} is a plate of many images; read one field of it, e.g. {source / 'A' / '1' / '0'}."
    return f"{source} is a zarr group without an OME-Zarr image; expected 'multiscales' in its attributes."
