"""The U-Net as DenoiseReg describes it. That tiles equal the whole is tested with tiling."""

import pytest
import torch
from torch import nn

from napari_denoisereg.networks.blind_spot_unet import WIDTHS, BlindSpotUNet, ConvBlock, TiledNetwork, blurred_pool, predict

both_dimensions = pytest.mark.parametrize("ndim", [2, 3])


@both_dimensions
def test_output_has_the_shape_of_the_input(ndim: int) -> None:
    image = torch.rand(2, 1, *(16, 24, 8)[:ndim])
    assert BlindSpotUNet(ndim)(image).shape == image.shape


@both_dimensions
def test_a_block_is_twice_convolution_normalisation_relu(ndim: int) -> None:
    names = [type(layer).__name__ for layer in ConvBlock(ndim, 3, 5)]
    assert names == [f"Conv{ndim}d", f"BatchNorm{ndim}d", "ReLU"] * 2
    assert all(layer.kernel_size == (3,) * ndim for layer in ConvBlock(ndim, 3, 5) if isinstance(layer, nn.Conv2d | nn.Conv3d))


@both_dimensions
def test_three_halvings_from_16_to_64_features(ndim: int) -> None:
    network = BlindSpotUNet(ndim)
    features = network.encode(torch.rand(1, 1, *(16,) * ndim))
    assert [part.shape[1] for part in features] == [16, 32, 64, 64] == list(WIDTHS)
    assert [part.shape[-1] for part in features] == [16, 8, 4, 2]
    assert network.stride == 8
    assert network.halo % network.stride == 0


def test_forward_is_decode_after_encode(generator: torch.Generator) -> None:
    network = BlindSpotUNet(2).eval()
    image = torch.rand(1, 1, 16, 16, generator=generator)
    assert torch.equal(network(image), network.decode(network.encode(image)))


@both_dimensions
def test_every_weight_gets_a_gradient(ndim: int) -> None:
    network = BlindSpotUNet(ndim)
    network(torch.rand(2, 1, *(16,) * ndim)).square().mean().backward()
    assert all(weight.grad is not None and bool(torch.isfinite(weight.grad).all()) for weight in network.parameters())


@pytest.mark.parametrize("shape", [(13, 9), (7, 8, 17), (1, 1)])
def test_any_size_is_predicted(shape: tuple[int, ...]) -> None:
    network = BlindSpotUNet(len(shape)).eval()
    image = torch.rand(1, 1, *shape)
    predicted = predict(network, image, tile=32)
    assert predicted.shape == image.shape
    assert predicted.dtype == torch.float32
    assert not predicted.requires_grad


@both_dimensions
def test_blurred_pooling_halves_and_keeps_what_is_even(ndim: int) -> None:
    flat = torch.full((1, 2, *(8,) * ndim), 3.0)
    assert torch.equal(blurred_pool(flat), torch.full((1, 2, *(4,) * ndim), 3.0))
    slope = torch.arange(16.0).expand(1, 1, *(16,) * ndim)
    steps = blurred_pool(slope)[(0, 0, *(4,) * (ndim - 1))].diff()
    torch.testing.assert_close(steps[1:-1], torch.full((5,), 2.0))


def test_blurred_pooling_sees_a_checkerboard_as_one_grey() -> None:
    """Max pooling of something that flickers from voxel to voxel depends on where it starts; this does not."""
    board = (torch.arange(16)[:, None] + torch.arange(16)).remainder(2).float()[None, None]
    one, other = (blurred_pool(each)[..., 1:-1, 1:-1] for each in (board, 1 - board))
    assert torch.equal(one, other)
    assert float(one.std()) == 0


@both_dimensions
def test_without_checkerboards_the_finest_features_are_not_skipped_to(ndim: int) -> None:
    network = BlindSpotUNet(ndim, outputs=2, checkerboard_free=True).eval()
    image = torch.rand(1, 1, *(16,) * ndim)
    features = network.encode(image)
    assert network(image).shape == (1, 2, *(16,) * ndim)
    changed = [features[0] + 1, *features[1:]]
    assert torch.equal(network.decode(changed), network.decode(features))
    changed = [features[0], features[1] + 1, *features[2:]]
    assert not torch.equal(network.decode(changed), network.decode(features))


@pytest.mark.parametrize("checkerboard_free", [False, True])
def test_context_reaches_no_farther_than_the_halo(checkerboard_free: bool) -> None:
    network = BlindSpotUNet(2, checkerboard_free=checkerboard_free).eval()
    image = torch.rand(1, 1, 160, 160, generator=torch.Generator().manual_seed(0))
    other = image.clone()
    other[..., : 80 - network.halo] += 5
    one, two = network(image), network(other)
    assert torch.equal(one[..., 80:], two[..., 80:])
    assert not torch.equal(one, two)


class Faded(TiledNetwork):
    """What a badly calibrated network makes of channel 0, whatever the frame to denoise, channel 1, shows."""

    ndim, centre, stride, halo = 2, 1, 1, 0

    def __init__(self, contrast: float, *, is_blind: bool) -> None:
        super().__init__()
        self.contrast, self.is_blind = contrast, is_blind

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.contrast * image[:, :1] + 3


def frames(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Clean frames, and with noise, ``(2, 1, 64, 48)``."""
    clean = torch.sin(torch.arange(64.0) / 5)[:, None] + torch.cos(torch.arange(48.0) / 7)
    clean = torch.stack([clean, 2 * clean])[:, None]
    return clean, clean + 0.5 * torch.randn(clean.shape, generator=generator)


@pytest.mark.parametrize("contrast", [0.6, 1.0, 8.0])
def test_a_blind_prediction_gets_the_brightness_and_contrast_of_its_frame(contrast: float, generator: torch.Generator) -> None:
    clean, noisy = frames(generator)
    denoised = predict(Faded(contrast, is_blind=True), torch.cat([clean, noisy], 1), 32)
    torch.testing.assert_close(denoised.mean((1, 2, 3)), noisy.mean((1, 2, 3)))
    assert (denoised - clean).abs().max() < 0.15


def test_a_prediction_that_may_have_seen_its_frame_keeps_its_contrast(generator: torch.Generator) -> None:
    clean, noisy = frames(generator)
    denoised = predict(Faded(0.6, is_blind=False), torch.cat([clean, noisy], 1), 32)
    torch.testing.assert_close(denoised.std((1, 2, 3)), 0.6 * clean.std((1, 2, 3)))


def test_a_blind_prediction_that_has_nothing_of_its_frame_becomes_even(generator: torch.Generator) -> None:
    structure, noise = torch.randn(2, 1, 1, 256, 256, generator=generator)
    denoised = predict(Faded(1.0, is_blind=True), torch.cat([structure, noise], 1), 256)
    assert denoised.std() < 0.03


def test_an_even_prediction_stays_even(generator: torch.Generator) -> None:
    _, noisy = frames(generator)
    denoised = predict(Faded(1.0, is_blind=True), torch.cat([torch.ones_like(noisy), noisy], 1), 32)
    assert torch.equal(denoised, noisy.mean((1, 2, 3), keepdim=True).expand_as(noisy))
