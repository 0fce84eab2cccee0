"""The video denoising network of UMVD: features of each frame, the DeepTemporal filter, a U-Net.

Every one of N consecutive frames has convolutions of its own (group convolutions). The filter multiplies the features of a
frame by a weight that grows with its distance to the centre frame and is 0 there, so the network never sees the frame that it
predicts: whatever it can predict is structure, for noise is independent from frame to frame. A U-Net of three encoder and two
decoder levels makes the denoised centre frame of all features.

The slides give neither the number of features nor the kernels; we take kernels of 3 and make the features a setting. Their
formula lists the two wings of the weights; the 0 of the centre stands between them.

References
----------
UMVD, in: Unsupervised Deep Learning for Microscopy Imaging Restoration (talk of N. Li, Clemson University).
"""

import torch
from torch import Tensor, nn

from napari_denoisereg.networks.blind_spot_unet import BlindSpotUNet, TiledNetwork, convolution

WIDTHS = (32, 64, 128)


def temporal_weights(reach: int) -> Tensor:
    """The DeepTemporal filter ``ω = [{(k-i)/k, i = 0 … k-1}, 0, {i/k, i = 1 … k}]``.

    Parameters
    ----------
    reach : int
        ``k``, frames on each side of the centre.

    Returns
    -------
    Tensor
        ``(2 * reach + 1,)``: 1 at both ends, 0 in the middle.
    """
    return torch.arange(-reach, reach + 1).abs() / reach


class FrameFeatures(nn.Sequential):
    """Features of each frame by itself: twice a group convolution (kernel 3) and a ReLU, one group per frame.

    Parameters
    ----------
    ndim : int
        2 or 3.
    frames : int
        How many.
    features : int
        For each frame.
    """

    def __init__(self, ndim: int, frames: int, features: int) -> None:
        layer, width = convolution(ndim), frames * features
        super().__init__(
            layer(frames, width, 3, padding=1, groups=frames),
            nn.ReLU(inplace=True),
            layer(width, width, 3, padding=1, groups=frames),
            nn.ReLU(inplace=True),
        )


class DeepTemporalNet(TiledNetwork):
    """From N frames to the denoised one in the middle, which the network does not see.

    Parameters
    ----------
    ndim : int
        Spatial axes, 2 or 3.
    reach : int
        Frames on each side of the centre.
    features : int
        Of each frame.
    """

    is_blind = True

    def __init__(self, ndim: int, reach: int, features: int) -> None:
        super().__init__()
        self.ndim, self.centre = ndim, reach
        frames = 2 * reach + 1
        self.generator = FrameFeatures(ndim, frames, features)
        self.denoiser = BlindSpotUNet(ndim, WIDTHS, inputs=frames * features)
        weights = temporal_weights(reach).repeat_interleave(features)
        self.register_buffer("weights", weights.reshape(1, -1, *(1,) * ndim), persistent=False)

    @property
    def stride(self) -> int:
        """Total downsampling; image sides must be multiples of it."""
        return self.denoiser.stride

    @property
    def halo(self) -> int:
        """Context that can change a voxel: the U-Net's, and 2 voxels for the features."""
        return self.denoiser.halo + self.stride

    def forward(self, clip: Tensor) -> Tensor:
        """Denoise the middle frame.

        Parameters
        ----------
        clip : Tensor
            ``(B, 2 * reach + 1, *spatial)``, standardised.

        Returns
        -------
        Tensor
            ``(B, 1, *spatial)``; the middle frame has no influence on it.
        """
        return self.denoiser(self.generator(clip) * self.weights)
