"""Collaborative filtering: similar places of a frame help each other, and nothing is made of noise."""

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_denoisereg.denoise import collaborative
from napari_denoisereg.denoise.collaborative import collaborate
from napari_denoisereg.denoise.fusion import Fusion
from napari_denoisereg.evaluation.synthetic import nuclei_movie
from napari_denoisereg.geometry import smooth
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish


def spots(*shape: int, distance: int = 9) -> Tensor:
    """Equal bright spots on a lattice, 8 high."""
    y, x = (torch.arange(length) % distance - distance // 2 for length in shape)
    return 8 * torch.exp(-(y[:, None] ** 2 + x**2) / 6.0)


def noise_of(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pilot_of(noisy: Tensor) -> Tensor:
    return smooth(noisy[None, None], 1.0)[0, 0]


def error(image: Tensor, clean: Tensor) -> float:
    return float((image - clean).square().mean())


def test_what_repeats_itself_is_restored_far_better_than_in_the_pilot() -> None:
    clean = spots(72, 90)
    noisy = clean + noise_of(72, 90)
    result = collaborate(noisy, pilot_of(noisy))
    assert error(result, clean) < 0.38 * error(pilot_of(noisy), clean)
    assert error(result, clean) < 0.145 * error(noisy, clean)


def test_more_similar_places_help_more() -> None:
    clean = spots(72, 90)
    noisy = clean + noise_of(72, 90)
    alone, few, many = (error(collaborate(noisy, pilot_of(noisy), similar=count), clean) for count in (1, 4, 16))
    assert many < few < alone


def test_a_flat_pilot_leaves_no_structure() -> None:
    noisy = noise_of(64, 64)
    result = collaborate(noisy, torch.zeros(64, 64))
    assert float(result.std()) < 0.1


def test_nothing_is_changed_at_strength_zero() -> None:
    noisy = spots(40, 33) + noise_of(40, 33)
    torch.testing.assert_close(collaborate(noisy, pilot_of(noisy), strength=0.0), noisy, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shape", [(8, 8), (12, 13), (9, 40), (1, 9)])
def test_small_frames_have_fewer_places(shape: tuple[int, int]) -> None:
    noisy = noise_of(*shape)
    result = collaborate(noisy, pilot_of(noisy), similar=64)
    assert result.shape == shape
    assert bool(result.isfinite().all())


def test_large_frames_have_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = spots(100, 61) + noise_of(100, 61)
    whole = collaborate(noisy, pilot_of(noisy))
    monkeypatch.setattr(collaborative, "BAND", 5)
    monkeypatch.setattr(collaborative, "CHUNK", 37)
    torch.testing.assert_close(collaborate(noisy, pilot_of(noisy)), whole, atol=1e-4, rtol=1e-4)


def test_single_images_gain_over_patches_by_themselves() -> None:
    movie = nuclei_movie("easy", seed=1, shape=(128, 128), n_frames=2)
    stack = Stack(movie.noisy[:1], "tyx")
    alone, together = (np.asarray(finish(Fusion(similar=count).run(stack)).data)[0] for count in (1, 16))
    errors = [float(np.mean((image - movie.clean[0]) ** 2)) for image in (alone, together)]
    assert errors[1] < 0.98 * errors[0]
    assert together.sum() == pytest.approx(movie.noisy[0].sum(), rel=1e-3)
