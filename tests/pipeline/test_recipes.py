"""Recipes: JSON in, Pipeline out, and clear words where it is none."""

import json
from pathlib import Path

import pytest

from napari_denoisereg.denoise.gaussian import Gaussian
from napari_denoisereg.pipeline import Pipeline, load_recipe, presets
from napari_denoisereg.register.affine import AffineDescent
from napari_denoisereg.register.series import Combined, ToFirst

WRITTEN = {"denoise": {"kind": "gaussian", "sigma": 2}, "register": [{"kind": "affine"}], "series": "to_first"}


def test_a_recipe_is_read_from_a_file_a_mapping_or_a_name(tmp_path: Path) -> None:
    wanted = Pipeline(denoise=Gaussian(sigma=2), registrars=(AffineDescent(),), series=ToFirst())
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(WRITTEN), encoding="utf-8")
    assert load_recipe(WRITTEN) == load_recipe(path) == load_recipe(str(path)) == load_recipe(wanted) == wanted
    assert load_recipe("fast") == presets()["fast"]


def test_what_is_left_out_has_its_default() -> None:
    recipe = load_recipe({"register": [{"kind": "affine"}]})
    assert recipe.denoise is None
    assert recipe.series == Combined()
    assert (recipe.name, recipe.channel) == ("custom", 0)


def test_json_says_every_setting(tmp_path: Path) -> None:
    recipe = load_recipe(WRITTEN)
    written = json.loads(recipe.to_json())
    assert set(written) == {"name", "description", "denoise", "register", "series", "channel", "keep_denoised", "turns"}
    assert set(written["register"][0]) == {"kind", *AffineDescent.model_fields}
    assert load_recipe(written) == recipe


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"denoise": "magic"}, "Unknown denoiser 'magic'; choose one of"),
        ({"register": [{"kind": "magic"}]}, "Unknown registrar 'magic'"),
        ({"register": [{"kind": "affine", "finest": 0}]}, "finest"),
        ({"registers": []}, "registers"),
        ({"series": "sideways"}, "Unknown series 'sideways'"),
        ({"channel": -1}, "channel"),
        ({"denoise": {"kind": "gaussian", "width": 2}}, "width"),
        ({"denoise": {"kind": "affine"}}, "Unknown denoiser 'affine'"),
    ],
)
def test_a_mistake_is_named(recipe: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        load_recipe(recipe)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(recipe), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"mine\.json is no recipe: [\s\S]*{message}"):
        load_recipe(path)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '"fast"', "denoise: gaussian"])
def test_a_file_that_is_no_recipe_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"mine\.json is no recipe"):
        load_recipe(path)


@pytest.mark.parametrize("name", ["quickly", "nowhere/mine.json"])
def test_a_name_that_is_neither_preset_nor_file_is_refused(name: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"give one of {', '.join(presets())} or a JSON file"):
        load_recipe(name)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "movie.tif"
    path.write_bytes(b"II*\x00\xff\xfe\x80")
    with pytest.raises(ValueError, match="is no recipe"):
        load_recipe(path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="There is no recipe"):
        load_recipe(tmp_path)
