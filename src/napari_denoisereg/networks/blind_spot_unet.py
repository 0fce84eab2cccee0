"""The blind-spot U-Net of DenoiseReg, section 2, in 2D and 3D.

A convolutional block is twice a convolution (kernel 3), a normalisation and a ReLU. Three times the features are halved in
size by max pooling while their number doubles, from 16 to 64; on the way up nearest-neighbour interpolation, concatenation
with the skip connection and a block that halves their number. The paper gives "16 up to 64 feature maps" for *three*
downsamplings; we read blocks of 16, 32 and 64 features, each followed by pooling, and a last encoder block of 64 at an
eighth of the resolution, whose features serve the registration.

Normalisation is batch normalisation: with running statistics it is a fixed scale per feature, so that prediction by tiles
equals prediction of the whole, which instance normalisation would break.

Without checkerboards (N2V2): pooling takes the largest of neighbouring voxels at every place, blurs, and only then leaves out
every other one (`blurred_pool`); and the finest features have no skip connection, through which single voxels could pass.

References
----------
DenoiseReg: Unsupervised Joint Denoising and Registration of Time-Lapse Live Cell Microscopy Images Using Deep Learning,
ISBI 2022. Noise2Void, doi:10.1109/CVPR.2019.00223. N2V2, doi:10.1007/978-3-031-25069-9_33.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_denoisereg import device as devices
from napari_denoisereg.networks.contrast import missing_contrast
from napari_denoisereg.steps import finish
from napari_denoisereg.tiling import apply_tiled

WIDTHS = (16, 32, 64, 64)
FEATURES_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""Memory format by number of axes."""


def convolution(ndim: int) -> type[nn.Module]:
    """Convolution layer of a dimension.

    Parameters
    ----------
    ndim : int
        2 or 3.

    Returns
    -------
    type
        ``nn.Conv2d`` or ``nn.Conv3d``.
    """
    return {2: nn.Conv2d, 3: nn.Conv3d}[ndim]


class ConvBlock(nn.Sequential):
    """Twice: convolution (kernel 3), batch normalisation, ReLU.

    Parameters
    ----------
    ndim : int
        2 or 3.
    inputs, outputs : int
        Numbers of features.
    """

    def __init__(self, ndim: int, inputs: int, outputs: int) -> None:
        norm = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[ndim]
        layers: list[nn.Module] = []
        for features in (inputs, outputs):
            # No bias: the normalisation would take it away again.
            layers += [convolution(ndim)(features, outputs, 3, padding=1, bias=False), norm(outputs), nn.ReLU(inplace=True)]
        super().__init__(*layers)

    def forward(self, image: Tensor) -> Tensor:
        """Apply all.

        On CPUs the features of a voxel lie side by side in memory, which makes a training a fifth faster. Not elsewhere: it was
        measured there alone, and on Apple's GPUs the gradients of the normalisation are then wrong (pytorch issue 175189).
        """
        first, *others = self
        image = first(image)
        if image.device.type == "cpu":
            image = image.contiguous(memory_format=FEATURES_LAST[image.ndim])
        for layer in others:
            image = layer(image)
        return image


class TiledNetwork(nn.Module):
    """A network from ``(B, C, *spatial)`` to ``(B, 1, *spatial)`` that can be applied tile by tile."""

    ndim: int
    """Spatial axes, 2 or 3."""
    centre: int = 0
    """Which channel of the input is the frame to denoise."""
    is_blind: bool = False
    """Whether a voxel of the result never depends on the same voxel of that frame, also when the network is applied."""

    @property
    def stride(self) -> int:
        """Total downsampling; image sides must be multiples of it."""
        raise NotImplementedError

    @property
    def halo(self) -> int:
        """Context that can change a voxel, rounded up to a multiple of `stride`."""
        raise NotImplementedError


class BlindSpotUNet(TiledNetwork):
    """U-Net that predicts every voxel; trained blind by masking, see `networks.blind_spot`.

    Parameters
    ----------
    ndim : int
        Spatial axes, 2 or 3.
    widths : tuple of int
        Features of each encoder block; there is a pooling between any two.
    inputs, outputs : int
        Channels of the image and of the result.
    checkerboard_free : bool
        Blurred pooling and no skip connection of the finest features, see the module.
    """

    def __init__(
        self,
        ndim: int,
        widths: tuple[int, ...] = WIDTHS,
        inputs: int = 1,
        *,
        outputs: int = 1,
        checkerboard_free: bool = False,
    ) -> None:
        super().__init__()
        self.ndim = ndim
        self.widths = widths
        self.checkerboard_free = checkerboard_free
        skips = list(widths[-2::-1])
        if checkerboard_free:
            skips[-1] = 0
        self.encoder = nn.ModuleList(
            ConvBlock(ndim, *channels) for channels in zip((inputs, *widths[:-1]), widths, strict=True)
        )
        self.decoder = nn.ModuleList(
            ConvBlock(ndim, below + skip, width)
            for below, skip, width in zip(widths[:0:-1], skips, widths[-2::-1], strict=True)
        )
        self.last = convolution(ndim)(widths[0], outputs, 1)

    @property
    def stride(self) -> int:
        """Total downsampling; image sides must be multiples of it."""
        return 2 ** (len(self.widths) - 1)

    @property
    def halo(self) -> int:
        """Context that can change a voxel, rounded up to a multiple of `stride`.

        Two convolutions of radius 1 per block see 2 voxels of their level; a pooling or an upsampling at most one more, a
        blurred pooling two.
        """
        levels = len(self.widths) - 1
        pooling = 2 if self.checkerboard_free else 1
        reach = sum((2 * 2 + 1 + pooling) * 2**level for level in range(levels)) + 2 * 2**levels
        return -(-reach // self.stride) * self.stride

    def encode(self, image: Tensor) -> list[Tensor]:
        """Features of every encoder block.

        Parameters
        ----------
        image : Tensor
            ``(B, inputs, *spatial)``, standardised.

        Returns
        -------
        list of Tensor
            ``(B, widths[i], *spatial / 2**i)``.
        """
        pool = blurred_pool if self.checkerboard_free else _max_pool
        features: list[Tensor] = []
        for number, block in enumerate(self.encoder):
            image = block(pool(image) if number else image)
            features.append(image)
        return features

    def decode(self, features: list[Tensor]) -> Tensor:
        """Denoised image from the encoder's features.

        Parameters
        ----------
        features : list of Tensor
            What `encode` returned.

        Returns
        -------
        Tensor
            ``(B, outputs, *spatial)``, standardised.
        """
        image = features[-1]
        for number, (block, skip) in enumerate(zip(self.decoder, features[-2::-1], strict=True), start=2):
            image = F.interpolate(image, scale_factor=2.0, mode="nearest")
            is_finest = number == len(features)
            image = block(image if is_finest and self.checkerboard_free else torch.cat([image, skip], dim=1))
        return self.last(image)

    def forward(self, image: Tensor) -> Tensor:
        """Denoise; see `decode`."""
        return self.decode(self.encode(image))

    def rescale(self, factor: float) -> None:
        """Multiply all results.

        Parameters
        ----------
        factor : float
            By what.
        """
        with torch.no_grad():
            for weights in self.last.parameters():
                weights.mul_(factor)


def _max_pool(image: Tensor) -> Tensor:
    return {2: F.max_pool2d, 3: F.max_pool3d}[image.ndim - 2](image, 2)


def blurred_pool(image: Tensor) -> Tensor:
    """Half the size without aliasing: the largest of two voxels along each axis at every place, blurred by 1-2-1, every other.

    Parameters
    ----------
    image : Tensor
        ``(B, C, *spatial)``, even sides.

    Returns
    -------
    Tensor
        ``(B, C, *spatial / 2)``; a voxel is the middle of the two it stands for.
    """
    ndim = image.ndim - 2
    largest, average = {2: (F.max_pool2d, F.avg_pool2d), 3: (F.max_pool3d, F.avg_pool3d)}[ndim]
    image = F.pad(image, (1, 2) * ndim, mode="replicate")
    return average(average(largest(image, 2, stride=1), 2, stride=1), 2)


def predict(network: TiledNetwork, image: Tensor, tile: int) -> Tensor:
    """Denoise standardised frames, in tiles where they are large; equal to denoising them whole.

    The frame's mean is kept, and where the network is blind its contrast: see `_at_brightness`.

    Parameters
    ----------
    network : TiledNetwork
        In ``eval`` mode.
    image : Tensor
        ``(B, C, *spatial)``, standardised.
    tile : int
        Largest side of a tile, voxels.

    Returns
    -------
    Tensor
        ``(B, 1, *spatial)``, float32.
    """

    def apply(part: Tensor) -> Tensor:
        with torch.inference_mode(), devices.autocast(part.device):
            return network(part).float()

    # In 3D a side of 512 would be one tile of any volume: whole volumes only up to eight planes of that size.
    is_large = network.ndim == 3 and image[0, 0].numel() > 8 * tile**2
    side = min(tile, 128) if is_large else tile
    denoised = finish(apply_tiled(apply, image, size=side, halo=network.halo, multiple=network.stride))
    return _at_brightness(denoised, image[:, network.centre : network.centre + 1], is_blind=network.is_blind)


def _at_brightness(denoised: Tensor, noisy: Tensor, *, is_blind: bool) -> Tensor:
    """Bring denoised frames to the brightness and, where the network is blind, the contrast of the noisy ones.

    Noise has mean 0, so a frame's own mean is right. For the contrast see `networks.contrast` (measured with 150 iterations:
    0.88 of the true one, which cost 1.5 dB).
    """
    axes = tuple(range(1, noisy.ndim))
    around = denoised - denoised.mean(axes, keepdim=True)
    if is_blind:
        around = around * missing_contrast(around, noisy)
    return noisy.mean(axes, keepdim=True) + around
