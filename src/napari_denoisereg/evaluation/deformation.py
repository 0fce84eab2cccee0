"""Is a deformation believable? Folding and stretching, from the Jacobian determinant of `T(x) = x + u(x)`.

The determinant is the local change of area or volume: 1 where nothing is stretched, 2 where it doubles, zero or
negative where space folds over itself, which no specimen does.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_denoisereg.geometry import Grid, jacobian_determinant


@dataclass(frozen=True)
class DeformationQuality:
    """Figures of one displacement field.

    Parameters
    ----------
    folded
        Share of voxels with a determinant of zero or less, 0 to 1; of the voxels where it is known.
    smallest, median, largest
        Of the determinant.
    roughness
        Standard deviation of the determinant's natural logarithm where it is positive: 0 for a pure shift.
    mean_length, largest_length
        Of the displacement, world units.
    unknown
        Share of voxels where the determinant is unknown (NaN), 0 to 1.
    """

    folded: float
    smallest: float
    median: float
    largest: float
    roughness: float
    mean_length: float
    largest_length: float
    unknown: float


def deformation_quality(field: Tensor, grid: Grid, *, mask: Tensor | None = None) -> DeformationQuality:
    """Measure folding, stretching and size of a displacement field.

    Parameters
    ----------
    field
        `u` `(D, *grid.shape)`, world units, NaN where unknown.
    grid
        Where it is sampled.
    mask
        Where to look (True), `grid.shape`; everywhere by default.

    Returns
    -------
    Shares and statistics over the voxels looked at; NaN statistics when nothing is known there.
    """
    if tuple(field.shape) != (grid.ndim, *grid.shape):
        raise ValueError(
            f"A displacement field must be (D, *grid.shape) = {(grid.ndim, *grid.shape)}, got {tuple(field.shape)}; "
            "pass one frame's field and its grid."
        )
    if mask is not None and (mask.dtype != torch.bool or tuple(mask.shape) != grid.shape or not mask.any()):
        raise ValueError(
            f"The mask must be bool of shape {grid.shape} with at least one True, got {mask.dtype} {tuple(mask.shape)}; "
            "pass the specimen's mask."
        )
    determinant = jacobian_determinant(field.double(), grid)
    length = torch.linalg.vector_norm(field.double(), dim=0)
    if mask is not None:
        determinant, length = determinant[mask], length[mask]
    unknown = float(determinant.isnan().double().mean())
    determinant, length = determinant[~determinant.isnan()], length[~length.isnan()]
    return DeformationQuality(
        folded=_mean((determinant <= 0).double()),
        smallest=float(determinant.min()) if determinant.numel() else float("nan"),
        median=float(determinant.median()) if determinant.numel() else float("nan"),
        largest=float(determinant.max()) if determinant.numel() else float("nan"),
        roughness=_spread(determinant[determinant > 0].log()),
        mean_length=_mean(length),
        largest_length=float(length.max()) if length.numel() else float("nan"),
        unknown=unknown,
    )


def _mean(values: Tensor) -> float:
    return float(values.mean()) if values.numel() else float("nan")


def _spread(values: Tensor) -> float:
    return float(values.std(correction=0)) if values.numel() else float("nan")
