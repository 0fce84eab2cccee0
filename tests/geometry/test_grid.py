"""Grid: voxel centres in the world."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_denoisereg.geometry import Grid


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(0.1, 9), st.floats(-99, 99)), min_size=2, max_size=3), st.integers(1, 4))
def test_index_and_world_are_inverse_and_coarser_keeps_the_edge(axes: list[tuple[int, float, float]], factor: int) -> None:
    shape, spacing, origin = zip(*axes, strict=True)
    grid = Grid(shape, spacing, origin)
    points = grid.points()
    index = grid.to_index(points)
    torch.testing.assert_close(grid.to_world(index), points)
    assert [float(axis.max()) for axis in index] == pytest.approx([size - 1 for size in shape], abs=1e-2)
    coarse = grid.coarser(factor)
    for one, other in zip(
        (o - s / 2 for o, s in zip(grid.origin, grid.spacing, strict=True)),
        (o - s / 2 for o, s in zip(coarse.origin, coarse.spacing, strict=True)),
        strict=True,
    ):
        assert one == pytest.approx(other, abs=1e-6)
    assert all(large >= small - 1e-6 for large, small in zip(coarse.extent, grid.extent, strict=True))


def test_centre_is_the_middle_of_the_voxel_centres() -> None:
    grid = Grid((4, 5), (2.0, 0.5), (1.0, -1.0))
    assert grid.centre == (4.0, 0.0)
    assert tuple(grid.points().flatten(1).mean(1).tolist()) == grid.centre
    assert grid.extent == (8.0, 2.5)
    assert grid.units == ("pixel", "pixel")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (0, 4)}, "shape must be positive"),
        ({"shape": (4, 4), "spacing": (1.0,)}, "spacing must have one entry per axis"),
        ({"shape": (4, 4), "origin": (1.0, 2.0, 3.0)}, "origin must have one entry per axis"),
        ({"shape": (4, 4), "spacing": (1.0, 0.0)}, "spacing must be positive"),
        ({"shape": (4, 4), "spacing": (1.0, -1.0)}, "spacing must be positive"),
        ({"shape": (4, 4), "spacing": (float("nan"), 1.0)}, "spacing must be positive"),
        ({"shape": (4, 4), "spacing": (float("inf"), 1.0)}, "finite"),
    ],
)
def test_impossible_grids_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Grid(**arguments)
