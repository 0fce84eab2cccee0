"""Small line and point charts as SVG text, for the report: no plotting library, nothing to load, sharp at any size.

Colours are Okabe and Ito's, told apart by colour-blind readers; series differ in dash and marker too.

References
----------
Okabe, M., Ito, K.: Color universal design (CUD): how to make figures and presentations that are friendly to colorblind
people. 2008. https://jfly.uni-koeln.de/color/
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_Place = tuple[float, float]  # px from the left, px from the top

VERMILLION, BLUE, GREY = "#D55E00", "#0072B2", "#8a8f98"
_WIDTH, _HEIGHT = 640.0, 330.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 18.0, 58.0, 50.0  # px around the plotting area
_MOST_PLACES = 1200
"""Of a line; of longer ones only what can be told apart is drawn."""
_MOST_MARKERS = 250  # on a line; more would touch each other


@dataclass(frozen=True, eq=False)
class Series:
    """One line, cloud of points or stem of a chart.

    Parameters
    ----------
    label
        Its name in the legend; empty keeps it out of the legend.
    x, y
        Places `(N,)` in the units of the axes; NaN interrupts a line.
    colour
        Of line and points, "#rrggbb".
    style
        "line" (with points, where they are few), "dashed" (with squares), "thin" (a faint line), "points" or "squares".
    band
        Lower and upper bound `(2, N)` shaded behind the line.
    """

    label: str
    x: Floats
    y: Floats
    colour: str = BLUE
    style: Literal["line", "dashed", "thin", "points", "squares"] = "line"
    band: Floats | None = None


@dataclass(frozen=True)
class Frame:
    """The plotting area: what the axes are called and which values they span."""

    title: str
    x_label: str
    y_label: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        """Return the horizontal position of a value, px from the left."""
        low, high = self.x_range
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """Return the vertical position of a value, px from the top."""
        low, high = self.y_range
        return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)


def chart(series: Sequence[Series], *, title: str, x_label: str, y_label: str, whole_x: bool = True) -> str:
    """Return an `<svg>` element that shows the series; the vertical axis begins at 0.

    Parameters
    ----------
    series
        Drawn in this order, later ones on top.
    title, x_label, y_label
        Texts; name the unit in the labels.
    whole_x
        Whether the horizontal axis counts things (frames, keypoints) and has ticks at whole numbers only.
    """
    across = np.concatenate([np.asarray(one.x, dtype=float) for one in series] or [np.zeros(1)])
    upward = np.concatenate([_heights(one) for one in series] or [np.zeros(1)])
    upward = upward[np.isfinite(upward)]
    x_ticks = ticks(float(across.min(initial=0)), float(across.max(initial=1)), 9, smallest=1.0 if whole_x else 0.0)
    y_ticks = ticks(0.0, float(upward.max(initial=0)) or 1.0, 6)
    pad = 0.02 * (across.max(initial=1) - across.min(initial=0))
    frame = Frame(
        title,
        x_label,
        y_label,
        x_range=(float(across.min(initial=x_ticks[0]) - pad), float(across.max(initial=1) + pad)),
        y_range=(0.0, y_ticks[-1]),
    )
    drawn = "".join(_draw(one, frame) for one in series)
    return (
        f'<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" xmlns="http://www.w3.org/2000/svg" '
        f'font-family="system-ui, Helvetica, Arial, sans-serif" font-size="12" fill="#333">'
        f"<title>{escape(title)}</title>{_axes(frame, x_ticks, y_ticks)}{drawn}{_legend(series)}</svg>"
    )


def ticks(low: float, high: float, n: int, *, smallest: float = 0.0) -> list[float]:
    """Return round numbers (steps of 1, 2 or 5 times a power of ten) that cover low to high in at most `n` steps.

    `smallest` is the least step allowed.
    """
    span = max(high - low, 1e-9)
    magnitude = 10.0 ** np.floor(np.log10(span / n))
    step = next(float(magnitude * factor) for factor in (1, 2, 5, 10, 20) if magnitude * factor * n >= span * 0.999)
    step = max(step, smallest)
    first, last = int(np.floor(low / step + 1e-9)), int(np.ceil(high / step - 1e-9))
    return [float(round(number * step, 10)) for number in range(first, max(last, first + 1) + 1)]


def _heights(one: Series) -> Floats:
    parts = [np.asarray(one.y, dtype=float)] + ([np.asarray(one.band, dtype=float).ravel()] if one.band is not None else [])
    return np.concatenate(parts)


def _axes(frame: Frame, x_ticks: list[float], y_ticks: list[float]) -> str:
    left, right, top, bottom = _LEFT, _WIDTH - _RIGHT, _TOP, _HEIGHT - _BOTTOM
    parts = [f'<text x="{left:.0f}" y="20" font-size="14" font-weight="600">{escape(frame.title)}</text>']
    for value in y_ticks:
        y = frame.y(value)
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e3e5e8"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in x_ticks:
        if not frame.x_range[0] <= value <= frame.x_range[1]:
            continue
        x = frame.x(value)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 5}" stroke="#333"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 19}" text-anchor="middle">{value:g}</text>')
    parts.append(f'<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="#333"/>')
    parts.append(f'<text x="{(left + right) / 2}" y="{_HEIGHT - 9}" text-anchor="middle">{escape(frame.x_label)}</text>')
    middle = (top + bottom) / 2
    turned = f'transform="rotate(-90 16 {middle})"'
    parts.append(f'<text x="16" y="{middle}" text-anchor="middle" {turned}>{escape(frame.y_label)}</text>')
    return "".join(parts)


def _draw(one: Series, frame: Frame) -> str:
    places: list[_Place | None] = [
        (frame.x(x), frame.y(y)) if np.isfinite(y) else None for x, y in zip(one.x, one.y, strict=True)
    ]
    parts = [_band(one, frame)]
    if one.style in ("line", "dashed", "thin"):
        dash = ' stroke-dasharray="6 4"' if one.style == "dashed" else ""
        look = 'stroke-width="1" stroke-opacity="0.25"' if one.style == "thin" else 'stroke-width="2"'
        parts.append(f'<path d="{_path(places)}" fill="none" stroke="{one.colour}" {look}{dash}/>')
    if one.style in ("points", "squares") or (one.style != "thin" and len(places) <= _MOST_MARKERS):
        parts += [_marker(place, one) for place in places if place is not None]
    return "".join(parts)


def _thinned(places: list[_Place | None]) -> list[_Place | None]:
    """Of a long line the lowest and the highest place of each px across: it looks the same. Gaps stay."""
    if len(places) <= _MOST_PLACES:
        return places
    kept = list[_Place | None]()
    for _, group in groupby(places, key=lambda place: None if place is None else int(place[0])):
        run = list(group)
        there = [place for place in run if place is not None]
        ends = {there.index(pick(there, key=lambda place: place[1])) for pick in (min, max)} if there else ()
        kept += [there[number] for number in sorted(ends)] or run[:1]
    return kept


def _path(places: list[_Place | None]) -> str:
    text, pen_down = "", False
    for place in _thinned(places):
        if place is not None:
            text += f"{'L' if pen_down else 'M'}{place[0]:.1f} {place[1]:.1f}"
        pen_down = place is not None
    return text


def _marker(place: tuple[float, float], one: Series) -> str:
    x, y = place
    if one.style in ("dashed", "squares"):
        return f'<rect x="{x - 2.7:.1f}" y="{y - 2.7:.1f}" width="5.4" height="5.4" fill="{one.colour}"/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.1" fill="{one.colour}"/>'


def _band(one: Series, frame: Frame) -> str:
    if one.band is None:
        return ""
    known = np.isfinite(one.band).all(axis=0)
    across = np.asarray(one.x, dtype=float)[known]
    low, high = one.band[:, known]
    there: list[_Place | None] = [(frame.x(x), frame.y(y)) for x, y in zip(across, high, strict=True)]
    back: list[_Place | None] = [(frame.x(x), frame.y(y)) for x, y in zip(across[::-1], low[::-1], strict=True)]
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in filter(None, _thinned(there) + _thinned(back)))
    return f'<polygon points="{corners}" fill="{one.colour}" fill-opacity="0.16"/>'


def _legend(series: Sequence[Series]) -> str:
    parts, x = [], _LEFT
    for one in (named for named in series if named.label):
        sample = Series("", np.array([0.0]), np.array([0.0]), one.colour, one.style)
        dash = ' stroke-dasharray="6 4"' if one.style == "dashed" else ""
        if one.style in ("line", "dashed", "thin"):
            opacity = ' stroke-opacity="0.5"' if one.style == "thin" else ""
            parts.append(f'<path d="M{x:.0f} 40h24" stroke="{one.colour}" stroke-width="2"{dash}{opacity}/>')
        if one.style != "thin":
            parts.append(_marker((x + 12, 40.0), sample))
        parts.append(f'<text x="{x + 30:.0f}" y="44">{escape(one.label)}</text>')
        x += 52 + 6.4 * len(one.label)
    return "".join(parts)
