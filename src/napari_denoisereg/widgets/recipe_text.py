"""What a dock would do, as text to copy: a Python script, or a line for the command line, that give the same result. No Qt.

A layer that came from a file is named by its file, if the file still holds what the layer shows. Otherwise the Python text
reads the layer itself and runs in napari's console; a command line needs a file.
"""

from __future__ import annotations

import pprint
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_denoisereg.pipeline import Pipeline
    from napari_denoisereg.stack import Stack
    from napari_denoisereg.steps import Steps

NO_FILE = (
    "A command needs a file, and layer {name!r} is not one (or was changed since it was opened): save it first, with "
    "File > Save Selected Layers as .tif, open that, and copy again."
)
NO_START = (
    "A text cannot hold the start chosen under Advanced: choose 'Nothing known' there to copy, save the transforms in the dock "
    "'Transforms', and give them by --start FILE or start=."
)
NO_REGION = (
    "A text cannot hold the region chosen under Advanced: choose 'Everywhere' there to copy, save the mask as a file, and "
    "give it by --region FILE or region=."
)
NO_GUIDE = (
    "A text cannot hold the keypoints chosen under Advanced: choose 'No keypoints' there to copy, export them in the dock "
    "'Keypoints', and give them by --landmarks FILE or landmarks=."
)
WIDTH = 100


@dataclass(frozen=True, eq=False)
class Job:
    """What would be run.

    Parameters
    ----------
    recipe : Pipeline
        The recipe.
    stack : Stack
        The layer as a stack.
    path : str or None
        The file the layer says that it came from.
    device : str
        Where to compute.
    """

    recipe: Pipeline
    stack: Stack
    path: str | None
    device: str

    @classmethod
    def of(cls, recipe: Pipeline, stack: Stack, layer: Layer, device: str) -> Job:
        """Take note of a layer's file.

        Parameters
        ----------
        recipe, stack, device
            See the class.
        layer : Layer
            What the stack was made of.

        Returns
        -------
        Job
            Without the layer.
        """
        path = layer.source.path
        return cls(recipe, stack, None if path is None else str(path), device)


def python_text(job: Job) -> Steps[str]:
    """The job as a Python script.

    Parameters
    ----------
    job : Job
        What would be run.

    Returns
    -------
    Steps of str
        Runs as it is (in napari's console where the layer is no file).
    """
    lines = yield from stack_lines(job, "stack")
    recipe = pprint.pformat(_settings(job.recipe), width=WIDTH, sort_dicts=False)
    return "\n".join(
        [
            "import napari_denoisereg as dr",
            "",
            *lines,
            f"recipe = {recipe}",
            f"result = dr.run(stack, recipe, device={job.device!r})",
            "# result.denoised and result.aligned are stacks, result.registration holds the transforms;",
            '# dr.write(result.aligned, "aligned.ome.zarr") keeps one of them.',
            "",
        ]
    )


def stack_lines(job: Job, variable: str) -> Steps[list[str]]:
    """Lines of Python that read a layer.

    Parameters
    ----------
    job : Job
        With the layer.
    variable : str
        Name of the stack.

    Returns
    -------
    Steps of list of str
        From its file; from napari's viewer where it is none.
    """
    path = yield from checked_file(job)
    stack, place = job.stack, _place(job.stack)
    options = f"axes={stack.outer_axes!r}, spacing={place['spacing']!r}, units={place['units']!r}"
    if path is not None:
        return [f"{variable} = dr.read({str(path)!r}, {options})"]
    layer = f"viewer.layers[{stack.name!r}]"
    maker = "dr.Stack.of_image" if stack.is_image else "dr.Stack"
    return [f"layer = {layer}", f"{variable} = {maker}(layer.data, {options}, name=layer.name)"]


def command_text(job: Job) -> Steps[str]:
    """The job as a line for the command line.

    Parameters
    ----------
    job : Job
        What would be run.

    Returns
    -------
    Steps of str
        Writes ``<file>-result.zarr`` beside the file.

    Raises
    ------
    ValueError
        When the layer is no file.
    """
    import json

    path = yield from checked_file(job)
    if path is None:
        raise ValueError(NO_FILE.format(name=job.stack.name))
    place = _place(job.stack)
    settings = _settings(job.recipe)
    words = ["denoisereg", "run", str(path), str(path.with_name(f"{path.name.partition('.')[0]}-result.zarr"))]
    words += ["--recipe", settings if isinstance(settings, str) else json.dumps(settings), "--axes", job.stack.outer_axes]
    words += ["--spacing", *map(repr, place["spacing"]), "--units", *place["units"], "--device", job.device]
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def checked_file(job: Job) -> Steps[Path | None]:
    """The file of a layer, if it holds what the layer shows.

    Parameters
    ----------
    job : Job
        What would be run.

    Returns
    -------
    Steps of Path or None
        None where there is no file, it cannot be read here, or it holds something else (a part of it, an edited layer).
    """
    from napari_denoisereg import io
    from napari_denoisereg.steps import Progress

    yield Progress(0, 1, "looking at the file")
    if job.path is None:
        return None
    path = Path(job.path).absolute()
    try:
        stored = io.read(path, axes=job.stack.outer_axes)
    except (OSError, ValueError, TypeError):  # a format that only a reader of napari knows
        return None
    is_same = stored.shape == job.stack.shape and stored.dtype == job.stack.dtype
    for frame in (0, job.stack.n_frames - 1):
        is_same = is_same and np.array_equal(stored.frame(frame), job.stack.frame(frame), equal_nan=stored.dtype.kind == "f")
    yield Progress(1, 1, "looking at the file")
    return path if is_same else None


def _settings(recipe: Pipeline) -> str | dict[str, Any]:
    """The name of a recipe that is exactly one of the presets or saved ones, else what differs from the defaults."""
    from napari_denoisereg.pipeline import load_recipe
    from napari_denoisereg.saved_recipes import PRESETS, names

    if recipe.name in (*PRESETS, *names()) and load_recipe(recipe.name) == recipe:
        return recipe.name
    return recipe.model_dump(mode="json", serialize_as_any=True, by_alias=True, exclude_defaults=True)


def _place(stack: Stack) -> dict[str, Any]:
    from napari_denoisereg.geometry.units import canonical

    places = [stack.axes.index(axis) for axis in stack.outer_axes]
    return {
        "spacing": tuple(float(stack.spacing[place]) for place in places),
        "units": tuple(canonical(str(stack.units[place])) for place in places),
    }
