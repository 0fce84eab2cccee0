"""DeepSim: cosine similarity of the features a frozen encoder sees, at several levels of abstraction.

References
----------
Czolbe, Krause, Feragen 2021, DeepSim: semantic similarity metrics for learned image registration, arXiv:2011.05735, eq. 1.
"""

from typing import ClassVar

from torch import Tensor

from napari_denoisereg.losses.encoded import Encoded, weighted_mean
from napari_denoisereg.losses.similarity import weights_of
from napari_denoisereg.method import setting

EPSILON = 1e-6


class DeepSimilarity(Encoded, kind="deepsim"):
    """One minus the cosine of learnt features, level by level: compares what things are, not how bright; for noisy images.

    ``1 - 1/L Σ_l Σ_p w(p) ⟨F^l_p, W^l_p⟩ / (|F^l_p| |W^l_p|) / Σ_p w(p)`` with the feature vectors at place p of level l of an
    encoder that was trained to segment (best) or as an autoencoder. 0 at a perfect match, 1 for unrelated features.
    """

    title: ClassVar[str] = "Deep features (DeepSim)"
    reference: ClassVar[str] = "https://arxiv.org/abs/2011.05735"

    levels: int = setting(3, "How many levels of features to compare, from the finest on.", ge=1, le=16)

    def __call__(self, fixed: Tensor, warped: Tensor, valid: Tensor | None = None) -> Tensor:
        """Compare; see `Similarity`."""
        weights = weights_of(valid, fixed)
        levels = list(zip(self.features(fixed, weights), self.features(warped, weights), strict=True))[: self.levels]
        total = fixed.new_zeros(len(fixed))
        for one, two in levels:
            norms = ((one**2).sum(1) + EPSILON) * ((two**2).sum(1) + EPSILON)
            # Where both encoders see nothing they agree.
            cosine = ((one * two).sum(1) + EPSILON) * norms.rsqrt()
            total = total + weighted_mean(1 - cosine, weights, fixed.shape[1])
        return total / len(levels)
