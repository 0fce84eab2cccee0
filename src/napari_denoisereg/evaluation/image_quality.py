"""How good an image is: against a clean one (PSNR, SSIM), against another one (NCC), or by itself (noise).

Images are arrays of any number of axes and any real type; they are compared in float64. NaN is refused, because a mean
over what happens to be known would flatter.

References
----------
Wang, Z. et al.: Image quality assessment: from error visibility to structural similarity. IEEE TIP 13(4), 2004.
https://doi.org/10.1109/TIP.2003.819861
Immerkaer, J.: Fast noise variance estimation. Computer Vision and Image Understanding 64(2), 1996.
https://doi.org/10.1006/cviu.1996.0060
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.metrics import structural_similarity

Image = NDArray[Any]
Floats = NDArray[np.float64]

_MAD_TO_SIGMA = 1.4826  # of a normal distribution
_WINDOW = 7  # px: side of the SSIM window


def psnr(image: Image, clean: Image, *, peak: float | None = None, fit: bool = False) -> float:
    """Return the peak signal-to-noise ratio, dB: `10 log10(peak^2 / mean((image - clean)^2))`; infinite when equal.

    Parameters
    ----------
    image, clean
        Arrays of equal shape; a whole movie counts as one image.
    peak
        The brightest value that counts, in the units of `clean`; its 99.9th percentile by default.
    fit
        Compare after the gain and offset that bring `image` closest to `clean` (for images scaled separately).
    """
    shown, truth = _pair(image, clean)
    top = _peak(truth, peak)
    if fit:
        gain, offset = gain_offset(shown, truth)
        shown = gain * shown + offset
    error = float(np.mean((shown - truth) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(top**2 / error))


def gain_offset(image: Image, clean: Image) -> tuple[float, float]:
    """Return the gain and offset for which `gain * image + offset` is closest to `clean` (least squares)."""
    shown, truth = _pair(image, clean)
    centred = shown - shown.mean()
    power = float((centred**2).sum())
    gain = float((centred * (truth - truth.mean())).sum()) / power if power > 0 else 0.0
    return gain, float(truth.mean() - gain * shown.mean())


def ssim(image: Image, clean: Image, *, peak: float | None = None) -> float:
    """Return the structural similarity, 1 for equal images; mean over windows of 7 pixels along every axis.

    Parameters
    ----------
    image, clean
        Arrays of equal shape, at least 7 pixels along every axis. Of a movie compare frame by frame.
    peak
        The range of values, in the units of `clean`; its 99.9th percentile by default.
    """
    shown, truth = _pair(image, clean)
    if min(truth.shape) < _WINDOW:
        raise ValueError(
            f"SSIM needs at least {_WINDOW} pixels along every axis, got shape {truth.shape}; compare frame by frame."
        )
    return float(structural_similarity(shown, truth, data_range=_peak(truth, peak), win_size=_WINDOW))


def ncc(first: Image, second: Image, *, mask: NDArray[np.bool_] | None = None) -> float:
    """Return the normalised cross correlation, -1 to 1 (Pearson's); NaN where either image is constant.

    Parameters
    ----------
    first, second
        Arrays of equal shape.
    mask
        Where to compare (True), same shape: the area both images cover. Values outside may be NaN.
    """
    if mask is not None:
        if mask.shape != np.shape(first) or mask.shape != np.shape(second):
            raise ValueError(f"The mask must have the images' shape {np.shape(first)}, got {mask.shape}; crop it alike.")
        first, second = np.asarray(first)[mask], np.asarray(second)[mask]
    one, other = _pair(first, second)
    one, other = one - one.mean(), other - other.mean()
    power = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / power if power > 0 else float("nan")


def noise_level(image: Image) -> float:
    """Estimate the standard deviation of pixel-wise noise from one image, in its units.

    Differences of second differences along the last two axes cancel everything smooth; their median size is robust
    against edges. Fine texture still counts as noise, so the estimate is an upper bound for sharp images.
    """
    values = _finite(image)
    if values.ndim < 2 or min(values.shape[-2:]) < 3:
        raise ValueError(f"Noise needs an image of at least 3 x 3 pixels, got shape {values.shape}; pass a whole frame.")
    kernel = np.array([1.0, -2.0, 1.0])
    for axis in (-2, -1):
        values = ndimage.convolve1d(values, kernel, axis=axis)
    inner = values[..., 1:-1, 1:-1]
    return float(np.median(np.abs(inner)) * _MAD_TO_SIGMA / (kernel**2).sum())


def _pair(image: Image, clean: Image) -> tuple[Floats, Floats]:
    first, second = _finite(image), _finite(clean)
    if first.shape != second.shape:
        raise ValueError(f"Images must agree in shape, got {first.shape} and {second.shape}; crop them alike.")
    return first, second


def _finite(image: Image) -> Floats:
    array = np.asarray(image)
    if np.iscomplexobj(array):
        raise TypeError(f"Expected a real image, got {array.dtype}; pass its magnitude, abs(image).")
    values = array.astype(np.float64)
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError(
            f"Expected an image of finite values, got shape {values.shape} with "
            f"{int((~np.isfinite(values)).sum())} NaN or infinite pixels; mask or crop them."
        )
    return values


def _peak(clean: Floats, peak: float | None) -> float:
    top = float(np.percentile(clean, 99.9)) if peak is None else peak
    if not top > 0:
        raise ValueError(f"The peak must be positive, got {top}; pass peak= in the units of the clean image.")
    return top
