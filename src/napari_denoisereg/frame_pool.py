"""FramePool: random frames, pairs and patches of stacks for training, and some held out to judge by.

Memory is bounded by the pool, not by the stacks: frames are read when they are drawn.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_denoisereg import device as devices
from napari_denoisereg.appearance import appearance, identity
from napari_denoisereg.geometry import Grid
from napari_denoisereg.method import Method
from napari_denoisereg.model import Model, origin
from napari_denoisereg.stack import Stack


@dataclass(frozen=True)
class Spot:
    """A place in the movies.

    Parameters
    ----------
    stack, frame : int
        Which movie, which of its frames.
    corner, sides : tuple of int
        First voxel and lengths of a block of that frame.
    """

    stack: int
    frame: int
    corner: tuple[int, ...]
    sides: tuple[int, ...]

    def block(self, images: Tensor) -> Tensor:
        """Cut the block out of whole images.

        Parameters
        ----------
        images : Tensor
            ``(..., *spatial)``, at least as large as ``corner + sides``.

        Returns
        -------
        Tensor
            ``(..., *sides)``.
        """
        for axis, (start, side) in enumerate(zip(self.corner, self.sides, strict=True), start=-len(self.sides)):
            images = images.narrow(axis, start, side)
        return images

    def overlaps(self, other: "Spot") -> bool:
        """Whether two blocks share a voxel."""
        return (self.stack, self.frame) == (other.stack, other.frame) and all(
            mine < theirs + length and theirs < mine + side
            for mine, side, theirs, length in zip(self.corner, self.sides, other.corner, other.sides, strict=True)
        )


class FramePool:
    """Random frames of stacks for training, standardised; only some of them are in memory at a time.

    Each stack is standardised by its own mean and standard deviation (of at most 32 evenly spaced frames), so that
    brightness changes within a stack stay what they are.

    Parameters
    ----------
    stacks : sequence of Stack
        Same number of spatial axes, no channel axis.
    size : int, optional
        Frames kept in memory, by default as many as fit in an eighth of what is free, at most 64. Where there are more, the
        oldest is exchanged for each one that is drawn anew.
    seed : int
        Seed of the draws.
    recorded : sequence of Stack, optional
        The stacks as they were recorded, where ``stacks`` are made of them; models remember these.

    Raises
    ------
    ValueError
        When there are no stacks or their frames differ in dimension.
    """

    def __init__(
        self,
        stacks: Sequence[Stack],
        *,
        size: int | None = None,
        seed: int = 0,
        recorded: Sequence[Stack] | None = None,
    ) -> None:
        if len({stack.grid.ndim for stack in stacks}) != 1 or any("c" in stack.axes for stack in stacks):
            wanted = "one or more stacks, all in 2D or all in 3D, without channels (take one: stack.channel(0))"
            raise ValueError(f"Expected {wanted}, got {list(stacks)}.")
        self._stacks = tuple(stacks)
        looks = [appearance(stack) for stack in stacks]
        self._scales = tuple((look["mean"], look["std"]) for look in looks)
        self._recorded = self._stacks if recorded is None else tuple(recorded)
        self._looks = tuple(looks if recorded is None else (appearance(stack) for stack in recorded))
        self._seed = seed
        self._aside: list[Spot] = []
        self._pairs_aside: set[tuple[int, int, int]] = set()
        self._random = np.random.default_rng(seed)
        self._all = [(number, frame) for number, stack in enumerate(stacks) for frame in range(stack.n_frames)]
        fitting = devices.free_memory() // 8 // (4 * max(math.prod(stack.grid.shape) for stack in stacks))
        self._size = size or max(2, min(64, fitting))
        self._kept: dict[tuple[int, int], Tensor] = {}

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return self._stacks[0].grid.ndim

    @property
    def random(self) -> np.random.Generator:
        """What the draws come from."""
        return self._random

    def model(self, method: Method, **more: Any) -> Model:
        """A model without weights that knows what it is going to be trained on.

        Parameters
        ----------
        method : Method
            Its settings.
        **more
            For the provenance, e.g. ``seed``.

        Returns
        -------
        Model
            For `training.Training`.
        """
        data = [identity(stack, look) for stack, look in zip(self._recorded, self._looks, strict=True)]
        told = origin([stack.name for stack in self._recorded], data=data, **more)
        return Model(method, {}, self.ndim, self._looks[0], told)

    def hold_out(self, count: int, size: int, reach: int = 0) -> Tensor:
        """Set patches aside to judge by, see `hold_out_spots`.

        Parameters
        ----------
        count, size, reach : int
            See `patches`. Held out are voxels of the middle frames.

        Returns
        -------
        Tensor
            ``(n, 2 * reach + 1, *patch)``, standardised, ``n <= count``; the same for the same seed.
        """
        return torch.stack([self.clip(spot, reach) for spot in self.hold_out_spots(count, size)])

    def hold_out_spots(self, count: int, size: int) -> list[Spot]:
        """Set spots aside to judge by: `spot` and `patches` will never draw a voxel of them.

        At most one of a frame, of at most a quarter of the frames. Movies too small for that (fewer than four frames, sides
        shorter than three patches) give up nothing: the spots are then drawn from what is trained on.

        Parameters
        ----------
        count, size : int
            See `patches`.

        Returns
        -------
        list of Spot
            At most ``count``, at least one; the same for the same seed.
        """
        random = np.random.default_rng([self._seed, 1])
        is_roomy = all(stack.grid.shape[axis] >= 3 * size for stack in self._stacks for axis in (-2, -1))
        fitting = len(self._all) // 4 or int(is_roomy)
        numbers = random.permutation(len(self._all))[: min(count, max(1, fitting))]
        spots = [self._spot(self._all[int(number)], size, random) for number in numbers]
        if fitting:
            self._aside = spots
        return spots

    def hold_out_pairs(self, count: int, reach: int) -> list[tuple[tuple[Tensor, Tensor], Grid]]:
        """Set pairs of frames aside to judge by: `pairs` will never draw them. At most a quarter of all there are.

        Parameters
        ----------
        count, reach : int
            See `pairs`.

        Returns
        -------
        list of (pair, Grid)
            Each pair is two of ``(*spatial)``, standardised; at least one pair, which in movies of very few frames is not held
            out. The same for the same seed.

        Raises
        ------
        ValueError
            When a stack has a single frame.
        """
        for stack in self._stacks:
            _check_pairs(stack)
        random = np.random.default_rng([self._seed, 2])
        every = [
            (number, frame, other)
            for number, stack in enumerate(self._stacks)
            for frame in range(stack.n_frames)
            for other in range(frame + 1, min(stack.n_frames, frame + reach + 1))
        ]
        fitting = len(every) // 4
        chosen = [every[int(place)] for place in random.permutation(len(every))[: min(count, max(1, fitting))]]
        if fitting:
            self._pairs_aside = set(chosen)
        return [((self._read((n, a)), self._read((n, b))), self._stacks[n].grid) for n, a, b in chosen]

    def frame(self) -> Tensor:
        """Draw a frame.

        Returns
        -------
        Tensor
            ``(*spatial)``, standardised.
        """
        return self._read(self._all[int(self._random.integers(len(self._all)))])

    def pairs(self, count: int, reach: int) -> tuple[list[tuple[Tensor, Tensor]], Grid]:
        """Draw pairs of frames, all of one stack.

        Parameters
        ----------
        count : int
            How many.
        reach : int
            The two are at most so many frames apart, at least one.

        Returns
        -------
        tuple of list and Grid
            Pairs of ``(*spatial)``, standardised, and their grid.

        Raises
        ------
        ValueError
            When the stack has a single frame.
        """
        number, _ = self._all[int(self._random.integers(len(self._all)))]
        stack = self._stacks[number]
        _check_pairs(stack)
        drawn = list[tuple[Tensor, Tensor]]()
        while len(drawn) < count:
            frame = int(self._random.integers(stack.n_frames))
            others = [t for t in range(max(0, frame - reach), min(stack.n_frames, frame + reach + 1)) if t != frame]
            other = others[int(self._random.integers(len(others)))]
            if (number, min(frame, other), max(frame, other)) in self._pairs_aside:
                continue
            drawn.append((self._read((number, frame)), self._read((number, other))))
        return drawn, stack.grid

    def patches(self, count: int, size: int, reach: int = 0) -> Tensor:
        """Draw patches, each from its own frame.

        Parameters
        ----------
        count : int
            How many.
        size : int
            Length of the sides, voxels; axes shorter than that give what they have, rounded down to a multiple of 8
            (an axis shorter than 8 is filled up to 8 with exact zeros).
        reach : int
            So many frames on each side come along, see `around`.

        Returns
        -------
        Tensor
            ``(count, 2 * reach + 1, *patch)``, standardised; the frame drawn is in the middle.
        """
        patches = []
        for _ in range(count):
            patch = self.clip(self.spot(size), reach)
            flipped = [axis + 1 for axis in range(self.ndim) if self._random.random() < 0.5]
            patches.append(patch.flip(flipped))
        return torch.stack(patches)

    def spot(self, size: int) -> Spot:
        """Draw a spot that is not held out.

        Parameters
        ----------
        size : int
            See `patches`.

        Returns
        -------
        Spot
            For `clip`.
        """
        while True:
            spot = self._spot(self._all[int(self._random.integers(len(self._all)))], size, self._random)
            if not any(spot.overlaps(other) for other in self._aside):
                return spot

    def clip(self, spot: Spot, reach: int = 0) -> Tensor:
        """Read a spot with the same place of the frames around.

        Parameters
        ----------
        spot : Spot
            Where.
        reach : int
            See `patches`.

        Returns
        -------
        Tensor
            ``(2 * reach + 1, *sides)``, standardised.
        """
        frames = around(spot.frame, self._stacks[spot.stack].n_frames, reach)
        return torch.stack([spot.block(self._filled(self._read((spot.stack, frame)), spot.sides)) for frame in frames])

    def read(self, stack: int, frame: int) -> Tensor:
        """A whole frame.

        Parameters
        ----------
        stack, frame : int
            Which movie, which of its frames.

        Returns
        -------
        Tensor
            ``(*spatial)``, standardised.
        """
        return self._read((stack, frame))

    def _spot(self, place: tuple[int, int], size: int, random: np.random.Generator) -> Spot:
        sides = self._sides(size)
        lengths = self._stacks[place[0]].grid.shape
        corner = [int(random.integers(max(length - side, 0) + 1)) for length, side in zip(lengths, sides, strict=True)]
        return Spot(*place, tuple(corner), sides)

    def _sides(self, size: int) -> tuple[int, ...]:
        shortest = [min(stack.grid.shape[axis] for stack in self._stacks) for axis in range(self.ndim)]
        return tuple(max(8, min(size, length) // 8 * 8) for length in shortest)

    def _filled(self, frame: Tensor, sides: Sequence[int]) -> Tensor:
        """Make a frame large enough, with exact zeros."""
        for axis, side in enumerate(sides):
            if frame.shape[axis] < side:
                # Not by reflection: noise must not stand twice in a patch (see `tiling.pad_to_multiple`).
                rest = [*frame.shape[:axis], side - frame.shape[axis], *frame.shape[axis + 1 :]]
                frame = torch.cat([frame, frame.new_zeros(rest)], dim=axis)
        return frame

    def _read(self, place: tuple[int, int]) -> Tensor:
        if place not in self._kept:
            if len(self._kept) >= self._size:
                del self._kept[next(iter(self._kept))]
            mean, std = self._scales[place[0]]
            self._kept[place] = (self._stacks[place[0]].tensor([place[1]])[0] - mean) / std
        return self._kept[place]


def around(frame: int, n_frames: int, reach: int) -> list[int]:
    """A frame with its neighbours, the frame itself never among them.

    Parameters
    ----------
    frame, n_frames : int
        Which frame of how many.
    reach : int
        Neighbours on each side. Where the movie ends, those of the other side stand in.

    Returns
    -------
    list of int
        ``2 * reach + 1`` frame numbers in order of time, ``frame`` in the middle and nowhere else.

    Raises
    ------
    ValueError
        When there are neighbours wanted of a single frame.
    """
    if reach and n_frames < 2:
        raise ValueError("Expected a movie of at least two frames, got one; choose a denoiser of single frames.")

    def neighbour(offset: int) -> int:
        for place in (frame + offset, frame - offset):
            if 0 <= place < n_frames:
                return place
        nearest = min(max(frame + offset, 0), n_frames - 1)
        return nearest if nearest != frame else min(max(frame - offset, 0), n_frames - 1)

    return [frame if offset == 0 else neighbour(offset) for offset in range(-reach, reach + 1)]


def _check_pairs(stack: Stack) -> None:
    if stack.n_frames < 2:
        raise ValueError(f"Expected at least two frames to make pairs of, got {stack!r}; leave it out of the training.")
