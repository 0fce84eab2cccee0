"""Mutual information of intensities: how much one image's brightness tells about the other's, whatever the relation.

The joint histogram is made with Parzen windows (cubic B-splines), which makes it smooth in the intensities.

References
----------
Mattes et al. 2003, doi:10.1109/TMI.2003.809072 (the windows); Studholme et al. 1999, doi:10.1016/S0031-3203(98)00091-0 (the
normalisation, which makes the value independent of how far images overlap). Mattes uses a window of one bin for the fixed
image and random samples; we use the same smooth windows for both and all voxels.
"""

from typing import ClassVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from napari_denoisereg.losses.similarity import Similarity, standardised, weights_of
from napari_denoisereg.method import setting

SPREAD = 3.0
"""Bins cover so many standard deviations around the mean; brighter and darker voxels count for the outer bins."""
AT_ONCE = 2**16
"""Voxels whose windows are in memory at a time."""


class MutualInformation(Similarity, kind="mutual_information"):
    """Two minus the normalised mutual information: for two stains or modalities with any relation of intensities.

    From the joint histogram ``p(a, b)`` of the intensities, with entropies ``H = -Σ p log p``, per channel,

        ``2 - (H_F + H_W) / H_FW``.

    1 for independent images; at a perfect match lowest, 0 but for the width of the windows (about 0.6 with 32 bins).
    """

    title: ClassVar[str] = "Mutual information"
    reference: ClassVar[str] = "https://doi.org/10.1109/TMI.2003.809072"
    bridges_stains: ClassVar[bool] = True

    bins: int = setting(32, "Number of brightness levels in the histogram.", ge=4, le=256)

    def __call__(self, fixed: Tensor, warped: Tensor, valid: Tensor | None = None) -> Tensor:
        """Compare; see `Similarity`."""
        weights = weights_of(valid, fixed)
        share = weights / weights.flatten(1).sum(1).reshape(-1, *(1,) * (weights.ndim - 1)).clamp(min=1e-6)
        share = share.expand_as(fixed).flatten(0, 1).flatten(1)
        one, two = (standardised(image, weights).flatten(0, 1).flatten(1) for image in (fixed, warped))
        joint = fixed.new_zeros(len(one), self.bins, self.bins)
        for few in range(0, one.shape[1], AT_ONCE):
            part = slice(few, few + AT_ONCE)
            # Windows take 2 × bins numbers per voxel: made again for the gradient instead of kept.
            joint = joint + checkpoint(
                self._histogram, one[:, part], two[:, part], share[:, part], use_reentrant=False, preserve_rng_state=False
            )
        value = 2 - (_entropy(joint.sum(2)) + _entropy(joint.sum(1))) / _entropy(joint.flatten(1)).clamp(min=1e-6)
        return value.reshape(fixed.shape[:2]).mean(1)

    def _histogram(self, one: Tensor, two: Tensor, share: Tensor) -> Tensor:
        return (self._windows(one) * share.unsqueeze(1)) @ self._windows(two).transpose(1, 2)

    def _windows(self, values: Tensor) -> Tensor:
        """How much each value ``(N, V)`` counts for each bin: ``(N, bins, V)``, which add up to 1."""
        # Windows are four bins wide: the outermost values stay one and a half bins away from the ends.
        place = (values / SPREAD).clamp(-1, 1) * ((self.bins - 4) / 2 + 0.5) + (self.bins - 1) / 2
        bins = torch.arange(self.bins, dtype=values.dtype, device=values.device)
        return _cubic_spline(place.unsqueeze(1) - bins[:, None])


def _cubic_spline(distance: Tensor) -> Tensor:
    """The centred cubic B-spline."""
    far = (2 - distance.abs()).clamp(min=0)
    near = (1 - distance.abs()).clamp(min=0)
    return (far**3 - 4 * near**3) / 6


def _entropy(shares: Tensor) -> Tensor:
    """``-Σ p log p`` over the last axes of ``(N, ...)``."""
    shares = shares.flatten(1)
    return -(shares * shares.clamp(min=1e-12).log()).sum(1)
