"""Encoder: the family of ways to train a network whose features similarities compare (`losses.deep_similarity`).

An encoder is trained like a denoiser or a registrar and its model is saved like theirs; a similarity then names the file. To
add one: one new file in this folder.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from napari_denoisereg import device as devices
from napari_denoisereg.frame_pool import FramePool
from napari_denoisereg.method import Method
from napari_denoisereg.model import Model
from napari_denoisereg.networks.blind_spot import quick_schedule
from napari_denoisereg.networks.feature_net import FeatureNet
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Steps
from napari_denoisereg.training import Budget, Training
from napari_denoisereg.training_settings import (
    number_in_a_step,
    patch_size,
    random_start,
    seconds_at_most,
    step_size,
    steps_at_most,
    tested_every,
)

HELD_OUT = 8
Batch = tuple[Tensor, Tensor]


class Encoder(Method, family="encoder"):
    """A network whose features tell what is where in an image."""

    is_trained: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False
    """Whether `fit` must be given labels."""
    has_skips: ClassVar[bool] = False
    """Whether its network hands features of every level on; see `networks.feature_net.FeatureNet`."""
    makes: ClassVar[str] = "Made again"
    """What `shown` shows, in plain words."""

    seconds: float = seconds_at_most(60.0)
    iterations: int = steps_at_most(10_000)
    patch: int = patch_size()
    batch: int = number_in_a_step(8, "patches")
    learning_rate: float = step_size(2e-3)
    every: int = tested_every(25)
    seed: int = random_start()

    def fit(
        self,
        stacks: Sequence[Stack],
        *,
        labels: Sequence[Stack] = (),
        start: Model | None = None,
        device: torch.device | str = "cpu",
    ) -> Steps[Model]:
        """Train on stacks.

        Parameters
        ----------
        stacks : sequence of Stack
            One or more, without channel axis.
        labels : sequence of Stack
            Where the method needs some: one for each stack, integers, same shape.
        start : Model, optional
            Weights to start from (fine-tuning).
        device : torch.device or str
            Where to train.

        Returns
        -------
        Steps of Model
            The trained model; its encoder is `networks.feature_net.frozen_encoder`.

        Raises
        ------
        ValueError
            When labels are missing or do not fit.
        """
        raise NotImplementedError

    def shown(self, model: Model, image: Tensor) -> Tensor:
        """What the trained network makes of an image: how a person sees what it has learnt.

        Parameters
        ----------
        model : Model
            Of this method.
        image : Tensor
            ``(*spatial)``, in the stack's own scale.

        Returns
        -------
        Tensor
            ``(*spatial)``.
        """
        network = self._network(model.ndim, len(model.weights["last.bias"]), start=model).eval()
        mean, std = (float(model.statistics[name]) for name in ("mean", "std"))
        with torch.inference_mode():
            standard = (image[None, None] - mean) / std
            return self._picture(standard[0, 0], network(standard)[0]) * std + mean

    def _picture(self, image: Tensor, made: Tensor) -> Tensor:  # noqa: ARG002 - others look at the image, too
        """What to show of an image ``(*spatial)`` and the network's output ``(outputs, *spatial)``, both standardised."""
        return made[0]

    def _trained(
        self,
        network: FeatureNet,
        pool: FramePool,
        draw: Callable[[], Batch],
        cost: Callable[[Tensor, Tensor], Tensor],
        aside: Batch,
        start: Model | None,
    ) -> Steps[Model]:
        """Train a network on batches of images and what shall come out."""
        network.train()

        def loss(_: int) -> Tensor:
            image, wanted = draw()
            return cost(network(image), wanted)

        budget = Budget(
            iterations=self.iterations,
            seconds=self.seconds,
            learning_rate=self.learning_rate,
            schedule=quick_schedule(network),
            every=self.every,
        )
        training = Training(network, pool.model(self, seed=self.seed), budget, random=(pool.random,), start=start)
        return (yield from training.run(loss, lambda: float(cost(network(aside[0]), aside[1]))))

    def _network(self, ndim: int, outputs: int, *, start: Model | None) -> FeatureNet:
        with devices.seeded(self.seed):
            network = FeatureNet(ndim, outputs, has_skips=self.has_skips)
        if start is not None:
            start.expect(type(self), ndim)
            start.fill(network)
        return network
