"""Register a whole stack: one registrar after the other, each starting from what the last one found."""

import itertools
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from napari_denoisereg.appearance import differences
from napari_denoisereg.geometry import Grid, Identity, PerFrame
from napari_denoisereg.geometry.landmarks import fit
from napari_denoisereg.model import Model
from napari_denoisereg.register.anchors import Landmarks, check_landmarks
from napari_denoisereg.register.follow import Follower
from napari_denoisereg.register.quality import Doubts, measure
from napari_denoisereg.register.quality import judge as judge_frames
from napari_denoisereg.register.region import Region
from napari_denoisereg.register.registrar import Registrar, Score
from napari_denoisereg.register.registration import Registration
from napari_denoisereg.register.retry import retry
from napari_denoisereg.register.series import Combined, Series, Task
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Progress, Steps, portion

Judge = Callable[[Registrar, Stack, PerFrame | None], Score | None]
_Find = Callable[[Stack, Stack | None, Sequence[Registrar], "_Way", PerFrame | None], Steps[tuple[PerFrame, tuple[Model, ...]]]]


def train(
    registrars: Sequence[Registrar],
    stack: Stack,
    *,
    models: Sequence[Model] = (),
    device: torch.device | str = "cpu",
    score: Score | None = None,
) -> Steps[tuple[Model, ...]]:
    """Get a model for every registrar that needs one: a given one, or one trained on the stack.

    Parameters
    ----------
    registrars : sequence of Registrar
        Of a recipe.
    stack : Stack
        Noisy frames, without channel axis.
    models : sequence of Model
        Those there are.
    device : torch.device or str
        Where to train.
    score : callable, optional
        See `Registrar.fit`.

    Returns
    -------
    Steps of tuple of Model
        One per trained registrar, in order.

    Raises
    ------
    ValueError
        When a model belongs to no registrar of the recipe, or to another dimension.
    """
    trained = [registrar for registrar in registrars if registrar.is_trained]
    strange = [model for model in models if type(model.method) not in {type(registrar) for registrar in trained}]
    if strange:
        wanted = [registrar.kind for registrar in registrars]
        raise ValueError(f"A model of {strange[0].method.kind!r} was given, but the registrars are {wanted}.")
    results = []
    for number, registrar in enumerate(trained):
        model = _model_of(registrar, models)
        if model is None:
            steps = registrar.fit([stack], device=device, score=score)
            model = yield from portion(steps, number / len(trained), (number + 1) / len(trained))
        model.expect(type(registrar), stack.grid.ndim)
        results.append(model)
    return tuple(results)


def check_order(registrars: Sequence[Registrar]) -> None:
    """Refuse a recipe in which a method that moves the image as a whole would have to go on from bends.

    Parameters
    ----------
    registrars : sequence of Registrar
        Of the recipe, in order.

    Raises
    ------
    ValueError
        Names both and says what to do.
    """
    for before, after in itertools.combinations(registrars, 2):
        if before.bends and after.bends is False:
            raise ValueError(
                f"Expected methods that move the image as a whole before those that bend it, got {after.kind} after "
                f"{before.kind}; put {after.kind} first, or leave it out."
            )


def register_stack(  # noqa: PLR0913 - everything after registrars is a keyword
    stack: Stack,
    registrars: Sequence[Registrar],
    *,
    series: Series | None = None,
    models: Sequence[Model] = (),
    device: torch.device | str = "cpu",
    noisy: Stack | None = None,
    start: PerFrame | None = None,
    region: Region | None = None,
) -> Steps[Registration]:
    """Register a stack to its first frame.

    Parameters
    ----------
    stack : Stack
        Frames to look at (denoised ones where there are any), without channel axis.
    registrars : sequence of Registrar
        The first gives the next its start.
    series : Series, optional
        How pairs become a stack; `Combined` by default.
    models : sequence of Model
        One for each registrar that is trained; one that is missing is trained on the stack.
    device : torch.device or str
        Where to compute.
    noisy : Stack, optional
        The frames before denoising, for registrars that denoise themselves.
    start : PerFrame, optional
        What is known already, the first the identity. What is affine in it is refined; what is bent besides stays.
    region : Region, optional
        Where to look; the transforms hold for the whole frame.

    Returns
    -------
    Steps of Registration
        With quality (in the region) and flagged frames.
    """
    steps = train_and_register(
        stack, registrars, series=series, models=models, device=device, noisy=noisy, start=start, region=region
    )
    return (yield from steps)[0]


def train_and_register(  # noqa: PLR0913 - everything after registrars is a keyword
    stack: Stack,
    registrars: Sequence[Registrar],
    *,
    series: Series | None = None,
    models: Sequence[Model] = (),
    device: torch.device | str = "cpu",
    noisy: Stack | None = None,
    start: PerFrame | None = None,
    judge: Judge | None = None,
    region: Region | None = None,
    landmarks: Landmarks | None = None,
    learnt: Sequence[Model] = (),
) -> Steps[tuple[Registration, tuple[Model, ...]]]:
    """Register a stack to its first frame; each registrar that needs a model is trained on what those before it aligned.

    Parameters
    ----------
    stack, registrars, series, device, noisy, start, region
        See `register_stack`.
    models : sequence of Model
        Those there are already. The user is told when one of them was trained on other kinds of frames.
    judge : callable, optional
        From a registrar, the frames it looks at and what is known of their motion to its `Score`, or None.
    landmarks : Landmarks, optional
        Places that were marked, a part of what is minimised by the registrars that take them; the others go without.
    learnt : sequence of Model
        Those of ``models`` that were just trained on this stack, about which nobody needs to be told anything.

    Returns
    -------
    Steps of (Registration, tuple of Model)
        And the model of every trained registrar, in order.

    Raises
    ------
    ValueError
        When there are landmarks and no registrar takes them, or a model was trained with other settings; see `check_order`.
    """
    check_order(registrars)
    if landmarks is not None:
        check_landmarks(registrars)
    registrars = [_as_trained(registrar, models) for registrar in registrars]
    way = _Way(series or Combined(), torch.device(device), tuple(models), judge, landmarks, tuple(learnt))
    is_followed = region is not None and region.is_followed
    if region is None or not is_followed:
        find, seen, others = _find, _confined(stack, region), None if noisy is None else _confined(noisy, region)
    else:
        find, seen, others = partial(_followed, region), stack, noisy
    found, used = yield from portion(_find_from(seen, others, registrars, way, start, find), 0.0, 0.95)
    figures = yield from portion(_measured(stack, found, region, registrars, way.device), 0.95, 0.97)
    gains: Mapping[int, str] = {}
    doubts = _doubts(figures, stack)
    if doubts.lost and stack.frame_axis != "z" and landmarks is None and not is_followed:
        found, gains = yield from portion(_retried(seen, others, registrars, used, found, doubts, way), 0.97, 0.99)
        if gains:
            figures = yield from portion(_measured(stack, found, region, registrars, way.device), 0.99, 1.0)
            doubts = _doubts(figures, stack)
    yield Progress(1, 1, "checking frames")
    step = {"register": [registrar.to_dict() for registrar in registrars], "series": way.series.to_dict()}
    if gains:
        step["retried"] = {str(frame): gain for frame, gain in gains.items()}
    reasons = doubts.reasons
    return Registration(found, stack.grid, figures, tuple(reasons), (*stack.history, step), reasons), used


def _confined(stack: Stack, region: Region | None) -> Stack:
    return stack if region is None else region.confine(stack)


def _measured(
    stack: Stack, found: PerFrame, region: Region | None, registrars: Sequence[Registrar], device: torch.device
) -> Steps[dict[str, NDArray[np.float64]]]:
    """Figures per frame, in the region."""
    seen = _confined(stack, region)
    check = partial(measure, device=device, bridges_stains=any(registrar.bridges_stains for registrar in registrars))
    if region is None or not region.is_followed:
        return (yield from check(seen, found))
    still = PerFrame([Identity(stack.grid.ndim)] * stack.n_frames)
    before = (yield from portion(check(seen, still), 0.0, 0.5))["before"]
    seen = _confined(Registration(found, stack.grid).warp(stack, outside="edge"), region)
    after = yield from portion(check(seen, still, motion=found), 0.5, 1.0)
    return {**after, "before": before}


def _doubts(figures: Mapping[str, NDArray[np.float64]], stack: Stack) -> Doubts:
    other = "section before" if stack.frame_axis == "z" else "first frame"
    return judge_frames(figures, other=other, side=max(stack.grid.extent), unit=stack.grid.units[-1])


def _retried(  # noqa: PLR0913 - what the whole registration knows
    stack: Stack,
    noisy: Stack | None,
    registrars: Sequence[Registrar],
    models: Sequence[Model],
    found: PerFrame,
    doubts: Doubts,
    way: "_Way",
) -> Steps[tuple[PerFrame, Mapping[int, str]]]:
    """Register frames that look lost anew; those in which nothing is to be seen are left."""
    last = registrars[-1] if registrars else None
    model = None if last is None else _model_of(last, models)
    frames = noisy if noisy is not None and last is not None and last.wants_raw else stack
    lost = sorted({*doubts.lost} - {*doubts.blank})
    return (yield from retry(frames, found, lost, last, model=model, device=way.device))


@dataclass(frozen=True, eq=False)
class _Way:
    """How to register, whatever is registered."""

    series: Series
    device: torch.device
    models: tuple[Model, ...]
    judge: Judge | None
    landmarks: Landmarks | None
    learnt: tuple[Model, ...] = ()

    def model(self, registrar: Registrar) -> Model | None:
        return _model_of(registrar, self.models)


def _model_of(registrar: Registrar, models: Sequence[Model]) -> Model | None:
    return next((model for model in models if type(model.method) is type(registrar)), None)


def _as_trained(registrar: Registrar, models: Sequence[Model]) -> Registrar:
    model = _model_of(registrar, models)
    return registrar if model is None else registrar.as_trained(model)


def _find_from(
    stack: Stack, noisy: Stack | None, registrars: Sequence[Registrar], way: "_Way", start: PerFrame | None, find: "_Find"
) -> Steps[tuple[PerFrame, tuple[Model, ...]]]:
    """Go on from a start: what is bent in it is applied to the frames first."""
    straight, bent = _parted(start, stack.grid)
    if bent is None:
        return (yield from find(stack, noisy, registrars, way, straight))
    frames = bent.warp(stack, outside="edge")
    others = None if noisy is None else bent.warp(noisy, outside="edge")
    way = replace(way, landmarks=way.landmarks and way.landmarks.before(bent.transforms))
    found, used = yield from find(frames, others, registrars, way, straight)
    return found.then(bent.transforms), used


def _followed(
    region: Region, stack: Stack, noisy: Stack | None, registrars: Sequence[Registrar], way: "_Way", start: PerFrame | None
) -> Steps[tuple[PerFrame, tuple[Model, ...]]]:
    """Bring what one mask for all frames marks in the first one back into it, and register there."""

    def confined(moved: PerFrame | None) -> tuple[Stack, Stack | None]:
        seen, other = (None if each is None else _confined(_aligned(each, moved), region) for each in (stack, noisy))
        assert seen is not None
        return seen, other

    # The mask as it stays shows less and less of what moves on: only a guess.
    guess, used = yield from portion(_find(*confined(None), registrars, way, start), 0.0, 0.45)
    straight = _parted(guess, stack.grid)[0] or guess
    follower = Follower(stack, region, registrars, way.device)
    guesses = [straight] if start is None else [start, straight]
    found = yield from portion(follower.follow(guesses), 0.45, 0.5)
    marks = way.landmarks and way.landmarks.before(found)
    way = replace(way, models=(*used, *way.models), learnt=(*used, *way.learnt), landmarks=marks)
    rest, used = yield from portion(_find(*confined(found), registrars, way, None), 0.5, 0.95)
    closer = rest.then(found)
    if marks is None and all(registrar.bends is False for registrar in registrars):
        # What moves it as a whole was found from the object alone above, and may be better than from a mask that was filled up.
        closer = yield from portion(follower.more_alike(found, closer), 0.95, 1.0)
    return closer, used


def _find(
    stack: Stack, noisy: Stack | None, registrars: Sequence[Registrar], way: _Way, found: PerFrame | None
) -> Steps[tuple[PerFrame, tuple[Model, ...]]]:
    used = list[Model]()
    for number, registrar in enumerate(registrars):
        begin, end = number / len(registrars), (number + 1) / len(registrars)
        frames = noisy if registrar.wants_raw and noisy is not None else stack
        model = way.model(registrar)
        if registrar.is_trained:
            if model is None:
                middle = 0.3 * begin + 0.7 * end
                model = yield from portion(_trained(registrar, frames, way, found), begin, middle, f"training {registrar.kind}")
                begin = middle
            elif model not in way.learnt:
                # What it will look at: a model of denoised, aligned frames has never seen the raw ones.
                for difference in differences(model, _aligned(frames, found)):
                    warnings.warn(f"{difference} Check the result, or fine-tune the model on this data.", stacklevel=2)
            model.expect(type(registrar), stack.grid.ndim)
            used.append(model)
        # As many pairs at once as a few large frames have voxels: memory follows this, not the stack.
        batch = max(1, min(16, 16 * 1024**2 // math.prod(stack.grid.shape)))
        marks = way.landmarks if registrar.takes_landmarks else None
        steps = way.series.run(Task(frames, registrar, model, found, way.device, batch, marks))
        found = yield from portion(steps, begin, end, f"registering ({registrar.kind})")
    return found or PerFrame([Identity(stack.grid.ndim)] * stack.n_frames), tuple(used)


def _trained(registrar: Registrar, frames: Stack, way: _Way, found: PerFrame | None) -> Steps[Model]:
    """Train a registrar on frames as those before it aligned them."""
    score = None if way.judge is None else way.judge(registrar, frames, found)
    return registrar.fit([_aligned(frames, found)], device=way.device, score=score)


def _aligned(frames: Stack, found: PerFrame | None) -> Stack:
    return frames if found is None else Registration(found, frames.grid).warp(frames, outside="edge")


def _parted(start: PerFrame | None, grid: Grid) -> tuple[PerFrame | None, Registration | None]:
    """A start as matrices, from which every registrar can go on, and what is bent besides: first the matrix, then the bend."""
    if start is None or all(transform.is_affine for transform in start):
        return start, None
    points = grid.coarser([max(1.0, size / 8) for size in grid.shape]).points(wide=True).flatten(1)
    matrices = [fit(points.T, transform(points).T, tolerance=math.inf).transform for transform in start]
    bends = [matrix.inverse().then(transform) for matrix, transform in zip(matrices, start, strict=True)]
    return PerFrame(matrices), Registration(PerFrame(bends), grid)
