"""What cameras do wrong: hot and dead pixels, frames in which nothing was recorded, clipped light, by every denoiser."""

from typing import Any

import dask.array as da
import numpy as np
import pytest
import torch

import napari_denoisereg as dr
from napari_denoisereg.denoise import Denoiser
from napari_denoisereg.evaluation.denoising_trust import check_denoising, check_some
from napari_denoisereg.geometry import smooth
from napari_denoisereg.pipeline import Pipeline
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish

NOISE = 20.0
pytestmark = pytest.mark.filterwarnings("ignore:Denoising")  # of a few steps of training
every_denoiser = pytest.mark.parametrize("kind", Denoiser.members())


def method(kind: str) -> Denoiser:
    """A few steps of training: what is compared is two runs of equally little training."""
    budget = {"iterations": 3, "seconds": 1e6, "patch": 16, "batch": 2, "every": 2}
    chosen = {"weight": 0.8} if kind == "total_variation" else {}  # two choices of a few steps may differ by one
    return Denoiser.coerce({"kind": kind, **(budget if Denoiser.members()[kind].is_trained else chosen)})


def denoised(kind: str, data: Any, axes: str = "tyx") -> np.ndarray:
    return np.asarray(dr.denoise(Stack(data, axes), method(kind)).data)


@pytest.fixture(scope="module")
def recorded() -> np.ndarray:
    """Blobs that stand still, uint16."""
    random = np.random.default_rng(0)
    blobs = smooth(torch.from_numpy(random.normal(0, 1, (1, 1, 48, 40))).float(), 3.0)[0].numpy()
    clean = 500 + 30 * blobs / blobs.std()
    return (clean + random.normal(0, NOISE, (6, 48, 40))).clip(0).astype(np.uint16)


@every_denoiser
def test_hot_and_dead_pixels_change_nothing_elsewhere(kind: str, recorded: np.ndarray) -> None:
    spoilt = recorded.copy()
    hot = np.random.default_rng(3).random(recorded.shape) < 0.001
    spoilt[hot] = 60_000
    spoilt[2, 0, 11] = 60_000  # at the border
    spoilt[4, 30, 30] = 0
    plain, other = denoised(kind, recorded), denoised(kind, spoilt)
    assert np.abs(other - plain).max() < 3 * NOISE  # of 59 500
    assert np.abs(other - plain).mean() < 0.05 * NOISE
    np.testing.assert_allclose(other.mean((1, 2)), plain.mean((1, 2)), atol=0.05 * NOISE)
    trust = finish(check_denoising(Stack(spoilt, "tyx"), Stack(other, "tyx")))
    np.testing.assert_allclose(trust.kept, 1, atol=1e-3)


@every_denoiser
def test_frames_in_which_nothing_was_recorded_stay_and_harm_no_other(kind: str, recorded: np.ndarray) -> None:
    lost = recorded.copy()
    lost[0], lost[3] = 0, 77
    with pytest.warns(UserWarning, match="Nothing was recorded in frame 0, 3: it is left out, and stays as it is"):
        result = denoised(kind, lost)
    assert result.shape == recorded.shape
    assert result.dtype == np.float32
    assert (result[0] == 0).all()
    assert (result[3] == 77).all()
    np.testing.assert_array_equal(result[[1, 2, 4, 5]], denoised(kind, recorded[[1, 2, 4, 5]]))


def test_a_frame_that_one_channel_lost_is_denoised_in_the_other(recorded: np.ndarray) -> None:
    both = np.stack([recorded, recorded], axis=1)
    both[2, 1] = 0
    with pytest.warns(UserWarning, match="frame 2"):
        result = denoised("gaussian", da.from_array(both, chunks=(4, 1, 20, 40)), "tcyx")
    np.testing.assert_array_equal(result[:, 0], denoised("gaussian", recorded))
    assert (result[2, 1] == 0).all()
    assert (result[3, 1] != both[3, 1]).any()


@pytest.mark.filterwarnings("ignore:Nothing was recorded")
def test_lost_frames_are_not_judged(recorded: np.ndarray) -> None:
    lost = recorded.copy()
    lost[[0, 3, 5]] = 0
    stack = Stack(lost, "tyx")
    result = finish(Pipeline(denoise="fusion").run(stack, device="cpu"))
    assert result.trust is not None
    assert result.trust.hints() == ()
    assert result.trust.frames.tolist() == [1, 2, 4]
    assert finish(check_some(stack, result.denoised)).frames.tolist() == [1, 2, 4]
    assert finish(check_denoising(stack, result.denoised)).frames.tolist() == [1, 2, 4]


def test_a_preview_looks_past_lost_frames(recorded: np.ndarray) -> None:
    lost = recorded.copy()
    lost[2] = 0
    recipe = Pipeline(denoise={"kind": "gaussian", "sigma": 1.0})
    for frame in (1, 3):
        expected = finish(recipe.preview(Stack(recorded, "tyx"), frame, device="cpu"))
        np.testing.assert_array_equal(finish(recipe.preview(Stack(lost, "tyx"), frame, device="cpu")), expected)
    with pytest.raises(ValueError, match="Nothing was recorded in frame 2; choose another frame to preview"):
        finish(recipe.preview(Stack(lost, "tyx"), 2, device="cpu"))


def test_registration_still_refuses_lost_frames(recorded: np.ndarray) -> None:
    lost = recorded.copy()
    lost[2] = 0
    with pytest.raises(ValueError, match="Frame 2 is constant"):
        dr.run(Stack(lost, "tyx"), "fast")


@every_denoiser
def test_clipped_light_stays_bright(kind: str, recorded: np.ndarray) -> None:
    spot = recorded.astype(float)
    spot[:, 20:28, 16:24] += 3000
    clipped = spot.clip(0, 1023).astype(np.uint16)
    result = denoised(kind, clipped)
    assert np.isfinite(result).all()
    np.testing.assert_allclose(result.mean((1, 2)), clipped.mean((1, 2)), rtol=0.01)
    if not Denoiser.members()[kind].is_trained:
        assert result[:, 22:26, 18:22].min() > 900
