"""Which file: the questions that the transforms dock asks before it loads or saves."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QWidget

FORMATS = {
    "Zarr, keeps everything (*.zarr)": ".zarr",
    "Folder of ITK files, one per frame (*)": "",
    "Table of matrices (*.csv)": ".csv",
    "ITK matrix, one frame (*.tfm)": ".tfm",
    "ITK displacement field, one frame (*.nii.gz)": ".nii.gz",
}
SUFFIXES = (".zarr", ".csv", ".tfm", ".txt", ".nii.gz", ".nii", ".mha", ".nrrd")


def ask_file(parent: QWidget) -> Path | None:
    """Ask for a transforms file.

    Parameters
    ----------
    parent : QWidget
        Of the question.

    Returns
    -------
    Path or None
        None when the user changed their mind.
    """
    kinds = " ".join(f"*{suffix}" for suffix in SUFFIXES if suffix != ".zarr")
    name, _ = QFileDialog.getOpenFileName(parent, "Load transforms", "", f"Transforms ({kinds});;All files (*)")
    return Path(name) if name else None


def ask_folder(parent: QWidget) -> Path | None:
    """Ask for a folder that holds transforms: a zarr, the result of a run, or ITK files.

    Parameters
    ----------
    parent : QWidget
        Of the question.

    Returns
    -------
    Path or None
        None when the user changed their mind.
    """
    name = QFileDialog.getExistingDirectory(parent, "Load transforms: a .zarr folder, or a folder of ITK files")
    return Path(name) if name else None


def ask_target(parent: QWidget, name: str) -> Path | None:
    """Ask where to save; the dialog asks before something is replaced.

    Parameters
    ----------
    parent : QWidget
        Of the question.
    name : str
        Proposed, without suffix.

    Returns
    -------
    Path or None
        With the suffix of the chosen format; None when the user changed their mind.
    """
    path, chosen = QFileDialog.getSaveFileName(parent, "Save transforms", name, ";;".join(FORMATS))
    return with_suffix(path, FORMATS.get(chosen, ".zarr")) if path else None


def with_suffix(path: str, suffix: str) -> Path:
    """A path with the suffix of a format, unless it has one of another.

    Parameters
    ----------
    path : str
        As the user typed it.
    suffix : str
        Of the chosen format.

    Returns
    -------
    Path
        The file or folder to write.
    """
    return Path(path if path.lower().endswith(SUFFIXES) else path + suffix)
