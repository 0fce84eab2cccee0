"""The model library: a folder in which every file is a model."""

import os
import time
from pathlib import Path

import pytest
import torch

from napari_denoisereg.denoise.noise2void import Noise2Void
from napari_denoisereg.io.library import Entry, Library
from napari_denoisereg.model import Model, Unfinished

DATA = {"name": "cells", "axes": "tyx", "shape": [5, 40, 40], "spacing": [1, 0.5, 0.5], "units": ["s", "um", "um"]}


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "models")


@pytest.fixture
def model() -> Model:
    return Model(Noise2Void(), {"a": torch.arange(6.0)}, 2, {"mean": 1.0}, {"data": [DATA], "iterations": 7})


def own(library: Library) -> list[Entry]:
    return [entry for entry in library.entries() if not entry.is_builtin]


def test_a_saved_model_is_listed_with_all_that_is_known(library: Library, model: Model) -> None:
    assert own(library) == []
    picture = torch.arange(12, dtype=torch.uint8).reshape(3, 4)
    library.add(model, " Nuclei, 20× / dim ", "from Monday", picture)
    (entry,) = own(library)
    assert (entry.name, entry.notes, entry.share) == ("Nuclei, 20× / dim", "from Monday", 1.0)
    assert "cells (tyx 5 × 40 × 40, pixel 0.5 um)" in entry.words()
    assert "from Monday" in entry.words()
    assert entry.model.thumbnail is not None
    assert torch.equal(entry.model.thumbnail, picture)
    assert entry.model.weights == {}
    assert torch.equal(entry.load().weights["a"], model.weights["a"])


def test_two_models_of_one_name_are_two(library: Library, model: Model) -> None:
    library.add(model, "one")
    library.add(model, "one")
    assert len({entry.path for entry in own(library)}) == 2


def test_renaming_changes_nothing_else(library: Library, model: Model) -> None:
    entry = library.add(model, "one", thumbnail=torch.zeros(2, 2, dtype=torch.uint8))
    library.describe(entry, "two", "better")
    (after,) = own(library)
    assert (after.name, after.notes, after.path) == ("two", "better", entry.path)
    assert after.model.thumbnail is not None
    assert torch.equal(after.load().weights["a"], model.weights["a"])


def test_a_removed_model_is_gone(library: Library, model: Model) -> None:
    library.remove(library.add(model, "one"))
    assert own(library) == []
    assert list(library.folder.iterdir()) == []


@pytest.mark.parametrize("name", ["", "  "])
def test_a_model_needs_a_name(name: str, library: Library, model: Model) -> None:
    with pytest.raises(ValueError, match="needs a name"):
        library.add(model, name)
    entry = library.add(model, "one")
    with pytest.raises(ValueError, match="needs a name"):
        library.describe(entry, name, "")


def test_what_comes_with_the_program_cannot_be_changed(library: Library) -> None:
    builtin = [entry for entry in library.entries() if entry.is_builtin]
    assert builtin
    for change in (lambda: library.remove(builtin[0]), lambda: library.describe(builtin[0], "x", "")):
        with pytest.raises(ValueError, match="comes with the program"):
            change()


def test_files_of_others_are_left_out(library: Library, model: Model) -> None:
    library.add(model, "one")
    (library.folder / "notes.model").write_text("Dear diary")
    assert [entry.name for entry in own(library)] == ["one"]


def test_the_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENOISEREG_MODELS", str(tmp_path / "elsewhere"))
    assert Library().folder == tmp_path / "elsewhere"
    monkeypatch.delenv("DENOISEREG_MODELS")
    assert Library().folder.name == "models"
    assert not (tmp_path / "elsewhere").exists()


def test_only_trainings_of_processes_that_are_gone_are_unfinished(library: Library, model: Model) -> None:
    left = Model(model.method, model.weights, 2, unfinished=Unfinished({"x": torch.zeros(1)}, {"share": 0.4}))
    mine = library.unfinished_path()
    left.save(mine)
    assert library.unfinished() == []
    crashed = mine.with_name("999999999-abcd.model")
    left.save(crashed)
    assert [(entry.path, entry.share) for entry in library.unfinished()] == [(crashed, 0.4)]
    os.utime(mine, (time.time() - 10**8,) * 2)  # written before this process began: another one had its number
    assert len(library.unfinished()) == 2


def test_a_folder_that_cannot_be_one_is_named(tmp_path: Path, model: Model) -> None:
    (tmp_path / "taken").write_text("a file")
    library = Library(tmp_path / "taken")
    for use in (library.unfinished_path, lambda: library.add(model, "mine")):
        with pytest.raises(OSError, match=r"taken' is no folder and cannot be made one .*: 'Model folder'"):
            use()
