"""Landmarks: a soft term of what a registrar minimises, from no say at all to all of it."""

import warnings

import numpy as np
import pytest
import torch
from scipy import ndimage

import napari_denoisereg as dr
from napari_denoisereg.evaluation.keypoints import Keypoints
from napari_denoisereg.geometry import Displacement, Grid, Identity, PerFrame
from napari_denoisereg.pipeline import presets
from napari_denoisereg.register import Registrar, Registration
from napari_denoisereg.register.anchors import check_landmarks, passed_over
from napari_denoisereg.register.lattice import Lattice
from napari_denoisereg.register.marks import Marks
from napari_denoisereg.stack import Stack
from napari_denoisereg.starts import as_landmarks

# These marks say something else than the image, and registration rightly warns of it.
pytestmark = pytest.mark.filterwarnings("ignore:Look at these frames")

ELASTIC = {"kind": "elastic", "iterations": 4}
MARKS = np.array([[10, 10], [50, 12], [14, 52], [46, 44], [30, 30]], float)
MAPS = [np.eye(2), np.array([[1.02, 0.05], [-0.03, 0.97]]), np.array([[0.97, -0.08], [0.06, 1.04]])]
SHIFTS = [np.zeros(2), np.array([2.0, -3.0]), np.array([-4.0, 5.0])]
PLACES = [(MARKS - 30) @ each.T + 30 + shift for each, shift in zip(MAPS, SHIFTS, strict=True)]
POINTS = Keypoints(np.repeat([0, 1, 2], 5), np.tile(np.arange(5), 3), np.concatenate(PLACES))


def movie() -> Stack:
    """A texture that drifts by (1, 1) px a frame, whatever the marks say."""
    base = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(80, 80)), 2)
    frames = np.stack([ndimage.shift(base, (t, t))[8:72, 8:72] for t in range(3)])
    return Stack((1000 * frames).astype(np.float32), "tyx", (1.0, 0.5, 0.5), (0.0, 3.0, -7.0))


def residual(found: Registration, points: Keypoints = POINTS) -> float:
    """Largest distance between where marks are and where the transforms put them, px."""
    world = points.position * 0.5 + np.array([3.0, -7.0])
    first = world[points.frame == 0]
    gaps = [np.linalg.norm(found.points(t, first) - world[points.frame == t], axis=1).max() for t in range(3)]
    return float(max(gaps)) / 0.5


@pytest.mark.parametrize("series", ["combined", "to_first", "to_previous"])
def test_a_large_weight_makes_the_misfit_vanish(series: str) -> None:
    recipe = {"register": [{"kind": "affine", "landmark_weight": 1e6}], "series": series}
    assert residual(dr.run(movie(), recipe, device="cpu", landmarks=POINTS).registration) < 0.02


@pytest.mark.parametrize("series", ["combined", "to_first"])
def test_a_large_weight_makes_the_misfit_vanish_for_all_frames_at_once_and_for_pairs(series: str) -> None:
    recipe = {"register": [ELASTIC | {"landmark_weight": 1e6}], "series": series}
    assert residual(dr.run(movie(), recipe, device="cpu", landmarks=POINTS).registration) < 0.05


def test_bent_marks_are_followed_where_an_affine_motion_cannot() -> None:
    bent = POINTS.position + np.where(POINTS.frame == 2, 3 * np.sin(POINTS.position[:, 0] / 9), 0)[:, None] * [0.0, 1.0]
    marks = Keypoints(POINTS.frame, POINTS.id, bent)

    def misfit(step: dict[str, object]) -> float:
        recipe = {"register": [step | {"landmark_weight": 1e5}]}
        return residual(dr.run(movie(), recipe, device="cpu", landmarks=marks).registration, marks)

    assert misfit({"kind": "affine"}) > 0.5
    assert misfit(ELASTIC) < 0.05


@pytest.mark.parametrize("step", [{"kind": "affine"}, ELASTIC], ids=["affine", "elastic"])
def test_no_weight_equals_no_landmarks(step: dict[str, object]) -> None:
    method = Registrar.coerce(step | {"landmark_weight": 0})
    recipe = {"register": [method.to_dict()], "series": "to_first"}
    one, two = (dr.run(movie(), recipe, device="cpu", landmarks=each).registration for each in (POINTS, None))
    for frame in range(3):
        np.testing.assert_allclose(one.points(frame, MARKS), two.points(frame, MARKS), atol=1e-9)


@pytest.mark.parametrize("step", [{"kind": "affine"}, ELASTIC], ids=["affine", "elastic"])
def test_the_more_weight_the_less_misfit(step: dict[str, object]) -> None:
    def found(weight: float) -> float:
        recipe = {"register": [step | {"landmark_weight": weight}]}
        return residual(dr.run(movie(), recipe, device="cpu", landmarks=POINTS).registration)

    misfits = [found(weight) for weight in (0, 0.1, 10)]
    assert misfits == sorted(misfits, reverse=True)
    assert misfits[-1] < 0.1 * misfits[0]


def test_pulling_goes_against_the_gradient_of_the_misfit() -> None:
    random = torch.Generator().manual_seed(0)
    lattice = Lattice.over(Grid((40, 50)), 16.0)
    places = 30 * torch.rand(3, 4, 2, generator=random, dtype=torch.float64) + 5
    places[1, 2] = torch.nan
    marks = Marks(places, 2.0)
    affine = torch.cat([torch.eye(2), torch.tensor([[1.0], [-2.0]])], dim=1).expand(3, -1, -1)
    spline = torch.randn(3, 2, *lattice.shape, generator=random)
    change = torch.randn(3, 2, *lattice.shape, generator=random)

    def energy(step: float) -> float:
        hold = marks.hold(affine, spline + step * change, lattice)
        return float(hold.weight / hold.seen.sum(1).mean() * hold.gaps.double().square().sum() / 2)

    hold = marks.hold(affine, spline, lattice)
    slope = (energy(1e-2) - energy(-1e-2)) / 2e-2
    # Where the bending itself changes the place of a mark a little the slope is only nearly that.
    assert float((hold.pull() * change).sum()) == pytest.approx(-slope, rel=0.25)
    other = torch.randn(3, 2, *lattice.shape, generator=random)
    one, two = float((hold.curvature(change) * other).sum()), float((hold.curvature(other) * change).sum())
    assert one == pytest.approx(two, rel=1e-4)
    assert float((hold.curvature(change) * change).sum()) >= 0


@pytest.mark.parametrize("kind", ["affine", "elastic"])
def test_right_marks_lead_where_the_image_alone_gets_lost(kind: str) -> None:
    base = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(128, 128)), 2)
    shifts = np.array([(0, 0), (14, -18), (-15, 17)])
    stack = Stack(np.stack([ndimage.shift(base, s, order=1)[32:96, 32:96] for s in shifts]).astype(np.float32), "tyx")
    places = np.array([[25.0, 25.0], [40, 40], [24, 41]])
    marks = Keypoints(np.repeat([0, 1, 2], 3), np.tile(np.arange(3), 3), np.concatenate([places + s for s in shifts]))

    def error(found: Registration) -> float:
        return max(float(np.abs(found.points(t, places) - places - shifts[t]).max()) for t in range(3))

    for weight, is_lost in ((0.0, True), (1.0, False)):
        found = dr.register(stack, {"kind": kind, "landmark_weight": weight}, device="cpu", landmarks=marks)
        assert (error(found) > 5) == is_lost
        assert is_lost or error(found) < 0.3
    # Without marks, frames that have nothing in common are sought anew.
    assert error(dr.register(stack, kind, device="cpu")) < 0.3


def test_marks_tell_poses_apart_that_look_the_same() -> None:
    half = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=(64, 64)), 2)
    twofold = (half + half[::-1, ::-1]).astype(np.float32)  # turned by 180° it looks as before
    stack = Stack(np.stack([twofold, twofold]), "tyx")
    turned = 63.0 - MARKS
    marks = Keypoints(np.repeat([0, 1], 5), np.tile(np.arange(5), 2), np.concatenate([MARKS, turned]))
    for weight, expected in ((0.0, MARKS), (1.0, turned)):
        found = dr.register(stack, {"kind": "pose", "landmark_weight": weight}, device="cpu", landmarks=marks)
        np.testing.assert_allclose(found.points(1, MARKS), expected, atol=0.3)


@pytest.mark.slow
def test_marks_lead_the_recipe_that_begins_with_a_search() -> None:
    recipe = presets()["balanced"].model_copy(update={"denoise": None})
    strong = [each.model_copy(update={"landmark_weight": 1e5}) for each in recipe.registrars]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Look at these frames")
        guided = dr.run(movie(), recipe.model_copy(update={"registrars": tuple(strong)}), device="cpu", landmarks=POINTS)
    assert residual(guided.registration) < 0.1
    assert residual(dr.run(movie(), recipe, device="cpu").registration) > 2


def test_marks_count_only_in_frames_that_show_them() -> None:
    few = POINTS.where((POINTS.frame != 1) | (POINTS.id < 3))
    landmarks = as_landmarks(few, movie().grid, 3)
    assert [len(landmarks.pair(*pair).fixed) for pair in ((0, 1), (1, 2), (0, 2), (0, 0))] == [3, 3, 5, 5]
    np.testing.assert_allclose(landmarks.pair(0, 2).moving, PLACES[2] * 0.5 + [3, -7])


def test_landmarks_follow_frames_that_are_bent_first() -> None:
    grid = movie().grid
    field = np.zeros((2, *grid.shape), np.float32)
    field[0] = 1.5
    bend = Displacement(torch.from_numpy(field), grid)
    moved = as_landmarks(POINTS, grid, 3).before(PerFrame([Identity(2), bend, bend]))
    np.testing.assert_allclose(moved.places[1], PLACES[1] * 0.5 + [3 - 1.5, -7], atol=1e-3)


def test_a_recipe_without_a_registrar_that_takes_them_says_so_before_work() -> None:
    with pytest.raises(ValueError, match=r"keypoints can guide \(affine, elastic, pose\), got patches;"):
        dr.run(movie(), {"register": ["patches"]}, device="cpu", landmarks=POINTS)
    with pytest.raises(TypeError, match="cannot take landmarks"):
        Registrar.coerce("patches").align_marked(*[movie().tensor([0])] * 2, movie().grid, [])
    with pytest.raises(TypeError, match="cannot take landmarks"):
        Registrar.coerce("patches").align_movie_marked(movie(), torch.zeros(3, 1, 2))


STRONG = {"kind": "affine", "landmark_weight": 1e6}


def test_registrars_that_cannot_take_them_go_without_and_the_user_is_told() -> None:
    recipe = {"register": [{"kind": "patches"}, ELASTIC | {"landmark_weight": 1e6, "iterations": 30}], "series": "to_first"}
    with pytest.warns(UserWarning, match=r"keypoints guide elastic; patches looks at the images alone\.$"):
        found = dr.run(movie(), recipe, device="cpu", landmarks=POINTS).registration
    assert residual(found) < 0.05


def test_a_registrar_that_comes_last_and_takes_none_may_leave_them_again() -> None:
    recipe = {"register": [{"kind": "affine", "landmark_weight": 1e6}, {"kind": "patches"}], "series": "to_first"}
    with pytest.warns(UserWarning, match="patches looks at the images alone, and what comes after affine may leave"):
        dr.run(movie(), recipe, device="cpu", landmarks=POINTS)


@pytest.mark.parametrize("name", ["fast", "balanced", "best"])
def test_recipes_without_training_are_guided_in_every_step(name: str) -> None:
    steps = presets()[name].registrars
    check_landmarks(steps)
    assert passed_over(steps) == ""


def test_landmarks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="first frame"):
        dr.register(movie(), "affine", device="cpu", landmarks=POINTS.where(POINTS.frame > 0))
    with pytest.raises(ValueError, match="ends at 1"):
        dr.register(movie().frame_range(0, 2), "affine", device="cpu", landmarks=POINTS)
