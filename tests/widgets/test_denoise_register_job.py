"""What the dock has done in the worker."""

from dataclasses import replace
from typing import Any

import pytest
from numpy.random import default_rng

from napari_denoisereg.pipeline import Pipeline
from napari_denoisereg.register import Registrar
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Steps, finish
from napari_denoisereg.widgets.denoise_register_job import doubts, without_parts


@pytest.fixture
def joint() -> Pipeline:
    return Pipeline(register=[Registrar.coerce({"kind": "denoisereg", "iterations": 1, "size": 32, "refinement": 0})])


def test_denoise_off_never_denoises_with_a_joint_network(joint: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def denoise(self: Any, stack: Stack, **_: Any) -> Steps[Stack]:
        asked.append(stack)
        return stack
        yield

    monkeypatch.setattr(type(joint.registrars[0]), "denoise", denoise)
    stack = Stack(default_rng(0).normal(size=(3, 32, 32)).astype("f4"), axes="tyx")
    result = finish(without_parts(joint, denoise=False, register=True).run(stack, device="cpu"))
    assert asked == []
    assert result.denoised is None
    assert result.registration is not None


def test_denoise_on_keeps_what_a_joint_network_denoises(joint: Pipeline) -> None:
    assert without_parts(joint, denoise=True, register=True).keep_denoised
    assert without_parts(joint, denoise=True, register=False).registrars == joint.registrars


@pytest.mark.parametrize(
    ("axes", "kind", "is_hinted"),
    [("tyx", "affine", True), ("tyx", "patches", False), ("zyx", "affine", False)],
)
def test_a_registration_that_failed_hints_at_the_recipe_for_cells_that_crawl(axes: str, kind: str, is_hinted: bool) -> None:
    stack = Stack(default_rng(0).normal(size=(3, 40, 40)).astype("f4"), axes=axes)  # frames have nothing in common
    failed = finish(Pipeline(register=[Registrar.coerce("affine")]).run(stack, device="cpu"))
    words = doubts(replace(failed, recipe=Pipeline(register=[Registrar.coerce(kind)])))
    assert "Try another recipe" in words
    assert ("Cells, where cells crawl past each other" in words) == is_hinted
