"""Pipeline: an ordered recipe of Methods. JSON in, `Result` out; and the functions behind the front door.

Transforms are estimated on the denoised movie and applied to the raw one in one interpolation. A denoiser that uses the motion
(`Denoiser.uses_motion`) comes after registration instead, and the two may take turns: frames averaged along the motion are
cleaner, and cleaner frames give better motion.
"""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from napari_denoisereg import device as devices
from napari_denoisereg import saved_recipes
from napari_denoisereg.appearance import differences
from napari_denoisereg.checks import Statistics, inspect
from napari_denoisereg.denoise import Denoiser
from napari_denoisereg.denoise.stacks import denoise_stack, each_channel
from napari_denoisereg.encode import Encoder
from napari_denoisereg.encode.binding import with_encoders
from napari_denoisereg.evaluation.denoising_trust import Trust, check_some
from napari_denoisereg.evaluation.keypoints import KeypointError, Keypoints
from napari_denoisereg.geometry import Grid, PerFrame
from napari_denoisereg.io.library import FAMILIES as FAMILIES
from napari_denoisereg.judging import check_keypoints, validation_frames
from napari_denoisereg.judging import evaluate as evaluate
from napari_denoisereg.judging import keypoint_score as keypoint_score
from napari_denoisereg.judging import mappings as mappings
from napari_denoisereg.method import Method, in_words, setting
from napari_denoisereg.model import Model
from napari_denoisereg.register import Registrar, Registration, Series
from napari_denoisereg.register.anchors import Landmarks, check_landmarks, passed_over
from napari_denoisereg.register.region import region_of
from napari_denoisereg.register.registrar import Score
from napari_denoisereg.register.series import Combined
from napari_denoisereg.register.stacks import Judge, check_order, train, train_and_register
from napari_denoisereg.stack import Stack
from napari_denoisereg.starts import Start, as_landmarks, as_start
from napari_denoisereg.steps import Steps, portion
from napari_denoisereg.steps import finish as finish

PREVIEW_SECONDS = 5.0
Register = Callable[..., Steps[tuple[Registration, tuple[Model, ...]]]]


@dataclass(frozen=True, eq=False)
class Result:
    """What a recipe made.

    Parameters
    ----------
    recipe : Pipeline
        What was run.
    denoised : Stack, optional
        Same place as the input, float32.
    registration : Registration, optional
        One transform per frame.
    aligned : Stack, optional
        The raw input warped once, lazily; dtype of the input.
    models : tuple of Model
        Those trained or used.
    report : KeypointError, optional
        Where keypoints were given.
    trust : Trust, optional
        Of the denoised movie: what was taken away from a few frames of the recipe's channel.
    """

    recipe: "Pipeline"
    denoised: Stack | None = None
    registration: Registration | None = None
    aligned: Stack | None = None
    models: tuple[Model, ...] = ()
    report: KeypointError | None = None
    trust: Trust | None = None


class Pipeline(Method, family="recipe"):
    """Denoise, register, or both."""

    reference: ClassVar[str] = ""

    name: str = setting("custom", "Name of the recipe.")
    description: str = setting("", "What it is good for, in one sentence.")
    denoise: Denoiser | None = setting(None, "How to remove noise; none leaves the movie as it is.")
    registrars: tuple[Registrar, ...] = setting(
        (), "How to register: one method after the other, each going on from the one before.", alias="register"
    )
    keep_denoised: bool = setting(
        True, "If no denoiser is chosen and the registration network also denoises, return its denoised movie.", advanced=True
    )
    series: Series = setting(Combined(), "How pairs of frames become a registered movie.")
    turns: int = setting(
        1, "How often to register and denoise in turn, for denoisers that follow the motion.", ge=1, le=5, advanced=True
    )
    channel: int = setting(0, "Channel that registration looks at; the result is applied to all channels.", ge=0)

    @property
    def first_denoiser(self) -> Denoiser | Registrar | None:
        """What denoises in this recipe: the denoiser, or else a registrar that does both."""
        return self.denoise or next((registrar for registrar in self.registrars if registrar.is_denoiser), None)

    def run(  # noqa: PLR0913 - everything after stack is a keyword
        self,
        stack: Stack,
        *,
        device: torch.device | str = "auto",
        models: Sequence[Model] = (),
        keypoints: Keypoints | None = None,
        start: Start | None = None,
        region: Any = None,
        landmarks: Keypoints | None = None,
    ) -> Steps[Result]:
        """Run the recipe.

        Parameters
        ----------
        stack : Stack
            At least two frames.
        device : torch.device or str
            Where to compute.
        models : sequence of Model
            Trained models to use instead of training.
        keypoints : Keypoints, optional
            Judge models while training, and the result.
        start : Registration or one Transform per frame, optional
            What is known of the motion already (see `starts`); registration goes on from there.
        region : array or Stack, optional
            Where registration looks, ``(*spatial)`` or ``(T, *spatial)``; see `register.region.region_of`.
        landmarks : Keypoints, optional
            Pull the registrars that take them; the user is told which do not. See `register.anchors`.

        Returns
        -------
        Steps of Result
            Nothing of the input is changed.

        Raises
        ------
        ValueError, TypeError
            When the stack or a model cannot be used; before any long work.
        """
        where = devices.choose(device) if isinstance(device, str) else device
        begin = None if start is None else as_start(start, stack)
        marks = None if landmarks is None else self._landmarks(landmarks, stack)
        seen = yield from self._check(stack, models, keypoints)
        one = stack.channel(self.channel)
        place = None if region is None else (yield from portion(region_of(region, one), 0.02, 0.03))
        ready, encoders = yield from portion(with_encoders(self.registrars, one, models=models, device=where), 0.03, 0.1)
        if encoders:
            recipe = self.model_copy(update={"registrars": ready})
            others = [model for model in models if not isinstance(model.method, Encoder)]
            help_given: dict[str, Any] = {"start": start, "region": region, "landmarks": landmarks}
            run = recipe.run(stack, device=where, models=others, keypoints=keypoints, **help_given)
            result = yield from portion(run, 0.1, 1.0)
            return replace(result, recipe=self, models=(*encoders, *result.models))
        if marks is not None and (words := passed_over(self.registrars)):
            warnings.warn(words, stacklevel=2)
        judge = _judge(keypoints, one.grid)
        register = partial(
            train_and_register,
            series=self.series,
            device=where,
            noisy=one,
            start=begin,
            judge=judge,
            region=place,
            landmarks=marks,
        )
        work = _Work(stack, tuple(models), where, keypoints, judge, register, seen)
        if self.registrars and self.denoise is not None and self.denoise.uses_motion:
            return (yield from self._in_turns(work, self.denoise))
        return (yield from self._in_order(work))

    def _in_order(self, work: "_Work") -> Steps[Result]:
        """Denoise, then register what was denoised."""
        denoised, used, middle = work.stack, tuple[Model, ...](), 0.03
        if self.denoise is not None:
            middle = 0.5 if self.registrars else 1.0
            known, lost = work.models_of(Denoiser), work.seen.dropped_of
            steps = denoise_stack(work.stack, self.denoise, models=known, device=work.device, dropped=lost)
            denoised, used = yield from portion(steps, 0.03, middle, "denoising")
        if not self.registrars:
            return (yield from self._result(work.stack, denoised, None, used, None))
        # A network that denoises, too, comes first: the other registrars look at what it denoised.
        known, trained = work.models_of(Registrar), tuple[Model, ...]()
        joint = [registrar for registrar in self.registrars if registrar.is_denoiser]
        if joint:
            one = work.stack.channel(self.channel)
            mine = [model for model in known if model.method.kind in {each.kind for each in joint}]
            steps_to_train = train(joint, one, models=mine, device=work.device, score=work.judge(joint[0], one, None))
            trained = yield from portion(steps_to_train, middle, 0.75, "registration")
            known, middle = [model for model in known if model not in mine] + list(trained), 0.75
        if joint and self.denoise is None and self.keep_denoised:
            denoised = yield from portion(self._jointly(work.stack, known, work.device), 0.75, 0.85, "denoising")
            middle = 0.85
        registering = work.register(denoised.channel(self.channel), self.registrars, models=known, learnt=trained)
        registration, learnt = yield from portion(registering, middle, 1.0)
        return (yield from self._result(work.stack, denoised, registration, (*used, *learnt), work.keypoints))

    def _in_turns(self, work: "_Work", denoiser: Denoiser) -> Steps[Result]:
        """Register the noisy frames, denoise along what was found, register the denoised frames anew, and so on."""
        stack, denoising, known = work.stack, work.models_of(Denoiser), work.models_of(Registrar)
        learnt = tuple[Model, ...]()
        used, seen, shares = tuple[Model, ...](), stack.channel(self.channel), np.linspace(0.03, 1, 2 * self.turns + 1)

        for turn in range(self.turns):
            registering = work.register(seen, self.registrars, models=known, learnt=learnt)
            registration, learnt = yield from portion(registering, shares[2 * turn], shares[2 * turn + 1])
            known, motion = [*learnt], registration.transforms
            steps = denoise_stack(stack, denoiser, models=denoising, device=work.device, motion=motion)
            denoised, used = yield from portion(steps, shares[2 * turn + 1], shares[2 * turn + 2], "denoising")
            denoising, seen = list(used), denoised.channel(self.channel)
        return (yield from self._result(stack, denoised, registration, (*used, *known), work.keypoints))

    def preview(self, stack: Stack, frame: int, *, device: torch.device | str = "auto") -> Steps[NDArray[np.float32]]:
        """Denoise one frame quickly, to see what to expect: methods that are trained get a few seconds.

        Parameters
        ----------
        stack : Stack
            The movie.
        frame : int
            Which frame.
        device : torch.device or str
            Where to compute.

        Returns
        -------
        Steps of ndarray
            ``(*spatial)``, float32, of the recipe's channel.

        Raises
        ------
        ValueError
            When nothing in the recipe denoises, or nothing was recorded in the frame.
        """
        where = devices.choose(device) if isinstance(device, str) else device
        method = self.first_denoiser
        if method is None:
            raise ValueError("This recipe does not denoise, so there is nothing to preview; choose a denoiser.")
        first = max(0, min(frame - 1, stack.n_frames - 3))
        few, shown = stack.channel(self.channel).frame_range(first, min(first + 3, stack.n_frames)), frame - first
        lost = (yield from portion(inspect(few, least_frames=1, may_drop=True), 0.0, 0.05)).dropped_of(0)
        if shown in lost:
            raise ValueError(f"Nothing was recorded in frame {frame}; choose another frame to preview.")
        few, shown = few.without_frames(lost), shown - sum(each < shown for each in lost)
        if method.is_trained and "seconds" in type(method).model_fields:
            method = method.model_copy(update={"seconds": PREVIEW_SECONDS})
        if isinstance(method, Denoiser):
            denoised = yield from portion(method.run(few, device=where), 0.05, 1.0)
        else:
            model = yield from portion(method.fit([few], device=where), 0.05, 0.9)
            denoised = yield from portion(method.denoise(few, model=model, device=where), 0.9, 1.0)
        return np.asarray(denoised.frame(shown), np.float32)

    def _check(self, stack: Stack, models: Sequence[Model], keypoints: Keypoints | None) -> Steps[Statistics]:
        if self.denoise is None and not self.registrars:
            raise ValueError("This recipe neither denoises nor registers; add a method.")
        check_order(self.registrars)
        if keypoints is not None:
            check_keypoints(keypoints, stack)
        methods = [method for method in (self.denoise, *self.registrars) if method is not None]
        for model in (each for each in models if not isinstance(each.method, Encoder)):
            user = next((method for method in methods if type(method) is type(model.method)), methods[0])
            model.expect(type(user), stack.grid.ndim)
            if isinstance(user, Registrar):
                user.as_trained(model)  # refuses settings that do not go with it
        # Registration has no place for a frame that shows nothing; denoising leaves it as it is.
        look = inspect(stack, least_frames=2 if self.registrars else 1, may_drop=not self.registrars)
        seen = yield from portion(look, 0.0, 0.03)
        seen.warn_of_dropped()
        # Other registrars look at frames that were denoised and aligned first: they are compared with those.
        first = [model for model in models if not isinstance(model.method, Registrar) or model.method.is_denoiser]
        for difference in [told for model in first for told in differences(model, stack.channel(self.channel))]:
            warnings.warn(f"{difference} Check the result, or fine-tune the model on this data.", stacklevel=2)
        return seen

    def _landmarks(self, landmarks: Keypoints, stack: Stack) -> Landmarks:
        check_landmarks(self.registrars)
        check_keypoints(landmarks, stack)
        return as_landmarks(landmarks, stack.grid, stack.n_frames)

    def _jointly(self, stack: Stack, models: Sequence[Model], device: torch.device) -> Steps[Stack]:
        """Denoise with a registrar that does both, where the recipe has one."""
        both = {each.kind: each for each in self.registrars if each.is_denoiser}
        model = next((model for model in models if model.method.kind in both), None)
        if model is None:
            return stack
        registrar = both[model.method.kind]
        return (yield from each_channel(stack, lambda one, _: registrar.denoise(one, model=model, device=device)))

    def _result(
        self,
        stack: Stack,
        denoised: Stack,
        registration: Registration | None,
        models: tuple[Model, ...],
        keypoints: Keypoints | None,
    ) -> Steps[Result]:
        clean, trust = None if denoised is stack else denoised, None
        if clean is not None:
            check = check_some(stack.channel(self.channel), clean.channel(self.channel))
            trust = yield from portion(check, 1.0, 1.0)
        if registration is None:
            return Result(self, clean, models=models, trust=trust)
        error = None if keypoints is None else evaluate(keypoints, registration)
        if error is not None:
            notes = list(error.notes)
            if any(registrar.is_trained for registrar in self.registrars):
                judges = ", ".join(map(str, validation_frames(keypoints)))
                notes.append(f"Keypoints of frames {judges} chose the trained model; judge by others.")
            notes += [f"Frame {frame} may not be aligned: {reason}." for frame, reason in registration.reasons.items()]
            notes += [f"Denoising: {hint}" for hint in (() if trust is None else trust.hints())]
            error = replace(error, notes=tuple(notes))
        return Result(self, clean, registration, registration.warp(stack), models, error, trust)


@dataclass(frozen=True, eq=False)
class _Work:
    """What `Pipeline.run` was given, made ready: how to judge a model while it is trained, and how to register frames."""

    stack: Stack
    models: tuple[Model, ...]
    device: torch.device
    keypoints: Keypoints | None
    judge: Judge
    register: Register
    seen: Statistics

    def models_of(self, family: type[Method]) -> list[Model]:
        return [model for model in self.models if isinstance(model.method, family)]


def _judge(keypoints: Keypoints | None, grid: Grid) -> Judge:
    def judge(registrar: Registrar, frames: Stack, known: PerFrame | None) -> Score | None:
        return None if keypoints is None else keypoint_score((registrar,), frames, keypoints, known, grid=grid)

    return judge


def presets() -> dict[str, Pipeline]:
    """The recipes that come with the project.

    Returns
    -------
    dict of str to Pipeline
        ``"fast"``, ``"balanced"``, ``"best"``, ...; read from the JSON files beside this module.
    """
    folder = Path(__file__).parent / "recipes"
    return {name: load_recipe(folder / f"{name}.json") for name in (*saved_recipes.PRESETS, *saved_recipes.PAPER_RECIPES)}


def load_recipe(recipe: str | Path | Mapping[str, Any] | Pipeline) -> Pipeline:
    """Make a Pipeline of what a user may give.

    Parameters
    ----------
    recipe : str, Path, mapping or Pipeline
        The name of a preset or of a saved recipe, a JSON file or its text or content, or a Pipeline.

    Returns
    -------
    Pipeline
        The recipe.

    Raises
    ------
    FileNotFoundError
        When it is no name and no file.
    ValueError
        When the content is no recipe.
    """
    if isinstance(recipe, Pipeline):
        return recipe
    if isinstance(recipe, Mapping):
        return Pipeline.coerce(recipe)
    name, source = str(recipe), "The given text"
    if name in (*saved_recipes.PRESETS, *saved_recipes.PAPER_RECIPES):
        return presets()[name]
    text: str | bytes = name
    if not name.lstrip().startswith("{"):
        path = saved_recipes.find(name) or Path(recipe)
        if not path.is_file():
            known = (*saved_recipes.PRESETS, *saved_recipes.PAPER_RECIPES, *saved_recipes.names())
            raise FileNotFoundError(f"There is no recipe {name!r}: give one of {', '.join(known)} or a JSON file.")
        text, source = path.read_bytes(), str(path)
    try:
        return Pipeline.model_validate(json.loads(text))
    except ValidationError as error:
        raise ValueError(f"{source} is no recipe: {in_words(error)}") from error
    except ValueError as error:
        raise ValueError(f"{source} is no recipe: {error}") from error
