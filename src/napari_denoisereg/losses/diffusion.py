"""Diffusion: neighbouring points should move alike."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from napari_denoisereg.losses.regularity import Regularity, in_voxels, mean_of, slopes


class Diffusion(Regularity, kind="diffusion"):
    """Discourages every bend and stretch; shifts are free. The usual choice.

    Mean squared slope, ``Σ_axes mean |∂u / ∂x_axis|²``: 0 for a shift.
    """

    title: ClassVar[str] = "Smooth (squared slopes)"
    reference: ClassVar[str] = "https://arxiv.org/abs/1809.05231"

    def __call__(self, displacement: Tensor, spacing: Sequence[float]) -> Tensor:
        """Judge; see `Regularity`."""
        field, steps = in_voxels(displacement, spacing)
        return sum((mean_of(slope**2) for slope in slopes(field, steps)), displacement.new_zeros(len(displacement)))
