"""Fusion: many frames help one, and what moves on its own leaves no ghost."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_denoisereg.denoise import fusion, neighbours
from napari_denoisereg.denoise.cosine_patches import CosinePatches
from napari_denoisereg.denoise.fusion import Fusion
from napari_denoisereg.denoise.neighbours import Neighbours
from napari_denoisereg.evaluation.image_quality import psnr
from napari_denoisereg.evaluation.synthetic import SyntheticMovie, nuclei_movie
from napari_denoisereg.geometry import Affine, Displacement, Grid, Identity, PerFrame, Translation, sample, smooth
from napari_denoisereg.noise import NoiseModel
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish

PLAIN = NoiseModel(0.0, 100.0, 100.0)


def fused(data: np.ndarray, motion: PerFrame | None = None, **settings: Any) -> np.ndarray:
    return np.asarray(finish(Fusion(**settings).run_along(Stack(data.astype(np.float32), "tyx"), motion)).data)


@pytest.fixture(scope="module")
def movie() -> SyntheticMovie:
    return nuclei_movie("easy", seed=1, shape=(160, 160), n_frames=9)


@pytest.fixture(scope="module")
def motion(movie: SyntheticMovie) -> PerFrame:
    grid = Stack(movie.noisy, "tyx").grid
    return PerFrame([Displacement(torch.from_numpy(field), grid) for field in movie.displacement])


@pytest.mark.parametrize("shape", [(20, 31), (16, 16), (5, 20, 9), (1, 9), (18, 18)])
@pytest.mark.parametrize(("side", "step"), [(8, 4), (16, 16), (16, 4)])
def test_patches_put_together_are_the_frame(shape: tuple[int, ...], side: int, step: int) -> None:
    patches, frames = CosinePatches(shape, side, step), torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    waves = patches.split(frames)
    torch.testing.assert_close(patches.join(waves), frames, atol=1e-5, rtol=1e-5)
    rows = [patches.split(frames, slice(row, row + 1)) for row in range(waves.shape[1])]
    torch.testing.assert_close(torch.cat(rows, 1), waves)
    torch.testing.assert_close(patches.means(frames) * patches.unit, waves[..., 0], atol=1e-5, rtol=1e-5)
    each = patches.spread(torch.ones_like(patches.power(waves)))
    assert each.shape == waves.shape
    assert bool((each == 1).all())  # every wave is in one band


@pytest.mark.parametrize("part", [(slice(0, 64), slice(0, 60)), (slice(13, 64), slice(2, 41)), (slice(59, 62), slice(0, 1))])
def test_motion_between_the_points_of_the_coarse_grid_is_read_linearly(part: tuple[slice, ...]) -> None:
    grid = Grid((64, 60))
    coarse = grid.coarser(neighbours.COARSE)
    field = torch.randn(2, *coarse.shape, generator=torch.Generator().manual_seed(0))
    expected = sample(field[None], coarse.to_index(grid.points())[None])[0]
    found = neighbours.between(field, part)
    torch.testing.assert_close(found, expected[(slice(None), *part)], atol=1e-5, rtol=1e-5)


def test_neighbours_are_seen_where_the_frame_is(movie: SyntheticMovie, motion: PerFrame) -> None:
    near = Neighbours(Stack(movie.clean, "tyx"), motion, PLAIN, reach=2, seed=0, device="cpu").around(4)
    apart = (near.frames - near.frames[near.own])[:, 30:-30, 30:-30].abs().mean((1, 2))
    still = torch.from_numpy(movie.clean[2:7] - movie.clean[4])[:, 30:-30, 30:-30].abs().mean((1, 2))
    others = [0, 1, 3, 4]
    assert near.own == 2
    assert bool((apart[others] < 0.5 * still[others]).all())


def test_reading_between_pixels_does_not_blur() -> None:
    y, x = np.mgrid[:64, :64]
    wave = np.stack([np.sin(0.9 * (x - shift)) + np.cos(0.8 * y) for shift in (0, 0.5)]).astype(np.float32)
    motion = PerFrame([Identity(2), Translation([0.0, 0.5])])
    near = Neighbours(Stack(wave, "tyx"), motion, PLAIN, reach=1, seed=0, device="cpu").around(0)
    torch.testing.assert_close(near.frames[1, 4:-4, 4:-4], near.frames[0, 4:-4, 4:-4], atol=0.02, rtol=0)


def test_neighbours_along_the_motion_beat_a_single_frame(movie: SyntheticMovie, motion: PerFrame) -> None:
    alone, together = fused(movie.noisy, reach=0), fused(movie.noisy, motion)
    assert psnr(alone, movie.clean, peak=movie.peak) > psnr(movie.noisy, movie.clean, peak=movie.peak) + 9
    assert psnr(together, movie.clean, peak=movie.peak) > psnr(alone, movie.clean, peak=movie.peak) + 1.5


def test_wrong_motion_does_no_harm(movie: SyntheticMovie) -> None:
    wrong = PerFrame([Translation([3.0 * t, -5.0 * t]) for t in range(len(movie.noisy))])
    alone, misled = fused(movie.noisy, reach=0), fused(movie.noisy, wrong)
    assert psnr(misled, movie.clean, peak=movie.peak) > psnr(alone, movie.clean, peak=movie.peak) - 0.5


def test_what_moves_on_its_own_leaves_no_ghost() -> None:
    y, x = np.mgrid[:96, :96]
    random = np.random.default_rng(0)
    still = 100 * np.exp(-((y - 20) ** 2 + (x - 20) ** 2) / 18)
    spot = np.stack([100 * np.exp(-((y - 60) ** 2 + (x - 10 - 9 * t) ** 2) / 18) for t in range(9)])
    result = fused(100 + still + spot + random.normal(0, 6, spot.shape), PerFrame([Identity(2)] * 9))[4] - 100
    assert result[60, 46] == pytest.approx(100, rel=0.1)
    for elsewhere in (10, 19, 28, 64, 73, 82):
        assert abs(result[60, elsewhere]) < 6  # an unweighted mean of all frames leaves 11


def test_noise_comes_out_without_structure_and_of_the_same_mean() -> None:
    noise = np.random.default_rng(1).normal(500, 20, (9, 128, 128))
    result = fused(noise, PerFrame([Identity(2)] * 9))
    assert result.std() < 1.0
    np.testing.assert_allclose(result.mean((1, 2)), noise.mean((1, 2)), rtol=1e-4)
    blurred = smooth(torch.from_numpy(noise - result)[:, None].float(), 2.0)
    assert float(blurred.std()) == pytest.approx(20 / (2 * np.sqrt(np.pi) * 2), rel=0.1)  # as of white noise


def test_noise_of_a_bright_place_amid_dark_ones_is_taken_away() -> None:
    random = np.random.default_rng(0)
    clean = np.full((7, 128, 128), 0.5)
    clean[:, 56:72, 56:72] = 20  # photons; their noise is six times that around
    result = fused(100 * random.poisson(clean) + random.normal(0, 100, clean.shape), PerFrame([Identity(2)] * 7))
    mean_of_all = 100 * np.sqrt(20 / 7)
    assert result[:, 60:68, 60:68].std(axis=(1, 2)).mean() < 0.8 * mean_of_all


def test_no_noise_is_left_where_neighbours_end(movie: SyntheticMovie, motion: PerFrame) -> None:
    result = fused(movie.noisy, motion, reach=3, overlap=2)
    dark = movie.clean < movie.clean.min() + 20
    rough = np.abs(result - ndimage.uniform_filter(result, (0, 3, 3)))
    assert rough[dark].max() < 0.3 * movie.noisy[dark].std()


def test_single_photons_are_not_taken_for_hot_pixels() -> None:
    photons = np.random.default_rng(0).poisson(
        np.pad(np.full((7, 16, 16), 4.0), ((0, 0), (40, 40), (40, 40)), constant_values=1)
    )
    assert fused(photons).sum() == pytest.approx(photons.sum(), rel=1e-4)


def test_two_noise_realisations_show_the_same_structure(movie: SyntheticMovie, motion: PerFrame) -> None:
    random = np.random.default_rng(2)
    one, two = (fused(movie.clean + random.normal(0, 300, movie.clean.shape), motion) for _ in range(2))
    assert np.corrcoef((one - one.mean()).ravel(), (two - two.mean()).ravel())[0, 1] > 0.99


def test_hot_pixels_saturation_and_a_lost_frame_do_not_spread(movie: SyntheticMovie, motion: PerFrame) -> None:
    spoilt, random = movie.noisy.copy(), np.random.default_rng(3)
    hot = random.integers(8, 152, (2, 60))
    spoilt[:, hot[0], hot[1]] = 30_000
    spoilt[4] = 150 + random.normal(0, 300, spoilt[4].shape)
    plain, result = fused(movie.noisy, motion), fused(spoilt, motion)
    kept = [0, 1, 2, 3, 5, 6, 7, 8]
    loss = psnr(plain[kept], movie.clean[kept], peak=movie.peak) - psnr(
        result[kept], movie.clean[kept], peak=movie.peak, fit=True
    )
    assert loss < 1.5


def test_frames_do_not_depend_on_how_far_the_stack_goes_on(movie: SyntheticMovie, motion: PerFrame) -> None:
    whole = fused(movie.noisy, motion, reach=1)
    part = fused(movie.noisy[:5], motion[:5], reach=1)
    assert np.abs(whole[1:4] - part[1:4]).max() < 0.05 * movie.peak


def test_motion_of_another_stack_is_refused(movie: SyntheticMovie, motion: PerFrame) -> None:
    with pytest.raises(ValueError, match="motion of 9 frames, got 4"):
        fused(movie.noisy, motion[:4])


@pytest.mark.slow
@pytest.mark.parametrize("ndim", [2, 3])
def test_large_frames_fused_part_by_part_have_no_seams(ndim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    shape = (4, 150, 140) if ndim == 2 else (3, 12, 72, 64)
    clean = 400 + 300 * ndimage.gaussian_filter(random.normal(size=shape[1:]), 3) * 8
    noisy = random.poisson(np.maximum(np.broadcast_to(clean, shape), 1)).astype(np.float32)
    stack = Stack(noisy, "tyx" if ndim == 2 else "tzyx")
    still = PerFrame([Affine(torch.eye(ndim, ndim + 1, dtype=torch.float64))] * shape[0])
    whole = finish(Fusion().run_along(stack, still)).frame(1)
    monkeypatch.setattr(fusion, "PART", {2: 64, 3: 32})
    monkeypatch.setattr(neighbours, "LARGEST_DOUBLED", 0)
    parts = finish(Fusion().run_along(stack, still)).frame(1)
    left = np.std(whole - clean)
    assert np.std(parts - whole) < 0.3 * left
    border, errors = slice(58, 70), [np.abs(each - clean) for each in (parts, whole)]
    assert errors[0][..., border].mean() < 1.05 * errors[1][..., border].mean()
    assert np.std(parts - clean) < 1.05 * left
