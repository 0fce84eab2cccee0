"""Neighbouring frames brought onto a frame along known motion, with the noise that they bring along.

``motion[t]`` maps points of frame 0 to frame t, so frame k is seen from frame t through ``motion[t].inverse()`` and then
``motion[k]``. Motion is smooth: this is worked out on a coarser grid and read between its points.

Frames are read between their voxels, which blurs noise and makes it depend on where the voxels fall. So white noise of the
strength each voxel has is read along: whoever weighs the neighbours can measure what is left of it. Frames in 2D are doubled
first with a long filter, so that reading them linearly does not blur structure.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_denoisereg import device as devices
from napari_denoisereg.geometry import Grid, PerFrame, Transform, sample, smooth
from napari_denoisereg.geometry.sampling import inside
from napari_denoisereg.noise import NoiseModel, repair
from napari_denoisereg.stack import Stack

COARSE = 4.0  # voxels: where motion is worked out
HALFWAY = (3 / 256, -25 / 256, 150 / 256)
"""Six-tap filter that reads halfway between pixels: its outermost, next and inner weights."""


@dataclass(frozen=True)
class Neighbourhood:
    """Frames seen from one of them.

    Parameters
    ----------
    frames, noise : Tensor
        ``(K, *spatial)``: intensities, and white noise treated like theirs.
    covered : Tensor
        ``(K, *spatial)``, 1 where the frame was imaged, else 0.
    own : int
        Which of them is the frame itself.
    """

    frames: Tensor
    noise: Tensor
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
        self._stack, self._motion, self._noise = stack, motion, noise
        self._reach, self._seed, self._device = reach, seed, device
        self._coarse = stack.grid.coarser(COARSE)
        whole = Grid(stack.grid.shape).points(device)
        self._places, self._coarse_places = whole, Grid(stack.grid.shape).coarser(COARSE).to_index(whole)[None]
        self._kept: dict[int, Tensor] = {}

    def around(self, frame: int) -> Neighbourhood:
        """The neighbourhood of a frame.

        Parameters
        ----------
        frame : int
            Which; ask in ascending order.

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
        seen, covered = [], []
        back = None if self._motion is None else _inverse(self._motion[frame], self._coarse)
        for number in near:
            both = self._read(number)
            if number == frame or back is None or self._motion is None:
                seen.append(self._undoubled(both))
                covered.append(torch.ones_like(seen[-1][0]))
                continue
            index = self._index(back.then(self._motion[number]))
            covered.append(inside(index[None], self._stack.grid.shape)[0].float())
            seen.append(self._at(both, torch.nan_to_num(index)))
        images, noises = torch.stack(seen).unbind(1)
        return Neighbourhood(images, noises, torch.stack(covered), frame - near.start)

    def _read(self, number: int) -> Tensor:
        """A frame without hot pixels and white noise of its strength, ``(2, *spatial)``, 2D ones doubled."""
        if number not in self._kept:
            frame = repair(self._stack.tensor([number])[0], self._noise).to(self._device)
            strength = self._noise.variance(smooth(frame[None, None], 3.0)[0, 0]).sqrt()
            white = torch.randn(frame.shape, generator=devices.generator(self._seed + number)).to(frame)
            both = torch.stack([frame, white * strength])
            self._kept[number] = _doubled(both) if self._is_doubled else both
        return self._kept[number]

    @property
    def _is_doubled(self) -> bool:
        return self._stack.grid.ndim == 2 and self._motion is not None

    def _undoubled(self, images: Tensor) -> Tensor:
        return images[:, ::2, ::2] if self._is_doubled else images

    def _at(self, images: Tensor, index: Tensor) -> Tensor:
        return sample(images[None], (2 * index if self._is_doubled else index)[None])[0]

    def _index(self, transform: Transform) -> Tensor:
        """Where the voxels of the frame are found in another frame, ``(D, *spatial)``, voxels."""
        steps = torch.tensor(self._stack.grid.spacing, device=self._device).reshape(-1, *(1,) * self._stack.grid.ndim)
        field = transform.displacement(self._coarse, self._device) / steps
        return self._places + sample(field[None], self._coarse_places)[0]


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
