"""What ``denoisereg run`` and ``register`` wrote, as the layers that the dock *Denoise and register* would show.

Images stay on disk and are read frame by frame; transforms are read whole.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_denoisereg.widgets.arrows import arrows_of
from napari_denoisereg.widgets.layers import METADATA_KEY, Look, arrow_layer_data, contrast, image_layer_data

if TYPE_CHECKING:
    from napari_denoisereg.pipeline import Pipeline
    from napari_denoisereg.register import Registration
    from napari_denoisereg.stack import Stack
    from napari_denoisereg.steps import Steps

    LayerData = tuple[Any, dict[str, Any], str]

IMAGES, TRANSFORMS = ("denoised", "aligned"), "transforms"
LOOKED_AT = 3  # frames, for the contrast
NO_RESULT = (
    "{path} is no result of denoisereg. Choose the whole folder that 'denoisereg run', 'denoisereg register' or the dock "
    "'Many files' wrote, e.g. result.zarr. To open images, use File > Open Folder."
)
DAMAGED = "{path} was made by this program, but is not complete: {why}. Copy it again, or run the recipe again."
OBJECTS = (
    "{path} holds the motion of each object, and no images. Its table motion.csv opens in any spreadsheet; to see the movie in "
    "which every object stands still, open the movie and its labels and use the dock 'Register objects', or run "
    "'denoisereg register … --objects … --aligned FILE'."
)


def is_result(folder: Path) -> bool:
    """Whether a folder is a result of this program.

    Parameters
    ----------
    folder : Path
        Any path.

    Returns
    -------
    bool
        False for images alone and other people's zarr. A result that lost its own description is known by its parts.
    """
    if not folder.is_dir():
        return False
    attributes = _attributes(folder)
    if attributes is not None:
        own = attributes.get(METADATA_KEY)
        return isinstance(own, dict) and ("recipe" in own or "objects" in own)
    return any(METADATA_KEY in (_attributes(folder / part) or ()) for part in (*IMAGES, TRANSFORMS))


def read_layers(folder: Path) -> Steps[list[LayerData]]:
    """Read a result.

    Parameters
    ----------
    folder : Path
        ``OUT.zarr``.

    Returns
    -------
    Steps of list of LayerDataTuple
        ``"<movie> [denoised]"``, ``"<movie> [aligned]"`` and ``"<movie> [displacement]"``, those there are.

    Raises
    ------
    ValueError
        When the folder is no result, or parts of it are missing or damaged; the message names them.
    """
    from napari_denoisereg.steps import Progress, portion

    yield Progress(0, 1, "reading images")  # before the engine is imported, which takes seconds
    from napari_denoisereg import io

    attributes = _described(folder)
    stacks = {name: io.read(folder / name) for name in IMAGES if (folder / name).is_dir()}
    if not stacks:
        raise ValueError(DAMAGED.format(path=folder, why="its images are missing"))
    recipe = _recipe(attributes[METADATA_KEY]["recipe"])
    look = _look(next(reversed(stacks.values())))
    layers: list[LayerData] = []
    for name, stack in stacks.items():
        limits = yield from portion(_limits(stack), 0.2 * len(layers), 0.2 * (len(layers) + 1), "looking at frames")
        # The origin is in the look already.
        layers.append(image_layer_data(replace(stack, origin=()), look, name, recipe, channel=recipe.channel, limits=limits))
    if (folder / TRANSFORMS).is_dir():
        yield Progress(0.4, 1, "reading transforms")
        registration = _registration(folder, attributes)
        arrows = yield from portion(arrows_of(registration), 0.6, 1.0)
        layers.append(arrow_layer_data(arrows, look, recipe, registration=registration, channel=recipe.channel))
    return layers


def _described(folder: Path) -> dict[str, Any]:
    """Attributes of a result that has images."""
    if not is_result(folder):
        raise ValueError(NO_RESULT.format(path=folder))
    attributes = _attributes(folder)
    if attributes is None:
        raise ValueError(DAMAGED.format(path=folder, why="its zarr.json is missing or cut off"))
    if "objects" in attributes[METADATA_KEY]:
        raise ValueError(OBJECTS.format(path=folder))
    return attributes


def _attributes(folder: Path) -> dict[str, Any] | None:
    """Attributes of a zarr group; None where there are none that can be read."""
    try:
        found = json.loads((folder / "zarr.json").read_text(encoding="utf-8")).get("attributes", {})
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, dict) else None


def _recipe(settings: Any) -> Pipeline:
    from napari_denoisereg.pipeline import Pipeline, load_recipe

    try:
        return load_recipe(settings)
    except (ValueError, TypeError) as error:  # of another version
        warnings.warn(f"How this result was made cannot be read ({error}); its images are fine.", UserWarning, stacklevel=2)
        return Pipeline(name="unknown")


def _registration(folder: Path, attributes: dict[str, Any]) -> Registration:
    """Transforms with the figures and doubts that were written beside them."""
    from napari_denoisereg.results import read_registration

    told = dict(attributes.get("quality", {}))
    reasons = {int(frame): str(why) for frame, why in told.pop("reasons", {}).items()}
    quality = {name: np.array([np.nan if value is None else value for value in values]) for name, values in told.items()}
    return replace(read_registration(folder), quality=quality, reasons=reasons, flagged=tuple(sorted(reasons)))


def _look(stack: Stack) -> Look:
    """Where a result lies, and how a movie looks that napari has never shown."""
    places = [stack.axes.index(axis) for axis in stack.outer_axes]
    n_axes = len(places)
    place = {
        "scale": np.array([stack.spacing[each] for each in places]),
        "translate": np.array([stack.origin[each] for each in places]),
        "rotate": np.eye(n_axes),
        "shear": np.zeros(n_axes * (n_axes - 1) // 2),
        "affine": np.eye(n_axes + 1),
        "units": tuple(stack.units[each] for each in places),
        "axis_labels": tuple(stack.outer_axes),
    }
    colours = {"colormap": "gray", "contrast_limits": (0.0, 1.0), "gamma": 1.0, "blending": "translucent_no_depth"}
    return Look(stack.name.removesuffix(" [aligned]").removesuffix(" [denoised]"), stack.outer_axes, place, colours)


def _limits(stack: Stack) -> Steps[tuple[float, float]]:
    """Contrast limits that suit some frames of a stack."""
    from napari_denoisereg.steps import Progress

    frames, seen = np.unique(np.linspace(0, stack.n_frames - 1, LOOKED_AT).round().astype(int)), []
    for number in frames:
        seen.append(contrast(stack.frame(int(number))))
        yield Progress(len(seen), len(frames))
    return min(low for low, _ in seen), max(high for _, high in seen)
