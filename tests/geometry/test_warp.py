"""Warping and resampling whole images."""

import numpy as np
import pytest
import torch

from napari_denoisereg.geometry import Affine, Grid, Identity, Translation, resample, warp


def test_a_shift_shows_what_lies_that_far_away() -> None:
    """``warped(x) = moving(T(x))``: a map to larger x brings the picture to smaller x."""
    image = torch.zeros(5, 6)
    image[2, 4] = 1.0
    warped = warp(image, Translation([0.0, 2.0]), fixed=Grid((5, 6)))
    assert warped.nonzero().tolist() == [[2, 2]]


def test_shift_in_world_units_takes_spacing_into_account() -> None:
    grid = Grid((5, 6), (2.0, 0.5), (10.0, -3.0))
    image = torch.zeros(5, 6)
    image[3, 4] = 1.0
    warped = warp(image, Translation([2.0, 1.0]), fixed=grid)
    assert warped.nonzero().tolist() == [[2, 2]]


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
@pytest.mark.parametrize("ndim", [2, 3])
def test_leading_axes_are_kept_and_equal_a_loop(lead: tuple[int, ...], ndim: int, generator: torch.Generator) -> None:
    grid = Grid((6, 7, 8)[:ndim])
    image = torch.rand(*lead, *grid.shape, generator=generator)
    shift = Translation([0.4] * ndim)
    warped = warp(image, shift, fixed=grid)
    assert warped.shape == image.shape
    flat, each = warped.reshape(-1, *grid.shape), image.reshape(-1, *grid.shape)
    for number in range(len(flat)):
        torch.testing.assert_close(flat[number], warp(each[number], shift, fixed=grid))


@pytest.mark.parametrize("factor", [2, 4, 5])
@pytest.mark.parametrize("ndim", [2, 3])
def test_shrinking_a_checkerboard_gives_its_mean(factor: int, ndim: int) -> None:
    grid = Grid((40, 40, 40)[:ndim])
    board = (grid.points().sum(0) % 2)[None, None]
    small = resample(board, grid, grid.coarser(factor))
    inner = small[(0, 0, *(slice(2, -2),) * ndim)]
    torch.testing.assert_close(inner, torch.full_like(inner, 0.5), atol=0.02, rtol=0)
    zoom = Affine(torch.cat([factor * torch.eye(ndim), torch.zeros(ndim, 1)], dim=1))
    warped = warp(board, zoom, fixed=Grid(tuple(40 // factor for _ in range(ndim))), moving=grid)
    inner = warped[(0, 0, *(slice(2, -2),) * ndim)]
    torch.testing.assert_close(inner, torch.full_like(inner, 0.5), atol=0.02, rtol=0)


def test_a_rotation_by_45_degrees_is_not_smoothed() -> None:
    grid = Grid((33, 33))
    pulse = torch.zeros(33, 33)
    pulse[16, 16] = 1.0
    c = 2**-0.5
    turn = Affine.about(torch.tensor([[c, -c], [c, c]]), torch.zeros(2), grid.centre)
    assert float(warp(pulse, turn, fixed=grid)[16, 16]) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("ndim", [2, 3])
def test_resampling_to_a_finer_grid_and_back_restores_a_smooth_image(ndim: int) -> None:
    coarse = Grid((12, 14, 10)[:ndim], (1.0, 2.0, 0.5)[:ndim], (3.0, -7.0, 1.0)[:ndim])
    fine = Grid(
        tuple(3 * size for size in coarse.shape),
        tuple(step / 3 for step in coarse.spacing),
        tuple(start - step / 3 for start, step in zip(coarse.origin, coarse.spacing, strict=True)),
    )
    points = coarse.points()
    image = sum(torch.cos(point / point.abs().max() * 3) for point in points)[None, None]
    there = resample(image, coarse, fine, "cubic")
    back = resample(there, fine, coarse)
    inner = (0, 0, *(slice(2, -2),) * ndim)
    assert float((back - image)[inner].abs().max()) < 0.03
    assert resample(image, coarse, coarse) is image


def test_warp_onto_another_grid_reads_the_same_world() -> None:
    moving = Grid((20, 20), (0.5, 0.5), (1.0, 1.0))
    fixed = Grid((8, 8), (1.0, 1.0), (1.5, 1.5))
    ramp = moving.points()[1]
    warped = warp(ramp, Identity(2), fixed=fixed, moving=moving, outside="edge")
    torch.testing.assert_close(warped[:, 1:-1], fixed.points()[1][:, 1:-1], atol=0.02, rtol=0)


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_far_from_the_world_origin_nothing_gets_blurred(interpolation: str) -> None:
    """Stage positions are tens of thousands of micrometres, voxels tenths of one."""
    near, far = Grid((16, 16), (0.1, 0.1)), Grid((16, 16), (0.1, 0.1), (50_000.0, -30_000.0))
    image = torch.from_numpy(np.random.default_rng(0).uniform(0, 1, (16, 16)).astype(np.float32))
    turn = torch.tensor([[0.9998, -0.02], [0.02, 0.9998]], dtype=torch.float64)
    shift = torch.tensor([0.13, 0.07], dtype=torch.float64)
    warped = [
        warp(image, Affine.about(turn, shift, grid.centre), fixed=grid, interpolation=interpolation) for grid in (near, far)
    ]
    torch.testing.assert_close(warped[0], warped[1], atol=0.01, rtol=0)


def test_image_that_does_not_fit_the_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="moving grid's shape"):
        warp(torch.zeros(4, 5), Identity(2), fixed=Grid((5, 4)))


def test_labels_beyond_float32_survive_a_warp() -> None:
    labels = torch.arange(16, dtype=torch.int64).reshape(4, 4) + 2**40
    warped = warp(labels, Translation([1.0, 0.0]), fixed=Grid((4, 4)), interpolation="nearest")
    assert torch.equal(warped[:3], labels[1:])
    assert warped.dtype == torch.int64
    assert not bool(warped[3].any())
