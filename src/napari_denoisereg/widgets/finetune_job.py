"""What the dock *Fine-tune* has done in the worker: training with pictures on the way, comparing models. No Qt, no layers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_denoisereg.steps import Progress, Steps, finish, portion

if TYPE_CHECKING:
    from napari_denoisereg.evaluation.keypoints import Keypoints
    from napari_denoisereg.io.library import Library
    from napari_denoisereg.method import Method
    from napari_denoisereg.model import Model
    from napari_denoisereg.stack import Stack
    from napari_denoisereg.training import Training

Picture = np.ndarray[Any, np.dtype[np.uint8]]
Region = tuple[slice, ...]

LARGEST = {2: 448, 3: 96}
"""Longest side that is predicted for a picture, voxels."""
PLANES = 16
NEIGHBOURS = 3  # frames on each side, for methods that look at several
LEAST_SECONDS_BETWEEN = 1.5
MOST_SHARE = 0.1  # of the time goes into pictures
CURVE_POINTS = 300
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


@dataclass(frozen=True, eq=False)
class Sight:
    """What there is to see of a training at one moment.

    Parameters
    ----------
    panels : tuple of Panel
        Side by side; empty where only the curves are new.
    losses, validation : ndarray
        ``(N, 2)``: iteration and figure.
    """

    panels: tuple[Panel, ...] = ()
    losses: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros((0, 2)))
    validation: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros((0, 2)))


@dataclass
class InView:
    """What the viewer shows of the movie. Written on the GUI thread, read by the worker: one field, replaced whole.

    Parameters
    ----------
    place : tuple of int and Region
        Frame, and the region of it, voxels.
    """

    place: tuple[int, Region]


@dataclass(frozen=True, eq=False)
class Order:
    """What is to be trained.

    Parameters
    ----------
    method : Method
        A denoiser or registrar that is trained.
    stacks : tuple of Stack
        Without channel axis; pictures are made of the first.
    start : callable, optional
        Gives the model that ``fit`` starts from.
    keypoints : Keypoints, optional
        Judge the models of a registrar.
    device : str
        Where to train.
    """

    method: Method
    stacks: tuple[Stack, ...]
    start: Callable[[], Model] | None = None
    keypoints: Keypoints | None = None
    device: str = "auto"


@dataclass(frozen=True, eq=False)
class Lesson:
    """What came out of a training.

    Parameters
    ----------
    model : Model
        The best, with a thumbnail.
    kept : mapping of str to Model
        ``"early"``, ``"middle"``, ``"best"``.
    sight : Sight
        At the end.
    """

    model: Model
    kept: Mapping[str, Model]
    sight: Sight


def train(order: Order, view: InView, library: Library) -> Steps[Lesson]:
    """Train, with pictures of what is in view on the way.

    Parameters
    ----------
    order : Order
        What.
    view : InView
        What to make pictures of.
    library : Library
        Where the state is saved now and then; only a crash leaves it there.

    Returns
    -------
    Steps of Lesson
        Each Progress may have a `Sight` as preview, and has the `Training`.

    Raises
    ------
    ValueError
        When an interrupted training cannot go on, because it was of another movie.
    """
    from napari_denoisereg import device as devices
    from napari_denoisereg.checks import inspect
    from napari_denoisereg.training import saved_on_the_way

    count = len(order.stacks)
    for number, stack in enumerate(order.stacks):
        yield from portion(inspect(stack), 0.02 * number / count, 0.02 * (number + 1) / count)
    start = None if order.start is None else order.start()
    where = devices.choose(order.device)
    fit = order.method.fit(order.stacks, start=start, device=where, **_judge(order))  # type: ignore[attr-defined]
    steps = saved_on_the_way(_resumed(fit, start), library.unfinished_path())
    lesson = yield from portion(_watched(steps, order.stacks[0], view), 0.02, 1.0)
    for entry in library.unfinished():
        if start is not None and entry.model.unfinished is not None and _same(entry.model, start):
            library.remove(entry)
    return lesson


def _same(one: Model, other: Model) -> bool:
    """Whether both are one interrupted training."""
    return other.unfinished is not None and one.provenance == other.provenance and one.method == other.method


def _resumed(steps: Steps[Model], start: Model | None) -> Steps[Model]:
    """Refuse to begin afresh where the user wants an interrupted training to go on."""
    try:
        while True:
            progress = next(steps)
            if start is not None and start.unfinished is not None and not progress.training.is_resumed:
                data = start.provenance.get("data", ())
                named = ", ".join(f"{each['name']!r} ({' × '.join(map(str, each['shape']))})" for each in data)
                raise ValueError(
                    f"The interrupted training was of {named}: open that movie with the same axes and tick the same other "
                    "layers, or choose another start."
                )
            yield progress
    except StopIteration as end:
        return end.value
    finally:
        steps.close()


def _judge(order: Order) -> dict[str, Any]:
    from napari_denoisereg.pipeline import keypoint_score
    from napari_denoisereg.register import Registrar

    if order.keypoints is None or not isinstance(order.method, Registrar):
        return {}
    return {"score": keypoint_score((order.method,), order.stacks[0], order.keypoints)}


def _watched(steps: Steps[Model], stack: Stack, view: InView) -> Steps[Lesson]:
    training: Training | None = None
    due, shown = 0.0, None
    try:
        while True:
            progress = next(steps)
            training = progress.training or training
            sight = None
            began = time.monotonic()
            if training is not None and not training.is_stopped and (began >= due or view.place != shown):
                shown = view.place
                sight = replace(curves(training), panels=panels_of(training.model(), stack, shown))
                took = time.monotonic() - began
                due = began + took + max(LEAST_SECONDS_BETWEEN, took / MOST_SHARE)
            yield replace(progress, preview=sight)
    except StopIteration as end:
        model = end.value
    finally:
        steps.close()
    panels = panels_of(model, stack, view.place)
    last = Sight(panels) if training is None else replace(curves(training), panels=panels)
    return Lesson(replace(model, thumbnail=thumbnail(panels)), {} if training is None else training.kept, last)


def curves(training: Training) -> Sight:
    """Both losses so far.

    Parameters
    ----------
    training : Training
        Under way.

    Returns
    -------
    Sight
        The losses as means of blocks of iterations, so that there are at most some hundred points.
    """
    losses = np.array(training.losses, dtype=np.float64)
    block = max(1, -(-len(losses) // CURVE_POINTS))
    starts = np.arange(0, len(losses), block)
    sums = np.add.reduceat(losses, starts) if len(losses) else losses
    counts = np.diff([*starts, len(losses)])
    points = np.column_stack([starts + counts / 2, sums / np.maximum(counts, 1)])
    return Sight((), points, np.array(training.validation, dtype=np.float64).reshape(-1, 2))


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
        its denoised frame where it makes one.
    """
    from napari_denoisereg.denoise import Denoiser

    frame, region = place
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


def comparison(models: Sequence[tuple[str, Model]], stack: Stack, place: tuple[int, Region]) -> Steps[Sight]:
    """Several models on one region of a frame, side by side.

    Parameters
    ----------
    models : sequence of (name, Model)
        With weights, of this stack's dimension.
    stack : Stack
        Without channel axis.
    place : tuple of int and Region
        Frame and region.

    Returns
    -------
    Steps of Sight
        Raw and denoised frames; for registrars the overlay before and those after.

    Raises
    ------
    ValueError
        When a model belongs to another dimension.
    """
    made: list[Panel] = []
    for number, (name, model) in enumerate(models):
        model.expect(type(model.method), stack.grid.ndim)
        yield Progress(number, len(models), "comparing")
        raw, result, *_ = panels_of(model, stack, place)
        made += [] if any(raw.caption == each.caption for each in made) else [raw]
        made.append(Panel(name, result.pixels))
    yield Progress(1, 1, "comparing")
    return Sight(tuple(made))


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
