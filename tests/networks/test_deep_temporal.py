"""The video network: the filter of the paper, and that the middle frame has no influence."""

import pytest
import torch

from napari_denoisereg.networks.deep_temporal import DeepTemporalNet, FrameFeatures, temporal_weights


@pytest.mark.parametrize(
    ("reach", "expected"), [(1, [1, 0, 1]), (2, [1, 0.5, 0, 0.5, 1]), (4, [1, 0.75, 0.5, 0.25, 0, 0.25, 0.5, 0.75, 1])]
)
def test_weights_are_those_of_the_paper(reach: int, expected: list[float]) -> None:
    assert temporal_weights(reach).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_middle_frame_has_no_influence_and_all_others_have(ndim: int, generator: torch.Generator) -> None:
    network = DeepTemporalNet(ndim, reach=2, features=4).eval()
    clip = torch.randn(1, 5, *(8,) * ndim, generator=generator)
    before = network(clip)
    assert before.shape == (1, 1, *(8,) * ndim)
    for frame in range(5):
        changed = clip.clone()
        changed[:, frame] += 1
        assert torch.equal(network(changed), before) == (frame == 2)


def test_features_of_a_frame_come_from_that_frame(generator: torch.Generator) -> None:
    features = FrameFeatures(2, frames=3, features=4)
    clip = torch.randn(1, 3, 8, 8, generator=generator)
    changed = clip.clone()
    changed[:, 1] += 1
    same = (features(clip) == features(changed)).reshape(3, 4, 8, 8).all(dim=(1, 2, 3))
    assert same.tolist() == [True, False, True]


def test_unet_has_three_encoder_and_two_decoder_levels() -> None:
    denoiser = DeepTemporalNet(2, reach=1, features=4).denoiser
    assert (len(denoiser.encoder), len(denoiser.decoder)) == (3, 2)


def test_nothing_beyond_the_halo_matters(generator: torch.Generator) -> None:
    network = DeepTemporalNet(2, reach=1, features=2).eval()
    clip = torch.randn(1, 3, 8, 160, generator=generator)
    changed = clip.clone()
    changed[..., network.halo + 8 :] += 1
    difference = (network(changed) - network(clip)).abs().amax(dim=(0, 1, 2))
    assert float(difference[:8].detach().max()) == 0
    assert float(difference.detach().max()) > 0
