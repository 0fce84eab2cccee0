"""Results on disk: what ``denoisereg run`` and ``register`` write, and the picture that sums it up.

``OUT.zarr`` is one zarr group with an OME-Zarr image per result (``denoised``, ``aligned``) and ``transforms`` beside them
(see `io.transforms`). It is made beside its place and moved there at the end: a killed run leaves the old or the complete new
one.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from napari_denoisereg.atomic import check_writable, find, replacing
from napari_denoisereg.evaluation.denoising_trust import Trust
from napari_denoisereg.geometry import Grid
from napari_denoisereg.geometry.landmarks import Kind
from napari_denoisereg.io import ome_zarr, transforms_csv, transforms_zarr
from napari_denoisereg.io.keypoints import read_keypoints
from napari_denoisereg.io.transforms import read_transforms
from napari_denoisereg.judging import check_keypoints
from napari_denoisereg.pipeline import Result
from napari_denoisereg.register import Registration
from napari_denoisereg.stack import Stack
from napari_denoisereg.starts import from_keypoints
from napari_denoisereg.steps import Steps, portion

TRANSFORMS = "transforms"


def expected_bytes(stack: Stack) -> int:
    """Room a result needs at most, uncompressed: the aligned stack and a float32 denoised one.

    Parameters
    ----------
    stack : Stack
        The input.

    Returns
    -------
    int
        Bytes.
    """
    voxels = int(np.prod(stack.shape))
    return voxels * (4 + stack.dtype.itemsize)


def write_result(result: Result, path: str | Path, *, overwrite: bool = False, axes: str = "") -> Steps[Path]:
    """Write images and transforms into one zarr.

    Parameters
    ----------
    result : Result
        What a recipe made.
    path : str or Path
        ``OUT.zarr``.
    overwrite : bool
        Whether an earlier result may be replaced.
    axes : str
        What the input's dimensions were said to be; empty where its file said it. Kept beside the recipe.

    Returns
    -------
    Steps of Path
        Closing it leaves nothing behind.

    Raises
    ------
    OSError
        When the place cannot be written to or is full; see `io.check_writable`.
    """
    target = Path(path)
    images = {"denoised": result.denoised, "aligned": result.aligned}
    present = {name: image for name, image in images.items() if image is not None}
    check_writable(target, sum(int(np.prod(i.shape)) * i.dtype.itemsize for i in present.values()), overwrite=overwrite)
    with replacing(target, overwrite=overwrite) as part:
        group = zarr.create_group(part, zarr_format=3)
        group.attrs["napari-denoisereg"] = {"recipe": result.recipe.to_dict(), "axes": axes}
        for number, (name, image) in enumerate(present.items()):
            steps = ome_zarr.write_into(image, part / name)
            yield from portion(steps, number / len(present), (number + 1) / len(present))
        if result.trust is not None:
            group.attrs["denoising"] = _judged(result.trust)
        if result.registration is not None:
            group.attrs["quality"] = _told(result.registration)
            transforms_zarr.write(result.registration.transforms, part / TRANSFORMS, result.registration.grid)
    return target


def _judged(trust: Trust) -> dict[str, Any]:
    """What was taken away from the frames that were looked at, JSON-ready."""
    figures = {name: getattr(trust, name).tolist() for name in ("frames", "removed", "structure", "kept")}
    return {**figures, "hints": list(trust.hints())}


def _told(registration: Registration) -> dict[str, Any]:
    """Figures per frame and the frames that may have failed, JSON-ready: not a number becomes null."""
    figures = {
        name: [float(value) if np.isfinite(value) else None for value in values]
        for name, values in registration.quality.items()
    }
    return {**figures, "reasons": {str(frame): reason for frame, reason in registration.reasons.items()}}


def read_registration(path: str | Path, *, grid: Grid | None = None, otherwise: Grid | None = None) -> Registration:
    """Read the transforms of a result, or of any transforms file.

    Parameters
    ----------
    path : str or Path
        ``OUT.zarr`` of `write_result`, or what `io.write_transforms` wrote.
    grid : Grid, optional
        The fixed space, whatever the file says.
    otherwise : Grid, optional
        The fixed space where the file does not say it.

    Returns
    -------
    Registration
        Without quality.
    """
    place = Path(path)
    if place.is_dir() or not place.suffix:
        inner = find(place) / TRANSFORMS
        place = inner if inner.is_dir() else place
    transforms, stated = read_transforms(place, grid=grid, otherwise=otherwise)
    return Registration(transforms, stated)


def read_start(path: str | Path, stack: Stack, motion: Kind = "affine") -> Registration:
    """Read what is known of a movie's motion: transforms, or keypoints that say it.

    Parameters
    ----------
    path : str or Path
        Result, transforms, or a CSV of keypoints.
    stack : Stack
        The movie.
    motion : {"translation", "rigid", "similarity", "affine", "thin_plate"}
        What keypoints say; see `starts.from_keypoints`. Marks that the others contradict are left out with a warning.

    Returns
    -------
    Registration
        One transform per frame.

    Raises
    ------
    ValueError
        When keypoints cannot be of this movie, or are too few.
    """
    place = Path(path)
    if place.suffix.lower() != ".csv" or not place.is_file() or transforms_csv.is_table(place):
        return read_registration(place, otherwise=stack.grid)
    marks = read_keypoints(place)
    check_keypoints(marks, stack)
    guided = from_keypoints(marks, stack.grid, stack.n_frames, motion)
    if guided.misplaced:
        told = ", ".join(f"{number} in frame {frame}" for frame, number in guided.misplaced)
        warnings.warn(f"These keypoints do not fit the others and were left out of the start: {told}.", stacklevel=2)
    return guided.registration


def write_overview(stack: Stack, result: Result, path: str | Path, *, frame: int = -1) -> Path:
    """A picture a person can look at: noisy and denoised frame, and the overlay with the first frame before and after.

    Overlays show the first frame in green and the other in magenta: what is white fits.

    Parameters
    ----------
    stack : Stack
        The input.
    result : Result
        What a recipe made.
    path : str or Path
        A ``.png``.
    frame : int
        Which frame; the last by default.

    Returns
    -------
    Path
        The picture.
    """
    number = frame % stack.n_frames
    shown = result.denoised if result.denoised is not None else stack
    first, noisy, clean = _plane(shown, 0), _plane(stack, number), _plane(shown, number)
    panels = {f"frame {number + 1}, as recorded": _grey(noisy), "denoised": _grey(clean)}
    if result.registration is not None:
        aligned = result.registration.warp(shown)
        panels["before (green: frame 1)"] = _overlay(first, clean)
        panels["after registration"] = _overlay(first, _plane(aligned, number))
    target = Path(path)
    with replacing(target, overwrite=True) as part:
        _side_by_side(panels).save(part, format="PNG")
    return target


def _plane(stack: Stack, frame: int) -> NDArray[np.float64]:
    image = stack.frame(frame).astype(np.float64)
    return image[len(image) // 2] if image.ndim == 3 else image


def _scaled(image: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = np.percentile(image, [1, 99.8])
    return np.clip((image - low) / max(high - low, 1e-12), 0, 1)


def _grey(image: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.repeat(_scaled(image)[..., None], 3, axis=2)


def _overlay(fixed: NDArray[np.float64], moving: NDArray[np.float64]) -> NDArray[np.float64]:
    green, magenta = _scaled(fixed), _scaled(moving)
    return np.stack([magenta, green, magenta], axis=-1)


def _side_by_side(panels: dict[str, NDArray[np.float64]], *, side: int = 360, gap: int = 8, line: int = 22) -> Image.Image:
    pictures = []
    for values in panels.values():
        picture = Image.fromarray((values * 255).round().astype(np.uint8))
        factor = side / max(picture.size)
        size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
        pictures.append(picture.resize(size, Image.Resampling.BICUBIC))
    width = sum(picture.width + gap for picture in pictures) + gap
    sheet = Image.new("RGB", (width, max(picture.height for picture in pictures) + line + gap), "white")
    pen, left = ImageDraw.Draw(sheet), gap
    for title, picture in zip(panels, pictures, strict=True):
        pen.text((left, 5), title, fill="black")
        sheet.paste(picture, (left, line))
        left += picture.width + gap
    return sheet
