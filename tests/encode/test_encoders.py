"""Encoders: trained with and without labels, saved, named by a similarity, trained by a recipe where none is named."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_denoisereg.encode.autoencoder import Autoencoder
from napari_denoisereg.encode.segmentation import Segmentation
from napari_denoisereg.losses.autoencoder_features import AutoencoderFeatures
from napari_denoisereg.losses.deep_similarity import DeepSimilarity
from napari_denoisereg.model import load
from napari_denoisereg.networks.feature_net import frozen_encoder
from napari_denoisereg.pipeline import FAMILIES, Pipeline
from napari_denoisereg.register.affine import AffineDescent
from napari_denoisereg.register.deep_affine import DeepAffine
from napari_denoisereg.register.voxelmorph import VoxelMorph
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish

TINY = {"iterations": 4, "every": 2, "patch": 16, "batch": 2}


def blobs(ndim: int = 2) -> tuple[Stack, Stack]:
    """Bright blobs in noise, and their numbers."""
    random = np.random.default_rng(0)
    shape = (3, 40, 40) if ndim == 2 else (3, 8, 24, 24)
    seeds = random.random(shape) > 0.995
    labels = ndimage.label(ndimage.binary_dilation(seeds, iterations=2))[0].astype(np.int32)
    movie = (100 * (labels > 0) + random.normal(200, 10, shape)).astype(np.float32)
    axes = "tyx" if ndim == 2 else "tzyx"
    return Stack(movie, axes), Stack(labels, axes)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("method", [Autoencoder(**TINY), Segmentation(**TINY)], ids=["autoencoder", "segmentation"])
def test_an_encoder_is_trained_saved_and_named(method: Autoencoder, ndim: int, tmp_path: Path) -> None:
    stack, labels = blobs(ndim)
    model = finish(method.fit([stack], labels=[labels]))
    seen = method.shown(model, stack.tensor([0])[0])
    assert seen.shape == stack.grid.shape
    assert seen.isfinite().all()
    path = tmp_path / "encoder.safetensors"
    model.save(path)
    assert load(path, FAMILIES).method == method
    fixed, warped = stack.tensor([0])[None], stack.tensor([1])[None]
    named = DeepSimilarity(encoder=path)
    bound = DeepSimilarity().with_encoder(frozen_encoder(model.weights, ndim))
    assert float(named(fixed, fixed)) == pytest.approx(0.0, abs=1e-4)
    assert float(named(fixed, warped)) == pytest.approx(float(bound(fixed, warped)))
    assert float(named(fixed, warped)) > 0.001


def test_segmentation_learns_what_is_bright() -> None:
    stack, labels = blobs()
    seen = []
    finish(
        Segmentation(iterations=30, every=30, patch=16, batch=8).fit([stack], labels=[labels]),
        lambda progress: seen.append(progress.figures["loss"]),
    )
    assert seen[-1] < 0.5 * seen[0]


def test_labels_that_do_not_fit_are_refused_before_work() -> None:
    stack, labels = blobs()
    with pytest.raises(ValueError, match="one label stack for each"):
        finish(Segmentation(**TINY).fit([stack]))
    with pytest.raises(ValueError, match="shape and axes"):
        finish(Segmentation(**TINY).fit([stack], labels=[labels.frame_range(0, 2)]))
    with pytest.raises(ValueError, match="whole numbers"):
        finish(Segmentation(**TINY).fit([stack], labels=[stack]))
    with pytest.raises(ValueError, match="at least one frame with labels"):
        finish(Segmentation(**TINY).fit([stack], labels=[labels.with_data(0 * labels.data)]))
    with pytest.raises(ValueError, match="at most 64 classes"):
        finish(Segmentation(**TINY, meaning="classes").fit([stack], labels=[labels.with_data(100 * labels.data)]))


def test_without_an_encoder_it_is_said_what_to_do(tmp_path: Path) -> None:
    image = torch.zeros(1, 1, 8, 8)
    with pytest.raises(ValueError, match="name its model file"):
        DeepSimilarity()(image, image)
    stack, _ = blobs()
    other = finish(DeepAffine(iterations=1, every=1, size=16).fit([stack]))
    other.save(tmp_path / "other")
    with pytest.raises(ValueError, match="Expected the model of an encoder"):
        DeepSimilarity(encoder=tmp_path / "other")(image, image)
    flat = frozen_encoder(finish(Autoencoder(**TINY).fit([stack])).weights, 2)
    with pytest.raises(ValueError, match="2D images, these are 3D"):
        DeepSimilarity().with_encoder(flat)(image[None], image[None])


@pytest.mark.parametrize("similarity", [DeepSimilarity(), AutoencoderFeatures()])
def test_a_recipe_trains_the_encoder_where_none_is_named(similarity: DeepSimilarity, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Autoencoder.fit
    monkeypatch.setattr(Autoencoder, "fit", lambda self, *a, **k: plain(self.model_copy(update=TINY), *a, **k))
    stack, _ = blobs()
    method = VoxelMorph(iterations=2, every=2, refinement=3, similarity=similarity)
    recipe = Pipeline(registrars=(method,), keep_denoised=False)
    result = finish(recipe.run(stack, device="cpu"))
    assert result.recipe == recipe
    assert [model.method.kind for model in result.models] == ["autoencoder", "voxelmorph"]
    again = finish(recipe.run(stack, device="cpu", models=result.models))
    one, two = (each.registration.transforms[1].displacement(stack.grid) for each in (result, again))
    assert torch.equal(one, two)


def test_a_bound_encoder_is_no_setting() -> None:
    stack, _ = blobs()
    bound = DeepSimilarity().with_encoder(frozen_encoder(finish(Autoencoder(**TINY).fit([stack])).weights, 2))
    assert bound == DeepSimilarity()
    assert hash(bound) == hash(DeepSimilarity())
    assert bound.to_dict() == DeepSimilarity().to_dict()
    assert bound.has_encoder
    assert not DeepSimilarity().has_encoder


@pytest.mark.slow
def test_one_sees_what_an_encoder_has_learnt() -> None:
    stack, labels = blobs()
    image, things = stack.tensor([0])[0], torch.from_numpy(labels.frame(0) > 0)
    budget = {"iterations": 60, "patch": 24, "seed": 1}
    model = finish(Segmentation(**budget).fit([stack], labels=[labels]))
    seen = Segmentation().shown(model, image)
    assert (seen[things] / image[things]).mean() > 0.9  # things stay as they are
    assert seen[~things].std() < 0.5 * image[~things].std()  # and the background is dark
    model = finish(Autoencoder(**{**budget, "iterations": 200}).fit([stack]))
    assert torch.corrcoef(torch.stack([Autoencoder().shown(model, image).ravel(), image.ravel()]))[0, 1] > 0.3


def test_an_encoder_that_nothing_looks_through_is_refused() -> None:
    """Who gives one and forgets to choose the similarity would get brightness compared, silently."""
    stack, _ = blobs()
    model = finish(Autoencoder(**TINY).fit([stack]))
    for method in (VoxelMorph(), AffineDescent()):
        with pytest.raises(ValueError, match=r"no method here compares features by it; choose.* deepsim"):
            finish(Pipeline(registrars=(method,)).run(stack, models=[model]))
