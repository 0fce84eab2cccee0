"""The registration part of DenoiseReg: from the encoder's features of two images to an affine transform.

Features are reduced to one number each by global average pooling and concatenated; the order says which image is registered
to which. Fully connected layers, each followed by a normalisation and a ReLU; the last gives 6 (2D) or 12 (3D) numbers,
scaled by 0.1 and added to the identity (eq. 2). The paper does not name the normalisation: layer normalisation, which does
not depend on how many pairs are in a batch. The last layer starts at zero, so that an untrained network predicts the identity.

References
----------
DenoiseReg (ISBI 2022), section 2. de Vos et al. 2019, doi:10.1016/j.media.2018.11.010.
"""

import torch
from torch import Tensor, nn

SCALE = 0.1


class AffineHead(nn.Module):
    """Predict affine transforms from features.

    Parameters
    ----------
    ndim : int
        2 or 3.
    features : int
        Number of features of one image.
    widths : tuple of int
        Sizes of the hidden layers.
    """

    def __init__(self, ndim: int, features: int, widths: tuple[int, ...] = (128, 64)) -> None:
        super().__init__()
        self.ndim = ndim
        layers: list[nn.Module] = []
        for inputs, outputs in zip((2 * features, *widths[:-1]), widths, strict=True):
            layers += [nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.ReLU(inplace=True)]
        self.hidden = nn.Sequential(*layers)
        self.last = nn.Linear(widths[-1], ndim * (ndim + 1))
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Predict the transforms of a batch of pairs.

        Parameters
        ----------
        fixed, moving : Tensor
            ``(B, features, *spatial)``, the last encoder block's features.

        Returns
        -------
        Tensor
            ``(B, D, D+1)``, fixed to moving, in coordinates centred on the image and scaled so that its longest side
            reaches from -1 to 1.
        """
        pooled = torch.cat([fixed.flatten(2).mean(2), moving.flatten(2).mean(2)], dim=1)
        change = self.last(self.hidden(pooled)).reshape(-1, self.ndim, self.ndim + 1)
        return torch.eye(self.ndim, self.ndim + 1, device=change.device) + SCALE * change.float()
