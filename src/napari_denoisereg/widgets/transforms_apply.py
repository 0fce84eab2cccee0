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
from napari_denoisereg.widgets.transforms_task import Task

if TYPE_CHECKING:
    from napari_denoisereg.register import Registration
    from napari_denoisereg.stack import Stack
    from napari_denoisereg.steps import Steps

    LayerData = tuple[Any, dict[str, Any], str]

Floats = NDArray[np.float64]
ALIGNED, BACK = "aligned", "moved back"
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
            data, changes, keep = _moved_marks(task, known.registration, inverse)
            n_lost += int((~keep).sum())
            made.append(_layer_data(replace(task, state={**task.state, **changes}), known, data, inverse, keep))
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


def _moved_marks(task: Task, registration: Registration, inverse: bool) -> tuple[Any, dict[str, Any], NDArray[np.bool_]]:
    """Points, shapes or tracks at their new places, what else becomes of them, and which of them are known there."""
    from napari_denoisereg.register.places import carried, carried_outlines

    frame, space = parts_of(task.axes, registration.grid.ndim)

    def carry(rows: Floats) -> Floats:
        moved, frames = rows.copy(), np.rint((rows[:, frame] - task.to_frame[0]) / task.to_frame[1]).astype(int)
        moved[:, space] = carried(registration, frames, rows[:, space], inverse=inverse, to_world=task.to_coordinates)
        return moved

    if task.kind == "shapes":
        outlines = carried_outlines(registration, _shapes(task), carry, frame=frame)
        shapes, kinds = [corners for corners, _ in outlines], [kind for _, kind in outlines]
        return shapes, {"shape_type": kinds}, np.array([bool(np.isfinite(each).all()) for each in shapes], bool)
    first = 1 if task.kind == "tracks" else 0  # the id
    marks = np.column_stack([task.data[:, :first], carry(task.data[:, first:])])
    return marks, {}, np.isfinite(marks).all(axis=1)


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
