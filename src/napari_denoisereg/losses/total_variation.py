"""Total variation: motion may change abruptly, but only in few places."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from napari_denoisereg.losses.regularity import Regularity, in_voxels, mean_of, slopes


class TotalVariation(Regularity, kind="total_variation"):
    """Discourages bends and stretches, but lets neighbouring parts move on their own.

    Mean absolute slope, ``Σ_axes mean |∂u / ∂x_axis|₁``: 0 for a shift. Eq. 2 of Li and Fan 2017, as a mean over voxels instead
    of a sum, so that the weight does not depend on the image's size.
    """

    title: ClassVar[str] = "Total variation (absolute slopes)"
    reference: ClassVar[str] = "https://arxiv.org/abs/1709.00799"

    def __call__(self, displacement: Tensor, spacing: Sequence[float]) -> Tensor:
        """Judge; see `Regularity`."""
        field, steps = in_voxels(displacement, spacing)
        return sum((mean_of(slope.abs()) for slope in slopes(field, steps)), displacement.new_zeros(len(displacement)))
