"""Texture: how rough an image is around each place, instead of how bright it is there.

In phase contrast cells are as bright as what is around them, on average: shrunk images show nothing of them, and a search from
coarse to fine cannot begin. The contrast within a few voxels tells cells from background at every resolution. Its logarithm
takes bright rims for little more than what is within the cell.
"""

import torch
from torch import Tensor

from napari_denoisereg.geometry import Grid, smooth

GRAIN = 2.0  # px: standard deviation of the window, unless another one is asked for
BACKGROUND = 12.0  # px: wider changes of the brightness are no texture
FAINT = 0.1  # of the usual contrast: less is noise


def textured(images: Tensor, grid: Grid, *, grain: float = GRAIN) -> Tensor:
    """Logarithm of the local contrast.

    Parameters
    ----------
    images : Tensor
        ``(B, *grid.shape)``, any intensity scale.
    grid : Grid
        Of the images, in px.
    grain : float
        Standard deviation of the window that the contrast is taken in, px.

    Returns
    -------
    Tensor
        Same shape, float32.
    """
    centred = (images - images.mean(dim=tuple(range(1, images.ndim)), keepdim=True)).float().unsqueeze(1)
    fine = centred - smooth(centred, [BACKGROUND / step for step in grid.spacing])
    contrast = smooth(fine**2, [grain / step for step in grid.spacing]).clamp(min=0).sqrt()
    usual = contrast.flatten(1).median(dim=1).values.reshape(-1, *(1,) * (contrast.ndim - 1))
    return torch.log(contrast + FAINT * usual.clamp(min=torch.finfo(contrast.dtype).tiny))[:, 0]
