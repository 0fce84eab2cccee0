"""What the functions of the front door were given, made ready: a file stands for what it holds, anything else is refused.

A name of a file is opened with its own reader, an object is taken as it is, and what is neither is told how to become one.
"""

import os
from collections.abc import Sequence
from typing import Any

from napari_denoisereg import io, pipeline, results
from napari_denoisereg.evaluation.keypoints import Keypoints
from napari_denoisereg.model import Model
from napari_denoisereg.model import load as load_model
from napari_denoisereg.register import Registration
from napari_denoisereg.stack import Stack


def stack(given: Any) -> Stack:
    """A stack.

    Parameters
    ----------
    given : Stack
        Files are not opened here, as their axes may have to be said.

    Returns
    -------
    Stack
        The same.

    Raises
    ------
    TypeError
        Says how to make one.
    """
    if not isinstance(given, Stack):
        how = "open the file: read(path)" if _is_file(given) else "name its axes: Stack(array, axes='tyx')"
        raise TypeError(f"Expected a Stack, got {_named(given)}; {how}.")
    return given


def registration(given: Any, movie: Any = None) -> Registration:
    """A registration.

    Parameters
    ----------
    given : Registration, str or Path
        Or the file of one, or of transforms.
    movie : Stack, optional
        What it is for: says where the voxels are if the file does not.

    Returns
    -------
    Registration
        Without quality where it was read from a file.

    Raises
    ------
    TypeError
        For anything else.
    """
    otherwise = None if movie is None else stack(movie).grid
    found = results.read_registration(given, otherwise=otherwise) if _is_file(given) else given
    if not isinstance(found, Registration):
        raise TypeError(f"Expected a Registration, as register() returns it, or a file of transforms, got {_named(given)}.")
    return found


def models(given: Any) -> list[Model]:
    """Trained models.

    Parameters
    ----------
    given : Model, str, Path, a sequence of them, or None
        Or the files of models.

    Returns
    -------
    list of Model
        Empty for None.

    Raises
    ------
    TypeError
        For anything else.
    """
    several: Sequence[Any] = [] if given is None else given if isinstance(given, list | tuple) else [given]
    found = [load_model(each, pipeline.FAMILIES) if _is_file(each) else each for each in several]
    for each in found:
        if not isinstance(each, Model):
            raise TypeError(f"Expected a Model or its file, got {_named(each)}.")
    return found


def keypoints(given: Any, name: str = "keypoints") -> Keypoints:
    """Keypoints.

    Parameters
    ----------
    given : Keypoints, str or Path
        Or a CSV file of them.
    name : str
        What they are called where they were given.

    Returns
    -------
    Keypoints
        In pixels.

    Raises
    ------
    TypeError
        For anything else.
    """
    found = io.read_keypoints(given) if _is_file(given) else given
    if not isinstance(found, Keypoints):
        raise TypeError(f"Expected {name} as Keypoints or a CSV file, got {_named(given)}.")
    return found


def mask(given: Any) -> Any:
    """A mask or labels.

    Parameters
    ----------
    given : array, Stack, str or Path
        Or an image file.

    Returns
    -------
    array or Stack
        What it is, is checked where it is used.
    """
    return io.read_mask(given) if _is_file(given) else given


def help_for(movie: Any, *, start: Any, region: Any, **marks: Any) -> dict[str, Any]:
    """What a person knows about a movie.

    Parameters
    ----------
    movie : Stack
        Refused where it is none.
    start, region, **marks
        Marks are landmarks and keypoints. See `napari_denoisereg.register`; each may be a file or None.

    Returns
    -------
    dict
        For `Pipeline.run`.
    """
    one = stack(movie)
    return {
        "start": results.read_start(start, one) if _is_file(start) else start,
        "region": mask(region),
        **{name: None if each is None else keypoints(each, name) for name, each in marks.items()},
    }


def _is_file(given: Any) -> bool:
    return isinstance(given, str | os.PathLike)


def _named(given: Any) -> str:
    shape = getattr(given, "shape", None)
    return type(given).__name__ if shape is None else f"{type(given).__name__} of shape {tuple(shape)}"
