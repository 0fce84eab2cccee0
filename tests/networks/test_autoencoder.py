"""ssEMnet's autoencoder."""

from typing import get_args

import pytest
import torch
from torch import nn

from napari_denoisereg.networks.autoencoder import Autoencoder, Variant, reconstruction_loss

every_variant = pytest.mark.parametrize("variant", get_args(Variant))


@every_variant
@pytest.mark.parametrize("shape", [(24, 32), (8, 16, 16)])
def test_images_come_back_in_their_shape(variant: Variant, shape: tuple[int, ...]) -> None:
    network = Autoencoder(len(shape), variant)
    image = torch.randn(2, 1, *shape)
    assert network(image).shape == image.shape
    assert network.features(image).shape[2:] == tuple(side // network.stride for side in shape)


@every_variant
def test_any_size_has_features(variant: Variant) -> None:
    network = Autoencoder(2, variant)
    features = network.features(torch.randn(1, 1, 19, 33))
    assert features.shape[2:] == (-(-19 // network.stride), -(-33 // network.stride))
    assert bool((features >= 0).all())


@pytest.mark.parametrize(("variant", "filters", "layers"), [("deep", 3, 10), ("shallow", 7, 6)])
def test_variants_are_those_of_the_paper(variant: Variant, filters: int, layers: int) -> None:
    found = [each for each in Autoencoder(2, variant).modules() if isinstance(each, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(found) == layers
    assert {each.kernel_size for each in found} == {(filters, filters)}
    assert not any(isinstance(each, nn.Linear) for each in Autoencoder(2, variant).modules())


def test_the_loss_is_equation_3() -> None:
    network, images = Autoencoder(2, "shallow"), torch.randn(2, 1, 16, 16)
    with torch.no_grad():
        plain, decayed = (float(reconstruction_loss(network, images, decay)) for decay in (0.0, 0.1))
        assert plain == pytest.approx(float((images - network(images)).square().mean()), rel=1e-5)
    squares = sum(float(weight.detach().square().sum()) for weight in network.parameters() if weight.ndim > 1)
    assert decayed - plain == pytest.approx(0.1 * squares, rel=1e-4)
