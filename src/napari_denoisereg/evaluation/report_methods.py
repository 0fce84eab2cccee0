"""What a paper's supplement says of how the error was measured: a paragraph and its references, from what was really done."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from napari_denoisereg.evaluation.agreement import Agreement
from napari_denoisereg.evaluation.keypoints import KeypointError
from napari_denoisereg.evaluation.point_fit import FitModel

DENOISEREG = (
    "Celikay, Chagin, Cardoso, Rohr. DenoiseReg: unsupervised joint denoising and registration of time-lapse live cell "
    "microscopy images using deep learning. IEEE International Symposium on Biomedical Imaging (ISBI), 2022."
)
FITZPATRICK = (
    "Fitzpatrick, J. M. Fiducial registration error and target registration error are uncorrelated. Proc. SPIE 7261, 726102, "
    "2009. https://doi.org/10.1117/12.813601"
)
BOOKSTEIN = (
    "Bookstein, F. L. Principal warps: thin-plate splines and the decomposition of deformations. IEEE Transactions on Pattern "
    "Analysis and Machine Intelligence 11(6), 567–585, 1989. https://doi.org/10.1109/34.24792"
)
NAPARI = "napari contributors. napari: a multi-dimensional image viewer for Python. https://doi.org/10.5281/zenodo.3555620"
IN_SAMPLE = (
    "The error at points that steer a registration is not its accuracy: a thin-plate spline goes through them, error 0, "
    "whatever it does in between. Judge by the leave-one-out error and by check points."
)


@dataclass(frozen=True)
class Step:
    """A method that was used.

    Parameters
    ----------
    words
        What it is, to follow "with", e.g. "Noise2Void".
    reference
        Where it comes from: a citation, DOI or URL; empty where there is none.
    """

    words: str
    reference: str = ""


@dataclass(frozen=True)
class Steering:
    """A registration fitted to keypoints, frame by frame, and what it is worth; pixels.

    Parameters
    ----------
    model
        What was fitted.
    n_steering, n_check
        How many keypoints steer, and how many were held out to check.
    in_sample, leave_one_out, check
        Mean error of the fit at the points that steer, of fits without the point in question, and at check points; NaN where
        there is none.
    """

    model: FitModel
    n_steering: int
    n_check: int
    in_sample: float
    leave_one_out: float
    check: float


@dataclass(frozen=True)
class Methods:
    """A paragraph with numbered references.

    Parameters
    ----------
    text
        The paragraph; references as "[1]".
    references
        In the order of their numbers.
    """

    text: str
    references: tuple[str, ...] = field(default=())


def methods_paragraph(
    errors: KeypointError,
    *,
    version: str,
    steps: Sequence[Step] = (),
    agreement: Sequence[Agreement] = (),
    steering: Steering | None = None,
) -> Methods:
    """Write the paragraph.

    Parameters
    ----------
    errors
        The registration error of every mark that counts.
    version
        Of napari-denoisereg.
    steps
        What registered the movie, in order; empty where nothing is known.
    agreement
        Distances between annotators.
    steering
        What is known of a registration fitted to the keypoints.
    """
    cited: list[str] = []

    def cite(reference: str) -> str:
        if reference not in cited:
            cited.append(reference)
        return f" [{cited.index(reference) + 1}]"

    sentences = [_marking(errors) + f" in napari{cite(NAPARI)} with napari-denoisereg {version}."]
    if steps:
        named = [step.words + (cite(step.reference) if step.reference else "") for step in steps]
        sentences.append(f"The movie was registered to frame {errors.fixed_frame} with {_listed(named)}.")
    if steering is not None:
        spline = cite(BOOKSTEIN) if steering.model == "thin-plate" else ""
        words = "a thin-plate spline" if steering.model == "thin-plate" else "an affine transform (least squares)"
        sentences.append(
            f"Each frame was registered to frame {errors.fixed_frame} with {words}{spline} fitted to {steering.n_steering} "
            "keypoints; the error of a keypoint used for the fit is that of the fit to all others (leave-one-out), as the "
            f"error at the points used says nothing of the error elsewhere{cite(FITZPATRICK)}."
        )
    sentences.append(
        "The registration error of a keypoint in a frame is the distance between its place in the reference frame and "
        + ("its place mapped there by the registration" if errors.is_registered else "its place in that frame")
        + f"{cite(DENOISEREG)}; means were taken per annotator first."
    )
    sentences.append(_figures(errors))
    if steering is not None:
        sentences.append(_worth(steering))
    sentences += [_distance(each) for each in agreement if each.n_marks]
    return Methods(" ".join(sentences), tuple(cited))


def _marking(errors: KeypointError) -> str:
    n_frames = len(set(errors.frame.tolist())) + 1
    people = [name for name in sorted(set(errors.annotator.tolist())) if name]
    by = f" by {len(people)} annotators" if len(people) > 1 else " by one annotator"
    parts = []
    for kind in ("interior", "contour"):
        n = len(errors.where(errors.kind == kind).table("annotator", "id")) if (errors.kind == kind).any() else 0
        if n:
            parts.append(f"{n} {kind} point{'s' if n > 1 else ''}")
    return f"{_listed(parts)} were marked in {n_frames} frames{by}"


def _figures(errors: KeypointError) -> str:
    names = ("before", "after") if errors.is_registered else ("before",)
    sides = []
    for name in names:
        pixels, world = errors.table()[0], errors.table(world=True)[0]
        in_world = f" = {world[f'{name}_mean']:.3g} {errors.unit}" if errors.unit != "px" else ""
        sides.append(
            f"{pixels[f'{name}_mean']:.2f} px{in_world} (median {pixels[f'{name}_median']:.2f} px, 90th percentile "
            f"{pixels[f'{name}_p90']:.2f} px, n = {pixels['n'] - (pixels['lost'] if name == 'after' else 0)} marks) {name}"
        )
    return f"The mean error was {' and '.join(sides)} registration."


def _worth(steering: Steering) -> str:
    words = f"The mean error was {steering.in_sample:.2f} px at the {steering.n_steering} keypoints used (in sample)"
    if not math.isnan(steering.leave_one_out):
        words += f", {steering.leave_one_out:.2f} px when each was left out"
    if not math.isnan(steering.check):
        words += f", and {steering.check:.2f} px at {steering.n_check} keypoints held out"
    return words + "."


def _distance(each: Agreement) -> str:
    return (
        f"{each.first} and {each.second} marked {each.n_keypoints} places both; their marks lay {each.mean:.2f} px apart "
        f"(median {each.median:.2f} px, n = {each.n_marks})."
    )


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
