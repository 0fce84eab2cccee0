"""Results are written beside their place and moved there at the end: a killed run leaves the old or the complete file.

Files are swapped in one step by the operating system. A folder (zarr) cannot be: the old one is first moved to
``.<name>.previous``, so a run killed between the two moves leaves nothing under the name itself. `find` therefore falls
back on that folder, and the next write puts it right.
"""

import errno
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RESULT_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zattrs", "transforms.json")  # in a folder that may be replaced
ABANDONED_AFTER = 24 * 3600.0  # s; a run that wrote nothing for so long was killed


def check_writable(path: str | Path, n_bytes: int = 0, *, overwrite: bool = False) -> None:
    """Refuse an output place that cannot take a result, before long work starts.

    Parameters
    ----------
    path : str or Path
        File or folder to be written.
    n_bytes : int
        How much will be written at most (the old result stays until the end, so it needs its space beside it).
    overwrite : bool
        Whether an earlier result there may be replaced.

    Raises
    ------
    FileExistsError
        When something is there already and ``overwrite`` is false, or it is a folder of other files.
    FileNotFoundError, NotADirectoryError
        When the folder to write into does not exist.
    PermissionError
        When it cannot be written to.
    OSError
        When the disk has too little space left.
    """
    target = _followed(path)
    folder = target.absolute().parent
    _check_folder(folder, target)
    _check_replaceable(target, overwrite)
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise OSError(
            errno.ENOSPC,
            f"Writing {target.name} needs up to {_readable(n_bytes)}, the disk of {folder} has {_readable(free)} free; "
            "free some space or choose another folder",
        )


def check_apart(target: str | Path, *inputs: str | Path) -> None:
    """Refuse an output that would replace what it is made of, even where an earlier result may be replaced.

    Parameters
    ----------
    target : str or Path
        File or folder to be written.
    *inputs : str or Path
        What is read.

    Raises
    ------
    ValueError
        When an input is the output, under whatever name, or lies in it.
    """
    place = Path(target).resolve()
    for given in map(Path, inputs):
        read = given.resolve()
        if place == read or place in read.parents:
            what = "the input" if place == read else f"the folder that the input {given} lies in"
            raise ValueError(f"The output {target} would replace {what}; choose another name.")


def find(path: str | Path) -> Path:
    """Where a result really is.

    Parameters
    ----------
    path : str or Path
        The place it was written to.

    Returns
    -------
    Path
        ``path``, or the older result that a run killed in its very last step left beside it.

    Raises
    ------
    FileNotFoundError
        When there is neither.
    """
    target = Path(path)
    if target.exists():
        return target
    if _previous(target).exists():
        return _previous(target)
    raise FileNotFoundError(f"There is no file or folder {target}; check the name and the folder.")


@contextmanager
def replacing(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a place to write to, and move what was written there to ``path`` when all went well.

    Parameters
    ----------
    path : str or Path
        Where the result shall be, a file or a folder.
    overwrite : bool
        Whether an earlier result there may be replaced.

    Yields
    ------
    Path
        A name beside ``path`` (where it leads, if it is a link) that does not exist yet; create a file or a folder there. On
        any exception, a closed generator or Ctrl-C it is deleted and ``path`` stays as it was.

    Raises
    ------
    OSError
        See `check_writable`.
    """
    target = _followed(path)
    check_writable(target, overwrite=overwrite)
    _remove_abandoned(target)
    part = target.with_name(f".part-{secrets.token_hex(4)}-{target.name}")  # the suffix tells some writers the format
    try:
        yield part
        _move(part, target, overwrite)
    except BaseException as error:
        remove(part)
        if _tells_a_full_disk(error):
            raise OSError(
                errno.ENOSPC,
                f"The disk of {target.absolute().parent} became full while writing {target.name}, nothing there was changed; "
                "free some space or choose another folder",
            ) from error
        raise


def remove(path: Path) -> None:
    """Delete a file or folder, whether it is there or not.

    Parameters
    ----------
    path : Path
        What to delete.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _followed(path: str | Path) -> Path:
    """Where a link leads, so that a result lies on the disk the user chose and the link stays."""
    target = Path(path)
    return target.resolve() if target.is_symlink() else target


def _tells_a_full_disk(error: BaseException) -> bool:
    # numpy's tofile, which writes TIFF pages, only says "9216 requested and 6960 written".
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return isinstance(error, OSError) and (
        error.errno in full or bool(re.fullmatch(r"\d+ requested and \d+ written", str(error)))
    )


def _check_folder(folder: Path, target: Path) -> None:
    if not folder.exists():
        raise FileNotFoundError(f"The folder {folder} for {target.name} does not exist; create it first.")
    if not folder.is_dir():
        raise NotADirectoryError(f"Expected a folder to write {target.name} into, got the file {folder}.")
    refused = PermissionError(
        f"The folder {folder} cannot be written to (read-only or not yours); choose another folder for {target.name}."
    )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise refused
    try:  # Rights alone do not tell: network shares and mounts refuse only when asked.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise OSError(errno.ENOSPC, f"The disk of {folder} is full; free some space or choose another folder") from error
        raise refused from error


def _check_replaceable(target: Path, overwrite: bool) -> None:
    if not target.exists():
        return
    if not overwrite:
        raise FileExistsError(f"{target} exists already; choose another name, or replace it (overwrite=True, --overwrite).")
    if target.is_dir() and any(target.iterdir()) and not _is_result(target):
        raise FileExistsError(f"{target} is a folder with other files in it and is not replaced; choose another name.")


def _is_result(folder: Path) -> bool:
    return any((folder / mark).exists() for mark in RESULT_MARKS)


def _move(part: Path, target: Path, overwrite: bool) -> None:
    _check_replaceable(target, overwrite)  # It may have appeared during long work.
    previous = _previous(target)
    if part.is_dir() or target.is_dir():
        if target.exists():
            remove(previous)
            target.rename(previous)
        try:
            part.rename(target)
        except BaseException:
            if previous.exists():  # there was an earlier result
                previous.rename(target)
            raise
        remove(previous)
    else:
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(target)


def _previous(target: Path) -> Path:
    return target.with_name(f".{target.name}.previous")


def _remove_abandoned(target: Path) -> None:
    """Delete what killed runs left beside this target, never what a running one is writing."""
    for part in target.absolute().parent.glob(f".part-????????-{_literal(target.name)}"):
        entries = [part, *part.rglob("*")] if part.is_dir() else [part]
        newest = max((entry.stat().st_mtime for entry in entries if entry.exists()), default=time.time())
        if time.time() - newest > ABANDONED_AFTER:
            remove(part)


def _literal(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "[*?" else letter for letter in name)


def _readable(n_bytes: int) -> str:
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes} bytes"
