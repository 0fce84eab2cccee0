"""Tiles cover an image once, and prediction by tiles equals prediction of the whole."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_denoisereg.networks.blind_spot_unet import BlindSpotUNet, predict
from napari_denoisereg.steps import finish
from napari_denoisereg.tiling import apply_tiled, pad_to_multiple, tiles


@given(
    shape=st.lists(st.integers(1, 5), min_size=2, max_size=3),
    size=st.integers(1, 40),
    halo=st.integers(0, 20),
    multiple=st.sampled_from([1, 4, 8]),
)
def test_every_voxel_is_kept_exactly_once(shape: list[int], size: int, halo: int, multiple: int) -> None:
    whole = tuple(length * multiple for length in shape)
    count = torch.zeros(whole, dtype=torch.int64)
    for tile in tiles(whole, size, halo, multiple):
        count[tile.write] += 1
        assert all(part.start % multiple == 0 for part in tile.read)
        for read, keep, write in zip(tile.read, tile.keep, tile.write, strict=True):
            assert read.start + keep.start == write.start
            assert read.start + keep.stop == write.stop
    assert bool((count == 1).all())


@settings(max_examples=15)
@given(shape=st.lists(st.integers(1, 23), min_size=2, max_size=3), size=st.integers(1, 16), multiple=st.sampled_from([1, 2, 8]))
def test_tiled_equals_whole_for_a_filter_within_the_halo(shape: list[int], size: int, multiple: int) -> None:
    image = torch.rand(2, 1, *shape, generator=torch.Generator().manual_seed(1))

    def neighbours(part: torch.Tensor) -> torch.Tensor:
        return sum(part.roll(shift, dims=axis) for axis in range(2, part.ndim) for shift in (-1, 0, 1))

    padded = pad_to_multiple(image, multiple)
    tiled = finish(apply_tiled(neighbours, image, size=size, halo=2, multiple=multiple))
    assert tiled.shape == image.shape
    inner = (slice(None), slice(None), *(slice(1, length - 1) for length in shape))
    torch.testing.assert_close(tiled[inner], neighbours(padded)[inner])


@pytest.mark.parametrize("multiple", [1, 4, 8])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (8, 16), (1, 9, 7)])
def test_padding_adds_zeros_and_keeps_the_image(shape: tuple[int, ...], multiple: int) -> None:
    image = torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(2))
    padded = pad_to_multiple(image, multiple)
    assert all(
        after % multiple == 0 and after - before < multiple for before, after in zip(shape, padded.shape[2:], strict=True)
    )
    assert torch.equal(padded[(0, 0, *(slice(length) for length in shape))], image[0, 0])
    assert float(padded.sum()) == pytest.approx(float(image.sum()), rel=1e-5)


def test_padding_never_shows_a_voxel_twice() -> None:
    """A blind-spot network would read hidden noise from its copy."""
    row = torch.arange(1.0, 6.0).reshape(1, 1, 1, 5)
    assert pad_to_multiple(row, 8)[0, 0, 0].tolist() == [1, 2, 3, 4, 5, 0, 0, 0]


def random_network(ndim: int) -> BlindSpotUNet:
    """Random weights and running statistics, ready for prediction."""
    random = torch.Generator().manual_seed(3)
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(3)
        network = BlindSpotUNet(ndim)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            module.running_mean.uniform_(-0.5, 0.5, generator=random)
            module.running_var.uniform_(0.5, 2.0, generator=random)
            module.weight.data.uniform_(0.5, 1.5, generator=random)
            module.bias.data.uniform_(-0.5, 0.5, generator=random)
    return network.eval()


@pytest.mark.parametrize(
    ("shape", "tile"), [((190, 170), 64), ((100, 151), 32), ((30, 45), 64), ((150, 5), 40), ((20, 90, 12), 32), ((5, 6, 7), 32)]
)
def test_network_by_tiles_equals_network_on_the_whole(shape: tuple[int, ...], tile: int) -> None:
    network = random_network(len(shape))
    image = torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(4))
    whole = predict(network, image, tile=10_000)
    tiled = predict(network, image, tile=tile)
    assert tiled.shape == image.shape
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=0)
    assert float(whole.std()) > 1e-3


@pytest.mark.parametrize("ndim", [2, 3])
def test_halo_reaches_as_far_as_a_voxel_can_matter(ndim: int) -> None:
    network = random_network(ndim)
    shape = (192, 8) if ndim == 2 else (176, 8, 8)
    image = torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(5))
    changed = image.clone()
    place = 88
    changed[0, 0, place] += 10.0
    with torch.inference_mode():
        difference = (network(changed) - network(image)).abs()
    touched = difference.reshape(shape[0], -1).amax(1).nonzero().flatten()
    assert int((touched - place).abs().max()) <= network.halo
