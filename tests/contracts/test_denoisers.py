"""What every denoiser promises."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_denoisereg.denoise import Denoiser
from napari_denoisereg.model import Model, load
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Progress, finish

MEMBERS = list(Denoiser.members().values())
TRAINED = [member for member in MEMBERS if member.is_trained]
every_denoiser = pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.kind)
every_trained = pytest.mark.parametrize("member", TRAINED, ids=lambda member: member.kind)
both_dimensions = pytest.mark.parametrize("ndim", [2, 3])


@pytest.fixture(scope="module")
def trained(quick: Callable, tiny: Callable) -> Callable[[type[Denoiser], int], Model]:
    """The member's model of the tiny movie, trained once."""
    made = dict[tuple[str, int], Model]()

    def train(member: type[Denoiser], ndim: int) -> Model:
        if (member.kind, ndim) not in made:
            made[member.kind, ndim] = finish(quick(member).fit([tiny(ndim)]))
        return made[member.kind, ndim]

    return train


@every_denoiser
@both_dimensions
def test_result_stands_where_the_input_stands(member: type[Denoiser], ndim: int, quick: Callable, tiny: Callable) -> None:
    stack, seen = tiny(ndim), list[Progress]()
    before = stack.data.tobytes()
    result = finish(quick(member).run(stack), seen.append)
    assert (result.shape, result.axes, result.grid) == (stack.shape, stack.axes, stack.grid)
    assert (result.spacing, result.origin, result.units) == (stack.spacing, stack.origin, stack.units)
    assert result.n_frames == stack.n_frames
    assert result.dtype == np.float32
    assert stack.data.tobytes() == before
    assert seen[-1].done == seen[-1].total
    assert [later.fraction for later in seen] == sorted(later.fraction for later in seen)
    assert result.name == "tiny [denoised]"
    assert result.history[-1]["denoise"]["kind"] == member.kind


@every_denoiser
@both_dimensions
def test_intensity_scale_is_kept(member: type[Denoiser], ndim: int, quick: Callable, tiny: Callable) -> None:
    stack, method = tiny(ndim), quick(member)
    if member.is_trained:  # enough to learn the spread of the intensities; the mean is kept by any training
        method = method.model_copy(update={"iterations": 60 if ndim == 2 else 20, "learning_rate": 2e-3})
    result = np.asarray(finish(method.run(stack)).data)
    assert np.isfinite(result).all()
    assert result.mean() == pytest.approx(stack.data.mean(), rel=0.01)
    assert result.std() < 1.2 * stack.data.std()


@every_denoiser
@pytest.mark.parametrize("change", [lambda data: data * 0.01, lambda data: data.astype(float) + 20_000])
def test_scaling_or_shifting_the_input_does_the_same_to_the_result(
    change: Callable, member: type[Denoiser], tiny: Callable, quick: Callable
) -> None:
    stack = tiny(2)
    plain = np.asarray(finish(quick(member).run(stack)).data)
    other = np.asarray(finish(quick(member).run(stack.with_data(change(stack.data)))).data)
    np.testing.assert_allclose(other, change(plain), rtol=2e-3, atol=0.02 * np.ptp(change(plain)))


@every_denoiser
def test_same_seed_same_result(member: type[Denoiser], quick: Callable, tiny: Callable) -> None:
    state = torch.random.get_rng_state()
    one, two = (np.asarray(finish(quick(member).run(tiny(2))).data) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert torch.equal(torch.random.get_rng_state(), state)


@every_denoiser
def test_closing_at_any_yield_leaves_nothing_behind(
    member: type[Denoiser], quick: Callable, tiny: Callable, leaves_nothing: Callable
) -> None:
    stack = tiny(2).frame_range(0, 3)
    assert leaves_nothing(lambda: quick(member).run(stack)) >= 1


@every_trained
@both_dimensions
def test_a_saved_model_denoises_like_the_one_that_was_trained(
    member: type[Denoiser], ndim: int, quick: Callable, tiny: Callable, trained: Callable, tmp_path: Path
) -> None:
    method, model, stack = quick(member), trained(member, ndim), tiny(ndim)
    model.save(tmp_path / "model")
    back = load(tmp_path / "model", (Denoiser,))
    assert back.method == method
    assert back.ndim == ndim
    one, two = (np.asarray(finish(method.run(stack, model=each)).data) for each in (model, back))
    np.testing.assert_array_equal(one, two)


@every_trained
def test_training_goes_on_from_a_model(member: type[Denoiser], quick: Callable, tiny: Callable, trained: Callable) -> None:
    start = trained(member, 2)
    before = {name: weight.clone() for name, weight in start.weights.items()}
    after = finish(quick(member).fit([tiny(2)], start=start))
    assert all(torch.equal(start.weights[name], weight) for name, weight in before.items())
    moved = [float((after.weights[name] - weight).abs().max()) for name, weight in before.items() if weight.is_floating_point()]
    assert 0 < max(moved) < 1


@every_trained
def test_a_model_of_another_method_or_dimension_is_refused(
    member: type[Denoiser], quick: Callable, tiny: Callable, trained: Callable
) -> None:
    model = trained(member, 2)
    with pytest.raises(ValueError, match="trained on 2D frames"):
        finish(quick(member).run(tiny(3), model=model))
    with pytest.raises(ValueError, match="trained on 2D frames"):
        finish(quick(member).fit([tiny(3)], start=model))

    with pytest.raises(ValueError, match="Expected a model of"):
        finish(quick(member).run(tiny(2), model=Model(Denoiser.coerce("gaussian"), model.weights, 2)))


@pytest.mark.parametrize("member", [each for each in MEMBERS if not each.is_trained], ids=lambda member: member.kind)
def test_a_method_without_weights_cannot_be_trained(member: type[Denoiser], tiny: Callable) -> None:
    with pytest.raises(TypeError, match="has nothing to train"):
        member().fit([tiny(2)])


@every_denoiser
@pytest.mark.parametrize("shape", [(2, 9, 13), (2, 8, 8), (3, 2, 9, 11), (2, 1, 10, 10)])
def test_odd_and_small_frames_are_welcome(member: type[Denoiser], shape: tuple[int, ...], quick: Callable) -> None:
    data = np.random.default_rng(0).normal(10, 1, shape).astype(np.float32)
    stack = Stack(data, "tyx" if len(shape) == 3 else "tzyx")
    result = np.asarray(finish(quick(member).run(stack)).data)
    assert result.shape == shape
    assert np.isfinite(result).all()
