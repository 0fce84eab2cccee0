"""UMVD: what stands still is denoised from its neighbours in time, the ends of the movie like the rest."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_denoisereg.denoise.deep_temporal import DeepTemporal
from napari_denoisereg.denoise.optical_flow import gone_on, optical_flow
from napari_denoisereg.evaluation.image_quality import psnr
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish


def still_movie(n_frames: int = 8) -> tuple[np.ndarray, Stack]:
    """Structures from pixel to cell size that do not move, under noise as strong as they are."""
    random = np.random.default_rng(3)
    clean = np.kron(random.uniform(0, 1, (12, 12)), np.ones((4, 4))) + random.uniform(0, 1, (48, 48))
    clean = np.repeat(clean[None], n_frames, axis=0).astype(np.float32)
    return clean, Stack(clean + random.normal(0, 0.4, clean.shape).astype(np.float32), "tyx")


@pytest.mark.slow
def test_structures_of_single_pixels_come_back_from_the_neighbours() -> None:
    clean, stack = still_movie()
    method = DeepTemporal(iterations=120, seconds=1e6, patch=32, batch=4, reach=2)
    denoised = np.asarray(finish(method.run(stack)).data)
    before, after = psnr(np.asarray(stack.data), clean), psnr(denoised, clean)
    assert after > before + 2
    each = [psnr(truth, frame) for truth, frame in zip(clean, denoised, strict=True)]
    assert min(each[0], each[-1]) > np.median(each) - 1.5


def moving_frame(time: float, seed: int = 0, speed: float = 1.5) -> np.ndarray:
    """Grains that move along y, and half as fast along x, ``(64, 64)``, standard deviation 1."""
    grains = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(128, 128)), 2.0)
    moved = ndimage.shift(grains / grains.std(), (speed * time, speed * time / 2), mode="grid-wrap")
    return moved[32:96, 32:96].astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_where_things_move_the_ends_are_denoised_as_well_as_the_rest(seed: int) -> None:
    """With mirrored neighbours that are not moved the ends are 5 to 8 dB worse: things would have to have turned back there."""
    clean = np.stack([moving_frame(time, seed) for time in range(8)])
    noisy = clean + np.random.default_rng(seed).normal(0, 0.5, clean.shape).astype(np.float32)
    method = DeepTemporal(iterations=60, seconds=1e6, patch=32, batch=4, seed=seed)
    denoised = np.asarray(finish(method.run(Stack(noisy, "tyx"))).data)
    each = [psnr(truth, frame) for truth, frame in zip(clean, denoised, strict=True)]
    assert min(each[0], each[1], each[-2], each[-1]) > np.median(each[2:-2]) - 2


@pytest.mark.parametrize("share", [-1.0, -0.5, 2.0])
def test_what_goes_on_is_found_where_it_would_be(share: float) -> None:
    now, later, wanted = (torch.from_numpy(moving_frame(time)) for time in (0, 1, share))
    found = gone_on(later, optical_flow(now, later), share)
    inner = (slice(8, -8),) * 2
    assert (found - wanted)[inner].std() < 0.25
    assert (later - wanted)[inner].std() > 0.4


def test_nothing_goes_on_where_nothing_moves() -> None:
    frame = torch.from_numpy(moving_frame(0))
    assert torch.equal(gone_on(frame, torch.zeros(2, 64, 64), -1.0), frame)


def test_a_model_of_another_size_is_not_trained_on() -> None:
    _, stack = still_movie(4)
    model = finish(DeepTemporal(iterations=2, patch=16, reach=1).fit([stack]))
    with pytest.raises(ValueError, match="'reach': 1"):
        finish(DeepTemporal(iterations=2, patch=16, reach=2).fit([stack], start=model))
    result = finish(DeepTemporal(reach=2).run(stack, model=model))  # it knows its own size
    assert result.shape == stack.shape


def test_a_single_frame_has_no_neighbours() -> None:
    stack = still_movie(2)[1].frame_range(0, 1)
    with pytest.raises(ValueError, match="at least two frames"):
        finish(DeepTemporal(iterations=1, patch=16).fit([stack]))
