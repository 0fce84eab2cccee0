"""Neighbouring frames brought onto a frame along known motion, with the noise that they bring along.

``motion[t]`` maps points of frame 0 to frame t, so frame k is seen from frame t through ``motion[t].inverse()`` and then
``motion[k]``. Motion is smooth: this is worked out on a coarser grid and read between its points.

Frames are read between their voxels, which blurs noise and makes it depend on where the voxels fall. So white noise of the
strength each voxel has is read along: whoever weighs the neighbours can measure what is left of it. Frames in 2D are doubled
first with a long filter, so that reading them linearly does not blur structure.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_denoisereg import device as devices
from napari_denoisereg.geometry import Grid, PerFrame, Transform, sample
from napari_denoisereg.geometry.sampling import inside
from napari_denoisereg.noise import NoiseModel, repair
from napari_denoisereg.stack import Stack

LARGEST_DOUBLED = 2**20  # voxels
COARSE = 4  # voxels: where motion is worked out
HALFWAY = (3 / 256, -25 / 256, 150 / 256)
"""Six-tap filter that reads halfway between pixels: its outermost, next and inner weights."""


@dataclass(frozen=True)
class Neighbourhood:
    """Frames seen from one of them.

    Parameters
    ----------
    frames, white : Tensor
        ``(K, *spatial)``: intensities, and white noise of variance 1 that was read like them.
    covered : Tensor
        ``(K, *spatial)``, 1 where the frame was imaged, else 0.
    own : int
        Which of them is the frame itself.
    """

    frames: Tensor
    white: Tensor
    covered: Tensor
    own: int


class Neighbours:
    """Reads the neighbourhood of one frame after the other; each frame is read once.

    Parameters
    ----------
    stack : Stack
        Without channel axis.
    motion : PerFrame, optional
        Frame 0 to every frame; None where nothing moves.
    noise : NoiseModel
        Of the stack.
    reach : int
        Frames before and after that count as neighbours.
    seed : int
        Of the white noise.
    device : torch.device or str
        Where to compute.
    """

    def __init__(
        self, stack: Stack, motion: PerFrame | None, noise: NoiseModel, *, reach: int, seed: int, device: torch.device | str
    ) -> None:
        if motion is not None and len(motion) != stack.n_frames:
            raise ValueError(f"Expected the motion of {stack.n_frames} frames, got {len(motion)}; register this very stack.")
        self._stack, self._motion, self.noise = stack, motion, noise
        self._reach, self._seed, self._device = reach, seed, device
        self._coarse = stack.grid.coarser(COARSE)
        self._kept: dict[int, Tensor] = {}
        self._seen_from: tuple[int, dict[int, Tensor]] = -1, {}

    def around(self, frame: int, part: tuple[slice, ...] | None = None) -> Neighbourhood:
        """The neighbourhood of a frame.

        Parameters
        ----------
        frame : int
            Which; ask in ascending order.
        part : tuple of slice, optional
            Of the frame; all of it by default.

        Returns
        -------
        Neighbourhood
            As many on both sides; at the ends of the stack more on the other, so that these frames are helped as well.
        """
        count, every = 2 * self._reach + 1, self._stack.n_frames
        first = max(0, min(frame - self._reach, every - count))
        near = range(first, min(every, first + count))
        for passed in [number for number in self._kept if number < near.start]:
            del self._kept[passed]
        cut = tuple(slice(0, length) for length in self._stack.grid.shape) if part is None else part
        seen, covered = [], []
        places = _points(cut, self._device)
        fields = self._fields(frame, near)
        for number in near:
            both = self._read(number)
            if number == frame or self._motion is None:
                seen.append(self._undoubled(both)[(slice(None), *cut)])
                covered.append(torch.ones_like(seen[-1][0]))
                continue
            index = places + between(fields[number], cut)
            covered.append(inside(index[None], self._stack.grid.shape)[0].float())
            seen.append(self._at(both, torch.nan_to_num(index)))
        images, white = torch.stack(seen, dim=1)  # each in one piece: by far faster to cut into patches
        return Neighbourhood(images, white, torch.stack(covered), frame - near.start)

    def _read(self, number: int) -> Tensor:
        """A frame without hot pixels and white noise, ``(2, *spatial)``; doubled where that is kept."""
        if number not in self._kept:
            frame = repair(self._stack.tensor([number])[0], self.noise).to(self._device)
            white = torch.randn(frame.shape, generator=devices.generator(self._seed + number)).to(frame)
            both = torch.stack([frame, white])
            self._kept[number] = _doubled(both) if self._keeps_doubled else both
        return self._kept[number]

    @property
    def _is_doubled(self) -> bool:
        return self._stack.grid.ndim == 2 and self._motion is not None

    @property
    def _keeps_doubled(self) -> bool:
        """Whether doubled frames are kept: small ones, as each is needed many times; of large ones parts are doubled."""
        return self._is_doubled and math.prod(self._stack.grid.shape) <= LARGEST_DOUBLED

    def _undoubled(self, images: Tensor) -> Tensor:
        return images[:, ::2, ::2] if self._keeps_doubled else images

    def _at(self, images: Tensor, index: Tensor) -> Tensor:
        if self._is_doubled and not self._keeps_doubled:
            lowest, highest = (find(index.flatten(1), 1).tolist() for find in (torch.amin, torch.amax))
            first = [max(0, math.floor(low) - len(HALFWAY)) for low in lowest]
            last = [math.ceil(high) + len(HALFWAY) + 1 for high in highest]
            box = tuple(
                slice(min(start, size - 1), max(stop, 1))
                for start, stop, size in zip(first, last, images.shape[1:], strict=True)
            )
            images = _doubled(images[(slice(None), *box)])
            index = index - torch.tensor([part.start for part in box]).reshape(-1, 1, 1).to(index)
        return sample(images[None], (2 * index if self._is_doubled else index)[None])[0]

    def _fields(self, frame: int, near: range) -> dict[int, Tensor]:
        """Displacements from a frame to its neighbours, voxels, on the coarse grid; kept, for one part after the other."""
        if self._seen_from[0] != frame and self._motion is not None:
            back = _inverse(self._motion[frame], self._coarse)
            steps = torch.tensor(self._stack.grid.spacing, device=self._device).reshape(-1, *(1,) * self._stack.grid.ndim)
            others = [number for number in near if number != frame]
            motions = {number: back.then(self._motion[number]) for number in others}
            found = {number: each.displacement(self._coarse, self._device) / steps for number, each in motions.items()}
            self._seen_from = frame, found
        return self._seen_from[1]


def _points(part: tuple[slice, ...], device: torch.device | str) -> Tensor:
    """Voxels of a part of a frame, ``(D, *part)``."""
    axes = [torch.arange(each.start, each.stop, dtype=torch.float32, device=device) for each in part]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def between(field: Tensor, part: tuple[slice, ...]) -> Tensor:
    """Read a field of the coarse grid linearly at voxels.

    Parameters
    ----------
    field : Tensor
        ``(D, *coarse)``.
    part : tuple of slice
        Which voxels.

    Returns
    -------
    Tensor
        ``(D, *part)``; as `sample` gives it, in a quarter of the time.
    """
    box = [slice(max(0, each.start // COARSE - 1), -(-each.stop // COARSE) + 1) for each in part]
    coarse = field[(slice(None), *box)][None]
    fine = F.interpolate(coarse, scale_factor=COARSE, mode={2: "bilinear", 3: "trilinear"}[len(part)])[0]
    for axis, (each, around) in enumerate(zip(part, box, strict=True)):
        fine = fine.narrow(1 + axis, each.start - COARSE * around.start, each.stop - each.start)
    return fine


def _inverse(transform: Transform, coarse: Grid) -> Transform:
    return transform.inverse() if transform.is_affine else transform.to_displacement(coarse).inverse()


def _doubled(images: Tensor) -> Tensor:
    """Twice as many pixels: old ones at even places, those halfway between at odd ones; the last pixel repeats."""
    for axis in (1, 2):
        length, reach = images.shape[axis], len(HALFWAY)
        margins = [reach if place == axis else 0 for place in (2, 1) for _ in range(2)]
        wide = F.pad(images[None], margins, mode="replicate")[0]
        halves = torch.zeros_like(images)
        for offset, weight in enumerate(HALFWAY):
            pair = wide.narrow(axis, offset + 1, length) + wide.narrow(axis, 2 * reach - offset, length)
            halves = torch.add(halves, pair, alpha=weight)
        images = torch.stack([images, halves], dim=axis + 1).flatten(axis, axis + 1)
    return images
