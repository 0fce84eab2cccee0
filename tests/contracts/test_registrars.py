"""What every registrar promises."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from napari_denoisereg.evaluation.synthetic import SyntheticMovie, nuclei_movie, timelapse_volume
from napari_denoisereg.geometry import Affine, Grid, Transform, Translation, warp
from napari_denoisereg.model import Model, load
from napari_denoisereg.pipeline import evaluate
from napari_denoisereg.register import Registrar
from napari_denoisereg.register.region import region_of
from napari_denoisereg.register.stacks import register_stack
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Progress, finish

MEMBERS = list(Registrar.members().values())
every_registrar = pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.kind)
every_trained = pytest.mark.parametrize("member", [each for each in MEMBERS if each.is_trained], ids=lambda member: member.kind)
both_dimensions = pytest.mark.parametrize("ndim", [2, 3])

GRIDS = {
    2: Grid((48, 56), (0.5, 0.5), (10.0, -20.0), ("micrometer",) * 2),
    3: Grid((8, 32, 36), (1.0, 0.5, 0.5), (3.0, 10.0, -20.0), ("micrometer",) * 3),
}


def texture(grid: Grid, seed: int = 0) -> Tensor:
    """A smooth random pattern in a bright body, larger than the grid by 4 voxels on each side."""
    shape = [size + 8 for size in grid.shape]
    random = np.random.default_rng(seed)
    noise = sum(ndimage.gaussian_filter(random.normal(size=shape), width) * width ** (grid.ndim / 2) for width in (1.5, 4))
    places = np.indices(shape)
    body = np.exp(-sum(((p - s / 2) / (s / 3)) ** 4 for p, s in zip(places, shape, strict=True)))
    return torch.from_numpy((100 + 400 * body * (2 + noise)).astype(np.float32))


def window(image: Tensor, grid: Grid, offset: int) -> Tensor:
    """The part of the texture that a camera sees that is so many voxels further along y and x."""
    starts = [4] * (grid.ndim - 2) + [4 + offset] * 2
    return image[tuple(slice(start, start + size) for start, size in zip(starts, grid.shape, strict=True))]


def corners(grid: Grid) -> Tensor:
    """The middle and the corners of the inner half of the grid, world units, ``(D, K)``."""
    middle, half = torch.tensor(grid.centre), torch.tensor(grid.extent) / 4
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * grid.ndim)
    return torch.cat([middle[:, None], middle[:, None] + (signs * half).T], dim=1).double()


def distance(one: Transform, other: Transform, grid: Grid) -> float:
    """Largest difference of two transforms at the corners of the inner half, voxels."""
    places = corners(grid)
    step = torch.tensor(grid.spacing, dtype=torch.float64)[:, None]
    return float(((one(places) - other(places)) / step).norm(dim=0).max())


@pytest.fixture(scope="module")
def trained(quick: Callable) -> Callable[[type[Registrar], int], Model | None]:
    """The member's model of two frames of a texture, trained once; None where nothing is trained."""
    made = dict[tuple[str, int], Model]()

    def train(member: type[Registrar], ndim: int) -> Model | None:
        if member.is_trained and (member.kind, ndim) not in made:
            grid, image = GRIDS[ndim], texture(GRIDS[ndim])
            frames = torch.stack([window(image, grid, offset) for offset in (0, 2, 4)])
            stack = Stack(frames.numpy(), "tzyx" if ndim == 3 else "tyx", (1.0, *grid.spacing), (0.0, *grid.origin))
            # What has hardly learnt to denoise looks at images of its own making: after a few steps it finds the way by luck.
            longer = {"iterations": 100 if ndim == 3 else 50} if member.is_denoiser else {}
            made[member.kind, ndim] = finish(quick(member).model_copy(update=longer).fit([stack]))
        return made.get((member.kind, ndim))

    return train


@pytest.fixture
def align(quick: Callable, trained: Callable) -> Callable[..., list[Transform]]:
    def run(member: type[Registrar], fixed: Tensor, moving: Tensor, grid: Grid, **options: object) -> list[Transform]:
        return finish(quick(member).align(fixed, moving, grid, model=trained(member, grid.ndim), **options))

    return run


@every_registrar
@both_dimensions
def test_an_image_is_registered_to_itself_by_the_identity(member: type[Registrar], ndim: int, align: Callable) -> None:
    grid = GRIDS[ndim]
    image = window(texture(grid), grid, 0)[None]
    (found,) = align(member, image, image, grid)
    assert found.ndim == ndim
    assert distance(found, Translation([0.0] * ndim), grid) < 0.1


@every_registrar
@both_dimensions
def test_a_known_shift_is_recovered_in_world_units(member: type[Registrar], ndim: int, align: Callable) -> None:
    """The moving camera looks two voxels further: what fixed shows at x, moving shows at x - 2 voxels."""
    grid = GRIDS[ndim]
    image = texture(grid)
    fixed, moving = window(image, grid, 0)[None], window(image, grid, 2)[None]
    before = fixed.clone(), moving.clone()
    (found,) = align(member, fixed, moving, grid)
    wanted = Translation([0.0] * (ndim - 2) + [-1.0, -1.0])
    assert distance(found, wanted, grid) < (1.0 if member.is_trained else 0.6)
    if member.bends is False:
        assert found.matrix().shape == (ndim + 1, ndim + 1)
    assert torch.equal(fixed, before[0])
    assert torch.equal(moving, before[1])


@every_registrar
def test_a_batch_gives_what_its_pairs_give_alone(member: type[Registrar], align: Callable) -> None:
    grid = GRIDS[2]
    image, other = texture(grid), texture(grid, seed=5)
    fixed = torch.stack([window(image, grid, 0), window(other, grid, 0), window(image, grid, 1)])
    moving = torch.stack([window(image, grid, 2), window(other, grid, -2), window(image, grid, 1)])
    together = align(member, fixed, moving, grid)
    assert len(together) == 3
    for number in range(3):
        (alone,) = align(member, fixed[number : number + 1], moving[number : number + 1], grid)
        assert distance(together[number], alone, grid) < 0.1


@every_registrar
@pytest.mark.parametrize(("scale", "offset"), [(0.001, -3.0), (1e-9, 0.0), (1e10, 1e10)])
def test_intensity_scale_does_not_matter(member: type[Registrar], scale: float, offset: float, align: Callable) -> None:
    grid = GRIDS[2]
    image = texture(grid)
    fixed, moving = window(image, grid, 0)[None], window(image, grid, 2)[None]
    (plain,) = align(member, fixed, moving, grid)
    (scaled,) = align(member, scale * fixed + offset, 50 * moving + 20_000, grid)
    assert distance(plain, scaled, grid) < 0.3


@every_registrar
@both_dimensions
def test_the_result_includes_what_is_known_already(member: type[Registrar], ndim: int, align: Callable) -> None:
    """Frames turned by 40 degrees: far from the identity, so the way there is in the start.

    A network that was trained for three iterations shows little of the images, so it may lose a part of the way again.
    """
    grid = GRIDS[ndim]
    angle = math.radians(40)
    turn = torch.eye(ndim)
    turn[-2:, -2:] = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    wanted = Affine.about(turn, torch.tensor([0.0] * (ndim - 2) + [1.0, -0.5]), grid.centre)
    moving = window(texture(grid), grid, 0)
    fixed = warp(moving, wanted, fixed=grid, outside="edge")
    (found,) = align(member, fixed[None], moving[None], grid, start=[wanted])
    whole_way = distance(Translation([0.0] * ndim), wanted, grid)
    assert distance(found, wanted, grid) < (whole_way / 3 if member.is_trained else 1.0)


@pytest.fixture(scope="module")
def movies() -> dict[int, SyntheticMovie]:
    return {
        2: nuclei_movie("easy", seed=1, shape=(64, 64), n_frames=4, spacing=(0.5, 0.5)),
        3: timelapse_volume(seed=1, shape=(8, 32, 32), n_frames=3, spacing=(1.0, 0.5, 0.5)),
    }


@every_registrar
@both_dimensions
def test_the_error_at_keypoints_does_not_grow(
    member: type[Registrar], ndim: int, movies: dict[int, SyntheticMovie], quick: Callable
) -> None:
    movie = movies[ndim]
    stack = Stack(movie.noisy, "tzyx" if ndim == 3 else "tyx", (1.0, *movie.spacing))
    method = quick(member)
    models = [finish(method.fit([stack]))] if member.is_trained else []
    registration = finish(register_stack(stack, [method], models=models))
    error = evaluate(movie.keypoints, registration)
    later = error.frame > 0
    assert error.after[later].mean() <= error.before[later].mean()
    assert registration.transforms[0].is_identity


@every_registrar
def test_progress_ends_at_the_whole_and_closing_leaves_nothing_behind(
    member: type[Registrar], quick: Callable, trained: Callable, leaves_nothing: Callable
) -> None:
    grid = GRIDS[2]
    image, method, model = texture(grid), quick(member), trained(member, 2)
    fixed = torch.stack([window(image, grid, 0)] * 3)
    moving = torch.stack([window(image, grid, offset) for offset in (1, 2, 3)])
    seen = list[Progress]()
    finish(method.align(fixed, moving, grid, model=model), seen.append)
    assert seen[-1].done == seen[-1].total
    assert leaves_nothing(lambda: method.align(fixed, moving, grid, model=model)) == len(seen)


@every_registrar
def test_same_seed_same_result(member: type[Registrar], quick: Callable, tiny: Callable) -> None:
    method, stack = quick(member), tiny(2)
    found = []
    for _ in range(2):
        model = finish(method.fit([stack])) if member.is_trained else None
        (transform,) = finish(method.align(stack.tensor([0]), stack.tensor([1]), stack.grid, model=model))
        found.append(transform.displacement(stack.grid))
    assert torch.equal(*found)


@every_trained
def test_a_saved_model_registers_and_denoises_like_the_one_that_was_trained(
    member: type[Registrar], quick: Callable, tiny: Callable, tmp_path: Path
) -> None:
    method, stack, seen = quick(member), tiny(2), list[Progress]()
    model = finish(method.fit([stack]), seen.append)
    assert seen[-1].done == seen[-1].total
    model.save(tmp_path / "model")
    back = load(tmp_path / "model", (Registrar,))
    assert back.method == method
    pair = stack.tensor([0]), stack.tensor([2])
    one, two = (finish(method.align(*pair, stack.grid, model=each))[0].displacement(stack.grid) for each in (model, back))
    assert torch.equal(one, two)
    if member.is_denoiser:
        clean = [np.asarray(finish(method.denoise(stack, model=each)).data) for each in (model, back)]
        np.testing.assert_array_equal(*clean)
        assert clean[0].shape == stack.shape
        assert clean[0].dtype == np.float32


@every_trained
def test_training_can_be_closed_at_any_yield(
    member: type[Registrar], quick: Callable, tiny: Callable, leaves_nothing: Callable
) -> None:
    assert leaves_nothing(lambda: quick(member).fit([tiny(2)])) >= 3


@every_trained
def test_the_best_model_by_the_given_score_is_kept(member: type[Registrar], quick: Callable, tiny: Callable) -> None:
    judged = list[Model]()

    def score(model: Model) -> float:
        judged.append(model)
        return -10.0 if len(judged) == 1 else 0.0

    method = quick(member).model_copy(update={"iterations": 6, "every": 2})
    best = finish(method.fit([tiny(2)], score=score))
    assert len(judged) >= 2
    assert all(torch.equal(best.weights[name], weight) for name, weight in judged[0].weights.items())


@every_trained
def test_a_model_of_another_method_or_dimension_is_refused(
    member: type[Registrar], quick: Callable, tiny: Callable, trained: Callable
) -> None:
    model, method, volume = trained(member, 2), quick(member), tiny(3)
    pair = volume.tensor([0]), volume.tensor([1])
    with pytest.raises(ValueError, match="trained on 2D frames"):
        finish(method.align(*pair, volume.grid, model=model))
    with pytest.raises(ValueError, match="needs a trained model"):
        finish(method.align(*pair, volume.grid))
    with pytest.raises(ValueError, match="trained on 2D frames"):
        finish(method.fit([volume], start=model))

    flat, strange = tiny(2), Model(Registrar.coerce("affine"), model.weights, 2)
    with pytest.raises(ValueError, match="Expected a model of"):
        finish(method.align(flat.tensor([0]), flat.tensor([1]), flat.grid, model=strange))


@pytest.mark.parametrize("member", [each for each in MEMBERS if not each.is_trained], ids=lambda member: member.kind)
def test_a_method_without_weights_cannot_be_trained(member: type[Registrar], tiny: Callable) -> None:
    with pytest.raises(TypeError, match="has nothing to train"):
        member().fit([tiny(2)])
    with pytest.raises(TypeError, match="does not denoise"):
        member().denoise(tiny(2), model=None)


@every_registrar
@pytest.mark.parametrize("shape", [(8, 8), (9, 33), (2, 12, 13), (1, 16, 16)])
def test_odd_and_small_frames_are_welcome(member: type[Registrar], shape: tuple[int, ...], quick: Callable) -> None:
    frames = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    stack, method = Stack(frames.numpy(), "tyx" if len(shape) == 2 else "tzyx"), quick(member)
    model = finish(method.fit([stack])) if member.is_trained else None
    (found,) = finish(method.align(frames[:1], frames[1:], stack.grid, model=model))
    assert bool(torch.isfinite(found.displacement(stack.grid)).all())


@every_registrar
def test_structure_outside_a_region_does_not_disturb(member: type[Registrar], quick: Callable) -> None:
    """Inside moves by (1, -1) px, the brighter surroundings by three times as much the other way."""
    shape, steps = (56, 56), ((0.0, 0.0), (1.0, -1.0))
    grid, inner, outer = Grid(shape), texture(Grid((64, 64))).numpy(), texture(Grid((64, 64)), seed=5).numpy()
    inner, outer = inner - ndimage.gaussian_filter(inner, 8), 3 * (outer - ndimage.gaussian_filter(outer, 8)) + 900
    places, frames, disks = np.indices(shape) - 27.5, [], []
    for step in steps:
        one, two = (ndimage.shift(image, shift)[8:64, 8:64] for image, shift in ((inner, step), (outer, -3 * np.array(step))))
        disks.append(np.square(places - np.reshape(step, (2, 1, 1))).sum(0) < 19**2)
        frames.append(np.where(disks[-1], one, two))
    stack, method = Stack(np.stack(frames).astype(np.float32), "tyx"), quick(member)
    found = finish(register_stack(stack, [method], region=finish(region_of(np.stack(disks), stack))))
    middle = torch.tensor(grid.centre, dtype=torch.float64)[:, None]
    moved = (found.transforms[1](middle) - middle)[:, 0] - torch.tensor(steps[1])
    assert float(moved.norm()) < (1.0 if member.is_trained else 0.4)
    np.testing.assert_array_equal(found.grid.shape, shape)
