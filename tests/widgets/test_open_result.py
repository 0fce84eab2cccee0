"""Results on disk come back as the layers that the dock shows, by a command of the menu File."""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr
from napari.layers import Layer
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_denoisereg import io
from napari_denoisereg.geometry import Identity, PerFrame, Translation
from napari_denoisereg.pipeline import Pipeline, Result
from napari_denoisereg.register import Registration
from napari_denoisereg.results import write_result
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Progress, Steps, finish
from napari_denoisereg.widgets import open_result
from napari_denoisereg.widgets.denoise_register_job import load_engine
from napari_denoisereg.widgets.layers import METADATA_KEY
from napari_denoisereg.widgets.open_result import DOCK
from napari_denoisereg.widgets.saved_result import is_result, read_layers

RECIPE = Pipeline(denoise={"kind": "gaussian"}, register=({"kind": "affine"},), name="mine")
PLACE = {"t": (60.0, 0.0, "second"), "c": (1.0, 0.0, "pixel"), "y": (0.5, 3.0, "micrometer"), "x": (0.25, -2.0, "micrometer")}


def write(path: Path, axes: str = "tyx", **parts: Any) -> Result:
    shape = tuple({"t": 4, "c": 2, "y": 24, "x": 32}[axis] for axis in axes)
    values = np.random.default_rng(0).normal(100, 10, shape).astype(np.float32)
    spacing, origin, units = zip(*(PLACE[axis] for axis in axes), strict=True)
    movie = Stack(values, axes, spacing, origin, units, name="cells")
    shifts = PerFrame([Identity(2), *(Translation([0.5 * t, 0.25 * t]) for t in range(1, 4))])
    quality = {"before": np.array([1, 0.5, 0.4, np.nan]), "after": np.array([1, 0.9, 0.8, 0.1])}
    registration = Registration(shifts, movie.grid, quality, flagged=(3,), reasons={3: "it looks lost"})
    denoised = movie.with_data(values + 1, name="cells [denoised]")
    result = Result(RECIPE, denoised, registration, registration.warp(movie))
    finish(write_result(replace(result, **parts), path))
    return result


def layers_of(path: Path) -> dict[str, Layer]:
    layers = [Layer.create(*each) for each in finish(read_layers(path))]
    return {layer.name: layer for layer in layers}


@pytest.mark.parametrize("axes", ["tyx", "tcyx"])
def test_a_result_opens_as_the_layers_of_the_dock(tmp_path: Path, axes: str) -> None:
    result = write(tmp_path / "out.zarr", axes)
    layers = layers_of(tmp_path / "out.zarr")
    assert list(layers) == ["cells [denoised]", "cells [aligned]", "cells [displacement]"]
    for name, stack in (("denoised", result.denoised), ("aligned", result.aligned)):
        layer = layers[f"cells [{name}]"]
        assert isinstance(layer.data, da.Array)
        np.testing.assert_array_equal(np.asarray(layer.data), np.asarray(stack.data))
        assert layer.metadata[METADATA_KEY]["result"] == name
        low, high = layer.contrast_limits
        assert low < np.median(np.asarray(layer.data)) < high
    spacing, origin, units = zip(*(PLACE[axis] for axis in axes), strict=True)
    for layer in layers.values():
        np.testing.assert_allclose(layer.scale, spacing)
        np.testing.assert_allclose(layer.translate, origin)
        assert tuple(map(str, layer.units)) == units
        assert layer.axis_labels == tuple(axes)
        assert Pipeline.coerce(layer.metadata[METADATA_KEY]["recipe"]) == RECIPE
    assert not layers["cells [displacement]"].visible
    registration = layers["cells [displacement]"].metadata[METADATA_KEY]["registration"]
    assert (registration.flagged, registration.reasons) == ((3,), {3: "it looks lost"})
    np.testing.assert_array_equal(registration.quality["before"], result.registration.quality["before"])
    np.testing.assert_allclose(registration.displacement(3), result.registration.displacement(3), atol=1e-6)


def test_a_result_of_denoising_one_image_opens_as_an_image(tmp_path: Path) -> None:
    image = Stack.of_image(np.random.default_rng(0).normal(size=(24, 32)).astype("f4"), name="cell [denoised]")
    write(tmp_path / "out.zarr", denoised=image, registration=None, aligned=None)
    layers = layers_of(tmp_path / "out.zarr")
    assert list(layers) == ["cell [denoised]"]
    assert layers["cell [denoised]"].data.shape == (24, 32)


def test_other_folders_are_refused_in_words(tmp_path: Path) -> None:
    io.write(Stack(np.zeros((2, 8, 8), "u1"), "tyx"), tmp_path / "image.ome.zarr")
    group = zarr.create_group(tmp_path / "theirs.zarr")
    group.create_group("aligned")
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken.zarr").mkdir()
    (tmp_path / "broken.zarr" / "zarr.json").write_text("{")
    (tmp_path / "file.zarr").write_text("{}")
    for path in (*tmp_path.iterdir(), tmp_path / "nowhere.zarr"):
        assert not is_result(path)
        with pytest.raises(ValueError, match=r"no result of denoisereg.*File > Open Folder"):
            layers_of(path)


def without_chunk(path: Path) -> None:
    shutil.rmtree(path / "aligned" / "0" / "c" / "2")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_chunk, "aligned is not complete: 1 of 4 chunks are missing"),
        (lambda path: (path / "zarr.json").unlink(), "its zarr.json is missing or cut off"),
        (lambda path: (path / "zarr.json").write_text('{"attri'), "its zarr.json is missing or cut off"),
        (lambda path: (path / "denoised" / "zarr.json").unlink(), "its metadata is lost"),
        (lambda path: (path / "transforms" / "zarr.json").write_text("{}"), "holds no transforms"),
        (lambda path: [shutil.rmtree(path / name) for name in ("aligned", "denoised")], "its images are missing"),
    ],
)
def test_a_result_that_lost_something_is_refused_in_words(tmp_path: Path, spoil: Callable[[Path], Any], words: str) -> None:
    path = tmp_path / "out.zarr"
    write(path)
    spoil(path)
    assert is_result(path)
    with pytest.raises(ValueError, match=words):
        layers_of(path)


def test_a_recipe_of_another_version_does_not_hide_the_images(tmp_path: Path) -> None:
    write(tmp_path / "out.zarr")
    group = zarr.open_group(tmp_path / "out.zarr")
    group.attrs[METADATA_KEY] = {"recipe": {"denoise": {"kind": "of tomorrow"}}}
    with pytest.warns(UserWarning, match="its images are fine"):
        assert "cells [aligned]" in layers_of(tmp_path / "out.zarr")


def test_results_of_objects_say_what_they_hold(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "out.zarr").attrs[METADATA_KEY] = {"objects": {"1": [0, 1]}}
    with pytest.raises(ValueError, match="motion of each object"):
        layers_of(tmp_path / "out.zarr")


# --------------------------------------------------------------------------------------------- as the user does it
@pytest.fixture
def viewer(make_napari_viewer: Any, qtbot: Any, working_threads: Callable[[], list[str]]) -> Iterator[Any]:
    finish(load_engine())
    yield make_napari_viewer()
    qtbot.waitUntil(lambda: not working_threads(), timeout=5000)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    shown: list[Any] = []
    monkeypatch.setattr(notification_manager, "dispatch", shown.append)
    return shown


@pytest.fixture
def choose(viewer: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path | None], None]:
    """Choose the command in the menu File, and a folder in its dialog; None to change one's mind."""

    def choose(folder: Path | None) -> None:
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: "" if folder is None else str(folder))
        menu = viewer.window.file_menu
        for title in ("IO Utilities", "Open a result of denoisereg"):
            menu.aboutToShow.emit()
            (entry,) = [each for each in menu.actions() if each.text().startswith(title)]
            menu = entry.menu()
        assert entry.isEnabled()
        entry.trigger()

    return choose


def test_the_menu_file_opens_a_result(
    viewer: Any, qtbot: Any, choose: Callable[..., None], told: list[Any], tmp_path: Path
) -> None:
    result = write(tmp_path / "out.zarr")
    choose(None)
    assert DOCK not in viewer.window.dock_widgets
    for expected in (3, 6):  # the second time with the dock that is there
        choose(tmp_path / "out.zarr")
        runner = viewer.window.dock_widgets[DOCK].runner
        assert runner.is_running
        qtbot.waitUntil(lambda runner=runner: not runner.is_running, timeout=20_000)
        assert len(viewer.layers) == expected
        assert viewer.window.dock_widgets[DOCK].parentWidget().isHidden()
    assert [layer.name for layer in viewer.layers][:3] == ["cells [denoised]", "cells [aligned]", "cells [displacement]"]
    np.testing.assert_array_equal(np.asarray(viewer.layers["cells [aligned]"].data), np.asarray(result.aligned.data))
    assert not told


def test_a_folder_that_is_no_result_is_named(
    viewer: Any, qtbot: Any, choose: Callable[..., None], told: list[Any], tmp_path: Path
) -> None:
    choose(tmp_path)
    qtbot.waitUntil(lambda: bool(told), timeout=20_000)
    assert f"{tmp_path} is no result of denoisereg" in told[-1].message
    dock = viewer.window.dock_widgets[DOCK]
    assert not dock.parentWidget().isHidden()
    assert told[-1].message in dock.runner._line.text()
    assert not viewer.layers


def test_cancel_and_closing_the_dock_stop_the_reading(
    viewer: Any, qtbot: Any, choose: Callable[..., None], told: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log: list[str] = []

    def slow(_: Path) -> Steps[Any]:
        try:
            for number in range(1000):
                time.sleep(0.01)
                log.append("read")
                yield Progress(number, 1000, "pretending")
        finally:
            log.append("closed")

    monkeypatch.setattr(open_result, "read_layers", slow)
    choose(tmp_path)
    qtbot.waitUntil(lambda: "read" in log)
    choose(tmp_path)
    assert "One result at a time" in told[-1].message
    dock = viewer.window.dock_widgets[DOCK]
    with qtbot.waitSignal(dock.runner.finished, timeout=5000):
        qtbot.mouseClick(dock.runner._cancel, Qt.MouseButton.LeftButton)
    assert log[-1] == "closed"
    choose(tmp_path)
    qtbot.waitUntil(lambda: log[-1] == "read")
    viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(lambda: log[-1] == "closed")
    assert not viewer.layers
