"""Similarities, one by one: values worked out by hand, and what each is blind to."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_denoisereg.geometry import smooth
from napari_denoisereg.losses import Similarity, mutual_information
from napari_denoisereg.losses.correlation import Correlation
from napari_denoisereg.losses.local_correlation import LocalCorrelation, box_sum
from napari_denoisereg.losses.mean_squared import MeanSquared
from napari_denoisereg.losses.mind import Mind
from napari_denoisereg.losses.mutual_information import MutualInformation
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


def noise(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("shape", [(7, 9), (4, 5, 6), (3, 3)])
@pytest.mark.parametrize("half", [1, 2, 3, 4])
def test_sums_over_boxes_are_those_of_a_loop(shape: tuple[int, ...], half: int, generator: torch.Generator) -> None:
    image = noise(generator, 1, 1, *shape)
    sums = box_sum(image, half)[0, 0]
    for place in itertools.product(*(range(length) for length in shape)):
        box = tuple(slice(max(0, centre - half), centre + half + 1) for centre in place)
        assert float(sums[place]) == pytest.approx(float(image[0, 0][box].sum()))


def test_sums_over_boxes_have_the_right_gradient(generator: torch.Generator) -> None:
    image = noise(generator, 2, 1, 5, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda one: box_sum(one, 2), (image,))


@pytest.mark.parametrize("squared", [False, True])
def test_local_correlation_is_the_correlation_in_every_window(squared: bool, generator: torch.Generator) -> None:
    fixed, warped = noise(generator, 1, 1, 8, 9), noise(generator, 1, 1, 8, 9)
    found = LocalCorrelation(width=5, squared=squared, floor=1e-9).at_voxels(fixed, warped)
    box = np.corrcoef(fixed[0, 0, 2:7, 3:8].flatten(), warped[0, 0, 2:7, 3:8].flatten())[0, 1]
    corner = np.corrcoef(fixed[0, 0, :3, :3].flatten(), warped[0, 0, :3, :3].flatten())[0, 1]
    assert float(found[0, 0, 4, 5]) == pytest.approx(box**2 if squared else box, abs=1e-4)
    assert float(found[0, 0, 0, 0]) == pytest.approx(corner**2 if squared else corner, abs=1e-4)


@pytest.mark.parametrize("window", ["box", "gaussian"])
def test_local_correlation_ignores_light_that_changes_slowly(window: str, generator: torch.Generator) -> None:
    image = noise(generator, 1, 1, 40, 40)
    light = torch.linspace(1, 2, 40, dtype=torch.float64)
    uneven = image * light + 2 * light
    measure = LocalCorrelation(window=window)
    assert float(measure(image, image)) < 1e-3
    assert float(measure(image, uneven)) < 0.1
    assert float(Correlation()(image, uneven)) > 0.3
    assert float(measure(image, -image)) == pytest.approx(2.0, abs=1e-3)
    assert float(LocalCorrelation(window=window, squared=True)(image, -image)) < 1e-3


@pytest.mark.parametrize("kind", ["local_correlation", "mind", "mutual_information"])
@pytest.mark.parametrize(("contrast", "brightness"), [(3.0, 100.0), (1e-9, 0.0), (1e15, -1e15)])
def test_brightness_and_contrast_do_not_matter(
    kind: str, contrast: float, brightness: float, generator: torch.Generator
) -> None:
    image, other = noise(generator, 2, 2, 1, 12, 14).float()
    measure = Similarity.coerce(kind)
    plain, changed = measure(image, other), measure(image, contrast * other + brightness)
    torch.testing.assert_close(plain, changed, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("kind", ["local_correlation", "mind", "mutual_information"])
def test_constant_images_are_no_reason_to_fail(kind: str) -> None:
    constant = torch.full((1, 1, 9, 9), 3.0, requires_grad=True)
    value = Similarity.coerce(kind)(torch.full((1, 1, 9, 9), 5.0), constant)
    value.sum().backward()
    assert bool(torch.isfinite(value).all())
    assert bool(torch.isfinite(constant.grad).all())


@pytest.mark.parametrize("kind", ["mind", "mutual_information"])
def test_another_stain_is_recognised(kind: str, generator: torch.Generator) -> None:
    """Inverted contrast, bent by a gamma: correlation is lost, structure is not."""
    image = smooth(noise(generator, 1, 1, 48, 48), 1.5)
    image = (image - image.min()) / (image.max() - image.min())
    stain = 1 - image**2
    moved = stain.roll(3, dims=3)
    measure = Similarity.coerce(kind)
    assert float(Correlation()(image, stain)) > float(Correlation()(image, moved))
    assert float(measure(image, stain)) < float(measure(image, moved))


def test_descriptors_by_hand() -> None:
    """A bright line: along it nothing changes, across it everything does."""
    image = torch.zeros(1, 1, 15, 15, dtype=torch.float64)
    image[..., 7, :] = 1.0
    found = Mind(sigma=0.5).descriptor(image)[0, :, 7, 7]
    across, along = found[:2], found[2:]
    torch.testing.assert_close(along, torch.ones(2, dtype=torch.float64))
    # Two of four differences are equal and two are 0: each is twice the mean.
    torch.testing.assert_close(across, torch.full((2,), math.exp(-2), dtype=torch.float64))


def test_mutual_information_of_independent_images_is_none(generator: torch.Generator) -> None:
    fixed, warped = noise(generator, 2, 1, 1, 200, 200)
    measure = MutualInformation(bins=16)
    assert float(measure(fixed, warped)) == pytest.approx(1.0, abs=0.01)
    assert 0 < float(measure(fixed, fixed)) < 0.75


def test_mutual_information_of_many_voxels_is_added_up_in_parts(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed, warped = noise(generator, 2, 2, 1, 20, 21)
    warped.requires_grad_()
    whole = MutualInformation()(fixed, warped)
    (slope,) = torch.autograd.grad(whole.sum(), warped)
    monkeypatch.setattr(mutual_information, "AT_ONCE", 64)
    parts = MutualInformation()(fixed, warped)
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(torch.autograd.grad(parts.sum(), warped)[0], slope)


def test_windows_of_every_intensity_add_up_to_one() -> None:
    windows = MutualInformation(bins=8)._windows(torch.linspace(-9, 9, 50, dtype=torch.float64)[None])
    torch.testing.assert_close(windows.sum(1), torch.ones(1, 50, dtype=torch.float64))
