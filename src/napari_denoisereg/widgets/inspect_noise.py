"""View *Noise taken away*: what denoising removed, as a layer and in words, histograms, and a profile along a line."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtWidgets import QCheckBox

from napari_denoisereg.widgets.inspect_line import LineDrawer
from napari_denoisereg.widgets.inspect_plots import AFTER, BEFORE, Line, Plot
from napari_denoisereg.widgets.inspect_results import Position, Results
from napari_denoisereg.widgets.inspect_view import View

if TYPE_CHECKING:
    from napari_denoisereg.evaluation.denoising_trust import Doubt, Trust
    from napari_denoisereg.evaluation.residual import ResidualFigures
    from napari_denoisereg.steps import Steps

Array = np.ndarray[Any, Any]

MOST_COUNTED = 2**22  # voxels of a frame that figures and histograms are made of
LOOK = (
    "Look at it with Show the residual: outlines of your specimen mean lost detail, stripes or smooth spots mean noise that "
    "neighbouring pixels share."
)
VERDICTS = {
    "nothing": "Nothing was taken away: this frame is as it was.",
    "noise": "What was taken away looks like noise alone: neighbouring pixels of it have nothing to do with each other.",
    "structure": "⚠ What was taken from this frame has structure. For lost detail, choose a gentler method or train longer.",
    "contrast": "⚠ What was taken from this frame resembles the image: it lost or gained contrast. Compare profiles before you "
    "measure intensities in it.",
}
SAID_BY: dict[str, Doubt] = {"nothing": "removed", "structure": "structure", "contrast": "kept"}
"""Verdict on the frame in view to the doubt about the movie that says as much."""


@dataclass(frozen=True, eq=False)
class Noise:
    """What was taken from one frame.

    Parameters
    ----------
    residual : ndarray
        Noisy minus denoised, float32, spatial axes.
    figures : ResidualFigures
        Of it.
    histograms : tuple of ndarray
        Edges, shares before, shares after.
    profiles : tuple of ndarray or None
        Distance (world units), intensities before and after along the line.
    trust : Trust
        Of the movie, from a few frames.
    """

    residual: Array
    figures: ResidualFigures
    histograms: tuple[Array, Array, Array]
    profiles: tuple[Array, Array, Array] | None
    trust: Trust


def read_noise(
    results: Results, position: Position, corners: Array | None, width: int, trust: Trust | None = None
) -> Steps[Noise]:
    """Compare the noisy and the denoised frame in view.

    Parameters
    ----------
    results : Results
        With a denoised movie.
    position : Position
        Which frame, channel and, for figures and profile, plane.
    corners : ndarray, optional
        Of a line ``(M, 2)``, voxels (y, x).
    width : int
        Of the line, voxels.
    trust : Trust, optional
        Of this movie, where it is known already.

    Returns
    -------
    Steps of Noise
        Long work for large frames.
    """
    from napari_denoisereg.evaluation.denoising_trust import check_some
    from napari_denoisereg.evaluation.lines import profile
    from napari_denoisereg.evaluation.residual import histograms, residual_figures
    from napari_denoisereg.steps import Progress

    assert results.denoised is not None
    yield Progress(0, 2, "reading frames")
    noisy, denoised = (
        stack.frame(position.frame, min(position.channel, stack.n_channels - 1)) for stack in (results.noisy, results.denoised)
    )
    yield Progress(1, 2, "reading frames")
    planes = [noisy, denoised]
    if noisy.ndim == 3:
        plane = len(noisy) // 2 if position.plane is None else position.plane
        planes = [noisy[plane], denoised[plane]]
    # A part in the middle keeps neighbours together; every n-th pixel would not.
    middle = tuple(_middle(size, planes[0].size) for size in planes[0].shape)
    part = [each[middle] for each in planes]
    profiles = None
    if corners is not None:
        before, after = (profile(each, corners, width=width) for each in planes)
        length = float(np.linalg.norm(np.diff(corners, axis=0) * results.noisy.grid.spacing[-2:], axis=1).sum())
        profiles = np.linspace(0, length, len(before)), before, after
    residual = noisy.astype(np.float32) - denoised.astype(np.float32)
    yield Progress(2, 2, "reading frames")
    if trust is None:
        channel = position.channel
        stacks = (each.channel(min(channel, each.n_channels - 1)) for each in (results.noisy, results.denoised))
        trust = yield from check_some(*stacks)
    return Noise(residual, residual_figures(*part), histograms(*part), profiles, trust)


def _middle(side: int, pixels: int) -> slice:
    kept = max(2, int(side * min(1.0, (MOST_COUNTED / pixels) ** 0.5)))
    start = (side - kept) // 2
    return slice(start, start + kept)


def in_words(figures: ResidualFigures, trust: Trust) -> str:
    """What denoising took away, each thing said once: doubts about the movie first, then what only this frame shows.

    Parameters
    ----------
    figures : ResidualFigures
        Of the frame in view.
    trust : Trust
        Of the movie.

    Returns
    -------
    str
        Some lines; the last has the figures.
    """
    doubts, same = trust.doubts(), SAID_BY.get(figures.verdict)
    said = [f"⚠ {words}" for words in doubts.values()]
    if not doubts or (same is not None and same not in doubts):
        said.append(VERDICTS[figures.verdict])
    if "structure" in (figures.verdict, *doubts):
        said.append(LOOK)
    numbers = (
        f"(Spread {figures.spread:.3g} grey values, mean {figures.mean:+.2g}; correlation of neighbours "
        f"{figures.neighbours:+.2f}, with the denoised image {figures.signal:+.2f}.)"
    )
    return "\n".join([*said, numbers])


class NoiseView(View):
    """The view; see `View`."""

    title = "Noise taken away"

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self._latest: Noise | None = None
        self._trusts: dict[int, Trust] = {}  # per channel
        self._show = QCheckBox("Show the residual")
        self._show.setToolTip("Noisy minus denoised, as a layer: grey is zero. Your specimen should not be seen in it.")
        self._histogram = Plot("Grey value", "Share of pixels (%)")
        self._histogram.setToolTip("How often grey values occur in this frame, before and after.")
        self._profile = Plot("Distance", "Grey value")
        self._profile.setToolTip("Grey values along the line, before and after: peaks should keep their height and width.")
        self._line = LineDrawer(self._stage)
        self._line.changed.connect(self.follow)
        self._show.toggled.connect(self._on_show)
        for widget in (self._show, self._words, self._histogram, self._line, self._profile):
            self._rows.addRow(widget)

    def missing(self, results: Results) -> str:
        """See `View.missing`."""
        needs = "This needs a denoised movie: run Denoise and register with Denoise switched on, or choose it above."
        return "" if results.denoised is not None else needs

    def begin(self) -> None:
        """Show the frame in view."""
        assert self._results is not None
        self._trusts = {}
        self._line.begin(self._results)
        self._profile.setVisible(self._line.corners is not None)
        self.follow()

    def end(self) -> None:
        """Let go of the movie."""
        self._line.end()
        self._latest = None

    def follow(self) -> None:
        """Show the frame in view."""
        results, position = self._results, self._position
        if results is not None:
            corners, width = self._line.corners, self._line.width_in_pixels
            known = self._trusts.get(position.channel)
            ask = partial(read_noise, results, position, corners, width, known)
            self._background.ask(ask, lambda noise: self._on_noise(noise, position.channel))

    def set_theme(self, name: str) -> None:
        """See `View.set_theme`."""
        self._histogram.set_theme(name)
        self._profile.set_theme(name)

    def _on_show(self, _: bool) -> None:
        self._draw_residual()

    def _on_noise(self, noise: Noise, channel: int) -> None:
        if self._results is None:
            return
        self._trusts[channel] = noise.trust
        self._latest = noise
        edges, before, after = noise.histograms
        self._draw(self._histogram, (edges[1:] + edges[:-1]) / 2, 100 * before, 100 * after)
        self._profile.setVisible(noise.profiles is not None)
        if noise.profiles is not None:
            self._profile.set_names(f"Distance ({self._results.unit})", "Grey value")
            self._draw(self._profile, *noise.profiles)
        self.say(in_words(noise.figures, noise.trust))
        self._draw_residual()

    @staticmethod
    def _draw(plot: Plot, across: Array, before: Array, after: Array) -> None:
        plot.show_lines(across, [Line("noisy", before, BEFORE, is_dashed=True), Line("denoised", after, AFTER)])

    def _draw_residual(self) -> None:
        if self._results is None or self._latest is None or not self._show.isChecked():
            self._stage.drop("residual")
            self._stage.bring_back()
            return
        self._stage.hide_others(images=True)
        reach = max(3 * self._latest.figures.spread, 1e-12)
        look = {"name": "Residual (noisy − denoised)", "colormap": "gray", "contrast_limits": (-reach, reach)}
        self._stage.show_image("residual", self._latest.residual, self._results, **look)
