"""The transforms a session knows: found on layers, read from files, or made of others; and how they lie in the viewer. No Qt.

A registration thinks in its own upright coordinates. For one that was found on a layer `Known.place` says where these lie in
napari's world. For one from a file nothing says so: its coordinates are taken to be ``scale * index + translate`` of the layer
it is applied to (without ``translate`` where that layer is turned or sheared), which is what `saved_form` writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_denoisereg.widgets.layers import LETTERS, METADATA_KEY, detect_axes

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_denoisereg.register import Registration

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Known:
    """Transforms with a name.

    Parameters
    ----------
    name : str
        Shown to people.
    registration : Registration
        One transform per frame.
    axes : str
        Of the layer it was found on, e.g. ``"tcyx"``; empty where unknown.
    place : ndarray, optional
        The registration's coordinates to napari's world ``(D+1, D+1)``; None where unknown.
    times : tuple of float, optional
        World position of frame 0 and distance of frames; None where unknown.
    """

    name: str
    registration: Registration
    axes: str = ""
    place: Matrix | None = None
    times: tuple[float, float] | None = None

    @property
    def in_words(self) -> str:
        """What it holds, e.g. ``"25 frames, 2D, affine"``."""
        transforms = self.registration.transforms
        bent = sum(not transform.is_affine for transform in transforms)
        kind = "affine" if not bent else "displacement fields" if bent == len(transforms) else "affine and displacement fields"
        return f"{len(transforms)} frame{'s' if len(transforms) != 1 else ''}, {transforms.ndim}D, {kind}"

    def derived(self, name: str, registration: Registration) -> Known:
        """Other transforms of the same place.

        Parameters
        ----------
        name : str
            Their name.
        registration : Registration
            The transforms.

        Returns
        -------
        Known
            With the same axes, place and times.
        """
        return replace(self, name=name, registration=registration)


def found_on(layers: Iterable[Layer]) -> list[Known]:
    """Transforms that result layers carry.

    Parameters
    ----------
    layers : iterable of Layer
        Of a viewer.

    Returns
    -------
    list of Known
        In the order of the layers.
    """
    found = []
    for layer in layers:
        record = layer.metadata.get(METADATA_KEY)
        registration = record.get("registration") if isinstance(record, dict) else None
        if registration is not None:
            found.append(known_on(layer, registration, str(record["axes"])))
    return found


def known_on(layer: Layer, registration: Registration, axes: str, name: str = "") -> Known:
    """Transforms of a layer: they lie where the layer lies.

    Parameters
    ----------
    layer : Layer
        The movie, or a result with the voxels of the movie.
    registration : Registration
        Found on it, in its own upright coordinates.
    axes : str
        One letter per axis.
    name : str
        The layer's by default.

    Returns
    -------
    Known
        With place and times.
    """
    ndim = registration.grid.ndim
    index_to_world, (start, step) = placement(layer, axes, ndim)
    index_from_coordinates = np.linalg.inv(grid_matrix(registration.grid))
    return Known(name or layer.name, registration, axes, index_to_world @ index_from_coordinates, (start, step))


def axes_of(layer: Layer, known: Known) -> str:
    """Which axis of a layer is which: as its labels say, or else as in the movie the transforms come from.

    Parameters
    ----------
    layer : Layer
        Any layer.
    known : Known
        The transforms.

    Returns
    -------
    str
        One letter per axis.
    """
    is_labelled = any(str(label).strip().lower() in LETTERS for label in layer.axis_labels)
    if not is_labelled and len(known.axes) == layer.ndim:
        return known.axes
    return detect_axes(layer)


def parts_of(axes: str, ndim: int) -> tuple[int, list[int]]:
    """Which axis counts the frames and which ones are the space of a frame.

    Parameters
    ----------
    axes : str
        One letter per axis.
    ndim : int
        Number of spatial axes of the transforms.

    Returns
    -------
    frame : int
        Place of the frame axis.
    space : list of int
        Places of the spatial axes, in axis order.

    Raises
    ------
    ValueError
        When the axes are others.
    """
    spatial = "zyx"[-ndim:]
    frame = [place for place, axis in enumerate(axes) if axis not in spatial and axis != "c"]
    space = [axes.index(axis) for axis in spatial if axis in axes]
    if len(frame) != 1 or len(space) != ndim or space != sorted(space):
        wanted = "t, y, x (or z, y, x for sections)" if ndim == 2 else "t, z, y, x"
        raise ValueError(
            f"Expected the axes {wanted}, with or without channels c, got {', '.join(axes)}: the transforms are {ndim}D, "
            "one per frame. Correct the layer's axis labels, or choose other transforms."
        )
    return frame[0], space


def placement(layer: Layer, axes: str, ndim: int) -> tuple[Matrix, tuple[float, float]]:
    """Where a layer's frames are in napari's world.

    Parameters
    ----------
    layer : Layer
        Any layer.
    axes : str
        One letter per axis.
    ndim : int
        Number of spatial axes.

    Returns
    -------
    matrix : ndarray
        Index in a frame to world, ``(D+1, D+1)``.
    times : tuple of float
        World position of frame 0, and distance of frames.

    Raises
    ------
    ValueError
        When the layer is turned so that time becomes space.
    """
    frame, space = parts_of(axes, ndim)
    zero = np.asarray(layer.data_to_world(np.zeros(layer.ndim)), float)
    linear = np.stack([np.asarray(layer.data_to_world(step), float) - zero for step in np.eye(layer.ndim)], axis=1)
    others = [place for place in range(layer.ndim) if place not in space]
    if np.abs(linear[np.ix_(space, others)]).max() > 1e-9 or np.abs(linear[np.ix_(others, space)]).max() > 1e-9:
        raise ValueError(
            f"{layer.name!r} is turned so that its frames are not parallel to the screen's axes; reset its affine."
        )
    matrix = np.eye(ndim + 1)
    matrix[:-1, :-1] = linear[np.ix_(space, space)]
    matrix[:-1, -1] = zero[space]
    return matrix, (float(zero[frame]), float(linear[frame, frame]))


def coordinates(layer: Layer, axes: str, known: Known) -> Matrix:
    """Index in a frame of a layer to the coordinates of transforms.

    Parameters
    ----------
    layer : Layer
        What the transforms are applied to.
    axes : str
        One letter per axis.
    known : Known
        The transforms.

    Returns
    -------
    ndarray
        ``(D+1, D+1)``.
    """
    ndim = known.registration.grid.ndim
    to_world, _ = placement(layer, axes, ndim)
    if known.place is not None:
        return np.linalg.inv(known.place) @ to_world
    if is_upright(to_world):
        return to_world
    _, space = parts_of(axes, ndim)
    return np.diag([*np.abs(np.asarray(layer.scale)[space]), 1.0])


def saved_form(known: Known) -> Registration:
    """Transforms as they are written to a file: with the position of an upright layer, else in its own coordinates.

    Parameters
    ----------
    known : Known
        The transforms.

    Returns
    -------
    Registration
        Read again and applied to the same layer it gives the same result.
    """
    if known.place is None or not np.allclose(known.place[:-1, :-1], np.eye(len(known.place) - 1), atol=1e-12):
        return known.registration
    offset = known.place[:-1, -1]
    return known.registration.shifted(offset.tolist()) if offset.any() else known.registration


def is_upright(matrix: Matrix) -> bool:
    """Whether a matrix only scales by positive factors and shifts.

    Parameters
    ----------
    matrix : ndarray
        ``(D+1, D+1)``.

    Returns
    -------
    bool
        True for a layer that is neither turned, mirrored nor sheared.
    """
    linear = matrix[:-1, :-1]
    return bool(np.abs(linear - np.diag(np.diag(linear))).max() <= 1e-9 * np.abs(linear).max() and (np.diag(linear) > 0).all())


def grid_matrix(grid: Any) -> Matrix:
    """Index to world of a Grid.

    Parameters
    ----------
    grid : Grid
        Any grid.

    Returns
    -------
    ndarray
        ``(D+1, D+1)``.
    """
    matrix = np.diag([*grid.spacing, 1.0])
    matrix[:-1, -1] = grid.origin
    return matrix
