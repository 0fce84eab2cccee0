"""What all views of the Inspect dock are: switched on with results, told where to look, switched off without a trace."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal  # type: ignore[attr-defined]  # qtpy renames pyqtSignal
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QFormLayout, QWidget

from napari_denoisereg.steps import Progress
from napari_denoisereg.widgets.inspect_background import Background
from napari_denoisereg.widgets.inspect_results import Position, Results
from napari_denoisereg.widgets.inspect_stage import Stage
from napari_denoisereg.widgets.runner import report
from napari_denoisereg.widgets.source_form import wrapped_label

OWN_ERRORS = (ValueError, TypeError, OSError)  # they say what to do


class View(QWidget):
    """One view.

    Signals: ``frame_wanted(int)``, the user asks the viewer to go to a frame; ``closed()``, the user took its layers away.

    Parameters
    ----------
    viewer : napari.Viewer
        Where its layers are shown.
    """

    frame_wanted = Signal(int)
    closed = Signal()

    title = ""

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._results: Results | None = None
        self._position = Position(0)
        self._stage = Stage(viewer, self._on_layer_removed)
        self._background = Background(self)
        self._background.failed.connect(self._on_failed)
        self._background.progressed.connect(self._on_progressed)
        self._words = wrapped_label()
        self._rows = QFormLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)

    @property
    def is_on(self) -> bool:
        """Whether it shows something."""
        return self._results is not None

    def missing(self, results: Results) -> str:  # noqa: ARG002 - most views need something
        """What this view needs that there is not, in plain words; empty when it can be shown."""
        return ""

    def switch_on(self, results: Results, position: Position) -> None:
        """Show results.

        Parameters
        ----------
        results : Results
            Of one movie.
        position : Position
            Where the viewer looks.
        """
        problem = self.missing(results)
        self._enable(not problem)
        self.say(problem)
        if not problem:
            self._results, self._position = results, position
            self.begin()

    def switch_off(self) -> None:
        """Show nothing: no layer, timer or work is left."""
        self.end()
        self._background.cancel()
        self._results = None
        self._stage.clear()

    def close_down(self) -> None:
        """Switch off and wait for work, though not for long."""
        self.switch_off()
        self._background.close_down()

    def look_at(self, position: Position) -> None:
        """Follow the viewer to another frame, channel or plane."""
        if self._results is not None and position != self._position:
            self._position = position
            self.follow()

    def set_theme(self, name: str) -> None:
        """Take the colours of one of napari's themes, where the view has plots."""

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802 - Qt's name
        """Keep room for all lines of the text."""
        super().resizeEvent(event)
        self._fit_words()

    # ------------------------------------------------------------------------------------------ for the views
    def say(self, text: str) -> None:
        """Say something about what is shown."""
        self._words.setText(text)
        self._fit_words()

    def _fit_words(self) -> None:
        # A form layout in a section notices too late that a text became longer, and cuts its last line off.
        self._words.setMinimumHeight(max(0, self._words.heightForWidth(self._words.width())))

    def begin(self) -> None:
        """Start to show ``self._results``."""

    def follow(self) -> None:
        """Show ``self._position``."""

    def end(self) -> None:
        """Stop timers."""

    def _enable(self, is_wanted: bool) -> None:
        for row in range(self._rows.rowCount()):
            for role in (QFormLayout.ItemRole.LabelRole, QFormLayout.ItemRole.FieldRole, QFormLayout.ItemRole.SpanningRole):
                item = self._rows.itemAt(row, role)
                widget = None if item is None else item.widget()
                if widget is not None and widget is not self._words:
                    widget.setVisible(is_wanted)

    def _on_failed(self, error: Exception) -> None:
        self.say(f"⚠ {error}")
        if not isinstance(error, OWN_ERRORS):
            report(error)

    def _on_progressed(self, progress: Progress) -> None:
        if progress.total > 3:
            self.say(f"{progress.stage[:1].upper()}{progress.stage[1:]} … {round(100 * progress.fraction)} %")

    def _on_layer_removed(self) -> None:
        if self.is_on:
            self.closed.emit()
