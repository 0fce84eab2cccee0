"""Lattice: smooth displacements as cubic B-splines on a coarse lattice, and what it costs to bend them.

Lengths are in voxels of the finest axis ("px"); node ``k`` of an axis lies at ``(k - 1) * step``, so that one node stands
before the first voxel and one behind the last. Everything is a product of one small matrix per axis, in 2D and 3D alike.

References
----------
Rueckert et al. 1999, Nonrigid registration using free-form deformations, doi:10.1109/42.796284.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_denoisereg.geometry import Grid

Bases = tuple[Tensor, ...]


@dataclass(frozen=True)
class Lattice:
    """Where the nodes of a spline are.

    Parameters
    ----------
    shape : tuple of int
        Number of nodes along each axis.
    steps : tuple of float
        Distance of nodes along each axis, px.
    """

    shape: tuple[int, ...]
    steps: tuple[float, ...]

    @classmethod
    def over(cls, grid: Grid, step: float) -> "Lattice":
        """A lattice that covers a grid in px.

        Parameters
        ----------
        grid : Grid
            In px, voxel 0 at 0.
        step : float
            Wanted distance of nodes, px; never less than a voxel.

        Returns
        -------
        Lattice
            At least four nodes along each axis.
        """
        steps = tuple(max(step, spacing) for spacing in grid.spacing)
        lengths = [(size - 1) * spacing for size, spacing in zip(grid.shape, grid.spacing, strict=True)]
        return cls(tuple(math.ceil(length / each) + 4 for length, each in zip(lengths, steps, strict=True)), steps)

    @property
    def cell(self) -> float:
        """Area or volume that belongs to one node, px^D."""
        return math.prod(self.steps)

    def nodes(self, device: torch.device | str = "cpu") -> Tensor:
        """Positions of the nodes.

        Parameters
        ----------
        device : torch.device or str
            Where to make them.

        Returns
        -------
        Tensor
            ``(D, *shape)``, px.
        """
        axes = [(torch.arange(n, device=device) - 1.0) * step for n, step in zip(self.shape, self.steps, strict=True)]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"))

    def bases(self, grid: Grid, device: torch.device | str = "cpu") -> Bases:
        """Weight of every node at every voxel, one matrix per axis.

        Parameters
        ----------
        grid : Grid
            In px.
        device : torch.device or str
            Where to make them.

        Returns
        -------
        tuple of Tensor
            ``(voxels, nodes)`` per axis; rows sum to 1.
        """
        found = []
        for n, step, size, spacing, origin in zip(self.shape, self.steps, grid.shape, grid.spacing, grid.origin, strict=True):
            found.append(self.weights((torch.arange(size, device=device) * spacing + origin) / step, n))
        return tuple(found)

    @staticmethod
    def weights(place: Tensor, count: int) -> Tensor:
        """Weight of every node of one axis at some places.

        Parameters
        ----------
        place : Tensor
            ``(...)``, distances of nodes; 0 is the second node.
        count : int
            Number of nodes.

        Returns
        -------
        Tensor
            ``(..., count)``.
        """
        t = (place[..., None] - (torch.arange(count, device=place.device) - 1)).abs()
        return torch.where(t < 1, 2 / 3 - t**2 + t**3 / 2, (2 - t).clamp(min=0) ** 3 / 6)


def spread(coefficients: Tensor, bases: Bases) -> Tensor:
    """Values of splines at the voxels of a grid.

    Parameters
    ----------
    coefficients : Tensor
        ``(..., *nodes)``.
    bases : tuple of Tensor
        Of `Lattice.bases`.

    Returns
    -------
    Tensor
        ``(..., *voxels)``.
    """
    return along_axes(coefficients, bases)


def gather(values: Tensor, bases: Bases) -> Tensor:
    """The adjoint of `spread`: every node sums the voxels around it, each with its weight.

    Parameters
    ----------
    values : Tensor
        ``(..., *voxels)``.
    bases : tuple of Tensor
        Of `Lattice.bases`.

    Returns
    -------
    Tensor
        ``(..., *nodes)``.
    """
    return along_axes(values, tuple(basis.T for basis in bases))


def along_axes(values: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Multiply the last axes by one matrix each.

    Parameters
    ----------
    values : Tensor
        ``(..., *old)``.
    matrices : sequence of Tensor
        ``(new, old)`` for each of the last axes.

    Returns
    -------
    Tensor
        ``(..., *new)``.
    """
    first = values.ndim - len(matrices)
    for number, matrix in enumerate(matrices):
        values = _along(values, matrix, first + number)
    return values


class Bending:
    """Half the gradient of the bending energy ``∫ Σ_ij |∂²u / ∂x_i ∂x_j|²`` of splines, by differences of the coefficients.

    Affine motions bend nothing, at the border neither.

    Parameters
    ----------
    lattice : Lattice
        Of the coefficients.
    device : torch.device or str
        Where to compute.
    """

    def __init__(self, lattice: Lattice, device: torch.device | str = "cpu") -> None:
        self._cell = lattice.cell
        self._first, self._second = (
            [_differences(n, order, step).to(device) for n, step in zip(lattice.shape, lattice.steps, strict=True)]
            for order in (1, 2)
        )

    def __call__(self, coefficients: Tensor) -> Tensor:
        """Half the gradient.

        Parameters
        ----------
        coefficients : Tensor
            ``(T, D, *nodes)``.

        Returns
        -------
        Tensor
            ``(T, D, *nodes)``.
        """
        total = torch.zeros_like(coefficients)
        for i, (first, second) in enumerate(zip(self._first, self._second, strict=True)):
            total += _along(coefficients, second, i + 2)
            if i + 1 < len(self._first):
                sloped = _along(coefficients, first, i + 2)
                for j in range(i + 1, len(self._first)):
                    total += 2 * _along(sloped, self._first[j], j + 2)
        return total * self._cell


def bending_spectrum(lattice: Lattice, device: torch.device | str = "cpu") -> tuple[Bases, Tensor]:
    """What `bending` does to the cosine waves of the lattice, nearly: the waves, and the energy of each.

    Parameters
    ----------
    lattice : Lattice
        The nodes.
    device : torch.device or str
        Where to compute.

    Returns
    -------
    tuple
        One orthonormal matrix per axis (rows are waves) and the energies ``(*nodes)``.
    """
    slopes = torch.zeros(lattice.shape, device=device)
    waves = []
    for axis, (n, step) in enumerate(zip(lattice.shape, lattice.steps, strict=True)):
        k = torch.arange(n, device=device, dtype=torch.float64)
        wave = torch.cos(math.pi * (k[None] + 0.5) * k[:, None] / n) * math.sqrt(2 / n)
        wave[0] /= math.sqrt(2)
        waves.append(wave.float())
        energy = (2 - 2 * torch.cos(math.pi * k / n)).float() / step**2
        slopes = slopes + energy.reshape(-1, *(1,) * (len(lattice.shape) - axis - 1))
    return tuple(waves), slopes**2 * lattice.cell


def _differences(count: int, order: int, step: float) -> Tensor:
    """Matrix of the sum of squared derivatives of some order along one axis, ``(count, count)``."""
    rows = torch.eye(count, dtype=torch.float64).diff(n=order, dim=0) / step**order
    return (rows.T @ rows).float()


def _along(values: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """Multiply one axis by a matrix ``(new, old)``; nothing is copied to bring that axis to the end."""
    if axis == values.ndim - 1:
        return values @ matrix.T
    return (matrix @ values.flatten(axis + 1)).unflatten(-1, values.shape[axis + 1 :])
