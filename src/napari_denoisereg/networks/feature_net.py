"""Encoders whose features tell what is where, and the networks that they are trained in, in 2D and 3D.

An encoder is a chain of blocks of two convolutions with pooling between them. It is trained inside a U-Net that segments, or
inside an autoencoder (no skip connections: everything must pass through the features); afterwards the encoder is used alone,
frozen.

References
----------
Czolbe et al. 2021, DeepSim, arXiv:2011.05735 (fig. 1: the encoder of the segmentation U-Net extracts the features).
"""

import functools
import json
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from napari_denoisereg.networks.blind_spot_unet import WIDTHS, ConvBlock, convolution

PREFIX = "encoder."


class FeatureEncoder(nn.Module):
    """Features of an image at several resolutions.

    Parameters
    ----------
    ndim : int
        2 or 3.
    widths : tuple of int
        Features of each level; there is a pooling between any two.
    """

    def __init__(self, ndim: int, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.ndim = ndim
        self.blocks = nn.ModuleList(
            ConvBlock(ndim, inputs, outputs) for inputs, outputs in zip((1, *widths[:-1]), widths, strict=True)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Describe images.

        Parameters
        ----------
        image : Tensor
            ``(B, 1, *spatial)``, standardised, of any size.

        Returns
        -------
        list of Tensor
            ``(B, widths[i], *about spatial / 2**i)``; axes of one voxel are not halved.
        """
        pool = {2: F.max_pool2d, 3: F.max_pool3d}[self.ndim]
        features: list[Tensor] = []
        for number, block in enumerate(self.blocks):
            image = block(pool(image, [min(2, size) for size in image.shape[2:]]) if number else image)
            features.append(image)
        return features


class FeatureNet(nn.Module):
    """An encoder with a decoder to train it.

    Parameters
    ----------
    ndim : int
        2 or 3.
    outputs : int
        Channels of the result: classes, or 1 for an image.
    has_skips : bool
        Whether the decoder sees the features of every level (segmentation) or only the coarsest (autoencoder).
    widths : tuple of int
        See `FeatureEncoder`.
    """

    def __init__(self, ndim: int, outputs: int, *, has_skips: bool, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.ndim = ndim
        self.has_skips = has_skips
        self.encoder = FeatureEncoder(ndim, widths)
        self.decoder = nn.ModuleList(
            ConvBlock(ndim, below + (skip if has_skips else 0), skip)
            for below, skip in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.last = convolution(ndim)(widths[0], outputs, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Segment or reconstruct.

        Parameters
        ----------
        image : Tensor
            ``(B, 1, *spatial)``, standardised.

        Returns
        -------
        Tensor
            ``(B, outputs, *spatial)``.
        """
        features = self.encoder(image)
        result = features[-1]
        for block, skip in zip(self.decoder, features[-2::-1], strict=True):
            result = F.interpolate(result, size=skip.shape[2:], mode="nearest")
            result = block(torch.cat([result, skip], dim=1) if self.has_skips else result)
        return self.last(result)


def frozen_encoder(weights: Mapping[str, Tensor], ndim: int) -> FeatureEncoder:
    """The encoder of a trained `FeatureNet`, in evaluation mode, without gradients for its weights.

    Parameters
    ----------
    weights : mapping of str to Tensor
        State of the whole network; the widths are read off them.
    ndim : int
        2 or 3.

    Returns
    -------
    FeatureEncoder
        Ready to use.
    """
    own = {name.removeprefix(PREFIX): value for name, value in weights.items() if name.startswith(PREFIX)}
    levels = sum(name.endswith(".0.weight") for name in own)
    encoder = FeatureEncoder(ndim, tuple(len(own[f"blocks.{level}.0.weight"]) for level in range(levels)))
    encoder.load_state_dict(own)
    return encoder.eval().requires_grad_(False)


def read_encoder(path: str | Path) -> FeatureEncoder:
    """The encoder in a model file; read once, and again only when the file changes.

    Parameters
    ----------
    path : str or Path
        Model file of the family ``"encoder"``.

    Returns
    -------
    FeatureEncoder
        Frozen, on the CPU.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it holds no encoder.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"There is no model file {source}; train an encoder or choose another file.")
    return _read(str(source), source.stat().st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _read(path: str, _: int) -> FeatureEncoder:
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is no complete model file ({error}); it may have been cut off while copying.") from error
    if header.get("family") != "encoder":
        kind = json.loads(header.get("method", "{}")).get("kind", "nothing known")
        raise ValueError(f"Expected the model of an encoder in {path}, got {kind!r}; train one from labels or without.")
    return frozen_encoder(weights, int(header["ndim"]))
