"""Pages of the manual: their pictures are there and small, the docks' help buttons lead to pages, and their code runs."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile
import tyro
import yaml
import zarr
from scipy import ndimage

import napari_denoisereg
from napari_denoisereg import cli
from napari_denoisereg.pipeline import load_recipe

CHECKOUT = Path(__file__).resolve().parents[2]
DOCS = CHECKOUT / "docs"
PAGES = sorted(
    [
        *DOCS.rglob("*.md"),
        *(CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md", "sample_data/README.md")),
    ]
)
LARGEST, LARGEST_TOGETHER = 200_000, 3_000_000  # bytes
WHOLE_FILES = ["add-a-denoiser", "add-a-registrar", "add-a-similarity"]  # run by test_extension_pages.py
TRAINED = {  # nothing is trained here for longer than a moment
    '"denoisereg"': '"affine"',
    '"balanced"': '"fast"',
    '"seconds": 300': '"iterations": 2, "patch": 16',
    '"seconds": 120': '"iterations": 2',
}


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


def test_links_of_pages_outside_the_manual_lead_to_files() -> None:  # those inside are checked when it is built
    for page in (page for page in PAGES if DOCS not in page.parents):
        links = re.findall(r"\]\(([^)\s#]+)[^)]*\)", page.read_text(encoding="utf-8"))
        missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
        assert not missing, page


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


def test_menus_that_pages_name_are_those_of_the_plugin() -> None:
    manifest = yaml.safe_load((Path(napari_denoisereg.__file__).parent / "napari.yaml").read_text(encoding="utf-8"))
    contributed = manifest["contributions"]
    shown = {widget["command"]: widget["display_name"] for widget in contributed["widgets"]}  # napari shows these, not titles
    title = {command["id"]: shown.get(command["id"], command["title"]) for command in contributed["commands"]}
    there = {f"Plugins > napari-denoisereg > {name}" for name in shown.values()}
    samples = contributed["sample_data"]
    there |= {f"File > Open Sample > napari-denoisereg > {sample['display_name']}" for sample in samples}
    for menu, entries in contributed["menus"].items():
        folder = menu.removeprefix("napari/").replace("_", " ").title().replace("/", " > ").replace("Io ", "IO ")
        there |= {folder, *(f"{folder} > {title[entry['command']]}" for entry in entries)}
    path = r"\*\*((?:Layers|Plugins|File > Open Sample|File > IO Utilities) > [^*]+)\*\*"
    named = [(page.name, found) for page in PAGES for found in re.findall(path, page.read_text(encoding="utf-8"))]
    assert len(named) > 10
    assert not [each for each in named if each[1] not in there and "Install/Uninstall" not in each[1]]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_of_a_page_compiles(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, str(page), "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_recipes_of_a_page_load(page: Path) -> None:
    for block in blocks(page, "json"):
        settings = json.loads(block)
        load_recipe(settings if "name" in settings else {"denoise": settings})


@pytest.fixture
def reader_with_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What the pages take for granted: files of these names in the working folder, and a stack that was read before."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DENOISEREG_MODELS", str(tmp_path / "models"))
    random = np.random.default_rng(0)
    texture = ndimage.gaussian_filter(random.normal(size=(64, 64)), 2)
    images = np.stack([1000 + 4000 * ndimage.shift(texture, (t / 2, -t / 2))[8:56, 8:56] for t in range(8)])
    images = (images + random.normal(scale=10, size=images.shape)).astype(np.float32)
    cell = np.zeros((48, 48), np.uint8)
    cell[12:36, 12:36] = 7
    labels = np.stack([ndimage.shift(cell, (t / 2, -t / 2), order=0) for t in range(8)])
    for file, content in (("movie.tif", images), ("sections.tif", images), ("labels.tif", labels), ("mask.tif", cell)):
        tifffile.imwrite(file, content, photometric="minisblack")
    zarr.save_array("movie.zarr", np.pad(images, ((0, 0), (200, 0), (100, 0))))
    marks = [
        (t, i, y + t / 2, x - t / 2) for t in range(8) for i, (y, x) in enumerate([(10, 20), (30, 20), (20, 34), (24, 12)])
    ]
    rows = [f"{t},{i},me,interior,{y},{x}" for t, i, y, x in marks]
    Path("marks.csv").write_text("\n".join(["frame,id,annotator,kind,y,x", *rows]), encoding="utf-8")
    return {"stack": napari_denoisereg.Stack(images, axes="tyx")}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Denoising")  # what is trained for a moment denoises badly, and says so
@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.stem not in WHOLE_FILES and blocks(page, "python")], ids=lambda page: page.stem
)
def test_python_of_a_page_runs(page: Path, reader_with_data: dict[str, object]) -> None:
    for block in blocks(page, "python"):
        for shown, quick in TRAINED.items():
            block = block.replace(shown, quick)
        exec(compile(block, page.name, "exec"), reader_with_data)


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
