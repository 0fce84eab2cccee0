"""Transforms in one zarr 3 group, in the manner of OME-NGFF 0.6 (RFC-5); nothing is lost or resampled.

Attributes of the group:

- ``ome.scene.coordinateSystems``: ``"fixed"`` and one ``"frame <t>"`` per frame, with the axes' names and units;
- ``ome.scene.coordinateTransformations``: one per frame, from ``"fixed"`` to ``"frame <t>"``, which is our direction
  (fixed to moving). Types: ``identity``, ``affine`` (the upper rows of the matrix, axis order, world units),
  ``displacements`` (``path`` to a group in here), ``sequence`` (the first applied first);
- ``napari-denoisereg``: ``format``, ``n_frames`` and the ``grid`` of the fixed space.

A displacement group ``displacements/<n>`` is an OME-NGFF image: its array ``0`` has the shape ``(*spatial, D)``, float32, world
units, component last and in axis order; NaN is "unknown"; scale and translation say where its voxels are.

References
----------
RFC-5 *Coordinate Systems and Transformations*, https://ngff.openmicroscopy.org/rfc/5/; OME-NGFF 0.6.
"""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import zarr
import zarr.errors
from zarr.codecs import BloscCodec, Crc32cCodec

from napari_denoisereg.geometry import Affine, Displacement, Grid, Identity, PerFrame, Sequential, Transform, Translation
from napari_denoisereg.geometry.conventions import from_ngff_field, to_ngff_field
from napari_denoisereg.geometry.units import canonical
from napari_denoisereg.io.grids import as_dict, from_dict
from napari_denoisereg.io.ngff import axes_metadata

OURS = "napari-denoisereg"
FORMAT = "transforms 1"
VERSION = "0.6"
LARGEST_CHUNK = 512


def write(transforms: PerFrame, folder: Path, grid: Grid) -> None:
    """Write transforms into a folder that does not exist yet.

    Parameters
    ----------
    transforms : PerFrame
        One per frame, fixed to moving.
    folder : Path
        Made here; the caller puts it in place.
    grid : Grid
        The fixed space.
    """
    group = zarr.create_group(folder, zarr_format=3)
    numbers = itertools.count()
    axes = axes_metadata("zyx"[-grid.ndim :], grid.units)
    names = ["fixed", *(f"frame {frame}" for frame in range(len(transforms)))]
    entries = [
        {"input": {"name": "fixed"}, "output": {"name": name}, "name": name, **_encoded(transform, group, numbers, grid)}
        for name, transform in zip(names[1:], transforms, strict=True)
    ]
    scene = {
        "coordinateSystems": [{"name": name, "axes": axes} for name in names],
        "coordinateTransformations": entries,
    }
    ours = {"format": FORMAT, "n_frames": len(transforms), "grid": as_dict(grid)}
    group.update_attributes({"ome": {"version": VERSION, "scene": scene}, OURS: ours})


def read(folder: Path) -> tuple[list[Transform], Grid | None]:
    """Read transforms.

    Parameters
    ----------
    folder : Path
        The zarr group.

    Returns
    -------
    transforms : list of Transform
        One per frame.
    grid : Grid or None
        The fixed space; None in files of other programs.

    Raises
    ------
    ValueError
        When it is no such group or parts of it are missing.
    """
    try:
        group = zarr.open_group(folder, mode="r")
        scene = dict(group.attrs)["ome"]["scene"]  # type: ignore[index, call-overload]
        entries = list(scene["coordinateTransformations"])  # type: ignore[index, call-overload, arg-type]
    except (FileNotFoundError, KeyError, TypeError, ValueError, zarr.errors.BaseZarrError) as error:
        raise ValueError(
            f"{folder} holds no transforms ({type(error).__name__}: {error}); expected a zarr group with "
            "ome.scene.coordinateTransformations, as written by this program."
        ) from error
    ours: Any = group.attrs.get(OURS, {})
    if not entries or len(entries) != ours.get("n_frames", len(entries)):
        raise ValueError(f"{folder} should hold {ours.get('n_frames')} transforms, got {len(entries)}; copy it again.")
    try:
        transforms = [_decoded(entry, group) for entry in entries]
    except (KeyError, TypeError, IndexError, RuntimeError, ValueError) as error:
        raise ValueError(f"{folder} is not complete or damaged ({type(error).__name__}: {error}); copy it again.") from error
    return transforms, from_dict(ours["grid"], folder) if "grid" in ours else None


def n_bytes(transforms: PerFrame) -> int:
    """How much the transforms need at most.

    Parameters
    ----------
    transforms : PerFrame
        What to write.

    Returns
    -------
    int
        Bytes.
    """
    return sum(1000 + sum(4 * field.field.numel() for field in _fields(transform)) for transform in transforms)


def _fields(transform: Transform) -> Iterator[Displacement]:
    if isinstance(transform, Displacement):
        yield transform
    for part in getattr(transform, "parts", ()):
        yield from _fields(part)


def _encoded(transform: Transform, group: zarr.Group, numbers: Iterator[int], grid: Grid) -> dict[str, Any]:
    if isinstance(transform, Sequential):
        return {
            "type": "sequence",
            "transformations": [_encoded(part, group, numbers, grid) for part in transform.parts],
        }
    if isinstance(transform, Affine):
        if transform.is_identity:
            return {"type": "identity"}
        return {"type": "affine", "affine": transform.weights.tolist()}
    field = transform if isinstance(transform, Displacement) else transform.to_displacement(grid)
    path = f"displacements/{next(numbers)}"
    _write_field(group.create_group(path), field)
    return {"type": "displacements", "path": path, "interpolation": "linear"}


def _write_field(group: zarr.Group, field: Displacement) -> None:
    place = field.grid
    values = to_ngff_field(field)
    group.create_array(
        "0",
        data=values,
        chunks=(*(min(size, LARGEST_CHUNK) for size in place.shape), place.ndim),
        compressors=(BloscCodec(cname="zstd", clevel=3), Crc32cCodec()),
        dimension_names=[*"zyx"[-place.ndim :], "c"],
        config={"write_empty_chunks": True},
    )
    axes = [*axes_metadata("zyx"[-place.ndim :], place.units), {"name": "c", "type": "displacement", "discrete": True}]
    located = {
        "type": "sequence",
        "input": {"path": "0"},
        "output": {"name": "physical"},
        "transformations": [
            {"type": "scale", "scale": [*place.spacing, 1.0]},
            {"type": "translation", "translation": [*place.origin, 0.0]},
        ],
    }
    image = {
        "coordinateSystems": [{"name": "physical", "axes": axes}],
        "datasets": [{"path": "0", "coordinateTransformations": [located]}],
    }
    group.update_attributes({"ome": {"version": VERSION, "multiscales": [image]}})


def _decoded(entry: Mapping[str, Any], group: zarr.Group) -> Transform:
    kind = entry["type"]
    if kind == "identity":
        return Identity(_ndim(group))
    if kind == "translation":
        return Translation(entry["translation"])
    if kind == "scale":
        scale = torch.tensor(entry["scale"], dtype=torch.float64)
        return Affine(torch.cat([torch.diag(scale), torch.zeros(len(scale), 1, dtype=torch.float64)], dim=1))
    if kind == "affine":
        matrix = entry["affine"] if "affine" in entry else group[entry["path"]][:].tolist()  # type: ignore[index, union-attr]
        return Affine(torch.tensor(matrix, dtype=torch.float64))
    if kind == "sequence":
        return Sequential(tuple(_decoded(part, group) for part in entry["transformations"]))
    if kind == "displacements":
        return _read_field(group[entry["path"]])
    raise ValueError(f"transformations of type {kind!r} are not supported")


def _ndim(group: zarr.Group) -> int:
    scene: Any = dict(group.attrs)["ome"]
    return len(scene["scene"]["coordinateSystems"][0]["axes"])


def _read_field(group: Any) -> Displacement:
    image = dict(group.attrs)["ome"]["multiscales"][0]
    dataset = image["datasets"][0]
    array = group[dataset["path"]]
    if array.nchunks_initialized < array.nchunks:
        raise ValueError(f"{array.nchunks - array.nchunks_initialized} chunks of {array.path} are missing")
    values = array[:]
    ndim = values.shape[-1]
    spacing, origin = [1.0] * ndim, [0.0] * ndim
    for each in dataset["coordinateTransformations"]:
        for step in each.get("transformations", [each]):
            spacing = step.get("scale", spacing)[:ndim]
            origin = step.get("translation", origin)[:ndim]
    units = [canonical(axis.get("unit")) for axis in image["coordinateSystems"][0]["axes"] if axis["type"] == "space"]
    return from_ngff_field(values, Grid(values.shape[:-1], tuple(spacing), tuple(origin), tuple(units)))
