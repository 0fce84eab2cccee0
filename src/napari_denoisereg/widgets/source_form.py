"""What a dock works on: a layer, its axes, a channel. Says in plain words what is there, or what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Signal  # type: ignore[attr-defined]  # qtpy renames pyqtSignal
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QSizePolicy, QSpinBox, QWidget

from napari_denoisereg.widgets.editors import calm
from napari_denoisereg.widgets.layer_chooser import LayerChooser
from napari_denoisereg.widgets.layers import Look, detect_axes, in_words, is_unlabelled, stack_from
from napari_denoisereg.widgets.preferences import recall, remember

if TYPE_CHECKING:
    from napari_denoisereg.stack import Stack

AXES_CHOICES = {
    2: ("yx",),
    3: ("tyx", "zyx", "cyx"),
    4: ("tzyx", "tcyx", "czyx", "zcyx", "ctyx"),
    5: ("tczyx", "tzcyx", "ctzyx"),
}
CORRECTIONS = "axes"
ASK_FOR_SECTIONS = ". Slices of a volume instead? Choose the axes zyx."
LEAST_SIDE = 8  # px of a picture
NO_LAYER = "Open a time-lapse or a stack of sections first, or try File > Open Sample."


class SourceForm(QWidget):
    """Layer chooser, axes and channel.

    Signal ``changed()``: another stack is chosen, or none any more.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers.
    least_frames : int
        Fewer are refused; with 1 a single image is welcome.
    parent : QWidget, optional
        Qt parent.
    """

    changed = Signal()

    def __init__(self, viewer: Any, *, least_frames: int = 2, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._least_frames = least_frames
        self._is_ready = False
        self._stack: Stack | None = None
        # What the axes of layers without labels were the last time; a correction of now is for the next session.
        self._corrections: dict[str, str] = dict(recall(CORRECTIONS, {}))
        self._guessed_for: tuple[Any, int] = (None, 0)  # layer and its number of dimensions
        self.chooser = LayerChooser(viewer)
        self.chooser.setToolTip("The movie or section stack to work on. It is never changed: results are new layers.")
        self._axes = QComboBox()
        self._axes.setEditable(True)
        self._axes.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        calm(self._axes)
        self._axes.setToolTip(
            "What each axis of the layer is: t time, c channel, z depth or section, y, x. "
            "Frames are aligned along t; without t, along z (serial sections)."
        )
        self._words = wrapped_label()
        self._channel = QSpinBox()
        calm(self._channel)
        self._channel.setToolTip("The channel that the motion is estimated on; what is found is applied to all channels.")
        self._rows = QFormLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._rows.addRow(row_label("Layer"), self.chooser)
        self._rows.addRow(row_label("Axes"), self._axes)
        self._rows.addRow(self._words)
        self._channel_label = row_label("Channel")
        self._rows.addRow(self._channel_label, self._channel)
        self.chooser.layer_changed.connect(self._on_layer_changed)
        self._axes.currentTextChanged.connect(self._on_axes_changed)
        self._on_layer_changed()

    def set_ready(self) -> None:
        """Allow to make stacks: from here on the engine is imported."""
        self._is_ready = True
        self._refresh()

    def stack(self) -> Stack | None:
        """The chosen layer as a stack; None where that is not possible, which the form says why."""
        return self._stack

    def look(self) -> Look | None:
        """How the chosen layer lies and looks at this moment; None where there is no stack."""
        layer = self.chooser.layer()
        return None if layer is None or self._stack is None else Look.of(layer, self._stack.outer_axes)

    def channel(self) -> int:
        """The chosen channel, 0 where there is only one."""
        return int(self._channel.value())

    def frame_in_view(self) -> int:
        """Number of the chosen layer's frame that the viewer shows, or the nearest one."""
        layer, stack = self.chooser.layer(), self._stack
        if layer is None or stack is None or stack.is_image:
            return 0
        index = layer.world_to_data(self._viewer.dims.point)[stack.axes.index(stack.frame_axis)]
        return int(np.clip(round(float(index)), 0, stack.n_frames - 1))

    def words(self) -> str:
        """What the form says about the layer."""
        return str(self._words.text())

    def _on_layer_changed(self, _: Any = None) -> None:
        layer = self.chooser.layer()
        shown = (layer, 0 if layer is None else layer.ndim)
        if shown != self._guessed_for:  # A layer that only changed its scale keeps the axes that the user gave it.
            self._guessed_for = shown
            self._guess_axes()
        self._refresh()

    def _guess_axes(self) -> None:
        layer = self.chooser.layer()
        self._axes.blockSignals(True)
        self._axes.clear()
        if layer is not None:
            detected = detect_axes(layer)
            first = self._corrections.get(detected, detected) if is_unlabelled(layer) else detected
            offered = dict.fromkeys((first, detected, *AXES_CHOICES.get(layer.ndim, ())))
            self._axes.addItems(list(offered))
        self._axes.blockSignals(False)

    def _on_axes_changed(self, _: str) -> None:
        self._refresh()
        layer = self.chooser.layer()
        if layer is not None and self._stack is not None and is_unlabelled(layer):
            remember(CORRECTIONS, {**dict(recall(CORRECTIONS, {})), detect_axes(layer): self._stack.outer_axes})

    def _refresh(self) -> None:
        layer = self.chooser.layer()
        self._stack = None
        if layer is None:
            self._words.setText(NO_LAYER)
        elif self._is_ready:
            try:
                self._stack = self._read(layer)
                self._words.setText(self._said(layer, self._stack))
            except (TypeError, ValueError) as error:
                self._words.setText(f"⚠ {error}")
        n_channels = 1 if self._stack is None else self._stack.n_channels
        self._channel.setMaximum(n_channels - 1)
        for widget in (self._channel, self._channel_label):
            widget.setVisible(n_channels > 1)
        self.changed.emit()

    def _said(self, layer: Any, stack: Stack) -> str:
        """What there is, and how to correct what was guessed."""
        said = in_words(stack)
        is_guess = stack.axes == "tyx" and is_unlabelled(layer) and not stack.is_image
        return f"{said[0].upper()}{said[1:]}{ASK_FOR_SECTIONS if is_guess else ''}"

    def _read(self, layer: Any) -> Stack:
        axes = str(self._axes.currentText()).strip()
        stack = stack_from(layer, axes, may_be_image=self._least_frames < 2)
        if stack.n_frames < self._least_frames:
            raise ValueError(
                f"Only {in_words(stack)} along {stack.frame_axis!r}: there is nothing to align. "
                "Correct the axes or open the whole movie."
            )
        if min(stack.grid.shape[-2:]) < LEAST_SIDE:
            raise ValueError(f"Only {in_words(stack)}: too small to see what moves. Open a larger part of the picture.")
        return stack


def row_label(text: str) -> QLabel:
    """Label of a row, as wide as those of the other rows of a dock, so that all editors start at one line.

    Parameters
    ----------
    text : str
        One short word.

    Returns
    -------
    QLabel
        The label.
    """
    label = QLabel(text)
    label.setMinimumWidth(label.fontMetrics().horizontalAdvance("Channel "))
    return label


def wrapped_label(text: str = "") -> QLabel:
    """A label whose text wraps instead of making a dock wide.

    Parameters
    ----------
    text : str
        Shown at first.

    Returns
    -------
    QLabel
        The label.
    """
    label = QLabel(text)
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    return label
