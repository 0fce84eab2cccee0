"""Reading images between their voxels: what each interpolation promises."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from napari_denoisereg.geometry import antialias, inside, sample, smooth

SHAPES = {2: (9, 11), 3: (7, 8, 9)}
dimensions = st.sampled_from([2, 3])
seeds = st.integers(0, 2**16)


def places(ndim: int, seed: int, border: float = 1.0, count: int = 40) -> Tensor:
    """Random index coordinates ``(1, D, count)`` at least so far inside."""
    random = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([random.uniform(border, size - 1 - border, count) for size in SHAPES[ndim]]))[None]


def polynomial(index: Tensor, seed: int, degree: int) -> Tensor:
    """A polynomial without mixed terms of coordinates ``(D, *any)``."""
    random = np.random.default_rng(seed)
    total = torch.zeros_like(index[0])
    for axis in range(len(index)):
        for power in range(degree + 1):
            total = total + float(random.uniform(-1, 1)) * index[axis] ** power
    return total


def image_of(ndim: int, seed: int, degree: int) -> Tensor:
    axes = [torch.arange(size, dtype=torch.float64) for size in SHAPES[ndim]]
    return polynomial(torch.stack(torch.meshgrid(*axes, indexing="ij")), seed, degree)[None, None]


@pytest.mark.parametrize(("interpolation", "degree"), [("linear", 1), ("cubic", 1), ("cubic", 2)])
@settings(max_examples=20)
@given(ndim=dimensions, seed=seeds)
def test_polynomials_are_reproduced_exactly_inside(interpolation: str, degree: int, ndim: int, seed: int) -> None:
    index = places(ndim, seed)
    values = sample(image_of(ndim, seed, degree), index, interpolation=interpolation)
    torch.testing.assert_close(values[0, 0], polynomial(index[0], seed, degree), atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "nearest"])
@settings(max_examples=20)
@given(ndim=dimensions, seed=seeds)
def test_voxel_centres_give_voxel_values(interpolation: str, ndim: int, seed: int) -> None:
    image = torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (2, 3, *SHAPES[ndim])))
    axes = [torch.arange(size, dtype=torch.float64) for size in SHAPES[ndim]]
    index = torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]
    torch.testing.assert_close(sample(image, index, interpolation=interpolation), image, atol=1e-9, rtol=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64, torch.float32])
@settings(max_examples=20)
@given(ndim=dimensions, seed=seeds)
def test_nearest_never_makes_a_new_label_and_keeps_the_type(dtype: torch.dtype, ndim: int, seed: int) -> None:
    large = {torch.uint8: 200, torch.int32: 2**24, torch.int64: 2**40}.get(dtype, 1000)
    random = np.random.default_rng(seed)
    labels = torch.from_numpy(random.integers(0, 5, (1, 1, *SHAPES[ndim]))) + large + 1
    labels = labels.to(dtype)
    read = sample(labels, places(ndim, seed, border=-2), interpolation="nearest", outside=0)
    assert read.dtype == dtype
    assert set(read.flatten().tolist()) <= set(labels.flatten().tolist()) | {0}


def test_nearest_takes_the_voxel_whose_area_holds_the_point() -> None:
    line = torch.arange(6.0).reshape(1, 1, 1, 6)
    x = torch.tensor([0.49, 0.5, 1.49, 1.5, 2.5, 3.5, 4.51])
    index = torch.stack([torch.zeros_like(x), x])[None]
    assert sample(line, index, interpolation="nearest").flatten().tolist() == [0, 1, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "nearest"])
@settings(max_examples=20)
@given(ndim=dimensions, seed=seeds)
def test_a_batch_equals_a_loop(interpolation: str, ndim: int, seed: int) -> None:
    image = torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (3, 2, *SHAPES[ndim])))
    index = torch.cat([places(ndim, seed + number, border=-1) for number in range(3)])
    whole = sample(image, index, interpolation=interpolation, outside=7.0)
    for number in range(3):
        one = slice(number, number + 1)
        torch.testing.assert_close(whole[one], sample(image[one], index[one], interpolation=interpolation, outside=7.0))
    shared = sample(image, index[:1], interpolation=interpolation)
    torch.testing.assert_close(shared[2:], sample(image[2:], index[:1], interpolation=interpolation))


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "nearest"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_beyond_the_outer_voxel_edges_stands_the_outside_value(interpolation: str, ndim: int) -> None:
    image = torch.ones(1, 1, *SHAPES[ndim])
    size = SHAPES[ndim][0]
    for where, is_inside in ((-0.6, False), (-0.4, True), (size - 0.6, True), (size - 0.4, False), (-100.0, False)):
        index = torch.full((1, ndim, 1), 3.0)
        index[0, 0] = where
        value = float(sample(image, index, interpolation=interpolation, outside=-5.0))
        assert value == pytest.approx(1.0 if is_inside else -5.0)
        assert bool(inside(index, image.shape[2:])) == is_inside
        assert float(sample(image, index, interpolation=interpolation, outside="edge")) == pytest.approx(1.0)


def test_unknown_coordinates_are_outside() -> None:
    index = torch.full((1, 2, 1), torch.nan)
    assert not bool(inside(index, (4, 4)))
    for interpolation in ("linear", "cubic", "nearest"):
        assert float(sample(torch.ones(1, 1, 4, 4), index, interpolation=interpolation, outside=0.0)) == 0.0


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_gradients_in_image_and_coordinates_are_right(interpolation: str, ndim: int, generator: torch.Generator) -> None:
    image = torch.rand(1, 1, *(4,) * ndim, dtype=torch.float64, generator=generator).requires_grad_()
    # Away from voxel centres: a linear interpolation has kinks there.
    index = torch.randint(0, 3, (1, ndim, 3), generator=generator).double()
    index = (index + 0.2 + 0.6 * torch.rand(index.shape, dtype=torch.float64, generator=generator)).requires_grad_()
    assert torch.autograd.gradcheck(lambda i, c: sample(i, c, interpolation=interpolation), (image, index))


@pytest.mark.parametrize("ndim", [2, 3])
def test_smoothing_keeps_constants_and_the_mean_of_a_pulse(ndim: int) -> None:
    image = torch.full((1, 1, *(21,) * ndim), 3.0)
    torch.testing.assert_close(smooth(image, 1.5), image)
    pulse = torch.zeros_like(image)
    pulse[(0, 0, *(10,) * ndim)] = 1.0
    assert float(smooth(pulse, 1.5).sum()) == pytest.approx(1.0, abs=1e-5)
    assert torch.equal(smooth(pulse, 0.0), pulse)


def test_smoothing_has_the_width_asked_for() -> None:
    pulse = torch.zeros(1, 1, 41, 41)
    pulse[0, 0, 20, 20] = 1.0
    blurred = smooth(pulse, [3.0, 1.0])[0, 0]
    distance = torch.arange(41) - 20.0
    assert float((blurred.sum(1) * distance**2).sum()) ** 0.5 == pytest.approx(3.0, rel=0.03)
    assert float((blurred.sum(0) * distance**2).sum()) ** 0.5 == pytest.approx(1.0, rel=0.03)


def test_axes_that_do_not_shrink_are_left_alone() -> None:
    image = torch.arange(60.0).reshape(1, 1, 6, 10)
    assert antialias(image, [1.0, 1.04]) is image
