"""The dock *Denoise and register* says how long a run will take, and begins where the last session ended."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton, QToolButton

from napari_denoisereg.steps import Progress, Steps
from napari_denoisereg.widgets import estimate_line, preferences
from napari_denoisereg.widgets.denoise_register_dock import DenoiseRegisterDock
from napari_denoisereg.widgets.preferences import Preferences, recall, remember


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Recipes that were tried on a corner."""
    names: list[str] = []

    def pretend(recipe: Any, stack: Any, device: str) -> Steps[float]:
        names.append(recipe.name)
        yield Progress(1, 1)
        return 1e-2 if recipe.name == "fast" else 2e-2

    monkeypatch.setattr(estimate_line, "trial", pretend)
    return names


@pytest.fixture
def open_dock(make_napari_viewer: Any, qtbot: Any, working_threads: Any, tried: list[str]) -> Iterator[Callable[[], Any]]:
    def opened() -> Any:
        viewer = make_napari_viewer()
        data = np.random.default_rng(0).normal(size=(4, 32, 40)).astype("f4")
        viewer.add_layer(Image(data, name="cells", contrast_limits=(-3, 3)))
        _, dock = viewer.window.add_plugin_dock_widget("napari-denoisereg", "Denoise and register")
        qtbot.waitUntil(dock._run.isEnabled, timeout=60_000)
        return dock

    yield opened
    qtbot.waitUntil(lambda: not working_threads(), timeout=5000)


def choose(qtbot: Any, box: Any, data: str) -> None:
    """Choose with the keyboard."""
    for _ in range(box.count()):
        qtbot.keyClick(box, Qt.Key.Key_Up)
    while box.currentData() != data:
        qtbot.keyClick(box, Qt.Key.Key_Down)


def test_estimate_follows_the_recipe_and_the_run_teaches_it(open_dock: Any, qtbot: Any, tried: list[str]) -> None:
    dock: DenoiseRegisterDock = open_dock()
    line = dock._estimate
    qtbot.waitUntil(lambda: "about 51 s and" in line.words(), timeout=5000)  # 4 × 32 × 40 × 0.01
    choose(qtbot, dock._recipes, "balanced")
    qtbot.waitUntil(lambda: "about 2 min and" in line.words(), timeout=5000)
    choose(qtbot, dock._recipes, "fast")
    qtbot.waitUntil(lambda: "about 51 s and" in line.words(), timeout=5000)
    assert tried == ["fast", "balanced"]
    with qtbot.waitSignal(dock._runner.finished, timeout=60_000):
        qtbot.mouseClick(next(b for b in dock.findChildren(QPushButton) if b.text() == "Run"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "51 s" not in line.words(), timeout=5000)
    assert len(recall("estimate/rates")) == 1
    dock._denoise.click()
    dock._register.click()
    assert line.isHidden()  # nothing to do, nothing to estimate


@pytest.mark.usefixtures("tried")
def test_recipe_and_device_are_remembered(open_dock: Any, qtbot: Any) -> None:
    dock = open_dock()
    assert dock._recipes.currentData() == "fast"
    assert recall("last/recipe") is None  # filling the boxes is no choice
    choose(qtbot, dock._recipes, "best")
    choose(qtbot, dock._device, "cpu")
    assert (recall("last/recipe"), recall("last/device")) == ("best", "cpu")
    again = open_dock()
    assert (again._recipes.currentData(), again._device.currentData()) == ("best", "cpu")


def test_a_preferred_recipe_comes_before_the_last_one(open_dock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    remember("last/recipe", "best")
    monkeypatch.setattr(preferences, "preferences", lambda: Preferences(recipe="balanced"))
    assert open_dock()._recipes.currentData() == "balanced"


def test_help_is_one_click_away(open_dock: Any) -> None:
    assert open_dock().findChild(QToolButton, "help").isEnabled()
