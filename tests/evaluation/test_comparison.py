"""Two images in one."""

import numpy as np
import pytest

from napari_denoisereg.evaluation.comparison import checkerboard, divided


@pytest.mark.parametrize("shape", [(6, 8), (3, 6, 8)])
def test_checkerboard_takes_squares_in_turn(shape: tuple[int, ...]) -> None:
    board = checkerboard(np.zeros(shape), np.ones(shape), 2)
    np.testing.assert_array_equal(board[..., :4, :4][..., ::2, ::2].reshape(-1, 4)[0], [0, 1, 1, 0])
    np.testing.assert_array_equal(board[..., 0, :], np.broadcast_to([0, 0, 1, 1, 0, 0, 1, 1], board[..., 0, :].shape))


def test_a_tile_as_large_as_the_image_is_the_first_image(rng: np.random.Generator) -> None:
    image = rng.normal(size=(5, 7))
    np.testing.assert_array_equal(checkerboard(image, image + 1, 7), image)


@pytest.mark.parametrize(("fraction", "column"), [(0.0, 0), (0.5, 4), (1.0, 7)])
def test_divider_leaves_the_right_part_without_copying(fraction: float, column: int) -> None:
    image = np.arange(16).reshape(2, 8)
    part, start = divided(image, fraction)
    assert start == column
    assert np.shares_memory(part, image)
    np.testing.assert_array_equal(part, image[:, column:])


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="agree in shape"):
        checkerboard(np.zeros((2, 2)), np.zeros((2, 3)), 1)
    with pytest.raises(ValueError, match="at least 1 pixel"):
        checkerboard(np.zeros((2, 2)), np.zeros((2, 2)), 0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        divided(np.zeros((2, 2)), 1.5)
