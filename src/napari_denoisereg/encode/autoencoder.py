"""Autoencoder: features from which images can be made again. Needs no labels.

References
----------
Yoo et al. 2017, ssEMnet, arXiv:1707.07833 (features of an autoencoder for registration).
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn

from napari_denoisereg.encode.encoder import HELD_OUT, Batch, Encoder
from napari_denoisereg.frame_pool import FramePool
from napari_denoisereg.model import Model
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Steps


class Autoencoder(Encoder, kind="autoencoder"):
    """Learns features by rebuilding images from them; needs the movie only, no labels."""

    title: ClassVar[str] = "Autoencoder (no labels)"
    reference: ClassVar[str] = "https://arxiv.org/abs/1707.07833"

    def fit(
        self,
        stacks: Sequence[Stack],
        *,
        labels: Sequence[Stack] = (),  # noqa: ARG002 - not needed
        start: Model | None = None,
        device: torch.device | str = "cpu",
    ) -> Steps[Model]:
        """Train on stacks; see `Encoder.fit`. The loss is the mean squared difference of patches and what is made of them."""
        pool = FramePool(stacks, seed=self.seed)
        network = self._network(pool.ndim, 1, start=start).to(device)
        aside = pool.hold_out(HELD_OUT, self.patch).to(device)

        def draw() -> Batch:
            patches = pool.patches(self.batch, self.patch).to(device)
            return patches, patches

        return (yield from self._trained(network, pool, draw, nn.functional.mse_loss, (aside, aside), start))
