"""Starts: what a person knows about the motion before a registration, as one transform per frame.

It comes from keypoints that somebody marked, from a layer that somebody moved by hand, or from an earlier registration.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_denoisereg.evaluation.keypoints import Keypoints
from napari_denoisereg.geometry import Affine, Grid, Identity, PerFrame, Transform
from napari_denoisereg.geometry.landmarks import Kind, fit
from napari_denoisereg.register import Registration
from napari_denoisereg.register.anchors import Landmarks
from napari_denoisereg.stack import Stack

MOST_ALONG_A_SIDE = 64
Mark = tuple[int, int]
Start = Registration | PerFrame | Sequence[Transform]


@dataclass(frozen=True, eq=False)
class Guided:
    """What keypoints say about the motion.

    Parameters
    ----------
    registration : Registration
        One transform per frame.
    misplaced : tuple of (int, int)
        Frame and id of the marks that were left out, because the others agree on something else.
    """

    registration: Registration
    misplaced: tuple[Mark, ...] = ()


def from_keypoints(
    keypoints: Keypoints, grid: Grid, n_frames: int, kind: Kind = "affine", *, tolerance: float | None = None
) -> Guided:
    """Transforms from keypoints; between frames that have marks each keypoint is taken to move evenly.

    Parameters
    ----------
    keypoints : Keypoints
        In pixels, with marks in frame 0. Marks of several annotators are averaged.
    grid : Grid
        Of the frames.
    n_frames : int
        Of the stack; after its last mark a keypoint stays where it was.
    kind : {"translation", "rigid", "similarity", "affine", "thin_plate"}
        What may change between two frames.
    tolerance : float, optional
        Distance, in world units, beyond which a mark counts as misplaced; see `geometry.landmarks.fit`.

    Returns
    -------
    Guided
        The transforms and the marks that were left out.

    Raises
    ------
    ValueError
        When there are no marks in frame 0, too few for the kind, or of other dimensions.
    """
    if keypoints.n_axes != grid.ndim:
        raise ValueError(f"Expected keypoints with {grid.ndim} coordinates, got {keypoints.n_axes}.")
    tracks = _tracks(keypoints, n_frames)
    if not tracks:
        raise ValueError("Expected keypoints in the first frame (number 0), got none there; mark them first.")
    step, origin = np.array(grid.spacing), np.array(grid.origin)
    ways = np.stack([way * step + origin for way, _ in tracks.values()])  # (N, T, D)
    found, misplaced = list[Transform]([Identity(grid.ndim)]), list[Mark]()
    for frame in range(1, n_frames):
        try:
            fitted = fit(ways[:, 0], ways[:, frame], kind, tolerance=tolerance)
        except ValueError as error:
            raise ValueError(f"Frame {frame}: {error}") from error
        found.append(fitted.transform if fitted.transform.is_affine else fitted.transform.to_displacement(_over(grid)))
        marked = zip(tracks, fitted.kept, strict=True)
        misplaced += [(frame, name[-1]) for name, is_kept in marked if not is_kept and frame in tracks[name][1]]
    history = ({"start": "keypoints", "transform": kind},)
    return Guided(Registration(PerFrame(found), grid, history=history), tuple(misplaced))


def from_affine(matrix: NDArray[np.floating], grid: Grid, n_frames: int, *, first_frame: int = 1) -> Registration:
    """A start from one matrix that shows where frames belong, e.g. that of a layer somebody moved by hand.

    Parameters
    ----------
    matrix : ndarray
        ``(D+1, D+1)``, world units: moves what lies wrong to where it belongs (napari's direction).
    grid : Grid
        Of the frames.
    n_frames : int
        Of the stack.
    first_frame : int
        It holds from this frame on; frames before stay.

    Returns
    -------
    Registration
        One transform per frame.

    Raises
    ------
    ValueError
        When the matrix does not fit, has no inverse, or the frame does not exist.
    """
    if np.shape(matrix) != (grid.ndim + 1, grid.ndim + 1):
        raise ValueError(f"Expected a matrix {(grid.ndim + 1,) * 2}, got {np.shape(matrix)}.")
    if not 1 <= first_frame < n_frames:
        raise ValueError(
            f"Expected a frame from 1 to {n_frames - 1}, got {first_frame}; frame 0 is what others are aligned to."
        )
    moving = Affine(torch.from_numpy(np.asarray(matrix, float)[:-1])).inverse()
    frames = [moving if frame >= first_frame else Identity(grid.ndim) for frame in range(n_frames)]
    return Registration(PerFrame(frames), grid, history=({"start": "affine", "first_frame": first_frame},))


def as_start(start: Start, stack: Stack) -> PerFrame:
    """Transforms to start from, as seen from the first frame.

    Parameters
    ----------
    start : Registration, PerFrame or sequence of Transform
        One transform per frame.
    stack : Stack
        What is to be registered.

    Returns
    -------
    PerFrame
        The first is the identity.

    Raises
    ------
    TypeError
        For anything else.
    ValueError
        When the number of frames or of axes, or the unit of a registration differs.
    """
    frames: Any = start.transforms if isinstance(start, Registration) else start
    if not isinstance(frames, Sequence) or not all(isinstance(each, Transform) for each in frames):
        raise TypeError(f"Expected a Registration or one Transform per frame as start, got {type(start).__name__}.")
    given = PerFrame(frames)
    if len(given) != stack.n_frames or given.ndim != stack.grid.ndim:
        raise ValueError(
            f"Expected a start of {stack.n_frames} frames in {stack.grid.ndim}D for {stack!r}, got {len(given)} in "
            f"{given.ndim}D; make it from the same movie."
        )
    if isinstance(start, Registration):
        start.check_units(stack)
    if given[0].is_identity:
        return given
    back = given[0].inverse()
    return PerFrame([Identity(given.ndim), *(back.then(each) for each in given[1:])])


def as_landmarks(keypoints: Keypoints, grid: Grid, n_frames: int) -> Landmarks:
    """Keypoints as what pulls a registration, only where they are marked.

    Parameters
    ----------
    keypoints : Keypoints
        In pixels. Marks of several annotators are averaged.
    grid : Grid
        Of the frames.
    n_frames : int
        Of the stack; marks of later frames are left out.

    Returns
    -------
    Landmarks
        In world units.
    """
    rows = zip(keypoints.kind, keypoints.id, keypoints.frame, keypoints.position, strict=True)
    marks = dict[tuple[tuple[str, int], int], list[NDArray[np.float64]]]()
    for kind, number, frame, place in rows:
        marks.setdefault(((str(kind), int(number)), int(frame)), []).append(place)
    names = sorted({name for name, _ in marks})
    places = np.full((n_frames, len(names), grid.ndim), np.nan)
    for (name, frame), several in marks.items():
        if frame < n_frames:
            places[frame, names.index(name)] = np.mean(several, axis=0) * grid.spacing + grid.origin
    return Landmarks(torch.from_numpy(places))


def _over(grid: Grid) -> Grid:
    """A grid from the first voxel centre to the last that is fine enough for a spline and small in memory."""
    shape = tuple(min(size, MOST_ALONG_A_SIDE) for size in grid.shape)
    sides = zip(grid.shape, shape, grid.spacing, strict=True)
    spacing = tuple(step * (large - 1) / max(1, small - 1) if large > 1 else step for large, small, step in sides)
    return Grid(shape, spacing, grid.origin, grid.units)


def _tracks(keypoints: Keypoints, n_frames: int) -> dict[tuple[str, int], tuple[NDArray[np.float64], set[int]]]:
    """Way of every keypoint that is marked in frame 0, ``(T, D)`` in pixels, and the frames in which it is marked."""
    names = [(str(kind), int(number)) for kind, number in zip(keypoints.kind, keypoints.id, strict=True)]
    tracks = {}
    for name in sorted(set(names)):
        rows = np.array([each == name for each in names])
        frames, places = keypoints.frame[rows], keypoints.position[rows]
        marked = sorted({int(frame) for frame in frames if frame < n_frames})
        if not marked or marked[0] != 0:
            continue
        mean = np.array([places[frames == frame].mean(0) for frame in marked])
        way = [np.interp(np.arange(n_frames), marked, mean[:, axis]) for axis in range(mean.shape[1])]
        tracks[name] = (np.stack(way, axis=1), set(marked))
    return tracks
