"""A layer that transforms are to be applied to: whether they fit it, and what it was when the user pressed *Apply*. No Qt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer, Points, Shapes, Tracks
from numpy.typing import NDArray

from napari_denoisereg.widgets.transforms_list import Known, Matrix, axes_of, coordinates, grid_matrix, parts_of

Floats = NDArray[np.float64]
MOVABLE = (Image, Labels, Points, Shapes, Tracks)
UNKNOWN_UNIT = "pixel"
EXTRAS = {"labels": ("contour",)}


@dataclass(frozen=True, eq=False)
class Task:
    """A layer as it was when the user pressed *Apply*: it may change while the work goes on.

    Parameters
    ----------
    data, state, kind
        Of ``layer.as_layer_data_tuple()``.
    axes : str
        One letter per axis.
    to_coordinates : ndarray
        Index in a frame to the coordinates of the transforms ``(D+1, D+1)``.
    to_frame : tuple of float
        Index along the frame axis of frame 0, and distance of frames: ``index = start + step * frame``.
    extras : mapping
        Attributes that the layer's tuple leaves out.
    """

    data: Any
    state: Mapping[str, Any]
    kind: str
    axes: str
    to_coordinates: Matrix
    to_frame: tuple[float, float]
    extras: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the layer."""
        return str(self.state["name"])


def problem(layer: Layer, known: Known) -> str:
    """Why transforms cannot be applied to a layer.

    Parameters
    ----------
    layer : Layer
        Any layer.
    known : Known
        The transforms.

    Returns
    -------
    str
        In plain words; empty when they can.
    """
    try:
        _check(layer, known)
    except (TypeError, ValueError) as error:
        return str(error)
    return ""


def task_for(layer: Layer, known: Known) -> Task:
    """Check that transforms fit a layer, and take the layer as it is now.

    Parameters
    ----------
    layer : Layer
        Image, labels, points, shapes or tracks.
    known : Known
        The transforms.

    Returns
    -------
    Task
        Images are not read.

    Raises
    ------
    TypeError
        For other layers.
    ValueError
        When axes, frames, units or place do not fit; says what to do.
    """
    axes, matrix, to_frame = _check(layer, known)
    data, state, kind = layer.as_layer_data_tuple()
    if kind in ("image", "labels"):
        data = data[0] if layer.multiscale else data
    else:  # A copy: the user may drag points while this is worked on.
        data = [np.array(each, float) for each in data] if kind == "shapes" else np.array(data, float)
    extras = {name: getattr(layer, name) for name in EXTRAS.get(kind, ())}
    return Task(data, state, kind, axes, matrix, to_frame, extras)


def mapped(matrix: Matrix, points: Floats) -> Floats:
    """Points under an affine matrix.

    Parameters
    ----------
    matrix : ndarray
        ``(D+1, D+1)``.
    points : ndarray
        ``(N, D)``.

    Returns
    -------
    ndarray
        ``(N, D)``.
    """
    return points @ matrix[:-1, :-1].T + matrix[:-1, -1]


def _check(layer: Layer, known: Known) -> tuple[str, Matrix, tuple[float, float]]:
    """Axes, index to coordinates, and frame axis of a layer that transforms fit; see `task_for` for what is raised."""
    if not isinstance(layer, MOVABLE):
        raise TypeError(f"{layer.name!r} is a {type(layer).__name__} layer; choose images, labels, points, shapes or tracks.")
    axes = axes_of(layer, known)
    frame, space = parts_of(axes, known.registration.grid.ndim)
    matrix, to_frame = coordinates(layer, axes, known), _frame_axis(layer, frame, known)
    if isinstance(layer, Image | Labels):
        shape = (layer.data[0] if layer.multiscale else layer.data).shape
        _check_frames(layer.name, shape[frame], known)
        _check_units(layer, space, matrix, known)
        _check_place(layer.name, matrix, [shape[place] for place in space], known)
    else:
        _check_marks(layer.name, _frames_of(_places(layer), frame, to_frame), known)
        _check_units(layer, space, matrix, known)
    return axes, matrix, to_frame


def _places(layer: Points | Shapes | Tracks) -> Floats:
    if isinstance(layer, Shapes):
        return (
            np.concatenate([np.asarray(each, float) for each in layer.data]) if len(layer.data) else np.zeros((0, layer.ndim))
        )
    return np.asarray(layer.data, float)[:, 1 if isinstance(layer, Tracks) else 0 :]


def _frame_axis(layer: Layer, frame: int, known: Known) -> tuple[float, float]:
    """Index along a layer's frame axis of the transforms' frame 0, and of one frame."""
    if known.times is None:
        return 0.0, 1.0
    zero, step = known.times
    point = np.zeros(layer.ndim)
    start = np.asarray(layer.data_to_world(point), float)[frame]
    point[frame] = 1
    own = float(np.asarray(layer.data_to_world(point), float)[frame] - start)
    return (zero - start) / own, step / own


def _frames_of(places: Floats, frame: int, to_frame: tuple[float, float]) -> NDArray[np.int64]:
    return np.rint((places[:, frame] - to_frame[0]) / to_frame[1]).astype(np.int64) if len(places) else np.zeros(0, np.int64)


def _check_frames(name: str, count: int, known: Known) -> None:
    wanted = len(known.registration.transforms)
    if count != wanted:
        raise ValueError(
            f"{name!r} has {count} frames, {known.name!r} has transforms for {wanted}; choose a layer of the same movie, "
            "with all its frames."
        )


def _check_marks(name: str, frames: NDArray[np.int64], known: Known) -> None:
    last = len(known.registration.transforms) - 1
    if len(frames) and (frames.min() < 0 or frames.max() > last):
        wrong = int(frames.max()) if frames.max() > last else int(frames.min())
        raise ValueError(
            f"{name!r} has something in frame {wrong}, {known.name!r} has transforms for frames 0 to {last}; choose a "
            "layer of the same movie, or correct its scale along time."
        )


def _check_units(layer: Layer, space: Sequence[int], matrix: Matrix, known: Known) -> None:
    own = [str(layer.units[place]) for place in space]
    theirs = [str(unit) for unit in known.registration.grid.units]
    if own == theirs:
        return
    # A layer without a unit may still lie on the same voxels.
    is_same = np.allclose(np.abs(np.diag(matrix)[:-1]), known.registration.grid.spacing, rtol=1e-6)
    if is_same and (set(own) == {UNKNOWN_UNIT} or set(theirs) == {UNKNOWN_UNIT}):
        return
    voxels = " × ".join(f"{step:g}" for step in known.registration.grid.spacing)
    raise ValueError(
        f"{layer.name!r} is in {own[-1]}, {known.name!r} in {theirs[-1]} with voxels of {voxels}; "
        "give the layer the scale and units of the movie."
    )


def _check_place(name: str, matrix: Matrix, shape: Sequence[int], known: Known) -> None:
    """Refuse a layer that lies beside what the transforms are about."""
    grid = known.registration.grid
    corners = np.array([(0,) * len(shape), tuple(size - 1 for size in shape)], float)
    own, theirs = (
        np.sort(mapped(matrix, corners), axis=0),
        mapped(grid_matrix(grid), np.array([[0] * grid.ndim, np.array(grid.shape) - 1])),
    )
    step = np.maximum(np.abs(np.diag(matrix)[:-1]), grid.spacing)
    shared = np.minimum(own[1], theirs[1]) - np.maximum(own[0], theirs[0]) + step
    if (shared < 0.1 * (np.minimum(own[1] - own[0], theirs[1] - theirs[0]) + step)).any():
        there, here = (" to ".join(f"({', '.join(f'{value:g}' for value in end)})" for end in ends) for ends in (theirs, own))
        raise ValueError(
            f"{known.name!r} is about the region {there} in {grid.units[-1]}, {name!r} lies at {here}; correct its scale and "
            "translate, or choose another layer."
        )
