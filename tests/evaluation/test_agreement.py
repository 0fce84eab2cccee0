"""People who mark the same places, and outlines drawn again."""

import numpy as np
import pytest

from napari_denoisereg.evaluation.agreement import annotator_distances, contour_like
from napari_denoisereg.evaluation.keypoints import Keypoints, contour_points, join

FIRST = np.array([[10.0, 10], [10, 90], [90, 10], [90, 90]])


def marked(who: str, offset: tuple[float, float], order: tuple[int, ...] = (0, 1, 2, 3), kind: str = "interior") -> Keypoints:
    places = FIRST[list(order)]
    return Keypoints(np.repeat([0, 3], 4), [0, 1, 2, 3] * 2, np.vstack([places, places + 5]) + offset, who, kind)


def test_places_are_matched_whatever_their_ids() -> None:
    (found,) = annotator_distances(join([marked("Anna", (0, 0)), marked("Ben", (3, 4), (2, 0, 3, 1))]))
    assert (found.first, found.second, found.n_keypoints, found.n_marks) == ("Anna", "Ben", 4, 8)
    assert (found.mean, found.median, found.p90) == (5.0, 5.0, 5.0)


def test_three_people_are_three_pairs_and_one_person_is_none() -> None:
    everyone = join([marked(who, (0, shift)) for shift, who in enumerate(("Anna", "Ben", "Cem"))])
    assert [(each.first, each.second, each.mean) for each in annotator_distances(everyone)] == [
        ("Anna", "Ben", 1.0),
        ("Anna", "Cem", 2.0),
        ("Ben", "Cem", 1.0),
    ]
    assert annotator_distances(marked("Anna", (0, 0))) == []


def test_places_too_far_apart_are_different() -> None:
    (found,) = annotator_distances(join([marked("Anna", (0, 0)), marked("Ben", (3, 4))]), within=4)
    assert found.n_keypoints == found.n_marks == 0
    assert np.isnan(found.mean)


def test_contour_points_are_left_out() -> None:
    assert annotator_distances(join([marked("Anna", (0, 0)), marked("Ben", (3, 4), kind="contour")])) == []


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("start", [0, 7, 20])
def test_an_outline_drawn_again_keeps_its_points(turned: bool, start: int) -> None:
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    outline = np.column_stack([50 + 30 * np.sin(angles), 50 + 18 * np.cos(angles) + 6 * np.sin(2 * angles)])
    before = contour_points(outline, 12)
    again = np.roll(outline[::-1] if turned else outline, start, axis=0) + 4
    points = contour_like(again, before)
    np.testing.assert_allclose(points, before + 4, atol=0.5)
