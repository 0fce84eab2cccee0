"""What every Method of every family promises to forms, recipes, the command line and the docs."""

import json
import re
from pathlib import Path

import pytest

import napari_denoisereg
from napari_denoisereg import pipeline
from napari_denoisereg.denoise import Denoiser
from napari_denoisereg.encode import Encoder
from napari_denoisereg.losses import Regularity, Similarity
from napari_denoisereg.method import Method, describe
from napari_denoisereg.pipeline import Pipeline, load_recipe, presets
from napari_denoisereg.register import Registrar, Series

FAMILIES = (Denoiser, Encoder, Registrar, Series, Similarity, Regularity)
MEMBERS = [(family, member) for family in FAMILIES for member in family.members().values()]
every_method = pytest.mark.parametrize(("family", "member"), MEMBERS, ids=[f"{f.family}-{m.kind}" for f, m in MEMBERS])
every_recipe = pytest.mark.parametrize("name", list(presets()))


@pytest.mark.parametrize("family", FAMILIES)
def test_family_has_members(family: type[Method]) -> None:
    assert family.members()


@every_method
def test_defaults_are_valid_and_the_kind_is_enough(family: type[Method], member: type[Method]) -> None:
    assert family.coerce(member.kind) == member()
    assert family.member(member.kind) is member


@every_method
def test_json_restores_an_equal_method(family: type[Method], member: type[Method]) -> None:
    method = member()
    assert family.coerce(method.to_dict()) == method
    assert family.coerce(json.loads(method.to_json())) == method
    assert method.to_dict()["kind"] == member.kind


@every_method
def test_it_says_in_words_what_it_is(family: type[Method], member: type[Method]) -> None:
    first_line = (member.__doc__ or "").strip().partition("\n")[0]
    assert len(first_line) > 20
    assert first_line != (family.__doc__ or "").strip().partition("\n")[0]
    assert member.title
    assert re.fullmatch(r"[a-z][a-z0-9_]*", member.kind)


@every_method
def test_it_says_where_it_comes_from(family: type[Method], member: type[Method]) -> None:
    if family in (Denoiser, Registrar):
        assert re.match(r"https://\S+\.\S+", member.reference)


@every_method
def test_settings_are_described_and_bounded(family: type[Method], member: type[Method]) -> None:
    for row in describe(member):
        assert row["description"].endswith("."), row["name"]
        if row["annotation"] in (int, float):
            assert {"ge", "gt"} & set(row), f"{row['name']} needs a lower bound."


@every_method
def test_settings_out_of_bounds_are_refused(family: type[Method], member: type[Method]) -> None:
    for row in describe(member):
        beyond = [row[name] - 1 for name in ("ge", "gt") if name in row] + [row[n] + 1 for n in ("le", "lt") if n in row]
        for value in beyond:
            with pytest.raises(ValueError, match=row["name"]):
                family.coerce({"kind": member.kind, row["name"]: value})


@every_method
def test_unknown_settings_are_refused(family: type[Method], member: type[Method]) -> None:
    with pytest.raises(ValueError, match="no_such_setting"):
        family.coerce({"kind": member.kind, "no_such_setting": 1})


@every_method
def test_it_lives_in_a_file_of_its_own_room(family: type[Method], member: type[Method]) -> None:
    assert member.__module__.rpartition(".")[0] == family.__module__.rpartition(".")[0]


def test_table_of_methods_has_a_row_for_every_member() -> None:
    rows = {(row["family"], row["kind"]): row for row in napari_denoisereg.methods()}
    assert set(rows) == {(family.family, member.kind) for family, member in MEMBERS}
    for row in rows.values():
        assert row["title"]
        assert row["description"]
        assert isinstance(row["trained"], bool)
    json.dumps(list(rows.values()))


@every_recipe
def test_recipe_is_described_and_survives_json(name: str) -> None:
    recipe = presets()[name]
    assert recipe.name == name
    assert recipe.description.endswith(".")
    assert load_recipe(json.loads(recipe.to_json())) == recipe
    assert load_recipe(name) == recipe
    assert recipe.registrars


@every_recipe
def test_recipe_file_says_only_what_the_recipe_understands(name: str) -> None:
    folder = Path(pipeline.__file__).parent / "recipes"
    written = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    assert set(written) <= set(presets()[name].to_dict())
    assert Pipeline.model_validate(written) == presets()[name]
