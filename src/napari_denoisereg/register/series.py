"""Series: how a registrar of pairs registers a whole stack to its first frame.

``P(t)`` is the transform of a pair, fixed to moving; ``T(t)`` maps points of frame 0 to frame t.

    to first      0 ──T(1)──► 1     0 ──T(2)──► 2     0 ──T(3)──► 3       every frame on its own
    to previous   0 ──P(1)──► 1 ──P(2)──► 2 ──P(3)──► 3                   T(t) = P(1).then(P(2))...then(P(t)): errors add up
    combined      as to previous, then every T(t) is refined on frame 0 itself; whichever fits frame 0 better is kept
                  (movies; serial sections are only chained; a registrar that looks at all frames at once does so instead;
                  one that finds a motion for every voxel goes on from what is known already, straight to frame 0)

Straight to the first frame, far frames lose track; composed, small errors grow to a drift. The combination has neither.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from napari_denoisereg.frames import batches
from napari_denoisereg.geometry import Displacement, Identity, PerFrame, Sequential, Transform
from napari_denoisereg.method import Method, setting
from napari_denoisereg.model import Model
from napari_denoisereg.register.anchors import Landmarks
from napari_denoisereg.register.quality import Eye, is_blown_up, likeness
from napari_denoisereg.register.registrar import Registrar
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Pace, Progress, Steps, portion


@dataclass(frozen=True, eq=False)
class Task:
    """What a series works on.

    Parameters
    ----------
    stack : Stack
        Without channel axis; the frames to register (denoised ones where there are any).
    registrar : Registrar
        Registers pairs.
    model : Model, optional
        For registrars that are trained.
    start : PerFrame, optional
        What an earlier registrar of the recipe found.
    device : torch.device
        Where to compute.
    batch : int
        Pairs at a time.
    landmarks : Landmarks, optional
        For registrars that take them.
    """

    stack: Stack
    registrar: Registrar
    model: Model | None
    start: PerFrame | None
    device: torch.device
    batch: int = 16
    landmarks: Landmarks | None = None

    def align(
        self, pairs: Sequence[tuple[int, int]], fixed: Tensor, start: Sequence[Transform] | None
    ) -> Steps[list[Transform]]:
        """Register some pairs of frames.

        Parameters
        ----------
        pairs : sequence of (int, int)
            Numbers of fixed and moving frame.
        fixed : Tensor
            The fixed frames, ``(len(pairs), *spatial)``.
        start : sequence of Transform, optional
            One per pair.

        Returns
        -------
        Steps of list of Transform
            One per pair, fixed to moving.
        """
        moving, grid = self.stack.tensor([frame for _, frame in pairs], self.device), self.stack.grid
        if self.landmarks is None:
            return self.registrar.align(fixed, moving, grid, start=start, model=self.model)
        anchors = [self.landmarks.pair(*pair) for pair in pairs]
        return self.registrar.align_marked(fixed, moving, grid, anchors, start=start, model=self.model)

    def align_movie(self) -> Steps[PerFrame]:
        """Register all frames at once.

        Returns
        -------
        Steps of PerFrame
            First frame to each frame.
        """
        if self.landmarks is None:
            return self.registrar.align_movie(self.stack, start=self.start, model=self.model, device=self.device)
        return self.registrar.align_movie_marked(
            self.stack, self.landmarks.places, start=self.start, model=self.model, device=self.device
        )


class Series(Method, family="series"):
    """How pairs become a stack."""

    def run(self, task: Task) -> Steps[PerFrame]:
        """Register a stack.

        Parameters
        ----------
        task : Task
            What to register, and with what.

        Returns
        -------
        Steps of PerFrame
            One transform per frame, frame 0 to frame t; the first is the identity.
        """
        raise NotImplementedError


class ToFirst(Series, kind="to_first"):
    """Every frame straight to the first: no drift, but frames that moved far may lose track."""

    title: ClassVar[str] = "To the first frame"

    def run(self, task: Task) -> Steps[PerFrame]:
        """Register a stack; see `Series.run`."""
        first = task.stack.tensor([0], task.device)
        return (yield from _refine(task, lambda count: first.expand(count, *first.shape[1:]), task.start))


class ToPrevious(Series, kind="to_previous"):
    """Every frame to the one before, composed: never loses track, but small errors add up to a drift."""

    title: ClassVar[str] = "To the previous frame"

    def run(self, task: Task) -> Steps[PerFrame]:
        """Register a stack; see `Series.run`."""
        stack, chained = task.stack, list[Transform]([Identity(task.stack.grid.ndim)])
        pairs = list(batches(stack.n_frames - 1, task.batch))
        for number, few in enumerate(pairs):
            start = None if task.start is None else [_between(task.start, frame) for frame in few]
            steps = task.align([(frame, frame + 1) for frame in few], stack.tensor(list(few), task.device), start)
            found = yield from portion(steps, number / len(pairs), (number + 1) / len(pairs))
            for transform in found:
                joined = chained[-1].then(transform)
                # One field for all bends so far: frame 1000 must not take a thousand look-ups for every voxel.
                is_long = isinstance(joined, Sequential)
                chained.append(Displacement(joined.displacement(stack.grid, task.device), stack.grid) if is_long else joined)
        return PerFrame(chained)


class Combined(Series, kind="combined"):
    """To the previous frame first, then refined on the first frame: keeps track and does not drift.

    Serial sections are only chained, or aligned all at once where the registrar is made for them: what is in the first
    section says nothing about the tenth.
    """

    title: ClassVar[str] = "Combined (keeps track, no drift)"

    least_gain: float = setting(
        0.0,
        "The refined transform must raise the correlation with the first frame by at least this much to be kept.",
        ge=0,
        le=1,
        advanced=True,
    )

    def run(self, task: Task) -> Steps[PerFrame]:
        """Register a stack; see `Series.run`."""
        are_sections = task.stack.frame_axis == "z"
        if are_sections and not task.registrar.is_sectionwise:
            return (yield from ToPrevious().run(task))
        if are_sections or task.registrar.is_groupwise:
            return (yield from task.align_movie())
        first = task.stack.tensor([0], task.device)
        if task.start is not None and task.registrar.is_dense:
            chained = task.start
        else:
            chained = yield from portion(ToPrevious().run(task), 0.0, 0.5, "frame to frame")
        refine = _refine(task, lambda count: first.expand(count, *first.shape[1:]), chained)
        refined = yield from portion(refine, 0.5, 0.9, "to the first frame")
        if task.landmarks is not None:
            # Likeness alone cannot judge what was not only made for likeness.
            return refined
        stains = task.registrar.bridges_stains
        before = yield from portion(_compared(task.stack, chained, task.device, bridges_stains=stains), 0.9, 0.95)
        after = yield from portion(_compared(task.stack, refined, task.device, bridges_stains=stains), 0.95, 1.0)
        chosen = list[Transform]()
        for rough, fine, one, other in zip(chained, refined, before, after, strict=True):
            is_better = likeness(*other) - likeness(*one) > self.least_gain and not is_blown_up(fine, rough)
            chosen.append(fine if is_better else rough)
        return PerFrame([Identity(task.stack.grid.ndim), *chosen[1:]])


def similarity_to_first(stack: Stack, transforms: PerFrame, device: torch.device | str = "cpu") -> Steps[Tensor]:
    """Correlation of every warped frame with the first, slightly smoothed, where they overlap.

    Parameters
    ----------
    stack : Stack
        Without channel axis.
    transforms : PerFrame
        Frame 0 to frame t.
    device : torch.device or str
        Where to compute.

    Returns
    -------
    Steps of Tensor
        ``(T,)``, float64: 1 is alike.
    """
    return _alike((yield from _compared(stack, transforms, device)))


def similarity_to_previous(stack: Stack, transforms: PerFrame, device: torch.device | str = "cpu") -> Steps[Tensor]:
    """Correlation of every warped frame with the warped frame before it, as serial sections want it.

    Parameters
    ----------
    stack, transforms, device
        See `similarity_to_first`.

    Returns
    -------
    Steps of Tensor
        ``(T,)``, float64: 1 is alike; the first frame has none before it and gets 1.
    """
    return _alike((yield from _compared(stack, transforms, device, to_previous=True)))


def _compared(
    stack: Stack,
    transforms: PerFrame,
    device: torch.device | str,
    *,
    to_previous: bool = False,
    bridges_stains: bool = False,
) -> Steps[list[tuple[float, float]]]:
    """Correlation and overlap of every warped frame with the first, or the one before."""
    eye, pace, found = Eye(stack, device, bridges_stains=bridges_stains), Pace(), [(1.0, 1.0)]
    reference = eye.warped(eye.image(0), transforms[0])
    for number in range(1, stack.n_frames):
        seen = eye.warped(eye.image(number), transforms[number])
        found.append(eye.compare(reference, seen))
        if to_previous:
            reference = seen
        if pace.is_due(last=number + 1 == stack.n_frames):
            yield Progress(number + 1, stack.n_frames, "comparing frames")
    return found


def _alike(compared: Sequence[tuple[float, float]]) -> Tensor:
    return torch.tensor([alike for alike, _ in compared], dtype=torch.float64)


def _refine(task: Task, fixed: Callable[[int], Tensor], start: PerFrame | None) -> Steps[PerFrame]:
    """Register every frame but the first to a fixed image, starting from known transforms."""
    stack, found = task.stack, list[Transform]([Identity(task.stack.grid.ndim)])
    parts = list(batches(stack.n_frames - 1, task.batch))
    for number, few in enumerate(parts):
        frames = [frame + 1 for frame in few]
        begin = None if start is None else [start[frame] for frame in frames]
        steps = task.align([(0, frame) for frame in frames], fixed(len(frames)), begin)
        found += yield from portion(steps, number / len(parts), (number + 1) / len(parts))
    return PerFrame(found)


def _between(start: PerFrame, frame: int) -> Transform:
    """Transform of the pair (frame, frame + 1) from the transforms of both to frame 0."""
    return start[frame].inverse().then(start[frame + 1])
