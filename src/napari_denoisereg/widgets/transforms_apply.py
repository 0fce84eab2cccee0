"""Transforms applied to layers: images and labels lazily, points, shapes and tracks at once. No Qt.

A marked place of the movie belongs, in the aligned movie, where the transform takes it from: images are read at ``T(x)``, marks
go to the preimage of ``T``. Every result is a new layer with all attributes of its source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from napari.layers import Layer
from numpy.typing import NDArray

from napari_denoisereg.widgets.layers import METADATA_KEY
from napari_denoisereg.widgets.transforms_list import Known, Matrix, is_upright, parts_of
from napari_denoisereg.widgets.transforms_task import Task, mapped

if TYPE_CHECKING:
    from napari_denoisereg.register import Registration
    from napari_denoisereg.stack import Stack
    from napari_denoisereg.steps import Steps

    LayerData = tuple[Any, dict[str, Any], str]

Floats = NDArray[np.float64]
ALIGNED, BACK = "aligned", "moved back"
PIECE, BEND = 4.0, 0.1  # px: outlines are bent in pieces of this length, and kept within this of the true curve
AROUND = np.linspace(0, 2 * np.pi, 64, endpoint=False)
# What a layer's own tuple holds that belongs to the old data or is set from the new.
EACH = {  # what a layer says of each point or shape
    "points": ("size", "symbol", "face_color", "border_color", "border_width", "shown"),
    "shapes": ("shape_type", "face_color", "edge_color", "edge_width", "z_index", "opacity"),
    "tracks": (),
}
DROPPED = {"image": ("multiscale",), "labels": ("multiscale",), "points": (), "shapes": (), "tracks": ()}


@dataclass(frozen=True, eq=False)
class Moved:
    """What an application made.

    Parameters
    ----------
    layers : tuple of LayerDataTuple
        New layers.
    extras : tuple of mapping
        Attributes of each that its tuple leaves out.
    n_lost : int
        Points and tracks' places that the transforms take from nowhere (folds), which are left out.
    """

    layers: tuple[LayerData, ...]
    extras: tuple[Mapping[str, Any], ...]
    n_lost: int = 0

    def as_layers(self) -> list[Layer]:
        """The layers themselves; to be called on the GUI thread.

        Returns
        -------
        list of Layer
            Not yet in a viewer.
        """
        made = []
        for data, extras in zip(self.layers, self.extras, strict=True):
            layer = Layer.create(*data)
            for name, value in extras.items():
                setattr(layer, name, value)
            made.append(layer)
        return made


def apply(tasks: Sequence[Task], known: Known, *, inverse: bool = False) -> Steps[Moved]:
    """Apply transforms to layers.

    Parameters
    ----------
    tasks : sequence of Task
        See `task_for`.
    known : Known
        The transforms.
    inverse : bool
        Bring back what is aligned to where it was in the movie.

    Returns
    -------
    Steps of Moved
        Long work where fields are inverted or there are many points.
    """
    from napari_denoisereg.steps import Progress, portion

    images, n_lost, made = known.registration, 0, []
    if inverse and any(task.kind in ("image", "labels") for task in tasks):
        images = yield from portion(images.inverse_steps(), 0.0, 0.7)
    for number, task in enumerate(tasks, 1):
        if task.kind in ("image", "labels"):
            made.append(_layer_data(task, known, warped(task, images), inverse))
        else:
            data, keep = _moved_marks(task, known.registration, inverse)
            n_lost += int((~keep).sum())
            made.append(_layer_data(task, known, data, inverse, keep))
        yield Progress(0.7 + 0.3 * number / len(tasks), 1.0, f"applying to {task.name}")
    return Moved(tuple(made), tuple(task.extras for task in tasks), n_lost)


def warped(task: Task, registration: Registration) -> da.Array:
    """An image or labels layer's data, warped frame by frame when somebody looks.

    Parameters
    ----------
    task : Task
        The layer.
    registration : Registration
        In its own coordinates.

    Returns
    -------
    dask.array.Array
        Shape and dtype of the data (labels that are bool become whole numbers).
    """
    is_rgb = bool(task.state.get("rgb"))
    data = task.data if isinstance(task.data, da.Array) else _lazily(task.data)
    data = data.astype(np.uint8) if data.dtype == bool else data
    axes = task.axes
    if is_rgb:  # colours are channels, which come before y and x in a stack
        places = range(axes.index("y"), axes.index("y") + 1)
        data, axes = da.moveaxis(data, -1, places[0]), axes.replace("y", "cy")
    stack, own = _stack(data, axes, task.to_coordinates, registration)
    own = replace(own, grid=stack.grid)  # the layer lies where the viewer shows it, whatever unit it says
    result = own.warp(stack, interpolation="nearest" if task.kind == "labels" else "linear").data
    return da.moveaxis(result, axes.index("c"), -1) if is_rgb else result


def _lazily(data: Any) -> da.Array:
    return da.from_array(data, chunks=getattr(data, "chunks", None) or data.shape, name=False)


def _stack(data: da.Array, axes: str, matrix: Matrix, registration: Registration) -> tuple[Stack, Registration]:
    """The layer as a stack, and the transforms in the coordinates of that stack."""
    import torch

    from napari_denoisereg.geometry import Affine
    from napari_denoisereg.stack import Stack

    frame, space = parts_of(axes, registration.grid.ndim)
    # A stack's frames count along t, or z where there is no t: whatever the axis is called in the viewer.
    named = axes[:frame] + ("t" if "z" in [axes[place] for place in space] else axes[frame]) + axes[frame + 1 :]
    spacing, origin = np.ones(len(axes)), np.zeros(len(axes))
    if not is_upright(matrix):
        return Stack(data, axes=named), registration.seen_from(Affine(torch.from_numpy(matrix[:-1])))
    spacing[space], origin[space] = np.diag(matrix)[:-1], matrix[:-1, -1]
    return Stack(data, axes=named, spacing=tuple(spacing.tolist()), origin=tuple(origin.tolist())), registration


def _moved_marks(task: Task, registration: Registration, inverse: bool) -> tuple[Any, NDArray[np.bool_]]:
    """Points, shapes or tracks at their new places, and which of them are known there."""
    frame, space = parts_of(task.axes, registration.grid.ndim)

    def move(places: Floats) -> Floats:
        moved, frames = places.copy(), np.rint((places[:, frame] - task.to_frame[0]) / task.to_frame[1]).astype(int)
        back = np.asarray(np.linalg.inv(task.to_coordinates), np.float64)
        for number in np.unique(frames):
            rows = frames == number
            here = mapped(task.to_coordinates, np.asarray(places[np.ix_(rows, space)], np.float64))
            there = registration.points(int(number), here, inverse=not inverse)
            moved[np.ix_(rows, space)] = mapped(back, there)
        return moved

    if task.kind == "shapes":
        is_bent = not all(transform.is_affine for transform in registration.transforms)
        shapes = [move(bendable(each, kind) if is_bent else each) for each, kind in _shapes(task)]
        if is_bent:
            least = {"path": 2, "line": 2}
            shapes = [
                thinned(each, space, least=least.get(kind, 3)) for each, (_, kind) in zip(shapes, _shapes(task), strict=True)
            ]
        return shapes, np.array([bool(np.isfinite(each).all()) for each in shapes], bool)
    first = 1 if task.kind == "tracks" else 0  # the id
    moved = np.column_stack([task.data[:, :first], move(task.data[:, first:])])
    return moved, np.isfinite(moved).all(axis=1)


def bendable(corners: Floats, kind: str) -> Floats:
    """The outline of a shape as so many points that it can be bent.

    Parameters
    ----------
    corners : ndarray
        ``(N, ndim)``, as napari keeps the shape.
    kind : str
        napari's ``shape_type``.

    Returns
    -------
    ndarray
        ``(M, ndim)``; a closed outline does not repeat its first point.
    """
    if kind == "ellipse":
        middle = corners.mean(0)
        one, other = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
        return middle + np.cos(AROUND)[:, None] * one + np.sin(AROUND)[:, None] * other
    is_closed = kind in ("polygon", "rectangle")
    ends = np.roll(corners, -1, axis=0) if is_closed else corners[1:]
    parts = []
    for start, end in zip(corners, ends, strict=False):
        count = max(1, int(np.ceil(np.linalg.norm(end - start) / PIECE)))
        parts.append(start + np.arange(count)[:, None] / count * (end - start))
    return np.concatenate(parts if is_closed else [*parts, corners[-1:]])


def thinned(outline: Floats, space: Sequence[int], *, least: int = 2) -> Floats:
    """An outline without the points that a straight line explains.

    Parameters
    ----------
    outline : ndarray
        ``(N, ndim)``.
    space : sequence of int
        Spatial axes.
    least : int
        An outline of fewer points is left as it is.

    Returns
    -------
    ndarray
        Some of its points, the first and the last among them.
    """
    from skimage.measure import approximate_polygon

    if not np.isfinite(outline).all():
        return outline
    plane = outline[:, list(space)[-2:]]
    chosen = approximate_polygon(plane, BEND)
    kept, start = [], 0
    for corner in chosen:
        start += int(np.flatnonzero((plane[start:] == corner).all(axis=1))[0])
        kept.append(start)
    return outline[kept] if len(kept) >= least else outline


def _shapes(task: Task) -> list[tuple[Floats, str]]:
    kinds = task.state["shape_type"]
    each = [kinds] * len(task.data) if isinstance(kinds, str) else kinds
    return list(zip(task.data, each, strict=True))


def _layer_data(task: Task, known: Known, data: Any, inverse: bool, keep: NDArray[np.bool_] | None = None) -> LayerData:
    suffix = BACK if inverse else ALIGNED
    record = {
        "transforms": known.name,
        "inverse": inverse,
        "source": task.name,
        "axes": task.axes,
        "version": version(METADATA_KEY),
        "history": list(known.registration.history),
    }
    state = {name: value for name, value in task.state.items() if name not in DROPPED[task.kind]}
    # What the source's own metadata said of other results does not hold for this one.
    others = {name: value for name, value in state["metadata"].items() if name != METADATA_KEY}
    state |= {"name": f"{task.name} [{suffix}]", "metadata": {**others, METADATA_KEY: record}}
    if task.kind == "shapes" and not all(transform.is_affine for transform in known.registration.transforms):
        state["shape_type"] = ["path" if kind in ("path", "line") else "polygon" for _, kind in _shapes(task)]
    if keep is not None and not keep.all():
        data, state = _without(task, data, state, keep)
    return data, state, task.kind


def _without(task: Task, data: Any, state: dict[str, Any], keep: NDArray[np.bool_]) -> tuple[Any, dict[str, Any]]:
    """Leave out what has no place, with all that is said of it."""
    # "graph" of tracks may name one that is gone; "properties" are the features once more and would replace them.
    kept = {name: value for name, value in state.items() if name not in ("properties", "property_choices", "graph")}
    for name in EACH[task.kind]:
        value = kept.get(name)
        if isinstance(value, np.ndarray) and len(value) == len(keep):
            kept[name] = value[keep]
        elif isinstance(value, list) and len(value) == len(keep):
            kept[name] = [each for each, is_kept in zip(value, keep, strict=True) if is_kept]
    kept["features"] = state["features"][keep].reset_index(drop=True)
    return ([each for each, is_kept in zip(data, keep, strict=True) if is_kept] if task.kind == "shapes" else data[keep]), kept
