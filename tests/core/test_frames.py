"""Frames: drawn at random for training, in batches, and arrays to write results to."""

import gc
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from hypothesis import given
from hypothesis import strategies as st

from napari_denoisereg.frames import FramePool, batches, denoise_frames, result_array, standardisation
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Progress, finish


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go, empty, and almost no memory."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("DENOISEREG_MEMORY", "100")
    return tmp_path


def movie(axes: str = "tyx", seed: int = 0) -> Stack:
    shape = {"tyx": (5, 24, 20), "tzyx": (3, 4, 16, 18), "zyx": (6, 16, 16)}[axes]
    return Stack(np.random.default_rng(seed).normal(50, 10, shape).astype(np.float32), axes)


@given(st.integers(1, 50), st.integers(1, 20))
def test_batches_hold_every_frame_once_in_order(count: int, size: int) -> None:
    parts = list(batches(count, size))
    assert [number for part in parts for number in part] == list(range(count))
    assert all(1 <= len(part) <= size for part in parts)


def test_small_results_are_kept_in_memory() -> None:
    array = result_array((2, 3, 4), np.float32, (1, 3, 4))
    assert isinstance(array, np.ndarray)
    assert array.dtype == np.float32
    assert not array.any()


def test_large_results_are_kept_on_disk_as_long_as_they_are_needed(scratch: Path) -> None:
    array = result_array((4, 8, 8), np.float32, (1, 8, 8))
    assert isinstance(array, zarr.Array)
    array[2] = np.ones((8, 8))
    assert float(np.asarray(array[2]).sum()) == 64
    assert float(np.asarray(array[0]).sum()) == 0
    assert len(list(scratch.iterdir())) == 1
    stack = Stack(array, "tyx")
    lazy = stack.lazy()
    del array, stack
    gc.collect()
    assert float(np.asarray(lazy[2]).sum()) == 64
    del lazy
    gc.collect()
    assert not list(scratch.iterdir())


@pytest.mark.parametrize("axes", ["tyx", "tzyx", "zyx"])
@pytest.mark.parametrize("batch", [1, 2, 100])
def test_frames_are_denoised_in_batches(axes: str, batch: int) -> None:
    stack, sizes, seen = movie(axes), list[int](), list[Progress]()

    def halve(noisy: torch.Tensor, _: Sequence[int]) -> torch.Tensor:
        sizes.append(len(noisy))
        assert noisy.shape[1:] == (1, *stack.grid.shape)
        return noisy / 2

    steps = denoise_frames(stack, halve, device="cpu", batch=batch, step={"denoise": "half"})
    result = finish(steps, seen.append)
    np.testing.assert_array_equal(np.asarray(result.data), stack.data / 2)
    assert result.dtype == np.float32
    assert (result.axes, result.grid, result.history) == (stack.axes, stack.grid, ({"denoise": "half"},))
    assert result.name.endswith("[denoised]")
    assert sum(sizes) == stack.n_frames
    assert max(sizes) <= batch
    assert seen[-1].done == seen[-1].total == stack.n_frames
    assert seen[-1].preview.shape == stack.grid.shape


def test_closed_denoising_leaves_nothing_on_disk(scratch: Path) -> None:
    steps = denoise_frames(movie(), lambda noisy, _: noisy, device="cpu", batch=1, step={})
    next(steps)
    assert len(list(scratch.iterdir())) == 1
    steps.close()
    del steps
    gc.collect()
    assert not list(scratch.iterdir())


def test_failed_denoising_leaves_nothing_on_disk(scratch: Path) -> None:
    def fail(_: torch.Tensor, __: Sequence[int]) -> torch.Tensor:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        finish(denoise_frames(movie(), fail, device="cpu", batch=1, step={}))
    gc.collect()
    assert not list(scratch.iterdir())


def test_standardisation_is_mean_and_deviation() -> None:
    stack = movie()
    mean, std = standardisation(stack)
    assert mean == pytest.approx(stack.data.mean(), rel=1e-6)
    assert std == pytest.approx(stack.data.std(), rel=1e-5)


def test_drawn_frames_are_standardised_and_repeat_with_the_seed() -> None:
    stack = movie()
    one, two, other = (FramePool([stack], seed=seed) for seed in (1, 1, 2))
    drawn = torch.stack([one.frame() for _ in range(20)])
    assert float(drawn.mean()) == pytest.approx(0, abs=0.05)
    assert float(drawn.std()) == pytest.approx(1, abs=0.05)
    assert torch.equal(drawn, torch.stack([two.frame() for _ in range(20)]))
    assert not torch.equal(drawn, torch.stack([other.frame() for _ in range(20)]))


@given(st.integers(1, 6), st.integers(0, 100))
def test_pairs_are_two_frames_of_one_stack_within_reach(reach: int, seed: int) -> None:
    stacks = [Stack(np.arange(5.0)[:, None, None] * np.ones((5, 8, 8)) + 100 * number, "tyx") for number in (0, 1)]
    drawn, grid = FramePool(stacks, seed=seed).pairs(3, reach)
    assert len(drawn) == 3
    assert grid == stacks[0].grid
    mean, std = standardisation(stacks[0])  # both have the same spread about their own mean
    for pair in drawn:
        numbers = [round(float(frame[0, 0]) * std + mean) for frame in pair]
        assert 1 <= abs(numbers[0] - numbers[1]) <= reach
        assert set(numbers) <= set(range(5))


def test_pairs_of_one_batch_come_from_one_stack() -> None:
    """Frames of different sizes cannot be put into one batch."""
    stacks = [Stack(np.random.default_rng(0).random((4, side, side)), "tyx") for side in (16, 24)]
    for seed in range(10):
        drawn, grid = FramePool(stacks, seed=seed).pairs(4, 2)
        assert {tuple(frame.shape) for pair in drawn for frame in pair} == {grid.shape}


@pytest.mark.parametrize(("axes", "wanted"), [("tyx", (24, 16)), ("tzyx", (8, 16, 16)), ("zyx", (16, 16))])
def test_patches_have_sides_the_network_can_halve(axes: str, wanted: tuple[int, ...]) -> None:
    patches = FramePool([movie(axes)], seed=0).patches(3, 64)
    assert patches.shape == (3, 1, *wanted)
    assert bool(torch.isfinite(patches).all())


def test_a_pool_keeps_few_frames_in_memory(watched: Callable) -> None:
    data = watched(np.random.default_rng(0).normal(size=(12, 16, 16)))
    pool = FramePool([Stack(data, "tyx")], size=2)
    for _ in range(30):
        pool.frame()
    assert len(pool._kept) <= 2


def test_stacks_of_different_dimension_and_with_channels_are_refused() -> None:
    for stacks in ([movie("tyx"), movie("tzyx")], [], [movie(), Stack(np.ones((5, 2, 24, 20), np.float32), "tcyx")]):
        with pytest.raises(ValueError, match="all in 2D or all in 3D, without channels"):
            FramePool(stacks)
