"""What the dock *Fine-tune* has done in the worker: training with pictures on the way, comparing models. No Qt, no layers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_denoisereg.steps import Progress, Steps, portion
from napari_denoisereg.widgets.finetune_pictures import Panel, Region, panels_of, thumbnail

if TYPE_CHECKING:
    from napari_denoisereg.evaluation.keypoints import Keypoints
    from napari_denoisereg.io.library import Library
    from napari_denoisereg.method import Method
    from napari_denoisereg.model import Model
    from napari_denoisereg.stack import Stack
    from napari_denoisereg.training import Training

NEEDS_FRAMES = (
    "{method} learns to register, which needs at least two frames, and {name!r} is a single one. Choose a method that denoises "
    "single images, such as Noise2Void, or open a movie."
)
LEAST_SECONDS_BETWEEN = 1.5
MOST_SHARE = 0.1  # of the time goes into pictures
CURVE_POINTS = 300


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
    labels : tuple of Stack
        One for each stack, for encoders that learn from labels.
    """

    method: Method
    stacks: tuple[Stack, ...]
    start: Callable[[], Model] | None = None
    keypoints: Keypoints | None = None
    device: str = "auto"
    labels: tuple[Stack, ...] = ()


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
    before : float, optional
        Error at the keypoints that chose the model, px, had nothing been moved.
    """

    model: Model
    kept: Mapping[str, Model]
    sight: Sight
    before: float | None = None


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
    from napari_denoisereg.denoise import Denoiser
    from napari_denoisereg.register import Registrar
    from napari_denoisereg.training import gone_on_with, saved_on_the_way

    # Labels and keypoints belong to frames by their numbers: then none can be left out.
    count, may_drop = len(order.stacks), isinstance(order.method, Denoiser)
    least = 2 if isinstance(order.method, Registrar) else 1  # denoisers that need neighbours say so themselves
    stacks: list[Stack] = []
    for number, stack in enumerate(order.stacks):
        if stack.n_frames < least:
            raise ValueError(NEEDS_FRAMES.format(method=order.method.title, name=stack.name))
        look = inspect(stack, least_frames=least, may_drop=may_drop)
        seen = yield from portion(look, 0.02 * number / count, 0.02 * (number + 1) / count)
        seen.warn_of_dropped()
        stacks.append(stack.without_frames(seen.dropped_of(0)))
    start = None if order.start is None else order.start()
    where = devices.choose(order.device)
    fit = order.method.fit(stacks, start=start, device=where, **_help(order))  # type: ignore[attr-defined]
    steps = saved_on_the_way(gone_on_with(fit, start), library.unfinished_path())
    lesson = yield from portion(_watched(steps, order.stacks[0], view), 0.02, 1.0)
    for entry in library.unfinished():
        if start is not None and entry.model.unfinished is not None and _same(entry.model, start):
            library.remove(entry)
    return replace(lesson, before=_unmoved(order.keypoints) if "score" in lesson.model.provenance else None)


def _unmoved(keypoints: Keypoints | None) -> float | None:
    """Error at the keypoints that judge models, px, before registration."""
    from napari_denoisereg.judging import evaluate, validation_frames

    if keypoints is None:
        return None
    error = evaluate(keypoints.where(np.isin(keypoints.frame, [0, *validation_frames(keypoints)])))
    return float(np.nanmean(error.before[error.frame > 0]))


def _same(one: Model, other: Model) -> bool:
    """Whether both are one interrupted training."""
    return other.unfinished is not None and one.provenance == other.provenance and one.method == other.method


def _help(order: Order) -> dict[str, Any]:
    """What some methods are given beside the movies."""
    from napari_denoisereg.pipeline import keypoint_score
    from napari_denoisereg.register import Registrar

    if order.labels:
        return {"labels": order.labels}
    if order.keypoints is None or not isinstance(order.method, Registrar):
        return {}
    return {"score": keypoint_score((order.method,), order.stacks[0], order.keypoints)}


def _watched(steps: Steps[Model], stack: Stack, view: InView) -> Steps[Lesson]:
    training: Training | None = None
    due, curves_due, shown = 0.0, 0.0, None
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
            elif training is not None and began >= curves_due:  # curves cost nothing: they do not wait for slow pictures
                sight = curves(training)
            if sight is not None:
                curves_due = time.monotonic() + LEAST_SECONDS_BETWEEN
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
