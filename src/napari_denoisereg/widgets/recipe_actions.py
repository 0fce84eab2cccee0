"""Buttons for what can be done with a recipe besides running it: save it under a name, copy it as Python or as a command."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal  # type: ignore[attr-defined]  # qtpy renames pyqtSignal
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QHBoxLayout, QInputDialog, QMessageBox, QPushButton, QWidget

from napari_denoisereg import saved_recipes
from napari_denoisereg.widgets.recipe_text import command_text, python_text
from napari_denoisereg.widgets.runner import Runner, report

if TYPE_CHECKING:
    from napari_denoisereg.pipeline import Pipeline
    from napari_denoisereg.steps import Steps

COPIED = "Copied: paste it {where}."
TEXTS = MappingProxyType({"Copy as Python": python_text, "Copy as command": command_text})
WHERE = {"Copy as Python": "into a script, a notebook or napari's console", "Copy as command": "into a terminal"}


class RecipeActions(QWidget):
    """The buttons *Copy as Python* and *Copy as command*, and `save`, which a dock connects to a button of its own.

    Signal ``saved(recipe)``: a recipe was saved; it has its new name.

    Parameters
    ----------
    runner : Runner
        Looks at files.
    job : callable
        What would be run now; None where that is not possible; raises ValueError for what a text cannot say.
    texts : mapping, optional
        Titles of buttons, and what makes a text of the job; Python and command of a `Job` by default.
    parent : QWidget, optional
        Qt parent.
    """

    saved = Signal(object)

    def __init__(
        self,
        runner: Runner,
        job: Callable[[], Any],
        texts: Mapping[str, Callable[[Any], Steps[str]]] = TEXTS,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._runner, self._job = runner, job
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for title, text in texts.items():
            button = QPushButton(title)
            button.setToolTip(f"Copy a text that does the same as Run; paste it {WHERE[title]}.")
            button.clicked.connect(lambda _, title=title, text=text: self._copy(title, text))
            row.addWidget(button)

    def save(self, recipe: Pipeline) -> None:
        """Ask for a name and keep a recipe under it.

        Parameters
        ----------
        recipe : Pipeline
            What to keep.
        """
        name = ask_name(self, recipe.name if recipe.name in saved_recipes.names() else "")
        if name is None:
            return
        try:
            is_there = saved_recipes.path_of(name).exists()
            if is_there and not ask_replace(self, name):
                return
            saved_recipes.save(recipe.to_dict(), name, overwrite=is_there)
        except (OSError, ValueError) as error:
            report(error)
            return
        self._runner.say(f"Saved as {name!r}: choose it here, or with --recipe on the command line.")
        self.saved.emit(recipe.model_copy(update={"name": name}))

    def _copy(self, title: str, text: Callable[[Any], Steps[str]]) -> None:
        try:
            job = self._job()
        except ValueError as error:
            report(error)
            return
        if job is None or self._runner.is_running:
            self._runner.say("Choose a layer first, and wait until nothing runs.")
            return
        self._runner.start(text(job), title, lambda copied: self._put(copied, title))

    def _put(self, copied: str, title: str) -> None:
        clipboard = QGuiApplication.clipboard()
        assert clipboard is not None
        clipboard.setText(copied)
        self._runner.say(COPIED.format(where=WHERE[title]))


def ask_name(parent: QWidget, proposal: str) -> str | None:
    """Ask for the name of a recipe.

    Parameters
    ----------
    parent : QWidget
        Of the question.
    proposal : str
        Shown at first.

    Returns
    -------
    str or None
        None when the user changed their mind.
    """
    name, is_given = QInputDialog.getText(parent, "Save recipe", "Name of the recipe:", text=proposal)
    return str(name).strip() if is_given else None


def ask_replace(parent: QWidget, name: str) -> bool:
    """Ask whether an earlier recipe may be replaced.

    Parameters
    ----------
    parent : QWidget
        Of the question.
    name : str
        Of the recipe.

    Returns
    -------
    bool
        Whether it may.
    """
    answer = QMessageBox.question(parent, "Save recipe", f"There is a recipe {name!r} already. Replace it?")
    return bool(answer == QMessageBox.StandardButton.Yes)
