"""Similarity: the family of measures of how alike two images are. Low means alike; differentiable; used as loss and metric.

To add one: one new file in this folder with one subclass.
"""

import torch
from torch import Tensor

from napari_denoisereg.method import Method


class Similarity(Method, family="similarity"):
    """How alike two images are, low = alike."""

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
