"""Affine registration: multi-resolution descent on a batch of pairs. No training."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from napari_denoisereg.geometry import Grid, Identity, Transform
from napari_denoisereg.method import setting
from napari_denoisereg.register.descent import Motion, Pull, as_transforms, as_weights, descend, pyramid
from napari_denoisereg.register.marked import MarkedRegistrar, weight_of_landmarks
from napari_denoisereg.register.registrar import Anchors
from napari_denoisereg.steps import Pace, Progress, Steps


class AffineDescent(MarkedRegistrar, kind="affine"):
    """Shift, rotation, scale and shear; fast, no training. Frames must roughly lie on each other already."""

    title: ClassVar[str] = "Affine (shift, rotation, scale, shear)"
    reference: ClassVar[str] = "https://doi.org/10.1109/83.650848"
    bends: ClassVar[bool | None] = False

    motion: Motion = setting("affine", "Which motion to allow between two frames.")
    finest: int = setting(
        2, "Finest resolution used: 1 is full, 2 half, 4 a quarter. Higher numbers are faster and less exact.", ge=1, le=16
    )
    coarsest: int = setting(32, "Size of the images that the search begins with.", unit="px", ge=8, le=512, advanced=True)
    iterations: int = setting(20, "At most this many steps at each resolution.", ge=1, le=500, advanced=True)
    blur: float = setting(
        1.0, "How much images are smoothed at each resolution (standard deviation).", unit="px", ge=0, le=10, advanced=True
    )
    landmark_weight: float = weight_of_landmarks()

    def _align(
        self, fixed: Tensor, moving: Tensor, grid: Grid, anchors: Sequence[Anchors] | None, start: Sequence[Transform] | None
    ) -> Steps[list[Transform]]:
        begin = as_weights(start if start is not None else [Identity(grid.ndim)] * len(fixed))
        pace, parts, at_once = Pace(), [], max(1, 4 * 512**2 // fixed[0].numel())
        for first in range(0, len(fixed), at_once):
            few = slice(first, first + at_once)
            levels = pyramid(fixed[few], moving[few], grid, coarsest=self.coarsest, finest=self.finest, blur=self.blur)
            pull = None if anchors is None else Pull(anchors[few], self.landmark_weight, min(grid.spacing))
            weights, _ = descend(levels, begin[few], self.motion, iterations=self.iterations, pull=pull)
            parts.append(weights)
            done = min(first + at_once, len(fixed))
            if pace.is_due(last=done == len(fixed)):
                yield Progress(done, len(fixed), "affine descent")
        return as_transforms(torch.cat(parts))
