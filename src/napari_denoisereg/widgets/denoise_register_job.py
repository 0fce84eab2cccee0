"""What the dock *Denoise and register* has done in the worker: the recipe, and all that its layers need. No Qt, no layers."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_denoisereg import saved_recipes
from napari_denoisereg.steps import Progress, Steps, portion
from napari_denoisereg.widgets.arrows import Arrows, arrows_of
from napari_denoisereg.widgets.layers import contrast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_denoisereg.evaluation.keypoints import Keypoints
    from napari_denoisereg.model import Model
    from napari_denoisereg.pipeline import Pipeline, Result
    from napari_denoisereg.register import Registration
    from napari_denoisereg.stack import Stack

MOST_NAMED = 12  # frames in one warning
MOST_TOLD = 3  # frames whose reason is written out
LEAST_GAIN = 0.05  # of the correlation with the first frame, for an alignment to have helped
CERTAIN = 0.9  # a movie that hardly moves cannot gain
NOT_ONE_FRAME = "This recipe needs at least two frames, and here is only one: choose a recipe with a denoiser, such as Fast."
FOLLOWS_CELLS = "patches"
CELLS = " (Cells, where cells crawl past each other)"


@dataclass(frozen=True, eq=False)
class Engine:
    """What the dock needs to know of the engine, which takes seconds to import.

    Parameters
    ----------
    presets : mapping of str to Pipeline
        Recipes by name.
    devices : tuple of str
        Names of the devices of this machine.
    """

    presets: dict[str, Pipeline]
    devices: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Outcome:
    """Result of a run, ready to be shown.

    Parameters
    ----------
    result : Result
        Of the recipe.
    arrows : Arrows or None
        Its displacement.
    limits : tuple of float or None
        Contrast limits of the denoised frames.
    """

    result: Result
    arrows: Arrows | None
    limits: tuple[float, float] | None


def load_engine() -> Steps[Engine]:
    """Import the engine.

    Returns
    -------
    Steps of Engine
        Long work, mostly that of importing torch.
    """
    yield Progress(0, 0, "loading the engine")
    import torch

    from napari_denoisereg.pipeline import presets

    yield Progress(0, 0, "loading the engine")
    # torch imports most of itself when the first optimizer is made; better now than at the first press of Run.
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    yield Progress(0, 0, "loading the engine")
    return Engine({**presets(), **saved()}, devices())


def devices() -> tuple[str, ...]:
    """Where this computer can compute.

    Returns
    -------
    tuple of str
        Names as of `device.choose`, ``"auto"`` first.
    """
    import torch

    there = ["auto", "cpu"]
    there += ["cuda"] if torch.cuda.is_available() else []
    there += ["mps"] if torch.backends.mps.is_available() else []
    return tuple(there)


def saved() -> dict[str, Pipeline]:
    """The user's own recipes; one that cannot be read is told and left out.

    Returns
    -------
    dict of str to Pipeline
        By name, as they are on disk now.
    """
    from napari_denoisereg.pipeline import load_recipe

    found = {}
    for name in saved_recipes.names():
        try:
            found[name] = load_recipe(name)
        except (OSError, ValueError) as error:
            warnings.warn(f"The saved recipe {name!r} cannot be used: {error}", UserWarning, stacklevel=2)
    return found


def without_parts(recipe: Pipeline, *, denoise: bool, register: bool) -> Pipeline:
    """A recipe of which only some parts are wanted.

    Parameters
    ----------
    recipe : Pipeline
        The whole recipe.
    denoise, register : bool
        Whether that part is wanted.

    Returns
    -------
    Pipeline
        A registrar that denoises as well stays when only its denoising is wanted: it is one network. Without ``denoise`` it
        registers only.

    Raises
    ------
    ValueError
        When nothing is left to do.
    """
    if not denoise and not register:
        raise ValueError("Nothing to do: switch on Denoise, Register or both.")
    # A registrar that denoises as well would otherwise denoise the whole movie for nothing.
    kept: dict[str, Any] = {} if denoise else {"denoise": None, "keep_denoised": False}
    if not register:
        kept["registrars"] = tuple(each for each in recipe.registrars if each.is_denoiser) if recipe.denoise is None else ()
    wanted = recipe.model_copy(update=kept)
    if denoise and not denoises(wanted):
        raise ValueError("This recipe has no denoiser: choose one under Advanced, or switch off Denoise.")
    if register and not wanted.registrars:
        raise ValueError("This recipe does not register: add a step under Advanced, or switch off Register.")
    return wanted


def of_one_frame(recipe: Pipeline, *, denoise: bool = True) -> Pipeline:
    """What of a recipe can be done with a single frame.

    Parameters
    ----------
    recipe : Pipeline
        The whole recipe.
    denoise : bool
        Whether that is wanted.

    Returns
    -------
    Pipeline
        Its denoiser.

    Raises
    ------
    ValueError
        When it has none, or one that learns to register at the same time, or nothing is wanted.
    """
    if recipe.denoise is None:
        raise ValueError(NOT_ONE_FRAME)
    if not denoise:
        raise ValueError("Nothing to do: switch on Denoise.")
    return recipe.model_copy(update={"registrars": ()})


def denoises(recipe: Pipeline) -> bool:
    """Whether a recipe makes denoised frames.

    Parameters
    ----------
    recipe : Pipeline
        Any.

    Returns
    -------
    bool
        Also true where a registrar denoises as well.
    """
    return recipe.denoise is not None or any(registrar.is_denoiser for registrar in recipe.registrars)


def run_recipe(  # noqa: PLR0913 - everything after models is a keyword
    recipe: Pipeline,
    stack: Stack,
    device: str,
    models: Sequence[Model] = (),
    *,
    start: Registration | None = None,
    region: Any = None,
    landmarks: Keypoints | None = None,
) -> Steps[Outcome]:
    """Run a recipe and prepare its layers.

    Parameters
    ----------
    recipe : Pipeline
        What to do.
    stack : Stack
        To what.
    device : str
        Where to compute.
    models : sequence of Model
        Trained ones to use instead of training.
    start : Registration, optional
        What is known of the motion already.
    region : array, optional
        Where to look.
    landmarks : Keypoints, optional
        Places that pull the registration.

    Returns
    -------
    Steps of Outcome
        Long work.
    """
    steps = recipe.run(stack, device=device, models=models, start=start, region=region, landmarks=landmarks)
    result = yield from portion(steps, 0.0, 0.97)
    arrows = None
    if result.registration is not None:
        arrows = yield from portion(arrows_of(result.registration), 0.97, 0.99)
    limits = None
    if result.denoised is not None:
        frames = np.unique(np.linspace(0, result.denoised.n_frames - 1, 5).round().astype(int))
        seen = [contrast(result.denoised.frame(int(number))) for number in frames]
        limits = min(low for low, _ in seen), max(high for _, high in seen)
    yield Progress(1, 1, "done")
    return Outcome(result, arrows, limits)


def summary(result: Result) -> str:
    """What came out, in one sentence.

    Parameters
    ----------
    result : Result
        Of a recipe.

    Returns
    -------
    str
        E.g. ``"Done. Likeness to the first frame (correlation): 0.61 before, 0.93 after."``
    """
    is_fine = result.trust is not None and not result.trust.hints()
    noise = " What denoising took away looks like noise." if is_fine else ""
    if result.registration is None:
        return f"Done.{noise}"
    before, after = _likeness(result)
    other = "section before" if result.aligned is not None and result.aligned.frame_axis == "z" else "first frame"
    return f"Done. Likeness to the {other} (correlation): {before:.2f} before, {after:.2f} after.{noise}"


def doubts(result: Result, *, denoised: bool = True) -> str:
    """What may have gone wrong.

    Parameters
    ----------
    result : Result
        Of a recipe.
    denoised : bool
        Whether the denoised movie is shown, so that it matters.

    Returns
    -------
    str
        Names the frames and says what to do; empty when there is no doubt.
    """
    hints = result.trust.hints() if denoised and result.trust is not None else ()
    return "\n".join(each for each in (_doubts_of_alignment(result), *(f"Denoising. {hint}" for hint in hints)) if each)


def _doubts_of_alignment(result: Result) -> str:
    if result.registration is None:
        return ""
    flagged = list(result.registration.flagged)
    if flagged:
        more = f" and {len(flagged) - MOST_NAMED} more" if len(flagged) > MOST_NAMED else ""
        named = ", ".join(str(frame) for frame in flagged[:MOST_NAMED]) + more
        reasons = result.registration.reasons
        why = "".join(f"Frame {frame}: {reasons[frame]}. " for frame in flagged[:MOST_TOLD] if frame in reasons)
        return (
            f"Look at frame{'s' if len(flagged) > 1 else ''} {named}: the alignment may have failed there. {why}"
            f"Try another recipe{_hint_at_cells(result)}, or remove frames that are empty or out of focus."
        )
    before, after = _likeness(result)
    if after < min(CERTAIN, before + LEAST_GAIN):
        return (
            "The aligned frames are hardly more alike than before: play [aligned] before you trust it. "
            f"Try another recipe{_hint_at_cells(result)}, or other methods under Advanced."
        )
    return ""


def _hint_at_cells(result: Result) -> str:
    """Recipes but one hold the specimen together: what cells do that crawl on their own, they cannot follow."""
    is_movie = result.aligned is not None and result.aligned.frame_axis == "t"
    follows_cells = any(registrar.kind == FOLLOWS_CELLS for registrar in result.recipe.registrars)
    return CELLS if is_movie and not follows_cells else ""


def _likeness(result: Result) -> tuple[float, float]:
    """Mean of the registration's quality before and after, the first frame itself left out."""
    assert result.registration is not None
    quality = result.registration.quality
    before, after = (float(np.nanmean(np.asarray(quality[key])[1:])) for key in ("before", "after"))
    return before, after
