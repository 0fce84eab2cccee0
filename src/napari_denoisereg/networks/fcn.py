"""The fully convolutional network of Li and Fan: displacements at three resolutions from two images, in 2D and 3D.

Convolutions of 32, 64, 128 and 64 kernels of size 3, each with batch normalisation and ReLU; after the first two a pooling
(kernel 3, stride 2); then two deconvolutions of 64 and 32 kernels (size 3, stride 2). A regression layer at each of the three
resolutions (a quarter, a half, full) gives the displacement there. No skip connections.

The paper gives stride 2 to the convolutions, too, but then two deconvolutions would not come back to full resolution, as its
text says they do: we read stride 1. Its pooling is not named; we take the maximum. Regression layers start at almost 0.

References
----------
Li and Fan 2017, Non-rigid image registration using fully convolutional networks with deep self-supervision, arXiv:1709.00799.
"""

import itertools
from typing import Literal

import torch
from torch import Tensor, nn

from napari_denoisereg.networks.blind_spot_unet import convolution
from napari_denoisereg.networks.displacement_unet import motion_layer
from napari_denoisereg.tiling import pad_to_multiple

Variant = Literal["multi_resolution", "no_pooling", "interpolated"]
"""``multi_resolution`` is the proposed network; the others are the paper's ablations: three convolutions without pooling and
one regression layer; pooling without deconvolutions, the coarse displacement interpolated."""


class RegistrationFCN(nn.Module):
    """Predict displacements at up to three resolutions.

    Parameters
    ----------
    ndim : int
        2 or 3.
    variant : {"multi_resolution", "no_pooling", "interpolated"}
        See `Variant`.
    """

    def __init__(self, ndim: int, variant: Variant = "multi_resolution") -> None:
        super().__init__()
        self.ndim = ndim
        self.variant = variant
        layer = convolution(ndim)
        is_pooled = variant != "no_pooling"
        pool = {2: nn.MaxPool2d, 3: nn.MaxPool3d}[ndim]
        pooling: list[nn.Module] = [pool(3, stride=2, padding=1)] if is_pooled else []
        widths = (2, 32, 64, 128, 64) if is_pooled else (2, 32, 64, 128)
        layers: list[nn.Module] = []
        for number, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
            layers += _activated(ndim, layer(inputs, outputs, 3, padding=1), outputs) + (pooling if number < 2 else [])
        self.down = nn.Sequential(*layers)
        back = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[ndim]
        ups = [(64, 64), (64, 32)] if variant == "multi_resolution" else []
        self.up = nn.ModuleList(
            nn.Sequential(*_activated(ndim, back(inputs, outputs, 3, stride=2, padding=1, output_padding=1), outputs))
            for inputs, outputs in ups
        )
        self.regression = nn.ModuleList(motion_layer(ndim, width) for width in (widths[-1], *(out for _, out in ups)))

    def forward(self, fixed: Tensor, moving: Tensor) -> list[Tensor]:
        """Predict displacements of a batch of pairs.

        Parameters
        ----------
        fixed, moving : Tensor
            ``(B, 1, *spatial)``, standardised, of any size.

        Returns
        -------
        list of Tensor
            ``(B, D, *ceil(spatial / f))`` in voxels of that resolution, finest first: f = 1, 2, 4 (multi_resolution),
            1 (no_pooling) or 4 (interpolated).
        """
        return self.decode(self.encode(fixed, moving), tuple(fixed.shape[2:]))

    def encode(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """The coarsest features, from which displacements are computed.

        Parameters
        ----------
        fixed, moving : Tensor
            See `forward`.

        Returns
        -------
        Tensor
            ``(B, features, *padded / f)``, of the coarsest resolution's f.
        """
        return self.down(pad_to_multiple(torch.cat([fixed, moving], dim=1), self._pooled))

    def decode(self, features: Tensor, shape: tuple[int, ...]) -> list[Tensor]:
        """Displacements from the coarsest features.

        Parameters
        ----------
        features : Tensor
            See `encode`.
        shape : tuple of int
            Of the images.

        Returns
        -------
        list of Tensor
            See `forward`.
        """
        found = [self.regression[0](features)]
        for up, regression in zip(self.up, self.regression[1:], strict=True):
            features = up(features)
            found.append(regression(features))
        # What was padded is cut off again; a resolution of factor f has one voxel for every f of the image, rounded up.
        factors = [self._pooled // 2**number for number in range(len(found))]
        cut = (
            field[(slice(None), slice(None), *(slice(-(-size // factor)) for size in shape))]
            for field, factor in zip(found, factors, strict=True)
        )
        return list(cut)[::-1]

    @property
    def _pooled(self) -> int:
        return 1 if self.variant == "no_pooling" else 4


def _activated(ndim: int, layer: nn.Module, outputs: int) -> list[nn.Module]:
    norm = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[ndim]
    return [layer, norm(outputs), nn.ReLU(inplace=True)]
