"""Which movies, which folder, which recipe: the questions of the dock *Many files*; and its results in the viewer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal  # type: ignore[attr-defined]  # qtpy renames pyqtSignal
from qtpy.QtGui import QFocusEvent
from qtpy.QtWidgets import QComboBox, QFileDialog, QWidget

from napari_denoisereg.saved_recipes import PRESETS


class RecipeBox(QComboBox):
    """Recipes by name. Signal ``opened()``: the user is about to choose."""

    opened = Signal()

    def offer(self, names: Iterable[str]) -> None:
        """Show recipes; the chosen one stays.

        Parameters
        ----------
        names : iterable of str
            In order.
        """
        wanted, chosen = list(names), self.currentData()
        if wanted == [self.itemData(place) for place in range(self.count())]:
            return
        self.clear()
        for name in wanted:
            self.addItem(name.capitalize() if name in PRESETS else name, name)
        self.setCurrentIndex(max(0, self.findData(chosen)))

    def showPopup(self) -> None:  # noqa: N802 - Qt's name
        """Tell before the list opens."""
        self.opened.emit()
        super().showPopup()

    def focusInEvent(self, event: QFocusEvent | None) -> None:  # noqa: N802 - Qt's name
        """Tell before keys choose."""
        self.opened.emit()
        super().focusInEvent(event)


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
