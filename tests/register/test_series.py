"""Chosen and combined so that a frame far from the first does not lose track."""

import functools
from collections.abc import Callable

import numpy as np
import pytest
import torch

from napari_denoisereg.geometry import Affine, Displacement, Grid, PerFrame, Transform, Translation, warp
from napari_denoisereg.register import Registrar, Task, similarity_to_first
from napari_denoisereg.register.patches import Patches
from napari_denoisereg.register.series import Combined, Series, ToFirst, ToPrevious
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish

GRID = Grid((80, 80))


@pytest.fixture(scope="module")
def turning(nucleus: Callable, turned: Callable) -> tuple[Stack, list[Affine]]:
    """A nucleus that turns by 16 degrees a frame, 144 in all: neighbours are alike, far frames are not."""
    image, random = nucleus(GRID.shape, size=2.6), np.random.default_rng(0)
    true = [turned(GRID, 16.0 * number, (0.01 * number, -0.005 * number)) for number in range(10)]
    frames = [warp(image, transform.inverse(), fixed=GRID, outside=100.0).numpy() for transform in true]
    return Stack(np.stack(frames).astype(np.float32) + random.normal(0, 60, (10, 80, 80)).astype(np.float32), "tyx"), true


@pytest.fixture(scope="module")
def errors(turning: tuple[Stack, list[Affine]], error: Callable) -> Callable[[Series], list[float]]:
    def run(series: Series) -> list[float]:
        stack, true = turning
        task = Task(stack, Registrar.coerce("affine"), None, None, torch.device("cpu"))
        return [error(one, other, GRID) for one, other in zip(finish(series.run(task)), true, strict=True)]

    return run


def test_combined_keeps_track_where_straight_to_the_first_loses_it(errors: Callable) -> None:
    straight, chained, combined = errors(ToFirst()), errors(ToPrevious()), errors(Combined())
    assert max(straight) > 8
    assert max(combined) < 1.0
    assert combined[-1] <= chained[-1] + 0.1


def test_combined_does_not_drift(nucleus: Callable, error: Callable) -> None:
    """A still nucleus in heavy noise: composed frame by frame, small errors add up; refined on the first they do not."""
    image, random = nucleus(GRID.shape, size=2.6).numpy(), np.random.default_rng(1)
    stack = Stack((image + random.normal(0, 300, (14, *GRID.shape))).astype(np.float32), "tyx")
    last = {}
    for series in (ToPrevious(), Combined()):
        task = Task(stack, Registrar.coerce("affine"), None, None, torch.device("cpu"))
        found = finish(series.run(task))
        last[series.kind] = np.mean([error(one, Translation([0.0, 0.0]), GRID) for one in list(found)[-4:]])
    assert last["combined"] < last["to_previous"]
    assert last["combined"] < 1.0


def test_bends_are_chained_to_one_field_that_says_the_same_as_all_of_them() -> None:
    """However long the movie, a frame is looked up once."""
    stack = Stack(np.random.default_rng(0).normal(size=(5, 32, 36)).astype(np.float32), "tyx", spacing=(1.0, 0.5, 0.5))
    task = Task(stack, Patches(), None, None, torch.device("cpu"))
    chained, grid = finish(ToPrevious().run(task)), stack.grid
    pairs = [finish(Patches().align(stack.tensor([t]), stack.tensor([t + 1]), grid))[0] for t in range(4)]
    for frame in range(1, 5):
        assert isinstance(chained[frame], Displacement)
        wanted = functools.reduce(Transform.then, pairs[:frame]).displacement(grid)
        torch.testing.assert_close(chained[frame].displacement(grid), wanted, atol=1e-4, rtol=0)


def test_similarity_to_the_first_is_one_for_the_truth_and_less_without(turning: tuple[Stack, list[Affine]]) -> None:
    stack, true = turning
    still = PerFrame([Translation([0.0, 0.0])] * len(true))
    known, unknown = (finish(similarity_to_first(stack, each)) for each in (PerFrame(true), still))
    assert float(known[0]) == pytest.approx(1.0, abs=1e-4)
    assert float(known.min()) > 0.9
    assert float(unknown[4:].max()) < float(known.min())


def test_hardly_any_overlap_counts_as_lost() -> None:
    stack = Stack(np.random.default_rng(0).normal(size=(2, 32, 32)).astype(np.float32), "tyx")
    away = PerFrame([Translation([0.0, 0.0]), Translation([30.0, 0.0])])
    assert finish(similarity_to_first(stack, away)).tolist()[1] == -1.0
