"""What there is to inspect: a movie, what was made of it, and where in it the viewer looks. No Qt.

Results are found by what their layers say about themselves (`layers.provenance`), not by their names, which people change.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer, Points

from napari_denoisereg.widgets.keypoint_features import counting, in_voxels, words
from napari_denoisereg.widgets.layers import METADATA_KEY, VIEW_KEY, Look, detect_axes, stack_from

if TYPE_CHECKING:
    from napari_denoisereg.evaluation.keypoints import Keypoints
    from napari_denoisereg.register import Registration
    from napari_denoisereg.stack import Stack


@dataclass(frozen=True)
class Position:
    """Where in a movie the viewer looks.

    Parameters
    ----------
    frame, channel : int
        Counted from 0.
    plane : int or None
        Plane of a volume; None for flat frames and where the whole volume is in view.
    """

    frame: int
    channel: int = 0
    plane: int | None = None


@dataclass(frozen=True, eq=False)
class Results:
    """A movie and what was made of it.

    Parameters
    ----------
    layer : Image
        The movie.
    look : Look
        How it lies and looks.
    noisy : Stack
        The movie.
    denoised, aligned : Stack or None
        Same frames and places as the movie.
    registration : Registration or None
        Of the movie.
    keypoints : Points or None
        Marks with the feature ``id``.
    """

    layer: Image
    look: Look
    noisy: Stack
    denoised: Stack | None = None
    aligned: Stack | None = None
    registration: Registration | None = None
    keypoints: Points | None = None

    @property
    def spatial(self) -> str:
        """Axes of a frame."""
        return self.noisy.spatial_axes

    @property
    def unit(self) -> str:
        """World unit of a frame, as people write it."""
        return short_unit(self.noisy.grid.units[-1])

    def position(self, point: Iterable[float], *, is_whole: bool = False) -> Position:
        """Where in the movie a point of the world is.

        Parameters
        ----------
        point : iterable of float
            World coordinates; those of the viewer's sliders.
        is_whole : bool
            Whether whole volumes are in view.

        Returns
        -------
        Position
            The nearest frame, channel and plane that exist.
        """
        axes = self.look.axes
        index = np.asarray(self.layer.world_to_data(tuple(point)))[-len(axes) :]
        inside = {
            axis: int(np.clip(round(float(i)), 0, n - 1)) for axis, i, n in zip(axes, index, self.noisy.shape, strict=True)
        }
        plane = inside["z"] if "z" in self.spatial and not is_whole else None
        return Position(inside[self.noisy.frame_axis], inside.get("c", 0), plane)

    def step_of(self, frame: int) -> tuple[int, float]:
        """Which slider shows a frame, and where it must stand.

        Parameters
        ----------
        frame : int
            Counted from 0.

        Returns
        -------
        tuple of int and float
            Axis of the layer, counted from the last (-1), and world coordinate along it.
        """
        place = self.look.axes.index(self.noisy.frame_axis)
        index = np.zeros(len(self.look.axes))
        index[place] = frame
        return place - len(self.look.axes), float(np.asarray(self.layer.data_to_world(index))[place])

    def warped(self, *, clean: bool) -> Stack | None:
        """The aligned movie.

        Parameters
        ----------
        clean : bool
            The denoised one, where there is one and a registration.

        Returns
        -------
        Stack or None
            Lazy; None without registration and aligned layer.
        """
        if self.registration is None:
            return self.aligned
        if clean and self.denoised is not None:
            return self.registration.warp(self.denoised)
        return self.aligned if self.aligned is not None else self.registration.warp(self.noisy)

    def recorded(self, *, clean: bool) -> Stack:
        """The movie where it was recorded; the denoised one where it is wanted and exists."""
        return self.denoised if clean and self.denoised is not None else self.noisy

    def keypoint_table(self) -> Keypoints | None:
        """The keypoints that count, in voxels of the movie; None where there are none."""
        from napari_denoisereg.evaluation.keypoints import Keypoints

        if self.keypoints is None or not len(self.keypoints.data):
            return None
        counts = counting(self.keypoints.features)
        if not counts.any():
            return None
        there, features = in_voxels(self.keypoints, self.layer)[counts], self.keypoints.features[counts]
        axes, kinds = self.look.axes, words(features, "kind", "interior")
        spatial = there[:, [axes.index(axis) for axis in self.spatial]]
        frames = np.rint(there[:, axes.index(self.noisy.frame_axis)]).astype(int)
        return Keypoints(frames, features["id"].to_numpy(), spatial, words(features, "annotator", ""), kinds)


def axes_of(layer: Image, layers: Iterable[Layer]) -> str:
    """Axes of a movie: those its newest result was made with, which the user may have corrected.

    Parameters
    ----------
    layer : Image
        The movie.
    layers : iterable of Layer
        Of the viewer, in their order.

    Returns
    -------
    str
        As detected where there are no results yet.
    """
    made = [record for each in layers if (record := record_of(each)).get("source") == layer.name]
    stated = [str(record["axes"]) for record in made if len(str(record.get("axes", ""))) == layer.ndim]
    return stated[-1] if stated else detect_axes(layer)


def results_of(layer: Image, axes: str, choices: dict[str, Layer | None]) -> Results:
    """Collect what there is.

    Parameters
    ----------
    layer : Image
        The movie.
    axes : str
        Its axes.
    choices : dict
        Layers for ``"denoised"``, ``"aligned"``, ``"displacement"`` and ``"keypoints"``.

    Returns
    -------
    Results
        Nothing is read or copied.

    Raises
    ------
    TypeError, ValueError
        When the layer is no movie; see `layers.stack_from`.
    """
    stacks = {role: stack_from(chosen, axes) for role in ("denoised", "aligned") if (chosen := choices.get(role)) is not None}
    displacement = choices.get("displacement")
    return Results(
        layer,
        Look.of(layer, axes),
        stack_from(layer, axes),
        denoised=stacks.get("denoised"),
        aligned=stacks.get("aligned"),
        registration=None if displacement is None else record_of(displacement).get("registration"),
        keypoints=choices.get("keypoints"),
    )


def candidates(layers: Iterable[Layer], source: Image, axes: str) -> dict[str, list[Layer]]:
    """Layers that may be results of a movie, the likeliest first.

    Parameters
    ----------
    layers : iterable of Layer
        Of the viewer, in their order.
    source : Image
        The movie.
    axes : str
        Its axes.

    Returns
    -------
    dict
        Per role of `results_of`.
    """
    others = [layer for layer in layers if layer is not source and VIEW_KEY not in record_of(layer)]
    names = {layer.name for layer in others} | {source.name}
    found: dict[str, list[Layer]] = {"denoised": [], "aligned": [], "displacement": [], "keypoints": []}
    for layer in reversed(others):
        record = record_of(layer)
        # A movie that was renamed after the run leaves results behind whose source no longer exists.
        belongs = record.get("source") == source.name or ("source" in record and record["source"] not in names)
        role = record.get("result", "")
        if isinstance(layer, Image) and belongs and role in ("denoised", "aligned") and _fits(layer, source, axes):
            found[role].append(layer)
        elif belongs and _registration_fits(record.get("registration"), source, axes):
            found["displacement"].append(layer)
        elif isinstance(layer, Points) and layer.ndim == source.ndim and "id" in layer.features:
            found["keypoints"].append(layer)
    return found


def record_of(layer: Layer) -> dict[str, Any]:
    """What a layer says about how this plugin made it; empty for the user's own."""
    record = layer.metadata.get(METADATA_KEY)
    return record if isinstance(record, dict) else {}


def short_unit(unit: str) -> str:
    """A unit as people write it, e.g. ``"µm"`` for micrometer."""
    known = {
        "micrometer": "µm",
        "nanometer": "nm",
        "millimeter": "mm",
        "second": "s",
        "minute": "min",
        "hour": "h",
        "pixel": "px",
    }
    return known.get(unit, unit)


def _fits(layer: Image, source: Image, axes: str) -> bool:
    shapes = (layer.data.shape, source.data.shape)
    if layer.multiscale or layer.rgb or len(shapes[0]) != len(shapes[1]):
        return False
    return all(one == other or axis == "c" for axis, one, other in zip(axes, *shapes, strict=True))


def _registration_fits(registration: Any, source: Image, axes: str) -> bool:
    if registration is None:
        return False
    frames = "t" if "t" in axes else "z"
    return bool(len(registration.transforms) == source.data.shape[axes.index(frames)])
