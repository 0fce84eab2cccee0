"""Similarity: the family of measures of how alike two images are. Low means alike; differentiable; used as loss and metric.

To add one: one new file in this folder with one subclass.
"""

from typing import ClassVar

import torch
from torch import Tensor

from napari_denoisereg.method import Method


class Similarity(Method, family="similarity"):
    """How alike two images are, low = alike.

    Attributes
    ----------
    bridges_stains : bool
        Whether what is bright in one image may be dark in the other.
    """

    bridges_stains: ClassVar[bool] = False

    def __call__(self, fixed: Tensor, warped: Tensor, valid: Tensor | None = None) -> Tensor:
        """Compare images item by item.

        Parameters
        ----------
        fixed, warped : Tensor
            ``(B, C, *spatial)``.
        valid : Tensor, optional
            ``(B, 1, *spatial)``, bool or weights: which voxels count; all by default.

        Returns
        -------
        Tensor
            ``(B,)``.
        """
        raise NotImplementedError


def weights_of(valid: Tensor | None, like: Tensor) -> Tensor:
    """The mask as weights.

    Parameters
    ----------
    valid : Tensor, optional
        ``(B, 1, *spatial)``; None means everything.
    like : Tensor
        ``(B, C, *spatial)``, for dtype, device and shape.

    Returns
    -------
    Tensor
        ``(B, 1, *spatial)``, floating.
    """
    if valid is None:
        return torch.ones_like(like[:, :1])
    return valid.to(like.dtype).expand(like.shape[0], 1, *like.shape[2:])


def standardised(image: Tensor, weights: Tensor) -> Tensor:
    """Each channel with mean 0 and standard deviation 1 where it counts, and 0 where it does not count at all.

    Parameters
    ----------
    image : Tensor
        ``(B, C, *spatial)``, any intensity scale.
    weights : Tensor
        ``(B, 1, *spatial)``, see `weights_of`.

    Returns
    -------
    Tensor
        Same shape as the image; a constant channel becomes 0. Differentiable, the mean and the deviation included.
    """
    axes = tuple(range(2, image.ndim))
    total = weights.sum(axes, keepdim=True).clamp(min=1e-6)
    mean = (image * weights).sum(axes, keepdim=True) / total
    centred = (image - mean) * (weights > 0)
    # Of about one first, whatever the unit: squares of tiny or huge intensities would leave the range of float32.
    size = centred.detach().abs().amax(axes, keepdim=True)
    numbers = torch.finfo(image.dtype)
    centred = centred / torch.maximum(size, numbers.eps * mean.detach().abs()).clamp(min=numbers.tiny)
    variance = (centred**2 * weights).sum(axes, keepdim=True) / total
    return centred / (variance + 1e-9).sqrt()
