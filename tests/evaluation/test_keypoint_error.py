"""Laws of the registration error (DenoiseReg eq. 5), then known answers, then bad input."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_denoisereg.evaluation.keypoints import Keypoints, contour_points, join, registration_error

coordinates = st.floats(-500, 500, width=32)


def movie_of(first: np.ndarray, *later: np.ndarray, annotator: str = "Anna", kind: str = "interior") -> Keypoints:
    frames = np.repeat(np.arange(1 + len(later)), len(first))
    ids = np.tile(np.arange(len(first)), 1 + len(later))
    return Keypoints(frames, ids, np.vstack([first, *later]), annotator, kind)


@given(arrays(float, st.tuples(st.integers(1, 6), st.sampled_from([2, 3])), elements=coordinates))
@settings(max_examples=30, deadline=None)
def test_the_true_mapping_leaves_no_error(first: np.ndarray) -> None:
    shift = np.arange(1.0, first.shape[1] + 1)
    errors = registration_error(movie_of(first, first + shift), [lambda p: p, lambda p: p - shift])
    np.testing.assert_allclose(errors.after, 0, atol=1e-9)
    np.testing.assert_allclose(errors.before, np.linalg.norm(shift))


@given(arrays(float, (5, 2), elements=coordinates), arrays(float, (5, 2), elements=coordinates))
@settings(max_examples=30, deadline=None)
def test_the_identity_mapping_changes_nothing(first: np.ndarray, second: np.ndarray) -> None:
    errors = registration_error(movie_of(first, second), [lambda p: p] * 2)
    np.testing.assert_array_equal(errors.after, errors.before)


@given(
    arrays(float, (4, 3), elements=coordinates),
    arrays(float, (4, 3), elements=coordinates),
    st.permutations(range(8)),
)
@settings(max_examples=30, deadline=None)
def test_the_order_of_the_rows_does_not_matter(first: np.ndarray, second: np.ndarray, order: list[int]) -> None:
    points = movie_of(first, second)
    here, there = registration_error(points).rows(), registration_error(points.where(np.array(order))).rows()
    key = lambda row: (row["frame"], row["id"])  # noqa: E731
    for one, other in zip(sorted(here, key=key), sorted(there, key=key), strict=True):
        assert one["before"] == other["before"]


@given(st.floats(0.01, 100), arrays(float, (3, 2), elements=coordinates))
@settings(max_examples=30, deadline=None)
def test_equal_spacing_scales_the_world_error(size: float, second: np.ndarray) -> None:
    errors = registration_error(movie_of(np.zeros((3, 2)), second), spacing=(size, size))
    np.testing.assert_allclose(errors.before_world, errors.before * size)


def test_spacing_weighs_each_axis() -> None:
    errors = registration_error(movie_of(np.zeros((1, 3)), np.array([[1.0, 2.0, 0.0]])), spacing=(3.0, 2.0, 1.0))
    assert errors.before[0] == pytest.approx(np.sqrt(5))
    assert errors.before_world[0] == pytest.approx(5.0)


def test_moving_points_are_brought_back_and_not_the_other_way_round() -> None:
    """With T(x) = 2x the fixed point 3 is found at 6; only the inverse brings it back."""
    points = movie_of(np.array([[3.0, 3.0]]), np.array([[6.0, 6.0]]))
    assert registration_error(points, [lambda p: p, lambda p: p / 2]).after[0] == 0
    assert registration_error(points, [lambda p: p, lambda p: p * 2]).after[0] > 0


def test_annotators_weigh_the_same_however_many_points_they_marked() -> None:
    """As in Table 1: the average is over annotators' means (1 and 5), not over marks."""
    anna = movie_of(np.zeros((4, 2)), np.tile([0.0, 1.0], (4, 1)), annotator="Anna")
    ben = movie_of(np.zeros((1, 2)), np.array([[3.0, 4.0]]), annotator="Ben")
    errors = registration_error(join([anna, ben]))
    assert [row["before_mean"] for row in errors.table("annotator")] == [1.0, 5.0]
    assert errors.table()[0]["before_mean"] == 3.0
    assert errors.table()[0]["before_median"] == 1.0


def test_interior_and_contour_points_are_kept_apart_even_with_equal_ids() -> None:
    inner = movie_of(np.zeros((2, 2)), np.tile([0.0, 1.0], (2, 1)))
    outer = movie_of(np.ones((2, 2)), np.tile([1.0, 4.0], (2, 1)), kind="contour")
    rows = registration_error(join([inner, outer])).table("kind")
    assert [(row["kind"], row["n"], row["before_mean"]) for row in rows] == [("contour", 2, 3.0), ("interior", 2, 1.0)]


def test_table_gives_mean_median_and_90th_percentile_per_frame() -> None:
    distances = np.arange(11.0)
    points = movie_of(np.zeros((11, 2)), np.column_stack([distances, 0 * distances]))
    row = registration_error(points, [lambda p: p, lambda p: p / 2]).table("frame")[0]
    assert (row["frame"], row["n"], row["lost"]) == (1, 11, 0)
    assert (row["before_mean"], row["before_median"], row["before_p90"]) == (5.0, 5.0, 9.0)
    assert (row["after_mean"], row["after_median"], row["after_p90"]) == (2.5, 2.5, 4.5)


def test_world_tables_use_world_units() -> None:
    errors = registration_error(movie_of(np.zeros((1, 2)), np.array([[3.0, 4.0]])), spacing=(0.1, 0.1), unit="µm")
    assert errors.table(world=True)[0]["before_mean"] == pytest.approx(0.5)


def test_another_fixed_frame_can_be_chosen() -> None:
    points = movie_of(np.zeros((1, 2)), np.array([[0.0, 1.0]]), np.array([[0.0, 3.0]]))
    errors = registration_error(points, fixed_frame=2)
    assert errors.frame.tolist() == [0, 1]
    assert errors.before.tolist() == [3.0, 2.0]


def test_marks_that_are_missing_somewhere_are_counted_and_announced() -> None:
    points = Keypoints([0, 0, 1, 1, 2], [0, 1, 0, 7, 0], np.zeros((5, 2)))
    errors = registration_error(points)
    assert len(errors) == 2
    assert "1 marks are not in the fixed frame 0" in errors.notes[0]
    assert "2 of 4 marks are missing in later frames" in errors.notes[1]


def test_unknown_places_are_lost_and_announced_not_hidden() -> None:
    points = movie_of(np.zeros((2, 2)), np.array([[0.0, 1.0], [0.0, 3.0]]))
    errors = registration_error(points, [lambda p: p, lambda p: np.where(p[:, 1:] > 2, np.nan, p)])
    row = errors.table()[0]
    assert (row["n"], row["lost"], row["after_mean"]) == (2, 1, 1.0)
    assert "1 of 2 marks lie where the transform is unknown" in errors.notes[0]


def test_without_mappings_there_is_no_error_after() -> None:
    errors = registration_error(movie_of(np.zeros((1, 2)), np.ones((1, 2))))
    assert not errors.is_registered
    assert np.isnan(errors.after).all()
    assert np.isnan(errors.table()[0]["after_mean"])
    assert errors.table()[0]["lost"] == 0


def test_too_few_mappings_are_refused() -> None:
    with pytest.raises(ValueError, match="mapping for every frame up to 1, got 1"):
        registration_error(movie_of(np.zeros((1, 2)), np.ones((1, 2))), [lambda p: p])


def test_mappings_must_keep_the_shape() -> None:
    with pytest.raises(ValueError, match=r"mapping of frame 1 to return points \(1, 2\), got \(1, 1\)"):
        registration_error(movie_of(np.zeros((1, 2)), np.ones((1, 2))), [lambda p: p, lambda p: p[:, :1]])


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 0.0), (1.0, np.nan), (1.0, 1.0, 1.0)])
def test_spacing_that_does_not_fit_is_refused(spacing: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="Spacing must be 2 positive numbers"):
        registration_error(movie_of(np.zeros((1, 2)), np.ones((1, 2))), spacing=spacing)


def test_keypoints_without_a_fixed_frame_are_refused() -> None:
    with pytest.raises(ValueError, match=r"marked in the fixed frame 5.*got none"):
        registration_error(movie_of(np.zeros((1, 2)), np.ones((1, 2))), fixed_frame=5)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([0], [0], [1.0, 2.0]), r"must be \(N, D\)"),
        (([0, 1], [0], [[1.0, 2.0]]), "'frame' must hold one number per position"),
        (([0], [0.5], [[1.0, 2.0]]), "'id' must hold whole numbers"),
        ((["a"], [0], [[1.0, 2.0]]), "'frame' must hold whole numbers"),
        (([-1], [0], [[1.0, 2.0]]), "count from 0, got -1"),
        (([0], [0], [[np.nan, 2.0]]), r"finite.*rows \[0\]"),
        (([0, 0], [3, 3], [[1.0, 2.0]] * 2), "two marks for"),
        (([0], [0], [[1.0, 2.0]], "Anna", "edge"), "one of .*'interior', 'contour'.*got"),
        (([0], [0], [[1.0, 2.0]], ["Anna", "Ben"]), "'annotator' must be one word or one per position"),
    ],
)
def test_bad_columns_are_refused_with_a_remedy(columns: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Keypoints(*columns)


def test_columns_are_read_only_copies() -> None:
    places = np.zeros((1, 2))
    points = Keypoints([0], [0], places)
    places[:] = 9
    assert points.position.max() == 0
    with pytest.raises(ValueError, match="read-only"):
        points.position[0] = 1


def test_an_empty_table_is_a_table() -> None:
    assert len(Keypoints([], [], np.zeros((0, 2)))) == 0


def test_join_keeps_all_rows_and_refuses_mixed_dimensions() -> None:
    flat, deep = movie_of(np.zeros((2, 2))), movie_of(np.zeros((1, 3)))
    assert len(join([flat, movie_of(np.zeros((1, 2)), annotator="Ben")])) == 3
    with pytest.raises(ValueError, match=r"got \[2, 3\]"):
        join([flat, deep])
    with pytest.raises(ValueError, match="at least one"):
        join([])


@given(st.integers(1, 60), st.floats(1, 100), st.floats(1, 100))
@settings(max_examples=30, deadline=None)
def test_contour_points_lie_at_equal_steps_along_the_outline(n: int, height: float, width: float) -> None:
    outline = np.array([[0, 0], [0, width], [height, width], [height, 0]])
    points = contour_points(outline, n)
    steps = travelled_along_rectangle(points, height, width)
    np.testing.assert_allclose(steps, np.arange(n) * 2 * (height + width) / n, atol=1e-6 * (height + width))


def travelled_along_rectangle(points: np.ndarray, height: float, width: float) -> np.ndarray:
    y, x = points.T
    close = 1e-9 * (height + width)
    top, right, bottom = y < close, x > width - close, y > height - close
    return np.select([top, right, bottom], [x, width + y, width + height + width - x], 2 * width + height + height - y)


def test_contour_points_of_a_circle_are_a_regular_polygon() -> None:
    angle = np.linspace(0, 2 * np.pi, 721)
    points = contour_points(np.column_stack([np.sin(angle), np.cos(angle)]), 12)
    sides = np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1)
    np.testing.assert_allclose(sides, 2 * np.sin(np.pi / 12), rtol=1e-3)


@pytest.mark.parametrize(
    ("outline", "n", "message"),
    [(np.zeros((2, 2)), 5, "at least 3 corners"), (np.eye(3), 5, r"\(M, 2\)"), (np.zeros((3, 2)), 5, "coincide"),
     (np.array([[0, 0], [0, 1], [1, 1]]), 0, "at least 1, got 0")],
)  # fmt: skip
def test_bad_outlines_are_refused(outline: np.ndarray, n: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        contour_points(outline, n)


def test_keypoints_and_movies_do_without_torch() -> None:
    code = (
        "import sys, napari_denoisereg.evaluation.keypoints, napari_denoisereg.evaluation.synthetic, "
        "napari_denoisereg.evaluation.report; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
