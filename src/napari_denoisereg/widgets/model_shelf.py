"""The model library to look at: what there is, where it comes from, and what can be done with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt, Signal  # type: ignore[attr-defined]  # qtpy renames pyqtSignal
from qtpy.QtGui import QIcon, QPixmap
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QMessageBox,
    QPlainTextEdit,
    QVBoxLayout,
    QWidget,
)

from napari_denoisereg.widgets.dock import button
from napari_denoisereg.widgets.model_preview import image_of
from napari_denoisereg.widgets.runner import report
from napari_denoisereg.widgets.source_form import wrapped_label

if TYPE_CHECKING:
    from napari_denoisereg.io.library import Entry, Library

ICON = 48  # px
PACKAGE, MODEL = "bioimage.io package (*.zip)", "Model file (*.model)"
EMPTY = "No model yet: train one and save it, or import a file."


class ModelShelf(QWidget):
    """The library.

    Signals: ``changed()`` when a model was added, renamed or deleted; ``start_wanted(Entry)``, ``use_wanted(Entry)``,
    ``compare_wanted(list of Entry)``, ``export_wanted(Entry, str)``.

    Parameters
    ----------
    parent : QWidget, optional
        Qt parent.
    """

    changed = Signal()
    start_wanted = Signal(object)
    use_wanted = Signal(object)
    compare_wanted = Signal(object)
    export_wanted = Signal(object, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._library: Library | None = None
        self._entries: list[Entry] = []
        self._list = QListWidget()
        self._list.setSelectionMode(QListWidget.SelectionMode.ExtendedSelection)
        self._list.setIconSize(QSize(ICON, ICON))
        self._list.setMinimumHeight(150)
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._list.setAccessibleName("Models")
        self._list.setToolTip("Saved models. Choose two (Ctrl+click) to compare them.")
        self._words = wrapped_label(EMPTY)
        self._name = QLineEdit()
        self._name.setPlaceholderText("Name")
        self._name.setToolTip("The chosen model's name; Keep changes saves it.")
        self._notes = QPlainTextEdit()
        self._notes.setPlaceholderText("Notes")
        self._notes.setToolTip("What you want to remember about the chosen model; Keep changes saves it.")
        self._notes.setFixedHeight(54)
        self._notes.setTabChangesFocus(True)
        self._buttons = {
            "Start from it": button("Start from it", "Train this model further on the movie above.", self._on_start),
            "Use on layer": button("Use on layer", "Denoise or register the layer above with this model.", self._on_use),
            "Compare": button("Compare", "Two chosen models on the frame in view, side by side.", self._on_compare),
            "Keep changes": button("Keep changes", "Save the name and the notes.", self._on_keep),
            "Export…": button("Export…", "Write it for other people or programs (bioimage.io).", self._on_export),
            "Import…": button("Import…", "Add a model file or a package that this program wrote.", self._on_import),
            "Delete…": button("Delete…", "Delete the chosen model for good; asks first.", self._on_delete),
        }
        grid = QGridLayout()
        for number, each in enumerate(self._buttons.values()):
            grid.addWidget(each, number // 2, number % 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self._list, self._words, self._name, self._notes):
            layout.addWidget(widget)
        layout.addLayout(grid)
        self._list.itemSelectionChanged.connect(self._on_selected)
        self._on_selected()

    def set_library(self, library: Library) -> None:
        """Show a library.

        Parameters
        ----------
        library : Library
            Any.
        """
        self._library = library
        self.refresh()

    def entries(self) -> list[Entry]:
        """All models, as shown."""
        return list(self._entries)

    def chosen(self) -> list[Entry]:
        """The chosen models."""
        return [self._entries[self._list.row(item)] for item in self._list.selectedItems()]

    def refresh(self, keep: Path | None = None) -> None:
        """Read the folder again.

        Parameters
        ----------
        keep : Path, optional
            File of the model to choose.
        """
        if self._library is None:
            return
        self._entries = self._library.entries()
        self._list.clear()
        for entry in self._entries:
            item = QListWidgetItem(f"{entry.name}{' (built in)' if entry.is_builtin else ''}")
            item.setIcon(_icon(entry))
            item.setToolTip(entry.words())
            self._list.addItem(item)
            item.setSelected(entry.path == keep)
        self._on_selected()
        self.changed.emit()

    def _on_selected(self) -> None:
        chosen = self.chosen()
        only = chosen[0] if len(chosen) == 1 else None
        is_own = only is not None and not only.is_builtin
        for name, is_possible in {
            "Start from it": only is not None,
            "Use on layer": only is not None,
            "Compare": len(chosen) == 2,
            "Keep changes": is_own,
            "Export…": only is not None,
            "Delete…": is_own,
        }.items():
            self._buttons[name].setEnabled(is_possible)
        self._words.setText(only.words() if only else ("" if self._entries else EMPTY))
        self._name.setText(only.name if only else "")
        self._notes.setPlainText(only.notes if only else "")
        for editor in (self._name, self._notes):
            editor.setEnabled(is_own)

    def _on_start(self) -> None:
        self.start_wanted.emit(self.chosen()[0])

    def _on_use(self) -> None:
        self.use_wanted.emit(self.chosen()[0])

    def _on_compare(self) -> None:
        self.compare_wanted.emit(self.chosen())

    def _on_keep(self) -> None:
        assert self._library is not None
        entry = self.chosen()[0]
        try:
            self._library.describe(entry, self._name.text(), self._notes.toPlainText())
        except (ValueError, OSError) as error:
            report(error)
            return
        self.refresh(entry.path)

    def _on_delete(self) -> None:
        assert self._library is not None
        entry = self.chosen()[0]
        asked = QMessageBox.question(self, "Delete a model", f"Delete {entry.name!r} for good?")
        if asked == QMessageBox.StandardButton.Yes:
            self._library.remove(entry)
            self.refresh()

    def _on_export(self) -> None:
        entry = self.chosen()[0]
        first = PACKAGE if hasattr(entry.model.method, "image_network") else MODEL
        kinds = ";;".join(dict.fromkeys((first, MODEL)))
        name, kind = QFileDialog.getSaveFileName(self, "Export a model", entry.path.stem, kinds, first)
        if name:
            suffix = ".zip" if kind == PACKAGE else ".model"
            self.export_wanted.emit(entry, name if Path(name).suffix in (".zip", ".model") else name + suffix)

    def _on_import(self) -> None:
        from napari_denoisereg.io.bioimageio import import_package
        from napari_denoisereg.io.library import FAMILIES
        from napari_denoisereg.model import load

        assert self._library is not None
        name, _ = QFileDialog.getOpenFileName(self, "Import a model", "", "Models (*.model *.safetensors *.zip)")
        if not name:
            return
        try:
            model = import_package(name) if name.endswith(".zip") else load(name, FAMILIES)
            entry = self._library.add(
                model, str(model.provenance.get("name") or Path(name).stem), str(model.provenance.get("notes", ""))
            )
        except (ValueError, OSError) as error:
            report(error)
            return
        self.refresh(entry.path)


def _icon(entry: Entry) -> QIcon:
    picture = QPixmap(ICON, ICON)
    picture.fill(Qt.GlobalColor.transparent)
    if entry.model.thumbnail is not None:
        picture = QPixmap.fromImage(image_of(entry.model.thumbnail.numpy()))
    return QIcon(picture)
