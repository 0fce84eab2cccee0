"""How much each neighbour counts in a fusion, and how much of the average is structure. The idea: `fusion`.

All in cosine patches, per band of like fineness and per place. How strong the noise of a neighbour is there is measured on
white noise that went the same way.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_denoisereg.denoise.cosine_patches import CosinePatches
from napari_denoisereg.denoise.neighbours import Neighbourhood
from napari_denoisereg.noise import NoiseModel

CAUTION = 1.3
"""The noise left is counted so much stronger than the weights say, since they were chosen on the same noise."""
ALONE = 0.3
"""The same, where a frame stands alone; measured on single frames: 30.0 dB with it, 28.5 without."""
ALIKE = 2.0
"""Misfits count so many times: neighbours that drift apart from the frame, do so together. Measured on generated movies:
+0.3 dB, first frames +0.5."""
LOCAL = 48  # voxels: noise is alike over so much
TOGETHER = 128  # patches per neighbour that are worked on at a time: as many as stay in the processor's cache
NEVER = 1e12  # misfit, in variances of the noise, of what was not imaged


class Weighing:
    """Fuses neighbourhoods of one shape.

    Parameters
    ----------
    shape : sequence of int
        Spatial shape of the frames.
    side, step : int
        Of the patches, voxels.
    noise : NoiseModel
        Of the movie.
    strength : float
        How much of it to take away.
    device : torch.device
        Where to compute.
    """

    def __init__(
        self,
        shape: Sequence[int],
        side: int,
        step: int,
        noise: NoiseModel,
        *,
        strength: float = 1.0,
        device: torch.device | str = "cpu",
    ) -> None:
        self._patches = CosinePatches(shape, side, step, device)
        self._sparse = CosinePatches(shape, side, side, device)
        self._noise, self._strength = noise, strength
        self._per_side = max(1, round(side / step))
        self._nearest = [
            (torch.arange(many) * ((few - 1) / max(1, many - 1))).round().long().to(device)
            for many, few in zip(self._patches.counts, self._sparse.counts, strict=True)
        ]
        self._rows = max(1, TOGETHER // math.prod(self._patches.counts[1:]))
        self._noise_radius = max(1, LOCAL // side // 2)

    def fuse(self, near: Neighbourhood) -> Tensor:
        """Denoise one frame.

        Parameters
        ----------
        near : Neighbourhood
            The frame and its neighbours.

        Returns
        -------
        Tensor
            ``(*spatial)``.
        """
        own, patches = near.own, self._patches
        means = patches.means(near.frames)
        gains = _gains(means, own)
        level = mean_around(means, self._per_side) * patches.unit
        imaged = patches.lowest(near.covered)
        noise = self._strength_of_noise(near, means, imaged) * gains.square()
        waves, energy, apart = self._waves(near.frames, level, gains, own)
        energy, apart = energy - noise, apart - (noise + noise[:, own : own + 1])
        weights, left = self._weights(energy, apart, noise, imaged, own)
        portions = zip(weights.movedim(0, -1).split(self._rows, 1), waves, strict=True)
        result = torch.cat([(patches.spread(weight) * few).sum(0) for weight, few in portions])
        # Where no neighbour fits, what looks like structure is more often noise.
        share = self._share_of_structure(patches.power(result).movedim(-1, 0), left * (1 + ALONE * left / noise[:, own]))
        result *= patches.spread(share.movedim(0, -1))
        result[..., 0] += level[own]
        fused = patches.join(result[None])[0]
        # Noise has mean 0: the frame's own mean is the right one, and total intensity is kept.
        return fused + (near.frames[own].mean() - fused.mean())

    def _waves(self, frames: Tensor, level: Tensor, gains: Tensor, own: int) -> tuple[list[Tensor], Tensor, Tensor]:
        """Waves of the neighbours at the frame's contrast, some rows of patches each ``(K, rows, ..., waves)``.

        And their mean square, and that of their difference to the frame's: per band, ``(bands, K, *counts)``.
        """
        patches, kept = self._patches, []
        energy, apart = [], []
        for first in range(0, patches.counts[0], self._rows):
            few = slice(first, first + self._rows)
            waves = patches.split(frames, few)
            waves[..., 0] -= level[:, few]
            waves *= gains[..., None]
            kept.append(waves)
            energy.append(patches.power(waves))
            apart.append(patches.power(waves - waves[own]))
        return kept, torch.cat(energy, 1).movedim(-1, 0), torch.cat(apart, 1).movedim(-1, 0)

    def _weights(self, energy: Tensor, apart: Tensor, noise: Tensor, imaged: Tensor, own: int) -> tuple[Tensor, Tensor]:
        """Weights of the neighbours ``(bands, K, *counts)``, summing to 1, and the variance of the noise left.

        ``energy`` of the structure, what sets neighbours ``apart`` and ``noise`` are of the same shape, squared intensities.
        """
        counts = tuple(range(2, energy.ndim))
        # In the whole frame: how unlike a neighbour is for each unit of structure; by far less noisy than place by place.
        overall = apart.mean(counts, keepdim=True).clamp(min=0)
        unit = torch.maximum(energy.mean((1, *counts), keepdim=True), 1e-3 * noise.mean((1, *counts), keepdim=True))
        structure = mean_around(energy.mean(1), self._per_side).clamp(min=0)[:, None]
        nearby = mean_around(apart.flatten(0, 1), max(1, self._per_side // 4)).unflatten(0, apart.shape[:2])
        misfit = torch.maximum(overall * structure / unit, nearby)
        misfit = misfit + NEVER * (1 - imaged) * noise
        misfit[:, own] = 0
        # The share of the structure that both have: a frame that has nothing in common says nothing, however often it is asked.
        shared = (1 - overall / (2 * unit)).clamp(0, 1)
        shared[:, own] = 1
        precision = shared / (noise + ALIKE * misfit)
        left = 1 / (shared * precision).sum(1)
        return precision * left[:, None], left

    def _share_of_structure(self, power: Tensor, left: Tensor) -> Tensor:
        """Wiener's ``s / (s + v)``, ``(bands, *counts)``, from the mean square of what was fused."""
        left = self._strength * left
        structure = mean_around(power - CAUTION * left, max(1, self._per_side // 2)).clamp(min=0)
        return structure / (structure + left).clamp(min=1e-30)

    def _strength_of_noise(self, near: Neighbourhood, means: Tensor, imaged: Tensor) -> Tensor:
        """Variance of the noise of every patch, ``(bands, K, *counts)``: of white noise around it, at its brightness."""
        white = self._sparse.power(self._sparse.split(near.white)).movedim(-1, 0)
        variance = _mean_of_imaged(white, self._sparse.lowest(near.covered), self._noise_radius, near.own)
        for axis, nearest in enumerate(self._nearest):
            variance = variance.index_select(2 + axis, nearest)
        brightness = _mean_of_imaged(means[None], imaged, max(1, self._per_side // 2), near.own)
        return variance * self._noise.variance(brightness)


def mean_around(values: Tensor, radius: int) -> Tensor:
    """Mean over the patches around every patch.

    Parameters
    ----------
    values : Tensor
        ``(K, *counts)``.
    radius : int
        Patches to each side; fewer where there are not as many.

    Returns
    -------
    Tensor
        Same shape; at borders over fewer patches.
    """
    pool = {2: F.avg_pool2d, 3: F.avg_pool3d}[values.ndim - 1]
    each = [min(radius, (count - 1) // 2) for count in values.shape[1:]]
    return pool(values[None], [2 * reach + 1 for reach in each], 1, each, count_include_pad=False)[0]


def _mean_of_imaged(values: Tensor, imaged: Tensor, radius: int, own: int) -> Tensor:
    """`mean_around` of ``(N, K, *counts)`` over the patches that were imaged; as in the frame itself where none was."""
    sums = mean_around((values * imaged).flatten(0, 1), radius).unflatten(0, values.shape[:2])
    share = mean_around(imaged, radius)
    return torch.where(share > 0, sums / share, sums[:, own, None])


def _gains(means: Tensor, own: int) -> Tensor:
    """What brings each neighbour to the contrast of the frame (bleaching), ``(K, 1, ...)``; patch means hardly show noise."""
    spread = means.flatten(1).std(1) if means[0].numel() > 1 else torch.ones(len(means), device=means.device)
    gains = (spread[own] / spread.clamp(min=1e-30)).clamp(0.5, 2)
    return gains.reshape(-1, *(1,) * (means.ndim - 1))
