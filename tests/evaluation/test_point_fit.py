"""Fits to points: known maps come back, and leaving one out needs no further fit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import RBFInterpolator

from napari_denoisereg.evaluation.point_fit import PointFit


def cloud(n: int = 12, n_axes: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 200, (n, n_axes))


@pytest.mark.parametrize("model", ["affine", "thin-plate"])
@given(n_axes=st.sampled_from([2, 3]), seed=st.integers(0, 50), far=st.sampled_from([0.0, 1e4]))
def test_an_affine_map_comes_back(model: str, n_axes: int, seed: int, far: float) -> None:
    rng = np.random.default_rng(seed)
    matrix, shift = np.eye(n_axes) + rng.normal(0, 0.2, (n_axes, n_axes)), rng.normal(0, 50, n_axes)
    sources, elsewhere = cloud(10, n_axes, seed) + far, cloud(5, n_axes, seed + 1) + far
    fit = PointFit(sources, model)
    targets = sources @ matrix.T + shift
    np.testing.assert_allclose(fit(elsewhere, targets), elsewhere @ matrix.T + shift, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(fit.leave_one_out(targets), targets, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("n_axes", [2, 3])
def test_the_thin_plate_is_that_of_scipy(n_axes: int) -> None:
    sources, targets, elsewhere = cloud(12, n_axes, 1), cloud(12, n_axes, 2), cloud(7, n_axes, 3)
    kernel = "thin_plate_spline" if n_axes == 2 else "linear"
    theirs = RBFInterpolator(sources, targets, kernel=kernel, degree=1)(elsewhere)
    np.testing.assert_allclose(PointFit(sources, "thin-plate")(elsewhere, targets), theirs, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("model", ["affine", "thin-plate"])
@pytest.mark.parametrize("n_axes", [2, 3])
def test_leaving_one_out_equals_fitting_to_the_others(model: str, n_axes: int) -> None:
    sources, targets = cloud(9, n_axes, 4), cloud(9, n_axes, 5)
    quick = PointFit(sources, model).leave_one_out(targets)
    for number in range(9):
        others = np.arange(9) != number
        slow = PointFit(sources[others], model)(sources[[number]], targets[others])[0]
        np.testing.assert_allclose(quick[number], slow, rtol=1e-6, atol=1e-6)


def test_a_point_that_the_others_cannot_do_without_has_no_error() -> None:
    corner = np.array([[0.0, 0], [0, 10], [10, 0]])
    assert np.isnan(PointFit(corner, "affine").leave_one_out(corner)).all()
    line_and_one = np.array([[0.0, 0], [0, 5], [0, 10], [7, 3]])
    for model in ("affine", "thin-plate"):
        without = PointFit(line_and_one, model).leave_one_out(line_and_one)
        assert np.isnan(without[3]).all()
        assert np.isfinite(without[:3]).all()


@pytest.mark.parametrize(
    "sources",
    [np.empty((0, 2)), cloud(2), np.array([[0, 0], [1, 1], [2, 2], [5, 5]]), np.ones((5, 2)), cloud(3, 3), cloud(4, 4)],
)
def test_points_that_fix_no_map_are_refused(sources: np.ndarray) -> None:
    with pytest.raises(ValueError, match="mark more points"):
        PointFit(sources, "affine")


def test_a_spline_refuses_two_points_at_one_place() -> None:
    twice = np.vstack([cloud(5), cloud(5)[:1]])
    PointFit(twice, "affine")
    with pytest.raises(ValueError, match="two at the same"):
        PointFit(twice, "thin-plate")
