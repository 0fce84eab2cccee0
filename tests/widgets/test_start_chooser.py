"""Manual help in the dock: a registration that loses track alone goes on from transforms of the session."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Points
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from scipy import ndimage

from napari_denoisereg.geometry import Grid, Identity, PerFrame, Translation
from napari_denoisereg.register import Registration
from napari_denoisereg.steps import Progress, Steps, finish
from napari_denoisereg.widgets.denoise_register_dock import DenoiseRegisterDock
from napari_denoisereg.widgets.denoise_register_job import load_engine
from napari_denoisereg.widgets.layers import METADATA_KEY
from napari_denoisereg.widgets.transforms_list import Known, known_on
from napari_denoisereg.widgets.transforms_session import kept

SHIFTS = np.array([(0, 0), (14, -18), (-15, 17), (16, 15)], float)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list:
    shown: list = []
    monkeypatch.setattr(notification_manager, "dispatch", shown.append)
    return shown


@pytest.fixture
def opened(make_napari_viewer: Any, qtbot: Any, working_threads: Callable[[], list[str]]) -> Iterator[Any]:
    """A movie of jumps, the dock with Denoise off, and *Advanced* open."""
    finish(load_engine())
    viewer = make_napari_viewer()
    base = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(128, 128)), 3)
    frames = np.stack([ndimage.shift(base, shift, order=1)[32:96, 32:96] for shift in SHIFTS]).astype(np.float32)
    place = {"scale": (1, 0.5, 0.5), "translate": (0, 7, -3), "units": ("s", "um", "um"), "axis_labels": ("t", "y", "x")}
    layer = viewer.add_layer(Image(frames, name="jumps", **place))
    _, dock = viewer.window.add_plugin_dock_widget("napari-denoisereg", "Denoise and register")
    qtbot.waitUntil(lambda: not dock._runner.is_running, timeout=60_000)
    dock._denoise.click()
    qtbot.mouseClick(dock._advanced.toggleButton(), Qt.MouseButton.LeftButton)
    yield viewer, layer, dock
    qtbot.waitUntil(lambda: not working_threads(), timeout=5000)


def choose(dock: DenoiseRegisterDock, number: int) -> None:
    dock._start._choice.showPopup()
    dock._start._choice.setCurrentIndex(number)
    dock._start._choice.hidePopup()


def run(qtbot: Any, dock: DenoiseRegisterDock) -> None:
    with qtbot.waitSignal(dock._runner.finished, timeout=60_000):
        qtbot.mouseClick(dock._run, Qt.MouseButton.LeftButton)


def error(viewer: Any) -> float:
    """Largest distance from the truth, px."""
    found = viewer.layers[-1].metadata[METADATA_KEY]["registration"]
    middle = np.array([[16.0, 16.0]])
    return max(float(np.abs((found.points(t, middle) - middle) / 0.5 - SHIFTS[t]).max()) for t in range(4))


def never_again(stack: Any, found: PerFrame, *_: Any, **__: Any) -> Steps[tuple[PerFrame, dict[int, str]]]:
    """Lost frames stay lost."""
    yield Progress(1, 1)
    return found, {}


def test_registration_goes_on_from_the_chosen_start(
    opened: Any, qtbot: Any, told: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_denoisereg.register.stacks.retry", never_again)
    viewer, layer, dock = opened
    run(qtbot, dock)
    assert error(viewer) > 5
    grid = Grid((64, 64), (0.5, 0.5), (), ("micrometer",) * 2)
    rough = Registration(PerFrame([Identity(2), *(Translation((shift * 0.5 + 0.4).tolist()) for shift in SHIFTS[1:])]), grid)
    kept(viewer).append(known_on(layer, rough, "tyx", "by hand"))
    kept(viewer).append(Known("short", Registration(PerFrame([Identity(2)] * 2), grid)))
    choose(dock, 2)  # after the one that the first run found
    assert dock._start._choice.currentText() == "by hand"
    run(qtbot, dock)
    assert error(viewer) < 0.3
    dock._actions.findChildren(type(dock._run))[0].click()
    assert "'Nothing known'" in told[-1].message
    count = len(viewer.layers)
    dock._start._choice.setCurrentIndex(dock._start._choice.findText("short"))
    qtbot.mouseClick(dock._run, Qt.MouseButton.LeftButton)
    assert "has transforms for 2" in told[-1].message
    assert len(viewer.layers) == count


def test_registration_is_pulled_by_the_chosen_keypoints(
    opened: Any, qtbot: Any, told: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_denoisereg.register.stacks.retry", never_again)
    viewer, layer, dock = opened
    places = np.array([[25.0, 25.0], [40, 40], [24, 41], [38, 22]])
    marks = np.concatenate([np.insert(places + shift, 0, frame, axis=1) for frame, shift in enumerate(SHIFTS)])
    where = {"scale": layer.scale, "translate": layer.translate, "units": layer.units}
    plain = Points(marks, name="no ids", **where)
    good = Points(marks, name="marks", features={"id": np.tile(np.arange(4), len(SHIFTS))}, **where)
    viewer.add_layer(plain)
    viewer.add_layer(good)
    choice = dock._guide._choice
    assert choice.toolTip()
    choice.showPopup()
    choice.hidePopup()
    choice.setCurrentIndex(choice.findText("no ids"))
    qtbot.mouseClick(dock._run, Qt.MouseButton.LeftButton)
    assert "does not say which points belong together" in told[-1].message
    choice.setCurrentIndex(choice.findText("marks"))
    run(qtbot, dock)
    assert error(viewer) < 0.3
    dock._recipes.setCurrentIndex(dock._recipes.findData("cells"))
    run(qtbot, dock)
    assert "keypoints can guide (affine, elastic, pose), got patches" in told[-1].message
    assert "got patches" in dock._runner._line.text()
    before = len(told)
    dock._recipes.setCurrentIndex(dock._recipes.findData("balanced"))  # which begins with a search of the pose
    run(qtbot, dock)
    assert error(viewer) < 0.3
    assert not any("keypoints" in each.message for each in told[before:])
    dock._actions.findChildren(type(dock._run))[0].click()
    assert "'No keypoints'" in told[-1].message
    viewer.layers.remove("marks")
    qtbot.mouseClick(dock._run, Qt.MouseButton.LeftButton)
    assert "was removed" in told[-1].message
