"""Patches: things that each move on their own, on a background that rests."""

import numpy as np
import torch
from scipy import ndimage

from napari_denoisereg.geometry import Grid, jacobian_determinant
from napari_denoisereg.register.elastic import Elastic
from napari_denoisereg.register.patch_search import search_patches
from napari_denoisereg.register.patches import Patches
from napari_denoisereg.register.registrar import Registrar
from napari_denoisereg.register.series import ToPrevious
from napari_denoisereg.register.stacks import register_stack
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Progress, finish

GRID = Grid((80, 96))
DISCS = {(30.0, 30.0): (0.0, 5.0), (30.0, 62.0): (0.0, -5.0), (58.0, 46.0): (4.0, 0.0)}
"""Middle in the fixed image, and how far each moves, px."""


def frame(moved: float) -> torch.Tensor:
    """Grainy discs on a grainy dish that rests, ``(1, 80, 96)``."""
    random, (y, x) = np.random.default_rng(3), np.indices(GRID.shape).astype(float)
    image = ndimage.gaussian_filter(random.normal(size=GRID.shape), 1.2)
    for (row, column), (down, right) in DISCS.items():
        grain = 2 * ndimage.gaussian_filter(random.normal(size=GRID.shape), 1.2)
        shift = moved * down, moved * right
        inside = np.hypot(y - row - shift[0], x - column - shift[1]) < 11
        image = np.where(inside, 1 + ndimage.shift(grain, shift, order=3, mode="wrap"), image)
    return torch.from_numpy(image.astype(np.float32))[None]


def error(method: Registrar, places: torch.Tensor, wanted: torch.Tensor) -> float:
    found = finish(method.align(frame(0), frame(1), GRID))[0]
    return float((found(places) - places - wanted).norm(dim=0).max())


def test_things_that_pass_each_other_are_followed_and_the_dish_rests() -> None:
    places, wanted = torch.tensor(list(DISCS)).T, torch.tensor(list(DISCS.values())).T
    assert error(Patches(), places, wanted) < 0.3
    assert error(Elastic(), places, wanted) > 1  # it holds together what does not belong together
    dish = torch.tensor([[8.0, 70.0, 12.0], [10.0, 84.0, 80.0]])
    assert error(Patches(), dish, torch.zeros_like(dish)) < 0.3


def test_brightness_and_contrast_may_change() -> None:
    plain = finish(Patches().align(frame(0), frame(1), GRID))[0].displacement(GRID)
    dimmed = finish(Patches().align(frame(0), 0.3 * frame(1) + 70, GRID))[0].displacement(GRID)
    assert float((plain - dimmed).abs().max()) < 0.05


def test_images_without_structure_do_not_move() -> None:
    flat = torch.full((1, 20, 24), 5.0)
    for look in ("brightness", "texture", "both"):
        found = finish(Patches(look=look).align(flat, flat, Grid((20, 24))))[0].displacement(Grid((20, 24)))
        assert float(found.abs().max()) < 1e-3


def test_what_leaves_the_image_is_followed_no_further_than_to_the_border() -> None:
    """Both show the same, the moving image six voxels further right, so that six columns of the fixed one are gone."""
    random = np.random.default_rng(0)
    wide = torch.from_numpy(ndimage.gaussian_filter(random.normal(size=(40, 70)), 3).astype(np.float32))
    fixed, moving = wide[None, :, :64] / wide.std(), wide[None, :, 6:] / wide.std()
    found = search_patches(fixed, moving, torch.zeros(2, 40, 64), size=8)
    assert bool(torch.isfinite(found).all())
    wanted = torch.tensor([0.0, -6.0]).reshape(2, 1, 1)
    assert float((found[:, 6:-6, 14:-4] - wanted).norm(dim=0).median()) < 0.2
    # What is gone cannot be known; it must not fly off either.
    assert float(found[:, :, :6].norm(dim=0).max()) <= 8 * 2**0.5 + 1e-3


def test_the_motion_folds_nowhere_though_things_pass_each_other() -> None:
    found = finish(Patches().align(frame(0), frame(2), GRID))[0].displacement(GRID)
    assert float(found.norm(dim=0).max()) > 6  # discs that move towards each other touch, and claim the same places
    assert float(jacobian_determinant(found, GRID).min()) > 0


def test_a_frame_that_shows_something_else_is_told_of_and_those_after_it_are_found_again() -> None:
    frames = torch.cat([frame(0.2 * number) for number in range(6)]).numpy()
    frames[3] = frames[3][::-1, ::-1]  # as if the dish had been turned: the chain breaks here
    seen = list[Progress]()
    found = finish(register_stack(Stack(frames, "tyx"), [Patches()], series=ToPrevious()), seen.append)
    assert any("retrying" in progress.stage for progress in seen)
    assert found.flagged == (3,)
    assert "fits the first frame far less well" in found.reasons[3]
    assert set(found.history[-1]["retried"]) == {"4", "5"}
    assert min(found.quality["after"][[1, 2, 4, 5]]) > 0.8
