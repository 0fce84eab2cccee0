"""The metadata of OME-NGFF images, versions 0.4 and 0.5 (older ones are read): axes, scale, translation, units.

References
----------
https://ngff.openmicroscopy.org/0.4 and https://ngff.openmicroscopy.org/0.5, sections *multiscales*, *axes*, *omero*.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_denoisereg.geometry.units import PIXEL, canonical
from napari_denoisereg.stack import AXES, Stack

VERSIONS = ("0.4", "0.5")
_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}


@dataclass(frozen=True)
class Placement:
    """Where the voxels of the finest level are.

    Parameters
    ----------
    path : str
        Of the array in its group.
    axes : str
        One letter per dimension.
    spacing, origin : tuple of float
        Per axis, in ``units``.
    units : tuple of str
        Per axis.
    name : str
        Of the image, may be empty.
    """

    path: str
    axes: str
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    units: tuple[str, ...]
    name: str


def multiscales(attributes: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The description of the image in a group.

    Parameters
    ----------
    attributes : mapping
        Of the group.

    Returns
    -------
    mapping or None
        The first ``multiscales`` entry; None when the group is no image.
    """
    entries = described(attributes).get("multiscales")
    return entries[0] if isinstance(entries, Sequence) and entries and isinstance(entries[0], Mapping) else None


def described(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """What OME-NGFF says about a group: under ``"ome"`` since version 0.5, beside other attributes before.

    Parameters
    ----------
    attributes : mapping
        Of the group.

    Returns
    -------
    mapping
        Empty where ``"ome"`` is something else.
    """
    entries = attributes.get("ome", attributes)
    return entries if isinstance(entries, Mapping) else {}


def placement(image: Mapping[str, Any], ndim: int) -> Placement:
    """Read axes, scale, translation and units of level 0.

    Parameters
    ----------
    image : mapping
        See `multiscales`.
    ndim : int
        Number of dimensions of its array.

    Returns
    -------
    Placement
        Spacing 1, origin 0 and ``"pixel"`` for what is not said.

    Raises
    ------
    KeyError, TypeError, ValueError, IndexError
        When the metadata is not as the specification says.
    """
    # Versions 0.1 and 0.2 always have five axes, 0.3 names them only.
    axes = [axis if isinstance(axis, Mapping) else {"name": axis} for axis in image.get("axes", AXES)]
    dataset = image["datasets"][0]
    spacing, origin = np.ones(ndim), np.zeros(ndim)
    for transformation in (
        *dataset.get("coordinateTransformations", ()),
        *image.get("coordinateTransformations", ()),
    ):
        scale = np.asarray(transformation.get("scale", np.ones(ndim)), float)
        translation = np.asarray(transformation.get("translation", np.zeros(ndim)), float)
        if not (np.isfinite(scale).all() and (scale > 0).all() and np.isfinite(translation).all()):
            raise ValueError(f"expected positive scales and finite translations, got {transformation}")
        spacing, origin = spacing * scale, origin * scale + translation
    if len(axes) != ndim:
        raise ValueError(f"{len(axes)} axes are named for an array of {ndim} dimensions")
    return Placement(
        path=str(dataset["path"]),
        axes="".join(str(axis["name"]).lower() for axis in axes),
        spacing=tuple(spacing.tolist()),
        origin=tuple(origin.tolist()),
        units=tuple(canonical(axis.get("unit")) for axis in axes),
        name=str(image.get("name", "")),
    )


def axes_metadata(axes: str, units: Sequence[str]) -> list[dict[str, str]]:
    """The ``axes`` entry.

    Parameters
    ----------
    axes : str
        One letter per axis.
    units : sequence of str
        One per axis; ``"pixel"`` is left out, it is no unit.

    Returns
    -------
    list of dict
        JSON-ready.
    """
    entries = []
    for letter, unit in zip(axes, units, strict=True):
        entry = {"name": letter, "type": _TYPES[letter]}
        if letter != "c" and canonical(unit) != PIXEL:
            entry["unit"] = canonical(unit)
        entries.append(entry)
    return entries


def image_attributes(stack: Stack, axes: str, version: str, levels: int) -> dict[str, Any]:
    """Group attributes of an image.

    Parameters
    ----------
    stack : Stack
        What is written.
    axes : str
        Axes in the order they are written.
    version : str
        ``"0.4"`` or ``"0.5"``.
    levels : int
        Number of resolution levels; each halves y and x.

    Returns
    -------
    dict
        JSON-ready; `io.ome_zarr` adds the project's own key.
    """
    place = [stack.axes.index(axis) for axis in axes]
    datasets = []
    for level in range(levels):
        factors = np.array([2.0**level if axis in "yx" else 1.0 for axis in axes])
        spacing = np.array([stack.spacing[n] for n in place])
        # The first large pixel is centred between the small ones it is made of.
        origin = np.array([stack.origin[n] for n in place]) + (factors - 1) / 2 * spacing
        transformations: list[dict[str, Any]] = [{"type": "scale", "scale": (spacing * factors).tolist()}]
        if origin.any():
            transformations.append({"type": "translation", "translation": origin.tolist()})
        datasets.append({"path": str(level), "coordinateTransformations": transformations})
    image: dict[str, Any] = {
        "name": stack.name,
        "axes": axes_metadata(axes, [stack.units[n] for n in place]),
        "datasets": datasets,
    }
    if levels > 1:
        image["type"] = "mean"
    if version == "0.4":
        return {"multiscales": [{"version": version, **image}]}
    return {"ome": {"version": version, "multiscales": [image]}}
