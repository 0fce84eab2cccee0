"""Noise that pixels share is told from structure, and results are judged by how strong it is."""

import numpy as np
import pytest
from scipy import ndimage

from napari_denoisereg.evaluation.denoising_trust import BLUR, check_some
from napari_denoisereg.evaluation.shared_noise import SharedNoise, shared_noise
from napari_denoisereg.evaluation.synthetic import nuclei_movie
from napari_denoisereg.noise import estimate_noise
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish

NOISE = 30.0


def movie(grain: float, moved: int = 1, ndim: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Clean frames whose texture moves, and noise of standard deviation `NOISE` that pixels share over ``grain``."""
    random = np.random.default_rng(0)
    texture = ndimage.gaussian_filter(random.normal(size=(128, 160)), 4)
    clean = np.stack([texture[:112, moved * t : moved * t + 112] for t in range(5)]) * 100 / np.abs(texture).max() + 500
    clean = clean if ndim == 2 else np.repeat(clean[:, None], 3, axis=1)
    noise = random.normal(size=clean.shape)
    noise = ndimage.gaussian_filter(noise, (0,) * (clean.ndim - 2) + (grain, grain))
    return clean, noise * NOISE / noise.std()


def stack(values: np.ndarray) -> Stack:
    return Stack(values.astype(np.float32), "tyx" if values.ndim == 3 else "tzyx")


def measured(noisy: Stack) -> SharedNoise | None:
    return shared_noise(noisy, estimate_noise(noisy), blur=BLUR)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("grain", [0.5, 0.8, 1.2])
def test_shared_noise_is_as_strong_as_it_is(grain: float, ndim: int) -> None:
    clean, noise = movie(grain, ndim=ndim)
    noisy = stack(clean + noise)
    found = measured(noisy)
    assert found is not None
    assert found.strength * estimate_noise(noisy).floor ** 0.5 == pytest.approx(NOISE, rel=0.25)


@pytest.mark.parametrize("moved", [0, 1, 3, 6])
def test_independent_noise_is_not_called_shared_however_cells_move(moved: int) -> None:
    clean, noise = movie(0.0, moved)
    assert measured(stack(clean + noise)) is None


def trembling(grain: float) -> np.ndarray:
    """Strong fine texture that jumps by some pixels from frame to frame, and noise as of `movie`."""
    random = np.random.default_rng(0)
    texture = ndimage.gaussian_filter(random.normal(size=(160, 160)), 2)
    moves = random.integers(-4, 5, (5, 2))
    clean = np.stack([np.roll(texture, move, (0, 1))[20:140, 20:140] for move in moves]) * 100 / texture.std()
    noise = ndimage.gaussian_filter(random.normal(size=clean.shape), (0, grain, grain))
    return clean + noise * NOISE / noise.std() + 500


@pytest.mark.parametrize("grain", [0.5, 0.8])
def test_shared_noise_is_found_under_texture_that_moves_everywhere(grain: float) -> None:
    noisy = stack(trembling(grain))
    found = measured(noisy)
    assert found is not None
    assert found.strength * estimate_noise(noisy).floor ** 0.5 == pytest.approx(NOISE, rel=0.25)


def test_texture_that_moves_everywhere_is_no_noise() -> None:
    assert measured(stack(trembling(0.0))) is None


@pytest.mark.parametrize("difficulty", ["easy", "hard"])
def test_nuclei_that_turn_and_bend_are_no_noise(difficulty: str) -> None:
    noisy = nuclei_movie(difficulty, seed=1, shape=(160, 160), n_frames=5).noisy
    assert measured(stack(noisy)) is None


@pytest.mark.parametrize("shape", [(2, 96, 96), (5, 24, 24), (5, 8, 200)])
def test_nothing_is_said_of_too_little(shape: tuple[int, ...]) -> None:
    assert measured(stack(ndimage.gaussian_filter(np.random.default_rng(0).normal(size=shape), (0, 1, 1)))) is None


def test_what_was_never_recorded_says_nothing() -> None:
    clean, noise = movie(0.8)
    noisy = clean + noise
    noisy[:, :60] = 0  # a mask
    found = measured(stack(noisy))
    assert found is not None
    assert found.strength > 2
    dark = np.random.default_rng(0).poisson(0.01, noisy.shape)
    assert measured(stack(dark)) is None


@pytest.mark.parametrize("grain", [0.5, 0.8])
def test_a_copy_of_shared_noise_is_called_one_and_the_truth_is_not_doubted(grain: float) -> None:
    clean, noise = movie(grain)
    noisy = stack(clean + noise)
    truth = finish(check_some(noisy, stack(clean)))
    assert truth.hints() == ()
    assert truth.is_shared
    np.testing.assert_allclose(truth.removed, 1, atol=0.2)
    # As a network copies it that sees the neighbours: what is smooth of it stays.
    copied = finish(check_some(noisy, stack(clean + ndimage.gaussian_filter(noise, (0, 0.5, 0.5)))))
    assert list(copied.doubts()) == ["removed"]
    assert "enlarge the blind spot" in copied.hints()[0]
    lost = finish(check_some(noisy, stack(ndimage.gaussian_filter(clean, (0, 6, 6)))))
    assert "structure" in lost.doubts()
