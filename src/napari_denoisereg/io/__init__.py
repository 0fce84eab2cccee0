"""Files in, files out: stacks (TIFF, OME-Zarr), transforms (zarr, ITK, CSV), keypoints and other marks (CSV).

Everything written is complete or not there: results are made beside their place and moved there at the end. Reading never
changes a file. Images are lazy both ways: one frame at a time.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_denoisereg.atomic import check_apart, check_writable, replacing
from napari_denoisereg.geometry.units import canonical
from napari_denoisereg.io import ome_zarr, tiff
from napari_denoisereg.io.keypoints import read_keypoints, write_keypoints
from napari_denoisereg.io.mark_tables import MarkTable, read_marks, write_marks
from napari_denoisereg.io.masks import read_mask
from napari_denoisereg.io.transforms import read_transforms, write_transforms
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Steps, finish

WRITTEN = (".tif", ".tiff", ".zarr")  # suffixes of stacks

__all__ = [
    "MarkTable",
    "check_apart",
    "check_suffix",
    "check_writable",
    "read",
    "read_keypoints",
    "read_marks",
    "read_mask",
    "read_transforms",
    "replacing",
    "write",
    "write_keypoints",
    "write_marks",
    "write_steps",
    "write_transforms",
]


def read(
    path: str | Path,
    *,
    axes: str | None = None,
    name: str | None = None,
    spacing: Sequence[float] = (),
    units: Sequence[str] = (),
) -> Stack:
    """Read a stack lazily.

    Parameters
    ----------
    path : str or Path
        ``.tif``, ``.tiff`` (plain, ImageJ, OME) or a zarr folder (OME-Zarr or plain).
    axes : str, optional
        What the dimensions are, e.g. ``"tyx"``; by default what the file says.
    name : str, optional
        Name of the stack, the file's by default.
    spacing : sequence of float
        Distance of voxels along each axis, by default what the file says.
    units : sequence of str
        Unit of each axis, by default what the file says.

    Returns
    -------
    Stack
        With spacing, origin and units; nothing but metadata is read yet. A single image is a stack of one frame, see
        `Stack.of_image`; what is made of it is written as a single image again.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        For other formats, colour images, damaged files, and axes that do not fit.
    """
    if tiff.is_tiff(path):
        stack = tiff.read(path, axes=axes, name=name)
    elif _is_zarr(path):
        stack = ome_zarr.read(path, axes=axes, name=name)
    else:
        raise ValueError(f"Expected a .tif, .tiff or .zarr to read, got {path}; export it to one of these, e.g. with Fiji.")
    if not spacing and not units:
        return stack
    steps, named = tuple(spacing), tuple(map(canonical, units))
    if stack.is_image:  # the axis of its one frame is not in the file
        steps, named = steps and (1.0, *steps), named and ("pixel", *named)
    # An origin in other units would put the stack somewhere else.
    return replace(stack, spacing=steps or stack.spacing, units=named or stack.units, origin=())


def check_suffix(path: str | Path, suffixes: Sequence[str] = WRITTEN) -> None:
    """Refuse a name for an output that says a format nobody here can write.

    Parameters
    ----------
    path : str or Path
        File or folder to be written.
    suffixes : sequence of str
        Those that are possible, e.g. ``(".zarr",)``; by default those of stacks.

    Raises
    ------
    ValueError
        For other suffixes.
    """
    if Path(path).suffix.lower() not in suffixes:
        raise ValueError(f"Expected a name ending in {' or '.join(suffixes)} to write, got {path}; change the suffix.")


def write(stack: Stack, path: str | Path, *, overwrite: bool = False, **options: Any) -> Path:
    """Write a stack.

    Parameters
    ----------
    stack : Stack
        What to write; a lazy one is never in memory whole.
    path : str or Path
        ``.tif``/``.tiff`` (ImageJ hyperstack where possible), ``.ome.tif`` (OME-TIFF) or ``.zarr`` (OME-Zarr).
    overwrite : bool
        Whether an earlier result may be replaced; it stays until the end.
    **options
        Of `tiff.write` or `ome_zarr.write`.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    OSError
        When the place cannot be written to; see `check_writable`.
    ValueError
        For other suffixes, and what the format cannot hold.
    """
    return finish(write_steps(stack, path, overwrite=overwrite, **options))


def write_steps(stack: Stack, path: str | Path, *, overwrite: bool = False, **options: Any) -> Steps[Path]:
    """Write a stack as long work that can be watched and cancelled; the place is checked before anything is computed.

    Parameters
    ----------
    stack, path, overwrite, **options
        See `write`.

    Returns
    -------
    Steps of Path
        What was written. Closed early it leaves everything as it was.

    Raises
    ------
    OSError, ValueError, TypeError
        See `write`.
    """
    if not isinstance(stack, Stack):
        raise TypeError(f"Expected a Stack to write, got {type(stack).__name__}; name its axes: Stack(array, axes='tyx').")
    check_suffix(path)
    if tiff.is_tiff(path):
        return tiff.write(stack, path, overwrite=overwrite, **options)
    return ome_zarr.write(stack, path, overwrite=overwrite, **options)


def _is_zarr(path: str | Path) -> bool:
    place = Path(path)
    return any(part.lower().endswith(".zarr") for part in place.parts) or place.is_dir()
