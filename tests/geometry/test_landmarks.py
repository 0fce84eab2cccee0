"""Transforms from landmarks: known motions are found exactly, wrong marks are found out, splines go through their points."""

import math

import numpy as np
import pytest
import torch

from napari_denoisereg.geometry import Affine, Displacement, Grid, Sequential, Transform, preimage
from napari_denoisereg.geometry.landmarks import ThinPlateSpline, fit

each_ndim = pytest.mark.parametrize("ndim", [2, 3])


def places(ndim: int, count: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-40, 60, (count, ndim))


def turned(ndim: int, angle: float = 0.4) -> np.ndarray:
    matrix = np.eye(ndim)
    matrix[-2:, -2:] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    return matrix


def bent(points: np.ndarray) -> np.ndarray:
    return points + 3 * np.sin(points[:, ::-1] / 25)


@each_ndim
@pytest.mark.parametrize(
    ("kind", "scale", "linear"),
    [("translation", 1.0, False), ("rigid", 1.0, True), ("similarity", 1.3, True), ("affine", 0.8, True)],
)
def test_known_motion_is_found(ndim: int, kind: str, scale: float, linear: bool) -> None:
    matrix = scale * turned(ndim) if linear else np.eye(ndim)
    if kind == "affine":
        matrix[0, 1] += 0.2
    shift = np.arange(1.0, ndim + 1)
    found = fit(places(ndim), places(ndim) @ matrix.T + shift, kind)
    assert found.kept.all()
    np.testing.assert_allclose(found.transform.matrix()[:-1].numpy(), np.column_stack([matrix, shift]), atol=1e-10)


@each_ndim
@pytest.mark.parametrize("tolerance", [None, 2.0])
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_misplaced_marks_are_left_out(ndim: int, tolerance: float | None, noise: float) -> None:
    fixed = places(ndim)
    moving = fixed @ turned(ndim).T + np.random.default_rng(3).normal(0, noise, fixed.shape)
    moving[[2, 7, 8]] += 25
    found = fit(fixed, moving, "affine", tolerance=tolerance)
    assert not found.kept[[2, 7, 8]].any()
    assert found.kept.sum() >= 8
    assert (found.residuals[[2, 7, 8]] > 10).all()
    assert found.residuals[found.kept].max() < 1e-9 + 5 * noise


@each_ndim
def test_spline_goes_through_its_landmarks_unless_smoothed(ndim: int) -> None:
    fixed, moving = places(ndim), bent(places(ndim))
    exact = fit(fixed, moving, "thin_plate", tolerance=math.inf)
    assert isinstance(exact.transform, ThinPlateSpline)
    assert exact.residuals.max() < 1e-9
    straight = fit(fixed, moving, "affine", tolerance=math.inf)
    smoother = [fit(fixed, moving, "thin_plate", tolerance=math.inf, smoothing=s).residuals.mean() for s in (0.01, 0.1, 1e7)]
    assert 1e-3 < smoother[0] < smoother[1] < straight.residuals.mean()
    assert smoother[2] == pytest.approx(straight.residuals.mean(), rel=1e-3)


@each_ndim
def test_spline_of_an_affine_motion_is_that_motion_everywhere(ndim: int) -> None:
    spline = fit(places(ndim), 1.2 * places(ndim) @ turned(ndim).T, "thin_plate").transform
    far = torch.from_numpy(10 * places(ndim, seed=5).T)
    np.testing.assert_allclose(spline(far).numpy().T, 1.2 * far.numpy().T @ turned(ndim).T, atol=1e-7)


def test_spline_hand_computed() -> None:
    """Four corners stay, the middle moves by 1: by symmetry halfway to a side it moves by what the kernel says."""
    fixed = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1], [0, 0]], float)
    moving = fixed.copy()
    moving[4] += (0, 1)
    spline = fit(fixed, moving, "thin_plate", tolerance=math.inf).transform
    point = np.array([0.0, 1.0])
    # w of the corners is -a, of the middle 4a; U(r) = r^2 log r; scale cancels because weights and linear terms sum to zero.
    u = lambda r: r**2 * math.log(r) if r else 0.0  # noqa: E731
    at_middle, at_corner = -4 * u(math.sqrt(2)), 4 * u(math.sqrt(2)) - (2 * u(2) + u(math.sqrt(8)))
    a_here = 4 * u(1) - 2 * u(1) - 2 * u(math.sqrt(5))
    a = 1 / (at_middle - at_corner)
    wanted = a * (a_here - at_corner)
    moved = spline(torch.from_numpy(point[:, None]))[:, 0].numpy()
    np.testing.assert_allclose(moved - point, [0, wanted], atol=1e-12)


@pytest.mark.parametrize(
    ("fixed", "kind", "words"),
    [
        (np.zeros((2, 2)), "affine", "at least 3 pairs"),
        (np.column_stack([np.arange(5.0), 2 * np.arange(5.0)]), "affine", "one line"),
        (np.zeros((5, 3)), "rigid", "one place"),
        (np.full((5, 2), np.nan), "affine", "NaN"),
        (np.zeros((5, 4)), "affine", r"\(N, 2\) or \(N, 3\)"),
        (places(2), "wavy", "Expected one of"),
    ],
)
def test_landmarks_that_tell_nothing_are_refused(fixed: np.ndarray, kind: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        fit(fixed, fixed, kind)  # type: ignore[arg-type]


def test_two_landmarks_at_one_place_are_refused_by_the_spline() -> None:
    fixed = places(2)
    fixed[1] = fixed[0]
    with pytest.raises(ValueError, match="same place"):
        fit(fixed, fixed, "thin_plate", tolerance=math.inf)


@each_ndim
def test_preimage_undoes_every_kind_of_transform(ndim: int) -> None:
    grid = Grid((24,) * ndim, (1.0, 2.0, 0.5)[:ndim], (5.0, -3.0, 100.0)[:ndim])
    turn = Affine.about(torch.from_numpy(turned(ndim, 0.1)), torch.ones(ndim), grid.centre)
    inner = np.array(grid.origin) + np.random.default_rng(2).uniform(0.2, 0.8, (200, ndim)) * np.array(grid.extent)
    spline = fit(inner[:15], inner[:15] + 0.5 * np.sin(inner[:15]), "thin_plate", tolerance=math.inf, smoothing=0.1).transform
    waves = [torch.sin(3 * axis / axis.abs().max()) for axis in grid.points()]
    field = Displacement(0.5 * torch.stack(waves), grid)
    each: list[Transform] = [turn, spline, field, turn.then(field), Sequential((field, spline, turn))]
    for transform in each:
        points = torch.from_numpy(inner.T.copy())
        found = preimage(transform, transform(points))
        assert float(((found - points).T / torch.tensor(grid.spacing)).abs().max()) < 0.01


def test_preimage_of_a_fold_is_unknown_or_true() -> None:
    grid = Grid((1, 32))
    x = torch.arange(32.0)
    field = Displacement(torch.stack([torch.zeros(1, 32), (6 * torch.sin(x / 2))[None]]), grid)
    wanted = torch.stack([torch.zeros(64), torch.linspace(2, 29, 64)]).double()
    found = preimage(field, wanted)
    known = torch.isfinite(found).all(dim=0)
    assert float((field(found[:, known]) - wanted[:, known]).abs().max()) < 0.01
