"""View *Compare pictures*: two frames in green and magenta, as a checkerboard, behind a divider, or blinking."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QSlider, QSpinBox

from napari_denoisereg.evaluation.comparison import checkerboard, divided
from napari_denoisereg.widgets.editors import calm
from napari_denoisereg.widgets.inspect_pictures import NOISY_DENOISED, TITLES, Pair, choices, read_pair
from napari_denoisereg.widgets.inspect_results import Results
from napari_denoisereg.widgets.inspect_view import View
from napari_denoisereg.widgets.source_form import row_label

OVERLAY, CHECKERBOARD, SWIPE, FLICKER = "overlay", "checkerboard", "swipe", "flicker"
MODES = {
    OVERLAY: "Green and magenta",
    CHECKERBOARD: "Checkerboard",
    SWIPE: "Swipe (divider)",
    FLICKER: "Flicker",
}
FASTEST = 3.0  # changes per second; faster flashes of a whole screen can harm people with photosensitive epilepsy (WCAG 2.3.1)
SLIDER = 1000
GREY = {"colormap": "gray", "contrast_limits": (0.0, 1.0)}


class OverlayView(View):
    """The view; see `View`."""

    title = "Compare pictures"

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self._pair: Pair | None = None
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._on_timer)
        self._which = QComboBox()
        self._which.setToolTip("Which two pictures to compare.")
        self._mode = QComboBox()
        for mode, title in MODES.items():
            self._mode.addItem(title, mode)
        self._mode.setToolTip("How to show the two pictures.")
        self._clean = QCheckBox("Without noise")
        self._clean.setToolTip("Show the denoised frames: differences are seen better. The alignment is the same.")
        self._clean.setChecked(True)
        self._tile = QSpinBox()
        self._tile.setRange(2, 4096)
        self._tile.setSuffix(" px")
        self._tile.setToolTip("Side of the squares. Edges that run on from square to square fit.")
        self._divider = QSlider(Qt.Orientation.Horizontal)
        self._divider.setRange(0, SLIDER)
        self._divider.setValue(SLIDER // 2)
        self._divider.setToolTip("Where the divider stands. You can also drag in the picture.")
        self._rate = QDoubleSpinBox()
        self._rate.setRange(0.5, FASTEST)
        self._rate.setSingleStep(0.5)
        self._rate.setValue(1.5)
        self._rate.setSuffix(" per s")
        self._rate.setToolTip("How often the picture changes; never faster than is safe for everybody.")
        for box in (self._which, self._mode, self._tile, self._rate):
            calm(box)
        self._lay_out()
        self._connect()

    def _lay_out(self) -> None:
        rows = self._rows
        rows.addRow(row_label("Pictures"), self._which)
        rows.addRow(row_label("Show as"), self._mode)
        rows.addRow("", self._clean)
        self._options = {CHECKERBOARD: (row_label("Squares"), self._tile), SWIPE: (row_label("Divider"), self._divider)}
        self._options[FLICKER] = (row_label("Rate"), self._rate)
        for label, widget in self._options.values():
            rows.addRow(label, widget)
        rows.addRow(self._words)

    def _connect(self) -> None:
        self._which.currentIndexChanged.connect(self._on_which)
        self._clean.toggled.connect(self._on_which)
        self._mode.currentIndexChanged.connect(self._on_mode)
        self._tile.valueChanged.connect(self._on_option)
        self._divider.valueChanged.connect(self._on_option)
        self._rate.valueChanged.connect(self._on_rate)

    # ------------------------------------------------------------------------------------------ switching
    def begin(self) -> None:
        """Offer what can be compared and show it."""
        assert self._results is not None
        wanted, names = self._which.currentData(), choices(self._results)
        self._which.blockSignals(True)
        self._which.clear()
        for name in names:
            self._which.addItem(TITLES[name], name)
        self._which.setCurrentIndex(names.index(wanted) if wanted in names else 0)
        self._which.blockSignals(False)
        self._clean.setEnabled(self._results.denoised is not None)
        side = self._results.noisy.grid.shape[-1]
        if not 2 < self._tile.value() < side:
            self._tile.blockSignals(True)
            self._tile.setValue(max(2, side // 8))
            self._tile.blockSignals(False)
        self._show_options()
        self._read()

    def end(self) -> None:
        """Stop the timer."""
        self._timer.stop()
        self._pair = None

    def follow(self) -> None:
        """Read the frame in view."""
        pair = self._pair
        same = pair is not None and (pair.position.frame, pair.position.channel) == (
            self._position.frame,
            self._position.channel,
        )
        if not same:
            self._read()

    def hideEvent(self, event: QHideEvent | None) -> None:  # noqa: N802 - Qt's name
        """Blink for nobody."""
        self._timer.stop()
        super().hideEvent(event)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Go on blinking."""
        super().showEvent(event)
        self._set_timer()

    # ------------------------------------------------------------------------------------------ slots
    def _on_which(self, _: Any = None) -> None:
        self._read()

    def _on_mode(self, _: int) -> None:
        self._show_options()
        self._stage.drop("first", "second")
        self._draw()

    def _on_option(self, _: int) -> None:
        self._draw()

    def _on_rate(self, _: float) -> None:
        self._set_timer()

    def _on_timer(self) -> None:
        top = self._stage.layer("second")
        if top is not None and self._pair is not None:
            top.visible = not top.visible
            self.say(f"Now: {self._pair.names[top.visible]}.")

    # ------------------------------------------------------------------------------------------ showing
    def _show_options(self) -> None:
        for mode, widgets in self._options.items():
            for widget in widgets:
                widget.setVisible(mode == self._mode.currentData())

    def _read(self) -> None:
        if self._results is None:
            return
        results, which, position = self._results, str(self._which.currentData()), self._position
        clean = self._clean.isChecked() and self._clean.isEnabled()
        self._clean.setVisible(which != NOISY_DENOISED)
        self._background.ask(lambda: read_pair(results, which, position, clean=clean), self._on_pair)

    def _on_pair(self, pair: Pair) -> None:
        self._pair = pair
        self._draw()

    def _draw(self) -> None:
        if self._results is None or self._pair is None:
            return
        self._stage.hide_others(images=True)
        mode, (first, second) = self._mode.currentData(), self._pair.names
        drawings = {OVERLAY: self._draw_overlay, CHECKERBOARD: self._draw_board, SWIPE: self._draw_swipe}
        drawings.get(mode, self._draw_flicker)(self._results, self._pair)
        self._set_timer()
        self.say(
            {
                OVERLAY: f"Green: {first}. Magenta: {second}. White and grey: both agree.",
                CHECKERBOARD: f"Squares in turn from {first} and {second}: where edges run on, they fit.",
                SWIPE: f"Left of the divider: {first}. Right: {second}. Drag in the picture to move it.",
                FLICKER: f"{first[:1].upper()}{first[1:]} and {second} in turn: what jumps does not fit.",
            }[mode]
        )

    def _draw_overlay(self, results: Results, pair: Pair) -> None:
        names = [f"Compare: {name}" for name in pair.names]
        under = {"colormap": "green", "contrast_limits": (0.0, 1.0), "blending": "translucent"}
        self._stage.show_image("first", pair.first, results, name=f"{names[0]} (green)", **under)
        over = {"colormap": "magenta", "contrast_limits": (0.0, 1.0), "blending": "additive"}
        self._stage.show_image("second", pair.second, results, name=f"{names[1]} (magenta)", **over)

    def _draw_board(self, results: Results, pair: Pair) -> None:
        board = checkerboard(pair.first, pair.second, self._tile.value())
        self._stage.show_image("first", board, results, name="Compare: checkerboard", **GREY)

    def _draw_swipe(self, results: Results, pair: Pair) -> None:
        names = [f"Compare: {name}" for name in pair.names]
        part, column = divided(pair.second, self._divider.value() / SLIDER)
        start = (0.0,) * (part.ndim - 1) + (float(column),)
        self._stage.show_image("first", pair.first, results, name=f"{names[0]} (left)", **GREY)
        is_fresh = self._stage.layer("second") is None
        top = self._stage.show_image("second", part, results, start=start, name=f"{names[1]} (right)", **GREY)
        if is_fresh:
            self._stage.select("second")
            top.mouse_pan = False
            top.mouse_drag_callbacks.append(self._on_drag)

    def _draw_flicker(self, results: Results, pair: Pair) -> None:
        for key, picture, name in zip(("first", "second"), (pair.first, pair.second), pair.names, strict=True):
            self._stage.show_image(key, picture, results, name=f"Compare: {name}", **GREY)

    def _on_drag(self, _: Any, event: Any) -> Any:
        """Move the divider with the mouse, from press to release."""
        self._divider_to(event.position)
        yield
        while event.type == "mouse_move":
            self._divider_to(event.position)
            yield

    def _divider_to(self, world: Any) -> None:
        if self._results is not None:
            column = float(self._results.layer.world_to_data(world)[-1]) + 0.5
            self._divider.setValue(round(SLIDER * column / self._results.noisy.grid.shape[-1]))

    def _set_timer(self) -> None:
        is_wanted = self._pair is not None and self._mode.currentData() == FLICKER and self.isVisible()
        if not is_wanted:
            self._timer.stop()
        elif not self._timer.isActive() or self._timer.interval() != round(1000 / self._rate.value()):
            self._timer.start(round(1000 / self._rate.value()))
