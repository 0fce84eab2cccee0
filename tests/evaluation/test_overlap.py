"""Laws of Dice, then known answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_denoisereg.evaluation.overlap import dice, mean_dice, neighbour_dice

labels = arrays(np.uint8, (4, 5), elements=st.integers(0, 3))


@given(labels, labels)
@settings(max_examples=50, deadline=None)
def test_dice_is_symmetric_and_between_0_and_1(first: np.ndarray, second: np.ndarray) -> None:
    assert dice(first, second) == dice(second, first)
    assert all(0 <= value <= 1 for value in dice(first, second).values())


@given(labels)
@settings(max_examples=50, deadline=None)
def test_an_image_covers_itself(image: np.ndarray) -> None:
    assert set(dice(image, image).values()) <= {1.0}
    assert set(dice(image, image)) == set(np.unique(image).tolist()) - {0}


@given(labels, labels)
@settings(max_examples=50, deadline=None)
def test_dice_equals_its_formula(first: np.ndarray, second: np.ndarray) -> None:
    for label, value in dice(first, second).items():
        one, other = first == label, second == label
        assert value == 2 * (one & other).sum() / (one.sum() + other.sum())


def test_masks_count_as_one_label() -> None:
    assert dice(np.array([[True, True, False]]), np.array([[True, False, False]])) == {1: pytest.approx(2 / 3)}


def test_mean_dice_takes_the_largest_labels_only() -> None:
    first, second = np.array([1, 1, 1, 1, 2, 0]), np.array([1, 1, 1, 1, 0, 2])
    assert mean_dice(first, second) == 0.5
    assert mean_dice(first, second, n_largest=1) == 1.0


def test_mean_dice_of_nothing_is_unknown() -> None:
    assert np.isnan(mean_dice(np.zeros((2, 2), int), np.zeros((2, 2), int)))


def test_neighbour_dice_compares_each_section_with_the_next() -> None:
    stack = np.array([[[1, 1, 2, 2]], [[1, 1, 2, 2]], [[1, 2, 2, 2]], [[0, 0, 0, 0]]])
    means = neighbour_dice(stack)
    assert means[0] == 1.0
    assert means[1] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert means[2] == 0.0


def test_neighbour_dice_chooses_by_size_in_the_whole_stack() -> None:
    stack = np.array([[[1, 2, 2]], [[1, 0, 2]], [[0, 2, 2]]])
    assert neighbour_dice(stack, n_largest=1).tolist() == pytest.approx([2 / 3, 2 / 3])


def test_ids_at_rest_decide_which_labels_count() -> None:
    rest = np.array([[[1, 1, 2, 3]], [[1, 1, 2, 0]]])
    assert neighbour_dice(rest)[0] == pytest.approx((1 + 1 + 0) / 3)
    assert neighbour_dice(rest, at_rest=rest)[0] == 1.0  # 3 ends here
    assert neighbour_dice(rest, at_rest=rest, n_largest=1)[0] == 1.0
    pushed_out = np.array([[[1, 1, 0, 3]], [[1, 1, 0, 0]]])
    assert neighbour_dice(pushed_out, at_rest=rest)[0] == pytest.approx((1 + 0) / 2)


@given(labels)
@settings(max_examples=50, deadline=None)
def test_a_section_twice_is_kept_whole(image: np.ndarray) -> None:
    stack = np.stack([image, image]).reshape(2, 1, -1)
    means = neighbour_dice(stack, at_rest=stack)
    assert np.isnan(means[0]) if not image.any() else means[0] == 1.0


def test_a_pair_of_sections_without_labels_is_unknown() -> None:
    assert np.isnan(neighbour_dice(np.zeros((2, 3, 3), int))).all()


def test_bad_labels_are_refused() -> None:
    with pytest.raises(TypeError, match="whole numbers or a mask, got float64"):
        dice(np.zeros((2, 2)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"agree in shape, got \(2, 2\) and \(2, 3\)"):
        dice(np.zeros((2, 2), int), np.zeros((2, 3), int))
    with pytest.raises(ValueError, match="at least 2 sections"):
        neighbour_dice(np.zeros((3, 3), int))
    with pytest.raises(ValueError, match="at rest must agree in shape"):
        neighbour_dice(np.zeros((2, 3, 3), int), at_rest=np.zeros((2, 3, 4), int))
    with pytest.raises(ValueError, match="at least 1 or None, got 0"):
        mean_dice(np.ones((2, 2), int), np.ones((2, 2), int), n_largest=0)
