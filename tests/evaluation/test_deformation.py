"""Laws of the deformation figures: shifts do not stretch, scalings do so everywhere, mirrors fold."""

import math

import pytest
import torch

from napari_denoisereg.evaluation.deformation import deformation_quality
from napari_denoisereg.geometry import Grid

GRIDS = [Grid((12, 14), spacing=(1.0, 1.0)), Grid((6, 7, 8), spacing=(2.0, 0.5, 0.5))]


def linear_field(grid: Grid, factor: float) -> torch.Tensor:
    axes = [torch.arange(n, dtype=torch.float64) * step for n, step in zip(grid.shape, grid.spacing, strict=True)]
    return factor * torch.stack(torch.meshgrid(*axes, indexing="ij"))


@pytest.mark.parametrize("grid", GRIDS)
def test_a_shift_neither_stretches_nor_folds(grid: Grid) -> None:
    quality = deformation_quality(torch.full((grid.ndim, *grid.shape), 3.0), grid)
    assert (quality.folded, quality.unknown) == (0, 0)
    assert quality.smallest == pytest.approx(1)
    assert quality.largest == pytest.approx(1)
    assert quality.roughness == pytest.approx(0, abs=1e-9)
    assert quality.mean_length == quality.largest_length == pytest.approx(3 * math.sqrt(grid.ndim))


@pytest.mark.parametrize("grid", GRIDS)
def test_a_scaling_changes_volume_by_its_power(grid: Grid) -> None:
    assert deformation_quality(linear_field(grid, 0.5), grid).median == pytest.approx(1.5**grid.ndim)


def test_a_mirrored_axis_folds_everywhere() -> None:
    field = linear_field(GRIDS[0], 1.0)
    field[0], field[1] = -2 * field[0], 0
    quality = deformation_quality(field, GRIDS[0])
    assert quality.folded == 1
    assert quality.largest < 0
    assert math.isnan(quality.roughness)


def test_a_local_fold_is_counted_as_its_share() -> None:
    grid = Grid((20, 20))
    field = torch.zeros(2, 20, 20)
    field[1, :, 10:] = -5.0
    assert deformation_quality(field, grid).folded == pytest.approx(2 / 20)


def test_unknown_places_are_left_out_and_counted() -> None:
    field = torch.zeros(2, 10, 10)
    field[:, :, :3] = torch.nan
    quality = deformation_quality(field, Grid((10, 10)))
    assert quality.unknown > 0
    assert quality.folded == 0
    assert quality.median == 1


def test_an_unknown_field_has_unknown_figures() -> None:
    quality = deformation_quality(torch.full((2, 5, 5), torch.nan), Grid((5, 5)))
    assert quality.unknown == 1
    assert math.isnan(quality.median)
    assert math.isnan(quality.folded)


def test_only_the_mask_is_looked_at() -> None:
    field = torch.zeros(2, 20, 20)
    field[1, :, 10:] = -5.0
    mask = torch.zeros(20, 20, dtype=torch.bool)
    mask[:, :5] = True
    assert deformation_quality(field, Grid((20, 20)), mask=mask).folded == 0


def test_bad_fields_and_masks_are_refused() -> None:
    grid = Grid((5, 5))
    with pytest.raises(ValueError, match=r"\(2, 5, 5\), got \(3, 5, 5\)"):
        deformation_quality(torch.zeros(3, 5, 5), grid)
    with pytest.raises(ValueError, match="at least one True"):
        deformation_quality(torch.zeros(2, 5, 5), grid, mask=torch.zeros(5, 5, dtype=torch.bool))
