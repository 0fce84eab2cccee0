"""Overlapping patches as cosine waves: where noise spreads evenly and structure gathers in few, slow ones.

Patches start every half (or quarter) patch, the last one at the border, so that nothing is padded. The discrete cosine
transform is orthonormal: noise keeps its variance. Waves are grouped in *bands* of like
fineness, as if structure had no direction.

References
----------
Yu and Sapiro 2011, doi:10.5201/ipol.2011.ys-dct (denoising by cosine patches).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

EDGES = (0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.75, 4.75, 5.75, 6.75)
"""Borders of the bands, half waves per 8 voxels; the finest band is wide, since few waves would be mistaken for structure."""


class CosinePatches:
    """Takes frames apart into cosine patches and puts them together again.

    Parameters
    ----------
    shape : sequence of int
        Spatial shape of the frames.
    side : int
        Side of a patch, voxels; axes shorter than that are one patch long.
    step : int
        From patch to patch, voxels.
    device : torch.device
        Where to compute.
    """

    def __init__(self, shape: Sequence[int], side: int, step: int, device: torch.device | str = "cpu") -> None:
        self.shape = tuple(shape)
        self._step = step
        self.sides = tuple(min(side, length) for length in shape)
        self._places, self._waves, self._window = [], [], []
        for length, own in zip(self.shape, self.sides, strict=True):
            starts = [*range(0, length - own, step), length - own]
            self._places.append((torch.tensor(starts)[:, None] + torch.arange(own)).to(device))
            self._waves.append(cosines(own).to(device))
            self._window.append(torch.hann_window(own + 2, periodic=False)[1:-1].to(device))
        self.band = self._bands(device)
        self._cover = self._added(torch.ones(1, *self.counts, *self.sides, device=device))

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of patches along each axis."""
        return tuple(len(places) for places in self._places)

    @property
    def overlap(self) -> float:
        """How many patches a voxel is in, on average."""
        return math.prod(n * side / length for n, side, length in zip(self.counts, self.sides, self.shape, strict=True))

    def split(self, frames: Tensor) -> Tensor:
        """Cosine waves of every patch.

        Parameters
        ----------
        frames : Tensor
            ``(K, *shape)``.

        Returns
        -------
        Tensor
            ``(waves, K, *counts)``: wave 0 is the mean times the root of the patch's size.
        """
        patches = self.cut(frames)
        ndim = len(self.shape)
        for axis, waves in enumerate(self._waves):
            place = 1 + ndim + axis
            patches = (patches.movedim(place, -1) @ waves.T).movedim(-1, place)
        return patches.flatten(1 + ndim).movedim(-1, 0)

    def join(self, waves: Tensor) -> Tensor:
        """Frames from cosine waves; overlapping patches are averaged, their middle counts most.

        Parameters
        ----------
        waves : Tensor
            ``(waves, K, *counts)``.

        Returns
        -------
        Tensor
            ``(K, *shape)``.
        """
        ndim = len(self.shape)
        patches = waves.movedim(0, -1).unflatten(-1, self.sides)
        for axis, cosines in enumerate(self._waves):
            place = 1 + ndim + axis
            patches = (patches.movedim(place, -1) @ cosines).movedim(-1, place)
        return self._added(patches) / self._cover

    def cut(self, frames: Tensor) -> Tensor:
        """Patches as they are.

        Parameters
        ----------
        frames : Tensor
            ``(K, *shape)``.

        Returns
        -------
        Tensor
            ``(K, *counts, *sides)``.
        """
        for axis, (length, side) in enumerate(zip(self.shape, self.sides, strict=True)):
            # Axes before this one are counts already, their sides stand at the end.
            place = 1 + axis
            regular = frames.narrow(place, 0, length - 1).unfold(place, side, self._step) if length > side else None
            last = frames.narrow(place, length - side, side).movedim(place, -1).unsqueeze(place)
            frames = last if regular is None else torch.cat([regular, last], dim=place)
        return frames

    def _added(self, patches: Tensor) -> Tensor:
        """Windowed patches ``(K, *counts, *sides)`` added up where they belong."""
        ndim = len(self.shape)
        for axis in range(ndim):
            # This axis's count stands at 1 + axis (axes before are whole again), its side at the first place after the counts.
            side = 1 + ndim
            weighted = patches.movedim(side, -1) * self._window[axis]
            weighted = weighted.movedim(1 + axis, -2)
            whole = weighted.new_zeros(*weighted.shape[:-2], self.shape[axis])
            whole.index_add_(-1, self._places[axis].flatten(), weighted.flatten(-2))
            patches = whole.movedim(-1, 1 + axis)
        return patches

    def _bands(self, device: torch.device | str) -> list[Tensor]:
        waves = torch.meshgrid(*(8 / side * torch.arange(side) for side in self.sides), indexing="ij")
        fineness = torch.stack(waves).norm(dim=0).flatten()
        numbers = torch.bucketize(fineness, torch.tensor(EDGES))
        return [torch.nonzero(numbers == number)[:, 0].to(device) for number in numbers.unique()]


def cosines(side: int) -> Tensor:
    """The orthonormal cosine transform (DCT-II).

    Parameters
    ----------
    side : int
        Number of voxels, and of waves.

    Returns
    -------
    Tensor
        ``(waves, voxels)``; wave 0 is constant.
    """
    number = torch.arange(side, dtype=torch.float64)
    waves = torch.cos(math.pi * (number + 0.5) * number[:, None] / side) * math.sqrt(2 / side)
    waves[0] /= math.sqrt(2)
    return waves.float()
