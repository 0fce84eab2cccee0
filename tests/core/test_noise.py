"""The noise of a stack is measured as it is, whatever the camera does."""

import numpy as np
import pytest
import torch

from napari_denoisereg.evaluation.synthetic import nuclei_movie
from napari_denoisereg.noise import DEFECT, NoiseModel, estimate_noise, repair, without_defects
from napari_denoisereg.stack import Stack

GAIN, READ = 50.0, 150.0


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    movie = nuclei_movie("easy", seed=3, shape=(320, 320), n_frames=4)
    return movie.clean.astype(np.float64)


def exposed(clean: np.ndarray, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.poisson(clean / GAIN) * GAIN + random.normal(0, READ, clean.shape)


def deviation(model: NoiseModel, clean: np.ndarray, offset: float = 0.0) -> float:
    """Found over true standard deviation at the mean intensity, less 1."""
    level = clean.mean()
    return float(np.sqrt((model.gain * (level + offset) + model.base) / (GAIN * level + READ**2)) - 1)


def test_gain_and_read_noise_are_found(clean: np.ndarray) -> None:
    model = estimate_noise(Stack(exposed(clean), "tyx"))
    assert model.gain == pytest.approx(GAIN, rel=0.06)  # 320 px, 4 frames; 532 px, 25 frames: within 2 %
    assert np.sqrt(model.base) == pytest.approx(READ, rel=0.03)
    assert abs(deviation(model, clean)) < 0.02


def test_offset_bleaching_hot_pixels_and_saturation_do_not_mislead(clean: np.ndarray) -> None:
    fading = clean * np.linspace(1, 0.5, len(clean))[:, None, None]
    noisy = exposed(fading) + 1000
    hot = np.random.default_rng(1).integers(0, 320, (2, 300))
    noisy[:, hot[0], hot[1]] = 60_000
    model = estimate_noise(Stack(noisy, "tyx"))
    assert abs(deviation(model, fading, offset=1000)) < 0.03
    saturated = np.clip(noisy, None, np.percentile(noisy, 97)).astype(np.uint16)
    assert abs(deviation(estimate_noise(Stack(saturated, "tyx")), fading, offset=1000)) < 0.04


def test_noise_that_does_not_grow_with_light_has_no_gain(clean: np.ndarray) -> None:
    noisy = clean + np.random.default_rng(2).normal(0, 200, clean.shape)
    model = estimate_noise(Stack(noisy, "tyx"))
    assert abs(model.gain) * clean.mean() < 0.05 * 200**2
    assert float(model.variance(torch.tensor(clean.mean()))) == pytest.approx(200**2, rel=0.03)


def test_scaled_and_shifted_data_have_scaled_noise(clean: np.ndarray) -> None:
    noisy = exposed(clean)
    plain, other = estimate_noise(Stack(noisy, "tyx")), estimate_noise(Stack(0.01 * noisy + 7, "tyx"))
    level = torch.tensor([500.0, 3000.0], dtype=torch.float64)
    torch.testing.assert_close(other.variance(0.01 * level + 7), 1e-4 * plain.variance(level), rtol=1e-3, atol=0)


@pytest.mark.parametrize("offset", [0.0, 400.0])
@pytest.mark.parametrize("photons", [2.0, 5.0, 20.0, 80.0])
def test_averages_of_stabilised_values_come_back_unbiased(photons: float, offset: float) -> None:
    model = NoiseModel(GAIN, READ**2 - GAIN * offset, READ**2)
    noisy = exposed(np.full((1000, 1000), photons * GAIN), seed=4) + offset
    stabilised = model.stabilise(torch.from_numpy(noisy))
    assert float(stabilised.std()) == pytest.approx(1, abs=0.03)
    assert float(model.restore(stabilised.mean())) - offset == pytest.approx(photons * GAIN, rel=0.02)


@pytest.mark.parametrize("photons", [0.02, 0.1, 1.0])
@pytest.mark.parametrize(("photon", "offset"), [(1.0, 0.0), (3.0, 100.0)])
def test_counted_photons_have_the_variance_of_counts(photons: float, photon: float, offset: float) -> None:
    """Also where most pixels are zero, which is no clipped light here."""
    light = np.full((4, 96, 96), photons)
    light[:, 40:56, 40:56] *= 4
    model = estimate_noise(Stack(offset + photon * np.random.default_rng(0).poisson(light), "tyx"))
    assert (model.gain, model.base) == (photon, -photon * offset)
    single = offset + photon * (torch.arange(64 * 64) == 2000).reshape(64, 64)
    assert torch.equal(repair(single, model), single)


@pytest.mark.parametrize(("gain", "read"), [(1, 2.0), (3, 0.5)])
def test_few_grey_values_alone_are_no_counts(gain: int, read: float) -> None:
    """Photons of another size than the steps of the values, or with a camera's noise, rounded and clipped."""
    random = np.random.default_rng(0)
    dim = gain * random.poisson(1.5, (4, 96, 96)) + random.normal(0, read, (4, 96, 96))
    model = estimate_noise(Stack(np.clip(np.round(dim), 0, None), "tyx"))
    assert (model.gain, model.base) != (1, 0)


def test_only_pixels_that_stand_alone_are_repaired() -> None:
    model = NoiseModel(0.0, 1.0, 1.0)
    image = torch.zeros(32, 32)
    image[8, 8], image[20, 20] = 100.0, -100.0
    image[14:16, 14:16] = 100.0
    repaired = repair(image, model)
    assert float(repaired[8, 8]) == float(repaired[20, 20]) == 0
    assert bool((repaired[14:16, 14:16] == 100).all())
    noise = torch.randn(256, 256, generator=torch.Generator().manual_seed(0))
    assert torch.equal(repair(noise, model), noise)


@pytest.mark.parametrize("place", [(0, 0), (0, 15), (31, 7), (31, 31), (12, 0)])
def test_a_hot_pixel_at_the_border_is_repaired_too(place: tuple[int, int]) -> None:
    image = torch.zeros(32, 32)
    image[place] = 100.0
    assert not bool(repair(image, NoiseModel(0.0, 1.0, 1.0)).any())
    volume = torch.zeros(3, 32, 32)
    volume[(1, *place)] = 100.0
    assert not bool(repair(volume, NoiseModel(0.0, 1.0, 1.0)).any())


def test_single_photons_on_a_dark_ground_are_no_defects() -> None:
    for light in (0.02, 0.1, 1.0):
        photons = Stack(np.random.default_rng(1).poisson(light, (4, 96, 96)).astype(np.float32), "tyx")
        kept = np.asarray(without_defects(photons).data[:])
        assert kept.sum() == pytest.approx(photons.data.sum(), rel=0.002)


@pytest.mark.parametrize("axes", ["tyx", "tzyx", "zyx"])
def test_a_stack_without_defects_is_read_like_any_other(axes: str) -> None:
    data = np.random.default_rng(1).normal(100, 2, (4, *(6,) * (len(axes) - 3), 24, 20)).astype(np.float32)
    hot = data.copy()
    hot[1, ..., 5, 7] = 100 + 6 * DEFECT
    stack = Stack(hot, axes)
    repaired = without_defects(stack)
    assert (repaired.shape, repaired.dtype, repaired.axes, repaired.grid) == (stack.shape, np.float32, axes, stack.grid)
    whole = np.stack([repaired.frame(number) for number in range(4)])
    assert np.abs(whole - data).max() < 20
    assert (whole == hot).mean() > 0.99
    np.testing.assert_array_equal(repaired.lazy().compute(), whole)
    np.testing.assert_array_equal(repaired.frame_range(1, 3).tensor([0, 1]), whole[1:3])
    for index in (2, -1, slice(1, 3), slice(3, 3), (slice(None), *(slice(2, 4),) * (len(axes) - 1)), (1, 0)):
        np.testing.assert_array_equal(repaired.data[index], whole[index])
    assert stack.data is hot


def test_tiny_frames_have_the_noise_of_their_spread() -> None:
    assert estimate_noise(Stack(np.random.default_rng(0).normal(5, 2, (3, 4, 4)), "tyx")).floor == pytest.approx(4, rel=0.5)
