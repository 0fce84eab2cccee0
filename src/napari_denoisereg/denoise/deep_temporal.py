"""UMVD: a network that predicts each frame from its neighbours, trained on the movie itself.

The network (`networks.deep_temporal`) sees N consecutive frames, the one in the middle with weight 0, and is trained to
reproduce that one. It cannot copy its noise, only what the neighbours tell of it. So it needs movies that change little from
frame to frame, and it uses what single-frame denoisers cannot: the same structure, several times. Fast motion is its limit
(the paper says so: "limiting motion handling, due to the fixed temporal filter"): align the movie first, or use `fusion`.

From the paper: group convolutions per frame, the DeepTemporal filter, a U-Net with three encoder and two decoder levels,
squared differences to the centre frame. Ours: patches, a budget, the quick schedule (`networks.blind_spot.quick_schedule`),
and at the ends of the movie neighbours of the other side in place of missing ones.

References
----------
UMVD, in: Unsupervised Deep Learning for Microscopy Imaging Restoration (talk of N. Li, Clemson University).
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from napari_denoisereg import device as devices
from napari_denoisereg.denoise.denoiser import Denoiser
from napari_denoisereg.frame_pool import FramePool
from napari_denoisereg.frames import denoise_with_network
from napari_denoisereg.method import setting
from napari_denoisereg.model import Model
from napari_denoisereg.networks.blind_spot import Schedule, quick_schedule
from napari_denoisereg.networks.deep_temporal import DeepTemporalNet
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Steps, portion
from napari_denoisereg.training import Budget, Training


class DeepTemporal(Denoiser, kind="deep_temporal"):
    """Predicts each frame from its neighbours in time; for movies that change little from frame to frame."""

    title: ClassVar[str] = "DeepTemporal (UMVD, video network)"
    reference: ClassVar[str] = "https://nianyil.people.clemson.edu/"
    is_trained: ClassVar[bool] = True

    seconds: float = setting(120.0, "Longest training time; whichever budget ends first.", unit="s", gt=0, le=1e6)
    iterations: int = setting(300_000, "Most training iterations.", ge=1, le=10_000_000)
    reach: int = setting(2, "Frames on each side that a frame is predicted from.", unit="frames", ge=1, le=10)
    patch: int = setting(64, "Side of the training patches.", unit="px", ge=16, le=1024, multiple_of=8)
    batch: int = setting(8, "Patches per iteration.", ge=1, le=256, advanced=True)
    features: int = setting(8, "Features of each frame.", ge=1, le=128, advanced=True)
    learning_rate: float = setting(3e-3, "First step size of Adam.", gt=0, le=0.1, advanced=True)
    schedule: Schedule = setting(
        "quick", "quick: steps fall and normalisation is fixed early, for minutes; paper: neither, for days.", advanced=True
    )
    tile: int = setting(512, "Side of the tiles that large frames are denoised in.", unit="px", ge=32, le=8192, advanced=True)
    every: int = setting(50, "The model is judged after every so many iterations; the best is kept.", ge=1, advanced=True)
    seed: int = setting(0, "Seed of all random choices.", ge=0, le=2**31 - 1, advanced=True)

    def fit(self, stacks: Sequence[Stack], *, start: Model | None = None, device: torch.device | str = "cpu") -> Steps[Model]:
        """Train on stacks; see `Denoiser.fit`."""
        pool = FramePool(stacks, seed=self.seed)
        network = _network(self, pool.ndim, start).to(device).train()
        aside = pool.hold_out(8, self.patch, self.reach).to(device)

        def loss(_: int) -> Tensor:
            return self._loss(network, pool.patches(self.batch, self.patch, self.reach).to(device))

        budget = Budget(
            iterations=self.iterations,
            seconds=self.seconds,
            learning_rate=self.learning_rate,
            schedule=quick_schedule(network) if self.schedule == "quick" else None,
            every=self.every,
        )
        training = Training(network, pool.model(self, seed=self.seed), budget, random=(pool.random,), start=start)
        return (yield from training.run(loss, lambda: float(self._loss(network, aside))))

    def _loss(self, network: DeepTemporalNet, clip: Tensor) -> Tensor:
        """``||V̂_c - V_c||²``, the mean over voxels that are not padding."""
        centre = clip[:, self.reach : self.reach + 1]
        with devices.autocast(clip.device):
            predicted = network(clip)
        is_seen = centre != 0  # exact zeros are padding
        return ((predicted.float() - centre).square() * is_seen).sum() / is_seen.sum().clamp(min=1)

    def run(self, stack: Stack, *, model: Model | None = None, device: torch.device | str = "cpu") -> Steps[Stack]:
        """Denoise a stack; see `Denoiser.run`."""
        if model is None:
            model = yield from portion(self.fit([stack], device=device), 0.0, 0.9)
            return (yield from portion(self._apply(stack, model, device), 0.9, 1.0))
        model.expect(type(self), stack.grid.ndim)
        return (yield from self._apply(stack, model, device))

    def _apply(self, stack: Stack, model: Model, device: torch.device | str) -> Steps[Stack]:
        trained = type(self).coerce(model.method.to_dict())  # the network has the size it was trained with
        network = _network(trained, stack.grid.ndim, model)
        step = {"denoise": trained.to_dict(), "model": dict(model.provenance)}
        steps = denoise_with_network(stack, network, tile=self.tile, device=device, step=step, reach=trained.reach)
        return (yield from steps)


def _network(method: DeepTemporal, ndim: int, start: Model | None) -> DeepTemporalNet:
    with devices.seeded(method.seed):
        network = DeepTemporalNet(ndim, method.reach, method.features)
    if start is None:
        return network
    start.expect(type(method), ndim)
    sizes = {name: getattr(start.method, name) for name in ("reach", "features")}
    if any(getattr(method, name) != size for name, size in sizes.items()):
        raise ValueError(f"The model was trained with {sizes}; go on with the same numbers, or start from scratch.")
    network.load_state_dict(dict(start.weights))
    return network
