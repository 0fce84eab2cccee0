"""The live error is that of the full evaluation, whatever was moved before; and it is quick."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_denoisereg.evaluation.keypoints import Keypoints, join, registration_error
from napari_denoisereg.evaluation.live_error import LiveError, SteeredError
from napari_denoisereg.evaluation.point_fit import PointFit


def marks(n_ids: int = 4, n_frames: int = 5, n_axes: int = 2, annotators: tuple[str, ...] = ("Anna", "Ben")) -> Keypoints:
    """Some marks are missing, one keypoint is not in the fixed frame, rows are in no order."""
    rng = np.random.default_rng(3)
    tables = []
    for who in annotators:
        first = rng.uniform(0, 100, (n_ids, n_axes))
        places = [first + frame + rng.normal(0, 2, first.shape) for frame in range(n_frames)]
        kinds = [["interior", "contour"][number % 2] for number in range(n_ids)] * n_frames
        frames, ids = np.repeat(range(n_frames), n_ids), list(range(n_ids)) * n_frames
        tables.append(Keypoints(frames, ids, np.vstack(places), who, kinds))
    points = join(tables)
    kept = rng.random(len(points)) < 0.9
    kept[(points.frame == 0) & (points.id == 1) & (points.annotator == annotators[0])] = False
    return points.where(rng.permutation(np.flatnonzero(kept)))


def mappings(n_frames: int = 5) -> list:
    """Row by row the same, however many rows are mapped at once; nothing is known at the left."""

    def back(frame: int):
        def mapping(places):
            found = places * (1 - 0.01 * frame) - 0.9 * frame + 0.5 * np.sin(places)
            found[places[:, -1] < 10] = np.nan
            return found

        return mapping

    return [back(frame) for frame in range(n_frames)]


def assert_equals_full_evaluation(live: LiveError, given_mappings: list | None) -> None:
    points = live.points()
    full = registration_error(points.where(live.included), given_mappings)
    rows = np.flatnonzero(live.counts)
    np.testing.assert_array_equal(points.frame[rows], full.frame)
    np.testing.assert_array_equal(points.id[rows], full.id)
    np.testing.assert_array_equal(live.before[rows], full.before)
    np.testing.assert_array_equal(live.after[rows], full.after)
    table = {row["frame"]: row for row in full.table("frame")}
    people = {(row["annotator"], row["frame"]): row for row in full.table("annotator", "frame")}
    for side in ("before", "after"):
        np.testing.assert_allclose(live.overall(side), full.table()[0][f"{side}_mean"], rtol=1e-12)
        curves = live.curves(side)
        for line, frame in enumerate(curves.frames.tolist()):
            expected = table.get(frame, {f"{side}_mean": np.nan, f"{side}_median": np.nan})
            np.testing.assert_allclose(curves.mean[line], expected[f"{side}_mean"], rtol=1e-12)
            np.testing.assert_allclose(curves.median[line], expected[f"{side}_median"], rtol=1e-12)
            for who, values in curves.annotators.items():
                row = people.get((who, frame), {f"{side}_mean": np.nan})
                np.testing.assert_allclose(values[line], row[f"{side}_mean"], rtol=1e-12)


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(-50, 150)), max_size=12), st.booleans(), st.sampled_from([2, 3]))
def test_after_any_moves_it_equals_the_full_evaluation(moves: list, registered: bool, n_axes: int) -> None:
    found = mappings() if registered else None
    live = LiveError(marks(n_axes=n_axes), found)
    for row, value in moves:
        live.move(row, np.full((1, n_axes), value))
    assert_equals_full_evaluation(live, found)


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=12))
def test_excluded_marks_do_not_count_but_are_measured(changes: list) -> None:
    live = LiveError(marks(), mappings())
    before = live.before.copy()
    for row, counts in changes:
        live.include(row, counts)
    assert_equals_full_evaluation(live, mappings())
    np.testing.assert_array_equal(live.before, before)


def test_a_moved_mark_touches_itself_and_one_of_the_fixed_frame_its_keypoint() -> None:
    live = LiveError(marks(), mappings())
    points = live.points()
    row = int(np.flatnonzero(points.frame == 2)[0])
    assert live.move(row, [[1.0, 2.0]]).tolist() == [row]
    first = int(np.flatnonzero(points.frame == 0)[0])
    name = (points.annotator[first], points.kind[first], points.id[first])
    same = [
        number for number in range(len(points)) if (points.annotator[number], points.kind[number], points.id[number]) == name
    ]
    assert live.move(first, [[1.0, 2.0]]).tolist() == same


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(-50, 150)), max_size=6), st.integers(0, 30))
def test_it_follows_the_same_marks_elsewhere_and_refuses_others(moves: list, excluded: int) -> None:
    points, live = marks(), LiveError(marks(), mappings())
    places, included = points.position.copy(), np.ones(len(points), bool)
    for row, value in moves:
        places[row] = value
    included[excluded] = False
    now = Keypoints(points.frame, points.id, places, points.annotator, points.kind)
    assert live.follow(now, included)
    np.testing.assert_array_equal(live.position, places)
    assert_equals_full_evaluation(live, mappings())
    assert not live.follow(points.where(np.arange(len(points) - 1)), included[:-1])
    assert not live.follow(points.where(np.arange(len(points))[::-1]), included)


def test_the_residual_is_as_long_as_the_error() -> None:
    for found, side in ((mappings(), "after"), (None, "before")):
        live = LiveError(marks(), found)
        np.testing.assert_array_equal(np.linalg.norm(live.residual, axis=1), getattr(live, side))


def test_empty_and_single_frame_tables_have_no_error() -> None:
    empty = LiveError(Keypoints([], [], np.empty((0, 2))))
    assert empty.curves("before").mean.shape == (0,)
    alone = LiveError(Keypoints([0, 0], [0, 1], [[1, 2], [3, 4]]), mappings())
    assert np.isnan(alone.before).all()
    assert alone.move(0, [[2, 2]]).tolist() == [0]


# ---------------------------------------------------------------------------------------------- steered by the marks
def steered(model: str, n_axes: int = 2) -> tuple[Keypoints, np.ndarray]:
    rng = np.random.default_rng(4)
    first = rng.uniform(0, 100, (9, n_axes))
    places = np.vstack([first, *(first * 1.02 + 3 + rng.normal(0, 1, first.shape) for _ in range(3))])
    points = Keypoints(np.repeat(range(4), 9), list(range(9)) * 4, places)
    return points, points.id >= 7


@pytest.mark.parametrize("model", ["affine", "thin-plate"])
@pytest.mark.parametrize("n_axes", [2, 3])
def test_steered_error_is_that_of_fits_without_the_mark(model: str, n_axes: int) -> None:
    points, check = steered(model, n_axes)
    live = SteeredError(points, model, check=check)
    rng = np.random.default_rng(5)
    for row in (0, 12, 20, 35, 3):
        live.move(row, points.position[row] + rng.normal(0, 3, (1, n_axes)))
    now = live.points()
    fixed = now.in_frame(0).position
    for row in np.flatnonzero(now.frame > 0).tolist():
        same = (now.frame == now.frame[row]) & ~check & (np.arange(len(now)) != row)
        fit = PointFit(now.position[same], model)
        landed = fit(now.position[row][None], fixed[now.id[same]])
        np.testing.assert_allclose(live.after[row], np.linalg.norm(landed - fixed[now.id[row]]), rtol=1e-6, atol=1e-8)


def test_in_sample_error_of_a_spline_is_nothing_whatever_its_accuracy() -> None:
    points, check = steered("thin-plate")
    live = SteeredError(points, "thin-plate", check=check)
    steering = (points.frame > 0) & ~check
    np.testing.assert_allclose(live.in_sample[steering], 0, atol=1e-9)
    assert live.after[steering].mean() > 0.5
    assert np.isnan(live.in_sample[check]).all()


def test_frames_with_too_few_marks_are_not_fitted() -> None:
    points, _ = steered("affine")
    live = SteeredError(points, "affine", check=points.id >= 2)
    assert np.isnan(live.after).all()
    live = SteeredError(points, "affine")
    live.include(np.flatnonzero(points.id < 5), False)
    assert np.isfinite(live.after[points.frame > 0]).all()
    again = SteeredError(points, "affine", included=points.id >= 5)
    np.testing.assert_allclose(live.after, again.after)


# ---------------------------------------------------------------------------------------------- speed
def quickest(live: LiveError, rows: list[int]) -> float:
    taken = []
    for row in rows:
        start = time.perf_counter()
        live.move(row, live.position[row] + 0.1)
        live.curves("before")
        live.curves("after")
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def test_a_move_is_measured_in_a_fraction_of_a_screen_refresh() -> None:
    """100 keypoints in 100 frames; a drag in any frame, and in the fixed one, which touches all."""
    rng = np.random.default_rng(0)
    points = Keypoints(np.repeat(range(100), 100), list(range(100)) * 100, rng.uniform(0, 500, (10_000, 2)))
    live = LiveError(points, mappings(100))
    moving, fixed = quickest(live, [5_000] * 31), quickest(live, [50] * 31)
    start = time.perf_counter()
    registration_error(points, mappings(100)).table("frame")
    full = time.perf_counter() - start
    assert moving < 0.008
    assert fixed < 0.016
    assert moving < full / 5
