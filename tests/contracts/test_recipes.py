"""What every recipe that comes with the project promises, on tiny movies with tiny budgets."""

from collections.abc import Callable

import numpy as np
import pytest

from napari_denoisereg.pipeline import Pipeline, presets
from napari_denoisereg.steps import Progress, finish

every_recipe = pytest.mark.parametrize("name", list(presets()))


@pytest.fixture
def shortened(quick: Callable) -> Callable[[str], Pipeline]:
    def make(name: str) -> Pipeline:
        recipe = presets()[name]
        denoise = None if recipe.denoise is None else quick(type(recipe.denoise))
        return recipe.model_copy(update={"denoise": denoise, "registrars": tuple(quick(type(r)) for r in recipe.registrars)})

    return make


@every_recipe
@pytest.mark.parametrize("ndim", [2, 3])
def test_recipe_denoises_and_aligns(name: str, ndim: int, shortened: Callable, tiny: Callable) -> None:
    stack, seen = tiny(ndim), list[Progress]()
    before = stack.data.tobytes()
    result = finish(shortened(name).run(stack, device="cpu"), seen.append)
    assert seen[-1].done == seen[-1].total
    assert [one.fraction for one in seen] == sorted(one.fraction for one in seen)
    assert stack.data.tobytes() == before
    assert (result.denoised is not None) == (presets()[name].first_denoiser is not None)
    denoised = [] if result.denoised is None else [(result.denoised, np.float32)]
    for made, dtype in (*denoised, (result.aligned, stack.dtype)):
        assert (made.shape, made.axes, made.grid, made.dtype) == (stack.shape, stack.axes, stack.grid, dtype)
        assert np.isfinite(np.asarray(made.data)).all()
    assert len(result.registration.transforms) == stack.n_frames
    np.testing.assert_array_equal(np.asarray(result.aligned.data[0]), stack.data[0])
    again = finish(shortened(name).run(stack, device="cpu", models=result.models))
    if result.denoised is not None:
        np.testing.assert_array_equal(np.asarray(again.denoised.data), np.asarray(result.denoised.data))
    np.testing.assert_array_equal(np.asarray(again.aligned.data), np.asarray(result.aligned.data))


@every_recipe
def test_closing_at_any_yield_leaves_nothing_behind(
    name: str, shortened: Callable, tiny: Callable, leaves_nothing: Callable
) -> None:
    stack, recipe = tiny(2).frame_range(0, 2), shortened(name)
    assert leaves_nothing(lambda: recipe.run(stack, device="cpu")) >= 3
