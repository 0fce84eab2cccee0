"""The model that was just trained: what it is, and what can be done with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal  # type: ignore[attr-defined]  # qtpy renames pyqtSignal
from qtpy.QtWidgets import QGridLayout, QGroupBox, QLineEdit, QPlainTextEdit, QVBoxLayout, QWidget

from napari_denoisereg.widgets.dock import button
from napari_denoisereg.widgets.source_form import wrapped_label

if TYPE_CHECKING:
    from napari_denoisereg.widgets.finetune_job import Lesson

FOR_SIMILARITIES = (
    "Registrars compare images with it: save it, then name its file as the encoder of the similarity 'Deep features'."
)


FEW = 20
"""Iterations, after which no network has learnt much."""
TOO_FEW = "⚠ These are very few: train longer before you judge by the pictures."
USEFUL = 0.9
"""Of the error before: a network that leaves more of it has hardly learnt to register."""
LITTLE = (
    "⚠ That is hardly better: train longer, or, if the frames lie far apart, align the movie with a recipe first and train "
    "on the layer [aligned]."
)


class ResultBox(QGroupBox):
    """Name, notes and buttons; hidden before there is a model.

    Signals: ``save_wanted(name, notes)``, ``use_wanted()``, ``compare_wanted()``, ``longer_wanted()``.

    Parameters
    ----------
    parent : QWidget, optional
        Qt parent.
    """

    save_wanted = Signal(str, str)
    use_wanted = Signal()
    compare_wanted = Signal()
    longer_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("The trained model", parent)
        self._words = wrapped_label()
        self._name = QLineEdit()
        self._name.setPlaceholderText("Name in the model library")
        self._name.setToolTip("How you will find the model again.")
        self._notes = QPlainTextEdit()
        self._notes.setPlaceholderText("Notes (microscope, dye, what for …)")
        self._notes.setToolTip("What you want to remember about it.")
        self._notes.setFixedHeight(54)
        self._notes.setTabChangesFocus(True)
        self._buttons = [
            button("Save to library", "Keep the model for later and for other movies.", self._on_save),
            button("Use on layer", "Make a new layer with this model.", self.use_wanted.emit),
            button("Train longer", "Train this model further, for the time above.", self.longer_wanted.emit),
            button("Early / best", "The early, middle and best weights, side by side.", self.compare_wanted.emit),
        ]
        grid = QGridLayout()
        for number, each in enumerate(self._buttons):
            grid.addWidget(each, number // 2, number % 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        for widget in (self._words, self._name, self._notes):
            layout.addWidget(widget)
        layout.addLayout(grid)
        self.hide()

    def show_lesson(self, lesson: Lesson) -> None:
        """Show what was trained.

        Parameters
        ----------
        lesson : Lesson
            Its model is the best.
        """
        self._words.setText(in_words(lesson))
        self._buttons[1].setVisible(lesson.model.method.family != "encoder")
        self._name.setText(", ".join(lesson.model.provenance.get("trained_on", ())))
        self.show()

    def set_busy(self, is_busy: bool) -> None:
        """Allow to press the buttons, or not."""
        for each in self._buttons:
            each.setEnabled(not is_busy)

    def _on_save(self) -> None:
        self.save_wanted.emit(self._name.text(), self._notes.toPlainText())


def in_words(lesson: Lesson) -> str:
    """What came out of a training, in a few plain words.

    Parameters
    ----------
    lesson : Lesson
        What was trained.

    Returns
    -------
    str
        E.g. ``"Best after 350 of 480 iterations, chosen on held-out data (loss 0.612)."``; a warning after very few
        iterations, where keypoints say that a registrar hardly moves them nearer, and where nothing was learnt.
    """
    told = lesson.model.provenance
    whole = told.get("iterations_in_all", told.get("iterations", 0))
    words = f"Best after {told.get('iterations', whole)} of {whole} iterations"
    if "score" in told:
        words += f", chosen by keypoints ({told['score']:.2f} px"
        words += ")" if lesson.before is None else f"; {lesson.before:.2f} px before)"
    elif "validation" in told:
        words += f", chosen on held-out data (loss {told['validation']:.3g})"
    remarks = [f"{words}."]
    if whole < FEW:
        remarks.append(TOO_FEW)
    elif lesson.before is not None and told["score"] > USEFUL * lesson.before:
        remarks.append(LITTLE)
    if "doubt" in told:
        remarks.append(told["doubt"])
    if lesson.model.method.family == "encoder":
        remarks.append(FOR_SIMILARITIES)
    return "\n".join(remarks)
