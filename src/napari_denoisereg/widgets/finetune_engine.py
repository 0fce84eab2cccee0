"""What the dock *Fine-tune* needs of the engine, and the list of things to start from. No Qt, no layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_denoisereg.steps import Progress, Steps
from napari_denoisereg.widgets.denoise_register_job import Engine, load_engine
from napari_denoisereg.widgets.finetune_start import CRASHED, Start

if TYPE_CHECKING:
    from napari_denoisereg.io.library import Library
    from napari_denoisereg.method import Method
    from napari_denoisereg.model import Model
    from napari_denoisereg.stack import Stack

JUST_TRAINED = "just-trained"
ALIKE = "✓ These data look like what the model was trained on."


@dataclass(frozen=True, eq=False)
class Workshop:
    """What there is to train, and where models are kept.

    Parameters
    ----------
    engine : Engine
        Devices.
    methods : tuple of type of Method
        Those that are trained.
    library : Library
        The user's models.
    """

    engine: Engine
    methods: tuple[type[Method], ...]
    library: Library


def load_workshop() -> Steps[Workshop]:
    """Import the engine.

    Returns
    -------
    Steps of Workshop
        Long work, mostly that of importing torch.
    """
    engine = yield from load_engine()
    from napari_denoisereg.io.library import FAMILIES, Library

    yield Progress(1, 1, "loading the engine")
    methods = tuple(
        member for family in FAMILIES for member in family.members().values() if getattr(member, "is_trained", False)
    )
    return Workshop(engine, methods, Library())


def starts(library: Library, trained: Model | None) -> list[Start]:
    """Everything that a training can start from.

    Parameters
    ----------
    library : Library
        The user's models.
    trained : Model or None
        The last one that was trained here.

    Returns
    -------
    list of Start
        The last one, interrupted trainings, the user's own models, built-in ones.
    """
    found: list[Start] = []
    if trained is not None:
        about = "The model that was just trained: train it longer, or on other movies."
        found.append(Start("The model just trained", about, trained, lambda: trained, JUST_TRAINED))
    for entry in library.unfinished():
        name = ", ".join(entry.model.provenance.get("trained_on", ())) or "a movie"
        title = f"Interrupted: {name} ({entry.share:.0%} done)"
        found.append(Start(title, CRASHED, entry.model, entry.load, str(entry.path)))
    for entry in library.entries():
        title = f"{entry.name} (built in)" if entry.is_builtin else entry.name
        found.append(Start(title, entry.words(), entry.model, entry.load, str(entry.path)))
    return found


def judge(model: Model, stack: Stack) -> Steps[str]:
    """Whether a model has been trained on data like these.

    Parameters
    ----------
    model : Model
        Its weights are not needed.
    stack : Stack
        Without channel axis.

    Returns
    -------
    Steps of str
        In plain words.
    """
    from napari_denoisereg.appearance import differences

    yield Progress(0, 1, "comparing data")
    if model.ndim != stack.grid.ndim:
        return (
            f"⚠ This model was trained on {model.ndim}D frames, the layer has {stack.grid.ndim}D frames: choose another start."
        )
    told = differences(model, stack)
    known = any("noise" in each.get("appearance", {}) for each in model.provenance.get("data", ()))
    if told:
        return "⚠ " + " ".join(told) + " Training adapts the model; give it some minutes."
    return ALIKE if known else ""
