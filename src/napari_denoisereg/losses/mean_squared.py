"""Mean squared difference of intensities."""

from typing import ClassVar

from torch import Tensor

from napari_denoisereg.losses.similarity import Similarity, weights_of


class MeanSquared(Similarity, kind="mean_squared"):
    """Compares brightness directly: for images of equal brightness.

    Mean squared difference, ``Σ w (F - W)² / Σ w``: 0 at a perfect match.
    """

    title: ClassVar[str] = "Mean squared difference"
    reference: ClassVar[str] = "https://doi.org/10.1109/83.650848"

    def __call__(self, fixed: Tensor, warped: Tensor, valid: Tensor | None = None) -> Tensor:
        """Compare; see `Similarity`."""
        weights = weights_of(valid, fixed)
        squared = ((fixed - warped) ** 2).mean(dim=1, keepdim=True) * weights
        return squared.flatten(1).sum(1) / weights.flatten(1).sum(1).clamp(min=1e-6)
