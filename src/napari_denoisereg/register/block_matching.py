"""Block matching: where the neighbourhood of a node is found in another image, and how surely.

The masked correlation coefficient, under a Gaussian window, of every node for every shift within reach; the best shift is
refined by a parabola. A match weighs little where its correlation is low, where a second place is as good (stripes), and
where there is no tissue. No descent, so no start is needed within reach; robust to folds, dust and uneven light.

References
----------
Saalfeld et al. 2012, Elastic volume reconstruction from series of ultra-thin microscopy sections, doi:10.1038/nmeth.2072.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_denoisereg.geometry.control_grid import along_axes

FLOOR = 0.02
"""Added to the local variance, as a share of the image's: flat places correlate with nothing."""
LEAST_TISSUE = 0.3
DISTINCT = 0.1
"""By how much the best place must beat the second to count fully."""
AT_ONCE = 24 * 1024**2
NEGLIGIBLE = 1e-6
"""Weights of a window below that are 0."""


@dataclass(frozen=True, eq=False)
class Matches:
    """What block matching found.

    Parameters
    ----------
    shift : Tensor
        ``(P, D, *nodes)``, voxels: what fixed shows at x, moving shows at ``x + shift``.
    weight : Tensor
        ``(P, *nodes)``, 0 (no idea) to 1.
    """

    shift: Tensor
    weight: Tensor


def match(fixed: Tensor, moving: Tensor, nodes: Sequence[int], *, window: Sequence[float], reach: Sequence[int]) -> Matches:
    """Match pairs of images.

    Parameters
    ----------
    fixed, moving : Tensor
        ``(P, 2, *spatial)``: standardised image and mask of its tissue, see `section_images.prepared`.
    nodes : sequence of int
        Number of nodes along each axis; the outermost ones are on the outermost voxels.
    window : sequence of float
        Standard deviation of the window along each axis, voxels.
    reach : sequence of int
        Largest shift along each axis, voxels.

    Returns
    -------
    Matches
        One per pair and node.
    """
    shape = fixed.shape[2:]
    reach = [min(r, size // 2) for r, size in zip(reach, shape, strict=True)]
    at_once = max(1, AT_ONCE // (8 * math.prod(shape)))
    parts = []
    for few in torch.arange(len(fixed)).split(at_once):
        scores = _scores(fixed[few], moving[few], window_matrices(shape, nodes, window, fixed.device), reach)
        parts.append(_best(scores, reach))
    return Matches(torch.cat([part.shift for part in parts]), torch.cat([part.weight for part in parts]))


def window_matrices(
    shape: Sequence[int], nodes: Sequence[int], window: Sequence[float], device: torch.device | str = "cpu"
) -> list[Tensor]:
    """Gaussian means around nodes as one matrix ``(nodes, voxels)`` per axis.

    Parameters
    ----------
    shape, nodes : sequence of int
        Voxels and nodes along each axis.
    window : sequence of float
        Standard deviations, voxels.
    device : torch.device or str
        Where to make them.

    Returns
    -------
    list of Tensor
        Rows sum to 1.
    """
    matrices = []
    for size, count, width in zip(shape, nodes, window, strict=True):
        centres = (
            torch.linspace(0, size - 1, count, device=device) if count > 1 else torch.tensor([(size - 1) / 2], device=device)
        )
        weights = torch.exp(-0.5 * ((torch.arange(size, device=device) - centres[:, None]) / max(width, 0.3)) ** 2)
        # Subnormal numbers in the far tails would make the products a hundred times as slow.
        weights = weights * (weights > NEGLIGIBLE)
        matrices.append(weights / weights.sum(1, keepdim=True))
    return matrices


def _scores(fixed: Tensor, moving: Tensor, matrices: Sequence[Tensor], reach: Sequence[int]) -> Tensor:
    """Correlations ``(P, *nodes, *shifts)``; -1 where too little tissue overlaps."""
    one, tissue = fixed[:, :1] * fixed[:, 1:], fixed[:, 1:]
    padded = F.pad(moving, [side for r in reversed(reach) for side in (r, r)])
    scores = []
    for shift in itertools.product(*(range(2 * r + 1) for r in reach)):
        other = padded
        for axis, (start, size) in enumerate(zip(shift, fixed.shape[2:], strict=True)):
            other = other.narrow(axis + 2, start, size)
        both = tissue * other[:, 1:]
        left, right = one * both, other[:, :1] * both
        products = torch.cat([both, left, right, left * left, right * right, left * right], dim=1)
        n, a, b, aa, bb, ab = along_axes(products, matrices).unbind(1)
        count = n.clamp(min=1e-4)
        a, b = a / count, b / count
        spread = ((aa / count - a * a).clamp(min=0) + FLOOR) * ((bb / count - b * b).clamp(min=0) + FLOOR)
        scores.append(torch.where(n > LEAST_TISSUE, (ab / count - a * b) / spread.sqrt(), -1.0))
    return torch.stack(scores, dim=-1).unflatten(-1, [2 * r + 1 for r in reach])


def _best(scores: Tensor, reach: Sequence[int]) -> Matches:
    """The best shift of every node, refined by a parabola along each axis, and how much it counts."""
    ndim = len(reach)
    table = scores.flatten(-ndim)
    best, place = table.max(dim=-1)
    middle = torch.stack(torch.unravel_index(place, tuple(scores.shape[-ndim:])), dim=1)
    refined = []
    for axis, r in enumerate(reach):
        at = middle[:, axis]
        if r == 0:
            refined.append(torch.zeros_like(best))
            continue
        inner, step = at.clamp(1, 2 * r - 1), math.prod(2 * other + 1 for other in reach[axis + 1 :])
        # Beside the best along this axis; at the rim of the reach one further in, where the parabola is still defined.
        here = place + (inner - at) * step
        low, centre, high = (table.gather(-1, (here + offset)[..., None])[..., 0] for offset in (-step, 0, step))
        curvature = (2 * centre - low - high).clamp(min=1e-4)
        refined.append(inner - r + (0.5 * (high - low) / curvature).clamp(-1, 1))
    second = _second(table, middle, reach)
    weight = best.clamp(min=0) ** 2 * ((best - second) / DISTINCT).clamp(0, 1)
    return Matches(torch.stack(refined, dim=1), weight)


def _second(table: Tensor, middle: Tensor, reach: Sequence[int]) -> Tensor:
    """The best score of places more than two voxels away from the best place; -1 where there are none."""
    grid = torch.stack(torch.meshgrid(*(torch.arange(2 * r + 1, device=table.device) for r in reach), indexing="ij")).flatten(1)
    near = torch.ones_like(table, dtype=torch.bool)
    for axis in range(len(reach)):
        near &= (grid[axis] - middle[:, axis, ..., None]).abs() <= 2
    return table.masked_fill(near, -1.0).amax(dim=-1)
