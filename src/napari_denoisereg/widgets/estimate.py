"""How long a recipe will take and how much memory, before it is run. No Qt.

Time has two parts. Training takes the budget that its setting says. The rest grows with the number of voxels; how fast this
computer is at it is tried on a small corner of a few frames, with trainings of half a second, or known from the last real
run with the same methods. Neither is exact: caches, lazy data and other programs may change it twofold.

Memory is what the engine plans with: frames that are trained on, a batch of frames with what a network or a registrar computes
between, and the result, which goes to the temporary folder where it would take more than a quarter of what is free
(`frames.result_array`).
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from napari_denoisereg.method import Method
    from napari_denoisereg.pipeline import Pipeline
    from napari_denoisereg.stack import Stack
    from napari_denoisereg.steps import Steps

T = TypeVar("T")

TRIAL_SIDE, TRIAL_DEPTH, TRIAL_FRAMES = 160, 16, 4
TRIAL_SECONDS = 0.5  # of each training
# Fitted to the peak memory of the recipes fast and balanced on frames of 128 to 1064 px (within 30 %) and on small volumes.
LIBRARIES = 75_000_000  # bytes
WORKING_ARRAYS, LARGEST_PART = 250, 768**2  # float32 images at once of the part of a frame that is worked on, voxels
KEPT_FRAMES = 30  # float32 images of whole frames: neighbours, and their noise


@dataclass(frozen=True)
class Estimate:
    """What a run will need.

    Parameters
    ----------
    seconds : float or None
        Time; None where it is not known.
    memory, disk : int
        Bytes at once in memory, and in the temporary folder.
    free_memory, free_disk : int
        Bytes there are.
    """

    seconds: float | None
    memory: int
    disk: int
    free_memory: int
    free_disk: int

    def warning(self) -> str:
        """What may go wrong and what to do about it; empty when nothing."""
        if self.memory > self.free_memory:
            return (
                f"This may need more memory than is free ({size_in_words(self.free_memory)}). Close other programs, crop the "
                "movie or bin it, or choose smaller tiles and batches under Advanced."
            )
        if self.disk > self.free_disk:
            return (
                f"The result is too large for memory and needs {size_in_words(self.disk)} in the temporary folder "
                f"{tempfile.gettempdir()}, which has {size_in_words(self.free_disk)}. Free some room, crop the movie, or set "
                "TMPDIR to a folder on a larger disk before you start napari."
            )
        return ""

    def remark(self) -> str:
        """What is worth knowing; empty when nothing."""
        if self.disk:
            return f"The result is too large for memory: {size_in_words(self.disk)} of it go to the temporary folder."
        return ""


def rate_key(recipe: Pipeline, stack: Stack, device: str) -> str:
    """Name under which the speed of a recipe is kept: its methods with all settings but budgets, dimension, and device.

    Parameters
    ----------
    recipe : Pipeline
        What is to be run.
    stack : Stack
        On what.
    device : str
        Where.

    Returns
    -------
    str
        JSON.
    """
    methods = [{**each.to_dict(), "seconds": None, "iterations": None} for each in _methods(recipe)]
    alone = ["one frame"] if stack.n_frames < 2 else []  # without neighbours some methods do something else
    return json.dumps([methods, recipe.series.to_dict(), recipe.keep_denoised, stack.grid.ndim, device, *alone], sort_keys=True)


def rest_rate(recipe: Pipeline, stack: Stack, seconds: float) -> float:
    """Seconds per voxel of what is no training.

    Parameters
    ----------
    recipe : Pipeline
        What was run.
    stack : Stack
        On what.
    seconds : float
        How long it took in all.

    Returns
    -------
    float
        Not negative.
    """
    return max(0.0, seconds - _training(recipe, stack)) / _voxels(recipe, stack)


def trial(recipe: Pipeline, stack: Stack, device: str) -> Steps[float]:
    """Try a recipe on a corner of a few frames.

    Parameters
    ----------
    recipe : Pipeline
        What is to be run.
    stack : Stack
        On what; only a small part is read.
    device : str
        Where.

    Returns
    -------
    Steps of float
        Seconds per voxel of what is no training, see `rest_rate`.
    """
    few = _corner(stack)
    quick = recipe.model_copy(
        update={
            "channel": 0,
            "denoise": None if recipe.denoise is None else _brief(recipe.denoise),
            "registrars": tuple(_brief(registrar) for registrar in recipe.registrars),
        }
    )
    _, seconds = yield from timed(quick.run(few, device=device))
    return rest_rate(quick, few, seconds)


def timed(steps: Steps[T]) -> Steps[tuple[T, float]]:
    """Measure how long work takes, without the time it waits at its yields (pauses).

    Parameters
    ----------
    steps : Steps
        The work.

    Returns
    -------
    Steps of tuple
        What the work returns, and seconds.
    """
    spent = 0.0
    try:
        while True:
            begin = time.perf_counter()
            progress = next(steps)
            spent += time.perf_counter() - begin
            yield progress
    except StopIteration as end:
        return end.value, spent + time.perf_counter() - begin
    finally:
        steps.close()


def estimate(recipe: Pipeline, stack: Stack, rate: float | None) -> Estimate:
    """Estimate a run.

    Parameters
    ----------
    recipe : Pipeline
        What is to be run.
    stack : Stack
        On what; nothing of it is read.
    rate : float or None
        Of `trial` or `rest_rate`.

    Returns
    -------
    Estimate
        Rough: memory within about a factor of two, time likewise.
    """
    from napari_denoisereg import device as devices

    free = devices.free_memory()
    frame = 4 * math.prod(stack.grid.shape)
    result = frame * stack.n_frames * stack.n_channels if _denoises(recipe) else 0
    in_memory = result <= free // 4
    trained = sum(1 for method in _methods(recipe) if method.is_trained)
    pool = trained * frame * max(2, min(64, stack.n_frames, free // 8 // frame))
    memory = pool + _working(stack) + (result if in_memory else frame)
    seconds = None if rate is None else _training(recipe, stack) + rate * _voxels(recipe, stack)
    return Estimate(seconds, memory, 0 if in_memory else result, free, shutil.disk_usage(tempfile.gettempdir()).free)


def size_in_words(n_bytes: float) -> str:
    """A size as people say it, e.g. ``"1.2 GB"``."""
    if n_bytes < 995e6:
        return f"{max(10, round(n_bytes / 1e7) * 10):.0f} MB"
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes < 99.5e8 else f"{n_bytes / 1e9:.0f} GB"


def _working(stack: Stack) -> int:
    """Between the input and the output: large frames are worked on part by part."""
    voxels = math.prod(stack.grid.shape)
    return LIBRARIES + 4 * (WORKING_ARRAYS * min(voxels, LARGEST_PART) + KEPT_FRAMES * voxels)


def _methods(recipe: Pipeline) -> Iterator[Any]:
    if recipe.denoise is not None:
        yield recipe.denoise
    yield from recipe.registrars


def _denoises(recipe: Pipeline) -> bool:
    return recipe.denoise is not None or (recipe.keep_denoised and any(each.is_denoiser for each in recipe.registrars))


def _training(recipe: Pipeline, stack: Stack) -> float:
    """Budgets: a denoiser is trained once per channel unless one model serves all; this is the longer of both."""
    budgets = [getattr(method, "seconds", 0.0) for method in _methods(recipe) if method.is_trained]
    times = [stack.n_channels if method is recipe.denoise else 1 for method in _methods(recipe) if method.is_trained]
    return float(np.dot(budgets, times))


def _voxels(recipe: Pipeline, stack: Stack) -> int:
    channels = stack.n_channels if _denoises(recipe) else 1
    return math.prod(stack.grid.shape) * stack.n_frames * channels


def _brief(method: Method) -> Any:
    return method.model_copy(update={"seconds": TRIAL_SECONDS}) if "seconds" in type(method).model_fields else method


def _corner(stack: Stack) -> Stack:
    """A small part in the middle of the first frames and of the first channel, in memory."""
    longest = {"y": TRIAL_SIDE, "x": TRIAL_SIDE, "z": TRIAL_DEPTH, stack.frame_axis: TRIAL_FRAMES, "c": 1}
    parts = []
    for axis, size in zip(stack.axes, stack.shape, strict=True):
        kept = min(size, longest[axis])
        start = 0 if axis in (stack.frame_axis, "c") else (size - kept) // 2
        parts.append(slice(start, start + kept))
    return replace(stack, data=np.asarray(stack.data[tuple(parts)]))
