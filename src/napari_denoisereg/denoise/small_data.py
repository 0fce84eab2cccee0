"""Denoising of small data: a video network that follows the motion, trained on a few frames.

Where UMVD (`deep_temporal`) wants a movie that stands still, this network warps the neighbours' features along the optical flow
before it fuses them, and weighted sampling in time and space keeps it from learning the noise of the few frames there are
(see `networks.small_data`). Training is recurrent: the loss is the absolute difference to the noisy frame plus the difference
between denoised neighbours along the flow, ``L = |Î_t - I_t| + (W(Î_{t+1}, F̂) - Î_t)²``, and twice on the way the flow is
estimated anew from frames denoised by what the network is by then, where time allows.

In a quick training κ, the weight of the frame that is predicted, falls to 0 by the time that normalisation is fixed, not at the
end: what a network learns while it sees that frame it has to unlearn without (measured: 0.6 dB after 120 iterations).

The paper refines flows within each step with a flow network; ours are estimated by iterative Lucas-Kanade (`optical_flow`),
from smoothed noisy frames in the first third of the training and from denoised frames after. `optical_flow.flow_of` gives the
refined flow of the result.

References
----------
Unsupervised Denoising for Multi-Modal Microscopy Imaging for Small Data Scenarios, in: Unsupervised Deep Learning for
Microscopy Imaging Restoration (talk of N. Li, Clemson University).
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_denoisereg import device as devices
from napari_denoisereg.denoise.optical_flow import Flows, smoothed
from napari_denoisereg.denoise.trained import TrainedDenoiser
from napari_denoisereg.frame_pool import FramePool, Spot, around
from napari_denoisereg.frames import denoise_frames, standardisation
from napari_denoisereg.geometry import sample
from napari_denoisereg.method import setting
from napari_denoisereg.model import Model
from napari_denoisereg.networks.blind_spot import SETTLED, quick_schedule
from napari_denoisereg.networks.blind_spot_unet import predict
from napari_denoisereg.networks.small_data import (
    GuidedFusionNet,
    SmallDataNet,
    initial_weight,
    joined,
    sample_neighbours,
    voxels,
)
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Steps, portion
from napari_denoisereg.training_settings import number_in_a_step, seconds_at_most

ROUNDS = 3
"""The flow is estimated from noisy frames in the first round and from denoised ones in the others."""
LEAST = 100
"""Iterations of a round: what has learnt for less is no teacher (measured on frames of 532 px, 120 s on two cores: 32.4 dB;
10.5 dB with rounds of a third of the time)."""
WORTH = 2.0
"""A round begins only where so many times its price is left: every frame is denoised by the teacher once."""


class SmallData(TrainedDenoiser, kind="small_data"):
    """Video network that follows the motion, made for short movies; trained on the movie itself."""

    title: ClassVar[str] = "Small data (video network with optical flow)"
    reference: ClassVar[str] = "https://nianyil.people.clemson.edu/"
    network_settings: ClassVar[tuple[str, ...]] = ("reach", "features", "power")
    training_share: ClassVar[float] = 0.8

    seconds: float = seconds_at_most(180.0)
    batch: int = number_in_a_step(4, "patches")
    reach: int = setting(2, "How many frames before and after a frame are used to predict it.", unit="frames", ge=1, le=10)
    features: int = setting(16, "Size of the network (features per frame); larger is slower.", ge=1, le=128, advanced=True)
    motion_rate: float = setting(
        0.5,
        "How much the network may see the frame it predicts while training begins, if it moves (η); 0 is never.",
        unit="1/px",
        ge=0,
        advanced=True,
    )
    power: float = setting(2.0, "How quickly frames close to the predicted one lose weight (L).", gt=0, le=20, advanced=True)
    sampled: float = setting(
        0.1,
        "Share of the pixels whose features are taken from a neighbour, against learning the noise.",
        ge=0,
        le=0.9,
        advanced=True,
    )
    radius: int = setting(2, "Distance of such neighbours at most.", unit="px", ge=1, le=10, advanced=True)
    decay: float = setting(1.0, "How much close neighbours are preferred (α).", unit="1/px", ge=0, le=100, advanced=True)

    def fit(self, stacks: Sequence[Stack], *, start: Model | None = None, device: torch.device | str = "cpu") -> Steps[Model]:
        """Train on stacks; see `Denoiser.fit`."""
        pool = self.pool(stacks)
        network = self.network(pool.ndim, start).to(device).train()
        random = devices.generator(self.seed, device)
        clips = _Clips(pool, stacks, network, self.reach, self.tile)
        held_out = pool.hold_out_spots(8, self.patch)
        aside = functools.cache(lambda: clips.of(held_out, clips.noisy_flows))  # not before the clock runs: flows take time
        falling = quick_schedule(network.pupil) if self.schedule == "quick" else None
        spent = [0.0]

        def schedule(share: float) -> float:
            spent[0] = share
            return 1.0 if falling is None else falling(share)

        def loss(iteration: int) -> Tensor:
            aside()
            number = min(ROUNDS - 1, int(spent[0] * ROUNDS), iteration // LEAST)
            if number > int(network.round) and self._is_worth_teaching(stacks, iteration, spent[0]):
                network.teach(number)
                clips.flows.clear()
            left = 1 - spent[0] / (1.0 if falling is None else SETTLED)
            return self._loss(network.pupil, clips, [pool.spot(self.patch) for _ in range(self.batch)], random, max(0.0, left))

        def validate() -> float:
            return float(_difference(network.pupil(aside()), aside()[:, self.reach : self.reach + 1]))

        training = self.training(network, pool, start=start, random=(random,), schedule=schedule)
        if not training.is_resumed:
            network.round.zero_()  # the teacher of a finished training stays until the first round is over
        return (yield from training.run(loss, validate))

    def _is_worth_teaching(self, stacks: Sequence[Stack], iteration: int, spent: float) -> bool:
        """Whether enough iterations are left, at the pace so far, to pay for frames that are denoised anew."""
        voxels_in_all = sum(stack.n_frames * math.prod(stack.grid.shape) for stack in stacks)
        # An iteration looks at 2 * batch patches, forwards and backwards: twice the work per voxel.
        price = voxels_in_all / (2 * 2 * self.batch * self.patch ** stacks[0].grid.ndim)
        return iteration * (1 - spent) >= WORTH * price * spent

    def _loss(
        self, network: GuidedFusionNet, clips: "_Clips", spots: Sequence[Spot], random: torch.Generator, left: float
    ) -> Tensor:
        """``L1 + L2`` on the spots and their neighbours; ``left`` falls from 1 to 0, and κ with it."""
        neighbours = [clips.neighbour(spot) for spot in spots]
        image = clips.of([*spots, *neighbours], clips.flows)
        with devices.autocast(image.device):
            both = self._predicted(network, image, random, left).float()
        denoised, beside = both.chunk(2)
        places = torch.stack([clips.way(*pair) for pair in zip(spots, neighbours, strict=True)]).to(image.device)
        absolute = _difference(both, image[:, self.reach : self.reach + 1])
        return absolute + (sample(beside, places) - denoised).square().mean()

    def _predicted(self, network: GuidedFusionNet, image: Tensor, random: torch.Generator, left: float) -> Tensor:
        clip, flows = network.parted(image)
        magnitude = flows.norm(dim=2).flatten(1).mean(1)
        features = sample_neighbours(
            network.sampled(clip, initial_weight(magnitude, self.motion_rate) * left),
            share=self.sampled,
            radius=self.radius,
            decay=self.decay,
            generator=random,
        )
        return network.denoiser(network.fused(features, flows))

    def denoised(self, stack: Stack, model: Model, device: torch.device | str) -> Steps[Stack]:
        """Apply a model; see `TrainedDenoiser.denoised`."""
        trained = self.as_trained(model)
        networks = trained.network(stack.grid.ndim, model).eval()
        step = {"denoise": trained.to_dict(), "model": dict(model.provenance)}
        mean, std = standardisation(stack)

        def by(network: GuidedFusionNet, flows: Flows) -> Steps[Stack]:
            def denoise(noisy: Tensor, frames: Sequence[int]) -> Tensor:
                motion = torch.stack([flows(0, frame, _others(frame, stack.n_frames, trained.reach)) for frame in frames])
                image = joined((noisy - mean) / std, motion.to(noisy.device))
                return predict(network.to(noisy.device), image, self.tile) * std + mean

            return denoise_frames(stack, denoise, device=device, batch=1, step=step, reach=trained.reach)

        flows = Flows(lambda _, frame: smoothed((stack.tensor([frame])[0] - mean) / std))
        if not bool(networks.taught):
            return (yield from by(networks.pupil, flows))
        first = yield from portion(by(networks.teacher, flows), 0.0, 0.5)
        better = Flows(lambda _, frame: (first.tensor([frame])[0] - mean) / std)
        return (yield from portion(by(networks.pupil, better), 0.5, 1.0))

    def network(self, ndim: int, start: Model | None) -> SmallDataNet:
        """Build the network; see `TrainedDenoiser.network`."""
        return self.started(lambda: SmallDataNet(ndim, self.reach, self.features, self.power), ndim, start)


class _Clips:
    """Spots of the movies with the flows between their frames.

    Parameters
    ----------
    pool : FramePool
        Of the stacks.
    stacks : sequence of Stack
        The movies.
    network : SmallDataNet
        Its teacher, once taught, denoises what flows are estimated on.
    reach, tile : int
        See `SmallData`.
    """

    def __init__(self, pool: FramePool, stacks: Sequence[Stack], network: SmallDataNet, reach: int, tile: int) -> None:
        self._pool, self._network, self._reach, self._tile = pool, network, reach, tile
        self._lengths = [stack.n_frames for stack in stacks]
        self._device = network.taught.device
        self.noisy_flows = Flows(lambda movie, frame: smoothed(pool.read(movie, frame)))
        self._clean_flows = Flows(self._denoised)

    @property
    def flows(self) -> Flows:
        """The best there are by now."""
        return self._clean_flows if bool(self._network.taught) else self.noisy_flows

    def of(self, spots: Sequence[Spot], flows: Flows) -> Tensor:
        """What the network is given: ``(len(spots), N + (N - 1) * D, *patch)``, on its device."""
        clips = torch.stack([self._pool.clip(spot, self._reach) for spot in spots])
        motion = [self._flow(flows, spot, self._others(spot.stack, spot.frame)) for spot in spots]
        return joined(clips, torch.stack(motion)).to(self._device)

    def neighbour(self, spot: Spot) -> Spot:
        """The same place in the next frame, or the one before the last."""
        after = spot.frame + 1 if spot.frame + 1 < self._lengths[spot.stack] else spot.frame - 1
        return replace(spot, frame=after)

    def way(self, spot: Spot, other: Spot) -> Tensor:
        """Where the voxels of a spot are found in another frame's: ``(D, *patch)``, voxels of the patch."""
        return voxels(spot.sides)[0] + self._flow(self.flows, spot, [other.frame])[0]

    def _flow(self, flows: Flows, spot: Spot, others: Sequence[int]) -> Tensor:
        """Flows of a spot, ``(len(others), D, *sides)``; nothing moves beyond frames that are smaller than a patch."""
        lengths = self._pool.read(spot.stack, spot.frame).shape
        ends = [min(start + side, length) for start, side, length in zip(spot.corner, spot.sides, lengths, strict=True)]
        block = [slice(start, end) for start, end in zip(spot.corner, ends, strict=True)]
        missing = [start + side - end for start, side, end in zip(spot.corner, spot.sides, ends, strict=True)]
        return F.pad(flows(spot.stack, spot.frame, others, block), [count for last in reversed(missing) for count in (0, last)])

    def _others(self, movie: int, frame: int) -> list[int]:
        return _others(frame, self._lengths[movie], self._reach)

    def _denoised(self, movie: int, frame: int) -> Tensor:
        clip = torch.stack([self._pool.read(movie, each) for each in around(frame, self._lengths[movie], self._reach)])
        motion = self.noisy_flows(movie, frame, self._others(movie, frame))
        image = joined(clip[None], motion[None]).to(self._device)
        return predict(self._network.teacher, image, self._tile)[0, 0].cpu()


def _others(frame: int, n_frames: int, reach: int) -> list[int]:
    clip = around(frame, n_frames, reach)
    return clip[:reach] + clip[reach + 1 :]


def _difference(denoised: Tensor, noisy: Tensor) -> Tensor:
    """Mean absolute difference where the noisy image is not padding, which is exactly zero."""
    is_seen = noisy != 0
    return ((denoised - noisy).abs() * is_seen).sum() / is_seen.sum().clamp(min=1)
