"""Follow: where the object is in every frame that a mask marks in the first, found before a registrar looks closer.

A mask that stays where it was drawn shows less and less of an object that moves on, and what it shows at its rim is no longer
the object. So only the first frame is cut by the mask: a rigid motion is sought after which the voxels in the mask, and no
others, look as they did there; the other frames are seen whole. From frame to frame the object moves little, and what one
frame's search found is where the next one's begins. Each is compared with the frame before, as that looks like it most, and
then with the first, so that errors do not add up (template tracking, Lucas and Kanade).

References
----------
Lucas and Kanade 1981, IJCAI. Matthews, Ishikawa, Baker 2004 (the template update problem), doi:10.1109/TPAMI.2004.16.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from napari_denoisereg.geometry import Affine, Grid, Identity, PerFrame, Transform, warp
from napari_denoisereg.register.descent import Motion, Pyramid, as_weights, correlate, descend, overlap, pyramid
from napari_denoisereg.register.motions import in_px
from napari_denoisereg.register.region import Region
from napari_denoisereg.register.registrar import Registrar
from napari_denoisereg.register.texture import textured
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Pace, Progress, Steps

MARGIN = 0.5
"""Room around the mask, in sides of its box: how far an object may move from one frame to the next."""
LEAST_MARGIN = 8
COARSEST = 16
"""Longest side of the coarsest image, voxels, where enough of the mask is left in it."""
MOST_VOXELS = 512**2
"""Larger boxes are looked at more coarsely: a registrar looks closer afterwards."""
CLEARLY = 0.05
"""A place that was found otherwise must raise the correlation by so much: only then the object is believed to have jumped."""


class Follower:
    """Looks for what a mask marks in the first frame.

    Parameters
    ----------
    stack : Stack
        Whole frames, without channel axis.
    region : Region
        One that `is_followed`.
    registrars : sequence of Registrar
        Which look closer afterwards: where they only shift, or bridge stains, that is done here, too.
    device : torch.device
        Where to compute.
    """

    def __init__(self, stack: Stack, region: Region, registrars: Sequence[Registrar], device: torch.device) -> None:
        self._stack, self._device = stack, device
        self._box, self._seen = _box(stack.grid, region, device)
        self._finest = max(1, math.ceil((math.prod(self._box.shape) / MOST_VOXELS) ** (1 / self._box.ndim)))
        self._by_texture = any(each.bridges_stains for each in registrars)
        shifts = all(getattr(each, "motion", None) == "translation" for each in registrars)
        self._motion: Motion = "translation" if shifts else "rigid"
        self._read: tuple[int, Tensor] | None = None

    def follow(self, guesses: Sequence[PerFrame]) -> Steps[PerFrame]:
        """Find it in every frame.

        Parameters
        ----------
        guesses : sequence of PerFrame
            Where else to look, affine: a start, or what a registrar found in the mask as it stays.

        Returns
        -------
        Steps of PerFrame
            First frame to each frame: rigid motions, or guesses that were moved rigidly.
        """
        pace, found, count = Pace(), [guesses[0][0]], self._stack.n_frames
        first = before = self._frame(0, found[0])
        for frame in range(1, count):
            best, score = self._placed(frame, found[-1], (before, first))
            for guess in guesses:
                other, its_score = self._placed(frame, guess[frame], (first,))
                if its_score > score + CLEARLY:
                    best, score = other, its_score
            found.append(best)
            before = self._frame(frame, best)
            if pace.is_due(last=frame + 1 == count):
                yield Progress(frame + 1, count, "following the region")
        return PerFrame(found)

    def more_alike(self, one: PerFrame, two: PerFrame) -> Steps[PerFrame]:
        """Of two motions take, frame by frame, the one after which the mask's voxels look more as in the first frame.

        Parameters
        ----------
        one, two : PerFrame
            First frame to each frame; ``one`` is taken where both are as good.

        Returns
        -------
        Steps of PerFrame
            Of both.
        """
        pace, chosen, count = Pace(), [one[0]], self._stack.n_frames
        first, still = self._frame(0, one[0]), as_weights([Identity(self._box.ndim)])
        for frame in range(1, count):
            tried = [self._frame(frame, each[frame]) for each in (one, two)]
            scores = [float(correlate(self._levels(first, image)[-1], still)[0]) for image in tried]
            chosen.append((two if scores[1] > scores[0] else one)[frame])
            if pace.is_due(last=frame + 1 == count):
                yield Progress(frame + 1, count, "comparing in the region")
        return PerFrame(chosen)

    def _frame(self, number: int, known: Transform) -> Tensor:
        """A frame around the mask, as a motion brings it there: ``(1, *box)``."""
        if self._read is None or self._read[0] != number:  # reading may be slow, and a frame is brought to several places
            self._read = number, self._stack.tensor([number], self._device)
        brought = warp(self._read[1], known, fixed=self._box, moving=self._stack.grid, outside="edge")
        return textured(brought, in_px(self._box)) if self._by_texture else brought

    def _placed(self, number: int, known: Transform, likenesses: Sequence[Tensor]) -> tuple[Transform, float]:
        """Move a frame from where ``known`` brings it until it is as some images, in turn; how alike it is to the last."""
        moving, weights = self._frame(number, known), as_weights([Identity(self._box.ndim)])
        for fixed in likenesses:
            levels = self._levels(fixed, moving)
            weights, _ = descend(levels, weights, self._motion)
        score = correlate(levels[-1], weights) * overlap(levels[-1], weights).sqrt()
        return Affine.merge(Affine(weights[0]), known), float(score[0])

    def _levels(self, fixed: Tensor, moving: Tensor) -> list[Pyramid]:
        return pyramid(fixed, moving, self._box, coarsest=COARSEST, finest=self._finest, seen=self._seen)


def _box(grid: Grid, region: Region, device: torch.device) -> tuple[Grid, Tensor]:
    """The mask's box with room around it, and the mask in it."""
    room = [max(LEAST_MARGIN, round(MARGIN * (cut.stop - cut.start))) for cut in region.box]
    wide = [
        slice(max(0, cut.start - more), min(size, cut.stop + more))
        for cut, more, size in zip(region.box, room, grid.shape, strict=True)
    ]
    origin = tuple(o + cut.start * step for o, cut, step in zip(grid.origin, wide, grid.spacing, strict=True))
    mask = np.asarray(region.mask[tuple(wide)]) != 0
    return Grid(mask.shape, grid.spacing, origin, grid.units), torch.from_numpy(mask).to(device)
