"""Texture: cells that are no brighter than what is around them."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_denoisereg.geometry import Grid
from napari_denoisereg.register.elastic import Elastic
from napari_denoisereg.register.texture import textured
from napari_denoisereg.steps import finish

SHIFT = 10.0  # px


def cells(shift: float) -> torch.Tensor:
    """Discs of fine, bright and dark grain, anew in every image, on uneven light: ``(1, 96, 96)``."""
    random, (y, x) = np.random.default_rng(int(shift)), np.indices((96, 96))
    grain = ndimage.gaussian_filter(random.normal(size=(96, 96)), 1)
    inside = sum(np.hypot(y - cy - shift, x - cx) < 9 for cy, cx in ((30, 25), (30, 70), (60, 48)))
    image = 5000 + 3 * y + inside * 400 * grain / grain.std() + random.normal(0, 5, (96, 96))
    return torch.from_numpy(image.astype(np.float32))[None]


@pytest.mark.parametrize("grid", [Grid((40, 50)), Grid((6, 30, 20), (4.0, 1.0, 1.0))])
def test_gain_and_offset_do_not_matter(grid: Grid) -> None:
    image = torch.rand(2, *grid.shape, generator=torch.Generator().manual_seed(0))
    one, two = textured(image, grid), textured(1e-3 * image + 7, grid)
    assert one.shape == image.shape
    difference = one - two
    assert float(difference.amax() - difference.amin()) < 0.02  # the logarithm makes the gain an offset
    assert float(one.std()) > 0.02


def test_an_even_image_has_an_even_texture() -> None:
    found = textured(torch.full((1, 20, 20), 3.0), Grid((20, 20)))
    assert bool(torch.isfinite(found).all())
    assert float(found.std()) < 1e-4


def test_cells_that_are_not_brighter_are_followed_by_their_texture() -> None:
    grid, places = Grid((96, 96)), torch.tensor([[30.0, 30.0, 60.0], [25.0, 70.0, 48.0]])

    def error(look: str) -> float:
        method = Elastic(look=look, knots=12.0, stiffness=0.3, iterations=6)
        found = finish(method.align(cells(0), cells(SHIFT), grid))[0]
        return float((found(places) - places - torch.tensor([[SHIFT], [0.0]])).norm(dim=0).max())

    assert error("texture") < 2.5
    assert error("brightness") > 5
