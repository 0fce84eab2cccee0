"""The network for small data: weights and sampling as the paper writes them, blindness, fusion along the flow."""

import math

import pytest
import torch

from napari_denoisereg.networks.deep_temporal import temporal_weights
from napari_denoisereg.networks.small_data import (
    GuidedFusionNet,
    SmallDataNet,
    initial_weight,
    joined,
    sample_neighbours,
    sampling_weights,
    voxels,
)


def test_initial_weight_is_nothing_for_still_movies_and_a_fifth_for_fast_ones() -> None:
    weights = initial_weight(torch.tensor([0.0, 2.0, 1e6]), 0.5)
    assert weights.tolist() == pytest.approx([0, 0.2 * (1 - math.exp(-1)), 0.2])


def test_weights_are_the_formula_of_the_paper() -> None:
    weights = sampling_weights(2, torch.tensor([0.0, 0.1]), 2.0)
    assert weights[0].tolist() == pytest.approx([1, 0.75, 0, 0.75, 1])
    assert weights[1].tolist() == pytest.approx([1, 0.1 + 0.9 * 0.75, 0.1, 0.1 + 0.9 * 0.75, 1])


def test_with_power_one_the_weights_are_those_of_umvd() -> None:
    assert torch.allclose(sampling_weights(3, torch.zeros(1), 1.0)[0], temporal_weights(3).float())


def test_near_neighbours_are_chosen_more_often_by_their_distance(generator: torch.Generator) -> None:
    places = voxels((200, 200))  # each voxel's features say where it is
    moved = sample_neighbours(places, share=0.5, radius=1, decay=1.0, generator=generator) - places
    distance = moved.abs().sum(1)[:, 5:-5, 5:-5]
    assert float((distance > 0).float().mean()) == pytest.approx(0.5, abs=0.01)
    near, diagonal = (float((distance == d).float().sum()) for d in (1, 2))  # four neighbours each
    assert near / diagonal == pytest.approx(math.e, rel=0.1)
    assert float(distance.max()) == 2


def test_nothing_is_sampled_with_share_zero(generator: torch.Generator) -> None:
    places = voxels((8, 8, 8))
    assert torch.equal(sample_neighbours(places, share=0.0, radius=1, decay=1.0, generator=generator), places)


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_middle_frame_has_no_influence_in_the_end(ndim: int, generator: torch.Generator) -> None:
    network = GuidedFusionNet(ndim, reach=2, features=4, power=2.0).eval()
    clip = torch.randn(1, 5, *(8,) * ndim, generator=generator)
    flows = torch.randn(1, 4, ndim, *(8,) * ndim, generator=generator)
    with torch.inference_mode():
        before = network(joined(clip, flows))
        for frame in range(5):
            changed = clip.clone()
            changed[:, frame] += 1
            assert torch.equal(network(joined(changed, flows)), before) == (frame == 2)
    assert before.shape == (1, 1, *(8,) * ndim)


def test_clip_and_flows_come_apart_as_they_were_joined(generator: torch.Generator) -> None:
    clip, flows = torch.randn(2, 3, 8, 8, generator=generator), torch.randn(2, 2, 2, 8, 8, generator=generator)
    back = GuidedFusionNet(2, reach=1, features=2, power=1.0).parted(joined(clip, flows))
    assert torch.equal(back[0], clip)
    assert torch.equal(back[1], flows)


def test_features_are_averaged_where_the_flow_finds_them(generator: torch.Generator) -> None:
    """Neighbours shifted by two voxels, and flows that say so: the average is that of unshifted ones without flow."""
    network = GuidedFusionNet(2, reach=1, features=3, power=1.0)
    network.candidate[-1].weight.data.zero_()
    network.candidate[-1].bias.data.zero_()  # no correction: what is left is the mean of the warped features
    features = torch.randn(1, 3, 3, 16, 16, generator=generator)
    still = network.fused(features.flatten(1, 2), torch.zeros(1, 2, 2, 16, 16))
    flows = torch.zeros(1, 2, 2, 16, 16)
    flows[:, :, 1] = 2.0
    moved = network.fused(features.roll(2, dims=-1).flatten(1, 2), flows)
    assert torch.allclose(moved[..., :13], still[..., :13], atol=1e-5)
    assert torch.allclose(still, (features[:, 0] + features[:, 2]) / 2, atol=1e-6)


def test_the_teacher_is_an_earlier_pupil_that_never_learns(generator: torch.Generator) -> None:
    networks = SmallDataNet(2, reach=1, features=2, power=1.0).train()
    assert not networks.teacher.training
    image = torch.randn(1, 3 + 4, 8, 8, generator=generator)
    networks.pupil(image).square().mean().backward()
    assert all(weight.grad is None for weight in networks.teacher.parameters())
    with torch.no_grad():
        for weight in networks.pupil.parameters():
            weight.add_(0.1)
    networks.teach(1)
    assert bool(networks.taught)
    assert int(networks.round) == 1
    networks.eval()
    with torch.inference_mode():
        assert torch.equal(networks.teacher(image), networks.pupil(image))
