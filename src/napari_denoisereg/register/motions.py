"""Motions: what is known of every frame's motion in a group-wise registration, and its way to transforms.

There is a common space that belongs to no frame. A point of it is bent by the frame's spline, then moved by the frame's affine
transform, then, where the start was no affine transform, by that start:

    common space ──spline──► ──affine──► ──start──► frame t

Transforms from the first frame go back to the common space by the first frame's own motion, and on from there.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from napari_denoisereg.geometry import Affine, Displacement, Grid, Identity, PerFrame, Transform, compose, invert, warp
from napari_denoisereg.geometry.conventions import from_voxel_matrix, to_voxel_matrix
from napari_denoisereg.register.anchors import Landmarks
from napari_denoisereg.register.lattice import Lattice, spread

FINER = 4  # displacements are kept at so many samples per node distance, where straight lines follow the spline


class Motions:
    """Motion of every frame of a movie, found bit by bit.

    Parameters
    ----------
    read : callable
        The frame of a number, ``(*grid.shape)``.
    grid : Grid
        Of the frames, world units.
    lattice : Lattice
        Of the splines.
    start : sequence of Transform
        First frame to each frame; the first is the identity.

    Attributes
    ----------
    lattice : Lattice
        Of the splines.
    """

    def __init__(self, read: Callable[[int], Tensor], grid: Grid, lattice: Lattice, start: Sequence[Transform]) -> None:
        self._read, self._grid, self.lattice = read, grid, lattice
        self._bent = {frame: transform for frame, transform in enumerate(start) if not transform.is_affine}
        plain = [Identity(grid.ndim) if frame in self._bent else transform for frame, transform in enumerate(start)]
        # Cubic voxels of the finest spacing: index coordinates are px.
        step = min(grid.spacing)
        self._cubic = Grid((1,) * grid.ndim, (step,) * grid.ndim, grid.origin)
        self._start = torch.from_numpy(np.stack([to_voxel_matrix(each, self._cubic, self._cubic) for each in plain]))
        self._affine = self._start.clone()
        self._splines = dict[int, Tensor]()

    def frame(self, number: int) -> Tensor:
        """A frame, warped by its start where that is no affine transform.

        Parameters
        ----------
        number : int
            Which frame.

        Returns
        -------
        Tensor
            ``(*grid.shape)``.
        """
        image = self._read(number)
        return warp(image, self._bent[number], fixed=self._grid, outside="edge") if number in self._bent else image

    def marks(self, landmarks: Landmarks, frames: Sequence[int]) -> Tensor:
        """Landmarks as frames show them that `frame` gives.

        Parameters
        ----------
        landmarks : Landmarks
            Of the movie.
        frames : sequence of int
            Which frames.

        Returns
        -------
        Tensor
            ``(T, K, D)``, px, float64.
        """
        still = Identity(self._grid.ndim)
        chosen = Landmarks(landmarks.places[list(frames)])
        places = chosen.before(PerFrame([self._bent.get(frame, still) for frame in frames])).places
        return (places - torch.tensor(self._grid.origin, dtype=places.dtype)) / min(self._grid.spacing)

    def state(self, frames: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Motion as far as it is known; frames that are new go on from the last one that was found.

        Parameters
        ----------
        frames : sequence of int
            Which frames.

        Returns
        -------
        tuple of Tensor, Tensor
            Affine ``(T, D, D+1)`` and spline ``(T, D, *nodes)``, px.
        """
        affine, splines = [], []
        last = max(self._splines, default=None)
        rest = torch.zeros(self._grid.ndim, *self.lattice.shape) if last is None else self._splines[last]
        for frame in frames:
            known = frame in self._splines or last is None
            since = self._affine[frame] if known else self._start[frame] @ self._start[last].inverse() @ self._affine[last]
            affine.append(since[:-1])
            splines.append(self._splines.get(frame, rest))
        return torch.stack(affine), torch.stack(splines)

    def keep(self, frames: Sequence[int], affine: Tensor, splines: Tensor) -> None:
        """Remember what was found.

        Parameters
        ----------
        frames : sequence of int
            Which frames.
        affine, splines : Tensor
            As `state` returns them.
        """
        for number, frame in enumerate(frames):
            self._affine[frame, :-1] = affine[number].double().cpu()
            self._splines[frame] = splines[number].cpu()

    def transforms(self) -> list[Transform]:
        """Transforms from the first frame to every frame.

        Returns
        -------
        list of Transform
            World units; the first is the identity.
        """
        px, first = self._samples(), self._affine[0]
        bases, points = self.lattice.bases(px), px.points()
        # Where the first frame's own bending folds there is no way back; there it is left in.
        unbent = torch.nan_to_num(invert(spread(self._splines[0], bases), px))
        joint = compose(Affine(torch.linalg.inv(first)[:-1]).displacement(px), unbent, px)
        step, world = min(self._grid.spacing), self._in_world(px)
        found = list[Transform]([Identity(self._grid.ndim)])
        for frame in range(1, len(self._affine)):
            moved = compose(joint, spread(self._splines[frame], bases), px)
            # The affine part follows in full precision; the displacement is what is left, in the first frame's directions.
            bending = Displacement((Affine(first[:-1])(points + moved) - points) * step, world)
            affine = from_voxel_matrix((self._affine[frame] @ torch.linalg.inv(first)).numpy(), self._cubic, self._cubic)
            found.append(bending.then(affine).then(self._bent.get(frame, Identity(self._grid.ndim))))
        return found

    def _samples(self) -> Grid:
        """Where displacements are kept, px: from the first to the last voxel centre at least."""
        px = in_px(self._grid)
        steps = tuple(max(step / FINER, own) for step, own in zip(self.lattice.steps, px.spacing, strict=True))
        lengths = [(size - 1) * own for size, own in zip(px.shape, px.spacing, strict=True)]
        return Grid(tuple(math.ceil(length / step - 1e-9) + 1 for length, step in zip(lengths, steps, strict=True)), steps)

    def _in_world(self, px: Grid) -> Grid:
        finest = min(self._grid.spacing)
        return Grid(px.shape, tuple(step * finest for step in px.spacing), self._grid.origin, self._grid.units)


def in_px(grid: Grid) -> Grid:
    """The same voxels with voxel 0 at 0 and lengths in voxels of the finest axis.

    Parameters
    ----------
    grid : Grid
        World units.

    Returns
    -------
    Grid
        In px.
    """
    return Grid(grid.shape, tuple(step / min(grid.spacing) for step in grid.spacing))
