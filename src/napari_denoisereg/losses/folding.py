"""Folding: space must not be turned inside out."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from napari_denoisereg.geometry.fields import determinant
from napari_denoisereg.losses.regularity import Regularity, in_voxels, mean_of
from napari_denoisereg.method import setting


class Folding(Regularity, kind="folding"):
    """Discourages motion that folds space over itself, which no specimen does.

    ``mean max(0, m - det(I + ∂u/∂x))``: 0 where every volume keeps at least the share m. The determinant of the Jacobian is the
    local change of volume; 0 flattens and below 0 turns inside out. Slopes are central differences, as in
    `geometry.jacobian_determinant`, one-sided at the border.
    """

    title: ClassVar[str] = "No folding"
    reference: ClassVar[str] = "https://arxiv.org/abs/2003.09514"

    margin: float = setting(0.1, "Share of its area or volume that every place must keep; 0 only forbids folds.", ge=0, lt=1)

    def __call__(self, displacement: Tensor, spacing: Sequence[float]) -> Tensor:
        """Judge; see `Regularity`."""
        field, steps = in_voxels(displacement, spacing)
        columns = [
            torch.gradient(field, spacing=step, dim=axis + 2)[0] if field.shape[axis + 2] > 1 else 0 * field
            for axis, step in enumerate(steps)
        ]
        # Component and axis first, then items and voxels.
        matrices = torch.stack(columns, dim=2).movedim(0, 2)
        eye = torch.eye(len(steps), dtype=field.dtype, device=field.device)
        volume = determinant(matrices + eye.reshape(*eye.shape, *(1,) * (field.ndim - 1)))
        return mean_of((self.margin - volume).clamp(min=0).unsqueeze(1))
