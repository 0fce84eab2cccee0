"""Many files through one recipe: which jobs, where their results go, and the work of one job. No Qt.

A job reads a file, runs the recipe and writes ``<file>.zarr`` into the output folder by the path the command line takes
(`results.write_result`): complete or not there. A result that this recipe made of this file is not made again.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from napari_denoisereg.pipeline import Pipeline
    from napari_denoisereg.steps import Steps

READABLE = (".tif", ".tiff", ".zarr")
RESULT = ".zarr"
State = Literal["waiting", "running", "done", "skipped", "failed", "cancelled"]
LONGEST_REASON = 400
ONLY_AN_IMAGE = (
    "This is a single image, with nothing to align it to, and the recipe registers. In the dock 'Denoise and register' switch "
    "Register off, save the recipe under a name, and choose it here."
)


@dataclass
class Job:
    """One file and what became of it.

    Parameters
    ----------
    source : Path
        What to read.
    state : str
        See `State`.
    seconds : float
        How long it took.
    words : str
        What came out, or what went wrong.
    """

    source: Path
    state: State = "waiting"
    seconds: float = 0.0
    words: str = ""


def movies_in(paths: Iterable[Path]) -> list[Path]:
    """Files that can be read, of files and folders that a user chose.

    Parameters
    ----------
    paths : iterable of Path
        Folders are looked through, at most three levels deep, in alphabetical order; a ``.zarr`` folder is one file.

    Returns
    -------
    list of Path
        Absolute, each once. Results of this program are left out of folders.
    """
    found: dict[Path, None] = {}
    for path in paths:
        for each in [path] if is_movie(path) else sorted(_inside(path, 3)):
            found[each.absolute()] = None
    return list(found)


def search(paths: Sequence[Path]) -> Steps[list[Path]]:
    """`movies_in` as work: folders on a network may take long.

    Parameters
    ----------
    paths : sequence of Path
        Files and folders.

    Returns
    -------
    Steps of list of Path
        What can be read.
    """
    from napari_denoisereg.steps import Progress

    found: dict[Path, None] = {}
    for number, path in enumerate(paths):
        yield Progress(number, len(paths), f"looking into {path.name}")
        found |= dict.fromkeys(movies_in([path]))
    return list(found)


def targets(sources: Sequence[Path], folder: Path) -> list[Path]:
    """Where results go: the file's name, with the folder's in front where two files have one name.

    Parameters
    ----------
    sources : sequence of Path
        What is read.
    folder : Path
        Output folder.

    Returns
    -------
    list of Path
        One for each source, all different.
    """
    stems = [source.name.removesuffix(".gz") for source in sources]
    stems = [_stem(name) for name in stems]
    counts = Counter(stem.lower() for stem in stems)
    names, used = [], set[str]()
    for source, stem in zip(sources, stems, strict=True):
        name = stem if counts[stem.lower()] == 1 else f"{source.parent.name} {stem}"
        number, unique = 2, name
        while unique.lower() in used:
            unique, number = f"{name} {number}", number + 1
        used.add(unique.lower())
        names.append(folder / f"{unique}{RESULT}")
    return names


def is_finished(source: Path, target: Path, recipe: Pipeline, *, axes: str = "") -> bool:
    """Whether a result is there that this recipe made of this file, read with these axes.

    Parameters
    ----------
    source, target : Path
        What is read, where its result goes.
    recipe : Pipeline
        The recipe.
    axes : str
        As of `work`.

    Returns
    -------
    bool
        False when the file is newer than its result.
    """
    import json

    try:
        attributes = json.loads((target / "zarr.json").read_text(encoding="utf-8"))["attributes"]["napari-denoisereg"]
        is_same = attributes["recipe"] == recipe.to_dict() and attributes.get("axes", "") == axes
        return bool(is_same and _changed(source) <= (target / "zarr.json").stat().st_mtime)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def work(source: Path, target: Path, recipe: Pipeline, *, axes: str, device: str, overwrite: bool) -> Steps[str]:
    """Do one job.

    Parameters
    ----------
    source, target : Path
        What to read, where to write.
    recipe : Pipeline
        What to do.
    axes : str
        What the dimensions of the file are; empty for what the file says.
    device : str
        Where to compute.
    overwrite : bool
        Whether another result there may be replaced.

    Returns
    -------
    Steps of str
        What came out, in one line. Closed early it leaves nothing behind.

    Raises
    ------
    ValueError, TypeError, OSError
        What is wrong with the file or the place, before long work where that can be known.
    """
    from napari_denoisereg import io, results
    from napari_denoisereg.steps import Progress, portion
    from napari_denoisereg.widgets.denoise_register_job import doubts, summary

    yield Progress(0, 1, f"reading {source.name}")
    stack = io.read(source, axes=axes or None)
    if stack.is_image and recipe.registrars:
        raise ValueError(ONLY_AN_IMAGE)
    io.check_writable(target, results.expected_bytes(stack), overwrite=overwrite)
    result = yield from portion(recipe.run(stack, device=device), 0.0, 0.9)
    yield from portion(results.write_result(result, target, overwrite=overwrite, axes=axes), 0.9, 1.0, "writing")
    warning = doubts(result)
    return f"⚠ {warning}" if warning else summary(result).removeprefix("Done. ")


def attempt(steps: Steps[str]) -> Steps[str | Exception]:
    """A job whose error is its result: it goes into the table and the next job starts.

    Parameters
    ----------
    steps : Steps of str
        See `work`.

    Returns
    -------
    Steps of str or Exception
        What came out, or what went wrong.
    """
    try:
        return (yield from steps)
    except Exception as error:  # noqa: BLE001 - it is shown in the row of its file
        return error


def in_words(error: Exception, source: Path) -> str:
    """What went wrong, short enough for a table.

    Parameters
    ----------
    error : Exception
        Of a job.
    source : Path
        Its file: the table says already where it is.

    Returns
    -------
    str
        One line.
    """
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return "The computer ran out of memory: close other programs, or use a part of the data."
    words = " ".join(str(error).replace(str(source), source.name).split())[:LONGEST_REASON]
    is_meant = isinstance(error, ValueError | TypeError | OSError | ImportError)
    return words if is_meant and words else f"Unexpected error ({type(error).__name__}): {words}"


def totals(jobs: Sequence[Job]) -> str:
    """How far all jobs are.

    Parameters
    ----------
    jobs : sequence of Job
        All of the table.

    Returns
    -------
    str
        E.g. ``"3 done, 1 failed, 2 waiting."``
    """
    counts: Any = Counter(job.state for job in jobs)
    order = ("done", "skipped", "failed", "cancelled", "running", "waiting")
    said = [f"{counts[state]} {'done before' if state == 'skipped' else state}" for state in order if counts[state]]
    return ", ".join(said) + "." if said else "No files."


def _stem(name: str) -> str:
    for suffix in (".ome.tiff", ".ome.tif", ".ome.zarr", *READABLE):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def is_movie(path: Path) -> bool:
    """Whether a name is that of a movie, so that there is nothing to look into.

    Parameters
    ----------
    path : Path
        File or folder.

    Returns
    -------
    bool
        For what can be read and is not hidden.
    """
    return path.name.lower().endswith(READABLE) and not path.name.startswith(".")


def _is_result(path: Path) -> bool:
    return path.is_dir() and any((path / name).is_dir() for name in ("aligned", "denoised", "transforms"))


def _inside(folder: Path, depth: int) -> list[Path]:
    found: list[Path] = []
    if not folder.is_dir():
        return found
    for entry in os.scandir(folder):
        path = Path(entry.path)
        if is_movie(path):
            found += [] if _is_result(path) else [path]
        elif entry.is_dir() and depth > 1 and not entry.name.startswith("."):
            found += _inside(path, depth - 1)
    return found


def _changed(source: Path) -> float:
    """When a file was last changed, s; of a zarr folder its metadata, which every writer touches last or first."""
    marks = [source / name for name in ("zarr.json", ".zattrs", ".zgroup")] if source.is_dir() else [source]
    return max((mark.stat().st_mtime for mark in marks if mark.exists()), default=0.0)
