"""Pictures of what a model makes of a region of a frame: raw, denoised, residual; frames on top of each other. No Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_denoisereg.steps import finish

if TYPE_CHECKING:
    from napari_denoisereg.encode import Encoder
    from napari_denoisereg.model import Model
    from napari_denoisereg.stack import Stack

Picture = np.ndarray[Any, np.dtype[np.uint8]]
Region = tuple[slice, ...]

LARGEST = {2: 448, 3: 96}
"""Longest side that is predicted for a picture, voxels."""
PLANES = 16
NEIGHBOURS = 3  # frames on each side, for methods that look at several
BLUE, ORANGE = np.array([0.0, 114.0, 178.0]), np.array([230.0, 159.0, 0.0])


@dataclass(frozen=True, eq=False)
class Panel:
    """A picture with its caption.

    Parameters
    ----------
    caption : str
        In plain words.
    pixels : ndarray
        ``(y, x)`` grey or ``(y, x, 3)``, uint8.
    """

    caption: str
    pixels: Picture


def panels_of(model: Model, stack: Stack, place: tuple[int, Region]) -> tuple[Panel, ...]:
    """What a model makes of a region of a frame.

    Parameters
    ----------
    model : Model
        With weights.
    stack : Stack
        Without channel axis.
    place : tuple of int and Region
        Frame and region.

    Returns
    -------
    tuple of Panel
        For a denoiser raw, denoised and residual; for a registrar the first frame with this one on it, before and after, and
        its denoised frame where it makes one; for an encoder raw and what its network makes of it.
    """
    from napari_denoisereg.denoise import Denoiser
    from napari_denoisereg.encode import Encoder

    frame, region = place
    if isinstance(model.method, Encoder):
        image, made = _encoded(model.method, model, stack, place)
        limits = contrast_of(image)
        return (Panel("Raw", grey(image, limits)), Panel(model.method.makes, grey(made, limits)))
    if isinstance(model.method, Denoiser):
        raw, clean = predicted(model, stack, place)
        limits = contrast_of(raw)
        return (Panel("Raw", grey(raw, limits)), Panel("Denoised", grey(clean, limits)), Panel("Residual", signed(raw - clean)))
    first, moving, aligned = _aligned(model, stack, frame)
    middle = _plane(region, first.ndim)
    before, after = (overlay(first[middle], other[middle]) for other in (moving, aligned))
    panels = [Panel(f"Frame 0 + {frame}", before), Panel("Aligned", after)]
    if model.method.is_denoiser:  # type: ignore[attr-defined]
        raw, clean = predicted(model, stack, place)
        panels.append(Panel("Denoised", grey(clean, contrast_of(raw))))
    return tuple(panels)


def predicted(model: Model, stack: Stack, place: tuple[int, Region]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Raw and denoised plane of a region.

    Parameters
    ----------
    model : Model
        Of a method that denoises.
    stack : Stack
        Without channel axis.
    place : tuple of int and Region
        Frame and region.

    Returns
    -------
    tuple of ndarray
        ``(y, x)``, float32. Where the region is large only its middle.
    """
    from napari_denoisereg.denoise import Denoiser

    frame, region = place
    method, ndim = model.method, stack.grid.ndim
    reach = 0 if hasattr(method, "image_network") else NEIGHBOURS
    first, last = max(0, frame - reach), min(stack.n_frames - 1, frame + reach)
    cut = _around(region, stack.grid.shape, LARGEST[ndim])
    values = np.stack([stack.frame(number)[cut] for number in range(first, last + 1)]).astype(np.float32)
    axes = stack.frame_axis + stack.spatial_axes
    few = replace(stack, data=values, axes=axes, spacing=(), origin=(), units=(), history=())
    steps = method.run(few, model=model) if isinstance(method, Denoiser) else method.denoise(few, model=model)  # type: ignore[attr-defined]
    clean = np.asarray(finish(steps).frame(frame - first))
    inner = tuple(slice(max(0, r.start - c.start), r.stop - c.start) for r, c in zip(region, cut, strict=True))
    plane = _plane(inner, ndim)
    return values[frame - first][plane], clean[plane]


def _encoded(
    method: Encoder, model: Model, stack: Stack, place: tuple[int, Region]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A plane of a region, and what an encoder's network makes of it."""
    cut = _around(place[1], stack.grid.shape, LARGEST[stack.grid.ndim])
    image = stack.tensor([place[0]])[0][cut]
    plane = _plane(tuple(slice(0, size) for size in image.shape), image.ndim)
    return np.asarray(image)[plane], np.asarray(method.shown(model, image))[plane]


def _aligned(model: Model, stack: Stack, frame: int) -> tuple[np.ndarray[Any, Any], ...]:
    """First frame, a frame, and that frame aligned by the network alone: refinement would hide what it has learnt."""
    from napari_denoisereg.geometry import PerFrame
    from napari_denoisereg.register.registration import Registration

    method: Any = model.method
    if "refinement" in type(method).model_fields:
        method = method.model_copy(update={"refinement": 0})
    fixed, moving = stack.tensor([0]), stack.tensor([frame])
    found = finish(method.align(fixed, moving, stack.grid, model=model))
    few = replace(stack, data=np.asarray(moving), axes=stack.frame_axis + stack.spatial_axes, history=())
    aligned = Registration(PerFrame(found), stack.grid).warp(few)
    return np.asarray(fixed[0]), np.asarray(moving[0]), np.asarray(aligned.frame(0), np.float32)


def _around(region: Region, shape: Sequence[int], longest: int) -> Region:
    """A region made so small that it is quick, or so large that the network sees what is around it."""
    cut = []
    for axis, (part, length) in enumerate(zip(region, shape, strict=True)):
        size = min(length, PLANES if len(shape) == 3 and axis == 0 else longest)
        middle = (part.start + part.stop) // 2
        start = min(max(0, middle - size // 2), length - size)
        cut.append(slice(start, start + size))
    return tuple(cut)


def _plane(region: Region, ndim: int) -> tuple[Any, ...]:
    """The middle plane of a region of a volume, or the region itself."""
    return region if ndim == 2 else ((region[0].start + region[0].stop - 1) // 2, *region[1:])


def contrast_of(plane: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Limits that show a plane well.

    Parameters
    ----------
    plane : ndarray
        Any.

    Returns
    -------
    tuple of float
        Low and high, always different.
    """
    low, high = (float(value) for value in np.nanpercentile(plane, [0.5, 99.8]))
    return (low, high) if high > low else (low, low + 1.0)


def grey(plane: np.ndarray[Any, Any], limits: tuple[float, float]) -> Picture:
    """A plane as grey values.

    Parameters
    ----------
    plane : ndarray
        ``(y, x)``.
    limits : tuple of float
        What becomes black and white.

    Returns
    -------
    ndarray
        ``(y, x)``, uint8.
    """
    low, high = limits
    return np.ascontiguousarray(np.nan_to_num(np.clip((plane - low) / (high - low), 0, 1)) * 255).astype(np.uint8)


def signed(plane: np.ndarray[Any, Any]) -> Picture:
    """Differences in colours: blue below zero, black at zero, orange above.

    Parameters
    ----------
    plane : ndarray
        ``(y, x)``.

    Returns
    -------
    ndarray
        ``(y, x, 3)``, uint8; three standard deviations have full colour.
    """
    scaled = np.clip(plane / (3 * float(plane.std()) or 1.0), -1, 1)[..., None]
    return np.ascontiguousarray(np.where(scaled > 0, scaled * ORANGE, -scaled * BLUE)).astype(np.uint8)


def overlay(fixed: np.ndarray[Any, Any], moving: np.ndarray[Any, Any]) -> Picture:
    """Two planes in one picture: green and magenta, white where they agree.

    Parameters
    ----------
    fixed, moving : ndarray
        ``(y, x)``; NaN is black.

    Returns
    -------
    ndarray
        ``(y, x, 3)``, uint8.
    """
    green, magenta = (grey(each, contrast_of(each)) for each in (fixed, moving))
    return np.ascontiguousarray(np.stack([magenta, green, magenta], axis=-1))


def thumbnail(panels: Sequence[Panel], side: int = 96) -> Any:
    """A small picture of what a model does: the left half of the first panel, the right half of the second.

    Parameters
    ----------
    panels : sequence of Panel
        At least two.
    side : int
        Longest side, px.

    Returns
    -------
    Tensor
        ``(y, x)``, uint8.
    """
    import torch

    before, after = (each.pixels if each.pixels.ndim == 2 else each.pixels.mean(-1) for each in panels[:2])
    step = max(1, -(-max(before.shape) // side))
    whole = np.where(np.arange(before.shape[1]) < before.shape[1] // 2, before, after)[::step, ::step]
    return torch.from_numpy(np.ascontiguousarray(whole).astype(np.uint8))
