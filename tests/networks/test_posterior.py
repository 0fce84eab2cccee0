"""The voxel's own value counts as much as the noise allows."""

import math

import pytest
import torch
from torch import Tensor

from napari_denoisereg.networks.blind_spot_unet import TiledNetwork
from napari_denoisereg.networks.posterior import PosteriorMean, negative_log_likelihood


class Constant(TiledNetwork):
    """Says the same of every voxel."""

    ndim, stride, halo = 2, 8, 16

    def __init__(self, mean: float, variance: float) -> None:
        super().__init__()
        self.said = torch.tensor([mean, math.log(variance)])

    def forward(self, image: Tensor) -> Tensor:
        """Mean and logarithm of the variance."""
        return self.said[None, :, None, None].expand(image.shape[0], 2, *image.shape[2:])


def test_the_likelihood_is_that_of_a_normal_distribution() -> None:
    noisy = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    predicted = Constant(0.3, 2.0)(noisy)
    expected = -torch.distributions.Normal(0.3, math.sqrt(2.0)).log_prob(noisy).mean() - 0.5 * math.log(2 * math.pi)
    assert float(negative_log_likelihood(predicted, noisy, torch.ones_like(noisy) > 0)) == pytest.approx(float(expected))


def test_only_hidden_voxels_count() -> None:
    noisy, mask = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    mask[0, 0, 2, 3] = True
    other = torch.where(mask, noisy, 50.0)
    predicted = Constant(1.0, 1.0)(noisy)
    assert float(negative_log_likelihood(predicted, other, mask)) == pytest.approx(0.5)


@pytest.mark.parametrize(("variance", "share"), [(1.0, 0.0), (2.0, 0.5), (4.0, 0.75), (0.5, 0.0)])
def test_the_share_of_the_voxel_itself(variance: float, share: float) -> None:
    """Noise has variance 1: what the network's exceeds it by is structure that only the voxel knows."""
    image = torch.full((1, 1, 8, 8), 5.0)
    result = PosteriorMean(Constant(1.0, variance), gain=0.0, base=1.0, floor=0.1)(image)
    torch.testing.assert_close(result, torch.full_like(result, 1.0 + 4.0 * share))


def test_brighter_is_noisier() -> None:
    image = torch.zeros(1, 1, 8, 8)
    faint, bright = (PosteriorMean(Constant(mean, 4.0), 1.0, 1.0, 0.1)(image) / mean for mean in (0.5, 2.0))
    assert float(faint.mean()) == pytest.approx(1.5 / 4)
    assert float(bright.mean()) == pytest.approx(3.0 / 4)


def test_without_knowing_the_noise_nothing_is_taken_from_the_voxel() -> None:
    result = PosteriorMean(Constant(1.0, 4.0), 0.0, 0.0, math.inf)(torch.full((1, 1, 8, 8), 5.0))
    torch.testing.assert_close(result, torch.ones(1, 1, 8, 8))
