"""What all denoisers with a network share: the settings of a training, and the way from a stack to a model to a result.

A member says how its network is built (`network`), what its loss is (in ``fit``, with `training`) and how a model is applied
(`denoised`).
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, Self, TypeVar

import torch
from torch import nn

from napari_denoisereg import device as devices
from napari_denoisereg.denoise.denoiser import Denoiser
from napari_denoisereg.frame_pool import FramePool
from napari_denoisereg.method import setting
from napari_denoisereg.model import Model
from napari_denoisereg.networks.blind_spot import Schedule, quick_schedule
from napari_denoisereg.noise import without_defects
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Steps, portion
from napari_denoisereg.training import Budget, Random, Training
from napari_denoisereg.training_settings import (
    number_in_a_step,
    patch_size,
    random_start,
    seconds_at_most,
    step_size,
    steps_at_most,
    tested_every,
)

Network = TypeVar("Network", bound=nn.Module)


class TrainedDenoiser(Denoiser):
    """A denoiser with a network, which it trains on the movie itself where no model is given."""

    is_trained: ClassVar[bool] = True
    network_settings: ClassVar[tuple[str, ...]] = ()
    """Settings that the network is built by: a model fits only a network of the same."""
    training_share: ClassVar[float] = 0.9
    """Part of the progress of `run` that is training."""

    seconds: float = seconds_at_most(60.0)
    iterations: int = steps_at_most(300_000)
    patch: int = patch_size(advanced=False)
    batch: int = number_in_a_step(8, "patches")
    learning_rate: float = step_size(3e-3)
    schedule: Schedule = setting(
        "quick", "quick: for trainings that take minutes. paper: as published, for trainings that take days.", advanced=True
    )
    tile: int = setting(
        512,
        "Large frames are denoised in square tiles of this size; smaller tiles need less memory.",
        unit="px",
        ge=32,
        le=8192,
        advanced=True,
    )
    every: int = tested_every(50)
    seed: int = random_start()

    def run(self, stack: Stack, *, model: Model | None = None, device: torch.device | str = "cpu") -> Steps[Stack]:
        """Denoise a stack; see `Denoiser.run`."""
        if model is None:
            share = self.training_share
            model = yield from portion(self.fit([stack], device=device), 0.0, share)
            return (yield from portion(self.denoised(without_defects(stack), model, device), share, 1.0))
        model.expect(type(self), stack.grid.ndim)
        return (yield from self.denoised(without_defects(stack), model, device))

    def pool(self, stacks: Sequence[Stack]) -> FramePool:
        """What the network is trained on: the frames without hot pixels, drawn by the seed.

        Parameters
        ----------
        stacks : sequence of Stack
            What ``fit`` was given.

        Returns
        -------
        FramePool
            Its models remember the stacks as they were recorded.
        """
        return FramePool([without_defects(stack) for stack in stacks], seed=self.seed, recorded=stacks)

    def denoised(self, stack: Stack, model: Model, device: torch.device | str) -> Steps[Stack]:
        """Apply a model of this method.

        Parameters
        ----------
        stack : Stack
            Without channel axis and defects (`noise.without_defects`).
        model : Model
            Of this method and the stack's dimension; its own settings tell how its network is built (`as_trained`).
        device : torch.device or str
            Where to compute.

        Returns
        -------
        Steps of Stack
            The denoised stack.
        """
        raise NotImplementedError

    def network(self, ndim: int, start: Model | None) -> nn.Module:
        """Build the network; see `started`.

        Parameters
        ----------
        ndim : int
            Number of spatial axes.
        start : Model, optional
            Where its weights are; without, they are random by the seed.

        Returns
        -------
        nn.Module
            On the CPU.
        """
        raise NotImplementedError

    def as_trained(self, model: Model) -> Self:
        """The settings that a model was trained with.

        Parameters
        ----------
        model : Model
            Of this method.

        Returns
        -------
        TrainedDenoiser
            Of this class.
        """
        return type(self).coerce(model.method.to_dict())

    def started(self, build: Callable[[], Network], ndim: int, start: Model | None) -> Network:
        """A network, with random weights or those of a model.

        Parameters
        ----------
        build : callable
            Makes the network; random numbers come from the seed.
        ndim : int
            Number of spatial axes.
        start : Model, optional
            Where the weights are.

        Returns
        -------
        nn.Module
            What ``build`` made.

        Raises
        ------
        ValueError
            When the model is of another method, dimension or size of network.
        """
        with devices.seeded(self.seed):
            network = build()
        if start is None:
            return network
        start.expect(type(self), ndim)
        theirs = {name: getattr(start.method, name) for name in self.network_settings}
        if any(getattr(self, name) != value for name, value in theirs.items()):
            raise ValueError(f"The model was trained with {theirs}; go on with the same settings, or start from scratch.")
        start.fill(network)
        return network

    def training(
        self,
        network: nn.Module,
        pool: FramePool,
        *,
        start: Model | None,
        random: Sequence[Random] = (),
        schedule: Callable[[float], float] | None = None,
    ) -> Training:
        """The training of a network by these settings.

        Parameters
        ----------
        network : nn.Module
            In training mode, on its device.
        pool : FramePool
            What it is trained on.
        start : Model, optional
            What ``fit`` was given.
        random : sequence of Generator
            What the loss draws from, besides the pool's own.
        schedule : callable, optional
            In place of the one that the setting ``schedule`` says.

        Returns
        -------
        Training
            To be run with the method's loss.
        """
        if schedule is None and self.schedule == "quick":
            schedule = quick_schedule(network)
        budget = Budget(self.iterations, self.seconds, self.learning_rate, schedule, self.every)
        return Training(network, pool.model(self, seed=self.seed), budget, random=(pool.random, *random), start=start)
