"""Networks that predict motion, and encoders: shapes in 2D and 3D, almost no motion at first, gradients everywhere."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from napari_denoisereg.device import seeded
from napari_denoisereg.networks.deep_affine import DeepAffineNet
from napari_denoisereg.networks.displacement_unet import DisplacementUNet
from napari_denoisereg.networks.fcn import RegistrationFCN
from napari_denoisereg.networks.feature_net import FeatureEncoder, FeatureNet, frozen_encoder, read_encoder

every_shape = pytest.mark.parametrize("shape", [(17, 22), (1, 9), (3, 10, 9)])


def pair(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    one, two = torch.randn(2, 2, 1, *shape, generator=random)
    return one, two


@every_shape
def test_unet_predicts_a_small_motion_everywhere(shape: tuple[int, ...]) -> None:
    with seeded(0):
        network = DisplacementUNet(len(shape))
    motion = network(*pair(shape))
    assert motion.shape == (2, len(shape), *shape)
    assert 0 < float(motion.detach().abs().max()) < 0.01
    motion.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@every_shape
@pytest.mark.parametrize(
    ("variant", "factors"), [("multi_resolution", (1, 2, 4)), ("no_pooling", (1,)), ("interpolated", (4,))]
)
def test_fcn_predicts_at_its_resolutions(variant: str, factors: tuple[int, ...], shape: tuple[int, ...]) -> None:
    with seeded(0):
        network = RegistrationFCN(len(shape), variant)
    fields = network(*pair(shape))
    wanted = [(2, len(shape), *(-(-size // factor) for size in shape)) for factor in factors]
    assert [tuple(field.shape) for field in fields] == wanted
    sum(field.square().sum() for field in fields).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_fcn_is_the_one_of_the_paper() -> None:
    network = RegistrationFCN(3)
    widths = [layer.out_channels for layer in network.down if isinstance(layer, nn.Conv3d)]
    pools = [layer for layer in network.down if isinstance(layer, nn.MaxPool3d)]
    ups = [layer for layer in network.up.modules() if isinstance(layer, nn.ConvTranspose3d)]
    assert widths == [32, 64, 128, 64]
    assert [(pool.kernel_size, pool.stride) for pool in pools] == [(3, 2)] * 2
    assert [(up.out_channels, up.kernel_size[0], up.stride[0]) for up in ups] == [(64, 3, 2), (32, 3, 2)]
    assert [layer.out_channels for layer in network.regression] == [3, 3, 3]


@pytest.mark.parametrize("ndim", [2, 3])
def test_deep_affine_predicts_the_identity_at_first(ndim: int) -> None:
    network = DeepAffineNet(ndim).eval()
    weights = network(*pair((16,) * ndim))
    torch.testing.assert_close(weights, torch.eye(ndim, ndim + 1).expand(2, ndim, ndim + 1))


@every_shape
@pytest.mark.parametrize(("outputs", "has_skips"), [(3, True), (1, False)])
def test_encoder_of_a_trained_network_sees_the_same_alone(outputs: int, has_skips: bool, shape: tuple[int, ...]) -> None:
    with seeded(0):
        network = FeatureNet(len(shape), outputs, has_skips=has_skips, widths=(4, 6, 8)).eval()
    image, _ = pair(shape)
    assert network(image).shape == (2, outputs, *shape)
    alone = frozen_encoder(network.state_dict(), len(shape))
    for one, two in zip(alone(image), network.encoder(image), strict=True):
        assert torch.equal(one, two)
    assert not any(parameter.requires_grad for parameter in alone.parameters())
    assert [len(one[0]) for one in alone(image)] == [4, 6, 8]


def test_a_file_without_an_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="train an encoder"):
        read_encoder(tmp_path / "nothing")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no model")
    with pytest.raises(ValueError, match="no complete model file"):
        read_encoder(broken)


def test_features_of_an_encoder_do_not_depend_on_the_batch() -> None:
    with seeded(0):
        encoder = FeatureEncoder(2).eval()
    image, _ = pair((16, 16))
    for one, two in zip(encoder(image), encoder(image[:1]), strict=True):
        torch.testing.assert_close(one[:1], two)
