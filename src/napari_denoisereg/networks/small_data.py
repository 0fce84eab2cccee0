"""The network for small data: sampled features of each frame, fused along the optical flow, then a U-Net.

1. *Weighted temporal sampling*: the features of each frame (group convolutions, as in UMVD) are multiplied by weights that are
   near 1 at the ends of the clip and κ in its middle; κ starts at 0.2 at most, for fast movies, and falls to 0: in the end the
   network is blind to the frame that it predicts.
2. *Weighted spatial sampling*, in training only: features at randomly chosen voxels are replaced by those of a neighbour,
   rather a near one than a far one.
3. *Guided temporal fusion*: features of the other frames are warped to the middle one and averaged; a gate, which sees the mean
   flow, that average and the middle frame, says where a correction from the middle frame and the mean flow is added.
4. A U-Net makes the denoised frame.

The slides give no sizes. Ours: kernels of 3; the U-Net of UMVD; flows enter in voxels divided by `FLOW_SCALE`. They write the
weights with t from 1 to N and C its centre; with t from 0, as here, the ends have weight 1 and the middle κ, as their figure.

References
----------
Unsupervised Denoising for Multi-Modal Microscopy Imaging for Small Data Scenarios, in: Unsupervised Deep Learning for
Microscopy Imaging Restoration (talk of N. Li, Clemson University).
"""

import copy
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from napari_denoisereg.geometry import sample
from napari_denoisereg.networks.blind_spot_unet import BlindSpotUNet, TiledNetwork, convolution
from napari_denoisereg.networks.deep_temporal import WIDTHS, FrameFeatures

FLOW_SCALE = 4.0  # voxels; makes flows numbers near 1


def initial_weight(magnitude: Tensor, rate: float) -> Tensor:
    """``κ₀ = 0.2 (1 - exp(-η M̄))``, the weight of the middle frame when training begins.

    Parameters
    ----------
    magnitude : Tensor
        ``M̄``, mean length of the flow, voxels.
    rate : float
        ``η``.

    Returns
    -------
    Tensor
        0 for still movies, at most 0.2.
    """
    return 0.2 * (1 - torch.exp(-rate * magnitude))


def sampling_weights(reach: int, kappa: Tensor, power: float) -> Tensor:
    """``ω_t = κ + (1-κ)(1 - (t/C)^L)`` up to the middle ``C``, mirrored after it.

    Parameters
    ----------
    reach : int
        ``C``, frames on each side.
    kappa : Tensor
        ``(B,)``, weight of the middle frame.
    power : float
        ``L``; with 1, and κ = 0, these are the weights of UMVD.

    Returns
    -------
    Tensor
        ``(B, 2 * reach + 1)``.
    """
    times = torch.arange(2 * reach + 1, device=kappa.device)
    nearness = torch.minimum(times, 2 * reach - times) / reach
    return kappa[:, None] + (1 - kappa[:, None]) * (1 - nearness[None] ** power)


def sample_neighbours(features: Tensor, *, share: float, radius: int, decay: float, generator: torch.Generator) -> Tensor:
    """Weighted spatial sampling: ``P(q|p) = exp(-α d(p,q)) / Σ exp(-α d(p,q'))``, d the l1 distance, q not p.

    Parameters
    ----------
    features : Tensor
        ``(B, C, *spatial)``; all channels of a voxel are replaced together.
    share : float
        Part of the voxels that are replaced.
    radius : int
        Neighbours are at most so far away along each axis, voxels.
    decay : float
        ``α``.
    generator : torch.Generator
        On the features' device.

    Returns
    -------
    Tensor
        Same shape.
    """
    shape, ndim, device = features.shape[2:], features.ndim - 2, features.device
    offsets = torch.tensor([o for o in itertools.product(range(-radius, radius + 1), repeat=ndim) if any(o)], device=device)
    chances = torch.exp(-decay * offsets.abs().sum(1).float())
    places = torch.rand((features.shape[0], *shape), generator=generator, device=device) < share
    item, *index = places.nonzero(as_tuple=True)
    if item.numel() == 0:
        return features
    chosen = offsets[torch.multinomial(chances, item.numel(), replacement=True, generator=generator)]
    neighbours = []
    for axis, (place, length) in enumerate(zip(index, shape, strict=True)):
        moved = place + chosen[:, axis]
        # Beyond the border the other side stands in, so that a voxel is hardly ever its own neighbour.
        moved = torch.where((moved < 0) | (moved >= length), place - chosen[:, axis], moved)
        neighbours.append(moved.clamp(0, length - 1))
    result = features.clone()
    result.movedim(1, -1)[(item, *index)] = features.movedim(1, -1)[(item, *neighbours)]
    return result


class GuidedFusionNet(TiledNetwork):
    """From a clip and its flows to the denoised middle frame.

    Parameters
    ----------
    ndim : int
        Spatial axes, 2 or 3.
    reach : int
        Frames on each side.
    features : int
        Of each frame.
    power : float
        See `sampling_weights`.
    """

    is_blind = True

    def __init__(self, ndim: int, reach: int, features: int, power: float) -> None:
        super().__init__()
        layer = convolution(ndim)
        self.ndim, self.centre, self.features, self.power = ndim, reach, features, power
        self.generator = FrameFeatures(ndim, 2 * reach + 1, features)
        self.gate = nn.Sequential(
            layer(ndim + 2 * features, features, 3, padding=1),
            nn.ReLU(inplace=True),
            layer(features, 1, 3, padding=1),
            nn.Sigmoid(),
        )
        self.candidate = nn.Sequential(
            layer(ndim + features, features, 3, padding=1), nn.ReLU(inplace=True), layer(features, features, 3, padding=1)
        )
        self.denoiser = BlindSpotUNet(ndim, WIDTHS, inputs=features)

    @property
    def stride(self) -> int:
        """Total downsampling; image sides must be multiples of it."""
        return self.denoiser.stride

    @property
    def halo(self) -> int:
        """Context that can change a voxel: the U-Net's, 6 voxels of other convolutions, and flows of up to 34 voxels."""
        return self.denoiser.halo + 40

    def forward(self, image: Tensor) -> Tensor:
        """Denoise the middle frame, blind to it but for what the flows know of it.

        Parameters
        ----------
        image : Tensor
            ``(B, N + (N - 1) * D, *spatial)``, see `joined`.

        Returns
        -------
        Tensor
            ``(B, 1, *spatial)``.
        """
        clip, flows = self.parted(image)
        return self.denoiser(self.fused(self.sampled(clip, torch.zeros(len(clip), device=clip.device)), flows))

    def parted(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Clip and flows that `joined` put together.

        Parameters
        ----------
        image : Tensor
            ``(B, N + (N - 1) * D, *spatial)``.

        Returns
        -------
        tuple of Tensor
            ``(B, N, *spatial)`` and ``(B, N - 1, D, *spatial)``.
        """
        frames = 2 * self.centre + 1
        return image[:, :frames], image[:, frames:].unflatten(1, (frames - 1, self.ndim))

    def sampled(self, clip: Tensor, kappa: Tensor) -> Tensor:
        """Features of each frame times its weight.

        Parameters
        ----------
        clip : Tensor
            ``(B, N, *spatial)``, standardised.
        kappa : Tensor
            ``(B,)``, weight of the middle frame.

        Returns
        -------
        Tensor
            ``(B, N * features, *spatial)``.
        """
        each = sampling_weights(self.centre, kappa, self.power).repeat_interleave(self.features, dim=1)
        return self.generator(clip) * each.reshape(*each.shape, *(1,) * self.ndim).to(clip.dtype)

    def fused(self, sampled: Tensor, flows: Tensor) -> Tensor:
        """Guided temporal fusion, ``J = W̄ + σ ΔJ``.

        Parameters
        ----------
        sampled : Tensor
            ``(B, N * features, *spatial)``.
        flows : Tensor
            ``(B, N - 1, D, *spatial)``, voxels, from the middle frame to each other one.

        Returns
        -------
        Tensor
            ``(B, features, *spatial)``.
        """
        count, shape = sampled.shape[0], sampled.shape[2:]
        frames = sampled.reshape(count, -1, self.features, *shape)
        middle = frames[:, self.centre]
        others = torch.cat([frames[:, : self.centre], frames[:, self.centre + 1 :]], dim=1).flatten(0, 1)
        warped = sample(others, flows.flatten(0, 1) + voxels(shape, sampled.device))
        mean = warped.reshape(count, -1, self.features, *shape).mean(1)
        flow = (flows.mean(1) / FLOW_SCALE).to(sampled.dtype)
        gate = self.gate(torch.cat([flow, mean, middle], dim=1))
        return mean + gate * self.candidate(torch.cat([flow, middle], dim=1))


class SmallDataNet(nn.Module):
    """The network that learns, and an earlier state of it, which denoises what flows are estimated on.

    Parameters
    ----------
    ndim, reach, features, power
        See `GuidedFusionNet`.
    """

    taught: Tensor
    round: Tensor

    def __init__(self, ndim: int, reach: int, features: int, power: float) -> None:
        super().__init__()
        self.pupil = GuidedFusionNet(ndim, reach, features, power)
        self.teacher = copy.deepcopy(self.pupil).requires_grad_(False)
        self.register_buffer("taught", torch.zeros((), dtype=torch.bool))
        self.register_buffer("round", torch.zeros((), dtype=torch.int64))

    def train(self, mode: bool = True) -> "SmallDataNet":
        """Set the mode of the pupil; the teacher does not learn."""
        super().train(mode)
        self.teacher.eval()
        return self

    def teach(self, number: int) -> None:
        """Make the teacher what the pupil is now.

        Parameters
        ----------
        number : int
            Of the round that begins.
        """
        self.teacher.load_state_dict(self.pupil.state_dict())
        self.taught.fill_(True)
        self.round.fill_(number)


def joined(clip: Tensor, flows: Tensor) -> Tensor:
    """One tensor of a clip and its flows.

    Parameters
    ----------
    clip : Tensor
        ``(B, N, *spatial)``.
    flows : Tensor
        ``(B, N - 1, D, *spatial)``.

    Returns
    -------
    Tensor
        ``(B, N + (N - 1) * D, *spatial)``.
    """
    return torch.cat([clip, flows.flatten(1, 2)], dim=1)


def voxels(shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """Index coordinates of every voxel.

    Parameters
    ----------
    shape : sequence of int
        Spatial shape.
    device : torch.device or str
        Where.

    Returns
    -------
    Tensor
        ``(1, D, *spatial)``.
    """
    axes = [torch.arange(length, dtype=torch.float32, device=device) for length in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]
