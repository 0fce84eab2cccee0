"""Layers to stacks and results to layers. Every napari attribute is read and written here.

A layer places its data in the world by ``scale``, then ``shear``, ``rotate``, ``translate``, then ``affine``. Only the size of
``scale`` goes into the `Stack`'s spacing (origin 0): the engine works in the layer's own upright frame. Everything else is kept
in a `Look` and given back to the results, which therefore lie exactly on their source whatever its rotation or shear.

Results have as many axes as their source. Where the engine returns less (one channel, one frame) the missing axis comes back
with length 1 at its place, because napari aligns layers by their last axes. The engine is imported by what needs it only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer
from napari.utils.transforms import CompositeAffine

from napari_denoisereg.widgets.unsuitable import nothing_to_align, refuse_unsuitable

if TYPE_CHECKING:
    from napari_denoisereg.method import Method
    from napari_denoisereg.stack import Stack
    from napari_denoisereg.widgets.arrows import Arrows

    LayerData = tuple[Any, dict[str, Any], str]

METADATA_KEY = "napari-denoisereg"
VIEW_KEY = "view"  # in that metadata: the layer only shows something for as long as a dock wants it

# Names people give their axes, to the letters of a Stack.
AXIS_NAMES = {
    "t": ("t", "time", "times", "timepoint", "frame", "frames"),
    "c": ("c", "ch", "channel", "channels", "band"),
    "z": ("z", "slice", "slices", "section", "sections", "plane", "planes", "depth"),
    "y": ("y", "row", "rows", "height"),
    "x": ("x", "col", "cols", "column", "columns", "width"),
}
LETTERS = {name: letter for letter, names in AXIS_NAMES.items() for name in names}
IMAGE_AXES = ("yx", "cyx")
TIME_UNITS = ("second", "minute", "hour", "day")
# What the axes before y and x are when nothing says so.
LEADING_AXES = {0: "", 1: "t", 2: "tz", 3: "tcz"}


def detect_axes(layer: Layer) -> str:
    """Guess which axis of a layer is which, from its axis labels, its units, and how many there are.

    Parameters
    ----------
    layer : Layer
        Any layer.

    Returns
    -------
    str
        One letter of ``"tczyx"`` per axis, e.g. ``"tyx"`` for three axes without labels, ``"tzyx"`` for four.
    """
    known = [LETTERS.get(str(label).strip().lower(), "") for label in layer.axis_labels]
    for place, unit in enumerate(layer.units):
        if not known[place] and str(unit).endswith(TIME_UNITS):
            known[place] = "t"
    if len(set(filter(None, known))) < len(list(filter(None, known))):  # two axes of one name: the labels are no help
        known = [""] * layer.ndim
    known[-2:] = [letter or default for letter, default in zip(known[-2:], "yx", strict=True)]
    unknown = known[:-2].count("")
    spare = [axis for axis in LEADING_AXES.get(layer.ndim - 2, "tcz") if axis not in known]
    spare += [axis for axis in "tzc" if axis not in known and axis not in spare]
    fill = iter((spare + ["?"] * unknown)[:unknown])
    return "".join(letter or next(fill) for letter in known)


def is_unlabelled(layer: Layer) -> bool:
    """Whether nothing in a layer says what its axes are, so that `detect_axes` counts them only.

    Parameters
    ----------
    layer : Layer
        Any layer.

    Returns
    -------
    bool
        True where no axis has a name or unit that is known.
    """
    named = any(str(label).strip().lower() in LETTERS for label in layer.axis_labels)
    return not named and not any(str(unit).endswith(TIME_UNITS) for unit in layer.units)


def stack_from(layer: Layer, axes: str | None = None, *, may_be_image: bool = False) -> Stack:
    """Turn an image layer into a stack, without reading or copying its data.

    Parameters
    ----------
    layer : Layer
        A single-scale, single-colour image layer with frames to go through.
    axes : str, optional
        One letter of ``"tczyx"`` per axis, detected by default.
    may_be_image : bool
        Whether a single image (axes ``"yx"`` or ``"cyx"``) is welcome.

    Returns
    -------
    Stack
        Spacing from the layer's scale, origin 0: positions are those in the layer's own upright frame.

    Raises
    ------
    TypeError
        For layers that are no images, RGB, multiscale, bool or complex data.
    ValueError
        For a single 2D image where none is welcome, an empty layer, and axes that do not fit the data.
    """
    from napari_denoisereg.stack import Stack

    refuse_unsuitable(layer)
    chosen = detect_axes(layer) if axes is None else axes
    is_image = chosen in IMAGE_AXES and len(chosen) == layer.ndim
    if is_image and not may_be_image:
        raise ValueError(nothing_to_align(layer.name))
    make = Stack.of_image if is_image else Stack
    return make(
        layer.data,
        axes=chosen,
        spacing=tuple(abs(float(step)) for step in layer.scale),
        units=tuple(str(unit) for unit in layer.units),
        name=layer.name,
    )


def in_words(stack: Stack) -> str:
    """What a stack holds, in plain words.

    Parameters
    ----------
    stack : Stack
        Any stack.

    Returns
    -------
    str
        See `checks.in_words`.
    """
    from napari_denoisereg import checks

    return checks.in_words(stack)


@dataclass(frozen=True, eq=False)
class Look:
    """Where a layer is and how it looks, taken at one moment: results of long work fit what the work started from.

    Parameters
    ----------
    name : str
        Of the layer.
    axes : str
        One letter per axis.
    place : mapping
        ``scale, translate, rotate, shear, affine, units, axis_labels``.
    colours : mapping
        ``colormap, contrast_limits, gamma, blending, interpolation2d``.
    """

    name: str
    axes: str
    place: Mapping[str, Any]
    colours: Mapping[str, Any]

    @classmethod
    def of(cls, layer: Image, axes: str) -> Look:
        """Look at a layer.

        Parameters
        ----------
        layer : Image
            An image layer.
        axes : str
            One letter per axis.

        Returns
        -------
        Look
            Copies: later changes of the layer do not reach it.
        """
        place = {
            "scale": np.array(layer.scale),
            "translate": np.array(layer.translate),
            "rotate": np.array(layer.rotate),
            "shear": np.array(layer.shear),
            "affine": np.array(layer.affine.affine_matrix),
            "units": tuple(layer.units),
            "axis_labels": tuple(layer.axis_labels),
        }
        colours = {
            "colormap": layer.colormap.name,
            "contrast_limits": tuple(float(limit) for limit in layer.contrast_limits),
            "gamma": float(layer.gamma),
            "blending": str(layer.blending),
            "interpolation2d": str(layer.interpolation2d),
        }
        return cls(layer.name, axes, place, colours)

    def placed(self, steps: Sequence[float], start: Sequence[float]) -> dict[str, Any]:
        """Place of data that starts elsewhere in the layer or has other voxels.

        Parameters
        ----------
        steps : sequence of float
            Size of the data's voxels in the layer's voxels, per axis; 1 for the same.
        start : sequence of float
            Index in the layer of the data's voxel 0, per axis.

        Returns
        -------
        dict
            As ``place``.
        """
        linear = CompositeAffine(
            scale=self.place["scale"], rotate=self.place["rotate"], shear=self.place["shear"]
        ).linear_matrix
        moved = self.place["translate"] + linear @ np.asarray(start, dtype=float)
        return {**self.place, "scale": self.place["scale"] * np.asarray(steps), "translate": moved}


def provenance(look: Look, recipe: Method, **more: Any) -> dict[str, Any]:
    """What a result layer says about where it comes from.

    Parameters
    ----------
    look : Look
        Of the source layer.
    recipe : Method
        What made the result.
    **more
        Further entries.

    Returns
    -------
    dict
        Layer metadata: ``recipe`` is JSON-ready and restores the Method.
    """
    record = {
        "recipe": recipe.to_dict(),
        "source": look.name,
        "axes": look.axes,
        "version": version(METADATA_KEY),
        **more,
    }
    return {METADATA_KEY: record}


def image_layer_data(
    stack: Stack, look: Look, suffix: str, recipe: Method, *, channel: int = 0, limits: tuple[float, float] | None = None
) -> LayerData:
    """A result as an image layer that lies on its source and looks like it.

    Parameters
    ----------
    stack : Stack
        The result; its channel axis may be gone.
    look : Look
        Of the source layer.
    suffix : str
        What was done, e.g. ``"denoised"``.
    recipe : Method
        What made it.
    channel : int
        Which channel the result is of, where its channel axis is gone.
    limits : tuple of float, optional
        Contrast limits; the source's by default.

    Returns
    -------
    LayerDataTuple
        Named ``"<source> [<suffix>]"``.
    """
    data, steps, start = stack.data[0] if stack.is_image else stack.data, [], []
    for place, axis in enumerate(look.axes):
        if axis not in stack.axes:
            data = data[(slice(None),) * place + (None,)]
            steps.append(1.0)
            start.append(float(channel))
            continue
        own = stack.axes.index(axis)
        step = abs(float(look.place["scale"][place]))
        steps.append(stack.spacing[own] / step)
        start.append(stack.origin[own] / step)
    colours = {**look.colours, "contrast_limits": limits or look.colours["contrast_limits"]}
    settings = {"name": f"{look.name} [{suffix}]", "metadata": provenance(look, recipe, result=suffix)}
    return data, {**settings, **look.placed(steps, start), **colours}, "image"


def frame_layer_data(
    frame: np.ndarray[Any, Any], look: Look, suffix: str, recipe: Method, *, number: int, channel: int = 0
) -> LayerData:
    """One frame as an image layer that shows only at its frame.

    Parameters
    ----------
    frame : ndarray
        Spatial axes of the source.
    look : Look
        Of the source layer.
    suffix : str
        What was done, e.g. ``"preview"``.
    recipe : Method
        What made it.
    number, channel : int
        Which frame of which channel it is.

    Returns
    -------
    LayerDataTuple
        Named ``"<source> [<suffix>]"``.
    """
    series = "t" if "t" in look.axes else "z"
    places = {series: float(number), "c": float(channel)}
    index = tuple(None if axis in places else slice(None) for axis in look.axes)
    start = [places.get(axis, 0.0) for axis in look.axes]
    settings = {"name": f"{look.name} [{suffix}]", "metadata": provenance(look, recipe, frame=number)}
    colours = {**look.colours, "contrast_limits": contrast(frame)}
    return frame[index], {**settings, **look.placed([1.0] * len(start), start), **colours}, "image"


def arrow_layer_data(arrows: Arrows, look: Look, recipe: Method, *, registration: Any, channel: int = 0) -> LayerData:
    """Displacements as a vectors layer: from each place of the first frame to where it was found in frame t.

    Parameters
    ----------
    arrows : Arrows
        In voxels of the source.
    look : Look
        Of the source layer.
    recipe : Method
        What made it.
    registration : Registration
        The dense result, kept for export in ``metadata["napari-denoisereg"]["registration"]``.
    channel : int
        Channel in which the arrows show, where there are several.

    Returns
    -------
    LayerDataTuple
        Named ``"<source> [displacement]"``; data ``(N, 2, ndim)``, coloured by length in world units; not shown at first.
    """
    series = "t" if "t" in look.axes else "z"
    spatial = [axis for axis in look.axes if axis in "zyx" and axis != series]
    data = np.zeros((len(arrows.frames), 2, len(look.axes)), np.float32)
    data[:, 0, look.axes.index(series)] = arrows.frames
    if "c" in look.axes:
        data[:, 0, look.axes.index("c")] = channel
    for number, axis in enumerate(spatial):
        data[:, 0, look.axes.index(axis)] = arrows.starts[:, number]
        data[:, 1, look.axes.index(axis)] = arrows.shifts[:, number]
    settings: dict[str, Any] = {
        "name": f"{look.name} [displacement]",
        "visible": False,  # arrows would cover what people want to see first
        "metadata": provenance(look, recipe, registration=registration),
        "vector_style": "arrow",
        "edge_width": arrows.width,
        "length": 1.0,
        "features": {"length": arrows.lengths},
    }
    if len(arrows.frames):
        top = max(float(arrows.lengths.max()), 1e-6)
        settings |= {"edge_color": "length", "edge_colormap": "cool", "edge_contrast_limits": (0.0, top)}
    return data, {**settings, **look.place}, "vectors"


def contrast(frame: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Contrast limits that show a frame well.

    Parameters
    ----------
    frame : ndarray
        Any frame.

    Returns
    -------
    tuple of float
        Low and high, always different.
    """
    low, high = (float(value) for value in np.nanpercentile(frame, [0.1, 99.95]))
    return (low, high) if high > low else (low, low + 1.0)
