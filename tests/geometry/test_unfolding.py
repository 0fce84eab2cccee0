"""Folds are taken out of a field where they are, and nothing else is changed."""

import pytest
import torch

from napari_denoisereg.geometry import Affine, Grid, invert, jacobian_determinant, smooth, unfolded
from napari_denoisereg.geometry.unfolding import least_determinant

GRIDS = [Grid((40, 48)), Grid((36, 44), (0.5, 0.25)), Grid((12, 20, 24), (2.0, 0.5, 0.5))]


def bump(grid: Grid, height: float) -> torch.Tensor:
    """Everything near the middle is pushed along the last axis, so far that it passes what is in front of it."""
    middle = torch.tensor(grid.centre).reshape(-1, *(1,) * grid.ndim)
    away = (grid.points() - middle) / min(grid.spacing)
    field = torch.zeros(grid.ndim, *grid.shape)
    field[-1] = height * min(grid.spacing) * torch.exp(-away.square().sum(0) / 18)
    return field


@pytest.mark.parametrize("grid", GRIDS)
def test_no_fold_is_left_and_far_from_them_nothing_changes(grid: Grid) -> None:
    field = bump(grid, 9.0)
    assert float(jacobian_determinant(field, grid).min()) < 0
    flat = unfolded(field, grid)
    assert float(least_determinant(flat, grid).min()) > 0
    assert float(jacobian_determinant(flat, grid).min()) > 0
    far = [0] * grid.ndim
    assert torch.equal(flat[(slice(None), *far)], field[(slice(None), *far)])
    assert float(flat[-1].max()) > 0.3 * float(field[-1].max())  # it still goes there
    assert not invert(flat, grid).isnan().any()


@pytest.mark.parametrize("grid", GRIDS)
def test_what_does_not_fold_is_the_same_object(grid: Grid) -> None:
    field = bump(grid, 2.0)
    assert unfolded(field, grid) is field


def test_random_folds_everywhere_are_taken_out() -> None:
    random, grid = torch.Generator().manual_seed(0), Grid((64, 64))
    field = 14 * smooth(torch.randn(1, 2, 64, 64, generator=random), 3.0)[0]
    folds = float((least_determinant(field, grid) <= 0).float().mean())
    assert 0.02 < folds < 0.5
    assert float(least_determinant(unfolded(field, grid), grid).min()) > 0


def test_a_mirror_and_a_field_that_is_partly_unknown_are_left_alone() -> None:
    grid = Grid((16, 20))
    mirror = Affine(torch.tensor([[1.0, 0.0, 0.0], [0.0, -1.0, 19.0]])).displacement(grid)
    unknown = bump(grid, 9.0)
    unknown[:, 3, 3] = torch.nan
    for field in (mirror, unknown):
        assert unfolded(field, grid) is field


def test_the_smallest_determinant_of_an_affine_motion_is_its_own() -> None:
    for grid in GRIDS:
        matrix = torch.eye(grid.ndim) + 0.1 * torch.randn(grid.ndim, grid.ndim, generator=torch.Generator().manual_seed(1))
        field = Affine.about(matrix, torch.ones(grid.ndim), grid.centre).displacement(grid)
        found = least_determinant(field, grid)
        torch.testing.assert_close(found, torch.full_like(found, float(torch.linalg.det(matrix))), rtol=1e-3, atol=1e-3)
