"""What can be done with the transforms of a session: load, save, invert, chain, make from points or from a layer. No Qt.

What was loaded or made is kept for as long as the viewer lives, so that a closed dock loses nothing.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from napari_denoisereg.widgets.keypoint_features import counting
from napari_denoisereg.widgets.layers import stack_from
from napari_denoisereg.widgets.transforms_list import Known, found_on, known_on, parts_of, placement, saved_form
from napari_denoisereg.widgets.transforms_task import mapped

if TYPE_CHECKING:
    from napari.layers import Image, Layer, Points

    from napari_denoisereg.evaluation.keypoints import Keypoints
    from napari_denoisereg.geometry import Grid
    from napari_denoisereg.geometry.landmarks import Kind
    from napari_denoisereg.steps import Steps

_KEPT: WeakKeyDictionary[Any, list[Known]] = WeakKeyDictionary()


def kept(viewer: Any) -> list[Known]:
    """Transforms that were loaded or made in a viewer.

    Parameters
    ----------
    viewer : napari.Viewer
        Or the proxy that napari gives to plugins.

    Returns
    -------
    list of Known
        The list itself: append to it, remove from it.
    """
    return _KEPT.setdefault(getattr(viewer, "__wrapped__", viewer), [])


def known_to(viewer: Any) -> list[Known]:
    """All transforms of a session.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose.

    Returns
    -------
    list of Known
        Those on layers, then those loaded or made.
    """
    return [*found_on(viewer.layers), *kept(viewer)]


def load(path: Path, grid: Grid | None) -> Steps[Known]:
    """Read transforms.

    Parameters
    ----------
    path : Path
        A result (``OUT.zarr``) or a transforms file or folder.
    grid : Grid, optional
        Of the chosen movie, for files that do not say theirs.

    Returns
    -------
    Steps of Known
        Raises what `results.read_registration` raises.
    """
    from napari_denoisereg import results
    from napari_denoisereg.steps import Progress

    yield Progress(0, 1, f"reading {path.name}")
    found = results.read_registration(path, otherwise=grid)
    yield Progress(1, 1, f"reading {path.name}")
    return Known(path.name, found)


def save(known: Known, path: Path, *, overwrite: bool) -> Steps[Path]:
    """Write transforms; the suffix says the format.

    Parameters
    ----------
    known : Known
        The transforms.
    path : Path
        See `io.write_transforms`.
    overwrite : bool
        Whether an earlier file may be replaced.

    Returns
    -------
    Steps of Path
        What was written.
    """
    from napari_denoisereg import io
    from napari_denoisereg.steps import Progress

    yield Progress(0, 1, f"writing {path.name}")
    form = saved_form(known)
    written = io.write_transforms(form.transforms, path, grid=form.grid, overwrite=overwrite)
    yield Progress(1, 1, f"writing {path.name}")
    return written


def inverted(known: Known) -> Steps[Known]:
    """The way back.

    Parameters
    ----------
    known : Known
        The transforms.

    Returns
    -------
    Steps of Known
        Applied to what the transforms made, they give what it was made of.
    """
    found = yield from known.registration.inverse_steps()
    return known.derived(f"inverse of {known.name}", found)


def chained(first: Known, second: Known) -> Known:
    """Transforms that do what two do one after the other, in one interpolation.

    Parameters
    ----------
    first : Known
        Applied to the movie first.
    second : Known
        Applied to what comes out.

    Returns
    -------
    Known
        At the place of the first.

    Raises
    ------
    ValueError
        When frames or axes differ.
    """
    import torch

    from napari_denoisereg.geometry import Affine

    other = second.registration
    if other.grid.ndim == first.registration.grid.ndim and first.place is not None and second.place is not None:
        between = np.linalg.inv(second.place) @ first.place
        if not np.allclose(between, np.eye(len(between)), atol=1e-12):
            other = other.seen_from(Affine(torch.from_numpy(between[:-1])))
    # Images are read at T(x): what is applied second to the image comes first on points.
    both = replace(other.then(first.registration), grid=first.registration.grid)
    return first.derived(f"{first.name}, then {second.name}", both)


def from_points(points: Points, movie: Image, axes: str, kind: Kind) -> Steps[tuple[Known, str]]:
    """Transforms from points that mark the same places in several frames.

    Parameters
    ----------
    points : Points
        With the feature ``id``: the same number is the same place.
    movie : Image
        The movie they were marked in.
    axes : str
        Of the movie.
    kind : str
        See `starts.from_keypoints`.

    Returns
    -------
    Steps of (Known, str)
        And a warning that names misplaced points; empty when there are none.

    Raises
    ------
    ValueError
        When the points have no ids or tell too little.
    """
    stack = stack_from(movie, axes)
    marks = marks_in(points, movie, axes, stack.grid)
    return _fitted(marks, stack.grid, stack.n_frames, kind, movie, axes, f"{points.name} ({kind.replace('_', '-')})")


def from_layer(layer: Layer, movie: Image, axes: str, first_frame: int) -> Known:
    """Transforms from the place of a layer that somebody moved by hand, compared with the movie's.

    Parameters
    ----------
    layer : Layer
        A copy of the movie, or of some frames, moved so that it fits the first frame.
    movie : Image
        The movie.
    axes : str
        Of the movie.
    first_frame : int
        The move holds from here on.

    Returns
    -------
    Known
        At the movie's place.

    Raises
    ------
    ValueError
        When the layer was not moved, or has other axes.
    """
    from napari_denoisereg.starts import from_affine

    stack = stack_from(movie, axes)
    grid = stack.grid
    if layer.ndim != movie.ndim:
        raise ValueError(
            f"{layer.name!r} has {layer.ndim} axes, {movie.name!r} {movie.ndim}; duplicate the movie and move that."
        )
    there, here = (placement(each, axes, grid.ndim)[0] for each in (layer, movie))
    coordinates = np.diag([*grid.spacing, 1.0])
    # The copy's voxels lie where they belong; in the movie's own coordinates that is the move.
    move = coordinates @ np.linalg.inv(here) @ there @ np.linalg.inv(coordinates)
    if np.allclose(move, np.eye(grid.ndim + 1), atol=1e-9):
        raise ValueError(
            f"{layer.name!r} lies exactly on {movie.name!r}; move it first, with the transform mode of the layer controls."
        )
    found = from_affine(move, grid, stack.n_frames, first_frame=first_frame)
    return known_on(movie, found, axes, f"{layer.name} from frame {first_frame}")


def _fitted(  # noqa: PLR0913 - private
    marks: Keypoints, grid: Grid, n_frames: int, kind: Kind, movie: Image, axes: str, name: str
) -> Steps[tuple[Known, str]]:
    from napari_denoisereg.starts import from_keypoints
    from napari_denoisereg.steps import Progress

    yield Progress(0, 1, "fitting to the points")
    guided = from_keypoints(marks, grid, n_frames, kind)
    yield Progress(1, 1, "fitting to the points")
    wrong = ", ".join(f"point {number} in frame {frame}" for frame, number in guided.misplaced[:8])
    more = f" and {len(guided.misplaced) - 8} more" if len(guided.misplaced) > 8 else ""
    warning = f"Left out, because the other points agree on another motion: {wrong}{more}." if wrong else ""
    return known_on(movie, guided.registration, axes, name), warning


def marks_in(points: Points, movie: Image, axes: str, grid: Grid) -> Keypoints:
    """Marked places of a points layer, in the pixels of a movie.

    Parameters
    ----------
    points : Points
        With the feature ``id``, which says what belongs together.
    movie : Image
        The movie.
    axes : str
        Of the movie.
    grid : Grid
        Of its frames.

    Returns
    -------
    Keypoints
        Without marks that are not to count.

    Raises
    ------
    ValueError
        When there are no ids, or the layer has other axes.
    """
    from napari_denoisereg.evaluation.keypoints import Keypoints

    if "id" not in points.features:
        raise ValueError(
            f"{points.name!r} does not say which points belong together; mark them in the keypoints dock (feature 'id')."
        )
    if points.ndim != movie.ndim:
        raise ValueError(
            f"{points.name!r} has {points.ndim} axes, {movie.name!r} {movie.ndim}; choose points marked in the movie."
        )
    frame, space = parts_of(axes, grid.ndim)
    to_movie = np.linalg.inv(placement(movie, axes, grid.ndim)[0]) @ placement(points, axes, grid.ndim)[0]
    (zero, step), (own_zero, own_step) = placement(movie, axes, grid.ndim)[1], placement(points, axes, grid.ndim)[1]
    counts = counting(points.features)
    features, data = points.features[counts], np.asarray(points.data, float)[counts]
    frames = np.rint((own_zero + own_step * data[:, frame] - zero) / step).astype(int)
    who = {name: features[name].astype(str).to_numpy() for name in ("annotator", "kind") if name in features}
    return Keypoints(frames, features["id"].to_numpy(), mapped(to_movie, data[:, space]), **who)
