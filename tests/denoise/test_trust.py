"""What everybody may expect of a denoised movie: brightness, both ends, chunks, tiles, lines, pure noise, residuals."""

from typing import Any

import dask.array as da
import numpy as np
import pytest
import torch

import napari_denoisereg as dr
from napari_denoisereg.denoise import Denoiser, fusion
from napari_denoisereg.evaluation.denoising_trust import Trust, check_denoising
from napari_denoisereg.evaluation.synthetic import SyntheticMovie, nuclei_movie
from napari_denoisereg.geometry import Displacement, Identity, PerFrame
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish

UNTRAINED = ["gaussian", "total_variation", "fusion"]
every_untrained = pytest.mark.parametrize("kind", UNTRAINED)


def denoised(kind: str, stack: Stack, motion: PerFrame | None = None, **settings: Any) -> np.ndarray:
    return np.asarray(finish(Denoiser.coerce({"kind": kind, **settings}).run_along(stack, motion)).data)


def still(movie: SyntheticMovie, n_frames: int, seed: int = 0) -> tuple[np.ndarray, Stack]:
    """The same clean frame again and again, with equal and fresh noise."""
    clean = np.repeat(movie.clean[:1], n_frames, axis=0)
    noise = np.random.default_rng(seed).normal(0, 0.08 * movie.peak, clean.shape)
    return clean, Stack((clean + noise).astype(np.float32), "tyx")


def judged(stack: Stack, result: np.ndarray) -> Trust:
    return finish(check_denoising(stack, stack.with_data(result)))


@pytest.fixture(scope="module")
def movie() -> SyntheticMovie:
    return nuclei_movie("easy", seed=2, shape=(160, 160), n_frames=7)


@pytest.fixture(scope="module")
def motion(movie: SyntheticMovie) -> PerFrame:
    grid = Stack(movie.noisy, "tyx").grid
    return PerFrame([Displacement(torch.from_numpy(field), grid) for field in movie.displacement])


@every_untrained
def test_intensities_are_kept_and_no_outline_is_taken_away(kind: str, movie: SyntheticMovie, motion: PerFrame) -> None:
    stack = Stack(movie.noisy + 100, "tyx")  # a camera's offset
    trust = judged(stack, denoised(kind, stack, motion))
    np.testing.assert_allclose(trust.kept, 1, atol=0.01)
    assert trust.structure.max() < 1.2
    assert trust.removed.min() > 0.85
    assert trust.hints() == ()


def test_an_outline_that_is_taken_away_is_found(movie: SyntheticMovie) -> None:
    stack = Stack(movie.noisy, "tyx")
    assert judged(stack, denoised("gaussian", stack, sigma=6.0)).structure.min() > 1.5


def test_python_is_told_where_a_result_cannot_be_trusted(movie: SyntheticMovie) -> None:
    stack = Stack(movie.noisy, "tyx")
    with pytest.warns(UserWarning, match="Denoising: All 3 frames .* fine structure was taken away") as told:
        dr.denoise(stack, {"kind": "gaussian", "sigma": 6.0})
    assert {warning.filename for warning in told} == {__file__}
    with pytest.warns(UserWarning, match="Denoising: .* hardly any noise was taken away"):
        dr.denoise(stack, {"kind": "gaussian", "sigma": 0.2})
    dr.denoise(stack, "gaussian")  # a warning would be an error


@pytest.mark.parametrize(
    ("kind", "settings"), [("gaussian", {}), ("total_variation", {}), ("fusion", {}), ("fusion", {"reach": 0})]
)
def test_pure_noise_shows_no_structure(kind: str, settings: dict) -> None:
    noise = np.random.default_rng(1).poisson(40, (5, 96, 96)).astype(np.float32)
    stack = Stack(noise, "tyx")
    result = denoised(kind, stack, PerFrame([Identity(2)] * 5), **settings)
    assert result.std() < 0.1 * noise.std()
    trust = judged(stack, result)
    np.testing.assert_allclose(trust.removed, 1, atol=0.05)
    assert 0.7 < trust.structure.min() <= trust.structure.max() < 1.15  # below 1: a little of the smoothest noise stays


def test_first_and_last_frame_are_helped_as_well_as_the_middle(movie: SyntheticMovie) -> None:
    clean, stack = still(movie, 9)
    result = denoised("fusion", stack, PerFrame([Identity(2)] * 9), reach=3)
    errors = ((result - clean) ** 2).mean((1, 2))
    assert max(errors[0], errors[-1]) < 1.15 * errors[3:6].mean()


@every_untrained
def test_brightness_does_not_jump_from_frame_to_frame_or_chunk_to_chunk(kind: str, movie: SyntheticMovie) -> None:
    _, stack = still(movie, 8)
    motion = PerFrame([Identity(2)] * 8)
    whole = denoised(kind, stack, motion, **({"reach": 2} if kind == "fusion" else {}))
    np.testing.assert_allclose(whole.mean((1, 2)), stack.data.mean((1, 2)), rtol=1e-3)
    in_chunks = stack.with_data(da.from_array(stack.data, chunks=(3, 50, 70)))
    again = denoised(kind, in_chunks, motion, **({"reach": 2} if kind == "fusion" else {}))
    np.testing.assert_array_equal(again, whole)


@pytest.mark.parametrize("reach", [0, 2])
def test_large_frames_have_no_seams(reach: int, movie: SyntheticMovie, monkeypatch: pytest.MonkeyPatch) -> None:
    _, stack = still(movie, 1 + reach)
    motion = PerFrame([Identity(2)] * (1 + reach))
    whole = denoised("fusion", stack, motion, reach=reach)
    monkeypatch.setitem(fusion.PART, 2, 64)
    tiled = denoised("fusion", stack, motion, reach=reach)
    apart = np.abs(tiled - whole)
    noise = 0.08 * movie.peak
    assert np.sqrt((apart**2).mean()) < 0.02 * noise
    # At seams no more than elsewhere.
    seams = apart[:, :, [63, 64, 127, 128]].mean()
    assert seams < 0.05 * noise


def test_line_noise_is_averaged_along_the_motion(movie: SyntheticMovie) -> None:
    clean, stack = still(movie, 9)
    lines = np.random.default_rng(5).normal(0, 0.04 * movie.peak, (9, clean.shape[1], 1))
    result = denoised("fusion", stack.with_data((stack.data + lines).astype(np.float32)), PerFrame([Identity(2)] * 9))
    left = (result - clean).mean(2)  # what all pixels of a row share
    assert left.std() < 0.6 * lines.std()
