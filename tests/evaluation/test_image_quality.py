"""Laws of PSNR, SSIM, NCC and the noise level, then known answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_denoisereg.evaluation.image_quality import gain_offset, ncc, noise_level, psnr, ssim

images = arrays(np.float32, (8, 9), elements=st.floats(0.125, 100, width=32))
gains = st.floats(0.1, 10)
offsets = st.floats(-50, 50)


def picture(seed: int = 0, shape: tuple[int, ...] = (64, 64)) -> np.ndarray:
    ramp = np.linspace(0, 10, shape[-1])
    return 100 + 50 * np.sin(ramp) + np.random.default_rng(seed).normal(0, 1, shape)


@given(images)
@settings(max_examples=30, deadline=None)
def test_equal_images_have_infinite_psnr_and_ssim_1(image: np.ndarray) -> None:
    assert psnr(image, image) == np.inf
    assert ssim(image, image) == pytest.approx(1)


@given(gains, offsets)
@settings(max_examples=30, deadline=None)
def test_fitted_psnr_does_not_see_gain_and_offset(gain: float, offset: float) -> None:
    clean, noisy = picture(0), picture(1)
    assert psnr(gain * noisy + offset, clean, fit=True) == pytest.approx(psnr(noisy, clean, fit=True), abs=1e-6)


@given(gains, offsets)
@settings(max_examples=30, deadline=None)
def test_ncc_does_not_see_gain_and_offset(gain: float, offset: float) -> None:
    first, second = picture(0), picture(1)
    assert ncc(gain * first + offset, second) == pytest.approx(ncc(first, second), abs=1e-9)
    assert ncc(-first, second) == pytest.approx(-ncc(first, second), abs=1e-12)


@given(images, images)
@settings(max_examples=30, deadline=None)
def test_fitting_never_makes_psnr_worse(image: np.ndarray, clean: np.ndarray) -> None:
    assert psnr(image, clean, fit=True) >= psnr(image, clean) - 1e-6


def test_psnr_equals_its_formula() -> None:
    clean = np.zeros((10, 10))
    assert psnr(clean + 0.1, clean, peak=1.0) == pytest.approx(20.0)
    clean[:] = np.linspace(0, 4, 100).reshape(10, 10)
    assert psnr(clean + 0.5, clean) == pytest.approx(20 * np.log10(np.percentile(clean, 99.9) / 0.5))


def test_gain_and_offset_are_found() -> None:
    clean = picture()
    assert gain_offset((clean - 7) / 3, clean) == pytest.approx((3.0, 7.0))
    assert gain_offset(np.ones((4, 4)), np.full((4, 4), 5.0)) == (0.0, 5.0)


def test_integers_do_not_wrap_around() -> None:
    clean = np.full((8, 8), 10, np.uint8)
    assert psnr(np.full((8, 8), 5, np.uint8), clean, peak=10) == pytest.approx(20 * np.log10(2))


def test_ssim_falls_with_noise() -> None:
    clean, rng = picture(), np.random.default_rng(5)
    values = [ssim(clean + rng.normal(0, sigma, clean.shape), clean) for sigma in (1, 10, 40)]
    assert 1 > values[0] > values[1] > values[2]


def test_ncc_looks_only_inside_the_mask() -> None:
    first, second = picture(0), picture(0)
    second[:, 32:] = np.nan
    mask = np.zeros(first.shape, bool)
    mask[:, :32] = True
    assert ncc(first, second, mask=mask) == pytest.approx(1)
    assert np.isnan(ncc(first, np.ones(first.shape)))


@pytest.mark.parametrize("sigma", [0.5, 3.0, 20.0])
@pytest.mark.parametrize("shape", [(200, 200), (3, 120, 120)])
def test_noise_level_finds_the_noise_on_a_smooth_image(sigma: float, shape: tuple[int, ...]) -> None:
    smooth = 100 + 50 * np.sin(np.linspace(0, 6, shape[-1])) + np.zeros(shape)
    noisy = smooth + np.random.default_rng(0).normal(0, sigma, shape)
    assert noise_level(noisy) == pytest.approx(sigma, rel=0.05)
    assert noise_level(3 * noisy) == pytest.approx(3 * noise_level(noisy))


def test_noise_level_of_a_plane_is_zero() -> None:
    rows, columns = np.indices((20, 20))
    assert noise_level(3 * rows + 2 * columns) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("measure", "error", "message"),
    [
        (lambda: psnr(np.zeros((2, 2)), np.zeros((2, 3))), ValueError, "agree in shape"),
        (lambda: psnr(np.full((2, 2), np.nan), np.ones((2, 2))), ValueError, "finite values.*4 NaN"),
        (lambda: psnr(np.ones((2, 2)), np.zeros((2, 2))), ValueError, "peak must be positive, got 0.0"),
        (lambda: psnr(np.ones((2, 2), complex), np.ones((2, 2))), TypeError, "real image"),
        (lambda: psnr(np.ones((0, 2)), np.ones((0, 2))), ValueError, "finite values"),
        (lambda: ssim(np.ones((3, 3)), np.ones((3, 3))), ValueError, "at least 7 pixels"),
        (lambda: ncc(np.ones((3, 3)), np.ones((3, 3)), mask=np.ones((2, 2), bool)), ValueError, "mask must have"),
        (lambda: noise_level(np.ones(5)), ValueError, "3 x 3"),
    ],
)
def test_bad_images_are_refused(measure, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        measure()
