"""Optical flow between frames: where what a frame shows is found in other frames.

Estimated by scikit-image's coarse-to-fine iterative Lucas-Kanade (doi:10.1109/ICIP.2005.1529706), at half the resolution
where frames are large. `Flows` estimates what it is asked for and keeps the latest, so that a training which draws frames at
random pays only for the pairs it meets, and memory does not grow with the movie.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from skimage.registration import optical_flow_ilk
from torch import Tensor

from napari_denoisereg.geometry import Displacement, Grid, Identity, PerFrame, Transform, resample, sample, smooth
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Pace, Progress, Steps

RADIUS = 7
"""Of the window that the flow is constant in, voxels of the working resolution."""
LONGEST = {2: 192, 3: 64}
"""Side of the frames that a training's flows are estimated on, by their number of axes: it needs hundreds of them."""
LARGE = 64
"""Axes at least so long are halved."""
NOISE_FILTER = 2.0
"""Width of the Gaussian that noisy frames are smoothed with before, voxels; the best practice of all flows measured."""
PICTURES = 64 * 512**2
"""Voxels of pictures kept at a time: a training draws frames at random, and a picture can cost a network's prediction."""
INVERTED = 3
"""Rounds that find where something came from; flows change little over their own length."""
KEPT = 64 * 1024**2
"""Values of flows kept at a time; they are kept as coarse as they were estimated."""


def optical_flow(fixed: Tensor, moving: Tensor, *, longest: int | None = None) -> Tensor:
    """Flow from one image to another.

    Parameters
    ----------
    fixed, moving : Tensor
        ``(*spatial)``, same shape.
    longest : int, optional
        Larger frames are shrunk until their longest side has so many voxels, not just halved.

    Returns
    -------
    Tensor
        ``(D, *spatial)``, voxels, float32, on the CPU: ``moving(x + u(x))`` shows what ``fixed(x)`` does. It is zero along
        axes of a single voxel.
    """
    whole = Grid(tuple(fixed.shape))
    working = _working_grid(whole, longest)
    return resample(_estimated(fixed, moving, whole, working)[None], working, whole)[0]


def _working_grid(whole: Grid, longest: int | None) -> Grid:
    """What flows are estimated on: half as fine, or coarser where frames are larger than ``longest``."""
    factor = 2.0 if longest is None else max(2.0, max(whole.shape) / longest)
    return whole.coarser([factor if length >= LARGE else 1 for length in whole.shape])


def _estimated(fixed: Tensor, moving: Tensor, whole: Grid, working: Grid) -> Tensor:
    """Flow on the working grid, ``(D, *working.shape)``, voxels of the whole one."""
    pair = resample(torch.stack([fixed, moving])[None].float().cpu(), whole, working)[0].numpy()
    axes = [axis for axis, length in enumerate(working.shape) if length > 1]
    found = optical_flow_ilk(*pair.reshape(2, *(working.shape[axis] for axis in axes)), radius=RADIUS, dtype=np.float32)
    flow = torch.zeros(len(whole.shape), *working.shape)
    for axis, values in zip(axes, found, strict=True):
        flow[axis] = torch.from_numpy(np.ascontiguousarray(values)).reshape(working.shape) * working.spacing[axis]
    return flow


class Flows:
    """Flows between a movie's frames, estimated when asked for.

    Parameters
    ----------
    picture : callable
        Called with the numbers of a movie and of one of its frames; returns ``(*spatial)``, what flows are estimated on.
    kept : int
        So many values of flows stay in memory, and at least one flow.
    """

    def __init__(self, picture: Callable[[int, int], Tensor], kept: int = KEPT) -> None:
        self._picture = picture
        self._size = kept
        self._kept: dict[tuple[int, int, int], Tensor] = {}
        self._shapes: dict[int, tuple[int, ...]] = {}  # of whole frames
        self._pictures: dict[tuple[int, int], Tensor] = {}

    def __call__(self, movie: int, fixed: int, others: Sequence[int], block: Sequence[slice] | None = None) -> Tensor:
        """Flows from a frame to others.

        Parameters
        ----------
        movie, fixed : int
            Which movie, which frame of it.
        others : sequence of int
            Other frames of the same movie.
        block : sequence of slice, optional
            Part of the frame, starts and stops along each axis; the whole frame by default.

        Returns
        -------
        Tensor
            ``(len(others), D, *block)``, voxels.
        """
        coarse = torch.stack([self._flow(movie, fixed, other) for other in others])
        whole = Grid(self._shapes[movie])
        part = whole
        if block is not None:
            part = Grid(tuple(piece.stop - piece.start for piece in block), origin=tuple(piece.start for piece in block))
        return resample(coarse, _working_grid(whole, LONGEST[whole.ndim]), part)

    def clear(self) -> None:
        """Forget all, because the pictures have changed."""
        self._kept.clear()
        self._pictures.clear()

    def _flow(self, movie: int, fixed: int, other: int) -> Tensor:
        key = (movie, fixed, other)
        if key not in self._kept:
            pair = self._look(movie, fixed), self._look(movie, other)
            whole = Grid(tuple(pair[0].shape))
            flow = _estimated(*pair, whole, _working_grid(whole, LONGEST[whole.ndim]))
            _make_room(self._kept, max(1, self._size // flow.numel()))
            self._kept[key], self._shapes[movie] = flow, whole.shape
        return self._kept[key]

    def _look(self, movie: int, frame: int) -> Tensor:
        key = (movie, frame)
        if key not in self._pictures:
            picture = self._picture(movie, frame)
            _make_room(self._pictures, max(8, PICTURES // picture.numel()))
            self._pictures[key] = picture
        return self._pictures[key]


def smoothed(frame: Tensor) -> Tensor:
    """A noisy frame as flows are estimated on.

    Parameters
    ----------
    frame : Tensor
        ``(*spatial)``.

    Returns
    -------
    Tensor
        Same shape, smoothed by `NOISE_FILTER`.
    """
    return smooth(frame[None, None], NOISE_FILTER)[0, 0]


def gone_on(frame: Tensor, flow: Tensor, share: float) -> Tensor:
    """What a frame would show at another time, had everything gone on as it moved.

    A point x of the fixed frame is at ``x + u(x)`` in this one, so at ``y = x + share * u(x)`` at the other time.

    Parameters
    ----------
    frame : Tensor
        ``(*spatial)``.
    flow : Tensor
        ``u``: ``(D, *spatial)``, voxels, from the fixed frame to this one.
    share : float
        How far away the other time is from the fixed frame, as a multiple of how far this frame is; -1 is as long before it as
        this is after it.

    Returns
    -------
    Tensor
        Same shape as the frame; places it does not show repeat its edge.
    """
    places = Grid(tuple(frame.shape)).points(frame.device)
    moved = flow
    for _ in range(INVERTED):  # u at the x that is now at y
        moved = sample(flow[None], (places - share * moved)[None])[0]
    return sample(frame[None, None], (places + (1 - share) * moved)[None])[0, 0]


def flow_of(stack: Stack) -> Steps[PerFrame]:
    """Optical flow of a denoised movie, from each frame to the next.

    Parameters
    ----------
    stack : Stack
        Without channel axis. Of a noisy movie the flow is noisy too.

    Returns
    -------
    Steps of PerFrame
        Displacements in world units; the last frame has none after it and an Identity.
    """
    pace, found = Pace(), list[Transform]()
    for frame in range(stack.n_frames - 1):
        found.append(flow_to_next(stack, frame))
        if pace.is_due(last=frame == stack.n_frames - 2):
            yield Progress(frame + 1, stack.n_frames - 1, "optical flow")
    return PerFrame([*found, Identity(stack.grid.ndim)])


def flow_to_next(stack: Stack, frame: int) -> Transform:
    """Optical flow from a frame to the next one, see `flow_of`.

    Parameters
    ----------
    stack : Stack
        Without channel axis.
    frame : int
        Which; not the last.

    Returns
    -------
    Transform
        Displacement in world units.
    """
    grid = stack.grid
    fixed, moving = stack.tensor([frame, frame + 1])
    spacing = torch.tensor(grid.spacing).reshape(-1, *(1,) * grid.ndim)
    return Displacement(optical_flow(fixed, moving) * spacing, grid)


def _make_room(kept: dict, size: int) -> None:  # type: ignore[type-arg]
    if len(kept) >= size:
        del kept[next(iter(kept))]
