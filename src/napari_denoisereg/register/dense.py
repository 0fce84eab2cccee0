"""What registrars have in common whose network predicts a displacement for every voxel: training, start, refinement.

Both images are brought to mean 0 and standard deviation 1 and to the resolution the network works at. A start that is known
(e.g. an affine transform found before) is applied to the moving image first; the network finds the rest:
``T(x) = start(x + u(x))``. Networks are trained on pairs of frames of the movie as the registrars before them aligned it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import field_validator
from torch import Tensor, nn

from napari_denoisereg import device as devices
from napari_denoisereg.frame_pool import FramePool
from napari_denoisereg.geometry import Displacement, Grid, Identity, Transform, inside, resample, sample, warp
from napari_denoisereg.geometry.velocity import moved_index
from napari_denoisereg.losses import Regularity, Similarity
from napari_denoisereg.losses.diffusion import Diffusion
from napari_denoisereg.losses.local_correlation import LocalCorrelation
from napari_denoisereg.method import setting
from napari_denoisereg.model import Model
from napari_denoisereg.register.trained import Objective, TrainedRegistrar
from napari_denoisereg.steps import Progress, Steps, portion
from napari_denoisereg.training_settings import number_in_a_step, seconds_at_most, step_size, steps_at_most, tested_every

HELD_OUT = 6
AT_ONCE = 4 * 512**2
"""Voxels, at the working resolution, that are registered at a time."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Images as a network sees them.

    Parameters
    ----------
    fixed, moving : Tensor
        ``(B, 1, *grid.shape)``, standardised; the start is applied to the moving ones.
    valid : Tensor
        ``(B, 1, *grid.shape)``, 0 where the moving image is not defined, else 1.
    grid : Grid
        Working resolution.
    """

    fixed: Tensor
    moving: Tensor
    valid: Tensor
    grid: Grid


class DenseRegistrar(TrainedRegistrar):
    """A trained registrar whose network predicts a displacement for every voxel."""

    bends: ClassVar[bool | None] = True

    seconds: float = seconds_at_most(120.0)
    iterations: int = steps_at_most(10_000)
    frames: Literal["denoised", "raw"] = setting(
        "denoised", "Whether it looks at the denoised or the raw frames, if the recipe denoises."
    )
    finest: int = setting(2, "Resolution the network works at: 1 is full, 2 half, 4 a quarter.", ge=1, le=16)
    similarity: Similarity = setting(LocalCorrelation(), "How images are compared.")
    regularity: Regularity = setting(Diffusion(), "Which kind of smoothness is asked of the motion.")
    smoothness: float = setting(1.0, "How smooth the motion must be; higher is smoother.", ge=0, le=1e6)
    reach: int = setting(
        1000, "The two frames of a training pair are at most this many frames apart.", ge=1, le=100_000, advanced=True
    )
    batch: int = number_in_a_step(2, "pairs of frames")
    learning_rate: float = step_size(1e-3)
    every: int = tested_every(25)

    @field_validator("regularity")
    @classmethod
    def _of_a_single_pair(cls, regularity: Regularity) -> Regularity:
        """Pairs are trained on and aligned one by one, in no order: without it such a measure would say nothing, silently."""
        if regularity.needs_frames:
            raise ValueError(
                f"Expected a regularity of a single motion, got {regularity.kind!r}, which compares frames that follow each "
                "other; choose another one here, or the registrar 'elastic', whose steadiness does this."
            )
        return regularity

    @property
    def wants_raw(self) -> bool:
        """Whether it looks at the frames before denoising."""
        return self.frames == "raw"

    def _objective(self, network: nn.Module, pool: FramePool, device: torch.device | str) -> Objective:
        """The loss of the member; the best is judged after rough alignment."""
        random = devices.generator(self.seed)
        aside = [self._pairs([pair], grid, device) for pair, grid in pool.hold_out_pairs(HELD_OUT, self.reach)]

        def loss(_: int) -> Tensor:
            pairs = self._pairs(*pool.pairs(self.batch, self.reach), device)
            return self._loss(network, _flipped(pairs, random)).mean()

        def validate() -> float:
            return sum(float(self._loss(network, pairs).mean()) for pairs in aside) / len(aside)

        return Objective(loss, validate, (random,))

    def align(
        self,
        fixed: Tensor,
        moving: Tensor,
        grid: Grid,
        *,
        start: Sequence[Transform] | None = None,
        model: Model | None = None,
    ) -> Steps[list[Transform]]:
        """Register a batch of pairs; see `Registrar.align`."""
        network = self._trained(grid.ndim, model, fixed.device)
        begin = list(start) if start is not None else [Identity(grid.ndim)] * len(fixed)
        small, found = working_grid(grid, self.finest), list[Transform]()
        at_once = max(1, AT_ONCE // math.prod(small.shape))
        for first in range(0, len(fixed), at_once):
            few = slice(first, first + at_once)
            pairs = prepared(fixed[few], moving[few], grid, small, begin[few])
            steps = self._fields(network, pairs)
            fields = yield from portion(steps, first / len(fixed), min(1.0, (first + at_once) / len(fixed)))
            found += [Displacement(u, small).then(known) for u, known in zip(fields, begin[few], strict=True)]
        yield Progress(len(fixed), len(fixed), "network")
        return found

    def _loss(self, network: nn.Module, pairs: Pairs) -> Tensor:
        """What training goes down on, ``(B,)``."""
        raise NotImplementedError

    def _fields(self, network: nn.Module, pairs: Pairs) -> Steps[Tensor]:
        """Displacements ``(B, D, *grid.shape)`` in world units, refined where the settings say so."""
        raise NotImplementedError

    def _cost(self, pairs: Pairs, field: Tensor, penalised: Tensor | None = None) -> Tensor:
        """Similarity after a motion plus weighted regularity ``(B,)``; of another field than the motion where one is given."""
        index = moved_index(field, pairs.grid)
        read = sample(torch.cat([pairs.moving, pairs.valid], dim=1), index, outside="edge")
        valid = (read[:, 1:] > 0.99) & inside(index, pairs.grid.shape).unsqueeze(1)
        unlike = self.similarity(pairs.fixed, read[:, :1], valid)
        rough = self.regularity(field if penalised is None else penalised, pairs.grid.spacing)
        return unlike + self.smoothness * rough

    def _pairs(self, drawn: Sequence[tuple[Tensor, Tensor]], grid: Grid, device: torch.device | str) -> Pairs:
        fixed, moving = (torch.stack([pair[side] for pair in drawn]).to(device) for side in (0, 1))
        return prepared(fixed, moving, grid, working_grid(grid, self.finest), [Identity(grid.ndim)] * len(drawn))


def prepared(fixed: Tensor, moving: Tensor, grid: Grid, small: Grid, start: Sequence[Transform]) -> Pairs:
    """Standardise images, apply what is known, and bring them to the working resolution.

    Parameters
    ----------
    fixed, moving : Tensor
        ``(B, *grid.shape)``, any intensity scale.
    grid, small : Grid
        Of the images; working resolution.
    start : sequence of Transform
        One per pair, fixed to moving.

    Returns
    -------
    Pairs
        On ``small``.
    """
    both = [_standardised(image) for image in (fixed, moving)]
    moved = torch.cat([both[1], torch.ones_like(both[1])], dim=1)
    if all(transform.is_identity for transform in start):
        brought = resample(moved, grid, small)
    else:
        pairs = zip(moved, start, strict=True)
        brought = torch.stack([warp(image, known, fixed=small, moving=grid) for image, known in pairs])
    return Pairs(resample(both[0], grid, small), brought[:, :1], (brought[:, 1:] > 0.99).to(fixed.dtype), small)


def working_grid(grid: Grid, finest: int) -> Grid:
    """A coarser grid; axes that are sampled coarsely already, or have few voxels, are left as they are.

    Parameters
    ----------
    grid : Grid
        Of the frames.
    finest : int
        Reduction of the finest axis.

    Returns
    -------
    Grid
        Over the same extent.
    """
    each = [max(1.0, finest * min(grid.spacing) / step) for step in grid.spacing]
    return grid.coarser([min(f, n / 4) if n >= 8 else 1.0 for f, n in zip(each, grid.shape, strict=True)])


def _standardised(image: Tensor) -> Tensor:
    """``(B, *shape)`` to ``(B, 1, *shape)`` with mean 0 and standard deviation 1, whatever the unit."""
    axes = tuple(range(1, image.ndim))
    std, mean = torch.std_mean(image, dim=axes, keepdim=True)
    return ((image - mean) / std.clamp(min=torch.finfo(image.dtype).tiny)).unsqueeze(1)


def _flipped(pairs: Pairs, random: torch.Generator) -> Pairs:
    """The same flip of both images, at random: a small movie shows more directions."""
    axes = [axis + 2 for axis in range(pairs.grid.ndim) if float(torch.rand((), generator=random)) < 0.5]
    return Pairs(pairs.fixed.flip(axes), pairs.moving.flip(axes), pairs.valid.flip(axes), pairs.grid)
