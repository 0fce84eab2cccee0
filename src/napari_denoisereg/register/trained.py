"""What all registrars with a network share: the settings of a training, and the way from stacks to a model to a network.

A member says how its network is built (`_build`) and what it learns from a pool of frames (`_objective`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from napari_denoisereg import device as devices
from napari_denoisereg.frame_pool import FramePool
from napari_denoisereg.model import Model
from napari_denoisereg.networks.blind_spot import quick_schedule
from napari_denoisereg.register.registrar import Registrar, Score
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Steps
from napari_denoisereg.training import Budget, Random, Training
from napari_denoisereg.training_settings import (
    number_in_a_step,
    random_start,
    seconds_at_most,
    step_size,
    steps_at_most,
    tested_every,
)


@dataclass(frozen=True)
class Objective:
    """What a training goes down on and is judged by; see `training`.

    Parameters
    ----------
    loss : callable
        Iteration to scalar Tensor.
    validate : callable
        A number, low is good; the same function at every call.
    random : tuple of Generator
        What ``loss`` draws from, besides the pool's own.
    """

    loss: Callable[[int], Tensor]
    validate: Callable[[], float]
    random: tuple[Random, ...] = ()


class TrainedRegistrar(Registrar):
    """A registrar with a network, which is trained before it aligns."""

    is_trained: ClassVar[bool] = True

    network_settings: ClassVar[tuple[str, ...]] = ()
    """Settings without which trained weights mean nothing, or something else."""

    seconds: float = seconds_at_most(90.0)
    iterations: int = steps_at_most(300_000)
    batch: int = number_in_a_step(4, "pairs of frames")
    learning_rate: float = step_size(3e-3, " (paper: 0.0001)")
    every: int = tested_every(50)
    seed: int = random_start()

    def fit(
        self,
        stacks: Sequence[Stack],
        *,
        start: Model | None = None,
        device: torch.device | str = "cpu",
        score: Score | None = None,
    ) -> Steps[Model]:
        """Train on stacks; see `Registrar.fit`. Without ``score`` the best is judged by the objective on held-out frames."""
        alike = self if start is None or type(start.method) is not type(self) else self.as_trained(start)
        if alike != self:
            return (yield from alike.fit(stacks, start=start, device=device, score=score))
        pool = FramePool(stacks, seed=self.seed)
        network = self._network(pool.ndim, start).to(device).train()
        goal = self._objective(network, pool, device)
        budget = Budget(self.iterations, self.seconds, self.learning_rate, self._schedule(network), self.every)
        blank = pool.model(self, seed=self.seed)
        training = Training(network, blank, budget, random=(pool.random, *goal.random), start=start)
        return (yield from training.run(goal.loss, goal.validate, score=score))

    def as_trained(self, model: Model) -> Self:
        """The method with those settings of a model's training that its network cannot do without; see `Registrar`."""
        fields, trained = type(self).model_fields, {name: getattr(model.method, name) for name in self.network_settings}
        for name, value in trained.items():
            mine = getattr(self, name)
            if mine not in (value, fields[name].default):
                raise ValueError(
                    f"This model of {self.kind!r} was trained with {name} {value}, got {mine}; leave {name} as it is, or train "
                    "another model."
                )
        return self.model_copy(update=trained)

    def _build(self, ndim: int) -> nn.Module:
        """The untrained network, on the CPU; its random weights come from the global generator, which `_network` seeds."""
        raise NotImplementedError

    def _objective(self, network: Any, pool: FramePool, device: torch.device | str) -> Objective:
        """What the network, in training mode on the device, learns from a pool; what judges it is held out here."""
        raise NotImplementedError

    def _schedule(self, network: nn.Module) -> Callable[[float], float] | None:
        """How the step size changes (see `optimize.minimise`); made for trainings of minutes."""
        return quick_schedule(network)

    def _network(self, ndim: int, start: Model | None) -> Any:
        """What `_build` makes, with random weights by the seed or those of a model."""
        with devices.seeded(self.seed):
            network = self._build(ndim)
        if start is not None:
            start.expect(type(self), ndim)
            start.fill(network)
        return network

    def _trained(self, ndim: int, model: Model | None, device: torch.device) -> Any:
        """The network of the model that ``align`` was given, to be used and not trained."""
        if model is None:
            raise ValueError(f"The registrar {self.kind!r} needs a trained model to align frames; call fit() first.")
        return self._network(ndim, model).to(device).eval().requires_grad_(False)
