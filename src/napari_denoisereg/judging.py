"""Judging registrations, and models while they are trained, by the error at keypoints (DenoiseReg eq. 5)."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from napari_denoisereg.evaluation.keypoints import KeypointError, Keypoints, registration_error
from napari_denoisereg.geometry import Grid, PerFrame, Transform
from napari_denoisereg.model import Model
from napari_denoisereg.register import Registrar, Registration
from napari_denoisereg.register.registrar import Score
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish


def mappings(registration: Registration, grid: Grid) -> list[Callable[[NDArray[np.float64]], NDArray[np.float64]]]:
    """Maps of moving pixels to fixed pixels, one per frame, as `registration_error` wants them.

    Parameters
    ----------
    registration : Registration
        Fixed to moving.
    grid : Grid
        To go between pixels and world.

    Returns
    -------
    list of callable
        Each maps ``(N, D)`` to ``(N, D)``.
    """
    spacing, origin = np.array(grid.spacing), np.array(grid.origin)

    def back(frame: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        inverse = registration.transforms[frame].inverse()

        def mapping(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
            world = torch.from_numpy((pixels * spacing + origin).T.copy())
            return (np.asarray(inverse(world).numpy().T, np.float64) - origin) / spacing

        return mapping

    return [back(frame) for frame in range(len(registration.transforms))]


def evaluate(keypoints: Keypoints, registration: Registration | None = None) -> KeypointError:
    """Registration error at keypoints, before and (with a registration) after: DenoiseReg eq. 5.

    Parameters
    ----------
    keypoints : Keypoints
        In pixels.
    registration : Registration, optional
        Fixed to moving.

    Returns
    -------
    KeypointError
        Per keypoint, frame and annotator, in pixels and world units.
    """
    if registration is None:
        return registration_error(keypoints)
    grid = registration.grid
    if keypoints.n_axes != grid.ndim:
        raise ValueError(
            f"Expected keypoints with {grid.ndim} coordinates, as the registration has axes, got {keypoints.n_axes}; choose "
            "those of this movie."
        )
    unit = grid.units[-1]
    return registration_error(keypoints, mappings(registration, grid), spacing=grid.spacing, unit=unit)


def check_keypoints(keypoints: Keypoints, stack: Stack) -> None:
    """Refuse keypoints that cannot be of a stack.

    Parameters
    ----------
    keypoints : Keypoints
        In pixels.
    stack : Stack
        The movie they were marked in.

    Raises
    ------
    ValueError
        When they have another number of coordinates, none in the first frame, frames beyond the last, or lie far outside the
        frames, as those in another unit do. (A specimen may leave the frame by its length.)
    """
    if keypoints.n_axes != stack.grid.ndim:
        raise ValueError(f"Expected keypoints with {stack.grid.ndim} coordinates for {stack!r}, got {keypoints.n_axes}.")
    if len(keypoints) == 0 or 0 not in keypoints.frame:
        raise ValueError("Expected keypoints in the first frame (number 0), got none there; mark them or renumber the frames.")
    if int(keypoints.frame.max()) >= stack.n_frames:
        raise ValueError(
            f"The keypoints name frame {int(keypoints.frame.max())}, but {stack!r} ends at {stack.n_frames - 1}; "
            "frames count from 0."
        )
    size = np.array(stack.grid.shape)
    far = np.flatnonzero(((keypoints.position < -size) | (keypoints.position > 2 * size)).any(axis=1))
    if len(far):
        frame, number = int(keypoints.frame[far[0]]), int(keypoints.id[far[0]])
        place = ", ".join(f"{value:g}" for value in keypoints.position[far[0]])
        raise ValueError(
            f"Expected keypoints in pixels of frames of {' x '.join(map(str, size))}, got id {number} in frame {frame} at "
            f"({place}), far outside; divide positions in other units by the pixel size, or correct the mark."
        )


def validation_frames(keypoints: Keypoints | None) -> list[int]:
    """Frames whose keypoints judge models in training: a fifth of those that have some, evenly spread, never the first.

    Parameters
    ----------
    keypoints : Keypoints, optional
        In pixels.

    Returns
    -------
    list of int
        Frame numbers; empty where only the first frame has keypoints, or none.
    """
    marked = [] if keypoints is None else sorted({int(frame) for frame in keypoints.frame} - {0})
    return marked[:: max(1, min(5, len(marked) // 2))]


def keypoint_score(
    registrars: Sequence[Registrar],
    stack: Stack,
    keypoints: Keypoints,
    start: PerFrame | None = None,
    *,
    grid: Grid | None = None,
) -> Score | None:
    """Judge a model by the keypoint error of its own prediction on validation frames.

    Each of the `validation_frames` is registered to the first frame by the model, without refinement where the registrar has
    that setting.

    Parameters
    ----------
    registrars : sequence of Registrar
        Of the recipe; the first that is trained is judged.
    stack : Stack
        Noisy frames, without channel axis.
    keypoints : Keypoints
        In pixels.
    start : PerFrame, optional
        What the registrars before it found.
    grid : Grid, optional
        Whose pixels the keypoints are in, where the stack is a part of it; the stack's by default.

    Returns
    -------
    callable or None
        Maps a Model to pixels; None where there are no keypoints beyond the first frame.
    """
    judged = next((registrar for registrar in registrars if registrar.is_trained), None)
    chosen = validation_frames(keypoints)
    if judged is None or not chosen or 0 not in keypoints.frame:
        return None
    if "refinement" in type(judged).model_fields:
        judged = judged.model_copy(update={"refinement": 0})
    few = keypoints.where(np.isin(keypoints.frame, [0, *chosen]))

    def predicted(frame: int, model: Model) -> Transform:
        begin = None if start is None else [start[frame]]
        return finish(judged.align(stack.tensor([0]), stack.tensor([frame]), stack.grid, start=begin, model=model))[0]

    def score(model: Model) -> float:
        # One by one: memory holds two frames, however many are marked.
        found = {frame: predicted(frame, model) for frame in chosen}
        every = [found.get(frame, found[chosen[0]]) for frame in range(stack.n_frames)]
        result = evaluate(few, Registration(PerFrame(every), grid or stack.grid))
        return float(np.nanmean(result.after[result.frame > 0]))

    return score
