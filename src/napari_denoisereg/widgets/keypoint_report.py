"""The report of a session: figures, plots, a methods paragraph, as HTML or PDF.

The PDF is the HTML page laid out by Qt, whose text engine knows no inline SVG: the charts are drawn at print resolution first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import QByteArray, QMarginsF, QSizeF, QUrl
from qtpy.QtGui import QImage, QPageLayout, QPageSize, QPainter, QPdfWriter, QTextDocument
from qtpy.QtSvg import QSvgRenderer

from napari_denoisereg.evaluation.agreement import annotator_distances
from napari_denoisereg.evaluation.keypoints import KeypointError, Keypoints, registration_error
from napari_denoisereg.evaluation.keypoints import Mapping as Mapping_
from napari_denoisereg.evaluation.live_error import LiveError, SteeredError
from napari_denoisereg.evaluation.point_fit import FitModel
from napari_denoisereg.evaluation.report import Report
from napari_denoisereg.evaluation.report_methods import IN_SAMPLE, Steering, Step, methods_paragraph
from napari_denoisereg.atomic import replacing
from napari_denoisereg.steps import Progress, Steps
from napari_denoisereg.widgets.keypoint_book import measured
from napari_denoisereg.widgets.keypoint_marks import Marks
from napari_denoisereg.widgets.keypoint_movie import Movie
from napari_denoisereg.widgets.keypoint_predict import Ways
from napari_denoisereg.widgets.layers import METADATA_KEY

PER_INCH = 300  # dots, in print
CSS_PER_INCH = 96  # pixels, as HTML counts them
CHART_WIDTH = 5.6  # inches
STYLE = """
body{font-family:Helvetica,Arial,sans-serif;font-size:10pt;color:#222}
h1{font-size:17pt}h2{font-size:12pt;margin-top:14pt}
th{text-align:right;padding:2pt 7pt;font-weight:600}td{text-align:right;padding:2pt 7pt}
.note{color:#555}.formula{font-size:11pt}.warning{color:#8a3c00;font-weight:600}
"""


def report_steps(
    marks: Marks, ways: Ways | None, fit: FitModel | None, movie: Movie, recipe: Mapping[str, Any] | None, path: str | Path
) -> Steps[Path]:
    """Write the report of the marks that count.

    Parameters
    ----------
    marks : Marks
        All marks.
    ways : Ways, optional
        The registration to judge.
    fit : {"affine", "thin-plate"}, optional
        What is fitted to the marks instead.
    movie : Movie
        They are of.
    recipe : mapping, optional
        What registered it, as layers keep it.
    path : str or Path
        The file, ``.html`` or ``.pdf``; an earlier one is replaced.

    Returns
    -------
    Steps of Path
        The file.
    """
    yield Progress(0, 2, "measuring")
    made = report_of(marks, ways, fit, movie, recipe)
    yield Progress(1, 2, "drawing")
    return write_report(made, path)


def report_of(
    marks: Marks, ways: Ways | None, fit: FitModel | None, movie: Movie, recipe: Mapping[str, Any] | None = None
) -> Report:
    """Make the report of the marks that count; parameters as of `report_steps`.

    Returns
    -------
    Report
        With a methods paragraph.

    Raises
    ------
    ValueError
        When there is no keypoint in the first frame and another one.
    """
    error = measured(marks, ways, fit)
    errors = errors_of(error, ways, movie)
    agreement = annotator_distances(marks.points.where(marks.included))
    steering = steering_of(error)
    steps = () if recipe is None or ways is None else steps_of(recipe)
    methods = methods_paragraph(errors, version=version(METADATA_KEY), steps=steps, agreement=agreement, steering=steering)
    warnings = () if steering is None else (IN_SAMPLE,)
    title = f"Registration error at keypoints: {movie.look.name}"
    return Report(errors, title, _figures(steering), agreement=agreement, methods=methods, warnings=warnings)


def errors_of(error: LiveError, ways: Ways | None, movie: Movie) -> KeypointError:
    """The full evaluation of the marks that count.

    Parameters
    ----------
    error : LiveError
        Of all marks.
    ways : Ways, optional
        The registration to judge.
    movie : Movie
        For the size of its pixels.

    Returns
    -------
    KeypointError
        Of a fit to the marks: leave-one-out errors, and those of check points.

    Raises
    ------
    ValueError
        When there is no keypoint in the first frame and another one.
    """
    points = error.points().where(error.included)
    mappings: Any = None if ways is None else ways.back
    if isinstance(error, SteeredError):
        mappings = _remembered(points, error.landed[error.included])
    grid = movie.stack.grid
    return registration_error(points, mappings, spacing=grid.spacing, unit=grid.units[-1] or "px")


def _remembered(points: Keypoints, landed: Any) -> list[Mapping_]:
    """Where each mark lands, as one callable per frame: a mark left out of the fit has a fit of its own."""
    there: dict[tuple[int, bytes], Any] = {}
    for frame, place, end in zip(points.frame.tolist(), points.position, landed, strict=True):
        there[frame, place.tobytes()] = end

    def back(frame: int) -> Mapping_:
        return lambda places: np.array([there[frame, place.tobytes()] for place in places])

    return [back(frame) for frame in range(int(points.frame.max(initial=0)) + 1)]


def steering_of(error: LiveError) -> Steering | None:
    """What a fit to the marks is worth.

    Parameters
    ----------
    error : LiveError
        Of the marks.

    Returns
    -------
    Steering or None
        None where nothing is fitted to them.
    """
    if not isinstance(error, SteeredError):
        return None
    counts = error.counts
    return Steering(
        error.model,
        error.n_keypoints(counts & ~error.check),
        error.n_keypoints(counts & error.check),
        _mean(error.in_sample[counts & ~error.check]),
        _mean(error.after[counts & ~error.check]),
        _mean(error.after[counts & error.check]),
    )


def steps_of(recipe: Mapping[str, Any]) -> tuple[Step, ...]:
    """Registrars of a recipe, for the methods paragraph.

    Parameters
    ----------
    recipe : mapping
        As layers keep it.

    Returns
    -------
    tuple of Step
        Empty where it is of a version that cannot be read any more.
    """
    from napari_denoisereg.pipeline import Pipeline

    try:
        registrars = Pipeline.coerce(recipe).registrars
    except (ValueError, TypeError, KeyError):
        return ()
    return tuple(Step(each.title, each.reference) for each in registrars)


def write_report(report: Report, path: str | Path) -> Path:
    """Write a report as HTML, or as PDF where the name ends so; it replaces an earlier one.

    Parameters
    ----------
    report : Report
        The report.
    path : str or Path
        The file; ``.html`` is added where it has no ending.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        For other endings.
    OSError
        When it cannot be written.
    """
    target = Path(path) if Path(path).suffix else Path(path).with_suffix(".html")
    if target.suffix.lower() != ".pdf":
        return report.write(target)
    with replacing(target, overwrite=True) as part:
        print_page(report.html(), report.title, part)
    return target


def print_page(html: str, title: str, path: Path) -> None:
    """Lay the HTML page of a report out on A4.

    Parameters
    ----------
    html : str
        The page.
    title : str
        Of the document.
    path : Path
        The file.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    writer = QPdfWriter(str(path))
    writer.setTitle(title)
    writer.setCreator(METADATA_KEY)
    writer.setResolution(PER_INCH)
    writer.setPageLayout(
        QPageLayout(
            QPageSize(QPageSize.PageSizeId.A4),
            QPageLayout.Orientation.Portrait,
            QMarginsF(18, 16, 18, 16),
            QPageLayout.Unit.Millimeter,
        )
    )
    document = QTextDocument()
    layout = document.documentLayout()
    assert layout is not None
    layout.setPaintDevice(writer)
    document.setDefaultStyleSheet(STYLE)
    document.setPageSize(QSizeF(writer.width(), writer.height()))
    document.setDocumentMargin(0)
    charts = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    for number, svg in enumerate(charts):
        image = _drawn(svg)
        document.addResource(QTextDocument.ResourceType.ImageResource.value, QUrl(f"chart:{number}"), image)
        width, height = (round(side * CSS_PER_INCH / PER_INCH) for side in (image.width(), image.height()))
        html = html.replace(svg, f'<p><img src="chart:{number}" width="{width}" height="{height}"></p>', 1)
    document.setHtml(_plain(html))
    document.print_(writer)  # type: ignore[attr-defined]  # qtpy gives both bindings this name
    if not path.exists() or path.stat().st_size == 0:
        raise OSError(f"{path.name} could not be written; choose another folder.")


def _drawn(svg: str) -> QImage:
    """A chart at print resolution."""
    renderer = QSvgRenderer(QByteArray(svg.encode()))
    width = round(CHART_WIDTH * PER_INCH)
    size = renderer.defaultSize()
    image = QImage(width, round(width * size.height() / size.width()), QImage.Format.Format_RGB32)
    image.fill(0xFFFFFFFF)
    painter = QPainter(image)
    renderer.render(painter)
    painter.end()
    return image


def _plain(html: str) -> str:
    """The page without what Qt's text engine does not know."""
    body = re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    body = re.sub(r"<details><summary>(.*?)</summary>(.*?)</details>", r"<h2>\1</h2>\2", body, flags=re.DOTALL)
    body = body.replace("<table>", '<table cellpadding="4">')
    return re.sub(r"<div><b>(.*?)</b>(.*?)</div>", r"<p><big><b>\1</b></big> \2</p>", body, flags=re.DOTALL)


def _figures(steering: Steering | None) -> dict[str, float]:
    if steering is None:
        return {}
    named = {
        "Mean error at the points used (in sample), px: not accuracy": steering.in_sample,
        "Mean leave-one-out error, px": steering.leave_one_out,
        "Mean error at check points, px": steering.check,
    }
    return {name: value for name, value in named.items() if not np.isnan(value)}


def _mean(values: Any) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
