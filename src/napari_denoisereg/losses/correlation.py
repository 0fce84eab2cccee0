"""Global normalised cross-correlation."""

from typing import ClassVar

import torch
from torch import Tensor

from napari_denoisereg.losses.similarity import Similarity, weights_of

EPSILON = 1e-8


class Correlation(Similarity, kind="correlation"):
    """One minus the correlation coefficient of intensities: 0 at a perfect match up to brightness and contrast, 2 at worst."""

    title: ClassVar[str] = "Normalised cross-correlation"
    reference: ClassVar[str] = "https://doi.org/10.1109/TPAMI.2008.113"

    def __call__(self, fixed: Tensor, warped: Tensor, valid: Tensor | None = None) -> Tensor:
        """Compare; see `Similarity`."""
        weights = weights_of(valid, fixed)
        total = (weights.flatten(1).sum(1) * fixed.shape[1]).clamp(min=1e-6)

        def centred(image: Tensor) -> Tensor:
            mean = ((image * weights).flatten(1).sum(1) / total).reshape(-1, *(1,) * (image.ndim - 1))
            difference = (image - mean) * (weights > 0)
            # Of about one, whatever the unit: squares of tiny or huge intensities would leave the range of float32.
            size = difference.detach().abs().flatten(1).amax(1).reshape(mean.shape)
            numbers = torch.finfo(image.dtype)
            return difference / torch.maximum(size, numbers.eps * mean.detach().abs()).clamp(min=numbers.tiny)

        def product(left: Tensor, right: Tensor) -> Tensor:
            return (left * right * weights).flatten(1).sum(1) / total

        one, two = centred(fixed), centred(warped)
        scale = (product(one, one) * product(two, two) + EPSILON**2).sqrt()
        return 1 - product(one, two) / scale
