"""How tracked objects moved, each by itself: their transforms, their way, and the movie in which every one stands still."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dask.array as da
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from napari_denoisereg.evaluation.motion import motion_traces
from napari_denoisereg.geometry import Grid, Transform, warp
from napari_denoisereg.register import Registration
from napari_denoisereg.register.registration import back_to
from napari_denoisereg.stack import Frame, Stack
from napari_denoisereg.steps import Pace, Progress, Steps, finish, portion

RIM = 3.0
"""So many pixels around an object are shown with it: its outline."""

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Places = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ObjectMotion:
    """How one object moved.

    Parameters
    ----------
    frames : tuple of int
        Frames in which it exists.
    registration : Registration
        One transform for each of these: its first frame to that frame, world units of the movie.
    window : Grid
        Around the object in its first frame.
    mask : ndarray
        ``window.shape``, bool: the object in its first frame.
    middle : tuple of float
        Centre of its labels in its first frame, world units.
    """

    frames: tuple[int, ...]
    registration: Registration
    window: Grid
    mask: Mask
    middle: tuple[float, ...]

    @property
    def path(self) -> Floats:
        """Where its middle is in each of its frames ``(K, D)``, world units."""
        start = np.array([self.middle])
        return np.concatenate([self.registration.points(k, start) for k in range(len(self.frames))])

    @property
    def doubts(self) -> dict[int, str]:
        """Frames of the movie in which it may have been lost, and why."""
        inner = self.registration
        return {self.frames[k]: inner.reasons.get(k, "it looks lost") for k in inner.flagged}

    @property
    def doubts_in_words(self) -> str:
        """E.g. ``"frames 3, 7-9: it was blown up"``, with the reason of the first; empty when there is no doubt."""
        doubts = self.doubts
        return f"{frames_in_words(list(doubts))}: {doubts[min(doubts)]}" if doubts else ""

    def shifted(self, offset: Sequence[float]) -> "ObjectMotion":
        """The same motion where everything lies elsewhere, e.g. at the stage's position.

        Parameters
        ----------
        offset : sequence of float
            World units, axis order.

        Returns
        -------
        ObjectMotion
            Nothing is resampled.
        """
        there, way = self.registration.shifted(offset), np.array(offset)
        window = replace(self.window, origin=tuple((way + self.window.origin).tolist()))
        return replace(self, registration=there, window=window, middle=tuple((way + self.middle).tolist()))


class Objects(dict[int, ObjectMotion]):
    """Motions by id.

    Attributes
    ----------
    left_out : dict of int to str
        Objects that could not be registered, and why.
    """

    def __init__(self) -> None:
        super().__init__()
        self.left_out = dict[int, str]()

    def shifted(self, offset: Sequence[float]) -> "Objects":
        """The same motions where everything lies elsewhere.

        Parameters
        ----------
        offset : sequence of float
            World units, axis order.

        Returns
        -------
        Objects
            See `ObjectMotion.shifted`.
        """
        moved = Objects()
        moved.left_out |= self.left_out
        for number, motion in self.items():
            moved[number] = motion.shifted(offset)
        return moved

    def warp(self, stack: Stack) -> Stack:
        """The movie with every object standing still where it is in its first frame, on a dark ground.

        Parameters
        ----------
        stack : Stack
            The movie that the objects were registered in, or another one of the same frames.

        Returns
        -------
        Stack
            Same shape and dtype; see `warp_steps`.
        """
        return finish(self.warp_steps(stack))

    def warp_steps(self, stack: Stack) -> Steps[Stack]:
        """`warp` as long work.

        Each object is shown with a rim of `RIM` pixels. Where the places of several objects overlap, labels go before rims, and
        the object that was there earlier before the later one. Everything else is 0, and so is an object's place in frames
        in which it does not exist.

        Parameters
        ----------
        stack : Stack
            The movie that the objects were registered in, or another one of the same frames.

        Returns
        -------
        Steps of Stack
            Same shape and dtype, all channels. What is seen of objects is kept in memory, frames are put together when looked
            at.

        Raises
        ------
        ValueError
            When the movie has other frames, or lies elsewhere.
        """
        grid = self._grid_of(stack)
        spots, pace = _spots(self, grid), Pace()
        seen = list[list[tuple[Places, Frame]]]()
        for number in range(stack.n_frames):
            frame = np.stack([stack.frame(number, channel) for channel in range(stack.n_channels)])
            here = [spot for spot in spots if number in spot.transforms]
            seen.append([(spot.places, spot.read(frame, spot.transforms[number], grid)) for spot in here])
            if pace.is_due(last=number + 1 == stack.n_frames):
                yield Progress(number + 1, stack.n_frames, "bringing objects to their places")
        step = {"warp_objects": sorted(self)}
        return stack.with_data(_pictures(seen, stack), name=f"{stack.name} [objects aligned]", step=step)

    def _grid_of(self, stack: Stack) -> Grid:
        """Where the voxels of the movie are; one that says nothing of it lies where objects were registered."""
        grid = stack.grid
        for motion in self.values():
            ours = motion.registration.grid
            if motion.frames[-1] >= stack.n_frames or ours.shape != grid.shape:
                raise ValueError(
                    f"Expected the movie that the objects were registered in, got {stack!r} of other frames; give that movie."
                )
            grid = motion.registration.placed_like(stack).grid
            if not np.allclose([grid.spacing, grid.origin], [ours.spacing, ours.origin]):
                raise ValueError(
                    f"Expected a movie that lies at {ours.origin} with voxels of {ours.spacing} {ours.units[-1]}, as when the "
                    f"objects were registered, got {grid.origin} and {grid.spacing}; give its spacing and origin."
                )
        return grid


def motion_table(objects: Objects) -> Steps[list[dict[str, float]]]:
    """How every object moved since its first frame: see `evaluation.motion`.

    Parameters
    ----------
    objects : Objects
        What `objects.register_objects` returned.

    Returns
    -------
    Steps of list of dict
        One row per object and frame: ``id``, ``frame``; ``z`` (3D), ``y``, ``x`` of its middle, ``shift_z`` (3D), ``shift_y``,
        ``shift_x`` of it since the first frame and ``misfit`` (what is not rigid motion or stretch) in world units,
        ``rotation`` in degrees, ``scale``.
    """
    rows = list[dict[str, float]]()
    for place, (number, motion) in enumerate(objects.items()):
        work = motion_traces(motion.registration.transforms, motion.window)
        traces = yield from portion(work, place / len(objects), (place + 1) / len(objects))
        axes, path = "zyx"[-motion.window.ndim :], motion.path
        for k, frame in enumerate(motion.frames):
            where = dict(zip(axes, path[k].tolist(), strict=True))
            shift = {f"shift_{axis}": float(value) for axis, value in zip(axes, path[k] - path[0], strict=True)}
            rest = {name: float(getattr(traces, name)[k]) for name in ("rotation", "scale", "misfit")}
            rows.append({"id": number, "frame": frame, **where, **shift, **rest})
    return rows


def frames_in_words(frames: Sequence[int]) -> str:
    """Numbers of frames, neighbours together.

    Parameters
    ----------
    frames : sequence of int
        At least one.

    Returns
    -------
    str
        E.g. ``"frame 3"``, ``"frames 3, 7-9"``.
    """
    ends = list[list[int]]()
    for frame in sorted(frames):
        if ends and frame == ends[-1][1] + 1:
            ends[-1][1] = frame
        else:
            ends.append([frame, frame])
    named = ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in ends)
    return f"frame{'s' if len(frames) > 1 else ''} {named}"


@dataclass(frozen=True, eq=False)
class _Spot:
    """Where an object is shown: flat indices in a frame, and the box around them; and its transforms by frame."""

    transforms: Mapping[int, Transform]
    places: Places
    low: Places
    shape: tuple[int, ...]

    def read(self, frame: Frame, transform: Transform, grid: Grid) -> Frame:
        """What a frame ``(C, *spatial)`` shows of the object ``(C, len(places))``."""
        if transform.is_identity:
            return frame.reshape(len(frame), -1)[:, self.places]
        box = _part(grid, self.low, self.shape)
        there = grid.to_index(transform(box.points(wide=True))).reshape(grid.ndim, -1).numpy()
        there = there[:, np.isfinite(there).all(axis=0)]
        nothing = np.zeros((len(frame), len(self.places)), frame.dtype)
        if not there.size:
            return nothing
        # Only the part of the frame that is looked at is smoothed where it shrinks.
        low = np.clip(np.floor(there.min(1)).astype(np.int64) - 1, 0, None)
        high = np.minimum(np.ceil(there.max(1)).astype(np.int64) + 2, grid.shape)
        if (high <= low).any():
            return nothing
        part = frame[(slice(None), *(slice(a, b) for a, b in zip(low, high, strict=True)))]
        image = torch.from_numpy(part.astype(np.float32))
        shown = warp(image, transform, fixed=box, moving=_part(grid, low, part.shape[1:]), outside=0.0).numpy()
        inner = np.stack(np.unravel_index(self.places, grid.shape)) - self.low[:, None]
        return back_to(shown[(slice(None), *inner)], frame.dtype)


def _part(grid: Grid, low: Places, shape: Sequence[int]) -> Grid:
    origin = (np.array(grid.origin) + low * np.array(grid.spacing)).tolist()
    return Grid(tuple(shape), grid.spacing, tuple(origin), grid.units)


def _spots(objects: Objects, grid: Grid) -> list[_Spot]:
    """The places of all objects: no two share a voxel."""
    order = sorted(objects.values(), key=lambda motion: motion.frames[0])
    owner = np.zeros(grid.shape, np.int32)
    for is_rim in (False, True):
        for number, motion in enumerate(order, 1):
            inside, window = _in_frame(motion, grid)
            near = motion.mask if not is_rim else _with_rim(motion)
            view = owner[inside]
            view[near[window] & (view == 0)] = number
    spots = list[_Spot]()
    for number, motion in enumerate(order, 1):
        inside, _ = _in_frame(motion, grid)
        start = np.array([cut.start for cut in inside])
        inner = np.argwhere(owner[inside] == number)
        if len(inner):
            places = np.ravel_multi_index(tuple((inner + start).T), grid.shape)
            low, high = inner.min(0) + start, inner.max(0) + start + 1
            transforms = dict(zip(motion.frames, motion.registration.transforms, strict=True))
            spots.append(_Spot(transforms, places, low, tuple((high - low).tolist())))
    return spots


def _with_rim(motion: ObjectMotion) -> Mask:
    spacing = motion.window.spacing
    distance = ndimage.distance_transform_edt(~motion.mask, sampling=spacing)
    return np.asarray(distance <= RIM * min(spacing))


def _in_frame(motion: ObjectMotion, grid: Grid) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The part of a frame that the window covers, and the part of the window that lies in the frame."""
    away = (np.array(motion.window.origin) - motion.registration.grid.origin) / np.array(grid.spacing)
    low = np.rint(away).astype(np.int64)
    start, stop = np.clip(low, 0, None), np.minimum(low + motion.window.shape, grid.shape)
    return tuple(map(slice, start, stop)), tuple(map(slice, start - low, stop - low))


def _pictures(seen: Sequence[Sequence[tuple[Places, Frame]]], stack: Stack) -> da.Array:
    """Frames put together from what was seen of each object, when somebody looks; axes as the stack's."""
    shape = stack.grid.shape

    def picture(block_info: Any = None) -> Frame:
        number, channel = block_info[None]["chunk-location"][:2]
        values = np.zeros(shape, stack.dtype)
        for places, shown in seen[number]:
            values.reshape(-1)[places] = shown[channel]
        return values[None, None]

    chunks = ((1,) * stack.n_frames, (1,) * stack.n_channels, *((size,) for size in shape))
    # A name of its own: dask would otherwise look through all that was seen to make one.
    name = f"objects-{uuid.uuid4().hex}"
    drawn = da.map_blocks(picture, chunks=chunks, dtype=stack.dtype, name=name, meta=np.empty((0,) * len(chunks), stack.dtype))
    order = stack.frame_axis + "c" + stack.spatial_axes
    if "c" not in stack.axes:
        drawn, order = drawn[:, 0], order.replace("c", "")
    return da.moveaxis(drawn, range(len(order)), [stack.axes.index(axis) for axis in order])
