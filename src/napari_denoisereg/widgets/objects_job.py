"""What the dock *Register objects* has done in the worker, and the layers and words that come of it. No Qt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.transforms import CompositeAffine

from napari_denoisereg.steps import Progress, Steps, portion
from napari_denoisereg.widgets.layers import Look, image_layer_data, provenance
from napari_denoisereg.widgets.transforms_list import Matrix, grid_matrix, placement

if TYPE_CHECKING:
    from napari_denoisereg.object_motion import Objects
    from napari_denoisereg.pipeline import Pipeline
    from napari_denoisereg.register import Registrar, Series
    from napari_denoisereg.stack import Stack
    from napari_denoisereg.widgets.layers import LayerData

SAME_PLACE = 0.05  # voxels and frames: further apart, layers lie elsewhere
SHOWN = "To see where they went, switch on the eye of [object tracks]; its 'color by' shows how they turned and grew."
FEATURES = ("rotation", "scale", "misfit")
TRACK_FIRST = (
    "Track the objects first, e.g. with TrackMate, btrack or ultrack, so that each keeps its number from frame to frame."
)
LIKE_THE_MOVIE = (
    "If they belong together, right-click {movie!r} in the layer list, 'Copy scale and transforms > Copy all to clipboard', "
    "then right-click {labels!r}, 'Apply scale/transforms from Clipboard'."
)


@dataclass(frozen=True, eq=False)
class Outcome:
    """Registered objects, ready to be shown and saved.

    Parameters
    ----------
    objects : Objects
        In the coordinates of the movie's stack.
    rows : sequence of mapping
        Of `motion_table`.
    still : Stack
        The movie in which every object stands still.
    method : Registrar
        What found the motion.
    """

    objects: Objects
    rows: Sequence[Mapping[str, float]]
    still: Stack
    method: Registrar


def labels_on(labels: Labels, movie: Image, stack: Stack) -> Stack:
    """Labels of a layer, if they lie on a movie voxel by voxel and frame by frame.

    Parameters
    ----------
    labels : Labels
        The layer.
    movie : Image
        The movie's layer.
    stack : Stack
        Made of it.

    Returns
    -------
    Stack
        Nothing is read or copied.

    Raises
    ------
    ValueError
        When labels have another shape, are not whole numbers, or lie elsewhere; says what to do.
    """
    from napari_denoisereg.stack import Stack

    data = labels.data[0] if labels.multiscale else labels.data
    shape, wanted = tuple(map(int, data.shape)), dict(zip(stack.axes, stack.shape, strict=True))
    axes = stack.axes if len(shape) == len(stack.axes) else stack.axes.replace("c", "")
    expected = tuple(1 if axis == "c" else wanted[axis] for axis in axes)
    if shape == expected[1:] and stack.frame_axis == axes[0]:
        raise ValueError(f"{labels.name!r} is one image for all frames. {TRACK_FIRST}")
    if shape != expected:
        raise ValueError(
            f"Expected labels for every frame of {movie.name!r}, {expected}, got {labels.name!r} of {shape}; "
            "choose the labels that were made on this movie."
        )
    if np.dtype(data.dtype).kind not in "iu":
        raise ValueError(f"Expected labels that are whole numbers, got {labels.name!r} of {data.dtype}. {TRACK_FIRST}")
    _check_place(labels, axes, movie, stack)
    return Stack(data, axes, name=labels.name)


def run_objects(
    stack: Stack, labels: Stack, method: Registrar, *, device: str = "auto", channel: int = 0, series: Series | str = "combined"
) -> Steps[Outcome]:
    """Register all objects and prepare their layers.

    Parameters
    ----------
    stack : Stack
        The movie.
    labels : Stack
        Of `labels_on`.
    method : Registrar
        How.
    device : str
        Where to compute.
    channel : int
        Channel to look at.
    series : Series or str
        How pairs become a series.

    Returns
    -------
    Steps of Outcome
        Long work.
    """
    from napari_denoisereg.object_motion import motion_table
    from napari_denoisereg.objects import register_objects

    work = register_objects(stack, labels, method, device=device, channel=channel, series=series)
    objects = yield from portion(work, 0.0, 0.92)
    still = yield from portion(objects.warp_steps(stack), 0.92, 0.98)
    rows = yield from portion(motion_table(objects), 0.98, 1.0)
    return Outcome(objects, rows, still, method)


def recipe_of(method: Registrar, series: Series, channel: int) -> Pipeline:
    """What is done with every object, as a recipe.

    Parameters
    ----------
    method : Registrar
        How pairs of frames are registered.
    series : Series
        How pairs become a series.
    channel : int
        Channel to look at.

    Returns
    -------
    Pipeline
        Without denoising.
    """
    from napari_denoisereg.pipeline import Pipeline

    return Pipeline(registrars=(method,), series=series, channel=channel, keep_denoised=False)


def result_layers(outcome: Outcome, look: Look, *, channel: int = 0) -> list[Layer]:
    """Make the layers of a run or, when one cannot be made, none.

    Parameters
    ----------
    outcome : Outcome
        Of `run_objects`.
    look : Look
        Of the movie.
    channel : int
        Channel in which tracks show, where there are several.

    Returns
    -------
    list of Layer
        The movie in which objects stand still, and the tracks; none without objects. Not yet in a viewer.
    """
    if not outcome.objects:
        return []
    still = image_layer_data(outcome.still, look, "objects aligned", outcome.method)
    return [Layer.create(*each) for each in (still, track_layer_data(outcome, look, channel=channel))]


def track_layer_data(outcome: Outcome, look: Look, *, channel: int = 0) -> LayerData:
    """One track per object: where its middle went.

    Parameters
    ----------
    outcome : Outcome
        Of `run_objects`.
    look : Look
        Of the movie.
    channel : int
        Channel in which tracks show, where there are several.

    Returns
    -------
    LayerDataTuple
        Data ``(N, 1 + axes)``; features ``id``, ``rotation`` (degrees), ``scale``, ``misfit`` (world units). Channels that
        come before time are left out: napari takes the first axis of tracks for the time.
    """
    stack, rows = outcome.still, outcome.rows
    first = look.axes.index(stack.frame_axis)
    columns = [np.array([row["id"] for row in rows], float)]
    for axis, step, start in list(zip(stack.axes, stack.spacing, stack.origin, strict=True))[first:]:
        if axis == stack.frame_axis:
            columns.append(np.array([row["frame"] for row in rows], float))
        elif axis == "c":
            columns.append(np.full(len(rows), float(channel)))
        else:
            columns.append((np.array([row[axis] for row in rows]) - start) / step)
    settings = {
        "name": f"{look.name} [object tracks]",
        "metadata": provenance(look, outcome.method, result="object tracks"),
        "features": {name: [row[name] for row in rows] for name in ("id", *FEATURES)},
        "visible": False,  # beside what stands still, it would be taken for motion that is left
        "tail_length": stack.n_frames,
        "tail_width": 3,
        "colormap": "viridis",
        "blending": "translucent",  # added to a bright movie they would be white
    }
    return np.stack(columns, axis=1), {**settings, **_last_axes(look.place, first)}, "tracks"


def summary(outcome: Outcome) -> str:
    """What came out, with all objects that were left out or may be lost.

    Parameters
    ----------
    outcome : Outcome
        Of `run_objects`.

    Returns
    -------
    str
        Lines of plain words.
    """
    objects = outcome.objects
    lines = [f"Registered {_count(len(objects))}. {SHOWN}" if objects else "No object could be registered."]
    if objects.left_out:
        reasons = dict[str, list[int]]()
        for number, reason in sorted(objects.left_out.items()):
            reasons.setdefault(reason, []).append(number)
        lines += [f"⚠ Left out: {_count(len(objects.left_out))}."]
        lines += [f"{', '.join(map(str, numbers))}: {reason}." for reason, numbers in reasons.items()]
    doubts = {number: motion.doubts_in_words for number, motion in objects.items() if motion.doubts}
    if doubts:
        lines += ["⚠ Look at these, the alignment may have failed. Another choice of 'Motion' may help."]
        lines += [f"Object {number}, {words}." for number, words in doubts.items()]
    return "\n".join(lines)


def warning(outcome: Outcome) -> str:
    """What must not be overlooked.

    Parameters
    ----------
    outcome : Outcome
        Of `run_objects`.

    Returns
    -------
    str
        One sentence; empty when all objects were registered.
    """
    left_out = sorted(outcome.objects.left_out)
    if not left_out:
        return ""
    named = ", ".join(map(str, left_out[:12])) + (f" and {len(left_out) - 12} more" if len(left_out) > 12 else "")
    return f"{_count(len(left_out))} left out ({named}): the dock says why."


def save(outcome: Outcome, offset: Sequence[float], path: Path, what: Literal["all", "table"]) -> Steps[Path]:
    """Write the result; what was there is replaced.

    Parameters
    ----------
    outcome : Outcome
        Of `run_objects`.
    offset : sequence of float
        Of `world_offset`.
    path : Path
        ``OUT.zarr``, or ``OUT.csv`` for the table.
    what : {"all", "table"}
        Transforms and table, or the table alone.

    Returns
    -------
    Steps of Path
        What was written.
    """
    from napari_denoisereg.objects import write_objects, write_table

    yield Progress(0, 1, f"writing {path.name}")
    placed = outcome.objects.shifted(offset) if any(offset) else outcome.objects
    written = (write_objects if what == "all" else write_table)(placed, path, overwrite=True)
    yield Progress(1, 1, f"writing {path.name}")
    return written


def world_offset(movie: Image, stack: Stack) -> list[float]:
    """Where a movie that lies straight starts in the viewer, so that files say the places that napari shows.

    Parameters
    ----------
    movie : Image
        The movie's layer.
    stack : Stack
        Made of it.

    Returns
    -------
    list of float
        Per spatial axis, world units; zeros for a layer that is turned, mirrored or sheared.

    Raises
    ------
    ValueError
        When the layer is turned so that time becomes space.
    """
    to_world, _ = placement(movie, stack.axes, stack.grid.ndim)
    place = to_world @ np.linalg.inv(grid_matrix(stack.grid))
    is_straight = np.allclose(place[:-1, :-1], np.eye(stack.grid.ndim), atol=1e-9)
    return [float(step) for step in place[:-1, -1]] if is_straight else [0.0] * stack.grid.ndim


def _check_place(labels: Labels, axes: str, movie: Image, stack: Stack) -> None:
    ndim, last = stack.grid.ndim, np.array([*stack.grid.shape, 1]) - 1
    last[-1] = 1
    (theirs, their_times), (ours, our_times) = placement(labels, axes, ndim), placement(movie, stack.axes, ndim)
    corners = np.array([np.append(np.where(pick, last[:-1], 0), 1) for pick in np.ndindex(*(2,) * ndim)], float).T
    apart: Matrix = (np.linalg.inv(ours) @ theirs - np.eye(ndim + 1)) @ corners
    frames = np.array([0, stack.n_frames - 1])
    late = (their_times[0] - our_times[0] + frames * (their_times[1] - our_times[1])) / our_times[1]
    if max(np.abs(apart).max(), np.abs(late).max()) <= SAME_PLACE:
        return
    differ = [
        f"its {name} is {_listed(getattr(labels, name))}, the movie's {_listed(getattr(movie, name))}"
        for name in ("scale", "translate")
        if not np.allclose(getattr(labels, name)[-ndim - 1 :], getattr(movie, name)[-ndim - 1 :])
    ]
    how = "; ".join(differ) or "it is turned or sheared differently"
    remedy = LIKE_THE_MOVIE.format(movie=movie.name, labels=labels.name)
    raise ValueError(f"{labels.name!r} does not lie on {movie.name!r}: {how}. {remedy}")


def _last_axes(place: Mapping[str, Any], first: int) -> dict[str, Any]:
    """Where a layer lies that has only the axes from ``first`` on."""
    if not first:
        return dict(place)
    names = ("scale", "translate", "rotate", "shear")
    kept = CompositeAffine(**{name: place[name] for name in names}).set_slice(list(range(first, len(place["scale"]))))
    lists = {name: place[name][first:] for name in ("units", "axis_labels")}
    return {**{name: getattr(kept, name) for name in names}, "affine": place["affine"][first:, first:], **lists}


def _listed(values: Any) -> str:
    return " × ".join(f"{float(value):g}" for value in values)


def _count(number: int) -> str:
    return f"{number} object{'' if number == 1 else 's'}"
