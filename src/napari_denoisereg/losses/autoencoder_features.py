"""Squared difference of the features an encoder sees: what ssEMnet goes down on, as a measure for any registrar.

References
----------
Yoo et al. 2017, ssEMnet, arXiv:1707.07833, eq. 4.
"""

from typing import ClassVar

from torch import Tensor

from napari_denoisereg.losses.encoded import Encoded, weighted_mean
from napari_denoisereg.losses.similarity import weights_of
from napari_denoisereg.method import setting


class AutoencoderFeatures(Encoded, kind="autoencoder_features"):
    """Compares learnt features instead of brightness, by their difference: for sections and noisy images.

    ``Σ_p w(p) |F_p - W_p|² / (C Σ_p w(p))``. The features are those of one level of a frozen encoder, C of them at every place
    p. 0 at a perfect match; no upper bound.
    """

    title: ClassVar[str] = "Autoencoder features"
    reference: ClassVar[str] = "https://arxiv.org/abs/1707.07833"

    level: int = setting(1, "Which level of features to compare: 0 is the finest, a large number the coarsest.", ge=0, le=16)

    def __call__(self, fixed: Tensor, warped: Tensor, valid: Tensor | None = None) -> Tensor:
        """Compare; see `Similarity`."""
        weights = weights_of(valid, fixed)
        one, two = ((seen := self.features(image, weights))[min(self.level, len(seen) - 1)] for image in (fixed, warped))
        return weighted_mean(((one - two) ** 2).mean(1), weights, fixed.shape[1])
