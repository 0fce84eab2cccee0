"""Training with pictures on the way, for every method that is trained, in 2D and 3D, on lazy movies."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

from napari_denoisereg.denoise.noise2void import Noise2Void
from napari_denoisereg.evaluation.keypoints import Keypoints
from napari_denoisereg.io.library import FAMILIES, Library
from napari_denoisereg.method import Method
from napari_denoisereg.register.voxelmorph import VoxelMorph
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Progress, finish
from napari_denoisereg.widgets import finetune_job
from napari_denoisereg.widgets.finetune_job import InView, Order, comparison, curves, train
from napari_denoisereg.widgets.finetune_pictures import overlay, predicted, signed
from napari_denoisereg.widgets.finetune_result import in_words

TINY = {"iterations": 2, "seconds": 60.0, "every": 1, "batch": 1, "patch": 16, "size": 32}
TRAINED = [member for family in FAMILIES for member in family.members().values() if getattr(member, "is_trained", False)]


def quick(member: type[Method]) -> Method:
    return member().model_copy(update={name: value for name, value in TINY.items() if name in member.model_fields})


@pytest.fixture
def movie() -> Callable[[str], Stack]:
    def make(axes: str) -> Stack:
        shape = {"tyx": (4, 40, 48), "tzyx": (3, 8, 24, 32)}[axes]
        data = np.random.default_rng(0).normal(100, 20, shape).astype(np.float32)
        return Stack(da.from_array(data, chunks=(1, *shape[1:])), axes, name="lazy")

    return make


FAMILY_CAPTIONS = {"denoiser": ["Raw", "Denoised"], "registrar": ["Frame 0 + 2", "Aligned"], "encoder": ["Raw", "Made again"]}
CAPTIONS = {"segmentation": ["Raw", "Recognised"]}


@pytest.mark.parametrize("member", TRAINED, ids=lambda member: member.kind)
def test_every_trained_method_can_be_followed(member: type[Method], movie: Callable, tmp_path: Path) -> None:
    seen = list[Progress]()
    stack = movie("tyx")
    labels = (replace(stack, data=(np.asarray(stack.data) > 100).astype(np.uint8)),)
    more = {"labels": labels} if getattr(member, "needs_labels", False) else {}
    order = Order(quick(member), (stack,), device="cpu", **more)
    lesson = finish(train(order, InView((2, (slice(0, 40), slice(0, 48)))), Library(tmp_path)), seen.append)
    assert any(progress.training is not None for progress in seen)
    assert any(progress.preview is not None and progress.preview.panels for progress in seen)
    assert "best" in lesson.kept
    assert lesson.model.thumbnail is not None
    assert lesson.model.thumbnail.dtype.is_floating_point is False
    captions = [panel.caption for panel in lesson.sight.panels]
    assert captions[:2] == CAPTIONS.get(member.kind, FAMILY_CAPTIONS[member.family])
    assert all(panel.pixels.dtype == np.uint8 for panel in lesson.sight.panels)
    assert list((tmp_path / "unfinished").iterdir()) == []


def test_a_volume_shows_its_plane_in_view(movie: Callable, tmp_path: Path) -> None:
    stack = movie("tzyx")
    place = (1, (slice(5, 6), slice(4, 20), slice(0, 32)))
    lesson = finish(train(Order(quick(Noise2Void), (stack,), device="cpu"), InView(place), Library(tmp_path)))
    raw, clean = predicted(lesson.model, stack, place)
    assert raw.shape == clean.shape == (16, 32)
    np.testing.assert_array_equal(raw, stack.frame(1)[5, 4:20])
    assert lesson.sight.panels[0].pixels.shape == (16, 32)


def test_a_region_shows_what_the_whole_frame_shows(movie: Callable, tmp_path: Path) -> None:
    stack = movie("tyx")
    model = finish(quick(Noise2Void).fit([stack]))
    whole = predicted(model, stack, (1, (slice(0, 40), slice(0, 48))))[1]
    part = predicted(model, stack, (1, (slice(8, 24), slice(16, 40))))[1]
    np.testing.assert_allclose(part, whole[8:24, 16:40], atol=1e-3)


def test_a_denoiser_learns_from_the_frames_that_were_recorded(movie: Callable, tmp_path: Path) -> None:
    stack = movie("tyx")
    lost = replace(stack, data=da.concatenate([stack.data[:1], da.zeros_like(stack.data[1:2]), stack.data[2:]]))
    view = InView((0, (slice(0, 40), slice(0, 48))))
    with pytest.warns(UserWarning, match="Nothing was recorded in frame 1"):
        lesson = finish(train(Order(quick(Noise2Void), (lost,), device="cpu"), view, Library(tmp_path)))
    assert lesson.model.provenance["data"][0]["shape"] == [3, 40, 48]


def test_a_denoiser_learns_from_a_single_image_and_a_registrar_refuses_it(movie: Callable, tmp_path: Path) -> None:
    image = Stack.of_image(movie("tyx").frame(0), name="cell")
    view = InView((0, (slice(0, 40), slice(0, 48))))
    lesson = finish(train(Order(quick(Noise2Void), (image,), device="cpu"), view, Library(tmp_path)))
    assert lesson.sight.panels[0].pixels.shape == (40, 48)
    with pytest.raises(ValueError, match=r"VoxelMorph .* needs at least two frames, and 'cell' is a single one"):
        finish(train(Order(quick(VoxelMorph), (image,), device="cpu"), view, Library(tmp_path)))


@pytest.mark.parametrize(("score", "is_warned"), [(4.9, True), (2.0, False)])
def test_keypoints_tell_how_far_the_frames_were_apart(score: float, is_warned: bool, movie: Callable, tmp_path: Path) -> None:
    places = np.array([[10.0, 10.0], [20, 30], [30, 12]])
    marks = Keypoints(
        np.repeat([0, 1, 2], 3), np.tile(np.arange(3), 3), np.concatenate([places, places + 1, places + np.array([3, 4])])
    )
    order = Order(quick(VoxelMorph), (movie("tyx"),), keypoints=marks.where(marks.frame != 1), device="cpu")
    lesson = finish(train(order, InView((2, (slice(0, 40), slice(0, 48)))), Library(tmp_path)))
    assert lesson.before == pytest.approx(5)
    assert "very few" in in_words(lesson)
    doubtful = replace(lesson.model, provenance={**lesson.model.provenance, "doubt": "The network has learnt nothing."})
    assert in_words(replace(lesson, model=doubtful)).endswith("The network has learnt nothing.")
    told = {**lesson.model.provenance, "score": score, "iterations_in_all": 50}
    words = in_words(replace(lesson, model=replace(lesson.model, provenance=told)))
    assert f"chosen by keypoints ({score:.2f} px; 5.00 px before)" in words
    assert ("hardly better" in words) == is_warned


def test_curves_do_not_wait_for_slow_pictures(movie: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune_job, "MOST_SHARE", 1e-9)  # once a picture was made, the next one is years away
    monkeypatch.setattr(finetune_job, "LEAST_SECONDS_BETWEEN", 0.0)
    seen = list[Progress]()
    order = Order(quick(Noise2Void), (movie("tyx"),), device="cpu")
    finish(train(order, InView((0, (slice(0, 40), slice(0, 48)))), Library(tmp_path)), seen.append)
    sights = [progress.preview for progress in seen if progress.preview is not None]
    assert [bool(sight.panels) for sight in sights].count(True) == 1
    assert len(sights[-1].losses) > len(sights[0].losses)


def test_closing_leaves_nothing(movie: Callable, tmp_path: Path) -> None:
    steps = train(Order(quick(Noise2Void), (movie("tyx"),)), InView((0, (slice(0, 40), slice(0, 48)))), Library(tmp_path))
    while next(steps).training is None:
        pass
    steps.close()
    assert list((tmp_path / "unfinished").iterdir()) == []


def test_models_of_another_dimension_are_not_compared(movie: Callable) -> None:
    model = finish(quick(Noise2Void).fit([movie("tyx")]))
    with pytest.raises(ValueError, match="trained on 2D frames"):
        finish(comparison([("one", model)], movie("tzyx"), (0, (slice(0, 8),) * 3)))


def test_curves_are_means_of_blocks() -> None:
    class Training:
        losses = tuple(np.arange(1000.0))
        validation = ((500, 0.5),)

    sight = curves(Training())  # type: ignore[arg-type]
    assert len(sight.losses) == 250
    np.testing.assert_allclose(sight.losses[0], [2.0, 1.5])
    assert sight.validation.tolist() == [[500.0, 0.5]]


def test_colours_mean_what_the_manual_says() -> None:
    picture = signed(np.array([[-100.0, 0.0, 100.0] + [0.0] * 97]))
    assert picture[0, 0, 2] > picture[0, 0, 0]  # blue below zero
    assert picture[0, 2, 0] > picture[0, 2, 2]  # orange above
    assert picture[0, 1].tolist() == [0, 0, 0]
    ramp = np.linspace(0, 1, 100).reshape(10, 10)
    assert np.ptp(overlay(ramp, ramp)[..., :], axis=-1).max() == 0  # grey where they agree
