"""Held-out patches and pairs are never trained on."""

import numpy as np
import pytest
import torch

from napari_denoisereg.frame_pool import FramePool, around
from napari_denoisereg.stack import Stack


def numbered(n_frames: int = 8, side: int = 40) -> Stack:
    """Every voxel has a value of its own."""
    return Stack(np.arange(n_frames * side * side, dtype=np.float32).reshape(n_frames, side, side), "tyx")


def test_held_out_patches_are_never_drawn() -> None:
    pool = FramePool([numbered()], seed=3)
    aside = set(pool.hold_out(4, 16).flatten().tolist())
    drawn = set(pool.patches(400, 16).flatten().tolist())
    assert len(aside) == 2 * 16 * 16  # a quarter of eight frames
    assert not aside & drawn
    assert len(drawn) > 0.5 * numbered().data.size


def test_a_movie_of_few_small_frames_gives_nothing_up() -> None:
    pool = FramePool([numbered(2, 16)], seed=3)
    aside = set(pool.hold_out(4, 16).flatten().tolist())
    assert aside
    assert aside <= set(pool.patches(20, 16).flatten().tolist())


def test_a_movie_of_few_large_frames_holds_a_patch_out() -> None:
    pool = FramePool([numbered(2, 64)], seed=3)
    aside = set(pool.hold_out(4, 16).flatten().tolist())
    assert len(aside) == 256
    assert not aside & set(pool.patches(300, 16).flatten().tolist())


@pytest.mark.parametrize("n_frames", [3, 9])
def test_held_out_pairs_are_never_drawn(n_frames: int) -> None:
    pool = FramePool([numbered(n_frames, 8)], seed=1)
    aside = [{float(a[0, 0]), float(b[0, 0])} for (a, b), _ in pool.hold_out_pairs(8, 2)]
    drawn = [{float(a[0, 0]), float(b[0, 0])} for a, b in pool.pairs(300, 2)[0]]
    assert len(aside) == (1 if n_frames == 3 else 3)
    if n_frames > 4:
        assert not any(pair in aside for pair in drawn)


def test_what_is_held_out_follows_the_seed_and_leaves_the_draws_alone() -> None:
    one, two = FramePool([numbered()], seed=1), FramePool([numbered()], seed=1)
    assert torch.equal(one.hold_out(4, 16), two.hold_out(4, 16))
    assert not torch.equal(FramePool([numbered()], seed=2).hold_out(2, 16), one.hold_out(2, 16))
    before = one.random.bit_generator.state
    one.hold_out(2, 16)
    assert one.random.bit_generator.state == before


@pytest.mark.parametrize("reach", [1, 2, 5])
@pytest.mark.parametrize("n_frames", [2, 3, 9])
def test_a_frame_is_never_its_own_neighbour(n_frames: int, reach: int) -> None:
    for frame in range(n_frames):
        clip = around(frame, n_frames, reach)
        assert len(clip) == 2 * reach + 1
        assert [place for place, number in enumerate(clip) if number == frame] == [reach]
        assert all(0 <= number < n_frames for number in clip)
    assert around(4, 9, 2) == [2, 3, 4, 5, 6]
    assert around(0, 9, 2) == [2, 1, 0, 1, 2]


def test_patches_come_with_the_same_place_of_their_neighbours() -> None:
    data = np.arange(5, dtype=np.float32)[:, None, None] * 100 + np.random.default_rng(0).uniform(0, 1, (24, 24))
    stack = Stack(data.astype(np.float32), "tyx")
    clips = FramePool([stack]).patches(6, 16, reach=1)
    assert clips.shape == (6, 3, 16, 16)
    steps = clips[:, 1:] - clips[:, :-1]
    assert float((steps - steps.mean((2, 3), keepdim=True)).abs().max()) < 1e-3
    assert float(steps.abs().min()) > 0.1
