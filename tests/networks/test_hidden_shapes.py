"""Larger blind spots: whatever is hidden, of whatever shape, never shows through."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_denoisereg.networks.hidden_shapes import MOST_HIDDEN, Lines, Replacement, Shape, hide_shapes

SIDES = {2: (2, 1, 40, 32), 3: (2, 1, 12, 16, 16)}


def noise(ndim: int, seed: int = 0) -> torch.Tensor:
    """No voxel is like another, none is 0."""
    return torch.rand(SIDES[ndim], generator=torch.Generator().manual_seed(seed)) + 1


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        (Shape(2), 1),
        (Shape(2, 3), 9),
        (Shape(3, 3), 27),
        (Shape(2, 1, "horizontal", 11), 11),
        (Shape(3, 1, "vertical", 5), 5),
        (Shape(2, 3, "vertical", 7), 13),
    ],
)
def test_a_shape_is_its_box_and_its_line(shape: Shape, size: int) -> None:
    assert shape.size == size
    middle = torch.zeros(1, 1, *(21,) * shape.ndim, dtype=torch.bool)
    middle[(0, 0, *(10,) * shape.ndim)] = True
    covered = shape.covered(middle)
    assert int(covered.sum()) == size
    assert torch.equal(covered, covered.flip(-1))
    assert torch.equal(covered, covered.flip(-2))


def test_lines_lie_as_they_are_called() -> None:
    middle = torch.zeros(1, 1, 9, 9, dtype=torch.bool)
    middle[0, 0, 4, 4] = True
    across = Shape(2, 1, "horizontal", 5).covered(middle)[0, 0]
    assert across[4, 2:7].all()
    assert torch.equal(Shape(2, 1, "vertical", 5).covered(middle)[0, 0], across.T)
    volume = torch.zeros(1, 1, 5, 9, 9, dtype=torch.bool)
    volume[0, 0, 2, 4, 4] = True
    assert torch.equal(Shape(3, 1, "horizontal", 5).covered(volume)[0, 0, 2], across)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([2, 3]),
    st.sampled_from([1, 3, 5]),
    st.sampled_from(["none", "horizontal", "vertical"]),
    st.sampled_from(["neighbour", "mean", "median"]),
    st.integers(0, 1000),
)
def test_what_is_hidden_never_shows_through(ndim: int, box: int, lines: Lines, replacement: Replacement, seed: int) -> None:
    """Other values in the shapes, around every voxel to predict: the network is given the very same."""
    shape, image = Shape(ndim, box, lines, 7), noise(ndim, seed)

    def hidden(of: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        random = torch.Generator().manual_seed(seed)
        found = hide_shapes(of, shape, share=0.05, radius=2, replacement=replacement, generator=random)
        return found.image, found.mask

    given_one, mask = hidden(image)
    is_hidden = shape.covered(mask)
    given_other, same = hidden(torch.where(is_hidden, image + 100, image))
    assert bool(mask.any())
    assert torch.equal(mask, same)
    assert torch.equal(given_one, given_other)
    assert torch.equal(given_one[~is_hidden], image[~is_hidden])
    assert not bool((given_one[is_hidden] == image[is_hidden]).any())
    assert float(is_hidden.float().mean()) < MOST_HIDDEN + 0.15


@pytest.mark.parametrize("replacement", ["neighbour", "mean", "median"])
def test_replaced_values_are_those_around(replacement: Replacement) -> None:
    """On a slope they are near the hidden value, whatever they are made of."""
    image = (torch.arange(1.0, 41.0)[:, None] + torch.zeros(40, 32)).expand(4, 1, 40, 32)
    random = torch.Generator().manual_seed(1)
    found = hide_shapes(image, Shape(2), share=0.05, radius=2, replacement=replacement, generator=random)
    off = (found.image - image)[found.mask]
    assert float(off.abs().max()) <= 2
    assert abs(float(off.mean())) < 0.2


def test_padding_is_neither_hidden_nor_shown() -> None:
    volume = torch.zeros(1, 1, 8, 16, 16)
    volume[:, :, :2] = noise(3)[:1, :, :2]
    found = hide_shapes(
        volume, Shape(3, 3), share=0.5, radius=2, replacement="neighbour", generator=torch.Generator().manual_seed(1)
    )
    assert not bool(found.mask[:, :, 2:].any())
    assert not bool(found.image[:, :, 2:].any())
    assert float((found.image[:, :, :2] != 0).float().mean()) > 0.9


def test_a_voxel_with_nothing_around_becomes_the_mean() -> None:
    image = torch.zeros(1, 1, 8, 8)
    image[0, 0, 4, 4] = 5.0
    shape, random = Shape(2), torch.Generator().manual_seed(0)
    for _ in range(60):
        found = hide_shapes(image, shape, share=0.5, radius=1, replacement="median", generator=random)
        assert float(found.image[found.mask].sum()) == 0
