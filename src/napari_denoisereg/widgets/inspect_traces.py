"""View *Motion over time*: shift, rotation and scale of every frame, and kymographs along a line before and after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_denoisereg.widgets.inspect_background import Background
from napari_denoisereg.widgets.inspect_line import LineDrawer
from napari_denoisereg.widgets.inspect_plots import MORE_COLOURS, FramePlot, KymographPlot, Line
from napari_denoisereg.widgets.inspect_results import Position, Results, short_unit
from napari_denoisereg.widgets.inspect_view import View
from napari_denoisereg.widgets.source_form import wrapped_label

if TYPE_CHECKING:
    from napari_denoisereg.evaluation.motion import MotionTraces
    from napari_denoisereg.stack import Stack
    from napari_denoisereg.steps import Steps

TIME_UNITS = ("second", "minute", "hour", "day", "millisecond")
ABOUT_LINE = "Draw a line across something that moves: its picture over time is straight where the alignment is good."


@dataclass(frozen=True, eq=False)
class Kymographs:
    """Intensities along a line over time ``(T, N)``, before and, where there is an alignment, after; length in world units."""

    before: np.ndarray[Any, Any]
    after: np.ndarray[Any, Any] | None
    length: float


def times_of(results: Results) -> tuple[np.ndarray[Any, Any], str]:
    """When each frame was taken, with its unit where the movie knows it, else the frames' numbers.

    Parameters
    ----------
    results : Results
        A movie.

    Returns
    -------
    tuple of ndarray and str
        ``(T,)`` and what to write at an axis.
    """
    stack = results.noisy
    numbers, place = np.arange(stack.n_frames, dtype=float), stack.axes.index(stack.frame_axis)
    if stack.frame_axis == "t" and stack.units[place] in TIME_UNITS:
        return numbers * stack.spacing[place], f"Time ({short_unit(stack.units[place])})"
    return numbers, "Section" if stack.frame_axis == "z" else "Frame"


def read_kymographs(results: Results, position: Position, corners: np.ndarray[Any, Any], width: int) -> Steps[Kymographs]:
    """Sample a line in every frame, before and after.

    Parameters
    ----------
    results : Results
        A movie and what was made of it.
    position : Position
        Says which channel and plane.
    corners : ndarray
        ``(M, 2)``, voxels (y, x).
    width : int
        Voxels to average across.

    Returns
    -------
    Steps of Kymographs
        Long work: goes through the movie, of which only the part around the line is read.
    """
    from napari_denoisereg.evaluation.lines import kymograph
    from napari_denoisereg.steps import portion

    grid, warped = results.noisy.grid, results.warped(clean=False)
    shape, end = (grid.shape[-2], grid.shape[-1]), 0.5 if warped is not None else 1.0

    def table(stack: Stack) -> Steps[np.ndarray[Any, Any]]:
        return kymograph(_window_reader(stack, position), shape, stack.n_frames, corners, width=width)

    before = yield from portion(table(results.noisy), 0.0, end)
    after = None if warped is None else (yield from portion(table(warped), end, 1.0))
    length = float(np.linalg.norm(np.diff(corners, axis=0) * grid.spacing[-2:], axis=1).sum())
    return Kymographs(before, after, length)


def _window_reader(stack: Stack, position: Position) -> Callable[[int, tuple[slice, slice]], np.ndarray[Any, Any]]:
    depth = stack.shape[stack.axes.index("z")] if "z" in stack.spatial_axes else 1
    fixed = {"c": min(position.channel, stack.n_channels - 1), "z": depth // 2 if position.plane is None else position.plane}

    def read(frame: int, window: tuple[slice, slice]) -> np.ndarray[Any, Any]:
        places: dict[str, Any] = {**fixed, stack.frame_axis: frame, "y": window[0], "x": window[1]}
        return np.asarray(stack.data[tuple(places[axis] for axis in stack.axes)])

    return read


class TracesView(View):
    """The view; see `View`."""

    title = "Motion over time"

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self._shift, self._rotation, self._scale = FramePlot(), FramePlot(), FramePlot()
        self._before, self._after = KymographPlot("Before"), KymographPlot("After")
        self._line = LineDrawer(self._stage)
        self._line.changed.connect(self._on_line)
        self._line_words = wrapped_label(ABOUT_LINE)
        self._reading = Background(self)
        self._reading.failed.connect(self._on_line_failed)
        self._rows.addRow(self._words)
        for widget in (self._shift, self._rotation, self._scale, self._line, self._line_words, self._before, self._after):
            self._rows.addRow(widget)
        for plot in self._plots:
            plot.setToolTip("Click to go to that frame. Grey line: the frame in view.")
            plot.frame_clicked.connect(self.frame_wanted)

    @property
    def _plots(self) -> tuple[FramePlot, ...]:
        return self._shift, self._rotation, self._scale, self._before, self._after

    def begin(self) -> None:
        """Read the motion and, where there is a line already, the kymographs."""
        results = self._results
        assert results is not None
        self._line.begin(results)
        registration = results.registration
        for plot in (self._shift, self._rotation, self._scale):
            plot.setVisible(registration is not None)
        self._before.hide()
        self._after.hide()
        if registration is None:
            self.say("Shift, rotation and scale need a registration: run Denoise and register first.")
        else:
            self._background.ask(lambda: _traces(results), self._on_traces)
        self._on_line()

    def end(self) -> None:
        """Stop reading."""
        self._reading.cancel()
        self._line.end()

    def close_down(self) -> None:
        """See `View.close_down`."""
        super().close_down()
        self._reading.close_down()

    def follow(self) -> None:
        """Mark the frame in view."""
        for plot in self._plots:
            plot.set_frame(self._position.frame)

    def set_theme(self, name: str) -> None:
        """See `View.set_theme`."""
        for plot in self._plots:
            plot.set_theme(name)

    def _on_traces(self, traces: MotionTraces) -> None:
        results = self._results
        if results is None:
            return
        times, name = times_of(results)
        colours = dict(zip("xyz", MORE_COLOURS, strict=True))
        shifts = [
            Line(f"shift in {axis}", traces.shift[:, number], colours[axis], is_dashed=axis == "y")
            for number, axis in enumerate(results.spatial)
        ]
        self._shift.set_names(name, f"Shift ({results.unit})")
        self._shift.show_frames(times, shifts[::-1])
        self._rotation.set_names(name, "Rotation (°)")
        self._rotation.show_frames(times, [Line("", traces.rotation, MORE_COLOURS[0])])
        self._scale.set_names(name, "Scale (%)")
        self._scale.show_frames(times, [Line("", 100 * traces.scale, MORE_COLOURS[0])])
        longest = np.nanmax(np.linalg.norm(traces.shift, axis=1), initial=0.0)
        misfit, tiny = np.nanmax(traces.misfit, initial=0.0), 1e-3 * min(results.noisy.grid.spacing)
        self.say(
            f"Against the first frame: shift up to {longest:.3g} {results.unit}, "
            f"rotation up to {np.nanmax(np.abs(traces.rotation), initial=0.0):.2g}°, "
            f"scale {100 * np.nanmin(traces.scale, initial=1.0):.3g} to {100 * np.nanmax(traces.scale, initial=1.0):.3g} %. "
            + (f"Local motion besides: up to {misfit:.2g} {results.unit} (root mean square)." if misfit > tiny else "")
        )
        self.follow()

    def _on_line(self) -> None:
        results, corners = self._results, self._line.corners
        if results is None or corners is None:
            return
        self._line_words.setText("Reading along the line …")
        position, width = self._position, self._line.width_in_pixels
        self._reading.ask(lambda: read_kymographs(results, position, corners, width), self._on_kymographs, restart=True)

    def _on_kymographs(self, tables: Kymographs) -> None:
        if self._results is None:
            return
        times, name = times_of(self._results)
        for plot, table in ((self._before, tables.before), (self._after, tables.after)):
            plot.setVisible(table is not None)
            if table is not None:
                plot.set_names(name, f"Along line ({self._results.unit})")
                plot.show_kymograph(table, times, tables.length)
        self._line_words.setText("Straight horizontal streaks: it stands still. Slanted or jagged ones: it moves.")
        self.follow()

    def _on_line_failed(self, error: Exception) -> None:
        self._line_words.setText(f"⚠ {error}")


def _traces(results: Results) -> Steps[MotionTraces]:
    from napari_denoisereg.evaluation.motion import motion_traces

    assert results.registration is not None
    return (yield from motion_traces(results.registration.transforms, results.registration.grid))
