"""Local normalised cross-correlation: the correlation coefficient in a window around every voxel.

Blind to brightness and contrast that change slowly over the image (bleaching, uneven light), and kind to noise: a window
averages over many voxels. Windows are cut off where the image or the mask ends; what the mask leaves out is never read.

References
----------
Avants et al. 2008, doi:10.1016/j.media.2007.06.004 (with squares); Cachier et al. 2003, doi:10.1016/S1077-3142(03)00002-X
(with a Gaussian window).
"""

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from napari_denoisereg.geometry import smooth
from napari_denoisereg.losses.similarity import Similarity, standardised, weights_of
from napari_denoisereg.method import setting

Filter = Callable[[Tensor], Tensor]


class LocalCorrelation(Similarity, kind="local_correlation"):
    """One minus the correlation coefficient in a window around every voxel; for uneven light, bleaching and noise.

    With ``⟨·⟩`` the weighted mean over the window of a voxel x, ``c = ⟨FW⟩ - ⟨F⟩⟨W⟩`` and variances ``v`` likewise,

        ``Σ_x w(x) [1 - c / sqrt((v_F + ε)(v_W + ε))] / Σ_x w(x)``,

    where ``ε`` is ``floor`` times the variance of the whole image. 0 at a perfect match (up to the floor), 1 for unrelated
    images, 2 at worst. Squared it is ``1 - c² / ((v_F + ε)(v_W + ε))``, from 0 to 1, which takes a negative for a match.
    """

    title: ClassVar[str] = "Local cross-correlation"
    reference: ClassVar[str] = "https://doi.org/10.1016/j.media.2007.06.004"

    width: int = setting(9, "Size of the window; an odd number.", unit="px", ge=3, le=101)
    window: Literal["box", "gaussian"] = setting("box", "Shape of the window: a box, or a Gaussian of the same spread.")
    squared: bool = setting(False, "Compare squares, so that inverted contrast counts as alike, too.", advanced=True)
    floor: float = setting(
        1e-5, "Windows with less contrast than this share of the image's variance are ignored.", ge=1e-9, le=1, advanced=True
    )

    def __call__(self, fixed: Tensor, warped: Tensor, valid: Tensor | None = None) -> Tensor:
        """Compare; see `Similarity`."""
        weights = weights_of(valid, fixed)
        value = self.at_voxels(fixed, warped, weights)
        return ((1 - value) * weights).mean(1).flatten(1).sum(1) / weights.flatten(1).sum(1).clamp(min=1e-6)

    def at_voxels(self, fixed: Tensor, warped: Tensor, valid: Tensor | None = None) -> Tensor:
        """Correlation in the window of every voxel, a map of where images are alike.

        Parameters
        ----------
        fixed, warped, valid : Tensor
            See `Similarity`.

        Returns
        -------
        Tensor
            ``(B, C, *spatial)``, from -1 to 1 (squared: from 0); 1 is alike.
        """
        weights = weights_of(valid, fixed)
        average = self._average()
        one, two = standardised(fixed, weights), standardised(warped, weights)
        # Without a mask all windows of all items are alike: the sums of weights are made once.
        amount = average(weights if valid is not None else weights[:1]).clamp(min=1e-6)
        parts = [one, two, one * one, two * two, one * two]
        means = average(torch.cat([part * weights for part in parts], dim=1)) / amount
        mean_one, mean_two, square_one, square_two, product = means.chunk(5, dim=1)
        variance_one = (square_one - mean_one**2).clamp(min=0) + self.floor
        variance_two = (square_two - mean_two**2).clamp(min=0) + self.floor
        covariance = product - mean_one * mean_two
        if self.squared:
            return covariance**2 / (variance_one * variance_two)
        return covariance * (variance_one * variance_two).rsqrt()

    def _average(self) -> Filter:
        half = self.width // 2
        if self.window == "box":
            return lambda image: box_sum(image, half)
        # The standard deviation of a box of 2h + 1 voxels.
        sigma = math.sqrt(((2 * half + 1) ** 2 - 1) / 12)
        return lambda image: smooth(image, sigma)


def box_sum(image: Tensor, half: int) -> Tensor:
    """Sums over boxes, zeros beyond the border.

    Parameters
    ----------
    image : Tensor
        ``(B, C, *spatial)``.
    half : int
        Boxes have sides of ``2 half + 1`` voxels.

    Returns
    -------
    Tensor
        Same shape; differentiable.
    """
    return _BoxSum.apply(image, half)  # type: ignore[no-untyped-call]  # torch does not say


class _BoxSum(torch.autograd.Function):
    """Sums of 1, 2, 4, ... neighbours are built from each other: for a box of 9 four additions along an axis instead of eight.

    The map is its own adjoint: its gradient is itself, and nothing is kept for it.
    """

    @staticmethod
    def forward(ctx: Any, image: Tensor, half: int) -> Tensor:
        ctx.half = half
        for axis in range(2, image.ndim):
            image = _sums(image, axis, half)
        return image

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return box_sum(gradients[0], ctx.half), None


def _sums(image: Tensor, axis: int, half: int) -> Tensor:
    length = image.shape[axis]
    padding = [*image.shape[:axis], half, *image.shape[axis + 1 :]]
    zeros = image.new_zeros(padding)
    run, reach = torch.cat([zeros, image, zeros], dim=axis), 1
    total, place, left = torch.zeros_like(image), 0, 2 * half + 1
    while left:
        # run[i] is the sum of `reach` entries from i on; the bits of the box's length say which runs it is made of.
        if left & 1:
            total += run.narrow(axis, place, length)
            place += reach
        left >>= 1
        if left:
            run = run.narrow(axis, 0, run.shape[axis] - reach) + run.narrow(axis, reach, run.shape[axis] - reach)
            reach *= 2
    return total
