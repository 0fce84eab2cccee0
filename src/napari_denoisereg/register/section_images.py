"""Section images as the section registrars see them: brought to one brightness, with their empty space marked."""

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_denoisereg.geometry import Grid, Transform, sample, warp
from napari_denoisereg.geometry.velocity import moved_index

LEAST_EMPTY = 9
"""Empty space is at least so many voxels wide along each axis: fewer zeros in a row are dark tissue."""


def prepared(images: Tensor) -> Tensor:
    """Standardise sections over their tissue and mark where there is any.

    Voxels of exactly 0 in patches of some size are empty space, as programs fill the outside of a turned image with.

    Parameters
    ----------
    images : Tensor
        ``(B, *spatial)``, any intensity scale.

    Returns
    -------
    Tensor
        ``(B, 2, *spatial)``: mean 0 and standard deviation 1 over the tissue, 0 elsewhere; and 1 where there is tissue.
    """
    valid = (~_wide(images == 0)).to(images.dtype).unsqueeze(1)
    image = images.unsqueeze(1)
    axes = tuple(range(1, image.ndim))
    count = valid.sum(axes, keepdim=True).clamp(min=1)
    image = (image - (image * valid).sum(axes, keepdim=True) / count) * valid
    # Of about one before squaring: squares of tiny or huge intensities would leave the range of float32.
    image = image / image.abs().amax(axes, keepdim=True).clamp(min=torch.finfo(image.dtype).tiny)
    std = ((image**2).sum(axes, keepdim=True) / count).sqrt()
    return torch.cat([image / std.clamp(min=1e-6), valid], dim=1)


def placed(section: Tensor, transform: Transform, grid: Grid) -> Tensor:
    """A prepared section where a transform puts it.

    Parameters
    ----------
    section : Tensor
        ``(2, *spatial)``, of `prepared`.
    transform : Transform
        Fixed to moving.
    grid : Grid
        Of the section.

    Returns
    -------
    Tensor
        ``(2, *spatial)``; what falls outside the image is empty.
    """
    moved = warp(section, transform, fixed=grid)
    valid = (moved[1:] > 0.99).to(moved.dtype)
    return torch.cat([moved[:1] * valid, valid])


def bent(sections: Tensor, field: Tensor, grid: Grid) -> Tensor:
    """Prepared sections under a displacement each; differentiable in the fields.

    Parameters
    ----------
    sections : Tensor
        ``(B, 2, *spatial)``.
    field : Tensor
        ``(B, D, *spatial)``, world units.
    grid : Grid
        Of the sections.

    Returns
    -------
    Tensor
        ``(B, 2, *spatial)``; what falls outside the image is empty.
    """
    return sample(sections, moved_index(field, grid), outside=0.0)


def _wide(empty: Tensor) -> Tensor:
    """Only the patches of some size of a mask ``(B, *spatial)``: an opening with a cube."""
    pool = F.max_pool2d if empty.ndim == 3 else F.max_pool3d
    sides = [min(LEAST_EMPTY, size if size % 2 else size - 1) for size in empty.shape[1:]]
    pads = [side // 2 for side in sides]
    # Beyond the border all is empty, so that a narrow rim is empty space, too.
    filled = F.pad(empty.float().unsqueeze(1), [pad for side in reversed(pads) for pad in (side, side)], value=1.0)
    shrunk = 1 - pool(1 - filled, sides, 1)
    return pool(shrunk, sides, 1, pads)[:, 0] > 0.5
