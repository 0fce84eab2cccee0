"""UMVD: a network that predicts each frame from its neighbours, trained on the movie itself.

The network (`networks.deep_temporal`) sees N consecutive frames, the one in the middle with weight 0, and is trained to
reproduce that one. It cannot copy its noise, only what the neighbours tell of it. So it needs movies that change little from
frame to frame, and it uses what single-frame denoisers cannot: the same structure, several times. Fast motion is its limit
(the paper says so: "limiting motion handling, due to the fixed temporal filter"): align the movie first, or use `fusion`.

From the paper: group convolutions per frame, the DeepTemporal filter, a U-Net with three encoder and two decoder levels,
squared differences to the centre frame. Ours: patches, a budget, the quick schedule (`networks.blind_spot.quick_schedule`),
and what stands in for neighbours beyond the ends of the movie. Those of the other side do, but where things move, a frame is
between its neighbours, and the ends are not between theirs: so the neighbours of the other side are moved, by the optical flow,
to where everything would have been (`optical_flow.gone_on`), wherever the network predicts the frame better from that.

References
----------
UMVD, in: Unsupervised Deep Learning for Microscopy Imaging Restoration (talk of N. Li, Clemson University), which this follows.
To cite: Aiyetigbo et al. 2024, Unsupervised Microscopy Video Denoising, arXiv:2404.12163.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from napari_denoisereg import device as devices
from napari_denoisereg.denoise.optical_flow import Flows, gone_on, smoothed
from napari_denoisereg.denoise.trained import TrainedDenoiser
from napari_denoisereg.frame_pool import around
from napari_denoisereg.frames import at_a_time, denoise_frames, standardisation
from napari_denoisereg.method import setting
from napari_denoisereg.model import Model
from napari_denoisereg.networks.blind_spot_unet import predict
from napari_denoisereg.networks.deep_temporal import DeepTemporalNet
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Steps
from napari_denoisereg.training_settings import seconds_at_most


class DeepTemporal(TrainedDenoiser, kind="deep_temporal"):
    """Video network that predicts each frame from its neighbours; for movies that change little from frame to frame."""

    title: ClassVar[str] = "DeepTemporal (UMVD, video network)"
    reference: ClassVar[str] = "https://arxiv.org/abs/2404.12163"
    network_settings: ClassVar[tuple[str, ...]] = ("reach", "features")

    seconds: float = seconds_at_most(120.0)
    reach: int = setting(2, "How many frames before and after a frame are used to predict it.", unit="frames", ge=1, le=10)
    features: int = setting(8, "Size of the network (features per frame); larger is slower.", ge=1, le=128, advanced=True)

    def fit(self, stacks: Sequence[Stack], *, start: Model | None = None, device: torch.device | str = "cpu") -> Steps[Model]:
        """Train on stacks; see `Denoiser.fit`."""
        pool = self.pool(stacks)
        network = self.network(pool.ndim, start).to(device).train()
        aside = pool.hold_out(8, self.patch, self.reach).to(device)

        def loss(_: int) -> Tensor:
            return self._loss(network, pool.patches(self.batch, self.patch, self.reach).to(device))

        training = self.training(network, pool, start=start)
        return (yield from training.run(loss, lambda: float(self._loss(network, aside))))

    def denoised(self, stack: Stack, model: Model, device: torch.device | str) -> Steps[Stack]:
        """Apply a model; see `TrainedDenoiser.denoised`."""
        trained = self.as_trained(model)
        network = trained.network(stack.grid.ndim, model).eval()
        step = {"denoise": trained.to_dict(), "model": dict(model.provenance)}
        mean, std = standardisation(stack)
        flows = Flows(lambda _, frame: smoothed((stack.tensor([frame])[0] - mean) / std))

        def denoise(noisy: Tensor, frames: Sequence[int]) -> Tensor:
            clips = (noisy - mean) / std
            own = network.to(noisy.device)
            denoised = predict(own, clips, self.tile)
            for clip, frame, result in zip(clips, frames, denoised, strict=True):
                if trained.reach > min(frame, stack.n_frames - 1 - frame):
                    moved = predict(own, _moved(clip, frame, stack.n_frames, flows)[None], self.tile)[0]
                    # The network has not seen this frame: what predicts it better is better.
                    if _apart(moved, clip) < _apart(result, clip):
                        result.copy_(moved)
            return denoised * std + mean

        batch = at_a_time(stack, trained.reach)
        return (yield from denoise_frames(stack, denoise, device=device, batch=batch, step=step, reach=trained.reach))

    def _loss(self, network: DeepTemporalNet, clip: Tensor) -> Tensor:
        """``||V̂_c - V_c||²``, the mean over voxels that are not padding."""
        centre = clip[:, self.reach : self.reach + 1]
        with devices.autocast(clip.device):
            predicted = network(clip)
        is_seen = centre != 0  # exact zeros are padding
        return ((predicted.float() - centre).square() * is_seen).sum() / is_seen.sum().clamp(min=1)

    def network(self, ndim: int, start: Model | None) -> DeepTemporalNet:
        """Build the network; see `TrainedDenoiser.network`."""
        return self.started(lambda: DeepTemporalNet(ndim, self.reach, self.features), ndim, start)


def _moved(clip: Tensor, frame: int, n_frames: int, flows: Flows) -> Tensor:
    """A clip in which what stands in for frames beyond the ends of the movie is moved to where it would have been then."""
    clip, reach = clip.clone(), len(clip) // 2
    for place, other in enumerate(around(frame, n_frames, reach)):
        offset = place - reach
        if other != frame + offset:
            flow = flows(0, frame, [other])[0].to(clip.device)
            clip[place] = gone_on(clip[place], flow, offset / (other - frame))
    return clip


def _apart(denoised: Tensor, clip: Tensor) -> float:
    return float((denoised[0] - clip[len(clip) // 2]).square().mean())
