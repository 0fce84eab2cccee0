"""Recipes saved from the dock, and copied texts: both are executed and must give what the dock gives."""

import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.layers import Image
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QPushButton, QWidget

from napari_denoisereg import saved_recipes
from napari_denoisereg.cli import main
from napari_denoisereg.io import read, read_transforms
from napari_denoisereg.pipeline import load_recipe
from napari_denoisereg.register.registrar import Registrar
from napari_denoisereg.steps import finish
from napari_denoisereg.widgets import recipe_actions
from napari_denoisereg.widgets.denoise_register_dock import DenoiseRegisterDock
from napari_denoisereg.widgets.denoise_register_job import load_engine
from napari_denoisereg.widgets.layers import METADATA_KEY


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DENOISEREG_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list:
    shown: list = []
    monkeypatch.setattr(notification_manager, "dispatch", shown.append)
    return shown


@pytest.fixture
def open_dock(make_napari_viewer: Any, qtbot: Any, working_threads: Callable[[], list[str]]) -> Iterator[Any]:
    finish(load_engine())

    def opened(*paths: Path, layer: Image | None = None) -> tuple[Any, DenoiseRegisterDock]:
        viewer = make_napari_viewer()
        for path in paths:
            viewer.open(path, plugin="napari")
        if layer is not None:
            viewer.add_layer(layer)
        _, dock = viewer.window.add_plugin_dock_widget("napari-denoisereg", "Denoise and register")
        qtbot.waitUntil(lambda: not dock._runner.is_running, timeout=60_000)
        return viewer, dock

    yield opened
    qtbot.waitUntil(lambda: not working_threads(), timeout=5000)


@pytest.fixture
def movie_file(tmp_path: Path) -> Path:
    """A bright square that drifts, as a plain TIFF with a blank in its name."""
    random = np.random.default_rng(0)
    data = random.normal(100, 20, (5, 40, 48))
    for frame in range(5):
        data[frame, 8 + frame : 22 + frame, 14:30] += 200
    tifffile.imwrite(tmp_path / "my movie.tif", data.astype(np.uint16))
    return tmp_path / "my movie.tif"


def press(qtbot: Any, dock: QWidget, text: str) -> None:
    qtbot.mouseClick(next(each for each in dock.findChildren(QPushButton) if each.text() == text), Qt.MouseButton.LeftButton)


def work(qtbot: Any, dock: DenoiseRegisterDock, text: str) -> None:
    with qtbot.waitSignal(dock._runner.finished, timeout=60_000):
        press(qtbot, dock, text)


def copied(qtbot: Any, dock: DenoiseRegisterDock, what: str) -> str:
    clipboard = QGuiApplication.clipboard()
    clipboard.clear()
    work(qtbot, dock, f"Copy as {what}")
    return str(clipboard.text())


def fields(transforms: Any, grid: Any) -> np.ndarray:
    """Displacements of all frames, world units."""
    return np.stack([transform.displacement(grid).numpy() for transform in transforms])


@pytest.mark.parametrize("is_custom", [False, True])
def test_copied_texts_run_and_give_the_result_of_the_dock(
    open_dock: Any, qtbot: Any, movie_file: Path, is_custom: bool
) -> None:
    viewer, dock = open_dock(movie_file)
    layer = viewer.layers[0]
    layer.scale, layer.units = (30, 0.4, 0.2), ("second", "micrometer", "micrometer")
    if is_custom:
        recipe = load_recipe("fast")
        changed = Registrar.coerce({"kind": "affine", "motion": "translation", "finest": 1})
        dock.set_value(recipe.model_copy(update={"name": "custom", "registrars": (changed,), "denoise": None}))
    work(qtbot, dock, "Run")
    aligned = np.asarray(viewer.layers["my movie [aligned]"].data)
    registration = viewer.layers["my movie [displacement]"].metadata[METADATA_KEY]["registration"]
    expected = fields(registration.transforms, registration.grid)
    assert np.nanmax(np.abs(expected)) > 0.1

    text = copied(qtbot, dock, "Python")
    assert ("'fast'" in text) != is_custom
    spoken: dict[str, Any] = {}
    exec(compile(text, "copied", "exec"), spoken)
    np.testing.assert_array_equal(np.asarray(spoken["result"].aligned.data), aligned)
    np.testing.assert_array_equal(fields(spoken["result"].registration.transforms, registration.grid), expected)

    words = shlex.split(copied(qtbot, dock, "command"))
    assert words[0] == "denoisereg"
    assert main(words[1:]) == 0
    target = movie_file.with_name("my movie-result.zarr")
    np.testing.assert_array_equal(np.asarray(read(target / "aligned").data), aligned)
    found, grid = read_transforms(target / "transforms")
    assert grid.spacing == (0.4, 0.2)
    np.testing.assert_allclose(fields(found, registration.grid), expected, atol=1e-5)


@pytest.mark.slow
def test_copied_command_runs_in_a_shell(open_dock: Any, qtbot: Any, movie_file: Path) -> None:
    _, dock = open_dock(movie_file)
    text = copied(qtbot, dock, "command").replace("denoisereg", f"{shlex.quote(sys.executable)} -m napari_denoisereg.cli", 1)
    finished = subprocess.run(text, shell=True, capture_output=True, text=True, timeout=200)
    assert finished.returncode == 0, finished.stderr
    assert (movie_file.with_name("my movie-result.zarr") / "aligned").is_dir()


def test_layer_without_file_is_copied_for_the_console(open_dock: Any, qtbot: Any, told: list) -> None:
    data = np.random.default_rng(0).normal(100, 9, (4, 32, 32)).astype(np.float32)
    viewer, dock = open_dock(layer=Image(data, name="it's", contrast_limits=(0, 200)))
    dock._register.click()
    work(qtbot, dock, "Run")
    spoken = {"viewer": viewer}
    exec(compile(copied(qtbot, dock, "Python"), "copied", "exec"), spoken)
    np.testing.assert_array_equal(spoken["result"].denoised.data, viewer.layers["it's [denoised]"].data)  # type: ignore[attr-defined]
    assert copied(qtbot, dock, "command") == ""
    assert "needs a file" in told[-1].message


@pytest.mark.parametrize("is_file", [False, True])
def test_texts_for_a_single_image_run_and_give_an_image(open_dock: Any, qtbot: Any, tmp_path: Path, is_file: bool) -> None:
    path, image = tmp_path / "image.tif", np.random.default_rng(0).normal(100, 9, (32, 40)).astype(np.float32)
    tifffile.imwrite(path, image)
    viewer, dock = open_dock(path) if is_file else open_dock(layer=Image(image, name="image", contrast_limits=(0, 200)))
    viewer.layers[0].scale = (0.5, 0.25)
    work(qtbot, dock, "Run")
    clean = viewer.layers["image [denoised]"].data
    assert clean.shape == image.shape
    spoken: dict[str, Any] = {"viewer": viewer}
    exec(compile(copied(qtbot, dock, "Python"), "copied", "exec"), spoken)
    np.testing.assert_array_equal(spoken["result"].denoised.frame(0), clean)
    assert spoken["result"].denoised.grid.spacing == (0.5, 0.25)
    if is_file:
        assert main(shlex.split(copied(qtbot, dock, "command"))[1:]) == 0
        result = read(tmp_path / "image-result.zarr" / "denoised")
        np.testing.assert_array_equal(result.frame(0), clean)
        assert (result.outer_axes, result.grid.spacing) == ("yx", (0.5, 0.25))


def test_edited_layer_is_not_taken_for_its_file(open_dock: Any, qtbot: Any, movie_file: Path) -> None:
    viewer, dock = open_dock(movie_file)
    viewer.layers[0].data = np.asarray(viewer.layers[0].data)[:, ::-1].copy()
    assert "viewer.layers" in copied(qtbot, dock, "Python")


def test_recipe_is_saved_and_offered_again(open_dock: Any, qtbot: Any, monkeypatch: Any, told: list, home: Path) -> None:
    _, dock = open_dock(layer=Image(np.random.default_rng(0).normal(size=(4, 32, 32)), name="cells"))
    dock._register.click()
    monkeypatch.setattr(recipe_actions, "ask_name", lambda *_: None)
    press(qtbot, dock, "Save…")
    assert not home.exists()
    monkeypatch.setattr(recipe_actions, "ask_name", lambda *_: "best")
    press(qtbot, dock, "Save…")
    assert "comes with the program" in told[-1].message
    monkeypatch.setattr(recipe_actions, "ask_name", lambda *_: "quiet")
    press(qtbot, dock, "Save…")
    assert dock._recipes.currentData() == "quiet"
    assert dock.value() == load_recipe("quiet")
    assert not load_recipe("quiet").registrars
    monkeypatch.setattr(recipe_actions, "ask_replace", lambda *_: False)
    dock._recipes.setCurrentIndex(dock._recipes.findData("balanced"))
    press(qtbot, dock, "Save…")
    assert not load_recipe("quiet").registrars
    monkeypatch.setattr(recipe_actions, "ask_replace", lambda *_: True)
    press(qtbot, dock, "Save…")
    assert load_recipe("quiet").registrars == load_recipe("balanced").registrars
    names = [dock._recipes.itemData(place) for place in range(dock._recipes.count())]
    assert names[:3] == ["fast", "balanced", "best"]
    assert names[-2:] == ["quiet", "custom"]


def test_saved_recipe_is_there_in_the_next_session(open_dock: Any, told: list) -> None:
    saved_recipes.save(load_recipe("best").to_dict(), "mine")
    (saved_recipes.home() / "recipes" / "broken.json").write_text("{")
    _, dock = open_dock()
    assert dock._recipes.findData("mine") == dock._recipes.findData("custom") - 1
    assert dock._recipes.findData("broken") < 0
    assert any("'broken' cannot be used" in each.message for each in told)
