"""Control grids: a coarse map of vectors, made dense by smooth interpolation.

Nodes stand in rows along every axis, the first and the last on the outermost voxels, so that the map covers the image and
nothing is extrapolated. Bilinear, bicubic and B-spline interpolation are one small matrix per axis; the thin-plate spline
(the surface of least bending through all vectors) is one matrix for all nodes, so it suits some hundred of them.

References
----------
Jaderberg et al. 2015, Spatial transformer networks, doi:10.48550/arXiv.1506.02025. Keys 1981 (bicubic),
doi:10.1109/TASSP.1981.1163711. Rueckert et al. 1999 (B-spline), doi:10.1109/42.796284. Bookstein 1989 (thin-plate spline),
doi:10.1109/34.24792.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from napari_denoisereg.geometry.grid import Grid

Kernel = Callable[[Tensor], Tensor]
Spread = Literal["linear", "cubic", "bspline", "thin_plate"]
MOST_THIN_PLATE_NODES = 1024
FINER = 4  # a thin plate is evaluated at so many points per node distance, linear in between


@dataclass(frozen=True)
class ControlGrid:
    """Nodes over a grid of voxels.

    Parameters
    ----------
    grid : Grid
        The voxels.
    shape : tuple of int
        Number of nodes along each axis; 1 where the grid has a single voxel, else at least 2.
    """

    grid: Grid
    shape: tuple[int, ...]

    @classmethod
    def over(cls, grid: Grid, step: float) -> "ControlGrid":
        """Nodes at most so far apart.

        Parameters
        ----------
        grid : Grid
            The voxels.
        step : float
            Distance of nodes, world units; never less than a voxel.

        Returns
        -------
        ControlGrid
            With the fewest nodes that do.
        """
        gaps = ((n - 1) * min(1.0, s / step) for n, s in zip(grid.shape, grid.spacing, strict=True))
        return cls(grid, tuple(math.ceil(gap - 1e-9) + 1 for gap in gaps))

    @property
    def spacing(self) -> tuple[float, ...]:
        """Distance of nodes along each axis, world units."""
        lengths = zip(self.grid.shape, self.shape, self.grid.spacing, strict=True)
        return tuple((n - 1) / (k - 1) * s if k > 1 else s for n, k, s in lengths)

    def dense(self, vectors: Tensor, interpolation: Spread = "linear") -> Tensor:
        """A vector for every voxel; linear in the vectors, hence differentiable.

        Parameters
        ----------
        vectors : Tensor
            ``(B, C, *shape)``, any unit.
        interpolation : {"linear", "cubic", "bspline", "thin_plate"}
            ``linear`` (bilinear in 2D), ``cubic`` (Keys' kernel) and ``thin_plate`` pass through the vectors; the
            cubic ``bspline`` takes them as coefficients and is smoother than they are.

        Returns
        -------
        Tensor
            ``(B, C, *grid.shape)``.

        Raises
        ------
        ValueError
            When a thin plate has more than 1024 nodes.
        """
        if interpolation == "thin_plate":
            return self._thin_plate(vectors)
        kernel, reach = KERNELS[interpolation]
        sizes = zip(self.grid.shape, self.shape, strict=True)
        return along_axes(vectors, [_matrix(n, k, kernel, reach).to(vectors) for n, k in sizes])

    def _thin_plate(self, vectors: Tensor) -> Tensor:
        if math.prod(self.shape) > MOST_THIN_PLATE_NODES:
            raise ValueError(
                f"A thin-plate spline of {math.prod(self.shape)} nodes is too large, expected at most "
                f"{MOST_THIN_PLATE_NODES}; put nodes further apart or interpolate by B-splines."
            )
        finer = [min(n, (k - 1) * FINER + 1) for n, k in zip(self.grid.shape, self.shape, strict=True)]
        matrix = _plate_matrix(self.shape, finer, self.spacing).to(vectors)
        values = (vectors.flatten(2) @ matrix.T).reshape(*vectors.shape[:2], *finer)
        kernel, reach = KERNELS["linear"]
        sizes = zip(self.grid.shape, finer, strict=True)
        return along_axes(values, [_matrix(n, k, kernel, reach).to(vectors) for n, k in sizes])


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
    for number, matrix in reversed(list(enumerate(matrices))):  # the last axis first: it lies in memory as it is
        values = (values.movedim(first + number, -1) @ matrix.T).movedim(-1, first + number)
    return values


def _hat(t: Tensor) -> Tensor:
    return (1 - t).clamp(min=0)


def _keys(t: Tensor) -> Tensor:
    near, far = (1.5 * t - 2.5) * t**2 + 1, ((-0.5 * t + 2.5) * t - 4) * t + 2
    return torch.where(t < 1, near, torch.where(t < 2, far, 0.0))


def _bspline(t: Tensor) -> Tensor:
    return torch.where(t < 1, 2 / 3 - t**2 + t**3 / 2, (2 - t).clamp(min=0) ** 3 / 6)


KERNELS: dict[str, tuple[Kernel, int]] = {
    "linear": (_hat, 1),
    "cubic": (_keys, 2),
    "bspline": (_bspline, 2),
}
"""Weight of a node so many node distances away, and how far nodes reach."""


def _matrix(voxels: int, nodes: int, kernel: Kernel, reach: int) -> Tensor:
    """Weight of every node at every voxel ``(voxels, nodes)``, rows sum to 1; nodes beyond the border continue the last two."""
    if nodes == 1:
        return torch.ones(voxels, 1)
    place = torch.linspace(0, nodes - 1, voxels, dtype=torch.float64)
    around = torch.arange(-reach, nodes + reach, dtype=torch.float64)
    weights = kernel((place[:, None] - around).abs())
    inner = weights[:, reach : reach + nodes].clone()
    for beyond in range(1, reach + 1):
        # v(-k) = (1 + k) v(0) - k v(1): a map that is linear stays linear up to the border.
        for ghost, edge, next_to_it in ((reach - beyond, 0, 1), (reach + nodes - 1 + beyond, nodes - 1, nodes - 2)):
            inner[:, edge] += (1 + beyond) * weights[:, ghost]
            inner[:, next_to_it] -= beyond * weights[:, ghost]
    return inner


def _plate_matrix(shape: Sequence[int], finer: Sequence[int], spacing: Sequence[float]) -> Tensor:
    """Values of the thin plate at the finer points for a unit vector at each node ``(points, nodes)``, float64."""
    lengths = [(k - 1) * s for k, s in zip(shape, spacing, strict=True)]
    size = max(*lengths, 1e-12)
    sides = [h / size for h in lengths]
    nodes, points = (
        torch.cartesian_prod(*[torch.linspace(0, h, n, dtype=torch.float64) for h, n in zip(sides, counts, strict=True)])
        for counts in (shape, finer)
    )
    axes = [axis for axis, count in enumerate(shape) if count > 1]  # along a single plane there is no slope

    def plane(at: Tensor) -> Tensor:
        return torch.cat([torch.ones(len(at), 1, dtype=at.dtype), at[:, axes]], dim=1)

    def kernel(at: Tensor) -> Tensor:
        distance = torch.cdist(at, nodes)
        # r² log r in the plane, r in space: the fundamental solutions of the bending energy.
        return torch.xlogy(distance**2, distance) if len(axes) < 3 else -distance

    edge = plane(nodes)
    corner = torch.zeros(edge.shape[1], edge.shape[1], dtype=torch.float64)
    system = torch.cat([torch.cat([kernel(nodes), edge], dim=1), torch.cat([edge.T, corner], dim=1)])
    unit = torch.eye(len(system), len(nodes), dtype=torch.float64)
    return torch.cat([kernel(points), plane(points)], dim=1) @ torch.linalg.solve(system, unit)
