"""The one place that reads images between their voxels.

`sample` reads an image at index coordinates (voxel centres at integers, axis order). Coordinates are float32 throughout;
nobody else in the project knows torch's normalised, x-first coordinates.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Interpolation = Literal["linear", "cubic", "nearest"]


def sample(
    image: Tensor, index: Tensor, *, interpolation: Interpolation = "linear", outside: float | Literal["edge"] = "edge"
) -> Tensor:
    """Read images at index coordinates; differentiable in image and coordinates (not for ``"nearest"``).

    Parameters
    ----------
    image : Tensor
        ``(B, C, *spatial)``. Floating for ``"linear"`` and ``"cubic"``, any dtype for ``"nearest"``.
    index : Tensor
        ``(B, D, *out)``, voxels, axis order; ``B`` may be 1 to read every image at the same places.
    interpolation : {"linear", "cubic", "nearest"}
        Cubic is Keys' kernel with a = -1/2 (doi:10.1109/TASSP.1981.1163711); nearest never makes a new value, as labels need.
    outside : float or "edge"
        Value beyond the outer voxel edges; ``"edge"`` repeats the border voxel.

    Returns
    -------
    Tensor
        ``(B, C, *out)``, dtype of the image.
    """
    index = index.expand(image.shape[0], *index.shape[1:])
    read = {"linear": _linear, "cubic": _cubic, "nearest": _nearest}[interpolation]
    values = read(image, index)
    if isinstance(outside, str):
        return values
    beyond = ~inside(index, image.shape[2:])
    return values.masked_fill(beyond.unsqueeze(1), outside)


def inside(index: Tensor, shape: Sequence[int]) -> Tensor:
    """Say which index coordinates lie within the outer voxel edges.

    Parameters
    ----------
    index : Tensor
        ``(B, D, *out)``, voxels.
    shape : sequence of int
        Spatial shape of the image.

    Returns
    -------
    Tensor
        ``(B, *out)``, bool. Not-a-number coordinates are outside.
    """
    size = torch.tensor(list(shape), dtype=index.dtype, device=index.device).reshape(-1, *(1,) * (index.ndim - 2))
    # A thousandth of a voxel of tolerance: float32 rounding must not cut off a border voxel.
    return ((index >= -0.501) & (index <= size - 0.499)).all(dim=1)


def antialias(image: Tensor, factors: Sequence[float]) -> Tensor:
    """Gaussian low pass before shrinking.

    Parameters
    ----------
    image : Tensor
        ``(B, C, *spatial)``, floating.
    factors : sequence of float
        Shrink factor of each axis; axes below 1.05 are left alone.

    Returns
    -------
    Tensor
        Same shape. The standard deviation is ``sqrt((f/2)^2 - (1/2)^2)`` voxels: a voxel twice as large sees twice as far.
    """
    for axis, factor in enumerate(factors):
        if factor > 1.05:
            image = smooth_axis(image, axis, math.sqrt((factor / 2) ** 2 - 0.25))
    return image


def smooth(image: Tensor, sigmas: Sequence[float] | float) -> Tensor:
    """Gaussian filter with edge values repeated.

    Parameters
    ----------
    image : Tensor
        ``(B, C, *spatial)``, floating.
    sigmas : float or sequence of float
        Standard deviation along each axis, voxels; 0 leaves an axis alone.

    Returns
    -------
    Tensor
        Same shape.
    """
    ndim = image.ndim - 2
    each = (float(sigmas),) * ndim if isinstance(sigmas, (int, float)) else tuple(sigmas)
    for axis, sigma in enumerate(each):
        if sigma > 0:
            image = smooth_axis(image, axis, sigma)
    return image


def smooth_axis(image: Tensor, axis: int, sigma: float) -> Tensor:
    """Gaussian filter along one axis, edge values repeated.

    Parameters
    ----------
    image : Tensor
        ``(B, C, *spatial)``, floating.
    axis : int
        Spatial axis.
    sigma : float
        Standard deviation, voxels; positive.

    Returns
    -------
    Tensor
        Same shape.
    """
    radius = max(1, math.ceil(3 * sigma))
    weights = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(radius + 1)]
    total = weights[0] + 2 * sum(weights[1:])
    length, dim = image.shape[axis + 2], axis + 2
    margin = [radius if number == dim else size for number, size in enumerate(image.shape)]
    first, last = image.narrow(dim, 0, 1).expand(margin), image.narrow(dim, length - 1, 1).expand(margin)
    padded = torch.cat([first, image, last], dim)  # along the last axis twice as fast as to gather by index
    # Shifted copies added up: for one channel several times as fast as a convolution layer.
    result = image * (weights[0] / total)
    for offset in range(1, radius + 1):
        near = padded.narrow(dim, radius - offset, length) + padded.narrow(dim, radius + offset, length)
        result = result.add_(near, alpha=weights[offset] / total)
    return result


def _linear(image: Tensor, index: Tensor) -> Tensor:
    size = torch.tensor(image.shape[2:], dtype=index.dtype, device=index.device)
    size = size.reshape(-1, *(1,) * (index.ndim - 2))
    # torch wants x first and voxel edges at -1 and 1 (align_corners=False); a point axis of its own lets any output shape in.
    places = ((2 * index + 1) / size - 1).flip(1).flatten(2).movedim(1, -1).to(image.dtype)
    ndim = image.ndim - 2
    places = places.reshape(index.shape[0], *(1,) * (ndim - 1), -1, ndim)
    values = F.grid_sample(image, places, mode="bilinear", padding_mode="border", align_corners=False)
    return values.reshape(*image.shape[:2], *index.shape[2:])


def _nearest(image: Tensor, index: Tensor) -> Tensor:
    # floor(x + 1/2), not round: torch rounds halves to even, which would shift every other voxel.
    return _gather(image, torch.floor(torch.nan_to_num(index) + 0.5).long())


def _cubic(image: Tensor, index: Tensor) -> Tensor:
    base = torch.floor(index)
    weights = _keys_weights(index - base)
    base = torch.nan_to_num(base).long()
    ndim = index.shape[1]
    total = torch.zeros(*image.shape[:2], *index.shape[2:], dtype=image.dtype, device=image.device)
    for offsets in itertools.product(range(4), repeat=ndim):
        shift = torch.tensor(offsets, device=index.device).reshape(-1, *(1,) * (index.ndim - 2)) - 1
        weight = torch.ones_like(weights[0][:, 0])
        for axis, offset in enumerate(offsets):
            weight = weight * weights[offset][:, axis]
        total = total + weight.unsqueeze(1).to(image.dtype) * _gather(image, base + shift)
    return total


def _keys_weights(fraction: Tensor) -> list[Tensor]:
    """Keys' cubic kernel, a = -1/2, at the four neighbours -1, 0, 1, 2."""
    t = fraction
    return [
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    ]


def _gather(image: Tensor, index: Tensor) -> Tensor:
    """Values at integer coordinates ``(B, D, *out)``, clamped to the image."""
    flat = torch.zeros_like(index[:, 0])
    for axis, size in enumerate(image.shape[2:]):
        flat = flat * size + index[:, axis].clamp(0, size - 1)
    picked = flat.flatten(1).unsqueeze(1).expand(-1, image.shape[1], -1)
    return image.flatten(2).gather(2, picked).reshape(*image.shape[:2], *index.shape[2:])
