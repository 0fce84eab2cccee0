"""What is done with trained models in the worker: use one on a movie, export one. No Qt, no layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_denoisereg.steps import Progress, Steps
from napari_denoisereg.widgets.denoise_register_job import Outcome, run_recipe

if TYPE_CHECKING:
    from napari_denoisereg.io.library import Entry
    from napari_denoisereg.model import Model
    from napari_denoisereg.stack import Stack


def use(model: Model, stack: Stack, channel: int = 0, device: str = "auto") -> Steps[Outcome]:
    """Denoise or register with a model.

    Parameters
    ----------
    model : Model
        With weights.
    stack : Stack
        With all its channels.
    channel : int
        That is denoised, or looked at: all channels move with it.
    device : str
        Where to compute.

    Returns
    -------
    Steps of Outcome
        As of a recipe. A model that has not seen such data warns.
    """
    from napari_denoisereg.denoise import Denoiser
    from napari_denoisereg.encode import Encoder
    from napari_denoisereg.pipeline import Pipeline

    method = model.method
    if isinstance(method, Encoder):
        raise TypeError(
            f"The model of {method.title!r} makes no layer: it compares images for a registrar. In 'Denoise and register' "
            "choose a registrar with the similarity 'Deep features' and name the model's file as its encoder."
        )
    if isinstance(method, Denoiser):
        return (yield from run_recipe(Pipeline(denoise=method), stack.channel(channel), device, [model]))
    return (yield from run_recipe(Pipeline(registrars=(method,), channel=channel), stack, device, [model]))


def export(entry: Entry, path: str, stack: Stack, frame: int) -> Steps[str]:
    """Write a model for others.

    Parameters
    ----------
    entry : Entry
        Of the library.
    path : str
        ``.zip`` for a bioimage.io package, else a model file.
    stack : Stack
        A part of a frame of it becomes the package's test.
    frame : int
        Which frame.

    Returns
    -------
    Steps of str
        What was done, in plain words.
    """
    from napari_denoisereg.io.bioimageio import export_package

    yield Progress(0, 1, "writing")
    model = entry.load()
    if path.endswith(".zip"):
        export_package(model, path, stack, frame=frame, overwrite=True)
    else:
        model.save(path)
    yield Progress(1, 1, "writing")
    return f"Exported to {Path(path).name}."
