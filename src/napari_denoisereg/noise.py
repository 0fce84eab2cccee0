"""Noise: how strong it is at each intensity, measured from the stack itself.

A camera counts photons (Poisson noise, variance proportional to the light) and adds noise of its own (Gaussian, constant):
``variance(y) = gain * y + base``. A camera's offset only moves ``base``, so nothing needs to be known about it.

How it is measured: a filter that second differences along both axes make sees nothing of what is smooth. Its squared response
at a pixel is, on average, the variance at the intensity that the same nine pixels show (weighted as the filter weights them).
Pixels are put into groups by the intensity *around* those nine, which shares no noise with them: grouping by the noisy pixels
themselves would flatten the line. A robust line through the groups is the result.

Where the values are numbers of photons, few enough to be counted (`_counted`), nothing needs measuring: the variance is the
mean. There most pixels may be zero, which elsewhere stands for light that was clipped.

The generalised Anscombe transform makes the noise alike everywhere (standard deviation 1); its exact unbiased inverse takes an
average of transformed values back to intensities, which squaring alone would put too low.

References
----------
Foi et al. 2008, doi:10.1109/TIP.2008.2001399 (the model). Immerkaer 1996, doi:10.1006/cviu.1996.0060 (the filter).
Starck, Murtagh and Bijaoui 1995 (the transform). Mäkitalo and Foi 2013, doi:10.1109/TIP.2012.2202675 (the inverse).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from napari_denoisereg.stack import Stack

Floats = NDArray[np.float64]

MOST_FRAMES, MOST_PIXELS = 12, 1_800_000
GROUPS = 32
AROUND = 3.0  # px: width of the surroundings that choose a pixel's group
OUTLIER = 4.0  # standard deviations beyond which a response is structure or a hot pixel
KEPT_VARIANCE = 0.99887  # of a normal distribution cut at OUTLIER
DEFECT = 20.0  # standard deviations: no light does that, not even single photons on a dark ground
SECOND = np.array([1.0, -2.0, 1.0])
MOST_LEVELS = 64
"""Pictures of so many different values at most may be counts of photons."""
COUNTED = (0.75, 1.35)
"""Variance over that of counted photons: in the darker and in the brighter half of the pixels; structure adds to it."""


@dataclass(frozen=True)
class NoiseModel:
    """``variance(y) = gain * y + base``.

    Parameters
    ----------
    gain : float
        Intensity per photon; 0 where the noise does not grow with the light.
    base : float
        Variance at intensity 0, squared intensities: read noise, less ``gain`` times a camera's offset.
    floor : float
        Smallest variance found in the stack; positive.
    """

    gain: float
    base: float
    floor: float

    def variance(self, image: Tensor) -> Tensor:
        """Variance of the noise at intensities.

        Parameters
        ----------
        image : Tensor
            Any shape; noise-free intensities, or smoothed ones.

        Returns
        -------
        Tensor
            Same shape, at least half the smallest variance found.
        """
        return (self.gain * image + self.base).clamp(min=0.5 * self.floor)

    @property
    def _is_constant(self) -> bool:
        # Photons so faint beside the camera's noise that the transform is a straight line.
        return self.gain**2 < 1e-6 * self.floor

    def stabilise(self, image: Tensor) -> Tensor:
        """Generalised Anscombe transform: noise of standard deviation 1 everywhere.

        Parameters
        ----------
        image : Tensor
            Any shape; noisy intensities.

        Returns
        -------
        Tensor
            ``2 / gain * sqrt(gain * y + 3/8 gain^2 + base)``; ``y / sqrt(base)`` without photon noise.
        """
        if self._is_constant:
            return image / math.sqrt(self.floor)
        return 2 / self.gain * (self.gain * image + 0.375 * self.gain**2 + self.base).clamp(min=0).sqrt()

    def restore(self, stabilised: Tensor) -> Tensor:
        """Exact unbiased inverse of `stabilise`, for averages of stabilised values (closed form).

        Parameters
        ----------
        stabilised : Tensor
            Any shape.

        Returns
        -------
        Tensor
            Intensities.
        """
        if self._is_constant:
            return stabilised * math.sqrt(self.floor)
        d = stabilised.clamp(min=2 * math.sqrt(0.375))
        root = math.sqrt(1.5)
        photons = d**2 / 4 + root / 4 / d - 11 / 8 / d**2 + 5 / 8 * root / d**3 - 1 / 8
        return self.gain * photons - self.base / self.gain


def estimate_noise(stack: Stack) -> NoiseModel:
    """Measure the noise of a stack, from at most twelve evenly spaced frames.

    Parameters
    ----------
    stack : Stack
        Without channel axis. Noise must be independent from pixel to pixel; values that stand for clipped light (saturation,
        zeros) are left out.

    Returns
    -------
    NoiseModel
        Equal for the same stack.
    """
    planes = _planes(stack)
    counted = _counted(planes)
    if counted is not None:
        return counted
    low, high = min(float(plane.min()) for plane in planes), max(float(plane.max()) for plane in planes)
    clipped = [limit for limit in (low, high) if np.mean([np.mean(plane == limit) for plane in planes]) > 1e-3]
    around, at, response = (np.concatenate(each) for each in zip(*(_responses(p, clipped) for p in planes), strict=True))
    if len(at) < 2 * GROUPS:
        spread = float(np.mean([np.var(plane) for plane in planes]))
        return NoiseModel(0.0, spread, max(spread, 1e-30))
    order = np.argsort(around, kind="stable")
    groups = [_group(at[few], response[few] ** 2) for few in np.array_split(order, GROUPS)]
    levels, variances = np.array(groups).T
    return _line(levels, variances)


def repair(image: Tensor, noise: NoiseModel, *, far: float = 5.0) -> Tensor:
    """Replace single hot and dead pixels, which stand alone far outside their neighbours, by the neighbours' median.

    Parameters
    ----------
    image : Tensor
        ``(*spatial)``; looked at plane by plane in 3D.
    noise : NoiseModel
        Says what is far.
    far : float
        Beyond all neighbours by more than so many standard deviations of the noise, and as many photons.

    Returns
    -------
    Tensor
        Same shape.
    """
    values = image.detach().cpu().numpy()
    ring = np.ones((1,) * (values.ndim - 2) + (3, 3), bool)
    ring[..., 1, 1] = False
    # Mirrored at the border without repeating it: a hot pixel there would be its own neighbour, and stay.
    above = ndimage.maximum_filter(values, footprint=ring, mode="mirror")
    below = ndimage.minimum_filter(values, footprint=ring, mode="mirror")
    # Few photons are spread unevenly: a single one on a dark ground is far outside, by the standard deviation alone.
    limits = far * (noise.variance(torch.from_numpy(np.stack([above, below]))).sqrt().numpy() + noise.gain)
    alone = (values > above + limits[0]) | (values < below - limits[1])
    if not alone.any():
        return image
    middle = ndimage.median_filter(values, footprint=ring, mode="mirror")
    return torch.from_numpy(np.where(alone, middle, values)).to(image)


def without_defects(stack: Stack) -> Stack:
    """A stack whose hot and dead pixels are replaced when a frame is read; nothing is read or kept before.

    A defect is `DEFECT` times as strong as the noise. Left in, it would be spread over its surroundings by filters, over all
    of its frame where the frame's mean is kept, and would set the scale by which networks see a movie.

    Parameters
    ----------
    stack : Stack
        Without channel axis.

    Returns
    -------
    Stack
        float32; all else as it was.
    """
    return stack.with_data(_Repaired(stack, estimate_noise(stack)))


class _Repaired:
    """Frames of a stack, repaired when they are read; what `Stack` wants of an array."""

    dtype = np.dtype(np.float32)

    def __init__(self, stack: Stack, noise: NoiseModel) -> None:
        self._stack, self._noise = stack, noise
        self._place = stack.axes.index(stack.frame_axis)
        self.shape, self.ndim = stack.shape, len(stack.shape)

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        wanted = list(index if isinstance(index, tuple) else (index,))
        wanted += [slice(None)] * (self.ndim - len(wanted))
        which = wanted[self._place]
        numbers = range(*which.indices(self._stack.n_frames)) if isinstance(which, slice) else [which]
        frames = [repair(self._stack.tensor([number])[0], self._noise, far=DEFECT).numpy() for number in numbers]
        wanted[self._place] = slice(None) if isinstance(which, slice) else 0
        whole = np.stack(frames, self._place) if frames else np.zeros(self._empty(), np.float32)
        return np.asarray(whole[tuple(wanted)], np.float32)

    def _empty(self) -> tuple[int, ...]:
        return (*self.shape[: self._place], 0, *self.shape[self._place + 1 :])


def _counted(planes: list[Floats]) -> NoiseModel | None:
    """The noise of counted photons, where the values are such counts: few, evenly spaced, and with the variance of counts."""
    glance = np.unique(np.concatenate([plane.ravel()[:: max(1, plane.size // 2000)] for plane in planes]))
    if not 2 <= len(glance) <= MOST_LEVELS:
        return None
    levels = np.unique(np.concatenate([plane.ravel() for plane in planes]))
    gaps = np.diff(levels)
    photon, none = float(gaps.min()), float(levels[0])
    if len(levels) > MOST_LEVELS or not np.allclose(gaps / photon, np.round(gaps / photon), atol=1e-3):
        return None
    around, at, response = (np.concatenate(each) for each in zip(*(_responses(p, []) for p in planes), strict=True))
    if len(at) < 2 * GROUPS:
        return None
    for half in np.array_split(np.argsort(around, kind="stable"), 2):
        light = photon * float(at[half].mean() - none)
        if not COUNTED[0] * light < float((response[half] ** 2).mean()) < COUNTED[1] * light:
            return None
    return NoiseModel(photon, -photon * none, photon * float(at.mean() - none))


def _planes(stack: Stack) -> list[Floats]:
    """Some evenly spaced (y, x) planes, float64; of very large ones the middle."""
    height, width = stack.grid.shape[-2:]
    count = max(1, min(MOST_FRAMES, MOST_PIXELS // (height * width)))
    frames = np.unique(np.linspace(0, stack.n_frames - 1, min(count, stack.n_frames)).round().astype(int))
    if stack.grid.ndim == 2:
        planes = [stack.frame(int(number)) for number in frames]
    else:
        volumes = [stack.frame(int(number)) for number in frames[: max(1, count // 4)]]
        planes = [volume[z] for volume in volumes for z in np.unique(np.linspace(0, len(volume) - 1, 4).round().astype(int))]
    rows = slice(max(0, height // 2 - 1000), height // 2 + 1000)
    columns = slice(max(0, width // 2 - 1000), width // 2 + 1000)
    return [plane[rows, columns].astype(np.float64) for plane in planes]


def _responses(plane: Floats, clipped: list[float]) -> tuple[Floats, Floats, Floats]:
    """Per usable pixel: intensity around it, intensity the filter sees, and the filter's response (variance of the noise)."""
    if min(plane.shape) < 5:
        empty = np.zeros(0)
        return empty, empty, empty
    response, seen = plane, plane
    for axis in (0, 1):
        response = ndimage.convolve1d(response, SECOND / math.sqrt(6), axis=axis)
        seen = ndimage.convolve1d(seen, SECOND**2 / 6, axis=axis)
    bell = np.exp(-0.5 * (np.arange(-1, 2) / AROUND) ** 2)
    pulse = np.zeros(2 * int(4 * AROUND) + 3)
    pulse[len(pulse) // 2] = 1
    bell *= float(ndimage.gaussian_filter1d(pulse, AROUND).max())
    core = np.outer(bell, bell)
    around = (ndimage.gaussian_filter(plane, AROUND) - ndimage.convolve(plane, core)) / (1 - core.sum())
    usable = np.zeros(plane.shape, bool)
    usable[2:-2, 2:-2] = True
    if clipped:
        usable &= ~ndimage.binary_dilation(np.isin(plane, clipped), np.ones((3, 3), bool))
    return around[usable], seen[usable], response[usable]


def _group(at: Floats, squared: Floats) -> tuple[float, float]:
    """Mean intensity and variance of a group, without outliers."""
    variance = float(np.median(squared)) / 0.4549  # median of chi squared with one degree of freedom
    kept = np.ones(len(at), bool)
    for _ in range(8):
        kept = squared <= OUTLIER**2 * variance
        variance = float(squared[kept].mean()) / KEPT_VARIANCE
    return float(at[kept].mean()), variance


def _line(levels: Floats, variances: Floats) -> NoiseModel:
    """Weighted straight line through the groups; groups above it (structure) count less."""
    floor = max(float(np.quantile(variances, 0.05)), 1e-30)
    columns = np.stack([levels, np.ones_like(levels)], axis=1)
    weights: Floats = 1 / np.maximum(variances, floor)
    fitted: Floats = np.zeros(2)
    for _ in range(30):
        fitted = np.asarray(np.linalg.lstsq(columns * weights[:, None], variances * weights, rcond=None)[0])
        if fitted[0] < 0:
            fitted = np.array([0.0, np.average(variances, weights=weights**2)])
        line = np.maximum(columns @ fitted, 0.5 * floor)
        excess = (variances - line) / line
        usual = 1.4826 * float(np.median(np.abs(excess))) + 1e-9
        weights = np.asarray(1 / line / np.sqrt(1 + (np.maximum(excess, 0) / (2 * usual)) ** 2))
    return NoiseModel(float(fitted[0]), float(fitted[1]), floor)
