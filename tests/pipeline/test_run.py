"""The main job: denoise, register on the denoised movie, warp the raw one once."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pytest
import torch
import zarr

import napari_denoisereg as dr
from napari_denoisereg.denoise.fusion import Fusion
from napari_denoisereg.denoise.gaussian import Gaussian
from napari_denoisereg.denoise.noise2void import Noise2Void
from napari_denoisereg.evaluation.keypoints import Keypoints
from napari_denoisereg.evaluation.synthetic import SyntheticMovie, nuclei_movie
from napari_denoisereg.geometry import warp
from napari_denoisereg.pipeline import Pipeline, keypoint_score, presets
from napari_denoisereg.register import Registrar
from napari_denoisereg.register.affine import AffineDescent
from napari_denoisereg.register.denoisereg import DenoiseReg
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Progress, finish

FAST = Pipeline(denoise=Gaussian(), registrars=(AffineDescent(),))
QUICK_N2V = Noise2Void(iterations=2, patch=16, batch=2)
QUICK_JOINT = DenoiseReg(iterations=4, every=2, size=32, patch=16, batch=2, seconds=60)
TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64")
FOREIGN = (">i2", ">u4", ">f4", ">f8")


@pytest.fixture(scope="module")
def movie() -> SyntheticMovie:
    return nuclei_movie("easy", seed=4, shape=(64, 72), n_frames=5, spacing=(0.5, 0.5))


@pytest.fixture(scope="module")
def stack(movie: SyntheticMovie) -> Stack:
    return Stack(movie.noisy.astype(np.int16), "tyx", (2.0, 0.5, 0.5), (0.0, 10.0, -5.0), name="nucleus")


@pytest.fixture(scope="module")
def result(stack: Stack, movie: SyntheticMovie) -> Any:
    return finish(FAST.run(stack, device="cpu", keypoints=movie.keypoints))


def test_the_fast_recipe_brings_keypoints_together(result: Any, movie: SyntheticMovie) -> None:
    later = result.report.frame > 0
    assert result.report.before[later].mean() > 2
    assert result.report.after[later].mean() < 0.4 * result.report.before[later].mean()
    assert dr.evaluate(movie.keypoints, result.registration).after.mean() == result.report.after.mean()
    assert dr.evaluate(movie.keypoints).before.mean() == result.report.before.mean()


def test_transforms_are_found_on_the_denoised_movie(result: Any, stack: Stack) -> None:
    again = dr.register(dr.denoise(stack, Gaussian()), AffineDescent())
    for one, other in zip(result.registration.transforms, again.transforms, strict=True):
        torch.testing.assert_close(one.matrix(), other.matrix())


def test_the_raw_movie_is_warped_once(result: Any, stack: Stack) -> None:
    """One interpolation, from the raw frame straight to the aligned one."""
    for number in range(stack.n_frames):
        raw = torch.from_numpy(stack.frame(number).astype(np.float32))
        once = warp(raw, result.registration.transforms[number], fixed=stack.grid).numpy()
        np.testing.assert_array_equal(result.aligned.frame(number), np.rint(once).astype(np.int16))
    np.testing.assert_array_equal(result.aligned.frame(0), stack.frame(0))
    assert isinstance(result.aligned.data, da.Array)


def test_results_stand_where_the_input_stands(result: Any, stack: Stack) -> None:
    for made, dtype in ((result.denoised, np.float32), (result.aligned, np.int16)):
        assert (made.shape, made.axes, made.grid, made.dtype) == (stack.shape, stack.axes, stack.grid, dtype)
        assert (made.spacing, made.origin, made.units) == (stack.spacing, stack.origin, stack.units)
    assert (result.denoised.name, result.aligned.name) == ("nucleus [denoised]", "nucleus [aligned]")


def test_the_history_names_every_setting(result: Any) -> None:
    history = json.loads(json.dumps(list(result.registration.history)))
    (denoised,) = [step["denoise"] for step in history if "denoise" in step]
    (registered,) = [step for step in history if "register" in step]
    assert set(denoised) == {"kind", *Gaussian.model_fields}
    assert set(registered["register"][0]) == {"kind", *AffineDescent.model_fields}
    assert registered["series"]["kind"] == "combined"
    warped = json.loads(json.dumps(list(result.aligned.history)))[-1]
    assert warped["warp"] == history
    assert warped["interpolation"] == "linear"


@pytest.mark.parametrize("dtype", TYPES + FOREIGN)
def test_every_integer_and_float_type_goes_all_the_way(dtype: str, movie: SyntheticMovie) -> None:
    values = movie.noisy[:3, 8:56, 8:56]
    stack = Stack((values.clip(min=0) / values.max() * 100).astype(dtype), "tyx")
    before = stack.data.tobytes()
    made = finish(FAST.run(stack, device="cpu"))
    assert stack.data.tobytes() == before
    assert made.denoised.dtype == np.float32
    assert made.aligned.dtype == stack.dtype.newbyteorder("=")
    aligned = np.asarray(made.aligned.data).astype(float)
    assert np.isfinite(aligned).all()
    wanted = warp(torch.from_numpy(stack.data[2].astype(np.float32)), made.registration.transforms[2], fixed=stack.grid).numpy()
    np.testing.assert_allclose(aligned[2], wanted, atol=0.51 if stack.dtype.kind in "iu" else 0.05)
    assert (made.registration.quality["after"][1:] > made.registration.quality["before"][1:]).all()


@pytest.mark.parametrize("axes", ["tcyx", "ctyx"])
def test_what_is_found_on_one_channel_is_applied_to_all(axes: str, movie: SyntheticMovie) -> None:
    random = np.random.default_rng(0)
    still = random.normal(100, 10, movie.noisy.shape).astype(np.float32)
    data = np.stack([still, movie.noisy], axis=axes.index("c"))
    recipe = FAST.model_copy(update={"channel": 1, "denoise": None})
    both = finish(recipe.run(Stack(data, axes), device="cpu"))
    alone = finish(recipe.model_copy(update={"channel": 0}).run(Stack(movie.noisy, "tyx"), device="cpu"))
    for one, other in zip(both.registration.transforms, alone.registration.transforms, strict=True):
        torch.testing.assert_close(one.matrix(), other.matrix())
    assert both.aligned.axes == axes
    for channel, values in enumerate((still, movie.noisy)):
        wanted = warp(torch.from_numpy(values[3]), both.registration.transforms[3], fixed=both.aligned.grid)
        np.testing.assert_allclose(both.aligned.frame(3, channel), wanted, rtol=1e-6)
    assert both.denoised is None


def test_every_channel_is_denoised_by_itself(movie: SyntheticMovie) -> None:
    data = np.stack([movie.noisy, 3 * movie.noisy + 7], axis=1)
    clean = dr.denoise(Stack(data, "tcyx"), "gaussian")
    assert (clean.shape, clean.axes) == (data.shape, "tcyx")
    np.testing.assert_allclose(np.asarray(clean.data[:, 1]), 3 * np.asarray(clean.data[:, 0]) + 7, rtol=1e-3, atol=0.01)


@pytest.mark.parametrize("kind", ["dask", "zarr"])
def test_lazy_input_stays_lazy(kind: str, stack: Stack, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = stack.shape[1] * stack.shape[2]
    reads = list[int]()

    def read(block_info: Any = None) -> np.ndarray:
        number = block_info[None]["chunk-location"][0]
        reads.append(number)
        return stack.data[number : number + 1]

    if kind == "dask":
        chunks = ((1,) * stack.n_frames, *((size,) for size in stack.shape[1:]))
        data: Any = da.map_blocks(read, chunks=chunks, dtype=stack.dtype, meta=np.empty((0, 0, 0), stack.dtype))
    else:
        data = zarr.create_array(tmp_path / "m.zarr", shape=stack.shape, dtype=stack.dtype, chunks=(1, *stack.shape[1:]))
        data[:] = stack.data
        monkeypatch.setattr(
            zarr.Array, "__array__", lambda self, *_, **__: pytest.fail("The zarr array was read whole."), raising=True
        )
    compute = da.Array.compute

    def guarded(self: da.Array, **options: Any) -> Any:
        assert self.size <= frame, f"A dask array of shape {self.shape} was computed whole."
        return compute(self, **options)

    monkeypatch.setattr(da.Array, "compute", guarded)
    made = finish(FAST.run(Stack(data, "tyx", stack.spacing, stack.origin), device="cpu"))
    assert isinstance(made.aligned.data, da.Array)
    reads.clear()
    made.aligned.frame(3)
    assert set(reads) == ({3} if kind == "dask" else set())


def test_registering_alone_denoises_nothing(stack: Stack) -> None:
    made = finish(FAST.model_copy(update={"denoise": None}).run(stack, device="cpu"))
    assert made.denoised is None
    assert made.models == ()
    assert made.report is None
    assert made.aligned is not None


def test_denoising_alone_registers_nothing_and_ends_at_the_whole(stack: Stack) -> None:
    seen = list[Progress]()
    made = finish(Pipeline(denoise=QUICK_N2V).run(stack, device="cpu"), seen.append)
    assert (made.registration, made.aligned, made.report) == (None, None, None)
    assert [model.method for model in made.models] == [QUICK_N2V]
    assert seen[-1].done == seen[-1].total


def test_a_joint_method_denoises_and_registers_with_one_model(stack: Stack) -> None:
    made = finish(Pipeline(registrars=(QUICK_JOINT,)).run(stack, device="cpu"))
    assert [model.method for model in made.models] == [QUICK_JOINT]
    assert made.denoised.dtype == np.float32
    assert made.denoised.history[-1]["denoise"]["kind"] == "denoisereg"
    assert len(made.registration.transforms) == stack.n_frames
    given = finish(Pipeline(registrars=(QUICK_JOINT,)).run(stack, device="cpu", models=made.models))
    assert given.models == made.models


def test_registrars_start_from_what_the_last_one_found(stack: Stack) -> None:
    recipe = Pipeline(registrars=({"kind": "pose"}, {"kind": "affine"}))
    made = finish(recipe.run(stack, device="cpu"))
    assert [step["kind"] for step in made.registration.history[-1]["register"]] == ["pose", "affine"]
    assert (made.registration.quality["after"][1:] > made.registration.quality["before"][1:]).all()


def test_keypoints_choose_the_best_model(stack: Stack, movie: SyntheticMovie, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model kept is the one whose own prediction has the smallest error at validation keypoints."""
    made = finish(Pipeline(registrars=(QUICK_JOINT,)).run(stack, device="cpu", keypoints=movie.keypoints))
    (model,) = made.models
    score = keypoint_score((QUICK_JOINT,), stack, movie.keypoints)
    assert score is not None
    assert model.provenance["score"] == pytest.approx(score(model), abs=1e-3)
    assert 0 < score(model) < 50
    assert made.report is not None


def test_keypoints_that_tell_nothing_do_not_judge(stack: Stack) -> None:
    only_first = Keypoints([0, 0], [0, 1], [[10.0, 10.0], [20.0, 20.0]])
    not_first = Keypoints([1, 2], [0, 0], [[10.0, 10.0], [20.0, 20.0]])
    assert keypoint_score((QUICK_JOINT,), stack, only_first) is None
    assert keypoint_score((QUICK_JOINT,), stack, not_first) is None
    assert keypoint_score((AffineDescent(),), stack, Keypoints([0, 1], [0, 0], [[1.0, 1.0], [2.0, 2.0]])) is None


@pytest.mark.parametrize("frame", [0, 2, 4])
def test_preview_shows_one_denoised_frame(frame: int, stack: Stack) -> None:
    seen = list[Progress]()
    shown = finish(FAST.preview(stack, frame, device="cpu"), seen.append)
    assert shown.shape == stack.grid.shape
    assert shown.dtype == np.float32
    wanted = finish(Gaussian(sigma=2).run(stack)).frame(frame)
    assert np.corrcoef(shown.ravel(), wanted.ravel())[0, 1] > 0.9
    assert seen[-1].done == seen[-1].total


def test_preview_of_a_channel_and_of_trained_methods(movie: SyntheticMovie) -> None:
    stack = Stack(np.stack([movie.noisy, 10 * movie.noisy], axis=1), "tcyx")
    recipe = Pipeline(denoise=QUICK_N2V, channel=1)
    shown = finish(recipe.preview(stack, 1, device="cpu"))
    assert shown.mean() > 3 * movie.noisy.mean()
    with pytest.raises(ValueError, match="does not denoise, so there is nothing to preview"):
        finish(Pipeline(registrars=({"kind": "affine"},)).preview(stack, 1))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_closed_run_leaves_the_input_as_it_was(count: int, stack: Stack) -> None:
    before = stack.data.tobytes()
    steps = FAST.run(stack, device="cpu")
    list(itertools.islice(steps, count))
    steps.close()
    assert stack.data.tobytes() == before


@pytest.fixture
def never_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any long work is a failure."""

    def fail(*_: Any, **__: Any) -> Any:
        pytest.fail("Work began before the input was refused.")

    for owner, name in ((Gaussian, "run"), (AffineDescent, "align"), (Noise2Void, "fit")):
        monkeypatch.setattr(owner, name, fail)


def spoilt(change: Callable[[np.ndarray], None]) -> np.ndarray:
    data = np.random.default_rng(0).normal(100, 10, (4, 16, 16))
    change(data)
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (spoilt(lambda data: data.__setitem__((1, 2, 3), np.nan)), "Frame 1 has 1 NaN"),
        (spoilt(lambda data: data.__setitem__((3, 2, 3), np.inf)), "Frame 3 has 1 NaN or infinite"),
        (spoilt(lambda data: data.fill(5.0)), "constant"),
        (spoilt(lambda data: data.__imul__(1e38)), "overflow"),
    ],
)
@pytest.mark.parametrize("recipe", [FAST, Pipeline(denoise=QUICK_N2V), Pipeline(registrars=({"kind": "affine"},))])
def test_bad_input_is_refused_before_any_work(data: np.ndarray, message: str, recipe: Pipeline, never_works: None) -> None:
    before = data.tobytes()
    with pytest.raises(ValueError, match=message):
        finish(recipe.run(Stack(data, "tyx"), device="cpu"))
    assert data.tobytes() == before


@pytest.mark.parametrize("recipe", [FAST, Pipeline(registrars=({"kind": "affine"},))])
def test_a_frame_that_shows_nothing_cannot_be_registered(recipe: Pipeline, never_works: None) -> None:
    data = spoilt(lambda data: data.__setitem__(2, 5.0))
    with pytest.raises(ValueError, match="Frame 2 is constant"):
        finish(recipe.run(Stack(data, "tyx"), device="cpu"))


def test_a_single_frame_cannot_be_registered(never_works: None) -> None:
    for recipe in (FAST, Pipeline(registrars=({"kind": "affine"},))):
        with pytest.raises(ValueError, match="at least 2 frames"):
            finish(recipe.run(Stack(spoilt(lambda data: None)[:1], "tyx"), device="cpu"))


@pytest.mark.parametrize("kind", ["fusion", "gaussian"])
def test_a_single_frame_can_be_denoised(kind: str) -> None:
    image = 1000 + 500 * np.sin(np.arange(48) / 6)[:, None] * np.sin(np.arange(48) / 5)
    noisy = image + np.random.default_rng(0).normal(scale=100, size=(1, 48, 48))
    clean = dr.denoise(Stack(noisy, "tyx"), kind, device="cpu")
    assert clean.shape == noisy.shape
    assert np.square(clean.data - image).mean() < 0.5 * np.square(noisy - image).mean()


def test_a_missing_channel_or_device_is_refused_before_any_work(stack: Stack, never_works: None) -> None:
    with pytest.raises(ValueError, match="Channel 3 does not exist"):
        finish(FAST.model_copy(update={"channel": 3}).run(stack))
    with pytest.raises(ValueError, match="Expected a device among"):
        finish(FAST.run(stack, device="abacus"))


def test_a_recipe_that_does_nothing_is_refused(stack: Stack) -> None:
    with pytest.raises(ValueError, match="neither denoises nor registers; add a method"):
        finish(Pipeline().run(stack))


def test_presets_are_what_the_front_door_runs(stack: Stack) -> None:
    made = dr.run(stack, "fast", device="cpu")
    assert made.recipe == presets()["fast"]
    aligned = dr.warp(stack, made.registration, interpolation="nearest", outside="edge")
    assert set(np.unique(aligned.frame(2))) <= set(np.unique(stack.frame(2)))


def test_a_denoiser_that_uses_the_motion_comes_after_registration(stack: Stack) -> None:
    recipe = Pipeline(denoise=Fusion(reach=1), registrars=(AffineDescent(),))
    result = finish(recipe.run(stack, device="cpu"))
    found = dr.register(stack, AffineDescent()).transforms
    for one, other in zip(result.registration.transforms, found, strict=True):
        torch.testing.assert_close(one.matrix(), other.matrix())
    along = finish(Fusion(reach=1).run_along(stack, found))
    np.testing.assert_array_equal(np.asarray(result.denoised.data), np.asarray(along.data))
    seen = list[Progress]()
    again = finish(recipe.model_copy(update={"turns": 2}).run(stack, device="cpu"), seen.append)
    assert not np.array_equal(np.asarray(again.denoised.data), np.asarray(along.data))
    assert [later.fraction for later in seen] == sorted(later.fraction for later in seen)


@pytest.mark.parametrize("bending", [kind for kind, member in Registrar.members().items() if member.bends])
@pytest.mark.parametrize("whole", [kind for kind, member in Registrar.members().items() if member.bends is False])
def test_what_moves_an_image_as_a_whole_comes_before_what_bends_it(whole: str, bending: str, stack: Stack) -> None:
    wrong = Pipeline.model_validate({"name": "wrong", "register": [{"kind": bending}, {"kind": whole}]})
    with pytest.raises(ValueError, match=f"got {whole} after {bending}; put {whole} first"):
        finish(wrong.run(stack, device="cpu"))
