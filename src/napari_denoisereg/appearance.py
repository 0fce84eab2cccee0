"""What the frames of a stack look like in a few figures, and whether a model has been trained on the like.

Methods standardise every stack, so another camera gain or offset does not matter. What does: how strong the noise is against
the structure, how the intensities are distributed about their mean, and how large structures are in pixels.

References
----------
Noise estimate: J. Immerkær, Fast noise variance estimation, 1996, doi:10.1006/cviu.1996.0060.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_denoisereg.model import Model
from napari_denoisereg.stack import Frame, Stack

MOST_FRAMES = 32
MOST_VOXELS = 100_000
LARGEST_RATIO = 2.0
"""Figures that differ by a larger factor are another kind of data."""
LARGEST_PIXEL_RATIO = 1.6


def appearance(stack: Stack) -> dict[str, float]:
    """Look at a stack: at most 32 evenly spaced frames are read.

    Parameters
    ----------
    stack : Stack
        Without channel axis.

    Returns
    -------
    dict of str to float
        ``mean``, ``std`` over voxels; ``low``, ``high``: medians over frames of the 1st and 99.9th percentile; ``noise``:
        standard deviation of what changes from pixel to pixel. The same at every call.
    """
    chosen = np.unique(np.linspace(0, stack.n_frames - 1, min(MOST_FRAMES, stack.n_frames)).round().astype(int))
    rows = np.array([_figures(stack.frame(int(number))) for number in chosen])
    mean, square = rows[:, 0].mean(), rows[:, 1].mean()
    low, high, noise = np.median(rows[:, 2:], axis=0)
    std = math.sqrt(max(float(square - mean**2), 1e-30))
    return {"mean": float(mean), "std": std, "low": float(low), "high": float(high), "noise": float(noise)}


def identity(stack: Stack, figures: Mapping[str, float]) -> dict[str, Any]:
    """What a model remembers of a stack it was trained on.

    Parameters
    ----------
    stack : Stack
        Without channel axis.
    figures : mapping of str to float
        Its `appearance`.

    Returns
    -------
    dict
        JSON-ready; equal for equal stacks.
    """
    return {
        "name": stack.name,
        "axes": stack.axes,
        "shape": list(stack.shape),
        "dtype": str(stack.dtype),
        "spacing": [float(step) for step in stack.spacing],
        "units": list(stack.units),
        "appearance": dict(figures),
    }


def differences(model: Model, stack: Stack) -> tuple[str, ...]:
    """In what a stack is unlike everything that a model was trained on.

    Parameters
    ----------
    model : Model
        Trained.
    stack : Stack
        Without channel axis.

    Returns
    -------
    tuple of str
        Sentences in plain words; empty where it is alike, or where the model remembers nothing of its data.
    """
    seen = [each for each in model.provenance.get("data", ()) if "noise" in each.get("appearance", {})]
    if not seen:
        return ()
    figures = appearance(stack)
    told = (
        _told(_noise(figures), [_noise(each["appearance"]) for each in seen], "The noise is {factor} times {word}", "stronger"),
        _told(
            _brightest(figures),
            [_brightest(each["appearance"]) for each in seen],
            "The brightest parts stand out {factor} times {word}",
            "more",
        ),
        _told(_pixel(identity(stack, figures)), [_pixel(each) for each in seen], "Pixels are {factor} times {word}", "larger"),
    )
    return tuple(sentence for sentence in told if sentence)


OPPOSITES = {"stronger": "weaker", "more": "less", "larger": "smaller"}


def _told(value: float | None, known: Sequence[float | None], sentence: str, word: str) -> str:
    """The sentence when a value is far from all known ones; values that are not known say nothing."""
    if value is None or None in known:
        return ""
    largest = LARGEST_PIXEL_RATIO if word == "larger" else LARGEST_RATIO
    ratio = min((value / each for each in known if each), key=lambda each: abs(math.log(each)), default=1.0)
    if max(ratio, 1 / ratio) <= largest:
        return ""
    said = sentence.format(factor=f"{max(ratio, 1 / ratio):.2g}", word=word if ratio > 1 else OPPOSITES[word])
    return f"{said} than in the data the model was trained on."


def _noise(figures: Mapping[str, float]) -> float:
    return max(figures["noise"] / figures["std"], 1e-3)


def _brightest(figures: Mapping[str, float]) -> float:
    return max((figures["high"] - figures["mean"]) / figures["std"], 1e-3)


def _pixel(data: Mapping[str, Any]) -> float | None:
    """Side of a pixel in µm, None where the unit is not one of length."""
    metres = {"micrometer": 1.0, "µm": 1.0, "um": 1.0, "nanometer": 1e-3, "nm": 1e-3, "millimeter": 1e3, "mm": 1e3}
    factor = metres.get(str(data["units"][-1]))
    return None if factor is None else factor * float(data["spacing"][-1])


def _figures(frame: Frame) -> tuple[float, ...]:
    """Mean, mean square, 1st and 99.9th percentile, noise."""
    values = frame.astype(np.float64)
    few = values.ravel()[:: max(1, values.size // MOST_VOXELS)]
    low, high = np.percentile(few, [1, 99.9])
    return float(values.mean()), float((values**2).mean()), float(low), float(high), _noise_of(values)


def _noise_of(frame: NDArray[np.float64]) -> float:
    """Immerkær's estimate: mean absolute second difference along y and x, which no plane or parabola of one axis has."""
    if min(frame.shape[-2:]) < 3:
        return float(frame.std())
    along = frame[..., 2:, :] - 2 * frame[..., 1:-1, :] + frame[..., :-2, :]
    both = along[..., 2:] - 2 * along[..., 1:-1] + along[..., :-2]
    return float(np.abs(both).mean()) * math.sqrt(math.pi / 2) / 6
