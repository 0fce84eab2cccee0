"""The model library: a folder of the user's data directory in which every file is a model.

Name, notes and what a model was trained on stand in the model file itself (`Model.provenance`, `Model.thumbnail`), so that a
copied file loses nothing, and a file put into the folder is in the library. Built-in starting points come with the program and
cannot be changed.

While a network is trained its state is saved in the sub-folder ``unfinished``, under the number of the process: files of
processes that are gone are trainings that a crash interrupted.
"""

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import platformdirs
import psutil
from torch import Tensor

from napari_denoisereg.denoise import Denoiser
from napari_denoisereg.encode import Encoder
from napari_denoisereg.method import Method
from napari_denoisereg.model import Model, load
from napari_denoisereg.register import Registrar

FAMILIES: tuple[type[Method], ...] = (Denoiser, Registrar, Encoder)
SUFFIX = ".model"
FOLDER_VARIABLE = "DENOISEREG_MODELS"
BUILTIN = Path(__file__).parent.parent / "models"


@dataclass(frozen=True, eq=False)
class Entry:
    """A model of the library.

    Parameters
    ----------
    path : Path
        Its file.
    model : Model
        Without its weights, which take longer to read.
    is_builtin : bool
        Whether it comes with the program.
    """

    path: Path
    model: Model
    is_builtin: bool = False

    @property
    def name(self) -> str:
        """What the user calls it."""
        return str(self.model.provenance.get("name") or self.path.stem)

    @property
    def notes(self) -> str:
        """What the user wrote about it."""
        return str(self.model.provenance.get("notes", ""))

    @property
    def share(self) -> float:
        """Part of its training that was done, 1 where it was not interrupted."""
        left = self.model.unfinished
        return 1.0 if left is None else float(left.record["share"])

    def load(self) -> Model:
        """The model with its weights.

        Returns
        -------
        Model
            As it was saved.
        """
        return load(self.path, FAMILIES)

    def words(self) -> str:
        """What it is, in a few lines of plain words.

        Returns
        -------
        str
            Method, data, length of training, date.
        """
        told, method = self.model.provenance, self.model.method
        data = "; ".join(_data_in_words(each) for each in told.get("data", ())) or ", ".join(told.get("trained_on", ()))
        length = f"{told['iterations']} iterations" if "iterations" in told else ""
        lines = [
            f"{method.title} · {self.model.ndim}D",
            f"Trained on {data}" if data else "",
            length,
            str(told.get("date", "")),
        ]
        return "\n".join(line for line in [*lines, self.notes] if line)


class Library:
    """The models of one user.

    Parameters
    ----------
    folder : str or Path, optional
        Where they are; by default ``$DENOISEREG_MODELS``, else the user's data directory. It is made when needed.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        chosen = folder or os.environ.get(FOLDER_VARIABLE)
        self.folder = Path(chosen) if chosen else Path(platformdirs.user_data_dir("napari-denoisereg", False)) / "models"

    def entries(self) -> list[Entry]:
        """All models, the newest first, then those that come with the program. Files that are no models are left out.

        Returns
        -------
        list of Entry
            Quick: weights are not read.
        """
        own = sorted(self.folder.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime, reverse=True)
        listed = [(path, False) for path in own] + [(path, True) for path in sorted(BUILTIN.glob(f"*{SUFFIX}"))]
        return [Entry(path, model, builtin) for path, builtin in listed if (model := _readable(path)) is not None]

    def add(self, model: Model, name: str, notes: str = "", thumbnail: Tensor | None = None) -> Entry:
        """Save a model.

        Parameters
        ----------
        model : Model
            Trained.
        name, notes : str
            In the user's words.
        thumbnail : Tensor, optional
            A picture of what it does, ``(y, x)``, uint8; the model's own by default.

        Returns
        -------
        Entry
            The saved model.

        Raises
        ------
        ValueError
            When the name is empty.
        """
        self._make(self.folder)
        stem = re.sub(r"[^\w-]+", "-", _named(name)).strip("-")[:60] or "model"
        path = self.folder / f"{stem}{SUFFIX}"
        while path.exists():
            path = self.folder / f"{stem}-{secrets.token_hex(2)}{SUFFIX}"
        told = {**model.provenance, "name": _named(name), "notes": notes}
        named = replace(model, provenance=told, unfinished=None, thumbnail=model.thumbnail if thumbnail is None else thumbnail)
        named.save(path)
        return Entry(path, replace(named, weights={}))

    def describe(self, entry: Entry, name: str, notes: str) -> Entry:
        """Give a model another name and other notes.

        Parameters
        ----------
        entry : Entry
            The user's own.
        name, notes : str
            In the user's words.

        Returns
        -------
        Entry
            The model, in the same file.

        Raises
        ------
        ValueError
            When the name is empty or the model comes with the program.
        """
        _own(entry)
        model = entry.load()
        named = replace(model, provenance={**model.provenance, "name": _named(name), "notes": notes})
        named.save(entry.path)
        return Entry(entry.path, replace(named, weights={}))

    def remove(self, entry: Entry) -> None:
        """Delete a model for good.

        Parameters
        ----------
        entry : Entry
            The user's own.

        Raises
        ------
        ValueError
            When the model comes with the program.
        """
        _own(entry)
        entry.path.unlink(missing_ok=True)

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(
                f"The model library {str(self.folder)!r} is no folder and cannot be made one ({error.strerror}); choose "
                f"another place: 'Model folder' in napari's preferences, or the environment variable {FOLDER_VARIABLE}."
            ) from error

    def unfinished_path(self) -> Path:
        """A file for the state of a training of this process.

        Returns
        -------
        Path
            In a folder that is there.
        """
        folder = self.folder / "unfinished"
        self._make(folder)
        return folder / f"{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"

    def unfinished(self) -> list[Entry]:
        """Trainings that a crash interrupted, the newest first.

        Returns
        -------
        list of Entry
            Their `Entry.load` is a ``start`` that goes on where they were.
        """
        paths = [path for path in (self.folder / "unfinished").glob(f"*{SUFFIX}") if not _is_at_work(path)]
        found = [(path, _readable(path)) for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)]
        return [Entry(path, model) for path, model in found if model is not None and model.unfinished is not None]


def _readable(path: Path) -> Model | None:
    """What a file says about itself; None for files of others, which may lie in the folder."""
    try:
        return load(path, FAMILIES, with_weights=False)
    except (ValueError, FileNotFoundError):
        return None


def _named(name: str) -> str:
    if not name.strip():
        raise ValueError("A model needs a name; type one, e.g. what it was trained on.")
    return name.strip()


def _own(entry: Entry) -> None:
    if entry.is_builtin:
        raise ValueError(f"{entry.name!r} comes with the program and cannot be changed; save a copy under another name.")


def _is_at_work(path: Path) -> bool:
    """Whether the process that writes a file is still there, and is not another one with the same number."""
    number = path.name.partition("-")[0]
    try:
        return number.isdigit() and psutil.Process(int(number)).create_time() <= path.stat().st_mtime
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False


def _data_in_words(data: Mapping[str, Any]) -> str:
    size = " × ".join(str(length) for length in data["shape"])
    return f"{data['name']} ({data['axes']} {size}, pixel {data['spacing'][-1]:g} {data['units'][-1]})"
