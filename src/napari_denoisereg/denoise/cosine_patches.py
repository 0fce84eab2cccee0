"""Overlapping patches as cosine waves: where noise spreads evenly and structure gathers in few, slow ones.

Patches start every half (or quarter) patch, the last one at the border, so that nothing is padded. The discrete cosine
transform is orthonormal: noise keeps its variance. Waves are grouped in *bands* of like
fineness, as if structure had no direction.

References
----------
Yu and Sapiro 2011, doi:10.5201/ipol.2011.ys-dct (denoising by cosine patches).
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
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
        self._members = F.one_hot(self._bands(device)).float()  # (waves, bands)
        self._cover = self._added(torch.ones(1, *self.counts, *self.sides, device=device))

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of patches along each axis."""
        return tuple(len(places) for places in self._places)

    @property
    def unit(self) -> float:
        """Wave 0 of a patch of ones."""
        return math.sqrt(math.prod(self.sides))

    def split(self, frames: Tensor, rows: slice = slice(None)) -> Tensor:
        """Cosine waves of every patch.

        Parameters
        ----------
        frames : Tensor
            ``(K, *shape)``.
        rows : slice
            Which patches along the first axis; few at a time stay in the processor's cache.

        Returns
        -------
        Tensor
            ``(K, *counts, waves)``: wave 0 is the mean times ``unit``.
        """
        for axis, (places, waves) in enumerate(zip(self._places, self._waves, strict=True)):
            # Axes before this one are counts already, their waves stand at the end.
            each, place = places[rows] if axis == 0 else places, 1 + axis
            patches = frames.index_select(place, each.flatten()).unflatten(place, each.shape)
            frames = patches.movedim(place + 1, -1) @ waves.T
        return frames.flatten(1 + len(self.shape))

    def means(self, frames: Tensor) -> Tensor:
        """Mean of every patch.

        Parameters
        ----------
        frames : Tensor
            ``(K, *shape)``.

        Returns
        -------
        Tensor
            ``(K, *counts)``.
        """
        return self._over(frames, lambda patches, axis: patches.mean(axis))

    def lowest(self, frames: Tensor) -> Tensor:
        """Smallest value of every patch.

        Parameters
        ----------
        frames : Tensor
            ``(K, *shape)``.

        Returns
        -------
        Tensor
            ``(K, *counts)``.
        """
        return self._over(frames, lambda patches, axis: patches.amin(axis))

    def power(self, waves: Tensor) -> Tensor:
        """Mean square of the waves of each band.

        Parameters
        ----------
        waves : Tensor
            ``(..., waves)``.

        Returns
        -------
        Tensor
            ``(..., bands)``.
        """
        return waves.square() @ (self._members / self._members.sum(0))

    def spread(self, values: Tensor) -> Tensor:
        """The value of its band for every wave.

        Parameters
        ----------
        values : Tensor
            ``(..., bands)``.

        Returns
        -------
        Tensor
            ``(..., waves)``.
        """
        return values @ self._members.T  # by far faster than looking them up

    def join(self, waves: Tensor) -> Tensor:
        """Frames from cosine waves; overlapping patches are averaged, their middle counts most.

        Parameters
        ----------
        waves : Tensor
            ``(K, *counts, waves)``.

        Returns
        -------
        Tensor
            ``(K, *shape)``.
        """
        ndim = len(self.shape)
        patches = waves.unflatten(-1, self.sides)
        for axis, cosines in enumerate(self._waves):
            place = 1 + ndim + axis
            patches = (patches.movedim(place, -1) @ cosines).movedim(-1, place)
        return self._added(patches) / self._cover

    def _over(self, frames: Tensor, reduced: Callable[[Tensor, int], Tensor]) -> Tensor:
        for axis, places in enumerate(self._places):
            frames = reduced(frames.index_select(1 + axis, places.flatten()).unflatten(1 + axis, places.shape), 2 + axis)
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

    def _bands(self, device: torch.device | str) -> Tensor:
        """Which band every wave is in, ``(waves,)``."""
        waves = torch.meshgrid(*(8 / side * torch.arange(side) for side in self.sides), indexing="ij")
        fineness = torch.stack(waves).norm(dim=0).flatten()
        return torch.bucketize(fineness, torch.tensor(EDGES)).unique(return_inverse=True)[1].to(device)


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
