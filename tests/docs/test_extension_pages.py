"""The files shown on the pages "add a denoiser", ... work as they stand, without touching another file."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import napari_denoisereg

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = [
    ("add-a-denoiser.md", "denoise", "denoiser"),
    ("add-a-registrar.md", "register", "registrar"),
    ("add-a-similarity.md", "losses", "similarity"),
]

USE_IT = """
import json, sys, warnings
import numpy as np
import napari_denoisereg as dr
from napari_denoisereg import denoise, pipeline
from napari_denoisereg.losses import Similarity
from napari_denoisereg.pipeline import Denoiser, Registrar, load_recipe
from napari_denoisereg.steps import Progress, finish

family, place = sys.argv[1:]
assert dr.__file__.startswith(place), dr.__file__
known = {row["kind"]: row for row in dr.methods() if row["family"] == family}
(kind,) = set(known) - set(sys.stdin.read().split())
assert known[kind]["description"] and known[kind]["reference"].startswith("https://"), known[kind]

base = {"denoiser": Denoiser, "registrar": Registrar, "similarity": Similarity}[family]
method = base.member(kind)()
assert base.coerce(json.loads(method.to_json())) == method

if family == "similarity":
    import torch
    image = torch.rand(2, 1, 8, 8)
    assert torch.equal(method(image, image), torch.zeros(2)) and bool((method(image, image.flip(2)) > 0).all())
    from napari_denoisereg.register.deep_affine import DeepAffine
    assert DeepAffine.model_validate({"similarity": kind}).similarity == method
    print(kind)
    raise SystemExit

y, x = np.mgrid[:24, :24]
spots = [100 * np.exp(-((y - 10 - t) ** 2 + (x - 12) ** 2) / 10) for t in range(4)]
movie = (np.stack(spots) + np.random.default_rng(0).normal(20, 2, (4, 24, 24))).astype(np.float32)
stack = dr.Stack(movie, "tyx")
before = movie.tobytes()
recipe = {"denoise": kind} if family == "denoiser" else {"register": [{"kind": kind}]}
seen = []
result = finish(load_recipe(recipe).run(stack, device="cpu"), seen.append)
assert seen[-1].done == seen[-1].total
assert movie.tobytes() == before
again = load_recipe(json.loads(load_recipe(recipe).to_json()))
assert again == load_recipe(recipe)
if family == "denoiser":
    with warnings.catch_warnings(record=True, action="always") as told:  # that so plain a method smears moving spots
        clean = dr.denoise(stack, kind)
    assert [str(each.message) for each in told] == [f"Denoising: {hint}" for hint in result.trust.hints()]
    assert (clean.shape, clean.axes, clean.dtype) == (stack.shape, stack.axes, np.float32)
    assert np.isfinite(np.asarray(clean.data)).all()
    np.testing.assert_array_equal(np.asarray(result.denoised.data), np.asarray(clean.data))
else:
    found = dr.register(stack, kind)
    assert len(found.transforms) == 4
    aligned = np.asarray(result.aligned.data)
    assert np.abs(aligned[3] - movie[0])[8:16, 8:16].mean() < 0.5 * np.abs(movie[3] - movie[0])[8:16, 8:16].mean()
print(kind)
"""


def code_on(page: str) -> str:
    """The one complete file of a page."""
    text = (CHECKOUT / "docs" / "how-to" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) == 1, f"{page} must show exactly one python file, found {len(blocks)}."
    return blocks[0]


@pytest.mark.slow
@pytest.mark.parametrize(("page", "room", "family"), PAGES)
def test_file_of_the_page_is_all_a_new_method_needs(page: str, room: str, family: str, tmp_path: Path) -> None:
    package = Path(napari_denoisereg.__file__).parent
    copy = tmp_path / package.name
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / room / "from_the_page.py").write_text(code_on(page), encoding="utf-8")
    known = " ".join(row["kind"] for row in napari_denoisereg.methods() if row["family"] == family)
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", USE_IT, family, str(tmp_path)],
        input=known,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()


@pytest.mark.parametrize("page", [page for page, _, _ in PAGES])
def test_file_of_the_page_follows_the_house_style(page: str, tmp_path: Path) -> None:
    file = tmp_path / "from_the_page.py"
    file.write_text(code_on(page), encoding="utf-8")
    ruff = Path(sys.executable).with_name("ruff")
    if not ruff.exists():
        pytest.skip("ruff is not installed here.")
    checked = subprocess.run(
        [ruff, "check", "--config", CHECKOUT / "pyproject.toml", "--ignore", "ARG002", file], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout
