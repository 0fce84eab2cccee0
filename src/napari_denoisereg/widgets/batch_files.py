"""Which movies, which folder: the questions of the dock *Many files*; and its results in the viewer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QFileDialog, QWidget


def ask_files(parent: QWidget) -> list[Path]:
    """Ask for movies.

    Parameters
    ----------
    parent : QWidget
        Of the question.

    Returns
    -------
    list of Path
        Empty when the user changed their mind.
    """
    names, _ = QFileDialog.getOpenFileNames(parent, "Add movies", "", "Movies (*.tif *.tiff);;All files (*)")
    return [Path(name) for name in names]


def ask_folder(parent: QWidget, title: str) -> list[Path]:
    """Ask for a folder.

    Parameters
    ----------
    parent : QWidget
        Of the question.
    title : str
        What for.

    Returns
    -------
    list of Path
        One, or none when the user changed their mind.
    """
    name = QFileDialog.getExistingDirectory(parent, title)
    return [Path(name)] if name else []


def open_result(viewer: Any, path: Path) -> None:
    """Show an image of a result.

    Parameters
    ----------
    viewer : napari.Viewer
        Where.
    path : Path
        An OME-Zarr image.
    """
    from napari_denoisereg import io

    stack = io.read(path)
    viewer.add_image(
        stack.lazy(),
        name=f"{path.parent.stem} [{path.name}]",
        scale=stack.spacing,
        translate=stack.origin,
        units=stack.units,
        axis_labels=tuple(stack.axes),
    )
