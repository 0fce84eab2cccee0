"""How much each neighbour counts in a fusion, and how much of the average is structure. The idea: `fusion`.

All in cosine patches, per band of like fineness and per place. How strong the noise of a neighbour is there is measured on
white noise that went the same way.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_denoisereg.denoise.cosine_patches import CosinePatches
from napari_denoisereg.denoise.neighbours import Neighbourhood

CAUTION = 1.3
"""The noise left is counted so much stronger than the weights say, since they were chosen on the same noise."""
ALONE = 0.3
"""The same, where a frame stands alone; measured on single frames: 30.0 dB with it, 28.5 without."""
LOCAL = 48  # voxels: noise is alike over so much
NEVER = 1e12  # misfit, in variances of the noise, of what was not imaged


class Weighing:
    """Fuses neighbourhoods of one shape.

    Parameters
    ----------
    shape : sequence of int
        Spatial shape of the frames.
    side, step : int
        Of the patches, voxels.
    strength : float
        How much of the noise to take away.
    device : torch.device
        Where to compute.
    """

    def __init__(self, shape: Sequence[int], side: int, step: int, strength: float, device: torch.device | str = "cpu") -> None:
        self._patches = CosinePatches(shape, side, step, device)
        self._sparse = CosinePatches(shape, side, side, device)
        self._strength = strength
        self._per_side = max(1, round(side / step))
        self._nearest = [
            (torch.arange(many) * ((few - 1) / max(1, many - 1))).round().long().to(device)
            for many, few in zip(self._patches.counts, self._sparse.counts, strict=True)
        ]
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
        waves, noises, own = self._patches.split(near.frames), self._sparse.split(near.noise), near.own
        gains = _gains(waves[0], own)
        level = mean_around(waves[0], self._per_side)
        waves[0] -= level
        waves *= gains
        missing = self._missing(near)
        result = torch.empty_like(waves[:, :1])
        for band in self._patches.band:
            noise = self._noise_variance((noises[band] * gains) ** 2)
            few = waves[band]
            weights, left = self._weights(few, noise, missing, own)
            fused = (weights * few).sum(1, keepdim=True)
            # Where no neighbour fits, what looks like structure is more often noise.
            result[band] = fused * self._share_of_structure(fused, left * (1 + ALONE * left / noise[own]))
        result[0] += level[own]
        fused = self._patches.join(result)[0]
        # Noise has mean 0: the frame's own mean is the right one, and total intensity is kept.
        return fused + (near.frames[own].mean() - fused.mean())

    def _weights(self, waves: Tensor, noise: Tensor, missing: Tensor | None, own: int) -> tuple[Tensor, Tensor]:
        """Weights of the neighbours ``(K, *counts)``, summing to 1, and the variance of the noise left ``(*counts)``."""
        others = tuple(range(1, waves.ndim - 1))
        both = noise + noise[own]
        apart = ((waves - waves[:, own : own + 1]) ** 2).mean(0) - both
        # In the whole frame: how unlike a neighbour is for each unit of structure; by far less noisy than place by place.
        overall = apart.mean(others, keepdim=True).clamp(min=0)
        energy = (waves**2).mean(0) - noise
        unit = torch.maximum(energy.mean(), 1e-3 * noise.mean())
        structure = mean_around(energy.mean(0, keepdim=True), self._per_side).clamp(min=0)
        misfit = torch.maximum(overall * structure / unit, mean_around(apart, max(1, self._per_side // 4)))
        if missing is not None:
            misfit = misfit + NEVER * missing * noise
        misfit[own] = 0
        # The share of the structure that both have: a frame that has nothing in common says nothing, however often it is asked.
        shared = (1 - overall / (2 * unit)).clamp(0, 1)
        shared[own] = 1
        precision = shared / (noise + misfit)
        left = 1 / (shared * precision).sum(0)
        return precision * left, left

    def _share_of_structure(self, fused: Tensor, left: Tensor) -> Tensor:
        """Wiener's ``s / (s + v)``, ``(1, *counts)``."""
        left = self._strength * left
        structure = mean_around((fused**2).mean(0), 1)[0] - CAUTION * left
        structure = structure.clamp(min=0)
        return structure / (structure + left).clamp(min=1e-30)

    def _noise_variance(self, squared: Tensor) -> Tensor:
        """Mean of squared noise waves around every patch ``(K, *counts)``."""
        variance = mean_around(squared.mean(0), self._noise_radius)
        for axis, nearest in enumerate(self._nearest):
            variance = variance.index_select(1 + axis, nearest)
        return variance.clamp(min=1e-30)

    def _missing(self, near: Neighbourhood) -> Tensor | None:
        """Patches that a neighbour did not image as a whole, 1 where so ``(K, *counts)``; None where all did."""
        if bool((near.covered > 0).all()):
            return None
        lowest = self._patches.cut(near.covered).flatten(1 + len(self._patches.shape)).amin(-1)
        return 1 - lowest


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


def _gains(means: Tensor, own: int) -> Tensor:
    """What brings each neighbour to the contrast of the frame (bleaching), ``(K, 1, ...)``; patch means hardly show noise."""
    spread = means.flatten(1).std(1) if means[0].numel() > 1 else torch.ones(len(means), device=means.device)
    gains = (spread[own] / spread.clamp(min=1e-30)).clamp(0.5, 2)
    return gains.reshape(-1, *(1,) * (means.ndim - 1))
