"""Model files: data, never code; complete or not there; refused before they do harm."""

import dataclasses
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from napari_denoisereg import atomic
from napari_denoisereg import model as model_module
from napari_denoisereg.denoise import Denoiser
from napari_denoisereg.denoise.gaussian import Gaussian
from napari_denoisereg.denoise.noise2void import Noise2Void
from napari_denoisereg.model import Model, load, origin
from napari_denoisereg.pipeline import FAMILIES, Pipeline
from napari_denoisereg.register import Registrar
from napari_denoisereg.register.denoisereg import DenoiseReg
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish


@pytest.fixture
def model() -> Model:
    weights = {"a": torch.arange(6.0).reshape(2, 3), "count": torch.tensor(7), "b": torch.ones(3, 4).T}
    return Model(Noise2Void(patch=32), weights, 2, {"mean": 1.5, "std": 0.1}, {"trained_on": ["µ-movie"], "iterations": 3})


def test_a_saved_model_comes_back_equal(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "n2v.model")
    back = load(tmp_path / "n2v.model", FAMILIES)
    assert (back.method, back.ndim, back.statistics, back.provenance) == (
        model.method,
        model.ndim,
        model.statistics,
        model.provenance,
    )
    assert set(back.weights) == set(model.weights)
    for name, weight in model.weights.items():
        assert torch.equal(back.weights[name], weight)
        assert back.weights[name].dtype == weight.dtype


def test_a_model_file_holds_no_code(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "n2v.model"
    model.save(path)
    length = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + length])
    assert header["__metadata__"]["format"] == model_module.FORMAT
    assert json.loads(header["__metadata__"]["method"])["kind"] == "noise2void"


class Bomb:
    def __reduce__(self) -> tuple:
        return (os.mkdir, ("exploded",))


@pytest.mark.parametrize("write", [torch.save, lambda value, path: Path(path).write_bytes(pickle.dumps(value))])
def test_pickles_are_refused_and_never_run(write: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write({"weights": Bomb()}, tmp_path / "evil.model")
    with pytest.raises(ValueError, match="no complete model file"):
        load(tmp_path / "evil.model", FAMILIES)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("call", ["os.fsync", "Path.replace"])
def test_a_write_that_fails_leaves_the_old_file(
    call: str, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "n2v.model"
    model.save(path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        owner, name = (atomic.os, "fsync") if call == "os.fsync" else (Path, "replace")
        patch.setattr(owner, name, full)
        with pytest.raises(OSError, match="became full"):
            Model(Noise2Void(), {"a": torch.zeros(1000)}, 3).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_others_may_read_a_model_file(model: Model, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    model.save(tmp_path / "n2v.model")
    assert (tmp_path / "n2v.model").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_missing_file_or_folder_is_named(model: Model, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"There is no model file .*nothing\.model"):
        load(tmp_path / "nothing.model", FAMILIES)
    with pytest.raises(FileNotFoundError):
        model.save(tmp_path / "nowhere" / "n2v.model")


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.99])
def test_a_truncated_file_is_refused(share: float, model: Model, tmp_path: Path) -> None:
    path = tmp_path / "n2v.model"
    model.save(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match="no complete model file"):
        load(path, FAMILIES)


@pytest.mark.parametrize("metadata", [None, {"format": "something else"}, {"format": model_module.FORMAT}])
def test_files_of_others_are_refused(metadata: dict | None, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(2)}, path, metadata=metadata)
    with pytest.raises(ValueError, match=r"expected one written by this program|is no complete model file"):
        load(path, FAMILIES)


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("Dear diary, today I trained a network that denoises everything.")
    with pytest.raises(ValueError, match="no complete model file"):
        load(tmp_path / "notes.txt", FAMILIES)


def test_a_model_of_an_unknown_method_is_refused(model: Model, tmp_path: Path) -> None:
    tensors = {"a": torch.zeros(2)}
    header = {"format": model_module.FORMAT, "family": "denoiser", "method": '{"kind": "magic"}', "ndim": "2"}
    safetensors.torch.save_file(tensors, tmp_path / "m", metadata={**header, "statistics": "{}", "provenance": "{}"})
    with pytest.raises(ValueError, match="Unknown denoiser 'magic'; choose one of"):
        load(tmp_path / "m", FAMILIES)
    model.save(tmp_path / "n2v.model")
    with pytest.raises(ValueError, match="holds a denoiser, expected a registrar"):
        load(tmp_path / "n2v.model", (Registrar,))


@pytest.mark.parametrize(
    "change",
    [
        {"method": "{"},
        {"method": "[]"},
        {"method": "3"},
        {"method": '{"kind": "noise2void", "patch": "x"}'},
        {"method": '{"kind": "noise2void", "unheard_of": 1}'},
        {"ndim": "two"},
        {"ndim": "9"},
        {"statistics": "3"},
        {"statistics": "["},
        {"provenance": "3"},
        {"unfinished": "3"},
    ],
)
def test_a_header_with_other_content_is_refused_with_the_files_name(change: dict, model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "n2v.model")
    with safetensors.safe_open(tmp_path / "n2v.model", framework="pt") as file:
        header = file.metadata() | change
    safetensors.torch.save_file({"a": torch.zeros(2)}, tmp_path / "n2v.model", metadata=header)
    with pytest.raises(ValueError, match=r"n2v\.model is damaged, or of another version") as told:
        load(tmp_path / "n2v.model", FAMILIES)
    assert "pydantic" not in str(told.value)


def test_weights_that_are_no_numbers_are_refused(model: Model, tmp_path: Path) -> None:
    name = next(iter(model.weights))
    spoilt = {**model.weights, name: torch.full_like(model.weights[name], torch.nan)}
    dataclasses.replace(model, weights=spoilt).save(tmp_path / "n2v.model")
    with pytest.raises(ValueError, match=r"n2v\.model holds weights that are no numbers"):
        load(tmp_path / "n2v.model", FAMILIES)


def test_weights_of_another_network_are_refused_in_plain_words(model: Model) -> None:
    network = torch.nn.Linear(2, 3)
    for weights in ({}, {"weight": torch.zeros(3, 9), "bias": torch.zeros(3)}):
        with pytest.raises(ValueError, match="weights of this model of 'noise2void' do not fit its network"):
            dataclasses.replace(model, weights=weights).fill(network)
    dataclasses.replace(model, weights={"weight": torch.ones(3, 2), "bias": torch.zeros(3)}).fill(network)
    assert bool((network.weight == 1).all())


def test_expect_refuses_other_methods_and_dimensions(model: Model) -> None:
    model.expect(Noise2Void, 2)
    with pytest.raises(
        ValueError, match="Expected a model of the registrar 'denoisereg', got one of the denoiser 'noise2void'"
    ):
        model.expect(DenoiseReg, 2)
    with pytest.raises(ValueError, match="trained on 2D frames, the data has 3D frames; train a new one"):
        model.expect(Noise2Void, 3)


@pytest.mark.parametrize(
    ("recipe", "axes", "message"),
    [
        (Pipeline(denoise=Gaussian()), "tyx", "Expected a model of the denoiser 'gaussian'"),
        (Pipeline(registrars=({"kind": "affine"},)), "tyx", "got one of the denoiser 'noise2void'"),
        (Pipeline(denoise=Noise2Void()), "tzyx", "trained on 2D frames"),
        (Pipeline(registrars=({"kind": "denoisereg"},)), "tyx", "Expected a model of the registrar 'denoisereg'"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_before_any_work(recipe: Pipeline, axes: str, message: str, model: Model) -> None:
    stack = Stack(np.zeros((3,) * (len(axes) - 2) + (16, 16), np.float32), axes)
    with pytest.raises(ValueError, match=message):
        next(recipe.run(stack, models=[model]))


def test_a_model_that_does_not_fit_is_refused_by_the_method_itself(model: Model) -> None:
    stack = Stack(np.random.default_rng(0).normal(size=(3, 16, 16)), "tyx")
    for method in (Denoiser.coerce("noise2void"), Registrar.coerce("denoisereg")):
        other = Model(Gaussian(), {}, 2)
        with pytest.raises(ValueError, match="Expected a model of the"):
            finish(method.fit([stack], start=other))


def test_a_model_says_where_it_comes_from() -> None:
    told = origin(["movie"], seed=3, iterations=7)
    assert told["trained_on"] == ["movie"]
    assert told["seed"] == 3
    assert told["version"]
    assert told["date"].startswith("20")
    assert json.loads(json.dumps(told)) == told
