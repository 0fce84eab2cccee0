"""MIND: every voxel described by how alike the patches around it are to its own; the descriptors are compared.

The description depends on structure, not on the intensities it is drawn in, so that two stains or two microscopes compare.

References
----------
Heinrich et al. 2012, MIND: modality independent neighbourhood descriptor, doi:10.1016/j.media.2012.05.008, eq. 4 to 8. Like
its authors' later work we keep the variance estimate within a factor of a thousand of its mean over the image
(doi:10.1007/978-3-642-40811-3_24).
"""

import itertools
from typing import ClassVar

import torch
from torch import Tensor

from napari_denoisereg.geometry import smooth
from napari_denoisereg.losses.similarity import Similarity, standardised, weights_of
from napari_denoisereg.method import setting

RANGE = 1e-3, 1e3
"""Least and largest variance estimate, in its mean."""


class Mind(Similarity, kind="mind"):
    """Difference of neighbourhood descriptors (MIND): for two stains, modalities or microscopes.

    ``D_r(x)`` is the mean squared difference of the Gaussian patches around x and x + r, for all r of distance ``reach``
    along the axes; ``V(x)`` its mean over r; the descriptor ``m_r(x) = exp(-(D_r(x) - min_s D_s(x)) / V(x))``, and

        ``Σ_x w(x) Σ_r (m_r^F(x) - m_r^W(x))² / (R Σ_x w(x))``

    with R the number of neighbours. 0 at a perfect match, also up to brightness, contrast and inversion; 1 at worst.
    """

    title: ClassVar[str] = "Neighbourhood descriptor (MIND)"
    reference: ClassVar[str] = "https://doi.org/10.1016/j.media.2012.05.008"
    bridges_stains: ClassVar[bool] = True

    sigma: float = setting(1.0, "Width of the patches (standard deviation).", unit="px", ge=0.3, le=20)
    reach: int = setting(1, "Distance between the patches that are compared.", unit="px", ge=1, le=20, advanced=True)

    def __call__(self, fixed: Tensor, warped: Tensor, valid: Tensor | None = None) -> Tensor:
        """Compare; see `Similarity`."""
        weights = weights_of(valid, fixed)
        difference = self.descriptor(fixed, weights) - self.descriptor(warped, weights)
        squared = (difference**2).mean(dim=1, keepdim=True) * weights
        return squared.flatten(1).sum(1) / weights.flatten(1).sum(1).clamp(min=1e-6)

    def descriptor(self, image: Tensor, valid: Tensor | None = None) -> Tensor:
        """Describe every voxel.

        Parameters
        ----------
        image : Tensor
            ``(B, C, *spatial)``.
        valid : Tensor, optional
            ``(B, 1, *spatial)``: patches are compared where both are valid.

        Returns
        -------
        Tensor
            ``(B, 2 D, *spatial)``, above 0 to 1.
        """
        weights = weights_of(valid, image)
        image = standardised(image, weights)
        distances = []
        for axis, offset in itertools.product(range(image.ndim - 2), (-self.reach, self.reach)):
            both = weights * _moved(weights, axis, offset)
            squared = ((image - _moved(image, axis, offset)) ** 2).mean(dim=1, keepdim=True)
            parts = smooth(torch.cat([squared * both, both], dim=1), self.sigma)
            distances.append(parts[:, :1] / parts[:, 1:].clamp(min=1e-6))
        distance = torch.cat(distances, dim=1)
        variance = distance.mean(dim=1, keepdim=True)
        amount = weights.flatten(1).sum(1).clamp(min=1e-6)
        usual = ((variance * weights).flatten(1).sum(1) / amount).reshape(-1, *(1,) * (image.ndim - 1)) + 1e-12
        variance = torch.minimum(torch.maximum(variance, RANGE[0] * usual), RANGE[1] * usual)
        return torch.exp(-(distance - distance.amin(dim=1, keepdim=True)) / variance)


def _moved(image: Tensor, axis: int, offset: int) -> Tensor:
    """The image read so many voxels further along an axis; the border voxel is repeated."""
    length = image.shape[axis + 2]
    return image.index_select(axis + 2, (torch.arange(length, device=image.device) + offset).clamp(0, length - 1))
