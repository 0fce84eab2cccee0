"""What denoising took away: the residual, noisy minus denoised. Pure noise has no structure; structure in it was signal.

Two figures that need no clean image:

- the correlation of the residual with itself one pixel further: zero for noise that is independent from pixel to pixel, above
  zero where edges, or noise that is correlated itself, went into the residual;
- the correlation of the residual with the denoised image: above zero where contrast was taken away, below where it was added.
  (That photon noise is larger where the image is brighter changes neither figure.)
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]
Floats = NDArray[np.float64]

_CLEAR = 0.1  # a correlation that is seen by eye in a residual
_SURE = 4.0  # standard errors above which a correlation is no chance


@dataclass(frozen=True)
class ResidualFigures:
    """Figures of one residual.

    Parameters
    ----------
    mean, spread
        Mean and standard deviation, units of the image.
    neighbours
        Correlation of neighbouring pixels, -1 to 1; of the last two axes the larger in size. NaN for a constant residual.
    signal
        Correlation with the denoised image, -1 to 1; NaN where one of them is constant.
    n
        Number of pixels.
    """

    mean: float
    spread: float
    neighbours: float
    signal: float
    n: int

    @property
    def verdict(self) -> Literal["nothing", "noise", "structure", "contrast"]:
        """What the residual looks like: nothing was taken away, noise alone, structure, or the image's own contrast."""
        if not self.spread > 0:
            return "nothing"
        limit = max(_CLEAR, _SURE / np.sqrt(max(self.n, 1)))
        if np.isfinite(self.signal) and abs(self.signal) > limit:
            return "contrast"
        return "structure" if abs(self.neighbours) > limit else "noise"


def residual_figures(noisy: Image, denoised: Image) -> ResidualFigures:
    """Measure the residual of one frame.

    Parameters
    ----------
    noisy, denoised
        Images `((z,) y, x)` of equal shape and intensity scale, at least 2 pixels along y and x.

    Raises
    ------
    ValueError
        When the shapes differ or are too small, or a value is not finite.
    """
    if noisy.shape != denoised.shape or min(noisy.shape[-2:], default=0) < 2:
        raise ValueError(
            f"A residual needs two images of equal shape, at least 2 x 2 pixels, got {noisy.shape} and {denoised.shape}."
        )
    clean = denoised.astype(np.float64)
    rest = noisy.astype(np.float64) - clean
    if not np.isfinite(rest).all():
        raise ValueError(f"Expected finite values, got {int((~np.isfinite(rest)).sum())} pixels that are not; crop them.")
    across = _correlation(rest[..., :, 1:], rest[..., :, :-1])
    down = _correlation(rest[..., 1:, :], rest[..., :-1, :])
    neighbours = max((across, down), key=lambda value: abs(value) if np.isfinite(value) else -1.0)
    return ResidualFigures(float(rest.mean()), float(rest.std()), neighbours, _correlation(rest, clean), int(rest.size))


def histograms(noisy: Image, denoised: Image, *, bins: int = 128) -> tuple[Floats, Floats, Floats]:
    """Count how often intensities occur in two images, in the same bins.

    Parameters
    ----------
    noisy, denoised
        Images of the same intensity scale; values that are not finite are left out.
    bins
        How many bins; they reach from the darkest to the brightest value of both, but for a ten-thousandth at either end.

    Returns
    -------
    Edges `(bins + 1,)` and the share of pixels in each bin, `(bins,)`, of the noisy and of the denoised image.
    """
    images = [image[np.isfinite(image)].astype(np.float64) for image in (noisy, denoised)]
    ends = [np.percentile(image, [0.01, 99.99]) for image in images if image.size]
    low, high = (min(end[0] for end in ends), max(end[1] for end in ends)) if ends else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1.0, bins + 1)
    shares = [np.histogram(np.clip(image, edges[0], edges[-1]), edges)[0] / max(image.size, 1) for image in images]
    return edges, shares[0], shares[1]


def _correlation(first: Floats, second: Floats) -> float:
    one, other = first - first.mean(), second - second.mean()
    power = float(np.sqrt((one**2).sum() * (other**2).sum()))
    # A residual of rounding errors alone says nothing.
    return float((one * other).sum()) / power if power > 1e-20 * one.size else float("nan")
