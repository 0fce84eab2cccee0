"""Two images in one, so that the eye can compare them: checkerboard, and the arrays of an overlay or a swipe.

Both are images of the same place and size. Nothing is scaled: who shows them says which grey is black and which is white.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]


def checkerboard(first: Image, second: Image, tile: int) -> Image:
    """Return an image whose squares come from the two images in turn; edges that run on across squares fit.

    Parameters
    ----------
    first, second
        Arrays `((z,) y, x)` of equal shape; the square at the upper left is the first's.
    tile
        Side of the squares along y and x, pixels, at least 1; planes of a volume have the same squares.

    Raises
    ------
    ValueError
        When the shapes differ or the squares have no size.
    """
    _check(first, second)
    if tile < 1:
        raise ValueError(f"The squares of a checkerboard must be at least 1 pixel wide, got {tile}; pass tile=32.")
    rows, columns = (np.arange(size) // tile for size in first.shape[-2:])
    return np.where((rows[:, None] + columns) % 2 == 0, first, second)


def divided(second: Image, fraction: float) -> tuple[Image, int]:
    """Return the part of an image right of a divider, without copying, and the column it begins at.

    Parameters
    ----------
    second
        Array `((z,) y, x)`.
    fraction
        Where the divider stands, 0 (left edge) to 1 (right edge); at least one column is left.

    Raises
    ------
    ValueError
        When the fraction is out of range.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"The divider must stand between 0 and 1, got {fraction}.")
    column = min(second.shape[-1] - 1, round(fraction * second.shape[-1]))
    return second[..., column:], column


def _check(first: Image, second: Image) -> None:
    if first.shape != second.shape:
        raise ValueError(f"Images to compare must agree in shape, got {first.shape} and {second.shape}; crop them alike.")
