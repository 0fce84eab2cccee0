"""Methods as words of the command line: what is written is read back, and what is wrong is told plainly."""

import pytest

from napari_denoisereg.arguments import method_from_word, word_of_method
from napari_denoisereg.cli import main
from napari_denoisereg.losses import Regularity, Similarity
from napari_denoisereg.losses.local_correlation import LocalCorrelation
from napari_denoisereg.losses.mind import Mind
from napari_denoisereg.method import Method
from napari_denoisereg.register import Series

MEMBERS = [(family, member) for family in (Similarity, Regularity, Series) for member in family.members().values()]


@pytest.mark.parametrize(("family", "member"), MEMBERS, ids=[member.kind for _, member in MEMBERS])
def test_every_member_is_one_word(family: type[Method], member: type[Method]) -> None:
    assert word_of_method(member()) == member.kind
    assert method_from_word(family, member.kind) == member()


def test_settings_follow_after_commas() -> None:
    method = LocalCorrelation(width=15, window="gaussian", squared=True)
    word = word_of_method(method)
    assert word == "local_correlation,width=15,window=gaussian,squared=true"
    assert method_from_word(Similarity, word) == method
    assert method_from_word(Similarity, '{"kind": "mind", "sigma": 2}') == Mind(sigma=2)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("nonsense", "choose one of"),
        ("mind,sigma=99", "sigma: expected 20 or less, got 99"),
        ("mind,depth=3", "depth: there is no such setting"),
        ("mind,", "Unknown similarity"),
    ],
)
def test_what_is_wrong_is_told(word: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        method_from_word(Similarity, word)


def test_a_registrar_shows_and_takes_its_similarity(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["register", "a.tif", "b.zarr", "voxelmorph", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "--similarity" in shown
    assert "mutual_information" in shown
    assert main(["register", "no_such.tif", "b.zarr", "voxelmorph", "--similarity", "mind,sigma=2"]) == 1
    assert "no_such.tif" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["register", "no_such.tif", "b.zarr", "voxelmorph", "--similarity", "nonsense"])
    assert "choose one of" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            "denoise a.tif b.tif fusion --reach -3",
            "reach: expected 0 or more, got -3. Correct or leave out the setting (--reach is 6",
        ),
        ("register a.tif b.zarr elastic --stiffness -1", "stiffness: expected more than 0, got -1.0. Correct"),
        ("train noise2void a.tif --output b.safetensors --patch 3", "patch: expected a multiple of 8, got 3. Correct"),
        ("register a.tif b.zarr voxelmorph --seconds 0", "seconds: expected more than 0, got 0.0. Correct"),
    ],
)
def test_a_setting_out_of_bounds_is_told_in_plain_words(words: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 1
    error = capsys.readouterr().err
    assert told in error
    assert error.startswith("Error: ")
    assert "pydantic" not in error
    assert "Error parsing" not in error


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("fusion", "--reach", "two"), "expected a whole number, got 'two'"),
        (("fusion", "--reach", "2.5"), "expected a whole number, got '2.5'"),
        (("fusion", "--strength", "strong"), "expected a number, got 'strong'"),
    ],
)
def test_what_is_no_number_is_told_in_plain_words(
    words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["denoise", "a.tif", "b.tif", *words])
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert f"{words[1]}: {told}" in said
    assert "invalid literal" not in said
