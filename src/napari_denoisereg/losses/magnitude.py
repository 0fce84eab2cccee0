"""Magnitude: as little motion as possible."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from napari_denoisereg.losses.regularity import Regularity, in_voxels, mean_of


class Magnitude(Regularity, kind="l2"):
    """Discourages motion of any kind: the smaller, the better.

    Mean squared length of the displacement, ``mean |u|²`` in voxels of the finest axis: 0 only where nothing moves.
    """

    title: ClassVar[str] = "Small (squared length)"
    reference: ClassVar[str] = "https://arxiv.org/abs/1707.07833"

    def __call__(self, displacement: Tensor, spacing: Sequence[float]) -> Tensor:
        """Judge; see `Regularity`."""
        field, _ = in_voxels(displacement, spacing)
        return mean_of(field**2)
