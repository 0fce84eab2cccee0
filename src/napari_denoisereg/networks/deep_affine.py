"""The network of the Deep Affine baseline: two images, one encoder, an affine head. No denoising.

The encoder is that of DenoiseReg (blocks of two convolutions, pooling between them), so that the two differ in nothing but the
joint denoising.

References
----------
de Vos et al. 2019, A deep learning framework for unsupervised affine and deformable image registration,
doi:10.1016/j.media.2018.11.010.
"""

import torch
from torch import Tensor, nn

from napari_denoisereg.networks.affine_head import AffineHead
from napari_denoisereg.networks.blind_spot_unet import WIDTHS, ConvBlock


class DeepAffineNet(nn.Module):
    """Predict affine transforms from pairs of images.

    Parameters
    ----------
    ndim : int
        2 or 3.
    widths : tuple of int
        Features of the encoder's blocks; there is a pooling between any two.
    """

    def __init__(self, ndim: int, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.ndim = ndim
        self.stride = 2 ** (len(widths) - 1)
        pool = {2: nn.MaxPool2d, 3: nn.MaxPool3d}[ndim]
        layers: list[nn.Module] = []
        for inputs, outputs in zip((1, *widths[:-1]), widths, strict=True):
            layers += [ConvBlock(ndim, inputs, outputs), pool(2)]
        self.encoder = nn.Sequential(*layers[:-1])
        self.head = AffineHead(ndim, widths[-1])

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Predict the transforms of a batch of pairs.

        Parameters
        ----------
        fixed, moving : Tensor
            ``(B, 1, *spatial)``, standardised; sides are multiples of ``stride``.

        Returns
        -------
        Tensor
            ``(B, D, D+1)``, see `AffineHead.forward`.
        """
        one, two = self.encoder(torch.cat([fixed, moving])).chunk(2)
        return self.head(one, two)
