"""The displacement of one frame in pictures: arrows, a deformed grid, its size, and how much it stretches. No Qt.

Fields are sampled on a lattice of at most a million places, whatever the size of the frame: coarser than the voxels where
frames are larger than that, which the words say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari_denoisereg.geometry import Grid, Transform
    from napari_denoisereg.register import Registration
    from napari_denoisereg.stack import Stack
    from napari_denoisereg.steps import Steps
    from napari_denoisereg.widgets.inspect_results import Position

Array = np.ndarray[Any, Any]

MOST_PLACES = 2**20
ARROWS, ACROSS = 18, 26  # arrows, grid lines along the longer side
POINTS_PER_CELL = 6  # of a grid line
MOST_PLANES = 9  # of a volume seen from outside


@dataclass(frozen=True)
class Wanted:
    """What to compute.

    Parameters
    ----------
    arrows, lines, size, stretch : bool
        Which pictures.
    flow_of : Stack or None
        A denoised movie without channel axis, whose optical flow to the next frame is wanted as arrows.
    enlarge : float
        By how much arrows and lines exaggerate the displacement.
    """

    arrows: bool = False
    lines: bool = False
    size: bool = False
    stretch: bool = False
    flow_of: Stack | None = None
    enlarge: float = 1.0


@dataclass(frozen=True, eq=False)
class Fields:
    """What was computed; None what was not wanted.

    Parameters
    ----------
    position : Position
        Of which frame and plane.
    arrows, lines, flow : ndarray or None
        Starts and ways ``(N, 2, D)``, voxels.
    lengths : ndarray or None
        Of the arrows, true ones ``(N,)``, world units.
    size, stretch : ndarray or None
        Length of the displacement, world units, and Jacobian determinant, on the lattice.
    steps : tuple of int
        Voxels between places of the lattice, per axis.
    words : str
        What there is to say about this frame.
    """

    position: Position
    arrows: Array | None
    lengths: Array | None
    lines: Array | None
    size: Array | None
    stretch: Array | None
    steps: tuple[int, ...]
    words: str
    flow: Array | None = None


def fields_of(registration: Registration, position: Position, wanted: Wanted, unit: str) -> Steps[Fields]:
    """Compute the pictures of one frame.

    Parameters
    ----------
    registration : Registration
        Of the movie.
    position : Position
        Which frame; arrows and lines are those of its plane, where it has one.
    wanted : Wanted
        Which pictures.
    unit : str
        World unit, for the words.

    Returns
    -------
    Steps of Fields
        Long work for large frames.
    """
    from napari_denoisereg.steps import Progress

    yield Progress(0, 3, "reading the displacement")
    transform, grid = registration.transforms[position.frame], registration.grid
    arrows = lengths = lines = None
    if wanted.arrows:
        arrows, lengths = _arrows(transform, grid, position.plane, wanted.enlarge)
    if wanted.lines:
        lines = _lines(transform, grid, position.plane, wanted.enlarge)
    yield Progress(1, 3, "reading the displacement")
    flow = None if wanted.flow_of is None else _flow(wanted.flow_of, position, wanted.enlarge)
    yield Progress(2, 3, "reading the displacement")
    steps = lattice_steps(grid.shape)
    size, stretch, words = _on_lattice(transform, grid, steps, unit)
    yield Progress(3, 3, "reading the displacement")
    words = f"Frame {position.frame}: {words}"
    colours = size if wanted.size else None, stretch if wanted.stretch else None
    return Fields(position, arrows, lengths, lines, *colours, steps, words, flow)


def lattice_steps(shape: tuple[int, ...], most: int = MOST_PLACES) -> tuple[int, ...]:
    """Voxels between places of a lattice with at most so many places, nearly the same along all axes."""
    steps = [1] * len(shape)
    while math.prod(-(-size // step) for size, step in zip(shape, steps, strict=True)) > most:
        longest = max(range(len(shape)), key=lambda axis: shape[axis] / steps[axis])
        steps[longest] += 1
    return tuple(steps)


def _on_lattice(transform: Transform, grid: Grid, steps: tuple[int, ...], unit: str) -> tuple[Array, Array, str]:
    import torch

    from napari_denoisereg.evaluation.deformation import deformation_quality
    from napari_denoisereg.geometry import Grid, jacobian_determinant

    shape = tuple(-(-size // step) for size, step in zip(grid.shape, steps, strict=True))
    spacing = tuple(size * step for size, step in zip(grid.spacing, steps, strict=True))
    coarse = Grid(shape, spacing, grid.origin, grid.units)
    field = transform.displacement(coarse).cpu()
    size = torch.linalg.vector_norm(field, dim=0).numpy()
    quality = deformation_quality(field, coarse)
    words = f"moved by {quality.mean_length:.3g} {unit} on average, at most {quality.largest_length:.3g} {unit}. "
    word = "Volume" if grid.ndim == 3 else "Area"
    low, high = (f"{100 * (ratio - 1):+.2g}" for ratio in (quality.smallest, quality.largest))
    words += f"{word} changes by {low} %. " if low == high else f"{word} changes by {low} to {high} %. "
    folded = 100 * quality.folded
    words += f"⚠ Folds over itself in {folded:.2g} % of the frame, which no specimen does." if folded > 0 else "No folds."
    if max(steps) > 1:
        words += f" (Sampled every {max(steps)} voxels.)"
    return size, jacobian_determinant(field.double(), coarse).float().numpy(), words


def _planes(grid: Grid, plane: int | None) -> Array:
    """Planes that arrows and lines are drawn in; a flat frame has one without number."""
    if grid.ndim == 2:
        return np.zeros(1)
    if plane is not None:
        return np.array([float(plane)])
    return np.unique(np.linspace(0, grid.shape[0] - 1, min(MOST_PLANES, grid.shape[0])).round())


def _arrows(transform: Transform, grid: Grid, plane: int | None, enlarge: float) -> tuple[Array, Array]:
    step = max(1.0, max(grid.shape[-2:]) / ARROWS)
    axes = [_planes(grid, plane)] if grid.ndim == 3 else []
    for size in grid.shape[-2:]:
        count = max(1, math.floor(size / step))
        axes.append((np.arange(count) + 0.5) * size / count - 0.5)
    starts = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, grid.ndim)
    ways = _displacement(transform, grid, starts)
    known = np.isfinite(ways).all(axis=1)
    lengths = np.linalg.norm(ways[known] * grid.spacing, axis=1)
    return np.stack([starts[known], enlarge * ways[known]], axis=1), lengths


def _flow(movie: Stack, position: Position, enlarge: float) -> Array:
    """Arrows from a frame to where the next one shows the same; none from the last."""
    from napari_denoisereg.denoise.optical_flow import flow_to_next

    if position.frame + 1 >= movie.n_frames:
        return np.zeros((0, 2, movie.grid.ndim))
    return _arrows(flow_to_next(movie, position.frame), movie.grid, position.plane, enlarge)[0]


def _lines(transform: Transform, grid: Grid, plane: int | None, enlarge: float) -> Array:
    """Segments of the lines of an even grid in the fixed frame, where they are in the moving one."""
    step = max(2.0, max(grid.shape[-2:]) / ACROSS)
    segments = []
    for level in _planes(grid, plane):
        for axis in range(2):
            along, across = grid.shape[-2 + axis], grid.shape[-1 - axis]
            count = max(2, round((across - 1) / step) + 1)
            stops = np.linspace(0, along - 1, max(2, round((along - 1) / step * POINTS_PER_CELL)))
            for place in np.linspace(0, across - 1, count):
                flat = np.column_stack([stops, np.full(len(stops), place)][:: 1 if axis == 0 else -1])
                path = np.column_stack([np.full(len(flat), level), flat]) if grid.ndim == 3 else flat
                moved = path + enlarge * _displacement(transform, grid, path)
                if plane is not None:
                    moved[:, 0] = level  # what leaves the plane is shown in it
                segments.append(np.stack([moved[:-1], np.diff(moved, axis=0)], axis=1))
    joined = np.concatenate(segments)
    return joined[np.isfinite(joined).all(axis=(1, 2))]


def _displacement(transform: Transform, grid: Grid, voxels: Array) -> Array:
    """Where places ``(N, D)`` go, voxels; NaN where unknown."""
    import torch

    spacing = np.asarray(grid.spacing)
    world = np.ascontiguousarray((voxels * spacing + grid.origin).T)
    moved = transform(torch.from_numpy(world)).detach().cpu().numpy()
    return np.asarray((moved - world).T / spacing)
