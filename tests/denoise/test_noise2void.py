"""Noise2Void learns from the noisy movie alone."""

import numpy as np
import pytest

from napari_denoisereg.denoise.noise2void import Noise2Void
from napari_denoisereg.denoise.stacks import denoise_stack, each_channel
from napari_denoisereg.model import Model
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Progress, finish

QUICK = Noise2Void(iterations=110, patch=32, batch=4, learning_rate=3e-3)


def stripes(axes: str = "tyx", seed: int = 0) -> tuple[Stack, np.ndarray]:
    """Smooth waves with strong independent noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:40, :48]
    clean = np.stack([500 + 200 * np.sin((x + t) / 5) * np.cos((y - t) / 6) for t in range(6)])
    noisy = clean + random.normal(0, 120, clean.shape)
    if axes == "tcyx":
        noisy, clean = (np.stack([each, 0.01 * each + 7], axis=1) for each in (noisy, clean))
    return Stack(noisy.astype(np.float32), axes, name="stripes"), clean


@pytest.mark.slow
def test_training_on_noise_alone_brings_the_movie_closer_to_the_clean_one() -> None:
    stack, clean = stripes()
    result = np.asarray(finish(QUICK.run(stack)).data)
    before, after = (float(((each - clean) ** 2).mean()) for each in (stack.data, result))
    assert after < 0.35 * before
    assert result.mean() == pytest.approx(stack.data.mean(), rel=1e-3)


def test_independent_noise_cannot_be_learnt() -> None:
    """On noise alone the loss stays at that of the best constant: its mean absolute value."""
    noise = Stack(np.random.default_rng(1).normal(size=(4, 32, 32)).astype(np.float32), "tyx")
    model = finish(QUICK.model_copy(update={"iterations": 50}).fit([noise]))
    assert model.provenance["loss"] > 0.9 * (2 / np.pi) ** 0.5


def test_the_loss_goes_down() -> None:
    stack, _ = stripes()
    seen = list[Progress]()
    finish(QUICK.model_copy(update={"iterations": 60}).fit([stack]), seen.append)
    assert seen[-1].figures["loss"] < 0.8 * seen[0].figures["loss"]
    assert {progress.stage for progress in seen} == {"training"}


def test_a_budget_in_seconds_is_kept() -> None:
    stack, _ = stripes()
    model = finish(QUICK.model_copy(update={"iterations": 10**6, "seconds": 0.3}).fit([stack]))
    assert 1 <= model.provenance["iterations"] < 200


def test_several_movies_train_one_model() -> None:
    one, two = stripes()[0], stripes(seed=5)[0].frame_range(0, 2)
    model = finish(QUICK.model_copy(update={"iterations": 2}).fit([one, two]))
    assert model.provenance["trained_on"] == ["stripes", "stripes"]
    assert model.provenance["iterations"] == 2
    assert model.statistics.keys() == {"mean", "std", "low", "high", "noise"}
    assert [each["shape"] for each in model.provenance["data"]] == [[6, 40, 48], [2, 40, 48]]


def test_the_prediction_does_not_depend_on_the_size_of_the_tiles() -> None:
    stack = Stack(np.random.default_rng(2).normal(size=(2, 150, 90)).astype(np.float32), "tyx")
    method = QUICK.model_copy(update={"iterations": 2})
    model = finish(method.fit([stack]))
    whole, tiled = (
        np.asarray(finish(method.model_copy(update={"tile": tile}).run(stack, model=model)).data) for tile in (512, 64)
    )
    np.testing.assert_allclose(tiled, whole, atol=1e-4)


def test_every_channel_gets_a_model_of_its_own() -> None:
    stack, _ = stripes("tcyx")
    method = QUICK.model_copy(update={"iterations": 2})
    result, models = finish(denoise_stack(stack, method))
    assert (result.shape, result.axes) == (stack.shape, "tcyx")
    assert len(models) == 2
    for number in range(2):
        alone = finish(method.run(stack.channel(number)))
        np.testing.assert_array_equal(np.asarray(result.channel(number).data), np.asarray(alone.data))


def test_one_model_may_serve_all_channels_but_not_some() -> None:
    stack, _ = stripes("tcyx")
    method = QUICK.model_copy(update={"iterations": 2})
    model = finish(method.fit([stack.channel(0)]))
    result, used = finish(denoise_stack(stack, method, models=[model]))
    assert used == (model, model)
    assert np.isfinite(np.asarray(result.data)).all()
    with pytest.raises(ValueError, match=r"one model per channel \(2\) or one for all, got 3"):
        finish(denoise_stack(stack, method, models=[model] * 3))
    with pytest.raises(ValueError, match="trained on 3D frames"):
        finish(denoise_stack(stack, method, models=[Model(method, model.weights, 3)]))


def test_channels_are_put_back_where_they_were() -> None:
    stack = Stack(np.arange(3 * 2 * 4 * 4, dtype=np.float32).reshape(2, 3, 4, 4), "ctyx")

    def negative(one: Stack, number: int):
        return one.with_data(-one.lazy() - number, step={"channel": number})
        yield

    result = finish(each_channel(stack, negative))
    assert result.axes == "ctyx"
    np.testing.assert_array_equal(np.asarray(result.data), -stack.data - np.arange(2)[:, None, None, None])
