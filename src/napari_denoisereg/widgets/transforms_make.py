"""Form that makes transforms by hand: from points marked in several frames, or from a copy of the movie that somebody moved."""

from __future__ import annotations

from typing import Any

from napari.layers import Image, Labels, Layer, Points
from qtpy.QtCore import Signal  # type: ignore[attr-defined]  # qtpy renames pyqtSignal
from qtpy.QtWidgets import QComboBox, QFormLayout, QPushButton, QSpinBox, QWidget

from napari_denoisereg.widgets.editors import calm
from napari_denoisereg.widgets.source_form import SourceForm, row_label, wrapped_label

KINDS = {
    "affine": "Affine (turn, stretch, shear)",
    "rigid": "Rigid (turn and shift)",
    "similarity": "Similarity (turn, shift, size)",
    "translation": "Shift only",
    "thin_plate": "Bend (thin-plate spline)",
}
ABOUT = "Where frames jump, show the way: points marked in several frames, or a copy of the movie moved by hand until it fits."


class MakeForm(QWidget):
    """The form. Signals ``from_points()`` and ``from_layer()``: a button was pressed.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers.
    parent : QWidget, optional
        Qt parent.
    """

    from_points = Signal()
    from_layer = Signal()

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.source = SourceForm(viewer)
        self._points = _combo("Points that mark the same places in several frames, e.g. those of the keypoints dock.")
        self._kind = _combo("What may change between frames. Start simple: each kind needs more points than the one before.")
        for kind, title in KINDS.items():
            self._kind.addItem(title, kind)
        self._make_points = QPushButton("Make from points")
        self._make_points.setToolTip("Fit the motion to the points. Misplaced points are found and left out.")
        self._moved = _combo("A duplicate of the movie (or of a frame) that you moved until it fits the first frame.")
        self._first = QSpinBox()
        calm(self._first)
        self._first.setRange(1, 1)
        self._first.setToolTip("The move holds from this frame on; frames before stay where they are.")
        self._make_layer = QPushButton("Make from moved layer")
        self._make_layer.setToolTip("Take the move of the layer, compared with the movie.")
        rows = QFormLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        rows.addRow(wrapped_label(ABOUT))
        rows.addRow(self.source)
        rows.addRow(row_label("Points"), self._points)
        rows.addRow(row_label("Motion"), self._kind)
        rows.addRow(self._make_points)
        rows.addRow(row_label("Moved"), self._moved)
        rows.addRow(row_label("From frame"), self._first)
        rows.addRow(self._make_layer)
        self._make_points.clicked.connect(self.from_points)
        self._make_layer.clicked.connect(self.from_layer)
        self.source.changed.connect(self.refresh)
        self.refresh()

    def points(self) -> Points | None:
        """The chosen points layer."""
        return self._points.currentData()

    def moved(self) -> Layer | None:
        """The chosen moved layer."""
        return self._moved.currentData()

    def kind(self) -> str:
        """The chosen kind of motion, a key of `KINDS`."""
        return str(self._kind.currentData())

    def first_frame(self) -> int:
        """From which frame on the move holds."""
        return int(self._first.value())

    def refresh(self) -> None:
        """Follow the viewer's layers."""
        stack, movie = self.source.stack(), self.source.chooser.layer()
        _fill(self._points, [layer for layer in self._viewer.layers if isinstance(layer, Points)])
        movable = [layer for layer in self._viewer.layers if isinstance(layer, Image | Labels) and layer is not movie]
        _fill(self._moved, movable)
        self._first.setMaximum(1 if stack is None else max(1, stack.n_frames - 1))
        self._make_points.setEnabled(stack is not None and self._points.count() > 0)
        self._make_layer.setEnabled(stack is not None and self._moved.count() > 0)


def _combo(tooltip: str) -> QComboBox:
    combo = QComboBox()
    calm(combo)
    combo.setToolTip(tooltip)
    return combo


def _fill(combo: QComboBox, layers: list[Any]) -> None:
    chosen = combo.currentData()
    combo.clear()
    for layer in layers:
        combo.addItem(layer.name, layer)
    combo.setCurrentIndex(layers.index(chosen) if chosen in layers else len(layers) - 1)
