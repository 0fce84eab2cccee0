"""What every similarity promises: low is alike, differentiable, blind to what the mask leaves out."""

import functools

import pytest
import torch
from torch import Tensor

from napari_denoisereg.encode.autoencoder import Autoencoder
from napari_denoisereg.geometry import Grid, Translation, smooth, warp
from napari_denoisereg.losses import Similarity
from napari_denoisereg.losses.encoded import Encoded
from napari_denoisereg.networks.feature_net import FeatureEncoder, frozen_encoder
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish

MEMBERS = list(Similarity.members().values())
every_similarity = pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.kind)
both_dimensions = pytest.mark.parametrize("ndim", [2, 3])
SHAPES = {2: (24, 28), 3: (12, 14, 16)}


def texture(ndim: int, count: int = 2, channels: int = 1) -> Tensor:
    random = torch.Generator().manual_seed(11)
    image = smooth(torch.rand(count, channels, *SHAPES[ndim], dtype=torch.float64, generator=random), 1.5)
    return (image - image.mean()) / image.std()


def shifted(image: Tensor, voxels: float) -> Tensor:
    grid = Grid(tuple(image.shape[2:]))
    shift = Translation([0.0] * (grid.ndim - 1) + [voxels])
    return torch.stack([warp(one, shift, fixed=grid, outside="edge") for one in image])


@functools.cache
def encoder(ndim: int) -> FeatureEncoder:
    """Of an autoencoder that was trained for a moment, as similarities of features need it."""
    stack = Stack(texture(ndim, count=4)[:, 0].numpy(), "tyx" if ndim == 2 else "tzyx")
    return frozen_encoder(finish(Autoencoder(iterations=20, every=20, patch=16).fit([stack])).weights, ndim)


def made(member: type[Similarity], ndim: int = 2) -> Similarity:
    measure = member()
    return measure.with_encoder(encoder(ndim)) if isinstance(measure, Encoded) else measure


@every_similarity
@both_dimensions
def test_one_value_per_item(member: type[Similarity], ndim: int) -> None:
    image = texture(ndim, count=3, channels=2)
    value = made(member, ndim)(image, shifted(image, 1.0))
    assert value.shape == (3,)
    assert value.dtype == image.dtype
    assert bool(torch.isfinite(value).all())


@every_similarity
@both_dimensions
def test_nothing_is_more_alike_than_the_image_itself(member: type[Similarity], ndim: int) -> None:
    measure, image = made(member, ndim), texture(ndim)
    values = torch.stack([measure(image, shifted(image, voxels)) for voxels in (0.0, 0.5, 1.0, 2.0, 4.0)])
    assert bool((values.diff(dim=0) > 0).all())
    assert bool((values[0] < measure(image, texture(ndim, count=4)[2:])).all())


@every_similarity
def test_a_batch_equals_a_loop(member: type[Similarity]) -> None:
    measure, fixed = made(member), texture(2, count=4)
    warped = shifted(fixed, 0.7)
    together = measure(fixed, warped)
    alone = torch.cat([measure(fixed[number : number + 1], warped[number : number + 1]) for number in range(4)])
    torch.testing.assert_close(together, alone)


@every_similarity
@both_dimensions
def test_what_the_mask_leaves_out_does_not_matter(member: type[Similarity], ndim: int) -> None:
    measure, fixed = made(member, ndim), texture(ndim)
    warped = shifted(fixed, 1.0)
    valid = torch.ones(len(fixed), 1, *SHAPES[ndim], dtype=torch.bool)
    valid[..., -4:] = False
    spoilt_fixed, spoilt_warped = fixed.clone(), warped.clone()
    spoilt_fixed[..., -4:], spoilt_warped[..., -4:] = 7.0, -50.0
    plain, spoilt = measure(fixed, warped, valid), measure(spoilt_fixed, spoilt_warped, valid)
    torch.testing.assert_close(plain, spoilt)
    assert not torch.allclose(measure(fixed, warped), measure(spoilt_fixed, spoilt_warped))


@every_similarity
def test_a_mask_of_everything_is_no_mask(member: type[Similarity]) -> None:
    measure, fixed = made(member), texture(2)
    warped = shifted(fixed, 1.0)
    everything = torch.ones(1, 1, *SHAPES[2])
    torch.testing.assert_close(measure(fixed, warped, everything), measure(fixed, warped))


@every_similarity
def test_a_mask_of_nothing_is_no_reason_to_fail(member: type[Similarity]) -> None:
    warped = shifted(texture(2), 1.0).requires_grad_()
    value = made(member)(texture(2), warped, torch.zeros(2, 1, *SHAPES[2], dtype=torch.bool))
    value.sum().backward()
    assert bool(torch.isfinite(value).all())
    assert bool(torch.isfinite(warped.grad).all())


@every_similarity
@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (2, 1, 3, 4, 3)])
def test_gradients_are_right(member: type[Similarity], shape: tuple[int, ...], generator: torch.Generator) -> None:
    fixed, warped = (torch.rand(shape, dtype=torch.float64, generator=generator).requires_grad_() for _ in range(2))
    valid = torch.rand(shape[0], 1, *shape[2:], dtype=torch.float64, generator=generator)
    assert torch.autograd.gradcheck(lambda one, two: made(member, len(shape) - 2)(one, two, valid), (fixed, warped))


@every_similarity
def test_inputs_are_not_changed(member: type[Similarity]) -> None:
    fixed, warped = texture(2), shifted(texture(2), 1.0)
    before = fixed.clone(), warped.clone()
    made(member)(fixed, warped)
    assert torch.equal(fixed, before[0])
    assert torch.equal(warped, before[1])
