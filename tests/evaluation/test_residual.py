"""Residuals of which it is known what is in them."""

import numpy as np
import pytest
from scipy import ndimage

from napari_denoisereg.evaluation.residual import histograms, residual_figures


@pytest.fixture
def clean(rng: np.random.Generator) -> np.ndarray:
    return 100 * ndimage.gaussian_filter(rng.normal(size=(96, 96)), 3)


def test_a_perfect_denoiser_leaves_noise(rng: np.random.Generator, clean: np.ndarray) -> None:
    figures = residual_figures(clean + rng.normal(2, 5, clean.shape), clean)
    assert figures.verdict == "noise"
    assert figures.mean == pytest.approx(2, abs=0.3)
    assert figures.spread == pytest.approx(5, rel=0.05)
    assert abs(figures.neighbours) < 0.05


def test_photon_noise_is_noise(rng: np.random.Generator, clean: np.ndarray) -> None:
    bright = clean - clean.min() + 5
    assert residual_figures(rng.poisson(bright), bright).verdict == "noise"


def test_lost_detail_is_structure(rng: np.random.Generator, clean: np.ndarray) -> None:
    detail = 10 * ndimage.gaussian_filter(rng.normal(size=clean.shape), 1)
    figures = residual_figures(clean + detail, clean)
    assert figures.verdict == "structure"
    assert figures.neighbours > 0.5


def test_lost_contrast_is_told_from_noise(rng: np.random.Generator, clean: np.ndarray) -> None:
    figures = residual_figures(clean + rng.normal(0, 1, clean.shape), 0.5 * clean)
    assert figures.verdict == "contrast"
    assert figures.signal > 0.5


def test_nothing_taken_away(clean: np.ndarray) -> None:
    assert residual_figures(clean, clean).verdict == "nothing"


def test_histograms_share_their_bins_and_hold_every_pixel(rng: np.random.Generator) -> None:
    noisy = rng.normal(0, 10, (64, 64))
    noisy[0, 0] = np.nan
    edges, before, after = histograms(noisy, rng.normal(0, 1, (64, 64)), bins=50)
    assert edges.shape == (51,)
    assert before.sum() == pytest.approx(1)
    assert after.sum() == pytest.approx(1)
    assert after.max() > before.max()


def test_histogram_of_a_constant_image() -> None:
    edges, before, _ = histograms(np.ones((4, 4)), np.ones((4, 4)), bins=4)
    assert np.diff(edges).min() > 0
    assert before.sum() == pytest.approx(1)


def test_what_is_no_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="equal shape"):
        residual_figures(np.zeros((4, 4)), np.zeros((4, 5)))
    with pytest.raises(ValueError, match="finite"):
        residual_figures(np.full((4, 4), np.nan), np.zeros((4, 4)))
