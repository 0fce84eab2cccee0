"""Settings chosen by hidden pixels are near those that the clean movie would choose."""

import numpy as np
import pytest
import torch

from napari_denoisereg.denoise.fusion import Fusion
from napari_denoisereg.denoise.gaussian import Gaussian
from napari_denoisereg.denoise.held_out import best_of, held_out_error
from napari_denoisereg.denoise.total_variation import TotalVariation
from napari_denoisereg.geometry import Identity, PerFrame, smooth
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish


def movie(n_frames: int = 5, side: int = 64) -> tuple[np.ndarray, Stack]:
    """A still texture, clean and noisy."""
    texture = smooth(torch.randn(1, 1, side, side, generator=torch.Generator().manual_seed(3)), 2.5)[0, 0]
    clean = np.repeat((100 + 20 * texture / texture.std()).numpy()[None], n_frames, axis=0)
    return clean, Stack((clean + np.random.default_rng(4).normal(0, 10, clean.shape)).astype(np.float32), "tyx")


def test_error_is_the_true_error_plus_the_noise() -> None:
    clean, stack = movie(side=160)
    denoiser = Gaussian(sigma=1.5)
    true = float(np.mean((np.asarray(finish(denoiser.run(stack)).data) - clean) ** 2))
    assert finish(held_out_error(stack, denoiser)) - 100 == pytest.approx(true, abs=7)  # standard error of the noise: 2


@pytest.mark.parametrize(
    "candidates",
    [
        [Gaussian(sigma=sigma) for sigma in (0.3, 1.5, 6.0)],
        [TotalVariation(weight=weight) for weight in (0.05, 1.5, 30.0)],
        [Fusion(strength=strength, similar=1, reach=0) for strength in (0.0, 1.0, 4.0)],
    ],
    ids=["gaussian", "total_variation", "fusion"],
)
def test_strength_is_chosen_as_by_the_clean_movie(candidates: list) -> None:
    clean, stack = movie(2)
    true = [float(np.mean((np.asarray(finish(each.run(stack)).data) - clean) ** 2)) for each in candidates]
    assert finish(best_of(stack, candidates)) is candidates[int(np.argmin(true))]


def test_neighbours_along_the_motion_win_over_single_frames() -> None:
    _, stack = movie()
    alone, together = Fusion(reach=0), Fusion(reach=2)
    assert finish(best_of(stack, [alone, together], motion=PerFrame([Identity(2)] * 5))) is together


def test_something_to_choose_from_is_expected() -> None:
    with pytest.raises(ValueError, match="at least one"):
        finish(best_of(movie(1)[1], []))
