"""Noise2Void learns from the noisy movie alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_denoisereg.denoise import Denoiser
from napari_denoisereg.denoise.noise2void import Noise2Void
from napari_denoisereg.denoise.stacks import denoise_stack, each_channel
from napari_denoisereg.model import Model, load
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


@pytest.mark.parametrize("factor", [0.8, 1.3])
def test_the_contrast_is_that_of_the_movie_not_of_the_training(factor: float) -> None:
    stack, clean = stripes()
    model = finish(QUICK.model_copy(update={"iterations": 60}).fit([stack]))
    weights = {name: value * factor if name.startswith("last.") else value for name, value in model.weights.items()}
    plain, scaled = (np.asarray(finish(QUICK.run(stack, model=each)).data) for each in (model, replace(model, weights=weights)))
    np.testing.assert_allclose(scaled, plain, rtol=1e-4)
    slope = np.polyfit(plain.ravel(), clean.ravel(), 1)[0]
    assert slope == pytest.approx(1, abs=0.1)


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


def grainy(n_frames: int = 6) -> tuple[Stack, np.ndarray]:
    """Smooth waves under noise that neighbours share."""
    stack, clean = stripes()
    grain = np.random.default_rng(4).normal(0, 1, (n_frames, 42, 50))
    shared = sum(grain[:, dy : dy + 40, dx : dx + 48] for dy in range(3) for dx in range(3)) / 3
    return stack.with_data((clean + 120 * shared).astype(np.float32)), clean


def streaky() -> tuple[Stack, np.ndarray]:
    """Smooth waves under noise that is half common to the voxels of a row's piece."""
    stack, clean = stripes()
    along = np.random.default_rng(4).normal(0, 1, (6, 40, 48 + 6))
    shared = sum(along[..., dx : dx + 48] for dx in range(7)) / 7**0.5
    return stack.with_data((clean + 120 * shared).astype(np.float32)), clean


def error(stack: Stack, clean: np.ndarray, **more: object) -> float:
    """Mean squared error after a short training."""
    result = np.asarray(finish(QUICK.model_copy(update=more).run(stack)).data)
    return float(((result - clean) ** 2).mean())


@pytest.mark.slow
def test_a_larger_blind_spot_does_not_copy_shared_noise() -> None:
    stack, clean = grainy()
    assert error(stack, clean, blind_spot=5) < 0.8 * error(stack, clean)


@pytest.mark.slow
def test_hidden_lines_do_not_copy_stripes() -> None:
    stack, clean = streaky()
    along = error(stack, clean, lines="horizontal", line_length=15)
    assert along < 0.8 * error(stack, clean)
    assert along < 0.8 * error(stack, clean, lines="vertical", line_length=15)


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", [{"likelihood": "camera"}, {"checkerboard_free": True, "replacement": "median"}, {"replacement": "mean"}], ids=str
)
def test_every_option_learns(more: dict[str, object]) -> None:
    stack, clean = stripes()
    assert error(stack, clean, **more) < 0.45 * float(((stack.data - clean) ** 2).mean())


OPTIONS = [{"blind_spot": 3}, {"lines": "vertical"}, {"likelihood": "camera"}, {"checkerboard_free": True}]


@pytest.mark.parametrize("axes", ["tyx", "tzyx"])
@pytest.mark.parametrize("more", OPTIONS, ids=lambda more: next(iter(more)))
def test_models_of_every_option_come_back(more: dict[str, object], axes: str, tmp_path: Path) -> None:
    """In 2D and 3D; the model knows its own network, whatever the settings it is used with."""
    shape = (3, 24, 20) if axes == "tyx" else (3, 6, 16, 16)
    stack = Stack(np.random.default_rng(0).normal(50, 5, shape).astype(np.float32), axes)
    method = Noise2Void(iterations=2, patch=16, batch=2, every=1, **more)
    model = finish(method.fit([stack]))
    model.save(tmp_path / "model")
    back = load(tmp_path / "model", (Denoiser,))
    assert back.method == method
    one, two = (np.asarray(finish(each.run(stack, model=back)).data) for each in (method, Noise2Void()))
    np.testing.assert_array_equal(one, two)
    assert np.isfinite(one).all()
    frames = torch.rand(1, 1, *(16,) * (len(axes) - 1))
    assert method.image_network(back, stack)(frames).shape == frames.shape


def test_settings_of_before_the_options_mean_the_same() -> None:
    """A model of an earlier version says nothing of them."""
    old = {"kind": "noise2void", "seconds": 60.0, "iterations": 10, "patch": 64, "batch": 8, "learning_rate": 0.003}
    old |= {"schedule": "quick", "masked": 0.05, "radius": 2, "augmentation": 0.3, "tile": 512, "every": 25, "seed": 0}
    assert Denoiser.coerce(old) == Noise2Void(iterations=10, seconds=60.0, every=25)
    names = {name: tuple(value.shape) for name, value in Noise2Void().network(2, None).state_dict().items()}
    assert names["last.weight"] == (1, 16, 1, 1)
    assert names["decoder.2.0.weight"] == (16, 48, 3, 3)


def test_a_model_of_another_network_is_not_trained_on() -> None:
    stack = stripes()[0]
    model = finish(Noise2Void(iterations=1, patch=16).fit([stack]))
    with pytest.raises(ValueError, match="'checkerboard_free': False"):
        finish(Noise2Void(iterations=1, patch=16, checkerboard_free=True).fit([stack], start=model))
