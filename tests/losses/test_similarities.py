"""Similarities, one by one: values worked out by hand, and what each is blind to."""

import pytest
import torch
from torch import Tensor

from napari_denoisereg.losses.correlation import Correlation
from napari_denoisereg.losses.mean_squared import MeanSquared
from napari_denoisereg.losses.similarity import weights_of


def row(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(1, 1, 1, -1)


def test_mean_squared_difference_by_hand() -> None:
    assert float(MeanSquared()(row(1, 2, 3, 4), row(1, 2, 5, 8))) == pytest.approx((4 + 16) / 4)
    valid = torch.tensor([[[[True, True, True, False]]]])
    assert float(MeanSquared()(row(1, 2, 3, 4), row(1, 2, 5, 8), valid)) == pytest.approx(4 / 3)


def test_mean_squared_difference_averages_channels() -> None:
    fixed, warped = torch.zeros(1, 2, 1, 2), torch.zeros(1, 2, 1, 2)
    warped[0, 0] = 2.0
    assert float(MeanSquared()(fixed, warped)) == pytest.approx(2.0)


def test_mean_squared_difference_sees_brightness() -> None:
    assert float(MeanSquared()(row(1, 2, 3), row(2, 3, 4))) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("warped", "value"),
    [
        (row(10, 20, 30, 40), 0.0),
        (row(7, 5, 3, 1), 2.0),
        (row(1, -1, -1, 1), 1.0),
        (row(1, 2, 3, 5), 1 - 6.5 / (5 * 8.75) ** 0.5),
    ],
)
def test_correlation_by_hand(warped: Tensor, value: float) -> None:
    assert float(Correlation()(row(1, 2, 3, 4), warped)) == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize(("contrast", "brightness"), [(3.0, 100.0), (1e-9, 0.0), (1e15, -1e15), (1e-30, 1e-31)])
def test_correlation_ignores_brightness_and_contrast(contrast: float, brightness: float, generator: torch.Generator) -> None:
    image, other = torch.rand(2, 2, 1, 5, 6, generator=generator)
    torch.testing.assert_close(Correlation()(image, contrast * image + brightness), torch.zeros(2), atol=1e-4, rtol=0)
    alike = Correlation()(image, other)
    torch.testing.assert_close(Correlation()(image, contrast * other + brightness), alike, atol=1e-4, rtol=0)


def test_correlation_of_a_constant_image_is_finite_and_says_nothing() -> None:
    constant = torch.full((1, 1, 4, 4), 3.0, requires_grad=True)
    loss = Correlation()(torch.rand(1, 1, 4, 4), constant)
    loss.sum().backward()
    assert float(loss.detach()) == pytest.approx(1.0, abs=0.01)
    assert bool(torch.isfinite(constant.grad).all())


def test_mask_becomes_weights_for_every_item() -> None:
    like = torch.zeros(3, 2, 4, 5)
    assert weights_of(None, like).shape == (3, 1, 4, 5)
    shared = weights_of(torch.ones(1, 1, 4, 5, dtype=torch.bool), like)
    assert shared.shape == (3, 1, 4, 5)
    assert shared.dtype == like.dtype
