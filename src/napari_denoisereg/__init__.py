"""Denoise and register microscopy time-lapses and section stacks.

The front door. Nothing heavy is imported until it is used::

    import napari_denoisereg as dr

    stack = dr.read("movie.tif", axes="tyx")
    result = dr.register(stack, "denoisereg")
    aligned = result.warp(stack)
"""

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from napari_denoisereg.denoise import Denoiser
    from napari_denoisereg.evaluation.keypoints import KeypointError, Keypoints
    from napari_denoisereg.io import read, write
    from napari_denoisereg.model import Model
    from napari_denoisereg.object_motion import Objects
    from napari_denoisereg.pipeline import Pipeline, Result
    from napari_denoisereg.register import Registrar, Registration, Series
    from napari_denoisereg.stack import Stack
    from napari_denoisereg.starts import Start

__all__ = [
    "Stack",
    "__version__",
    "denoise",
    "evaluate",
    "methods",
    "read",
    "register",
    "register_objects",
    "run",
    "warp",
    "write",
]

_HOMES = {"Stack": "stack", "read": "io", "write": "io"}
_FAMILIES = (
    ("denoise", "Denoiser"),
    ("encode", "Encoder"),
    ("register", "Registrar"),
    ("register", "Series"),
    ("losses", "Similarity"),
    ("losses", "Regularity"),
)


def denoise(
    stack: "Stack",
    method: "Denoiser | str | Mapping[str, Any]",
    *,
    model: "Model | str | Path | None" = None,
    device: str = "auto",
) -> "Stack":
    """Take the noise out of a stack.

    Parameters
    ----------
    stack : Stack
        One frame or more; a single image ``(y, x)`` is given as ``Stack.of_image(image)``.
    method : Denoiser, str or mapping
        A Method, its kind (``"noise2void"``) or its settings.
    model : Model, str or Path, optional
        Trained weights, or their file; without them a method that needs some trains on the stack first.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``.

    Returns
    -------
    Stack
        Same shape, axes, grid and intensity scale; float32.
    """
    pipeline, opened = _rooms("pipeline", "opened")
    recipe = pipeline.Pipeline(denoise=pipeline.Denoiser.coerce(method))
    result: Result = pipeline.finish(recipe.run(opened.stack(stack), device=device, models=opened.models(model)))
    assert result.denoised is not None
    for hint in () if result.trust is None else result.trust.hints():
        _warn_caller(f"Denoising: {hint}")
    return result.denoised


def register(  # noqa: PLR0913 - everything after method is a keyword
    stack: "Stack",
    method: "Registrar | str | Mapping[str, Any]" = "affine",
    *,
    model: "Model | str | Path | None" = None,
    device: str = "auto",
    channel: int = 0,
    series: "Series | str | Mapping[str, Any]" = "combined",
    keypoints: "Keypoints | str | Path | None" = None,
    start: "Start | str | Path | None" = None,
    region: Any = None,
    landmarks: "Keypoints | str | Path | None" = None,
) -> "Registration":
    """Register every frame of a stack to the first.

    Parameters
    ----------
    stack : Stack
        At least two frames.
    method : Registrar, str or mapping
        A Method, its kind (``"denoisereg"``) or its settings.
    model : Model, str or Path, optional
        Trained weights, or their file; without them a method that needs some trains on the stack first.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``.
    channel : int
        Channel to look at; the result holds for all.
    series : Series, str or mapping
        Which frames are compared: ``"combined"``, ``"to_first"``, ``"to_previous"``.
    keypoints : Keypoints, str or Path, optional
        Choose the best of the trained models; `evaluate` measures by them.
    start : Registration, one Transform per frame, str or Path, optional
        What is known of the motion already: an earlier registration, one made from keypoints (`starts.from_keypoints`), or a
        file of transforms or keypoints; the method goes on from there.
    region : array or Stack, optional
        Where to look: what is not 0 counts. ``(y, x)`` marks in the first frame what is followed; ``(t, y, x)`` marks it in
        every frame. The transforms hold for the whole frame. A file of it, too.
    landmarks : Keypoints, str or Path, optional
        Places that pull the registration; for methods that take them (``"pose"``, ``"affine"``, ``"elastic"``), whose
        ``landmark_weight`` says how much.

    Returns
    -------
    Registration
        One transform per frame.
    """
    pipeline, opened = _rooms("pipeline", "opened")
    settings = {"registrars": (pipeline.Registrar.coerce(method),), "series": pipeline.Series.coerce(series)}
    recipe = pipeline.Pipeline(**settings, channel=channel, keep_denoised=False)
    help_given = opened.help_for(stack, start=start, region=region, landmarks=landmarks, keypoints=keypoints)
    result: Result = pipeline.finish(recipe.run(stack, device=device, models=opened.models(model), **help_given))
    assert result.registration is not None
    _warn(result.registration)
    return result.registration


def register_objects(  # noqa: PLR0913 - everything after method is a keyword
    stack: "Stack",
    labels: Any,
    method: "Registrar | str | Mapping[str, Any]" = "affine",
    *,
    models: "Sequence[Model | str | Path]" = (),
    device: str = "auto",
    channel: int = 0,
    series: "Series | str | Mapping[str, Any]" = "combined",
) -> "Objects":
    """Register every tracked object of a movie by its own transforms.

    Parameters
    ----------
    stack : Stack
        At least two frames.
    labels : array or Stack
        ``(t, y, x)`` or ``(t, z, y, x)``: 0 is background, the same object has the same number in all frames.
    method : Registrar, str or mapping
        See `register`.
    models : sequence of Model, str or Path
        Trained models, or their files, to use instead of training.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``.
    channel : int
        Channel to look at.
    series : Series, str or mapping
        See `register`.

    Returns
    -------
    Objects
        A dict: for every id its ``frames`` and its ``registration``, from its first frame to each of them. Its ``warp(stack)``
        gives the movie in which every object stands still; ``left_out`` names objects that could not be registered.
    """
    objects, opened = _rooms("objects", "opened")
    how = {"models": opened.models(models), "device": device, "channel": channel, "series": series}
    found: Objects = objects.finish(objects.register_objects(opened.stack(stack), opened.mask(labels), method, **how))
    return found


def run(  # noqa: PLR0913 - everything after recipe is a keyword
    stack: "Stack",
    recipe: "Pipeline | str | Path | Mapping[str, Any]" = "balanced",
    *,
    device: str = "auto",
    models: "Sequence[Model | str | Path]" = (),
    channel: int | None = None,
    keypoints: "Keypoints | str | Path | None" = None,
    start: "Start | str | Path | None" = None,
    region: Any = None,
    landmarks: "Keypoints | str | Path | None" = None,
) -> "Result":
    """Run a recipe.

    Parameters
    ----------
    stack : Stack
        At least two frames.
    recipe : Pipeline, str, Path or mapping
        ``"fast"``, ``"balanced"``, ``"best"``, the name of a saved recipe, a JSON file or its text, or a Pipeline.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``.
    models : sequence of Model, str or Path
        Trained models, or their files, to use instead of training.
    channel : int, optional
        Channel that registration looks at; what the recipe says by default.
    keypoints : Keypoints, str or Path, optional
        Judge models while training, and the result.
    start, region, landmarks
        See `register`. Denoising is of the whole frame.

    Returns
    -------
    Result
        ``.denoised``, ``.registration``, ``.aligned``, ``.report``.
    """
    pipeline, opened = _rooms("pipeline", "opened")
    chosen = pipeline.load_recipe(recipe)
    if channel is not None:
        chosen = chosen.model_copy(update={"channel": channel})
    help_given = opened.help_for(stack, start=start, region=region, landmarks=landmarks, keypoints=keypoints)
    result: Result = pipeline.finish(chosen.run(stack, device=device, models=opened.models(models), **help_given))
    _warn(result.registration)
    return result


def _warn(registration: "Registration | None") -> None:
    """Say which frames failed: nobody looks at all frames of a long movie."""
    reasons = {} if registration is None else registration.reasons
    if reasons:
        told = "; ".join(f"frame {frame}: {reason}" for frame, reason in reasons.items())
        _warn_caller(f"Look at these frames, their alignment may have failed. {told}.")


def _warn_caller(words: str) -> None:
    """Warn, named after the caller's line, through however many doors of this file the call came."""
    level, frame = 1, sys._getframe()  # noqa: SLF001 - inspect, which has it, too, would be imported for this alone
    while frame.f_code.co_filename == __file__ and frame.f_back is not None:
        level, frame = level + 1, frame.f_back
    warnings.warn(words, stacklevel=level)


def warp(stack: "Stack", registration: "Registration | str | Path", **options: Any) -> "Stack":
    """Apply a registration to a stack, lazily; see `Registration.warp` for the options.

    Parameters
    ----------
    stack : Stack
        As many frames as the registration.
    registration : Registration, str or Path
        What `register` returned, or a file of transforms.
    **options
        ``interpolation`` and ``outside``.

    Returns
    -------
    Stack
        Aligned to the first frame.
    """
    opened = import_module("napari_denoisereg.opened")
    one: Stack = opened.stack(stack)
    aligned: Stack = opened.registration(registration, one).warp(one, **options)
    return aligned


def evaluate(keypoints: "Keypoints | str | Path", registration: "Registration | str | Path | None" = None) -> "KeypointError":
    """Measure the registration error at keypoints, before and after (DenoiseReg eq. 5).

    Parameters
    ----------
    keypoints : Keypoints, str or Path
        In pixels, or a CSV file of them.
    registration : Registration, str or Path, optional
        What `register` returned, or a file of transforms.

    Returns
    -------
    KeypointError
        Per keypoint, frame and annotator.
    """
    pipeline, opened = _rooms("pipeline", "opened")
    given = None if registration is None else opened.registration(registration)
    error: KeypointError = pipeline.evaluate(opened.keypoints(keypoints), given)
    return error


def methods() -> list[dict[str, Any]]:
    """The table of methods, from the registry.

    Returns
    -------
    list of dict
        ``family``, ``kind``, ``title``, ``description``, ``reference``, ``trained`` of every denoiser, registrar, series,
        similarity and regularity.
    """
    rows = []
    for room, family in _FAMILIES:
        for kind, member in getattr(import_module(f"napari_denoisereg.{room}"), family).members().items():
            rows.append(
                {
                    "family": member.family,
                    "kind": kind,
                    "title": member.title,
                    "description": (member.__doc__ or "").strip().partition("\n")[0],
                    "reference": member.reference,
                    "trained": bool(getattr(member, "is_trained", False)),
                }
            )
    return rows


def _rooms(*names: str) -> tuple[Any, ...]:
    """Rooms, loaded when they are first asked for."""
    return tuple(import_module(f"napari_denoisereg.{name}") for name in names)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"napari_denoisereg.{_HOMES[name]}"), name)
    if name == "__version__":
        return import_module("importlib.metadata").version("napari-denoisereg")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_CALLS: dict[str, Callable[..., Any]] = {"napari_denoisereg.denoise": denoise, "napari_denoisereg.register": register}


class _Room(ModuleType):
    """A room that has the name of a front-door function: it can be called like it."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call the function of this name."""
        return _CALLS[self.__name__](*arguments, **options)


class _FrontDoor(ModuleType):
    """Keeps `denoise` and `register` callable when Python binds the rooms of the same names to this module.

    Importing ``napari_denoisereg.register`` replaces the function by the room, which is then called in its stead.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("denoise", "register") and isinstance(value, ModuleType):
            value.__class__ = _Room
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _FrontDoor
