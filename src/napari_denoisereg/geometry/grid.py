"""Grid: where the voxels of an image are in the world.

Two coordinate systems only: *index* (voxel centres at integers, axis order) and *world* (``origin + spacing * index``).
Rotated layers keep their rotation outside the Grid (see ``widgets/layers.py``).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """Regular grid of voxel centres.

    Parameters
    ----------
    shape : tuple of int
        Number of voxels along each spatial axis, axis order ((z,) y, x).
    spacing : tuple of float
        Distance of voxel centres, world units; positive.
    origin : tuple of float
        World position of voxel 0.
    units : tuple of str
        Unit of each axis, e.g. ``"micrometer"``; ``"pixel"`` where unknown.

    Raises
    ------
    ValueError
        When lengths differ, an axis is empty or a spacing is not positive.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...] = ()
    origin: tuple[float, ...] = ()
    units: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        ndim = len(self.shape)
        defaults = {"spacing": (1.0,) * ndim, "origin": (0.0,) * ndim, "units": ("pixel",) * ndim}
        object.__setattr__(self, "shape", tuple(int(size) for size in self.shape))
        for name, default in defaults.items():
            object.__setattr__(self, name, tuple(getattr(self, name)) or default)
        for name in ("spacing", "origin"):
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
        for name in defaults:
            if len(getattr(self, name)) != ndim:
                raise ValueError(f"Grid {name} must have one entry per axis of shape {self.shape}, got {getattr(self, name)}.")
        if any(size < 1 for size in self.shape):
            raise ValueError(f"Grid shape must be positive, got {self.shape}.")
        if not all(math.isfinite(step) and step > 0 for step in self.spacing):
            raise ValueError(f"Grid spacing must be positive and finite, got {self.spacing}.")

    @property
    def ndim(self) -> int:
        """Number of spatial axes, 2 or 3."""
        return len(self.shape)

    @property
    def extent(self) -> tuple[float, ...]:
        """Size in world units, voxel edge to voxel edge."""
        return tuple(size * step for size, step in zip(self.shape, self.spacing, strict=True))

    @property
    def centre(self) -> tuple[float, ...]:
        """World position of the middle of the grid."""
        return tuple(o + (n - 1) / 2 * s for o, n, s in zip(self.origin, self.shape, self.spacing, strict=True))

    def points(self, device: torch.device | str = "cpu", *, wide: bool = False) -> Tensor:
        """World positions of all voxel centres.

        Parameters
        ----------
        device : torch.device or str
            Where to make them.
        wide : bool
            As float64, where the device has it: positions of a microscope's stage have more digits than float32.

        Returns
        -------
        Tensor
            ``(D, *shape)``, float32 unless ``wide``, world units.
        """
        dtype = torch.float64 if wide and torch.device(device).type != "mps" else torch.float32
        axes = [
            torch.arange(size, dtype=dtype, device=device) * step + start
            for size, step, start in zip(self.shape, self.spacing, self.origin, strict=True)
        ]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"))

    def to_index(self, points: Tensor) -> Tensor:
        """World positions to index coordinates.

        Parameters
        ----------
        points : Tensor
            ``(D, *any)``, world units.

        Returns
        -------
        Tensor
            Same shape, in voxels.
        """
        return (points - self._column(self.origin, points)) / self._column(self.spacing, points)

    def to_world(self, index: Tensor) -> Tensor:
        """Index coordinates to world positions.

        Parameters
        ----------
        index : Tensor
            ``(D, *any)``, voxels.

        Returns
        -------
        Tensor
            Same shape, world units.
        """
        return index * self._column(self.spacing, index) + self._column(self.origin, index)

    def coarser(self, factors: Sequence[float] | float) -> "Grid":
        """A grid over the same extent with larger voxels.

        Parameters
        ----------
        factors : float or sequence of float
            How many voxels become one, per axis; the number of voxels is rounded up, at least one.

        Returns
        -------
        Grid
            Its outer edges coincide with this grid's as far as rounding allows: voxel edges start at the same place.
        """
        each = (float(factors),) * self.ndim if isinstance(factors, (int, float)) else tuple(float(f) for f in factors)
        shape = tuple(max(1, math.ceil(size / factor - 1e-9)) for size, factor in zip(self.shape, each, strict=True))
        spacing = tuple(step * factor for step, factor in zip(self.spacing, each, strict=True))
        origin = tuple(
            start + (factor - 1) / 2 * step for start, factor, step in zip(self.origin, each, self.spacing, strict=True)
        )
        return Grid(shape, spacing, origin, self.units)

    def _column(self, values: Sequence[float], like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=like.dtype, device=like.device).reshape(-1, *(1,) * (like.ndim - 1))
