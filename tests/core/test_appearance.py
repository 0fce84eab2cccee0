"""What a stack looks like, and whether a model has seen the like."""

import numpy as np
import pytest

from napari_denoisereg.appearance import appearance, differences, identity
from napari_denoisereg.denoise.noise2void import Noise2Void
from napari_denoisereg.model import Model
from napari_denoisereg.stack import Stack


def cells(noise: float = 20.0, spacing: float = 0.5, unit: str = "micrometer", gain: float = 1.0, spots: int = 0) -> Stack:
    random = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    clean = np.stack([100 + 50 * np.sin(x / 9 + t) * np.cos(y / 8) for t in range(4)])
    frames = clean + random.normal(0, noise, clean.shape)
    if spots:
        frames[:, ::16, ::16] += spots
    return Stack((gain * frames).astype(np.float32), "tyx", spacing=(1, spacing, spacing), units=("second", unit, unit))


def model_of(*stacks: Stack) -> Model:
    data = [identity(stack, appearance(stack)) for stack in stacks]
    return Model(Noise2Void(), {}, 2, appearance(stacks[0]), {"data": data})


@pytest.mark.parametrize("noise", [5.0, 20.0, 60.0])
def test_the_noise_is_estimated(noise: float) -> None:
    assert appearance(cells(noise))["noise"] == pytest.approx(noise, rel=0.05)


def test_a_model_knows_its_own_data_whatever_the_gain() -> None:
    assert differences(model_of(cells()), cells()) == ()
    assert differences(model_of(cells()), cells(gain=7.0)) == ()


def test_a_difference_is_told_in_words() -> None:
    (noisier,) = differences(model_of(cells(5.0)), cells(60.0))
    assert noisier.startswith("The noise is ")
    assert "times stronger than in the data the model was trained on." in noisier
    (cleaner,) = differences(model_of(cells(60.0)), cells(5.0))
    assert "weaker" in cleaner
    (larger,) = differences(model_of(cells(spacing=0.2)), cells())
    assert larger == "Pixels are 2.5 times larger than in the data the model was trained on."
    assert any("stand out" in each and "more" in each for each in differences(model_of(cells(2.0)), cells(2.0, spots=3000)))


def test_units_are_compared_as_lengths() -> None:
    assert differences(model_of(cells(spacing=0.5)), cells(spacing=500.0, unit="nanometer")) == ()
    assert differences(model_of(cells(spacing=0.5)), cells(spacing=99.0, unit="pixel")) == ()


def test_one_movie_like_it_among_several_is_enough() -> None:
    assert differences(model_of(cells(5.0), cells(60.0)), cells(60.0)) == ()


def test_a_model_that_remembers_nothing_says_nothing() -> None:
    assert differences(Model(Noise2Void(), {}, 2), cells()) == ()


@pytest.mark.filterwarnings("ignore:Denoising")
def test_python_and_the_command_line_are_warned() -> None:
    import napari_denoisereg as dr
    from napari_denoisereg.steps import finish

    method = Noise2Void(iterations=1, patch=16, batch=1)
    model = finish(method.fit([cells(5.0)]))
    with pytest.warns(UserWarning, match="The noise is .* times stronger than in the data the model was trained on. Check"):
        dr.denoise(cells(60.0), method, model=model, device="cpu")
