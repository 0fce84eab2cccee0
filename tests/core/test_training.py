"""Training: two curves, the best weights kept, stopped at will, gone on with after a crash as if nothing had happened."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_denoisereg.denoise import Denoiser
from napari_denoisereg.denoise.noise2void import Noise2Void
from napari_denoisereg.model import Model, load
from napari_denoisereg.register.denoisereg import DenoiseReg
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Pace, Progress, finish, portion
from napari_denoisereg.training import Training, saved_on_the_way

METHOD = Noise2Void(iterations=24, every=4, patch=16, batch=2)


def movie(seed: int = 0) -> Stack:
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:40, :40]
    clean = np.stack([200 + 100 * np.sin((x + t) / 4) * np.cos(y / 5) for t in range(8)])
    return Stack((clean + random.normal(0, 40, clean.shape)).astype(np.float32), "tyx", name="waves")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work yields after every iteration."""
    monkeypatch.setattr(Pace, "is_due", lambda self, last=False: True)


def assert_equal_weights(one: Model, two: Model) -> None:
    assert one.weights.keys() == two.weights.keys()
    for name, weight in one.weights.items():
        assert torch.equal(weight, two.weights[name]), name


@pytest.mark.usefixtures("impatient")
def test_both_losses_are_told_and_the_best_is_returned() -> None:
    seen = list[Progress]()
    model = finish(METHOD.fit([movie()]), seen.append)
    training: Training = seen[-1].training
    assert len(seen) == len(training.losses) == 24
    assert [iteration for iteration, _ in training.validation] == [4, 8, 12, 16, 20, 24]
    assert "validation" not in seen[2].figures
    assert seen[-1].figures["validation"] == training.validation[-1][1]
    figures = dict(training.validation)
    assert model.provenance["validation"] == min(figures.values())
    assert figures[model.provenance["iterations"]] == min(figures.values())
    assert model.provenance["iterations_in_all"] == 24
    assert {name: kept.provenance["iterations"] for name, kept in training.kept.items() if name != "best"} == {
        "early": 4,
        "middle": 12,
    }
    assert_equal_weights(training.kept["best"], model)


@pytest.mark.usefixtures("impatient")
def test_stopping_gives_the_best_so_far() -> None:
    steps = portion(METHOD.fit([movie()]), 0.2, 0.8)
    seen = list[Progress]()
    try:
        while True:
            seen.append(next(steps))
            if len(seen) == 10:
                seen[-1].training.stop()
    except StopIteration as end:
        model = end.value
    assert model.provenance["iterations_in_all"] == 10
    assert model.provenance["iterations"] in (4, 8, 10)
    assert model.provenance["stopped"]
    assert seen[-1].fraction == pytest.approx(0.8)


@pytest.mark.parametrize("method", [METHOD, DenoiseReg(iterations=6, every=2, patch=16, batch=1, size=32)])
@pytest.mark.usefixtures("impatient")
def test_an_interrupted_training_goes_on_bit_by_bit(method: Noise2Void | DenoiseReg, tmp_path: Path) -> None:
    whole = finish(method.fit([movie()]))
    steps = method.fit([movie()])
    seen = [next(steps) for _ in range(3)]
    seen[-1].training.unfinished().save(tmp_path / "crashed")
    steps.close()
    left = load(tmp_path / "crashed", (Denoiser, type(method).__mro__[1]))
    seen.clear()
    after = finish(method.fit([movie()], start=left), seen.append)
    assert seen[0].training.is_resumed
    assert seen[0].figures["iteration"] == 4
    assert_equal_weights(after, whole)
    assert after.provenance["validation"] == whole.provenance["validation"]


CRASHING = """
import sys
sys.path.insert(0, {tests!r})
from test_training import METHOD, movie
from napari_denoisereg.steps import finish
from napari_denoisereg.training import saved_on_the_way
import time

def tell(progress):
    print(progress.figures["iteration"], flush=True)
    time.sleep(0.12)

finish(saved_on_the_way(METHOD.fit([movie()]), {path!r}, interval=0.0), tell)
"""


@pytest.mark.slow
def test_a_killed_process_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "waves.model"
    code = CRASHING.format(tests=str(Path(__file__).parent), path=str(path))
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if path.exists() and int(line) >= 6:
            break
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()
    left = load(path, (Denoiser,))
    assert left.unfinished is not None
    assert 0 < left.unfinished.record["share"] < 1
    assert_equal_weights(finish(METHOD.fit([movie()], start=left)), finish(METHOD.fit([movie()])))


@pytest.mark.usefixtures("impatient")
def test_only_a_crash_leaves_the_file(tmp_path: Path) -> None:
    steps = saved_on_the_way(METHOD.fit([movie()]), tmp_path / "a.model", interval=0.0)
    for _ in range(3):
        next(steps)
    assert (tmp_path / "a.model").exists()
    steps.close()
    assert list(tmp_path.iterdir()) == []
    finish(saved_on_the_way(METHOD.fit([movie()]), tmp_path / "a.model", interval=0.0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("impatient")
def test_other_data_or_settings_start_afresh_from_the_weights() -> None:
    steps = METHOD.fit([movie()])
    left = [next(steps) for _ in range(5)][-1].training.unfinished()
    steps.close()
    for method, stack, is_resumed in (
        (METHOD, movie(1), False),
        (METHOD.model_copy(update={"learning_rate": 1e-3}), movie(), False),
        (METHOD.model_copy(update={"iterations": 30}), movie(), True),
    ):
        steps = method.fit([stack], start=left)
        first = next(steps)
        steps.close()
        assert first.training.is_resumed == is_resumed
        assert first.figures["iteration"] == (6 if is_resumed else 1)


def test_pauses_do_not_use_up_the_budget() -> None:
    import time

    method = METHOD.model_copy(update={"iterations": 10**6, "seconds": 0.5})
    steps = method.fit([movie()])
    next(steps)
    time.sleep(0.7)
    assert next(steps).fraction < 1
    steps.close()


def test_a_finished_model_is_small(tmp_path: Path) -> None:
    model = finish(METHOD.fit([movie()]))
    assert model.unfinished is None
    model.save(tmp_path / "done")
    assert (tmp_path / "done").stat().st_size < 1.05 * sum(w.numel() * w.element_size() for w in model.weights.values())
