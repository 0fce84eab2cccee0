"""Recipes saved under a name: found again by name, in no danger of harming the user's files."""

from pathlib import Path

import pytest

from napari_denoisereg import saved_recipes
from napari_denoisereg.pipeline import load_recipe, presets


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DENOISEREG_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_saved_recipe_is_found_by_its_name() -> None:
    recipe = presets()["best"].model_copy(update={"channel": 1})
    assert saved_recipes.names() == []
    path = saved_recipes.save(recipe.to_dict(), "my nuclei")
    assert saved_recipes.names() == ["my nuclei"]
    assert load_recipe("my nuclei") == load_recipe(path) == recipe.model_copy(update={"name": "my nuclei"})
    assert load_recipe(recipe.to_json()) == recipe
    assert [entry.name for entry in path.parent.iterdir()] == ["my nuclei.json"]


def test_earlier_recipe_is_replaced_only_when_told() -> None:
    saved_recipes.save(presets()["fast"].to_dict(), "mine")
    with pytest.raises(FileExistsError, match="already"):
        saved_recipes.save(presets()["best"].to_dict(), "mine")
    assert load_recipe("mine").registrars == presets()["fast"].registrars
    saved_recipes.save(presets()["best"].to_dict(), "mine", overwrite=True)
    assert load_recipe("mine").registrars == presets()["best"].registrars


@pytest.mark.parametrize(
    "name", ["", "../escape", "a/b", "a\\b", "fast", "Best", "custom", ".hidden", " edge", "x" * 81, "a:b"]
)
def test_names_that_cannot_be_kept_are_refused(name: str, home: Path) -> None:
    with pytest.raises(ValueError, match=r"choose another|Expected a name"):
        saved_recipes.save(presets()["fast"].to_dict(), name)
    assert not home.exists()


def test_unknown_recipe_names_those_there_are() -> None:
    saved_recipes.save(presets()["fast"].to_dict(), "mine")
    with pytest.raises(FileNotFoundError, match=f"{', '.join(presets())}, mine or a JSON file"):
        load_recipe("yours")
