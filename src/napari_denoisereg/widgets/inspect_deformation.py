"""View *Deformation*: the displacement of the frame in view as arrows, a deformed grid, its size, and stretch with folds."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.utils.colormaps import AVAILABLE_COLORMAPS, Colormap
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QHBoxLayout, QLabel, QSizePolicy, QWidget

from napari_denoisereg.widgets.editors import calm
from napari_denoisereg.widgets.inspect_fields import Fields, Wanted, fields_of
from napari_denoisereg.widgets.inspect_results import Results
from napari_denoisereg.widgets.inspect_view import View
from napari_denoisereg.widgets.source_form import row_label

NEEDS = "This needs a registration: run Denoise and register with Register switched on, or choose its displacement above."
ON_IMAGES = 0.75  # opacity: the specimen is seen through
FLOW = "[optical flow]"
RED = (0.84, 0.0, 0.0, 1.0)


def stretch_colours() -> Colormap:
    """Blue shrinks, grey stays, orange stretches, red folds (0 and less); steepest around 1: specimens stretch little."""
    places = [0.0, 0.3, 0.45, 0.5, 0.55, 0.7, 1.0]
    colours = [
        (0.02, 0.12, 0.45, 1),
        (0.10, 0.36, 0.80, 1),
        (0.45, 0.68, 0.90, 1),
        (0.85, 0.85, 0.85, 1),
        (0.98, 0.72, 0.42, 1),
        (0.88, 0.44, 0.05, 1),
        (0.50, 0.22, 0.00, 1),
    ]
    return Colormap(colours, controls=places, name="stretch and folds", low_color=RED)


class ColourBar(QWidget):
    """What colours mean: a bar between two values.

    Parameters
    ----------
    colours : Colormap
        Left to right.
    """

    def __init__(self, colours: Colormap) -> None:
        super().__init__()
        pixels = (255 * colours.map(np.linspace(1e-6, 1, 256))[None].repeat(10, axis=0)).round().astype(np.uint8)
        image = QImage(pixels.tobytes(), 256, 10, 4 * 256, QImage.Format.Format_RGBA8888).copy()
        bar, self._low, self._high = QLabel(), QLabel(), QLabel()
        bar.setPixmap(QPixmap.fromImage(image))
        bar.setScaledContents(True)
        bar.setMinimumWidth(40)
        bar.setFixedHeight(10)
        bar.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._low)
        row.addWidget(bar, 1)
        row.addWidget(self._high)

    def set_ends(self, low: str, high: str) -> None:
        """Say what the ends are."""
        self._low.setText(low)
        self._high.setText(high)


class DeformationView(View):
    """The view; see `View`."""

    title = "Deformation"

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self._fields: Fields | None = None
        self._top = 0.0
        self._arrows = QCheckBox("Arrows")
        self._arrows.setToolTip("From where a place is in the first frame to where it is in this one.")
        self._lines = QCheckBox("Deformed grid")
        self._lines.setToolTip("A square grid of the first frame, as it lies in this frame.")
        self._size = QCheckBox("Size of the displacement")
        self._size.setToolTip("How far each place moved, in colours.")
        self._stretch = QCheckBox("Stretch and folds")
        self._stretch.setToolTip("Jacobian determinant: 1 is unchanged, 2 is twice the area or volume; red folds over itself.")
        self._flow = QCheckBox("Flow to the next frame")
        self._flow.setToolTip("Optical flow of the denoised movie: from where a place is in this frame to the next one.")
        self._arrows.setChecked(True)
        self._enlarge = QDoubleSpinBox()
        self._enlarge.setRange(1.0, 100.0)
        self._enlarge.setDecimals(1)
        self._enlarge.setPrefix("× ")
        self._enlarge.setToolTip("Draw arrows and grid larger than they are, to see small motions.")
        calm(self._enlarge)
        self._size_bar = ColourBar(AVAILABLE_COLORMAPS["viridis"])
        self._stretch_bar = ColourBar(stretch_colours())
        self._stretch_bar.set_ends("0 (folds red)", "2")
        for widget in (self._arrows, self._lines, self._size, self._size_bar, self._stretch, self._stretch_bar, self._flow):
            self._rows.addRow(widget)
        self._rows.addRow(row_label("Enlarge"), self._enlarge)
        self._rows.addRow(self._words)
        for box in (self._arrows, self._lines, self._size, self._stretch, self._flow):
            box.toggled.connect(self._on_changed)
        self._enlarge.valueChanged.connect(self._on_changed)

    def missing(self, results: Results) -> str:
        """See `View.missing`."""
        return "" if results.registration is not None else NEEDS

    def begin(self) -> None:
        """Show the frame in view."""
        self._top = 0.0
        self._flow.setEnabled(self._results is not None and self._results.denoised is not None)
        self._on_changed()

    def follow(self) -> None:
        """Show the frame in view."""
        if self._results is None or self._results.registration is None:
            return
        registration, position, unit = self._results.registration, self._position, self._results.unit
        denoised = self._results.denoised
        wanted = Wanted(
            arrows=self._arrows.isChecked(),
            lines=self._lines.isChecked(),
            size=self._size.isChecked(),
            stretch=self._stretch.isChecked(),
            flow_of=denoised.channel(position.channel) if denoised is not None and self._flow.isChecked() else None,
            enlarge=float(self._enlarge.value()),
        )
        self._background.ask(lambda: fields_of(registration, position, wanted, unit), self._draw)

    def _on_changed(self, _: Any = None) -> None:
        self._size_bar.setVisible(self._size.isChecked())
        self._stretch_bar.setVisible(self._stretch.isChecked())
        self.follow()

    def _draw(self, fields: Fields) -> None:
        results = self._results
        if results is None:
            return
        self._stage.hide_others(images=False)
        self._draw_images(fields, results)
        if fields.lines is None:
            self._stage.drop("lines")
        else:
            data = self._placed(fields.lines, fields, results)
            width = max(results.noisy.grid.shape[-2:]) / 400
            look = {"name": "Deformed grid", "edge_color": "#56b4e9", "edge_width": width, "vector_style": "line"}
            self._stage.show_vectors("lines", data, results, **look)
        if fields.arrows is None or fields.lengths is None:
            self._stage.drop("arrows")
        else:
            data = self._placed(fields.arrows, fields, results)
            width = max(results.noisy.grid.shape[-2:]) / 250
            look = {"name": "Displacement arrows", "edge_color": "#e69f00", "edge_width": width, "vector_style": "arrow"}
            self._stage.show_vectors("arrows", data, results, **look)
        if fields.flow is None:
            self._stage.drop("flow")
        else:
            data = self._placed(fields.flow, fields, results)
            width = max(results.noisy.grid.shape[-2:]) / 250
            look = {"name": FLOW, "edge_color": "#cc79a7", "edge_width": width, "vector_style": "arrow"}
            self._stage.show_vectors("flow", data, results, **look)
        self.say(fields.words)

    def _draw_images(self, fields: Fields, results: Results) -> None:
        steps = tuple(float(step) for step in fields.steps)
        if fields.size is None:
            self._stage.drop("size")
        else:
            self._top = max(self._top, float(np.nanmax(fields.size, initial=0.0)), 1e-6)
            look = {"name": f"Size of the displacement ({results.unit})", "colormap": "viridis", "opacity": ON_IMAGES}
            layer = self._stage.show_image(
                "size", fields.size, results, steps=steps, contrast_limits=(0.0, self._top), blending="translucent", **look
            )
            layer.contrast_limits = (0.0, self._top)
            self._size_bar.set_ends("0", f"{self._top:.3g} {results.unit}")
        if fields.stretch is None:
            self._stage.drop("stretch")
        else:
            look = {"name": "Stretch and folds", "colormap": stretch_colours(), "opacity": ON_IMAGES, "blending": "translucent"}
            self._stage.show_image("stretch", fields.stretch, results, steps=steps, contrast_limits=(0.0, 2.0), **look)

    @staticmethod
    def _placed(vectors: np.ndarray[Any, Any], fields: Fields, results: Results) -> np.ndarray[Any, Any]:
        """Vectors of a frame at their frame and channel ``(N, 2, ndim)``."""
        axes, position = results.look.axes, fields.position
        data = np.zeros((len(vectors), 2, len(axes)), np.float32)
        for number, axis in enumerate(results.spatial):
            data[:, :, axes.index(axis)] = vectors[:, :, number]
        data[:, 0, axes.index(results.noisy.frame_axis)] = position.frame
        if "c" in axes:
            data[:, 0, axes.index("c")] = position.channel
        return data
