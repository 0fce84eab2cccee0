"""House rules that no other tool checks: sizes, names, papers, and nothing of the machine the files came from."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
BANNED_WORDS = set(
    "util utils helper helpers misc common manager handler processor data2 tmp new num nb".split()  # noqa: SIM905
)
TEXT_SUFFIXES = {".py", ".md", ".toml", ".yaml", ".yml", ".json", ".csv", ".cff", ".txt", ""}
ONE_PERSONS_PATH = re.compile(r"(?<![\w.~:/-])/(?:work|root|home|opt|Users|mnt)/\w")

source_files = pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def _names_given(tree: ast.Module) -> Iterator[str]:
    """Names this file chooses itself: definitions, arguments, assigned variables."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def _words(name: str) -> set[str]:
    if name.startswith("__") and name.endswith("__"):
        return set()
    return set(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_"))


def _checked_in() -> list[Path]:
    """Files of the checkout; without git (a downloaded archive), those of the folders it is made of."""
    if git := shutil.which("git"):
        listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
        if listed.returncode == 0 and listed.stdout:
            return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    folders = [ROOT / name for name in ("src", "tests", "docs", "benchmarks", "sample_data", ".ci")]
    return [path for path in ROOT.iterdir() if path.is_file()] + [p for f in folders for p in f.rglob("*") if p.is_file()]


@source_files
def test_file_is_at_most_400_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@source_files
def test_functions_have_at_most_60_lines_of_body(path: Path) -> None:
    assert {f.name: _body_lines(f) for f in _functions(_tree(path)) if _body_lines(f) > 60} == {}


@source_files
def test_imports_are_absolute(path: Path) -> None:
    relative = [node.lineno for node in ast.walk(_tree(path)) if isinstance(node, ast.ImportFrom) and node.level]
    assert relative == []


@source_files
def test_names_say_what_they_mean(path: Path) -> None:
    assert not _words(path.stem) & BANNED_WORDS
    assert sorted({name for name in _names_given(_tree(path)) if _words(name) & BANNED_WORDS}) == []


@source_files
def test_only_the_command_line_prints(path: Path) -> None:
    calls = (node for node in ast.walk(_tree(path)) if isinstance(node, ast.Call))
    printing = [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    assert printing == [] or path.name == "cli.py"


def test_licence_is_bsd_3_clause() -> None:
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("BSD 3-Clause License")


def test_version_is_a_version() -> None:
    import napari_denoisereg

    assert napari_denoisereg.__version__ == version("napari-denoisereg")
    assert re.match(r"\d+\.\d+", napari_denoisereg.__version__)


def test_changelog_has_an_entry_for_what_comes_next() -> None:
    assert re.search(r"^## (Unreleased|\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_no_file_mentions_a_path_of_one_machine() -> None:
    texts = (path for path in _checked_in() if path.suffix in TEXT_SUFFIXES)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in texts
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1)
        if ONE_PERSONS_PATH.search(line)
    ]
    assert found == []


@pytest.mark.slow
def test_import_contracts_are_kept() -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    finished = subprocess.run([lint_imports, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0, finished.stdout + finished.stderr
