"""A coarse map of vectors made dense."""

import math
from typing import get_args

import pytest
import torch
from scipy.interpolate import RBFInterpolator

from napari_denoisereg.geometry import Grid
from napari_denoisereg.geometry.control_grid import ControlGrid, Spread

every_interpolation = pytest.mark.parametrize("interpolation", get_args(Spread))
SHAPES = [(40, 50), (8, 20, 20), (1, 20, 20)]


def slanted(shape: tuple[int, ...]) -> torch.Tensor:
    """A map that is linear from the first node (or voxel) to the last."""
    places = torch.stack(torch.meshgrid(*[torch.linspace(0, 1, n) for n in shape], indexing="ij"))
    slopes = torch.arange(1.0, len(shape) + 1).reshape(-1, *(1,) * len(shape))
    return (places * slopes).sum(0) + 3


@every_interpolation
@pytest.mark.parametrize("shape", SHAPES)
def test_a_linear_map_stays_linear_up_to_the_border(interpolation: Spread, shape: tuple[int, ...]) -> None:
    nodes = ControlGrid.over(Grid(shape, (2.0,) * len(shape)), 12.0)
    dense = nodes.dense(slanted(nodes.shape)[None, None], interpolation)
    assert dense.shape == (1, 1, *shape)
    torch.testing.assert_close(dense[0, 0], slanted(shape), atol=1e-5, rtol=0)


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "thin_plate"])
def test_interpolation_passes_through_the_nodes(interpolation: Spread) -> None:
    nodes = ControlGrid.over(Grid((33, 41)), 8.0)
    vectors = torch.randn(2, 2, *nodes.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(nodes.dense(vectors, interpolation)[..., ::8, ::8], vectors, atol=1e-4, rtol=0)


def test_a_bspline_is_the_cubic_bspline_of_its_coefficients() -> None:
    nodes = ControlGrid.over(Grid((41, 41)), 8.0)
    one = torch.zeros(1, 1, *nodes.shape)
    one[0, 0, 3, 3] = 1.0
    dense = nodes.dense(one, "bspline")[0, 0]
    assert float(dense[24, 24]) == pytest.approx((2 / 3) ** 2)
    assert float(dense[24, 32]) == pytest.approx(2 / 3 * 1 / 6)


def test_a_thin_plate_is_the_one_of_scipy() -> None:
    nodes = ControlGrid.over(Grid((33, 41)), 8.0)
    vectors = torch.randn(1, 1, *nodes.shape, generator=torch.Generator().manual_seed(1))
    where = torch.cartesian_prod(torch.arange(0, 33, 8.0), torch.arange(0, 41, 8.0))
    spline = RBFInterpolator(where, vectors.flatten(), kernel="thin_plate_spline")
    # Every second voxel is evaluated exactly, those between are linear.
    exact = torch.cartesian_prod(torch.arange(0, 33, 2.0), torch.arange(0, 41, 2.0))
    dense = nodes.dense(vectors, "thin_plate")[0, 0, ::2, ::2]
    torch.testing.assert_close(dense.flatten(), torch.from_numpy(spline(exact)).float(), atol=1e-3, rtol=0)


@every_interpolation
def test_gradients_reach_the_vectors(interpolation: Spread) -> None:
    nodes = ControlGrid.over(Grid((17, 17)), 8.0)
    vectors = torch.zeros(1, 2, *nodes.shape, requires_grad=True)
    nodes.dense(vectors, interpolation).square().add(1).sum().backward()
    nodes.dense(vectors + 1, interpolation).square().sum().backward()
    assert bool((vectors.grad != 0).all())


def test_nodes_are_at_most_the_step_apart_and_on_the_border() -> None:
    nodes = ControlGrid.over(Grid((40, 1, 51), (0.5, 2.0, 0.5)), 6.0)
    assert nodes.shape == (math.ceil(19.5 / 6) + 1, 1, math.ceil(25 / 6) + 1)
    assert all(step <= 6.0 for step in nodes.spacing)


def test_a_thin_plate_of_too_many_nodes_is_refused() -> None:
    nodes = ControlGrid.over(Grid((100, 100)), 2.0)
    with pytest.raises(ValueError, match="too large"):
        nodes.dense(torch.zeros(1, 2, *nodes.shape), "thin_plate")
