"""Bending energy of a thin metal plate: free for affine motion."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from napari_denoisereg.losses.regularity import Regularity, in_voxels, mean_of, slopes


class Bending(Regularity, kind="bending"):
    """Discourages bending only; shift, rotation, scale and shear are free.

    Mean squared second slope, ``Σ_ij mean |∂²u / ∂x_i ∂x_j|²``: 0 for any affine motion.
    """

    title: ClassVar[str] = "Bending energy"
    reference: ClassVar[str] = "https://doi.org/10.1109/42.796284"

    def __call__(self, displacement: Tensor, spacing: Sequence[float]) -> Tensor:
        """Judge; see `Regularity`."""
        field, steps = in_voxels(displacement, spacing)
        seconds = (second for slope in slopes(field, steps) for second in slopes(slope, steps))
        return sum((mean_of(second**2) for second in seconds), displacement.new_zeros(len(displacement)))
