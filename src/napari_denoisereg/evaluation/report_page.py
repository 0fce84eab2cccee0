"""The HTML page of a report: reads the figures out in plain words, shows them over time and per keypoint."""

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from napari_denoisereg.evaluation.agreement import Agreement
from napari_denoisereg.evaluation.chart import BLUE, VERMILLION, Series, chart
from napari_denoisereg.evaluation.keypoints import Column, KeypointError, Row
from napari_denoisereg.evaluation.report_methods import Methods

MOST_POINTS = 1500  # in the lines of single keypoints
_STYLE = """
body{font:15px/1.5 system-ui,Helvetica,Arial,sans-serif;color:#222;max-width:880px;margin:2em auto;padding:0 1em}
h1{font-size:1.6em;margin-bottom:.2em}h2{font-size:1.15em;margin:1.8em 0 .4em}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.25em .8em;text-align:right;border-bottom:1px solid #e3e5e8}th{font-weight:600}
th:first-child,td:first-child{text-align:left}tr.all td{font-weight:600;border-top:1px solid #333}
.key{display:flex;gap:2.5em;flex-wrap:wrap;margin:1em 0}.key div{line-height:1.2}.key b{font-size:1.9em;display:block}
.note{color:#555}summary{font-size:1.15em;font-weight:600;margin:1.5em 0 .4em;cursor:pointer}
.warning{border-left:4px solid #D55E00;padding-left:.8em}
.formula{font-family:Georgia,serif;font-size:1.1em;margin:.6em 1.5em}
svg{width:100%;max-width:720px;height:auto;display:block;margin:.8em 0}figure{margin:1em 0}img{max-width:100%}
@media print{body{margin:0}h2,svg,table{break-inside:avoid}}
"""


def page(  # noqa: PLR0913  # the parts of the page
    errors: KeypointError,
    *,
    title: str,
    figures: Mapping[str, float],
    pictures: Mapping[str, bytes],
    agreement: Sequence[Agreement] = (),
    methods: Methods | None = None,
    warnings: Sequence[str] = (),
) -> str:
    """Return the whole HTML page.

    Parameters
    ----------
    errors
        The registration error of every mark.
    title
        Heading of the page.
    figures
        Further figures by name.
    pictures
        PNG files by caption.
    agreement
        Distances between annotators.
    methods
        A paragraph for a paper's supplement.
    warnings
        What a reader must know before the figures.
    """
    parts = [
        f"<h1>{escape(title)}</h1>",
        *(f'<p class="warning">⚠ {escape(warning)}</p>' for warning in warnings),
        _headline(errors),
        "".join(f"<p>{escape(sentence)}</p>" for sentence in interpretation(errors)),
        "<h2>Error over time</h2>",
        *_time_charts(errors),
        "<h2>Error of each keypoint</h2>",
        _keypoint_chart(errors),
        _tables(errors),
        _agreement(agreement),
        _further(figures),
        *(_picture(caption, png) for caption, png in pictures.items()),
        _method(errors),
        _paragraph(methods),
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n'
        f"<body>{''.join(parts)}</body></html>\n"
    )


def interpretation(errors: KeypointError) -> list[str]:
    """Return what the figures mean, in sentences a biologist would write."""
    figures = errors.table()[0]
    before, after = figures["before_mean"], figures["after_mean"]
    last = errors.where(errors.frame == errors.frame.max()).table("frame")[0]
    sentences = [
        f"Without registration the marked places lie {_length(before)} px on average from where they were in frame "
        f"{errors.fixed_frame} ({_length(last['before_mean'])} px in the last marked frame, {last['frame']})."
    ]
    if errors.is_registered and not math.isnan(after):
        sentences += _verdict(errors, before, after)
    return [*sentences, *errors.notes]


def _verdict(errors: KeypointError, before: float, after: float) -> list[str]:
    if after <= before:
        change = f"{100 * (1 - after / before):.0f} % of the movement was removed" if before > 0 else "nothing moved"
    else:
        change = "worse than before: do not use this registration without looking at it"
    sentences = [f"After registration they lie {_length(after)} px away: {change}."]
    median = errors.table()[0]["after_median"]
    if median < 1:
        sentences.append("Half of the marks end up within a pixel, about as exactly as a person can mark them.")
    worse = int((errors.after > np.maximum(errors.before, 1.0)).sum())
    if worse:
        sentences.append(
            f"{worse} of {len(errors)} marks end farther from their place than they began, and over a pixel away: look at them."
        )
    means = {row["frame"]: row["after_mean"] for row in errors.table("frame") if not math.isnan(row["after_mean"])}
    worst = max(means, key=lambda frame: means[frame])
    usual = float(np.median(list(means.values())))
    if means[worst] > max(2 * usual, 1.0):
        sentences.append(
            f"Frame {worst} stands out with {_length(means[worst])} px (half of the frames: below {_length(usual)} px); "
            "it may be out of focus or poorly marked."
        )
    return sentences


def _headline(errors: KeypointError) -> str:
    figures = errors.table()[0]
    world = errors.table(world=True)[0]
    names = [("before", "mean error before")] + ([("after", "mean error after")] if errors.is_registered else [])
    blocks = []
    for name, words in names:
        side = f" = {_length(world[f'{name}_mean'])} {escape(errors.unit)}" if errors.unit != "px" else ""
        blocks.append(f"<div><b>{_length(figures[f'{name}_mean'])} px</b>{words}{side}</div>")
    n_people, n_frames = len(set(errors.annotator.tolist())), len(set(errors.frame.tolist()))
    people = f", {n_people} annotators" if n_people > 1 else ""
    n_keypoints = len(set(zip(errors.kind.tolist(), errors.id.tolist(), strict=True)))
    blocks.append(f"<div><b>{n_keypoints}</b>keypoints in {n_frames} frames{people}</div>")
    return f'<div class="key">{"".join(blocks)}</div>'


def _time_charts(errors: KeypointError) -> list[str]:
    rows = errors.table("frame")
    frames = np.array([row["frame"] for row in rows], dtype=float)
    series = [_over_time(errors, rows, "before")] + ([_over_time(errors, rows, "after")] if errors.is_registered else [])
    charts = [
        chart(
            series,
            title="Mean error at the keypoints (shaded: 10th to 90th percentile)",
            x_label="frame",
            y_label="error, px",
        )
    ]
    if errors.is_registered:
        mean = np.array([row["after_mean"] for row in rows])
        single = _keypoint_lines(errors)
        charts.append(
            chart(
                [*single, Series("mean", frames, mean, BLUE)],
                title="After registration, enlarged: single keypoints and the mean",
                x_label="frame",
                y_label="error after, px",
            )
        )
    return charts


def _over_time(errors: KeypointError, rows: list[Row], name: str) -> Series:
    values = getattr(errors, name)
    band = np.full((2, len(rows)), np.nan)
    for column, row in enumerate(rows):
        known = values[(errors.frame == row["frame"]) & ~np.isnan(values)]
        if len(known):
            band[:, column] = np.percentile(known, [10, 90])
    frames, means = np.array([row["frame"] for row in rows], dtype=float), np.array([row[f"{name}_mean"] for row in rows])
    if name == "before":
        return Series("before registration", frames, means, VERMILLION, "dashed", band)
    return Series("after registration", frames, means, BLUE, "line", band)


def _keypoint_lines(errors: KeypointError) -> list[Series]:
    lines: list[Series] = []
    rows = errors.table("annotator", "kind", "id")
    # More would fill the chart with one colour, and a printed page of them takes long to make.
    n_shown = min(len(rows), max(1, MOST_POINTS * len(rows) // len(errors)))
    which = "single keypoints" if n_shown == len(rows) else f"single keypoints ({n_shown} of {len(rows)})"
    for number in np.linspace(0, len(rows) - 1, n_shown).round().astype(int).tolist():
        row = rows[number]
        chosen = (errors.annotator == row["annotator"]) & (errors.kind == row["kind"]) & (errors.id == row["id"])
        order = np.argsort(errors.frame[chosen])
        label = "" if lines else which
        lines.append(Series(label, errors.frame[chosen][order].astype(float), errors.after[chosen][order], BLUE, "thin"))
    return lines


def _keypoint_chart(errors: KeypointError) -> str:
    name = "after_mean" if errors.is_registered else "before_mean"
    rows = sorted(errors.table("annotator", "kind", "id"), key=lambda row: math.inf if math.isnan(row[name]) else row[name])
    rank = np.arange(1, len(rows) + 1, dtype=float)
    series = [Series("before", rank, np.array([row["before_mean"] for row in rows]), VERMILLION, "squares")]
    if errors.is_registered:
        series.append(Series("after", rank, np.array([row["after_mean"] for row in rows]), BLUE, "points"))
    worst = "".join(
        f"<li>keypoint {row['id']} ({escape(row['kind'])}{', ' + escape(row['annotator']) if row['annotator'] else ''}): "
        f"{_length(row[name])} px</li>"
        for row in reversed(rows[-3:])
    )
    drawn = chart(series, title="Mean over time", x_label="keypoints, best first", y_label="mean error, px")
    return f"{drawn}<p>The three with the largest error, worth a look:</p><ul>{worst}</ul>"


def _tables(errors: KeypointError) -> str:
    parts = ["<h2>Figures, px</h2>", _table(errors, ("annotator",))]
    if len(set(errors.kind.tolist())) > 1:
        parts += ["<h2>Interior and contour points, px</h2>", _table(errors, ("kind",))]
    parts += [f"<details><summary>Each frame, px</summary>{_table(errors, ('frame',))}</details>"]
    return "".join(parts)


def _table(errors: KeypointError, by: tuple[Column, ...]) -> str:
    sides = ("before", "after") if errors.is_registered else ("before",)
    names = [f"{side}_{figure}" for side in sides for figure in ("mean", "median", "p90")]
    words = [*by, "marks", *(f"{name.split('_')[0]}: {name.split('_')[1].replace('p90', '90 % below')}" for name in names)]
    header = "".join(f"<th>{escape(word)}</th>" for word in words)
    lines = []
    for row in [*errors.table(*by), {by[0]: "all"} | errors.table()[0]]:
        keys = [escape(str(row[column])) or "unnamed" for column in by]
        cells = "".join(f"<td>{cell}</td>" for cell in [*keys, row["n"], *(_length(row[name]) for name in names)])
        lines.append(f"<tr{' class=all' if row[by[0]] == 'all' else ''}>{cells}</tr>")
    return f"<table><thead><tr>{header}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _agreement(agreement: Sequence[Agreement]) -> str:
    if not agreement:
        return ""
    lines = "".join(
        f"<tr><td>{escape(each.first)} – {escape(each.second)}</td><td>{each.n_keypoints}</td><td>{each.n_marks}</td>"
        f"<td>{_length(each.mean)}</td><td>{_length(each.median)}</td><td>{_length(each.p90)}</td></tr>"
        for each in agreement
    )
    return (
        "<h2>Distance between annotators, px</h2><table><thead><tr><th>who</th><th>keypoints</th><th>marks</th><th>mean</th>"
        f"<th>median</th><th>90 % below</th></tr></thead><tbody>{lines}</tbody></table>"
        '<p class="note">Interior points that lie nearest to each other in the first frame. '
        "An error below this distance cannot be told from 0.</p>"
    )


def _further(figures: Mapping[str, float]) -> str:
    if not figures:
        return ""
    lines = "".join(f"<tr><td>{escape(name)}</td><td>{value:.4g}</td></tr>" for name, value in figures.items())
    return f"<h2>Further figures</h2><table><tbody>{lines}</tbody></table>"


def _picture(caption: str, png: bytes) -> str:
    data = base64.b64encode(png).decode("ascii")
    return (
        f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _method(errors: KeypointError) -> str:
    start = f"p<sub>i,{errors.fixed_frame}</sub>"
    return (
        "<h2>How the error is measured</h2>"
        f'<p class="formula">before: e<sub>i,t</sub> = ‖ p<sub>i,t</sub> − {start} ‖ &emsp; '
        f"after: e<sub>i,t</sub> = ‖ T<sub>t</sub><sup>−1</sup>(p<sub>i,t</sub>) − {start} ‖</p>"
        f'<p class="note">p<sub>i,t</sub> is where keypoint i was marked in frame t, {start} where it was in the fixed '
        "frame, T<sub>t</sub> the transform found for frame t (from the fixed to the moving frame). "
        "Means are taken per annotator first, so that annotators weigh the same. "
        "After DenoiseReg (ISBI 2022), eq. 5, Tables 1 and 2.</p>"
    )


def _paragraph(methods: Methods | None) -> str:
    if methods is None:
        return ""
    references = "".join(f"<li>{escape(reference)}</li>" for reference in methods.references)
    return f"<h2>Methods paragraph</h2><p>{escape(methods.text)}</p><ol>{references}</ol>"


def _length(value: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
