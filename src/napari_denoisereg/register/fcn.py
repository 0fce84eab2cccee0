"""FCN: displacements at three resolutions at once, each judged by itself (deep self-supervision).

Network, loss and training are the paper's: normalised cross-correlation and total variation at each resolution, weights 1,
0.6 and 0.3 from fine to coarse, all n² pairs of the movie, Adam with 1e-3. New frames are registered by one pass through the
network; as in the paper the same descent may go on for the pair itself. What is ours: that descent changes only the layers
behind the coarsest features, in a copy; smaller batches; the network works at half resolution unless ``finest`` is 1; and its
step size falls.

References
----------
Li and Fan 2017, Non-rigid image registration using fully convolutional networks with deep self-supervision, arXiv:1709.00799.
"""

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from napari_denoisereg import device as devices
from napari_denoisereg.geometry import Grid, resample
from napari_denoisereg.losses import Regularity, Similarity
from napari_denoisereg.losses.correlation import Correlation
from napari_denoisereg.losses.total_variation import TotalVariation
from napari_denoisereg.method import setting
from napari_denoisereg.networks.fcn import RegistrationFCN, Variant
from napari_denoisereg.optimize import minimise
from napari_denoisereg.register.dense import DenseRegistrar, Pairs
from napari_denoisereg.steps import Steps, portion

WEIGHTS = (1.0, 0.6, 0.3)
PAIR_STEP = 2.0
"""First step on a pair by itself, in first steps of the training."""


class Fcn(DenseRegistrar, kind="fcn"):
    """A network that predicts motion at three resolutions, trained on all pairs of frames; new frames need one pass."""

    title: ClassVar[str] = "FCN (multi-resolution network)"
    reference: ClassVar[str] = "https://arxiv.org/abs/1709.00799"
    is_dense: ClassVar[bool] = True
    network_settings: ClassVar[tuple[str, ...]] = ("finest", "variant")

    variant: Variant = setting(
        "multi_resolution",
        "The paper's network (multi_resolution), or one of the two simpler ones it is compared with.",
        advanced=True,
    )
    similarity: Similarity = setting(Correlation(), "How images are compared.")
    regularity: Regularity = setting(TotalVariation(), "Which kind of smoothness is asked of the motion.")
    smoothness: float = setting(0.1, "How smooth the motion must be; higher is smoother.", ge=0, le=1e6)
    refinement: int = setting(
        40, "Refinement: further training steps for each pair of frames (slow); 0 keeps the network's result.", ge=0, le=10_000
    )

    def _build(self, ndim: int) -> nn.Module:
        return RegistrationFCN(ndim, self.variant)

    def _loss(self, network: nn.Module, pairs: Pairs) -> Tensor:
        return self._weighed(self._levels(network, pairs))

    def _fields(self, network: Any, pairs: Pairs) -> Steps[Tensor]:
        if self.refinement == 0:
            with torch.no_grad():
                return self._levels(network, pairs)[0][0]
        found, count = [], len(pairs.fixed)
        for number in range(count):
            few = slice(number, number + 1)
            alone = Pairs(pairs.fixed[few], pairs.moving[few], pairs.valid[few], pairs.grid)
            found.append((yield from portion(self._descended(network, alone), number / count, (number + 1) / count)))
        return torch.cat(found)

    def _descended(self, network: RegistrationFCN, pairs: Pairs) -> Steps[Tensor]:
        """Go on with the training on one pair, in a copy of the layers behind the coarsest features; normalisation stays."""
        own = copy.deepcopy(network)
        weights = [weight for part in (own.up, own.regression) for weight in part.requires_grad_(True).parameters()]
        with torch.no_grad(), devices.autocast(pairs.fixed.device):
            features = own.encode(pairs.fixed, pairs.moving)
        pyramid = self._pyramid(pairs)

        def levels() -> list[tuple[Tensor, Pairs]]:
            with devices.autocast(pairs.fixed.device):
                return self._at_levels(own.decode(features, pairs.grid.shape), pyramid)

        yield from minimise(
            weights,
            lambda _: self._weighed(levels()).sum(),
            iterations=self.refinement,
            learning_rate=PAIR_STEP * self.learning_rate,
            schedule=lambda done: 1 - done,
            stage="refining",
        )
        with torch.no_grad():
            return levels()[0][0]

    def _levels(self, network: nn.Module, pairs: Pairs) -> list[tuple[Tensor, Pairs]]:
        """Displacements in world units and the images at their resolutions, finest first."""
        with devices.autocast(pairs.fixed.device):
            return self._at_levels(network(pairs.fixed, pairs.moving), self._pyramid(pairs))

    def _at_levels(self, predicted: Sequence[Tensor], pyramid: Sequence[Pairs]) -> list[tuple[Tensor, Pairs]]:
        fields = [field.float() for field in predicted]
        if self.variant == "interpolated":
            coarse = pyramid[0].grid.coarser(4)
            return [(resample(_in_world(fields[0], coarse), coarse, pyramid[0].grid), pyramid[0])]
        return [(_in_world(field, level.grid), level) for field, level in zip(fields, pyramid, strict=True)]

    def _pyramid(self, pairs: Pairs) -> list[Pairs]:
        """The images at the resolutions they are judged at, finest first."""
        levels = [pairs]
        while self.variant == "multi_resolution" and len(levels) < len(WEIGHTS):
            levels.append(_shrunk(levels[-1]))
        return levels

    def _weighed(self, levels: Sequence[tuple[Tensor, Pairs]]) -> Tensor:
        """Weighted sum over the resolutions; ablations have one, and it has weight 1."""
        costs = [self._cost(pairs, field) for field, pairs in levels]
        return sum((weight * cost for weight, cost in zip(WEIGHTS, costs, strict=False)), torch.zeros_like(costs[0]))


def _shrunk(pairs: Pairs) -> Pairs:
    small = pairs.grid.coarser(2)
    images = resample(torch.cat([pairs.fixed, pairs.moving, pairs.valid], dim=1), pairs.grid, small)
    return Pairs(images[:, :1], images[:, 1:2], (images[:, 2:] > 0.99).to(images.dtype), small)


def _in_world(voxels: Tensor, grid: Grid) -> Tensor:
    return voxels * torch.tensor(grid.spacing, device=voxels.device).reshape(-1, *(1,) * grid.ndim)
