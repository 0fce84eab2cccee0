"""Laws of transforms, in 2D and 3D, on grids with any spacing and origin: composition, inversion, warping."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from napari_denoisereg.geometry import (
    Affine,
    Displacement,
    Grid,
    Identity,
    PerFrame,
    Sequential,
    Transform,
    Translation,
    compose,
    invert,
    jacobian_determinant,
    sample,
    smooth,
    warp,
)

INTERPOLATIONS = ("linear", "cubic", "nearest")
dimensions = st.sampled_from([2, 3])
seeds = st.integers(0, 2**16)
kinds = st.sampled_from(["translation", "affine", "displacement"])


@st.composite
def grids(draw: st.DrawFn, least: int = 6, most: int = 12) -> Grid:
    ndim = draw(dimensions)
    shape = draw(st.tuples(*[st.integers(least, most)] * ndim))
    spacing = draw(st.tuples(*[st.floats(0.2, 4)] * ndim))
    origin = draw(st.tuples(*[st.floats(-50, 50)] * ndim))
    return Grid(shape, spacing, origin)


def steps_of(grid: Grid) -> Tensor:
    return torch.tensor(grid.spacing).reshape(-1, *(1,) * grid.ndim)


def bend(grid: Grid, seed: int, voxels: float = 1.0) -> Displacement:
    """A smooth displacement of at most so many voxels along each axis, half a wave long."""
    random = np.random.default_rng(seed)
    index = [torch.linspace(0, 1, size) for size in grid.shape]
    places = torch.meshgrid(*index, indexing="ij")
    waves = [
        sum(torch.sin(math.pi * place + float(random.uniform(0, 6))) for place in places) / grid.ndim for _ in range(grid.ndim)
    ]
    return Displacement(voxels * torch.stack(waves) * steps_of(grid), grid)


def nearly_rigid(grid: Grid, seed: int) -> Affine:
    """A turn of some degrees in voxel space and a shift of about a voxel, written in world units."""
    random = np.random.default_rng(seed)
    step = np.diag(grid.spacing)
    turn = np.eye(grid.ndim) + random.uniform(-0.04, 0.04, (grid.ndim, grid.ndim))
    shift = random.uniform(-1, 1, grid.ndim) * np.array(grid.spacing)
    return Affine.about(torch.from_numpy(step @ turn @ np.linalg.inv(step)), torch.from_numpy(shift), grid.centre)


def transform_of(kind: str, grid: Grid, seed: int) -> Transform:
    if kind == "translation":
        return Translation(np.random.default_rng(seed).uniform(-2, 2, grid.ndim).tolist())
    return nearly_rigid(grid, seed) if kind == "affine" else bend(grid, seed)


def waves(grid: Grid, seed: int) -> Tensor:
    """A smooth image with values of about -1 to 1: less than one wave along each axis."""
    random = np.random.default_rng(seed)
    parts = [torch.cos(torch.linspace(0, 4, size) + float(random.uniform(0, 6))) for size in grid.shape]
    image = parts[0]
    for part in parts[1:]:
        image = image[..., None] * part
    return image


def interior(image: Tensor, border: int) -> Tensor:
    return image[tuple(slice(border, size - border) for size in image.shape)]


@settings(max_examples=20)
@given(grids(), kinds, kinds, seeds)
def test_then_means_first_this_then_the_other(grid: Grid, one: str, two: str, seed: int) -> None:
    first, second = transform_of(one, grid, seed), transform_of(two, grid, seed + 1)
    points = grid.points()
    both, stepwise = first.then(second)(points), second(first(points))
    assert float(((both - stepwise) / steps_of(grid)).abs().max()) < 1e-3


@settings(max_examples=20)
@given(grids(), kinds, kinds, kinds, seeds)
def test_composition_is_associative(grid: Grid, one: str, two: str, three: str, seed: int) -> None:
    a, b, c = (transform_of(kind, grid, seed + number) for number, kind in enumerate((one, two, three)))
    left, right = (a.then(b)).then(c)(grid.points()), a.then(b.then(c))(grid.points())
    assert float(((left - right) / steps_of(grid)).abs().max()) < 1e-3


@settings(max_examples=15)
@given(grids(16, 20), kinds, kinds, seeds)
def test_warping_by_a_composition_equals_warping_twice(grid: Grid, one: str, two: str, seed: int) -> None:
    a, b = transform_of(one, grid, seed), transform_of(two, grid, seed + 1)
    if one == "translation" or two == "translation":  # shifts of several voxels on the finest grids leave nothing to compare
        a, b = (Translation([0.7 * step for step in grid.spacing]) if isinstance(t, Translation) else t for t in (a, b))
    image = waves(grid, seed)
    once = warp(image, a.then(b), fixed=grid, interpolation="cubic", outside="edge")
    twice = warp(
        warp(image, b, fixed=grid, interpolation="cubic", outside="edge"),
        a,
        fixed=grid,
        interpolation="cubic",
        outside="edge",
    )
    assert float(interior(once - twice, 4).abs().max()) < 0.02
    if not a.is_identity and not b.is_identity:  # the law is about the order: the other order is something else
        assert float(interior(once - image, 4).abs().max()) > 0.001


def test_order_of_composition_matters_where_maps_do_not_commute() -> None:
    turn = Affine(torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]))
    shift = Translation([1.0, 0.0])
    point = torch.tensor([[2.0], [0.0]])
    assert turn.then(shift)(point).flatten().tolist() == [1.0, 2.0]
    assert shift.then(turn)(point).flatten().tolist() == [0.0, 3.0]


@settings(max_examples=20)
@given(grids(), seeds)
def test_inverse_of_an_affine_is_exact(grid: Grid, seed: int) -> None:
    transform = nearly_rigid(grid, seed)
    eye = torch.eye(grid.ndim + 1, dtype=torch.float64)
    for round_trip in (transform.then(transform.inverse()), transform.inverse().then(transform)):
        torch.testing.assert_close(round_trip.matrix(), eye, atol=1e-9, rtol=0)


def test_affine_that_flattens_space_has_no_inverse() -> None:
    with pytest.raises(ValueError, match="no inverse"):
        Affine(torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])).inverse()


@settings(max_examples=20)
@given(grids(8, 14), seeds)
def test_inverse_of_a_displacement_undoes_it(grid: Grid, seed: int) -> None:
    field = bend(grid, seed, voxels=0.8).field
    back = invert(field, grid)
    assert not bool(torch.isnan(back).any())
    residual = compose(back, field, grid) / steps_of(grid)
    assert float(residual.abs().max()) < 0.01


@settings(max_examples=20)
@given(grids(8, 14), seeds)
def test_displacement_then_its_inverse_is_nearly_the_identity_inside(grid: Grid, seed: int) -> None:
    transform = bend(grid, seed, voxels=0.8)
    there_and_back = transform.then(transform.inverse()).displacement(grid) / steps_of(grid)
    assert float(torch.stack([interior(part, 2) for part in there_and_back]).abs().max()) < 0.15


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("origin", [0.0, 50_000.0])
def test_inverse_does_not_depend_on_where_the_world_begins(ndim: int, origin: float) -> None:
    grid = Grid((12,) * ndim, (0.1,) * ndim, (origin,) * ndim)
    here = Grid(grid.shape, grid.spacing)
    field = bend(here, 3).field
    torch.testing.assert_close(invert(field, grid), invert(field, here))


def test_inverse_of_a_fold_is_unknown_there_and_known_elsewhere() -> None:
    grid = Grid((32, 32))
    y, _ = grid.points()
    fold = torch.stack([-3.0 * (y - 15.5) * torch.exp(-((y - 15.5) ** 2) / 8), torch.zeros(32, 32)])
    assert float(jacobian_determinant(fold, grid).min()) < 0
    back = invert(fold, grid)
    known = ~torch.isnan(back).any(dim=0)
    assert bool(known[0].all())
    assert bool(known[-1].all())
    residual = compose(back, fold, grid)[:, known]
    assert float(residual.abs().max()) < 0.01


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("shape", "strength"), [((40, 36), 0.8), ((16, 20, 18), 0.6)])
def test_inverse_is_known_up_to_the_border_though_it_leads_beyond(shape: tuple[int, ...], strength: float, seed: int) -> None:
    """A specimen that shrinks and bends: near the border the way back leads out of the grid."""
    grid = Grid(shape, (2.0,) * len(shape))
    rough = smooth(torch.randn(1, grid.ndim, *shape, generator=torch.Generator().manual_seed(seed)), 3.0)[0]
    points = grid.points() - torch.tensor(grid.centre, dtype=torch.float32).reshape(-1, *(1,) * grid.ndim)
    field = strength * rough / rough.std() - 0.15 * points
    assert float(jacobian_determinant(field, grid).min()) > 0.1
    back = invert(field, grid)
    assert not bool(torch.isnan(back).any())
    # There and back, the field read beyond the grid as it is at its border.
    there = sample(field[None], grid.to_index(grid.points() + back)[None], outside="edge")[0]
    assert float((back + there).abs().max()) < 0.01


def test_unknown_displacement_stays_unknown_when_inverted() -> None:
    grid = Grid((12, 12))
    field = torch.zeros(2, 12, 12)
    field[:, 5, 5] = torch.nan
    back = invert(field, grid)
    assert bool(torch.isnan(back[:, 5, 5]).all())
    assert float(back[:, 0].abs().max()) == 0.0


@settings(max_examples=20)
@given(grids(), seeds)
def test_compose_is_then_on_fields(grid: Grid, seed: int) -> None:
    first, second = bend(grid, seed), bend(grid, seed + 1)
    fields = compose(first.field, second.field, grid)
    assert float(((first.then(second).displacement(grid) - fields) / steps_of(grid)).abs().max()) < 1e-3


@settings(max_examples=20)
@given(grids(), seeds)
def test_inverse_of_a_composition_is_the_reversed_composition_of_inverses(grid: Grid, seed: int) -> None:
    a, b = nearly_rigid(grid, seed), bend(grid, seed, voxels=0.5)
    whole, parts = a.then(b).inverse(), b.inverse().then(a.inverse())
    points = grid.points()
    torch.testing.assert_close(whole(points), parts(points))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("ndim", [2, 3])
def test_identity_returns_the_same_bits(interpolation: str, ndim: int, generator: torch.Generator) -> None:
    grid = Grid((5, 6, 7)[:ndim], (0.3, 1.7, 0.11)[:ndim], (1e5, -3.0, 0.1)[:ndim])
    image = torch.rand(grid.shape, generator=generator) * 1e6
    still = Displacement(torch.zeros(ndim, *grid.shape), grid)
    for transform in (Identity(ndim), Translation([0.0] * ndim), still, still.then(Identity(ndim))):
        assert transform.is_identity
        warped = warp(image, transform, fixed=grid, interpolation=interpolation)
        assert torch.equal(warped, image)
        assert warped is not image


@settings(max_examples=20)
@given(grids(8, 12), st.integers(-3, 3), seeds, st.sampled_from(INTERPOLATIONS))
def test_whole_voxel_translation_moves_values_without_changing_them(
    grid: Grid, voxels: int, seed: int, interpolation: str
) -> None:
    image = torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, grid.shape).astype(np.float32))
    shift = Translation([voxels * step for step in grid.spacing])
    warped = warp(image, shift, fixed=grid, interpolation=interpolation)
    wanted = torch.zeros_like(image)
    there = tuple(slice(max(0, -voxels), size - max(0, voxels)) for size in grid.shape)
    here = tuple(slice(max(0, voxels), size - max(0, -voxels)) for size in grid.shape)
    wanted[there] = image[here]
    torch.testing.assert_close(warped, wanted, atol=0 if interpolation == "nearest" else 2e-3, rtol=0)


@settings(max_examples=20)
@given(grids(), seeds)
def test_displacement_of_an_affine_is_the_affine(grid: Grid, seed: int) -> None:
    transform = nearly_rigid(grid, seed)
    sampled = transform.to_displacement(grid)
    error = (sampled(grid.points()) - transform(grid.points())) / steps_of(grid)
    assert float(error.abs().max()) < 2e-3


@settings(max_examples=20)
@given(grids(), seeds)
def test_jacobian_determinant_of_an_affine_is_its_determinant(grid: Grid, seed: int) -> None:
    transform = nearly_rigid(grid, seed)
    wanted = float(torch.linalg.det(transform.weights[:, :-1]))
    found = jacobian_determinant(transform.displacement(grid), grid)
    torch.testing.assert_close(found, torch.full(grid.shape, wanted), atol=2e-3, rtol=0)


@settings(max_examples=20)
@given(grids())
def test_jacobian_determinant_of_the_identity_is_one(grid: Grid) -> None:
    assert torch.equal(jacobian_determinant(torch.zeros(grid.ndim, *grid.shape), grid), torch.ones(grid.shape))


@settings(max_examples=20)
@given(grids(), seeds)
def test_linear_part_is_the_product_of_the_parts(grid: Grid, seed: int) -> None:
    a, b = nearly_rigid(grid, seed), nearly_rigid(grid, seed + 1)
    both = Sequential((a, bend(grid, seed), b))
    torch.testing.assert_close(both.linear_part(grid.ndim), b.linear_part(grid.ndim) @ a.linear_part(grid.ndim))
    torch.testing.assert_close(a.then(b).linear_part(grid.ndim), b.linear_part(grid.ndim) @ a.linear_part(grid.ndim))


def test_identity_parts_disappear_when_composed() -> None:
    shift = Translation([1.0, 2.0])
    assert Identity(2).then(shift) is shift
    assert shift.then(Identity(2)) is shift
    assert shift.then(Translation([-1.0, -2.0])).is_identity


def test_only_affine_transforms_have_a_matrix() -> None:
    field = bend(Grid((6, 6)), 0)
    with pytest.raises(TypeError, match="has no matrix"):
        field.matrix()
    assert not field.is_affine
    assert not Translation([1.0, 0.0]).then(field).is_affine


@pytest.mark.parametrize(
    ("weights", "message"),
    [(torch.eye(3), "must be"), (torch.ones(2, 3) * torch.nan, "finite"), (torch.ones(4, 5), "must be")],
)
def test_impossible_affine_weights_are_refused(weights: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Affine(weights)


def test_displacement_of_another_shape_than_its_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="component first"):
        Displacement(torch.zeros(6, 6, 2), Grid((6, 6)))


def test_per_frame_works_frame_by_frame() -> None:
    frames = PerFrame([Translation([float(number), 0.0]) for number in range(4)])
    assert len(frames) == 4
    assert frames.ndim == 2
    assert isinstance(frames[1:3], PerFrame)
    back = frames.then(frames.inverse())
    assert all(transform.is_identity for transform in back)
    for wrong, message in (([], "one transform per frame"), ([Identity(2), Identity(3)], "same number of axes")):
        with pytest.raises(ValueError, match=message):
            PerFrame(wrong)
