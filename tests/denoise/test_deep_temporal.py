"""UMVD: what stands still is denoised from its neighbours in time, the ends of the movie like the rest."""

import numpy as np
import pytest

from napari_denoisereg.denoise.deep_temporal import DeepTemporal
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
