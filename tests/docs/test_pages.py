"""Pages of the manual: their pictures are there and small, the docks' help buttons lead to pages, and their code runs."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile
import tyro
from scipy import ndimage

import napari_denoisereg
from napari_denoisereg import cli
from napari_denoisereg.pipeline import load_recipe

CHECKOUT = Path(__file__).resolve().parents[2]
DOCS = CHECKOUT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), CHECKOUT / "README.md"])
LARGEST, LARGEST_TOGETHER = 200_000, 3_000_000  # bytes
RUN = [  # pages whose Python needs no training; the others are compiled
    "concepts/displacement-convention.md",
    "concepts/which-frame-failed.md",
    "how-to/align-sections.md",
    "how-to/recipes.md",
]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def pictures(page: Path) -> list[Path]:
    shown = re.findall(r"!\[[^]]+\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    return [(page.parent / name).resolve() for name in shown]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pictures_of_a_page_are_there_and_small(page: Path) -> None:
    for picture in pictures(page):
        assert picture.is_file(), f"{page.name} shows {picture.name}, which is not there; make screenshots or make gallery."
        assert picture.stat().st_size <= LARGEST, picture.name


def test_all_pictures_are_shown_and_small_together() -> None:
    kept = set((DOCS / "assets").glob("*.png"))
    assert kept == {picture for page in PAGES for picture in pictures(page)}
    assert sum(picture.stat().st_size for picture in kept) <= LARGEST_TOGETHER


def test_help_buttons_lead_to_pages() -> None:
    widgets = (CHECKOUT / "src" / "napari_denoisereg" / "widgets").glob("*_dock.py")
    pages = [page for file in widgets for page in re.findall(r'help_button\("([^"]+)"\)', file.read_text(encoding="utf-8"))]
    assert len(pages) >= 6
    for page in pages:
        assert (DOCS / f"{page}.md").is_file(), page


def test_every_page_is_in_the_navigation() -> None:
    navigation = (CHECKOUT / "mkdocs.yml").read_text(encoding="utf-8")
    missing = [page for page in DOCS.rglob("*.md") if f"- {page.relative_to(DOCS).as_posix()}" not in navigation]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_of_a_page_compiles(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, str(page), "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_recipes_of_a_page_load(page: Path) -> None:
    for block in blocks(page, "json"):
        settings = json.loads(block)
        load_recipe(settings if "name" in settings else {"denoise": settings})


@pytest.mark.slow
@pytest.mark.parametrize("name", RUN)
def test_python_of_a_page_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    texture = ndimage.gaussian_filter(random.normal(size=(64, 64)), 2)
    images = np.stack([1000 + 4000 * ndimage.shift(texture, (t / 2, -t / 2))[8:56, 8:56] for t in range(8)])
    images = (images + random.normal(scale=10, size=images.shape)).astype(np.float32)
    for file in ("movie.tif", "sections.tif"):
        tifffile.imwrite(file, images, photometric="minisblack")
    cells = napari_denoisereg.Stack((images > 1000).astype(np.uint8), axes="zyx")
    known = {"stack": napari_denoisereg.Stack(images, axes="tyx"), "labels": cells}
    for block in blocks(DOCS / name, "python"):
        text = block.replace('"denoisereg"', '"affine"').replace('"balanced"', '"fast"')  # nothing is trained here
        exec(compile(text, name, "exec"), known)
    assert "stack" in known


@pytest.mark.slow
def test_commands_of_the_pages_are_understood(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for page in PAGES for block in blocks(page, "") for line in block.splitlines()]
    lines += [line for page in PAGES for line in re.findall(r"`(denoisereg [^`…]+\.[^`…]+)`", page.read_text(encoding="utf-8"))]
    commands = {line for line in lines if line.startswith("denoisereg ") and "--help" not in line}
    assert len(commands) > 15
    understood = []
    monkeypatch.setattr(cli.tyro, "cli", lambda *given, _cli=tyro.cli, **more: Understood(understood, _cli(*given, **more)))
    for line in sorted(commands):
        try:
            assert cli.main(shlex.split(line, comments=True)[1:]) == 0
        except (SystemExit, AssertionError):
            pytest.fail(f"{line}\n{capsys.readouterr().err}")
    assert len(understood) == len(commands)


class Understood:
    """A command that was parsed and is not run."""

    def __init__(self, others: list, command: object) -> None:
        self.execute = lambda console: others.append(command)
