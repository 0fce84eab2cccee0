"""What similarities have in common that look at the features of a trained encoder instead of at intensities.

A similarity is a frozen setting, so the encoder is named by its model file: read when first used, kept while the file stays as
it is. Where no file is named the encoder is bound with `with_encoder`; recipes do that with an autoencoder they train on the
movie first. A bound encoder is no setting: it is neither written to JSON nor compared. Without either there is an error that
says what to do. Encoders live in the room ``encode`` (they are trained on stacks, which this room does not know); here only
their network is used.
"""

import copy
from pathlib import Path
from typing import Any, ClassVar, Self

import torch.nn.functional as F
from pydantic import PrivateAttr
from torch import Tensor

from napari_denoisereg.losses.similarity import Similarity, standardised, weights_of
from napari_denoisereg.method import setting
from napari_denoisereg.networks.feature_net import FeatureEncoder, read_encoder


class Encoded(Similarity):
    """A similarity of features."""

    needs_encoder: ClassVar[bool] = True

    encoder: Path | None = setting(
        None, "Model file of a trained encoder. If you give none, one is trained on the movie first, without labels."
    )
    _bound: FeatureEncoder | None = PrivateAttr(default=None)

    @property
    def has_encoder(self) -> bool:
        """Whether it can be used as it is."""
        return self.encoder is not None or self._bound is not None

    def with_encoder(self, encoder: FeatureEncoder) -> Self:
        """The same similarity with an encoder.

        Parameters
        ----------
        encoder : FeatureEncoder
            Frozen, of the images' dimension.

        Returns
        -------
        Encoded
            A copy with the same settings.
        """
        bound = self.model_copy()
        bound._bound = encoder  # noqa: SLF001 - its own class
        return bound

    def __eq__(self, other: object) -> bool:
        """Whether the settings are the same, whatever is bound."""
        return type(self) is type(other) and isinstance(other, Encoded) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        """Of the settings."""
        return hash(self.to_json())

    def features(self, image: Tensor, valid: Tensor | None = None) -> list[Tensor]:
        """What the encoder sees; every channel by itself.

        Parameters
        ----------
        image : Tensor
            ``(B, C, *spatial)``, any intensity scale.
        valid : Tensor, optional
            ``(B, 1, *spatial)``: what counts; the rest is shown as the mean.

        Returns
        -------
        list of Tensor
            ``(B · C, features, *about spatial / 2**level)``.

        Raises
        ------
        ValueError
            When there is no encoder, or one of another dimension.
        """
        network = self._bound if self.encoder is None else read_encoder(self.encoder)
        if network is None:
            raise ValueError(
                f"The similarity {self.kind!r} needs a trained encoder: name its model file (encoder=...), or use it in a "
                "recipe, which trains one on the movie."
            )
        if network.ndim != image.ndim - 2:
            raise ValueError(
                f"This encoder was trained on {network.ndim}D images, these are {image.ndim - 2}D; train a new one."
            )
        first: Any = next(network.parameters())
        if first.dtype != image.dtype or first.device != image.device:
            network = copy.deepcopy(network).to(image.device, image.dtype)
        return network(standardised(image, weights_of(valid, image)).flatten(0, 1).unsqueeze(1))


def weighted_mean(values: Tensor, weights: Tensor, channels: int) -> Tensor:
    """Mean over the places of a level, each as much as its voxels count, and over channels.

    Parameters
    ----------
    values : Tensor
        ``(B · C, *level)``.
    weights : Tensor
        ``(B, 1, *spatial)``.
    channels : int
        C.

    Returns
    -------
    Tensor
        ``(B,)``.
    """
    shrink: Any = {2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}[weights.ndim - 2]
    share = shrink(weights, tuple(values.shape[1:]))
    each = values.unflatten(0, (-1, channels)).mean(1, keepdim=True) * share
    return each.flatten(1).sum(1) / share.flatten(1).sum(1).clamp(min=1e-6)
