"""Affine descent recovers what it is allowed to change."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from napari_denoisereg.geometry import Affine, Grid, warp
from napari_denoisereg.register.affine import AffineDescent
from napari_denoisereg.register.descent import as_weights, correlate, pyramid
from napari_denoisereg.steps import finish

GRIDS = {2: Grid((96, 112), (0.5, 0.5), (100.0, -50.0)), 3: Grid((12, 48, 56), (1.5, 0.5, 0.5), (10.0, 20.0, 30.0))}


def random_affine(grid: Grid, seed: int, strength: float = 1.0) -> Affine:
    random = np.random.default_rng(seed)
    damping = np.array([0.2] * (grid.ndim - 2) + [1.0, 1.0])
    linear = np.eye(grid.ndim) + strength * random.uniform(-0.08, 0.08, (grid.ndim,) * 2) * damping * damping[:, None]
    shift = strength * random.uniform(-0.06, 0.06, grid.ndim) * np.array(grid.extent) * damping
    return Affine.about(torch.from_numpy(linear), torch.from_numpy(shift), grid.centre)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ndim", [2, 3])
def test_a_random_affine_is_recovered(ndim: int, seed: int, nucleus: Callable, error: Callable) -> None:
    grid = GRIDS[ndim]
    moving = nucleus(grid.shape, seed=seed, size=2.6)
    wanted = random_affine(grid, seed)
    fixed = warp(moving, wanted, fixed=grid, outside=100.0)
    (found,) = finish(AffineDescent(finest=1).align(fixed[None], moving[None], grid))
    assert error(found, wanted, grid) < (0.2 if ndim == 2 else 0.4)


def test_noise_bleaching_and_offset_do_not_matter(nucleus: Callable, error: Callable, generator: torch.Generator) -> None:
    grid = GRIDS[2]
    moving = nucleus(grid.shape, size=2.6)
    wanted = random_affine(grid, 1)
    fixed = warp(moving, wanted, fixed=grid, outside=100.0)
    fixed = 0.5 * fixed + 300 + 60 * torch.randn(grid.shape, generator=generator)
    moving = moving + 120 * torch.randn(grid.shape, generator=generator)
    (found,) = finish(AffineDescent().align(fixed[None], moving[None], grid))
    assert error(found, wanted, grid) < 0.8


@pytest.mark.parametrize(("motion", "parameters"), [("translation", 2), ("rigid", 3), ("similarity", 4), ("affine", 6)])
def test_only_what_may_change_changes(motion: str, parameters: int, nucleus: Callable) -> None:
    grid = GRIDS[2]
    moving = nucleus(grid.shape, size=2.6)
    fixed = warp(moving, random_affine(grid, 2), fixed=grid, outside=100.0)
    (found,) = finish(AffineDescent(motion=motion).align(fixed[None], moving[None], grid))
    linear = found.weights[:, :-1]
    eye = torch.eye(2, dtype=torch.float64)
    product = linear @ linear.T
    size = product.trace() / 2
    assert torch.allclose(linear, eye, atol=1e-12) == (parameters == 2)
    assert torch.allclose(product, eye, atol=1e-8) == (parameters <= 3)
    assert torch.allclose(product / size, eye, atol=1e-8) == (parameters <= 4)


def test_the_result_fits_better_than_where_it_started(nucleus: Callable) -> None:
    grid = GRIDS[2]
    moving = nucleus(grid.shape)
    fixed = warp(moving, random_affine(grid, 3), fixed=grid, outside=100.0)
    level = pyramid(fixed[None], moving[None], grid, coarsest=200, finest=1)[-1]
    found = finish(AffineDescent().align(fixed[None], moving[None], grid))
    before, after = (float(correlate(level, weights)) for weights in (torch.eye(2, 3)[None].double(), as_weights(found)))
    assert after > 0.98 > before


def test_far_from_the_world_origin_the_result_is_the_same(nucleus: Callable, error: Callable) -> None:
    near, far = Grid((64, 64), (0.1, 0.1)), Grid((64, 64), (0.1, 0.1), (50_000.0, -80_000.0))
    moving = nucleus(near.shape)
    fixed = warp(moving, random_affine(near, 4), fixed=near, outside=100.0)
    found = [finish(AffineDescent(finest=1).align(fixed[None], moving[None], grid))[0] for grid in (near, far)]
    fields = [transform.displacement(grid) for transform, grid in zip(found, (near, far), strict=True)]
    assert float((fields[0] - fields[1]).abs().max()) / 0.1 < 0.1


def test_resolutions_are_halved_down_to_the_coarsest(nucleus: Callable) -> None:
    levels = pyramid(nucleus((128, 96))[None], nucleus((128, 96))[None], Grid((128, 96)), coarsest=32, finest=1)
    assert [level.grid.shape for level in levels] == [(32, 24), (64, 48), (128, 96)]
    volume = torch.rand(1, 8, 64, 64)
    levels = pyramid(volume, volume, Grid((8, 64, 64), (4.0, 1.0, 1.0)), coarsest=16, finest=1)
    assert [level.grid.shape for level in levels] == [(8, 16, 16), (8, 32, 32), (8, 64, 64)]
