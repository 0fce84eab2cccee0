"""Regularities, one by one: values worked out by hand, what each is blind to, and how each grows."""

import pytest
import torch
from torch import Tensor

from napari_denoisereg.geometry import Grid, jacobian_determinant
from napari_denoisereg.losses import Regularity
from napari_denoisereg.losses.bending import Bending
from napari_denoisereg.losses.diffusion import Diffusion
from napari_denoisereg.losses.folding import Folding
from napari_denoisereg.losses.magnitude import Magnitude
from napari_denoisereg.losses.temporal import Temporal
from napari_denoisereg.losses.total_variation import TotalVariation

GRIDS = [Grid((9, 12), (0.5, 0.25)), Grid((5, 8, 7), (2.0, 0.5, 0.25))]
every_grid = pytest.mark.parametrize("grid", GRIDS, ids=["2D", "3D"])


def affine_motion(grid: Grid, strength: float = 0.2) -> Tensor:
    matrix = strength * torch.randn(grid.ndim, grid.ndim, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    points = grid.points(wide=True)
    return (torch.einsum("ij,j...->i...", matrix, points) + 3.0).unsqueeze(0)


def shift(grid: Grid) -> Tensor:
    return torch.full((1, grid.ndim, *grid.shape), 1.7, dtype=torch.float64)


def close_to_zero(value: Tensor) -> bool:
    return bool((value.abs() < 1e-20).all())


@every_grid
@pytest.mark.parametrize("kind", ["diffusion", "total_variation", "bending", "folding", "temporal"])
def test_a_shift_costs_nothing(kind: str, grid: Grid) -> None:
    assert close_to_zero(Regularity.coerce(kind)(shift(grid), grid.spacing))


@every_grid
def test_bending_is_free_for_affine_motion_and_slopes_are_not(grid: Grid) -> None:
    motion = affine_motion(grid)
    assert close_to_zero(Bending()(motion, grid.spacing))
    assert float(Diffusion()(motion, grid.spacing)) > 0.01
    assert float(TotalVariation()(motion, grid.spacing)) > 0.01


@every_grid
def test_slopes_of_affine_motion_are_its_matrix(grid: Grid) -> None:
    motion = affine_motion(grid)
    matrix = 0.2 * torch.randn(grid.ndim, grid.ndim, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(Diffusion()(motion, grid.spacing)[0], (matrix**2).sum())
    torch.testing.assert_close(TotalVariation()(motion, grid.spacing)[0], matrix.abs().sum())


@pytest.mark.parametrize(
    ("kind", "power"), [("diffusion", 2), ("total_variation", 1), ("bending", 2), ("l2", 2), ("temporal", 2)]
)
@every_grid
def test_penalties_grow_with_a_power_of_the_motion(kind: str, power: int, grid: Grid) -> None:
    random = torch.Generator().manual_seed(2)
    motion = torch.randn(4, grid.ndim, *grid.shape, dtype=torch.float64, generator=random)
    measure = Regularity.coerce(kind)
    torch.testing.assert_close(measure(3 * motion, grid.spacing), 3.0**power * measure(motion, grid.spacing))


@pytest.mark.parametrize("kind", ["diffusion", "total_variation", "folding"])
def test_slopes_do_not_depend_on_how_densely_a_motion_is_sampled(kind: str) -> None:
    def value(step: float) -> Tensor:
        points = Grid((round(8 / step) + 1,) * 2, (step, step)).points(wide=True)
        return Regularity.coerce(kind)((1.5 * torch.sin(points)).unsqueeze(0), (step, step))

    assert float(value(0.1)) > 0.01
    torch.testing.assert_close(value(0.1), value(0.05), rtol=0.05, atol=0)


def test_length_is_counted_in_voxels_of_the_finest_axis() -> None:
    motion = torch.tensor([3.0, 4.0]).reshape(1, 2, 1, 1).expand(1, 2, 5, 6)
    assert float(Magnitude()(motion, (1.0, 1.0))) == pytest.approx(25.0)
    assert float(Magnitude()(motion, (2.0, 0.5))) == pytest.approx(100.0)


def test_bending_by_hand() -> None:
    x = torch.arange(6, dtype=torch.float64)
    motion = torch.zeros(1, 2, 4, 6, dtype=torch.float64)
    motion[0, 0] = 0.5 * x**2
    motion[0, 1] = torch.arange(4, dtype=torch.float64)[:, None] * x
    # One second slope of 1 along x; the mixed slope of 1 counts twice, as yx and xy.
    assert float(Bending()(motion, (1.0, 1.0))) == pytest.approx(3.0)


def test_a_fold_is_punished_and_only_where_it_is() -> None:
    motion = torch.zeros(2, 2, 8, 8, dtype=torch.float64)
    motion[1, 1, :, 4:] -= 3.0
    value = Folding(margin=0)(motion, (1.0, 1.0))
    assert float(value[0]) == 0
    volume = jacobian_determinant(motion[1], Grid((8, 8)))
    assert float(value[1]) == pytest.approx(float((-volume).clamp(min=0).mean()))
    assert float(value[1]) > 0


def test_folding_keeps_its_margin() -> None:
    points = Grid((6, 6)).points(wide=True)
    squeezed = (-0.95 * points[None]) * torch.tensor([0.0, 1.0], dtype=torch.float64).reshape(1, 2, 1, 1)
    assert float(Folding(margin=0)(squeezed, (1.0, 1.0))) == 0
    assert float(Folding(margin=0.1)(squeezed, (1.0, 1.0))) == pytest.approx(0.05)


@every_grid
def test_steady_motion_is_free_and_a_jerk_is_not(grid: Grid) -> None:
    step = affine_motion(grid)[0]
    steady = torch.stack([number * step for number in range(5)])
    assert float(Temporal()(steady, grid.spacing).max()) < 1e-20
    jerk = steady.clone()
    jerk[2] += min(grid.spacing)
    torch.testing.assert_close(
        Temporal()(jerk, grid.spacing), grid.ndim * torch.tensor([0.0, 1.0, 4.0, 1.0, 0.0], dtype=torch.float64)
    )
