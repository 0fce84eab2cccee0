"""What napari reads before anything is imported."""

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Layer
from npe2 import PluginManifest

import napari_denoisereg
from napari_denoisereg.widgets import samples
from napari_denoisereg.widgets.layers import detect_axes

MANIFEST = Path(napari_denoisereg.__file__).with_name("napari.yaml")


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_file(MANIFEST)


def test_npe2_validates_the_manifest() -> None:
    npe2 = Path(sys.executable).with_name("npe2")
    finished = subprocess.run([npe2, "validate", str(MANIFEST)], capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_every_command_can_be_imported(manifest: PluginManifest) -> None:
    for command in manifest.contributions.commands:
        module, _, name = command.python_name.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_menus_and_widgets_name_commands_that_exist(manifest: PluginManifest) -> None:
    known = {command.id for command in manifest.contributions.commands}
    used = [item.command for items in manifest.contributions.menus.values() for item in items]
    used += [widget.command for widget in manifest.contributions.widgets]
    used += [each.command for each in manifest.contributions.sample_data]
    assert set(used) <= known
    assert {"napari/layers/filter", "napari/layers/register"} <= set(manifest.contributions.menus)


def test_opening_folders_is_left_to_other_plugins(manifest: PluginManifest) -> None:
    """A reader of folders matches every folder, and napari then asks every user which reader is meant."""
    assert not manifest.contributions.readers


@pytest.mark.parametrize("module", ["denoise_register_dock", "open_result"])
def test_importing_the_dock_does_not_import_torch(module: str) -> None:
    code = f"import sys, napari_denoisereg.widgets.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


@pytest.mark.parametrize(
    ("make", "axes", "kinds"), [(samples.nuclei_movie, "tyx", ["image", "points"]), (samples.serial_sections, "zyx", ["image"])]
)
@pytest.mark.slow
def test_samples_are_layers_in_real_units(make: Any, axes: str, kinds: list[str]) -> None:
    made = make()
    assert [kind for _, _, kind in made] == kinds
    layers = [Layer.create(*each) for each in made]
    assert detect_axes(layers[0]) == axes
    assert str(layers[0].units[-1]) == "micrometer"
    assert 8 <= layers[0].data.shape[0] <= 12
    for layer in layers[1:]:
        assert layer.scale.tolist() == layers[0].scale.tolist()
        first = layer.data[layer.data[:, 0] == 0]
        assert (first[:, 1:] > 0).all()
        assert (first[:, 1:] < np.array(layers[0].data.shape[1:])).all()
        assert set(layer.features["id"]) == set(range(len(first)))
