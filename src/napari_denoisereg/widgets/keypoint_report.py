"""The report of a session: figures, plots, a methods paragraph, as HTML or as the pages of a PDF (`report_pdf`)."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from napari_denoisereg.evaluation.agreement import annotator_distances
from napari_denoisereg.evaluation.keypoints import KeypointError, Keypoints, registration_error
from napari_denoisereg.evaluation.keypoints import Mapping as Mapping_
from napari_denoisereg.evaluation.live_error import LiveError, SteeredError
from napari_denoisereg.evaluation.point_fit import FitModel
from napari_denoisereg.evaluation.report import Report
from napari_denoisereg.evaluation.report_methods import IN_SAMPLE, Steering, Step, methods_paragraph
from napari_denoisereg.steps import Progress, Steps
from napari_denoisereg.widgets.keypoint_book import measured
from napari_denoisereg.widgets.keypoint_marks import Marks
from napari_denoisereg.widgets.keypoint_movie import Movie
from napari_denoisereg.widgets.keypoint_predict import Ways
from napari_denoisereg.widgets.layers import METADATA_KEY
from napari_denoisereg.widgets.report_pdf import PdfPages, blocks


def report_steps(
    marks: Marks, ways: Ways | None, fit: FitModel | None, movie: Movie, recipe: Mapping[str, Any] | None, path: str | Path
) -> Steps[Path | PdfPages]:
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
        The file, ``.html`` (which is added where it has no ending) or ``.pdf``; an earlier one is replaced.

    Returns
    -------
    Steps of Path or PdfPages
        The file that was written, or what the GUI thread has to draw.

    Raises
    ------
    ValueError
        For other endings, or when there is no keypoint in the first frame and another one.
    OSError
        When it cannot be written.
    """
    yield Progress(0, 2, "measuring")
    made = report_of(marks, ways, fit, movie, recipe)
    yield Progress(1, 2, "drawing")
    target = Path(path) if Path(path).suffix else Path(path).with_suffix(".html")
    if target.suffix.lower() == ".pdf":
        return PdfPages(blocks(made.html()), made.title, target)
    return made.write(target)


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
