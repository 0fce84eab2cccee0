"""Blind-spot training: the hidden voxel never shows through."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_denoisereg.geometry import Grid
from napari_denoisereg.networks.blind_spot import SETTLED, augment, blind_spot_loss, hide, quick_schedule, random_affine

SHAPES = {2: (2, 1, 24, 20), 3: (2, 1, 8, 10, 12)}


def numbered(ndim: int) -> torch.Tensor:
    """Every voxel has a value of its own."""
    shape = SHAPES[ndim]
    return torch.arange(float(torch.Size(shape).numel())).reshape(shape)


@settings(max_examples=20)
@given(st.sampled_from([2, 3]), st.integers(1, 4), st.floats(0.01, 0.5), st.integers(0, 1000))
def test_hidden_voxels_take_a_neighbours_value_never_their_own(ndim: int, radius: int, share: float, seed: int) -> None:
    image = numbered(ndim)
    hidden = hide(image, share=share, radius=radius, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(hidden.image[~hidden.mask], image[~hidden.mask])
    assert bool((hidden.image[hidden.mask] != image[hidden.mask]).all())
    taken = torch.stack(torch.unravel_index(hidden.image[hidden.mask].long(), image.shape), dim=1)
    own = hidden.mask.nonzero()
    assert torch.equal(taken[:, :2], own[:, :2])
    assert not len(own) or int((taken - own).abs().max()) <= radius


def test_every_neighbour_but_the_centre_is_taken_equally_often() -> None:
    image = torch.arange(2500.0).reshape(1, 1, 50, 50)
    random = torch.Generator().manual_seed(0)
    counts = torch.zeros(5, 5)
    for _ in range(20):
        hidden = hide(image, share=0.3, radius=2, generator=random)
        own = hidden.mask.nonzero()[:, 2:]
        inner = ((own > 2) & (own < 47)).all(dim=1)
        taken = torch.stack(torch.unravel_index(hidden.image[hidden.mask].long(), image.shape), dim=1)[:, 2:]
        for dy, dx in (taken - own)[inner].tolist():
            counts[dy + 2, dx + 2] += 1
    assert counts[2, 2] == 0
    others = counts[counts > 0]
    assert len(others) == 24
    assert float(others.min() / others.mean()) > 0.8
    assert float(others.max() / others.mean()) < 1.2


def test_the_share_hidden_is_the_one_asked_for(generator: torch.Generator) -> None:
    hidden = hide(torch.rand(4, 1, 64, 64), share=0.1, radius=2, generator=generator)
    assert float(hidden.mask.float().mean()) == pytest.approx(0.1, abs=0.01)


def test_hiding_does_not_touch_the_image(generator: torch.Generator) -> None:
    image = numbered(2)
    hide(image, share=0.5, radius=2, generator=generator)
    assert torch.equal(image, numbered(2))


def test_loss_counts_hidden_voxels_only() -> None:
    noisy, mask = torch.zeros(1, 1, 2, 2), torch.tensor([[[[True, False], [True, False]]]])
    predicted = torch.tensor([[[[1.0, 50.0], [3.0, 70.0]]]])
    assert float(blind_spot_loss(predicted, noisy, mask)) == pytest.approx(2.0)
    assert float(blind_spot_loss(noisy, noisy, mask)) == 0.0
    assert float(blind_spot_loss(predicted, noisy, torch.zeros_like(mask))) == 0.0


@pytest.mark.parametrize("ndim", [2, 3])
def test_augmentation_makes_no_new_values_and_happens_as_often_as_asked(ndim: int, generator: torch.Generator) -> None:
    image = numbered(ndim)[:1].repeat(40, *(1,) * (ndim + 1))
    moved = augment(image, probability=0.3, generator=generator)
    assert set(moved.flatten().tolist()) <= set(image.flatten().tolist())
    changed = [not torch.equal(one, other) for one, other in zip(moved, image, strict=True)]
    assert 3 <= sum(changed) <= 22
    assert augment(image, probability=0.0, generator=generator) is image


@pytest.mark.parametrize("ndim", [2, 3])
def test_random_affines_stay_within_their_ranges(ndim: int, generator: torch.Generator) -> None:
    grid = Grid((20, 40, 60)[-ndim:], (2.0, 1.0, 1.0)[-ndim:], (5.0, 6.0, 7.0)[-ndim:])
    weights = random_affine(200, grid, generator=generator)
    assert weights.shape == (200, ndim, ndim + 1)
    determinant = torch.linalg.det(weights[:, :, :-1])
    assert 0.6 < float(determinant.min()) < 0.95 < 1.05 < float(determinant.max()) < 1.5
    centre = torch.tensor(grid.centre)
    shift = ((weights[:, :, :-1] @ centre + weights[:, :, -1] - centre) / torch.tensor(grid.extent)).abs().amax(0)
    assert bool((shift <= 0.0501).all())
    still = random_affine(3, grid, generator=generator, strength=0.0)
    torch.testing.assert_close(still, torch.eye(ndim, ndim + 1).expand_as(still), atol=1e-5, rtol=0)


def test_padding_is_never_hidden() -> None:
    """Volumes with few planes are filled up with zeros, which teach nothing."""
    volume = torch.zeros(1, 1, 8, 16, 16)
    volume[:, :, :2] = torch.rand(1, 1, 2, 16, 16, generator=torch.Generator().manual_seed(0)) + 1
    hidden = hide(volume, share=0.5, radius=2, generator=torch.Generator().manual_seed(1))
    assert not bool(hidden.mask[:, :, 2:].any())
    assert bool(hidden.mask[:, :, :2].any())


@pytest.mark.parametrize("batches", [15, 30])
def test_a_quick_training_of_few_batches_knows_their_statistics_when_normalisation_is_fixed(batches: int) -> None:
    layer = torch.nn.BatchNorm2d(2)
    schedule = quick_schedule(torch.nn.Sequential(layer))
    image = torch.randn(8, 2, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.1 + 5
    for spent in torch.linspace(0, 0.9 * SETTLED, batches).tolist():
        schedule(spent)
        layer(image)
    assert schedule(SETTLED) < 1
    assert not layer.training
    torch.testing.assert_close(layer.running_mean, image.mean((0, 2, 3)), rtol=1e-3, atol=0)
    torch.testing.assert_close(layer.running_var, image.var((0, 2, 3), correction=1), rtol=0.1, atol=0)
    layer(image + 1)
    torch.testing.assert_close(layer.running_mean, image.mean((0, 2, 3)), rtol=1e-3, atol=0)


@pytest.mark.parametrize("batches", [20, 100])
def test_normalisation_keeps_up_with_weights_that_change(batches: int) -> None:
    layer = torch.nn.BatchNorm2d(1)
    schedule = quick_schedule(torch.nn.Sequential(layer))
    image = torch.randn(8, 1, 16, 16, generator=torch.Generator().manual_seed(0)) + 3
    for batch in range(1, batches + 1):
        schedule(0.9 * SETTLED * batch / batches)
        layer(image * batch)
    latest = batches * image.mean()
    assert 0.8 * latest < layer.running_mean.squeeze() < latest
