"""The Gaussian denoiser finds the width that suits the movie."""

import numpy as np
import pytest
from scipy import ndimage

from napari_denoisereg.denoise.gaussian import WIDTHS, Gaussian, best_width
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish


def movie(width: float, noise: float, shape: tuple[int, ...] = (4, 64, 64), seed: int = 0) -> tuple[Stack, np.ndarray]:
    random = np.random.default_rng(seed)
    clean = np.stack([ndimage.gaussian_filter(random.normal(size=shape[1:]), width) for _ in range(shape[0])])
    clean = 100 + 10 * clean / clean.std()
    noisy = clean + random.normal(0, noise, shape)
    return Stack(noisy.astype(np.float32), "tyx" if len(shape) == 3 else "tzyx"), clean


@pytest.mark.parametrize(("structure", "noise"), [(2.0, 5.0), (4.0, 10.0), (1.5, 2.0)])
def test_the_width_chosen_blindly_is_the_best_for_the_clean_movie(structure: float, noise: float) -> None:
    stack, clean = movie(structure, noise)
    error = [float(((ndimage.gaussian_filter(stack.data, (0, width, width)) - clean) ** 2).mean()) for width in WIDTHS]
    best = int(np.argmin(error))
    found = WIDTHS.index(best_width(stack, [1.0, 1.0]))
    assert abs(found - best) <= 1
    # With little noise the blind filter wants a little more smoothing than the one that sees the voxel itself.
    assert error[found] < (1.1 if noise >= 5 else 1.6) * error[best]


def test_more_noise_needs_a_wider_filter() -> None:
    widths = [best_width(movie(3.0, noise)[0], [1.0, 1.0]) for noise in (1.0, 5.0, 20.0)]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]


@pytest.mark.parametrize("shape", [(4, 64, 64), (3, 10, 32, 32)])
def test_denoising_brings_the_movie_closer_to_the_clean_one(shape: tuple[int, ...]) -> None:
    stack, clean = movie(2.0, 8.0, shape)
    result = np.asarray(finish(Gaussian().run(stack)).data)
    before, after = (float(((each - clean) ** 2).mean()) for each in (stack.data, result))
    assert after < 0.35 * before


def test_a_width_given_is_the_width_used_and_noted() -> None:
    stack, _ = movie(2.0, 5.0)
    result = finish(Gaussian(sigma=2.0).run(stack))
    wanted = ndimage.gaussian_filter(stack.data, (0, 2, 2), mode="nearest", truncate=3)
    np.testing.assert_allclose(np.asarray(result.data), wanted, atol=0.02)
    assert result.history[-1]["denoise"] == {"kind": "gaussian", "sigma": 2.0}
    chosen = finish(Gaussian().run(stack)).history[-1]["denoise"]["sigma"]
    assert chosen in WIDTHS


def test_coarse_axes_are_filtered_less() -> None:
    stack, _ = movie(2.0, 5.0, (2, 8, 24, 24))
    coarse = Stack(stack.data, "tzyx", (1.0, 4.0, 1.0, 1.0))
    result = np.asarray(finish(Gaussian(sigma=2.0).run(coarse)).data)
    wanted = ndimage.gaussian_filter(stack.data, (0, 0.5, 2, 2), mode="nearest", truncate=3)
    np.testing.assert_allclose(result, wanted, atol=0.1)
