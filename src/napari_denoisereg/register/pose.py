"""Pose: translation, rotation and scale found by exhaustive correlation at low resolution, then refined. No training.

Survives rotations of ±180° and shifts of half the image. The pose that is known already (or the identity) is refined as well,
and the search must beat it clearly to be believed: in noise a wrong large rotation can look as good as a small one. Landmarks
tell such rotations apart: what they cost is taken from the correlation of every candidate.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from napari_denoisereg.geometry import Grid, Identity, Transform
from napari_denoisereg.method import setting
from napari_denoisereg.register.descent import Pull, as_transforms, as_weights, descend, overlap, pyramid
from napari_denoisereg.register.marked import MarkedRegistrar, weight_of_landmarks
from napari_denoisereg.register.registrar import Anchors
from napari_denoisereg.register.search import rotations, search
from napari_denoisereg.steps import Pace, Progress, Steps


class Pose(MarkedRegistrar, kind="pose"):
    """Finds any rotation and large shifts by trying them all; no training. For movies that jump or turn."""

    title: ClassVar[str] = "Pose (search of rotation and shift)"
    reference: ClassVar[str] = "https://doi.org/10.1109/TIP.2011.2181402"
    bends: ClassVar[bool | None] = False

    motion: Literal["translation", "rigid", "similarity"] = setting("rigid", "Which motion to allow between two frames.")
    step: float = setting(7.5, "Angle between the rotations that are tried.", unit="°", ge=1, le=90, advanced=True)
    directions: Literal["in-plane", "all"] = setting(
        "in-plane", "In 3D: turn only about the z axis, or in all directions (slower).", advanced=True
    )
    side: int = setting(64, "Images are shrunk to this longest side for the search.", unit="px", ge=16, le=512, advanced=True)
    candidates: int = setting(4, "How many of the best candidates are refined.", ge=1, le=32, advanced=True)
    margin: float = setting(
        0.02,
        "A new position must raise the correlation by at least this much to replace the known one.",
        ge=0,
        le=1,
        advanced=True,
    )
    finest: int = setting(
        2,
        "Finest resolution used: 1 is full, 2 half, 4 a quarter. Higher numbers are faster and less exact.",
        ge=1,
        le=16,
        advanced=True,
    )

    landmark_weight: float = weight_of_landmarks()

    def _align(
        self, fixed: Tensor, moving: Tensor, grid: Grid, anchors: Sequence[Anchors] | None, start: Sequence[Transform] | None
    ) -> Steps[list[Transform]]:
        known = as_weights(start if start is not None else [Identity(grid.ndim)] * len(fixed))
        pace, found = Pace(), []
        for number in range(len(fixed)):
            one = slice(number, number + 1)
            marks = None if anchors is None else anchors[number]
            found.append(self._align_one(fixed[one], moving[one], grid, known[one], marks))
            if pace.is_due(last=number + 1 == len(fixed)):
                yield Progress(number + 1, len(fixed), "pose search")
        return as_transforms(torch.cat(found))

    def _align_one(self, fixed: Tensor, moving: Tensor, grid: Grid, known: Tensor, marks: Anchors | None) -> Tensor:
        def pull(count: int) -> Pull | None:
            return None if marks is None else Pull([marks] * count, self.landmark_weight, min(grid.spacing))

        turns = self._rotations(grid.ndim)
        tried = search(fixed, moving, grid, turns, side=self.side, keep=self.candidates).weights[0]
        starts = torch.cat([known, tried])
        levels = pyramid(fixed, moving, grid, coarsest=self.side // 2, finest=self.finest)
        # Candidates are told apart where that is cheap; only the winner is followed to the fine resolutions.
        coarse = [level for level in levels if max(level.grid.shape) <= 2 * self.side] or levels[:1]
        many = [level.repeat(len(starts)) for level in coarse]
        refined, scores = descend(many, starts, self.motion, pull=pull(len(starts)))
        # A high correlation over a small overlap is less telling: cells that crawl look alike in any corner.
        scores = torch.where(scores > 0, scores * overlap(many[-1], refined).sqrt(), scores)
        scores[0] += self.margin
        best = refined[int(scores.argmax())][None]
        return descend(levels[len(coarse) :], best, self.motion, pull=pull(1))[0]

    def _rotations(self, ndim: int) -> Tensor:
        if self.motion == "translation":
            return torch.eye(ndim, dtype=torch.float64)[None]
        if ndim == 3 and self.directions == "all":
            # Rotations in space are many: a coarser step keeps the search at some thousand tries.
            return rotations(3, max(self.step, 30.0), in_plane=False)
        return rotations(ndim, self.step)
