"""Settings that outlive a session."""

import os
from pathlib import Path
from typing import Any

import pytest
from npe2 import PluginManifest

import napari_denoisereg
from napari_denoisereg.device import free_memory
from napari_denoisereg.io.library import Library
from napari_denoisereg.saved_recipes import PRESETS
from napari_denoisereg.steps import Progress, Steps
from napari_denoisereg.widgets import preferences as module
from napari_denoisereg.widgets.device_chooser import NAMES
from napari_denoisereg.widgets.preferences import (
    LAST_USED,
    Preferences,
    apply_preferences,
    first_choice,
    limit_threads,
    preferences,
    recall,
    remember,
)
from napari_denoisereg.widgets.worker import worker_for

MANIFEST = Path(napari_denoisereg.__file__).with_name("napari.yaml")


def test_page_of_napari_has_the_same_settings_and_defaults() -> None:
    work = PluginManifest.from_file(MANIFEST).contributions.configurations["work"]
    assert {name: entry.default for name, entry in work.properties.items()} == vars(Preferences())
    assert all(entry.description.endswith(".") for entry in work.properties.values())


def test_preferences_are_read_from_napari(plugin_settings: Any, npe2pm: Any) -> None:
    from napari.settings import get_plugin_settings

    assert preferences() == Preferences()  # the plugin is not there
    npe2pm.register(PluginManifest.from_file(MANIFEST))
    page = get_plugin_settings("napari-denoisereg")
    page.work.recipe = "balanced"
    page.work.threads = 3
    page.work.memory = 2.5
    assert preferences() == Preferences(recipe="balanced", threads=3, memory=2.5)


def test_older_napari_has_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("napari.settings.get_plugin_settings")
    assert preferences() == Preferences()


def test_engine_is_told_but_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DENOISEREG_MODELS", "DENOISEREG_MEMORY"):
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    apply_preferences(Preferences())
    assert "DENOISEREG_MODELS" not in os.environ
    for written in ("/elsewhere/models", "models", "~/models"):
        monkeypatch.delenv("DENOISEREG_MODELS", raising=False)
        apply_preferences(Preferences(models=written, memory=2.0))
        assert os.environ["DENOISEREG_MODELS"] == str(Path.home() / written.removeprefix("~/"))
    assert os.environ["DENOISEREG_MODELS"] == str(Path.home() / "models")
    apply_preferences(Preferences(memory=3.0))
    assert os.environ["DENOISEREG_MEMORY"] == "2000000000"


def test_page_of_napari_offers_what_there_is() -> None:
    work = PluginManifest.from_file(MANIFEST).contributions.configurations["work"]
    assert work.properties["recipe"].enum == [LAST_USED, *PRESETS]
    assert work.properties["device"].enum == [LAST_USED, *NAMES]


def test_every_job_knows_the_preferences(qtbot: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whichever dock or command comes first, and for cores also after a change."""
    import torch

    for name in ("DENOISEREG_MODELS", "DENOISEREG_MEMORY"):
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    found: list[tuple[int, int, Path]] = []

    def look() -> Steps[None]:
        yield Progress(0, 1)
        found.append((torch.get_num_threads(), free_memory(), Library().folder))

    for threads in (2, 1, 10**6):
        chosen = Preferences(models=str(tmp_path), threads=threads, memory=2.5)
        monkeypatch.setattr(module, "preferences", lambda chosen=chosen: chosen)
        worker = worker_for(look(), "look")
        worker.start()
        assert worker.wait(20)
        worker.poll()
    most = os.cpu_count()
    assert found == [(threads, 2_500_000_000, tmp_path) for threads in (min(2, most), 1, most)]


def test_threads_are_limited() -> None:
    import torch

    before = torch.get_num_threads()
    try:
        limit_threads(1)
        assert torch.get_num_threads() == 1
        limit_threads(0)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_memories_come_back() -> None:
    assert recall("a/b") is None
    assert recall("a/b", 3) == 3
    for value in ("text", 2.5, ["tyx", {"deep": [1, 2]}], None, True):
        remember("a/b", value)
        assert recall("a/b", "other") == value


def test_a_broken_memory_is_no_memory() -> None:
    remember("a/b", "text")
    module._store().setValue("a/b", "{broken")
    assert recall("a/b", "default") == "default"


def test_docks_begin_with_what_is_preferred_then_used_last(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = ("fast", "balanced", "best")
    assert first_choice("recipe", offered, "fast") == "fast"
    remember("last/recipe", "best")
    assert first_choice("recipe", offered, "fast") == "best"
    monkeypatch.setattr(module, "preferences", lambda: Preferences(recipe="balanced", device="cuda"))
    assert first_choice("recipe", offered, "fast") == "balanced"
    assert first_choice("device", ("auto", "cpu"), "auto") == "auto"  # the card is gone
