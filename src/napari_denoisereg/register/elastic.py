"""Elastic: all frames of a movie bent at once until they agree; no training. Our own best.

How frames are compared, what bending costs and how both are minimised is written in `consensus`. Here: the start (an affine
chain where nothing is known), coarse to fine, long movies in windows, and the way from the common space to the first frame.

A long movie is worked on in windows of consecutive frames. Frames that were found before, the last ones and some from all of
the past, stay in the window but hold still, so that windows join and do not drift; memory follows the window, not the movie.
"""

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from napari_denoisereg import device as devices
from napari_denoisereg.frames import batches
from napari_denoisereg.geometry import Grid, Identity, PerFrame, Transform
from napari_denoisereg.method import setting
from napari_denoisereg.model import Model
from napari_denoisereg.register.anchors import Landmarks
from napari_denoisereg.register.bands import bands, shrink
from napari_denoisereg.register.consensus import Consensus
from napari_denoisereg.register.descent import as_transforms, as_weights, descend, pyramid
from napari_denoisereg.register.lattice import Lattice
from napari_denoisereg.register.marked import MarkedRegistrar, weight_of_landmarks
from napari_denoisereg.register.marks import Marks
from napari_denoisereg.register.motions import Motions, in_px
from napari_denoisereg.register.pull import Pull
from napari_denoisereg.register.registrar import Anchors
from napari_denoisereg.register.resistance import Costs
from napari_denoisereg.register.texture import textured
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Progress, Steps, portion

ANCHORS = 16  # frames found before that hold still in a window, at most
LEAST_FINE, LEAST_COARSE = 64, 16  # voxels along the longest side at the finest and the coarsest resolution
ENOUGH = 0.02  # px: a level ends when no node moves further


class Elastic(MarkedRegistrar, kind="elastic"):
    """Bends all frames at once until they agree, smoothly in space and time; no training. For tissue and cells that deform."""

    title: ClassVar[str] = "Elastic (all frames at once)"
    reference: ClassVar[str] = "https://doi.org/10.1038/s41598-018-31474-7"
    bends: ClassVar[bool | None] = True
    is_groupwise: ClassVar[bool] = True

    stiffness: float = setting(3.0, "How hard the specimen is to bend; higher gives smoother motion.", gt=0, le=1e6)
    steadiness: float = setting(
        0.1, "How much neighbouring frames must move alike; use 0 if frames jump or are separate images.", ge=0, le=1e6
    )
    look: Literal["brightness", "texture"] = setting(
        "brightness", "What is compared. Texture (how rough a place looks) suits cells in phase contrast."
    )
    finest: int = setting(
        2, "Finest resolution used: 1 is full, 2 half, 4 a quarter. Higher numbers are faster and less exact.", ge=1, le=16
    )
    coarsest: int = setting(8, "Coarsest resolution used: 8 is an eighth.", ge=1, le=64, advanced=True)
    knots: float = setting(
        16.0,
        "Distance between the points that can move independently; smaller follows finer bends.",
        unit="px",
        ge=2,
        le=512,
        advanced=True,
    )
    iterations: int = setting(8, "At most this many steps at each resolution.", ge=1, le=500, advanced=True)
    affine_first: bool = setting(
        True, "Find shift, rotation, scale and shear first, if no earlier method has done so.", advanced=True
    )
    window: int = setting(48, "Frames worked on together; more need more memory.", ge=4, le=10_000, advanced=True)
    landmark_weight: float = weight_of_landmarks()

    def align_movie(
        self,
        stack: Stack,
        *,
        start: PerFrame | None = None,
        model: Model | None = None,  # noqa: ARG002 - nothing is trained
        device: torch.device | str = "cpu",
    ) -> Steps[PerFrame]:
        """Register a whole movie; see `Registrar.align_movie`."""
        return self._align_movie(stack, None, start, device)

    def align_movie_marked(
        self,
        stack: Stack,
        places: Tensor,
        *,
        start: PerFrame | None = None,
        model: Model | None = None,  # noqa: ARG002 - nothing is trained
        device: torch.device | str = "cpu",
    ) -> Steps[PerFrame]:
        """Register a whole movie, pulled by landmarks; see `Registrar.align_movie_marked`."""
        return self._align_movie(stack, Landmarks(places), start, device)

    def _align(
        self, fixed: Tensor, moving: Tensor, grid: Grid, anchors: Sequence[Anchors] | None, start: Sequence[Transform] | None
    ) -> Steps[list[Transform]]:
        """Each pair is a movie of two frames whose first one holds still."""
        fixed, moving = self._looked(fixed, grid), self._looked(moving, grid)
        begin = self._affine(fixed, moving, grid, anchors) if start is None and self.affine_first else start
        found, lattice = list[Transform](), Lattice.over(in_px(grid), self.knots)
        for number, pair in enumerate(zip(fixed, moving, strict=True)):
            still = Identity(grid.ndim)
            motions = Motions(pair.__getitem__, grid, lattice, [still, begin[number] if begin is not None else still])
            marks = None if anchors is None else Landmarks(torch.stack([anchors[number].fixed, anchors[number].moving]))
            steps = self._bend(motions, [0, 1], 1, grid, marks)
            yield from portion(steps, number / len(fixed), (number + 1) / len(fixed))
            found.append(motions.transforms()[1])
        return found

    def _align_movie(
        self, stack: Stack, marks: Landmarks | None, start: PerFrame | None, device: torch.device | str
    ) -> Steps[PerFrame]:
        if start is None:
            start = yield from portion(self._chain(stack, marks, device), 0.0, 0.2)
        lattice = Lattice.over(in_px(stack.grid), self.knots)
        motions = Motions(lambda frame: self._looked(stack.tensor([frame], device), stack.grid)[0], stack.grid, lattice, start)
        windows = list(_windows(stack.n_frames, self._size(stack.grid, torch.device(device))))
        for number, (frames, holding) in enumerate(windows):
            work = self._bend(motions, frames, holding, stack.grid, marks)
            share = 0.8 / len(windows)
            yield from portion(work, 0.2 + share * number, 0.2 + share * (number + 1))
        return PerFrame(motions.transforms())

    def _bend(
        self, motions: Motions, frames: Sequence[int], holding: int, grid: Grid, landmarks: Landmarks | None
    ) -> Steps[None]:
        """Find the motion of some frames; the first so many of them hold still."""
        px, (finest, coarsest) = in_px(grid), self._resolutions(in_px(grid))
        images = torch.cat([shrink(motions.frame(frame)[None], px, finest) for frame in frames])
        costs, free = Costs(self.stiffness, self.steadiness, tuple(frames)), torch.arange(len(frames)) >= holding
        found = bands(images, px, finest, coarsest)
        marks = None if landmarks is None else Marks(motions.marks(landmarks, frames), self.landmark_weight)
        marks = None if marks is None or marks.is_empty else marks
        consensus = Consensus(found, motions.lattice, *motions.state(frames), costs, free, marks)
        total, done = self.iterations * len(consensus.bands), 0
        for band in reversed(consensus.bands):
            for number in range(self.iterations):
                moved = consensus.step(band.factor)
                settled = moved < ENOUGH
                done += self.iterations - number if settled else 1
                yield Progress(done, total, "bending")
                if settled:
                    break
            consensus.settle(band.factor)
        motions.keep(frames, consensus.affine, consensus.coefficients)

    def _looked(self, frames: Tensor, grid: Grid) -> Tensor:
        """What is compared of frames ``(B, *grid.shape)``."""
        return textured(frames, in_px(grid)) if self.look == "texture" else frames

    def _affine(self, fixed: Tensor, moving: Tensor, grid: Grid, anchors: Sequence[Anchors] | None) -> list[Transform]:
        """Affine transforms of pairs."""
        levels = pyramid(fixed, moving, grid, coarsest=32, finest=2, blur=1.0)
        pull = None if anchors is None else Pull(anchors, self.landmark_weight, min(grid.spacing))
        return as_transforms(descend(levels, as_weights([Identity(grid.ndim)] * len(fixed)), "affine", pull=pull)[0])

    def _chain(self, stack: Stack, marks: Landmarks | None, device: torch.device | str) -> Steps[PerFrame]:
        """Affine transforms from frame to frame, composed; the identity where the user wants none."""
        chained = list[Transform]([Identity(stack.grid.ndim)])
        if not self.affine_first:
            return PerFrame(chained * stack.n_frames)
        for few in batches(stack.n_frames - 1, max(1, min(16, 4 * 512**2 // math.prod(stack.grid.shape)))):
            pairs = (stack.tensor([frame + later for frame in few], device) for later in (0, 1))
            fixed, moving = (self._looked(frames, stack.grid) for frames in pairs)
            anchors = None if marks is None else [marks.pair(frame, frame + 1) for frame in few]
            for transform in self._affine(fixed, moving, stack.grid, anchors):
                chained.append(chained[-1].then(transform))
            yield Progress(few.stop, stack.n_frames - 1, "affine chain")
        return PerFrame(chained)

    def _resolutions(self, px: Grid) -> tuple[int, int]:
        """Finest and coarsest reduction; small frames are not shrunk until nothing is left to see."""
        longest = max(px.extent)
        finest, coarsest = self.finest, max(self.finest, self.coarsest)
        while finest > 1 and longest / finest < LEAST_FINE:
            finest //= 2
        while coarsest > finest and longest / coarsest < LEAST_COARSE:
            coarsest //= 2
        return finest, coarsest

    def _size(self, grid: Grid, device: torch.device) -> int:
        """Frames that fit in a window: about forty numbers are held for every voxel that is looked at."""
        need = 160 * math.prod(grid.shape) / self.finest**grid.ndim
        return max(ANCHORS + 4, min(self.window, int(devices.free_memory(device) / 4 / need)))


def _windows(n_frames: int, size: int) -> Iterator[tuple[list[int], int]]:
    """Frames of each window, and how many of them, the first ones, were found before and hold still."""
    fresh = 0
    while fresh < n_frames:
        # Half of those that hold still were just found, half are spread over all of the past.
        near = range(max(0, fresh - ANCHORS // 2), fresh)
        far = sorted({round(number * near.start / (ANCHORS // 2)) for number in range(ANCHORS // 2)}) if near.start else []
        anchors = [*far, *near]
        stop = min(n_frames, fresh + size - len(anchors))
        yield [*anchors, *range(fresh, stop)], len(anchors)
        fresh = stop
