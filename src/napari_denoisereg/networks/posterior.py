"""What is known of a voxel from its surroundings, and what the voxel itself adds.

A network with two outputs tells what its surroundings say of a voxel: a mean and the variance of the *noisy* value around it,
learnt by the negative log likelihood. The variance is that of the noise, which is known (`noise.NoiseModel`), plus that of the
structure that the surroundings do not tell. The voxel's own noisy value is then one more measurement: the posterior mean of
both takes of it the share ``structure / (structure + noise)``. Where the surroundings tell all, that is nothing.

References
----------
Laine et al. 2019, arXiv:1901.10277. Prakash et al. 2020, doi:10.1109/ISBI45749.2020.9098612.
"""

import torch
from torch import Tensor

from napari_denoisereg.networks.blind_spot_unet import TiledNetwork

STEEPEST = 10.0
"""Bound of the logarithm of variances; of standardised images they are far inside."""


def negative_log_likelihood(predicted: Tensor, noisy: Tensor, mask: Tensor) -> Tensor:
    """Of noisy values under normal distributions, mean over the hidden voxels, without the constant.

    Parameters
    ----------
    predicted : Tensor
        ``(B, 2, *spatial)``: mean and logarithm of the variance.
    noisy : Tensor
        ``(B, 1, *spatial)``.
    mask : Tensor
        Same shape, bool.

    Returns
    -------
    Tensor
        A scalar, ``½ (log v + (y - μ)² / v)``.
    """
    mean, logarithm = _parts(predicted)
    each = 0.5 * (logarithm + (noisy - mean).square() * torch.exp(-logarithm))
    return (each * mask).sum() / mask.sum().clamp(min=1)


class PosteriorMean(TiledNetwork):
    """A network of two outputs that gives the posterior mean, ``(B, 1, *spatial)``.

    Parameters
    ----------
    network : TiledNetwork
        Gives mean and logarithm of the variance.
    gain, base, floor : float
        Noise has the variance ``max(gain * mean + base, floor)``, standardised. An infinite ``floor``: nothing is taken from
        the voxel itself.
    """

    def __init__(self, network: TiledNetwork, gain: float, base: float, floor: float) -> None:
        super().__init__()
        self.network = network
        self.ndim, self.centre = network.ndim, network.centre
        self._gain, self._base, self._floor = gain, base, floor

    @property
    def stride(self) -> int:
        """The network's."""
        return self.network.stride

    @property
    def halo(self) -> int:
        """The network's."""
        return self.network.halo

    def forward(self, image: Tensor) -> Tensor:
        """Denoise.

        Parameters
        ----------
        image : Tensor
            ``(B, 1, *spatial)``, standardised.

        Returns
        -------
        Tensor
            Same shape.
        """
        mean, logarithm = _parts(self.network(image).float())
        noise = (self._gain * mean + self._base).clamp(min=self._floor)
        structure = (logarithm.exp() - noise).clamp(min=0)
        return mean + structure / (structure + noise) * (image - mean)


def _parts(predicted: Tensor) -> tuple[Tensor, Tensor]:
    mean, logarithm = predicted.chunk(2, dim=1)
    return mean, logarithm.clamp(-STEEPEST, STEEPEST)
