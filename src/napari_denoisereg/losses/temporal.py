"""Temporal smoothness: things do not jerk."""

from collections.abc import Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from napari_denoisereg.losses.regularity import Regularity, in_voxels, mean_of


class Temporal(Regularity, kind="temporal"):
    """Discourages jerks between frames; steady motion is free.

    Mean squared acceleration, ``mean |u(t+1) - 2 u(t) + u(t-1)|²``: 0 for any steady motion. Items are the frames of a movie in
    their order, evenly spaced; lengths in voxels of the finest axis. The value of a frame is that of its own second difference;
    the first and the last frame have none and get 0.
    """

    title: ClassVar[str] = "Steady in time"
    reference: ClassVar[str] = "https://doi.org/10.1016/j.media.2010.10.003"
    needs_frames: ClassVar[bool] = True

    def __call__(self, displacement: Tensor, spacing: Sequence[float]) -> Tensor:
        """Judge; see `Regularity`."""
        field, _ = in_voxels(displacement, spacing)
        return F.pad(mean_of(field.diff(n=2, dim=0) ** 2), (1, 1))[: len(field)]
