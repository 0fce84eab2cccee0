"""Patches: every small patch of a frame is found in the next on its own; no training. For things that move each on their own.

Elastic methods hold the specimen together: between cells that pass each other, or cells on a dish that rests, there is nothing
to hold. Here patches are searched from coarse to fine, see `patch_search`; only the coarser resolution and the patches around
tell where to look. Where one passes the other, patches of both claim the same place: such folds are smoothed away, see
`geometry.unfolding`. Over many frames, follow from frame to frame (series ``to_previous``).
"""

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from napari_denoisereg.geometry import Displacement, Grid, Identity, Transform, resample, smooth, unfolded, warp
from napari_denoisereg.method import setting
from napari_denoisereg.model import Model
from napari_denoisereg.register.patch_search import search_patches
from napari_denoisereg.register.registrar import Registrar
from napari_denoisereg.register.texture import textured
from napari_denoisereg.steps import Pace, Progress, Steps

GRAIN = 1.0  # px: of the texture; finer than a patch, so that its rim is seen where it is
BLUR = 1.5  # px: of the brightness
LEAST = 4  # patches along the longest side at the coarsest resolution


class Patches(Registrar, kind="patches"):
    """Finds every small patch of a frame on its own; no training. For cells that crawl past each other."""

    title: ClassVar[str] = "Patches (cells that each move on their own)"
    reference: ClassVar[str] = "https://doi.org/10.1007/978-3-319-46493-0_29"
    bends: ClassVar[bool | None] = True

    look: Literal["brightness", "texture", "both"] = setting(
        "brightness", "What is compared. Texture, how rough it is around a place, is for cells in phase contrast."
    )
    size: int = setting(8, "Side of the patches.", unit="px", ge=4, le=64)
    smoothing: float = setting(1.0, "How much the motion is smoothed in the end (standard deviation).", unit="px", ge=0, le=50)

    def align(
        self,
        fixed: Tensor,
        moving: Tensor,
        grid: Grid,
        *,
        start: Sequence[Transform] | None = None,
        model: Model | None = None,  # noqa: ARG002 - nothing is trained
    ) -> Steps[list[Transform]]:
        """Register a batch of pairs; see `Registrar.align`."""
        found, pace = list[Transform](), Pace()
        for number, (one, other) in enumerate(zip(fixed, moving, strict=True)):
            known = Identity(grid.ndim) if start is None else start[number]
            brought = other if known.is_identity else warp(other, known, fixed=grid, outside="edge")
            field = self._searched(self._looked(one, grid), self._looked(brought, grid), grid)
            found.append(Displacement(field, grid).then(known))
            if pace.is_due(last=number + 1 == len(fixed)):
                yield Progress(number + 1, len(fixed), "searching patches")
        return found

    def _looked(self, image: Tensor, grid: Grid) -> Tensor:
        """What is compared of a frame: ``(C, *shape)``, of mean 0 and variance 1."""
        px = [step / min(grid.spacing) for step in grid.spacing]
        channels = []
        if self.look != "texture":
            channels.append(smooth(_even(image)[None, None], [BLUR / step for step in px])[0, 0])
        if self.look != "brightness":
            channels.append(textured(image[None], Grid(grid.shape, tuple(px)), grain=GRAIN)[0])
        return torch.stack([_even(channel) for channel in channels])

    def _searched(self, fixed: Tensor, moving: Tensor, grid: Grid) -> Tensor:
        """Displacement ``(D, *grid.shape)``, world units."""
        place, field = grid, torch.zeros(grid.ndim, *grid.shape, device=fixed.device)
        for level in self._levels(grid):
            spacing = torch.tensor(level.spacing, device=fixed.device).reshape(-1, *(1,) * grid.ndim)
            one, other = (resample(image[None], grid, level)[0] for image in (fixed, moving))
            begin = resample(field[None], place, level)[0] / spacing
            field, place = search_patches(one, other, begin, size=self.size) * spacing, level
        field = smooth(field[None], [self.smoothing * min(grid.spacing) / step for step in grid.spacing])[0]
        return unfolded(field, grid)

    def _levels(self, grid: Grid) -> Iterator[Grid]:
        """Coarse to fine; axes of coarse voxels shrink only once the others have become as coarse."""
        px = [step / min(grid.spacing) for step in grid.spacing]
        longest = max(size * step for size, step in zip(grid.shape, px, strict=True))
        deepest = max(0, math.floor(math.log2(longest / (LEAST * self.size))))
        for depth in range(deepest, 0, -1):
            yield grid.coarser([max(1.0, 2**depth / step) for step in px])
        yield grid


def _even(image: Tensor) -> Tensor:
    """Mean 0 and variance 1; about 0 where there is nothing but rounding."""
    std, mean = torch.std_mean(image.double(), correction=0)
    least = torch.finfo(torch.float32).eps * mean.abs() + torch.finfo(torch.float32).tiny
    return ((image - mean) / torch.maximum(std, least)).float()
