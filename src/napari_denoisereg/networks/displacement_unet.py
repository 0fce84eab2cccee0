"""The U-Net of VoxelMorph: from two images to a dense motion, in 2D and 3D.

Encoder with convolutions of stride 2, decoder with nearest-neighbour upsampling and skip connections, leaky ReLUs, no
normalisation, and a last convolution whose small weights make an untrained network predict almost no motion. Widths are those
of the paper's larger variant.

References
----------
Balakrishnan et al. 2019, VoxelMorph, doi:10.1109/TMI.2019.2897538, fig. 2.
"""

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_denoisereg.networks.blind_spot_unet import convolution
from napari_denoisereg.tiling import pad_to_multiple

ENCODER = (16, 32, 32, 32, 32)
DECODER = (32, 32, 32, 32, 16)
LAST = (16,)


def motion_layer(ndim: int, features: int) -> nn.Module:
    """The last convolution of a registration network; its small weights make it predict almost no motion at first.

    Parameters
    ----------
    ndim : int
        2 or 3.
    features : int
        What it is computed from.

    Returns
    -------
    nn.Module
        ``(B, features, *spatial)`` to ``(B, D, *spatial)``.
    """
    layer: Any = convolution(ndim)(features, ndim, 3, padding=1)
    nn.init.normal_(layer.weight, std=1e-5)
    nn.init.zeros_(layer.bias)
    return layer


class DisplacementUNet(nn.Module):
    """Predict how one image moved with respect to another.

    Parameters
    ----------
    ndim : int
        2 or 3.
    encoder : tuple of int
        Features at full resolution and after each halving.
    decoder : tuple of int
        Features at the coarsest resolution and after each doubling; as many as in the encoder.
    last : tuple of int
        Features of further convolutions at full resolution.
    """

    def __init__(
        self, ndim: int, encoder: tuple[int, ...] = ENCODER, decoder: tuple[int, ...] = DECODER, last: tuple[int, ...] = LAST
    ) -> None:
        super().__init__()
        self.ndim = ndim
        self.depth = len(encoder) - 1
        layer = convolution(ndim)
        strides = (1,) + (2,) * self.depth
        self.encoder = nn.ModuleList(
            layer(inputs, outputs, 3, stride=stride, padding=1)
            for inputs, outputs, stride in zip((2, *encoder[:-1]), encoder, strides, strict=True)
        )
        skips = (0, *encoder[-2::-1])
        self.decoder = nn.ModuleList(
            layer(inputs + skip, outputs, 3, padding=1)
            for inputs, skip, outputs in zip((encoder[-1], *decoder[:-1]), skips, decoder, strict=True)
        )
        widths = (decoder[-1], *last)
        self.last = nn.ModuleList(layer(inputs, outputs, 3, padding=1) for inputs, outputs in itertools.pairwise(widths))
        self.motion = motion_layer(ndim, widths[-1])

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Predict the motion of a batch of pairs.

        Parameters
        ----------
        fixed, moving : Tensor
            ``(B, 1, *spatial)``, standardised, of any size.

        Returns
        -------
        Tensor
            ``(B, D, *spatial)``, voxels, fixed to moving.
        """
        features = [pad_to_multiple(torch.cat([fixed, moving], dim=1), 2**self.depth)]
        for layer in self.encoder:
            features.append(F.leaky_relu(layer(features[-1]), 0.2))
        image = features[-1]
        for number, layer in enumerate(self.decoder):
            if number:
                image = torch.cat([F.interpolate(image, scale_factor=2.0, mode="nearest"), features[-1 - number]], dim=1)
            image = F.leaky_relu(layer(image), 0.2)
        for layer in self.last:
            image = F.leaky_relu(layer(image), 0.2)
        return self.motion(image)[(slice(None), slice(None), *(slice(size) for size in fixed.shape[2:]))]
