"""Displacements as arrows: few enough to see and to draw, one set per frame.

An arrow starts at a place x of the fixed frame and ends where that place was found in the moving frame, at ``x + u(x)``.
Places where the displacement is unknown (NaN) have no arrow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari_denoisereg.register import Registration
    from napari_denoisereg.steps import Steps

ALONG_LONGER_SIDE = 18  # arrows; more hide the image below them
MOST_ARROWS = 200_000  # napari draws these in a moment; more make it slow


@dataclass(frozen=True, eq=False)
class Arrows:
    """Arrows of all frames, N in all.

    Parameters
    ----------
    frames : ndarray
        Frame number of each arrow ``(N,)``.
    starts, shifts : ndarray
        Place in the fixed frame and way to the place in the moving frame ``(N, D)``, voxels.
    lengths : ndarray
        Length of the way ``(N,)``, world units.
    width : float
        Line width that suits their distance, voxels.
    """

    frames: np.ndarray[Any, Any]
    starts: np.ndarray[Any, Any]
    shifts: np.ndarray[Any, Any]
    lengths: np.ndarray[Any, Any]
    width: float


def arrows_of(registration: Registration) -> Steps[Arrows]:
    """Make arrows of a registration.

    Parameters
    ----------
    registration : Registration
        Any.

    Returns
    -------
    Steps of Arrows
        Long work: the displacement is evaluated at the arrows' places only.
    """
    import torch

    from napari_denoisereg.steps import Pace, Progress

    transforms, grid = registration.transforms, registration.grid
    places, distance = _places(grid.shape, len(transforms))
    spacing = np.asarray(grid.spacing)
    world = places * spacing + np.asarray(grid.origin)
    points = torch.from_numpy(np.ascontiguousarray(world.T, dtype=np.float32))
    pace, rows = Pace(), []
    for number, transform in enumerate(transforms):
        shift = transform(points).detach().cpu().numpy().T - world
        known = np.isfinite(shift).all(axis=1)
        rows.append((np.full(known.sum(), number), places[known], shift[known]))
        if pace.is_due(last=number + 1 == len(transforms)):
            yield Progress(number + 1, len(transforms), "drawing arrows")
    frames, starts, shifts = (np.concatenate(column) for column in zip(*rows, strict=True))
    return Arrows(frames, starts, shifts / spacing, np.linalg.norm(shifts, axis=1), distance / 16)


def _places(shape: tuple[int, ...], n_frames: int) -> tuple[np.ndarray[Any, Any], float]:
    """Evenly spaced places ``(N, D)`` in voxels and their distance in the plane; every plane of a volume as far as it goes."""
    step = max(1.0, max(shape[-2:]) / ALONG_LONGER_SIDE)
    while n_frames * math.prod(shape[:-2]) * math.prod(math.ceil(size / step) for size in shape[-2:]) > MOST_ARROWS:
        step *= 1.2
        if step > max(shape[-2:]):
            break
    axes = [np.arange(size, dtype=float) for size in shape[:-2]]
    for size in shape[-2:]:
        count = max(1, math.floor(size / step))
        axes.append(np.round((np.arange(count) + 0.5) * size / count - 0.5))
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(shape)), step
