"""DenoiseReg as a registrar: trained on the movie, it denoises and registers."""

import numpy as np
import pytest
import torch

from napari_denoisereg.evaluation.synthetic import nuclei_movie
from napari_denoisereg.geometry import Translation
from napari_denoisereg.model import Model
from napari_denoisereg.register.denoisereg import DenoiseReg
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Progress, finish

QUICK = DenoiseReg(iterations=3, seconds=60, size=32, batch=2, patch=16, every=2)


@pytest.fixture(scope="module")
def stack() -> Stack:
    movie = nuclei_movie("easy", seed=2, shape=(64, 64), n_frames=4)
    return Stack(movie.noisy, "tyx", name="nucleus")


@pytest.mark.slow
def test_training_lowers_the_loss_and_denoises(stack: Stack) -> None:
    method = QUICK.model_copy(update={"iterations": 45, "batch": 3, "every": 15, "patch": 32})
    seen = list[Progress]()
    model = finish(method.fit([stack]), seen.append)
    losses = [progress.figures["loss"] for progress in seen]
    assert np.mean(losses[-2:]) < 0.8 * losses[0]
    clean = np.asarray(finish(method.denoise(stack, model=model)).data)
    assert clean.mean() == pytest.approx(float(stack.data.mean()), rel=1e-3)
    rough, smooth = (np.abs(np.diff(each, axis=-1)).mean() for each in (stack.data, clean))
    assert smooth < 0.7 * rough
    assert model.provenance["trained_on"] == ["nucleus"]
    assert model.provenance["iterations"] in (15, 30, 45)
    assert model.provenance["iterations_in_all"] == 45


def test_the_plain_network_predicts_without_refinement(stack: Stack) -> None:
    method = QUICK.model_copy(update={"refinement": 0})
    model = finish(method.fit([stack]))
    head = torch.cat([model.weights["head.last.weight"].flatten(), model.weights["head.last.bias"]])
    assert 0 < float(head.abs().max()) < 0.1
    found = finish(method.align(stack.tensor([0, 0]), stack.tensor([1, 2]), stack.grid, model=model))
    assert len(found) == 2
    known = Translation([3.0, -2.0])
    (kept,) = finish(method.align(stack.tensor([0]), stack.tensor([1]), stack.grid, model=model, start=[known]))
    assert torch.equal(kept.weights, known.weights)


def test_the_best_model_is_chosen_on_held_out_pairs_where_no_score_is_given(stack: Stack) -> None:
    model = finish(QUICK.model_copy(update={"iterations": 4}).fit([stack]))
    assert np.isfinite(model.provenance["validation"])
    assert model.provenance["iterations"] in (2, 4)


def test_full_size_is_the_paper_as_it_stands(stack: Stack) -> None:
    method = QUICK.model_copy(update={"size": 0, "iterations": 2})
    model = finish(method.fit([stack]))
    (found,) = finish(method.align(stack.tensor([0]), stack.tensor([1]), stack.grid, model=model))
    assert bool(torch.isfinite(found.weights).all())


def test_several_movies_of_different_size_train_one_model(stack: Stack) -> None:
    other = Stack(np.random.default_rng(0).normal(size=(3, 40, 56)).astype(np.float32), "tyx")
    one_size = QUICK.model_copy(update={"batch": 1})
    assert finish(one_size.fit([stack, other])).ndim == 2


@pytest.mark.parametrize(("shape", "spacing"), [((16, 32, 32), (5.0, 1.0, 1.0)), ((45, 64), (0.5, 0.5))])
def test_a_predicted_shift_is_one_of_voxels_whatever_their_spacing(shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    """The network is trained on voxels of padded frames; what it predicts is applied in the world."""
    random, ndim = np.random.default_rng(0), len(shape)
    movie = Stack(random.random((3, *shape)).astype(np.float32), "t" + "zyx"[-ndim:], spacing=(1.0, *spacing))
    method = QUICK.model_copy(update={"iterations": 1, "size": 0, "refinement": 0})
    model = finish(method.fit([movie]))
    bias = torch.zeros(ndim, ndim + 1)
    bias[0, -1] = 2.0
    weights = dict(model.weights) | {
        "head.last.bias": bias.flatten(),
        "head.last.weight": 0 * model.weights["head.last.weight"],
    }
    taught = Model(model.method, weights, model.ndim)
    (found,) = finish(method.align(movie.tensor([0]), movie.tensor([1]), movie.grid, model=taught))
    half_side = max(-(-length // 8) * 8 for length in shape) / 2
    voxels = 0.1 * 2.0 * half_side
    point = torch.tensor(movie.grid.centre, dtype=torch.float64)
    expected = torch.zeros(ndim, dtype=torch.float64)
    expected[0] = voxels * spacing[0]
    torch.testing.assert_close(found(point) - point, expected, atol=1e-4, rtol=1e-4)
