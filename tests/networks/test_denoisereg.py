"""The joint network of DenoiseReg and its loss."""

import pytest
import torch

from napari_denoisereg.geometry import Affine, Grid, warp
from napari_denoisereg.networks.affine_head import AffineHead
from napari_denoisereg.networks.blind_spot import Masked, blind_spot_loss, hide
from napari_denoisereg.networks.denoisereg import (
    DenoiseRegNet,
    joint_loss,
    match_histogram,
    shrink,
    to_world,
    warped_difference,
)

both_dimensions = pytest.mark.parametrize("ndim", [2, 3])
WIDTHS = (4, 6, 8)


def network_of(ndim: int, *, trained: bool) -> DenoiseRegNet:
    """A small network; one that was trained predicts something else than the identity."""
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(1)
        network = DenoiseRegNet(ndim, WIDTHS)
        if trained:
            nn_init = torch.nn.init.normal_
            nn_init(network.head.last.weight, std=0.2)
            nn_init(network.head.last.bias, std=0.2)
    return network


def pair_of(ndim: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (3, 1, *(16, 24, 8)[:ndim])
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


@both_dimensions
def test_an_untrained_network_predicts_the_identity(ndim: int, generator: torch.Generator) -> None:
    fixed, moving = pair_of(ndim, generator)
    weights = network_of(ndim, trained=False).predict(fixed, moving)
    assert torch.equal(weights, torch.eye(ndim, ndim + 1).expand(3, ndim, ndim + 1))


@both_dimensions
def test_the_order_says_which_image_moves(ndim: int, generator: torch.Generator) -> None:
    network = network_of(ndim, trained=True).eval()
    fixed, moving = pair_of(ndim, generator)
    moving = 5 * moving + 3
    forward, backward = network.predict(fixed, moving), network.predict(moving, fixed)
    assert forward.shape == (3, ndim, ndim + 1)
    assert float((forward - backward).detach().abs().max()) > 1e-3


def test_the_last_layer_counts_a_tenth(generator: torch.Generator) -> None:
    head = AffineHead(2, 5, (7,))
    head.last.bias.data = torch.arange(6.0)
    change = head(torch.rand(1, 5, 2, 2, generator=generator), torch.rand(1, 5, 2, 2, generator=generator)) - torch.eye(2, 3)
    torch.testing.assert_close(change, 0.1 * torch.arange(6.0).reshape(1, 2, 3))


def test_features_are_pooled_so_that_any_size_is_welcome(generator: torch.Generator) -> None:
    network = network_of(2, trained=True).eval()
    for shape in ((8, 8), (16, 40)):
        assert network.predict(*(torch.randn(1, 1, *shape, generator=generator) for _ in range(2))).shape == (1, 2, 3)


def gradients(ndim: int, generator: torch.Generator, *, registration: bool) -> dict[str, torch.Tensor]:
    """Gradients of the loss in every weight, with and without the registration part."""
    network = network_of(ndim, trained=True)
    noisy = pair_of(ndim, generator)
    hidden = tuple(hide(image, share=0.2, radius=2, generator=generator) for image in noisy)
    grid = Grid(tuple(noisy[0].shape[2:]))
    if registration:
        joint_loss(network, noisy, hidden, grid).backward()
    else:
        predicted = network.denoiser(torch.cat([one.image for one in hidden]))
        blind_spot_loss(predicted, torch.cat(noisy), torch.cat([one.mask for one in hidden])).backward()
    return {name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None}


@both_dimensions
def test_registration_sends_no_gradient_to_the_denoised_images(ndim: int) -> None:
    joint = gradients(ndim, torch.Generator().manual_seed(2), registration=True)
    alone = gradients(ndim, torch.Generator().manual_seed(2), registration=False)
    decoder = [name for name in joint if ".decoder." in name or (".last." in name and "denoiser" in name)]
    assert decoder
    for name in decoder:
        torch.testing.assert_close(joint[name], alone[name], atol=1e-7, rtol=1e-5)
    encoder = [name for name in joint if ".encoder." in name]
    # The encoder serves both parts, the head only the registration.
    assert any(not torch.allclose(joint[name], alone[name], atol=1e-6) for name in encoder)
    assert any(name.startswith("head.") for name in joint)
    assert not any(name.startswith("head.") for name in alone)


def test_joint_loss_is_equation_four(generator: torch.Generator) -> None:
    network = network_of(2, trained=True).eval()
    noisy = pair_of(2, generator)
    hidden = tuple(hide(image, share=0.2, radius=2, generator=generator) for image in noisy)
    grid = Grid(tuple(noisy[0].shape[2:]))
    with torch.no_grad():
        fixed, moving = (network.denoiser(one.image) for one in hidden)
        forward = network.predict(hidden[0].image, hidden[1].image)
        backward = network.predict(hidden[1].image, hidden[0].image)
        both = [blind_spot_loss(d, n, h.mask) * h.mask.sum() for d, n, h in zip((fixed, moving), noisy, hidden, strict=True)]
        # The reconstruction is the mean over the hidden voxels of both images together.
        reconstruction = sum(both) / sum(one.mask.sum() for one in hidden)
        registration = warped_difference(fixed, moving, forward, grid) + warped_difference(moving, fixed, backward, grid)
        wanted = reconstruction + 0.5 * registration
        torch.testing.assert_close(joint_loss(network, noisy, hidden, grid), wanted)


def test_joint_loss_of_identical_flat_images_is_zero_at_the_identity() -> None:
    network = network_of(2, trained=False).eval()
    image = torch.zeros(1, 1, 8, 8)
    denoised = network.denoiser(image).detach()
    hidden = Masked(image, torch.ones_like(image, dtype=torch.bool))
    loss = joint_loss(network, (denoised, denoised), (hidden, hidden), Grid((8, 8)))
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-6)


@both_dimensions
def test_warped_difference_is_zero_for_the_right_transform_and_ignores_the_outside(ndim: int) -> None:
    grid = Grid((20, 24, 16)[:ndim])
    y, x = grid.points()[-2:]
    moving = (torch.sin(x / 3) + torch.cos(y / 4))[None, None]
    weights = torch.eye(ndim, ndim + 1)[None].clone()
    weights[0, -1, -1] = 4 / (max(grid.shape) / 2)  # four voxels along x, in units of half the longest side
    world = to_world(weights, grid)
    torch.testing.assert_close(world[0, -1, -1], torch.tensor(4.0))
    fixed = warp(moving[0, 0], Affine(world[0]), fixed=grid, outside="edge")[None, None]
    assert float(warped_difference(fixed, moving, weights, grid)) < 1e-6
    assert float(warped_difference(fixed, moving, torch.eye(ndim, ndim + 1)[None], grid)) > 0.05
    fixed[..., -4:] = 100.0  # read from beyond the edge of the moving image
    assert float(warped_difference(fixed, moving, weights, grid)) < 1e-6


def test_warped_difference_shows_the_way_down() -> None:
    grid = Grid((24, 24))
    y, x = grid.points()
    moving = torch.exp(-((y - 12) ** 2 + (x - 14) ** 2) / 30)[None, None]
    fixed = torch.exp(-((y - 12) ** 2 + (x - 11) ** 2) / 30)[None, None]
    weights = torch.eye(2, 3)[None].clone().requires_grad_()
    warped_difference(fixed, moving, weights, grid).backward()
    assert float(weights.grad[0, 1, 2]) < 0  # a larger shift along x makes it better
    assert abs(float(weights.grad[0, 0, 2])) < abs(float(weights.grad[0, 1, 2]))


@both_dimensions
def test_world_coordinates_keep_the_middle_in_place(ndim: int) -> None:
    grid = Grid((9, 12, 10)[:ndim], (2.0, 0.5, 1.0)[:ndim], (30.0, -4.0, 1.0)[:ndim])
    weights = torch.eye(ndim, ndim + 1)[None].double() + 0.05 * torch.ones(ndim, ndim + 1)
    weights[:, :, -1] = 0
    world = Affine(to_world(weights, grid)[0])
    centre = torch.tensor(grid.centre, dtype=torch.float64)[:, None]
    torch.testing.assert_close(world(centre), centre)


@both_dimensions
def test_matched_histogram_is_exactly_the_other_images_and_keeps_ranks(ndim: int, generator: torch.Generator) -> None:
    fixed, moving = pair_of(ndim, generator)
    matched = match_histogram(moving * 50 + 7, fixed)
    assert matched.shape == moving.shape
    for one, other, before in zip(matched, fixed, moving, strict=True):
        assert torch.equal(one.flatten().sort().values, other.flatten().sort().values)
        assert torch.equal(one.flatten().argsort(), before.flatten().argsort())
    assert torch.equal(match_histogram(fixed, fixed), fixed)


def test_shrinking_averages_disjoint_blocks(generator: torch.Generator) -> None:
    grid = Grid((33, 48), (0.5, 0.5), (10.0, 20.0))
    frames = torch.rand(2, 33, 48, generator=generator)
    small, coarse = shrink(frames, grid, 16)
    assert small.shape == (2, 1, 11, 16)
    torch.testing.assert_close(small[:, 0], frames.reshape(2, 11, 3, 16, 3).mean(dim=(2, 4)))
    assert coarse.spacing == (1.5, 1.5)
    assert coarse.origin == (10.5, 20.5)
    same, still = shrink(frames, grid, 0)
    assert torch.equal(same[:, 0], frames)
    assert still == grid


def test_shrinking_leaves_coarse_axes_alone() -> None:
    grid = Grid((10, 64, 64), (2.0, 0.5, 0.5))
    small, coarse = shrink(torch.rand(1, 10, 64, 64), grid, 16)
    assert small.shape == (1, 1, 10, 16, 16)
    assert coarse.spacing == (2.0, 2.0, 2.0)
