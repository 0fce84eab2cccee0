"""How long and how much, before the run."""

from typing import Any

import dask.array as da
import numpy as np
import pytest

from napari_denoisereg import device as devices
from napari_denoisereg.pipeline import Pipeline, presets
from napari_denoisereg.register import Registrar
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Progress, Steps, finish
from napari_denoisereg.widgets import estimate_line
from napari_denoisereg.widgets.estimate import estimate, rate_key, rest_rate, size_in_words, timed, trial
from napari_denoisereg.widgets.estimate_line import EstimateLine
from napari_denoisereg.widgets.preferences import recall


def stack(shape: tuple[int, ...] = (5, 64, 64), axes: str = "tyx") -> Stack:
    return Stack(np.random.default_rng(0).normal(size=shape).astype("f4"), axes=axes)


def huge(shape: tuple[int, ...] = (4000, 2048, 2048), axes: str = "tyx") -> Stack:
    """64 GB that nobody may read."""

    def read(*_: Any) -> np.ndarray:
        raise AssertionError("an estimate read the data")

    chunks = tuple((1,) * n if axis == 0 else (n,) for axis, n in enumerate(shape))
    return Stack(da.map_blocks(read, chunks=chunks, dtype="f4", meta=np.zeros((0,) * len(shape), "f4")), axes=axes)


def training() -> Pipeline:
    """A recipe whose network is trained for a minute."""
    return Pipeline.model_validate({"name": "n2v", "denoise": {"kind": "noise2void", "seconds": 60}, "register": ["affine"]})


def test_training_takes_its_budget_and_the_rest_grows_with_the_voxels() -> None:
    recipe = training()
    small, large = stack((10, 64, 64)), stack((20, 64, 64))
    assert estimate(recipe, small, 1e-5).seconds == pytest.approx(60 + 10 * 64 * 64 * 1e-5)
    assert estimate(recipe, large, 1e-5).seconds == pytest.approx(60 + 20 * 64 * 64 * 1e-5)
    assert estimate(recipe, small, None).seconds is None


def test_each_channel_is_denoised_by_itself() -> None:
    recipe = training()
    assert estimate(recipe, stack((10, 3, 64, 64), "tcyx"), 0.0).seconds == 180


def test_what_a_run_took_gives_its_estimate_back() -> None:
    recipe, movie = training(), stack()
    assert estimate(recipe, movie, rest_rate(recipe, movie, 75.0)).seconds == pytest.approx(75.0)
    assert rest_rate(recipe, movie, 1.0) == 0.0


def test_same_methods_share_a_rate_whatever_their_budget() -> None:
    first = training()
    longer = first.model_copy(update={"denoise": first.denoise.model_copy(update={"seconds": 600.0})})
    assert rate_key(first, stack(), "cpu") == rate_key(longer, stack((9, 80, 80)), "cpu")
    assert rate_key(first, stack(), "cpu") != rate_key(presets()["fast"], stack(), "cpu")
    assert rate_key(first, stack(), "cpu") != rate_key(first, stack(), "cuda")
    assert rate_key(first, stack(), "cpu") != rate_key(first, stack((3, 8, 64, 64), "tzyx"), "cpu")


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "axes"), [((6, 200, 200), "tyx"), ((4, 2, 64, 64), "tcyx"), ((5, 64, 64), "zyx")])
def test_a_corner_is_tried(shape: tuple[int, ...], axes: str) -> None:
    recipe = presets()["fast"].model_copy(update={"channel": 1 if "c" in axes else 0})
    assert 0 < finish(trial(recipe, stack(shape, axes), "cpu")) < 1e-3


def test_large_results_go_to_disk_and_small_disks_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "free_memory", lambda device=None: 32 * 10**9)
    guess = estimate(presets()["fast"], huge(), 1e-8)
    assert guess.disk == 4 * 4000 * 2048**2
    assert guess.memory < 32e9
    assert "temporary folder" in guess.remark()
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("usage", (), {"free": 10**9}))
    assert "set TMPDIR" in estimate(presets()["fast"], huge(), 1e-8).warning()


def test_too_little_memory_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "free_memory", lambda device=None: 10**9)
    warning = estimate(presets()["fast"], huge((4, 300, 2048, 2048), "tzyx"), 1e-8).warning()
    assert "1.0 GB" in warning
    assert "crop" in warning
    assert estimate(presets()["fast"], stack(), 1e-8).warning() == ""


def test_registration_alone_has_no_result_in_memory() -> None:
    only = Pipeline(register=[Registrar.coerce({"kind": "affine"})])
    assert estimate(only, huge(), 0.0).disk == 0


@pytest.mark.parametrize(("size", "words"), [(3e6, "10 MB"), (123e6, "120 MB"), (1.24e9, "1.2 GB"), (4e10, "40 GB")])
def test_sizes_in_words(size: float, words: str) -> None:
    assert size_in_words(size) == words


def test_pauses_do_not_count() -> None:
    def work() -> Steps[str]:
        for number in range(3):
            yield Progress(number, 3)
        return "done"

    import time

    result, seconds = finish(timed(work()), lambda _: time.sleep(0.05))
    assert result == "done"
    assert seconds < 0.05


def test_line_tries_once_then_knows(qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def pretend(recipe: Any, movie: Any, device: str) -> Steps[float]:
        tried.append(device)
        yield Progress(1, 1)
        return 1e-3

    monkeypatch.setattr(estimate_line, "trial", pretend)
    line = EstimateLine()
    qtbot.addWidget(line)
    line._timer.setInterval(1)
    assert line.isHidden()
    recipe, movie = presets()["fast"], stack()
    line.set_job(recipe, movie, "cpu")
    qtbot.waitUntil(lambda: "about 20 s" in line.words(), timeout=3000)
    line.set_job(None, None, "cpu")
    assert line.isHidden()
    line.set_job(recipe, stack((50, 64, 64)), "cpu")
    qtbot.waitUntil(lambda: "3 min" in line.words(), timeout=3000)
    assert tried == ["cpu"]
    line.learn(recipe, movie, "cpu", 2.0)
    assert "about 20 s" in line.words()  # 50 frames take ten times as long as the 5 that took 2 s
    assert recall("estimate/rates")[rate_key(recipe, movie, "cpu")] == pytest.approx(2.0 / movie.data.size)
    line.close_down()


def test_line_stands_back_and_failures_are_no_alarm(qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Steps[float]:
        yield Progress(0, 1)
        raise ValueError("Frame 0 is constant")

    monkeypatch.setattr(estimate_line, "trial", fail)
    line = EstimateLine()
    qtbot.addWidget(line)
    line._timer.setInterval(1)
    line.set_job(presets()["fast"], stack(), "cpu")
    qtbot.waitUntil(lambda: "time is not known" in line.words(), timeout=3000)
    line.set_job(training(), stack(), "cpu")
    line.stand_back()
    assert not line._timer.isActive()
    line.close_down()
