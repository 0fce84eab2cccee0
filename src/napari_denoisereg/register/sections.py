"""Sections: serial sections of electron microscopy aligned all at once, without drift; no training. Our own best for them.

Every section is compared with its neighbours on both sides by `block_matching`, and all of them are moved together by
`section_balance`, which tells how a section was deformed from how tissue runs through the stack. Coarse to fine, a few rounds
each on the sections as they are bent by then. A long stack is worked on in windows of consecutive sections; those found before
hold still in the next window, so memory follows the window.

The first section stays where it is, and the others are pulled weakly to where they were: deformations of many sections
average out, so their mean is a frame that does not drift. Shifts and turns beyond the reach (24 px) need an affine
registrar before.
"""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from napari_denoisereg.geometry import Displacement, Grid, Identity, PerFrame, Transform, resample, sample, smooth
from napari_denoisereg.geometry.control_grid import ControlGrid, along_axes
from napari_denoisereg.geometry.velocity import moved_index
from napari_denoisereg.method import setting
from napari_denoisereg.model import Model
from napari_denoisereg.register.block_matching import match, window_matrices
from napari_denoisereg.register.registrar import Registrar
from napari_denoisereg.register.section_balance import Measured, Weights, balance
from napari_denoisereg.register.section_images import bent, placed, prepared
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Progress, Steps, portion

REACHES = (6, 4, 3)  # voxels of the level: at first, at first on a finer level, in later rounds
CALM, EVENNESS = 1e-3, 0.01
LAG_WEIGHTS = (1.0, 0.4, 0.2)
OVERLAP = 8  # sections of a window that hold still in the next


class Sections(Registrar, kind="sections"):
    """Aligns serial sections all at once, without drift; folds and dust do not pull. For electron microscopy; no training."""

    title: ClassVar[str] = "Serial sections (all at once)"
    reference: ClassVar[str] = "https://doi.org/10.1038/nmeth.2072"
    is_sectionwise: ClassVar[bool] = True

    neighbours: int = setting(2, "So many sections are compared with, on each side.", ge=1, le=3)
    block: float = setting(
        8.0, "Size of what is compared at full resolution; about that of small cells.", unit="px", ge=2, le=256
    )
    stiffness: float = setting(0.02, "How hard a section is to bend: higher is smoother.", gt=0, le=1e6)
    pull: float = setting(0.01, "How strongly sections are held where they were, against drift.", gt=0, le=1e6)
    steadiness: float = setting(0.3, "How steadily tissue runs on; high for thin sections.", gt=0, le=1e6)
    outlier: float = setting(2.0, "Matches that are off by more than that count little (folds, dust).", unit="px", gt=0, le=1e3)
    finest: int = setting(2, "Resolution to end at: 1 full, 2 half, 4 quarter.", ge=1, le=16)
    coarsest: int = setting(4, "Resolution to begin at; the reach is 6 of its voxels.", ge=1, le=64, advanced=True)
    rounds: int = setting(2, "How often sections are matched anew per resolution.", ge=1, le=20, advanced=True)
    window: int = setting(48, "Sections at once; more need more memory.", ge=16, le=10_000, advanced=True)

    def align(
        self,
        fixed: Tensor,
        moving: Tensor,
        grid: Grid,
        *,
        start: Sequence[Transform] | None = None,
        model: Model | None = None,  # noqa: ARG002 - nothing is trained
    ) -> Steps[list[Transform]]:
        """Register a batch of pairs; see `Registrar.align`. Each pair is a stack of two whose first section holds still."""
        begin = list(start) if start is not None else [Identity(grid.ndim)] * len(fixed)
        found = list[Transform]()
        for number, known in enumerate(begin):
            images = prepared(torch.stack([fixed[number], moving[number]]))
            pair = torch.stack([images[0], placed(images[1], known, grid)])
            work = self._bend(pair, grid, torch.tensor([True, False]))
            bends, small = yield from portion(work, number / len(begin), (number + 1) / len(begin))
            found.append(Displacement(bends[1], small).then(known))
        return found

    def align_movie(
        self,
        stack: Stack,
        *,
        start: PerFrame | None = None,
        model: Model | None = None,  # noqa: ARG002 - nothing is trained
        device: torch.device | str = "cpu",
    ) -> Steps[PerFrame]:
        """Register all sections; see `Registrar.align_movie`."""
        grid, n = stack.grid, stack.n_frames
        known = list[Transform](start if start is not None else [Identity(grid.ndim)] * n)
        found = list(known[:1])
        while len(found) < n:
            first = max(0, len(found) - OVERLAP)
            last = min(n, first + self.window)
            # What was found already is put in place and holds still; of the others the start is known.
            begin = [*found[first:], *known[len(found) : last]]
            sections = torch.stack(
                [placed(prepared(stack.tensor([first + k], device))[0], each, grid) for k, each in enumerate(begin)]
            )
            hold = torch.arange(first, last) < len(found)
            work = self._bend(sections, grid, hold)
            bends, small = yield from portion(work, len(found) / n, last / n, f"sections {first + 1} to {last}")
            # The last ones have no neighbours after them yet: they are worked on again in the next window.
            sure = last if last == n else last - OVERLAP // 2
            found += [Displacement(bends[k], small).then(begin[k]) for k in range(len(found) - first, sure - first)]
        yield Progress(1.0, 1.0, "sections aligned")
        return PerFrame(found)

    def _bend(self, sections: Tensor, grid: Grid, hold: Tensor) -> Steps[tuple[Tensor, Grid]]:
        """Fields ``(T, D, *small.shape)`` in world units, and their grid, of prepared sections ``(T, 2, *spatial)``."""
        levels = [small for small, _ in _levels(grid, self.coarsest, self.finest)]
        bends = torch.zeros(len(sections), grid.ndim, *levels[0].shape, device=sections.device)
        flow = torch.zeros(len(sections) - 1, grid.ndim, *levels[0].shape, device=sections.device)
        place, total = levels[0], len(levels) * self.rounds
        for number, (small, factor) in enumerate(_levels(grid, self.coarsest, self.finest)):
            images = _shrunk(sections, grid, small)
            bends, flow = resample(bends, place, small), resample(flow, place, small)
            place = small
            for repeat in range(self.rounds):
                bends, flow = self._round(
                    images, (bends, flow), (small, min(grid.spacing), factor), hold, REACHES[2 if repeat else min(number, 1)]
                )
                yield Progress(number * self.rounds + repeat + 1, total, "matching sections")
        return bends, place

    def _round(
        self, images: Tensor, now: tuple[Tensor, Tensor], scale: tuple[Grid, float, float], hold: Tensor, reach: int
    ) -> tuple[Tensor, Tensor]:
        """Match all neighbours as they are bent now, and balance."""
        (bends, flow), (grid, px, factor) = now, scale
        n, block = len(images), self.block * math.sqrt(factor)
        nodes = ControlGrid.over(grid, 1.5 * block * px)
        voxels = [px / step for step in grid.spacing]  # in one px
        pairs = [(i, i + lag) for lag in range(1, self.neighbours + 1) for i in range(n - lag)]
        run = torch.stack([flow[i:j].sum(0) for i, j in pairs])
        # Half of what tissue is thought to run is looked for on either side, so that the reach is for what is not known.
        fixed, moving = (
            _seen(images, bends, [pair[side] for pair in pairs], run * sign, grid) for side, sign in ((0, -0.5), (1, 0.5))
        )
        found = match(
            fixed,
            moving,
            nodes.shape,
            window=[block * each for each in voxels],
            reach=[round(reach * factor * each) for each in voxels],
        )
        world = torch.tensor(grid.spacing, device=flow.device).reshape(-1, *(1,) * grid.ndim)
        mean = window_matrices(grid.shape, nodes.shape, [0.5 * s / h for s, h in zip(nodes.spacing, grid.spacing, strict=True)])
        at_nodes = [along_axes(field, [each.to(field) for each in mean]) / px for field in (run, bends)]
        lag = torch.tensor([LAG_WEIGHTS[j - i - 1] for i, j in pairs]).reshape(-1, *(1,) * grid.ndim)
        measured = Measured(
            pairs,
            (found.shift * world / px + at_nodes[0]).double().cpu().numpy(),
            (found.weight.cpu() * lag + 1e-6).double().numpy(),
        )
        # Of two or three sections nobody can tell how tissue runs.
        delta, along = balance(
            measured,
            at_nodes[1].double().cpu().numpy(),
            [step / px for step in nodes.spacing],
            self._weights(n),
            hold.tolist(),
            with_flow=n > 3,
        )
        moved, along_dense = (nodes.dense(torch.from_numpy(each).to(flow), "cubic") * px for each in (delta, along))
        joined = moved + _read(bends, moved, grid)
        return torch.where(hold.to(flow.device).reshape(-1, *(1,) * (grid.ndim + 1)), bends, joined), along_dense

    def _weights(self, n: int) -> Weights:
        pull = self.pull if n > 3 else 1e-2 * self.pull
        return Weights(4 * self.block, pull, self.stiffness, self.steadiness, CALM, EVENNESS, self.outlier)


def _levels(grid: Grid, coarsest: int, finest: int) -> list[tuple[Grid, float]]:
    """Grids from coarse to fine, each with its voxels' size in px; images of a few voxels are not made coarser."""
    factors = [finest]
    while factors[-1] * 2 <= coarsest:
        factors.append(factors[-1] * 2)
    px = min(grid.spacing)
    fitting = [f for f in reversed(factors) if max(grid.extent) / (f * px) >= 24] or [1]
    levels = []
    for factor in fitting:
        each = [max(1.0, factor * px / step) for step in grid.spacing]
        levels.append((grid.coarser([f if n >= 4 * f else 1.0 for f, n in zip(each, grid.shape, strict=True)]), float(factor)))
    return levels


def _shrunk(sections: Tensor, grid: Grid, small: Grid) -> Tensor:
    """Prepared sections at a coarser resolution, slightly smoothed; empty space does not bleed into tissue."""
    both = torch.cat([sections[:, :1] * sections[:, 1:], sections[:, 1:]], dim=1)
    both = smooth(resample(both, grid, small), 0.7)
    valid = (both[:, 1:] > 0.75).to(both.dtype)
    return torch.cat([both[:, :1] / both[:, 1:].clamp(min=0.25) * valid, valid], dim=1)


def _seen(images: Tensor, bends: Tensor, chosen: Sequence[int], offset: Tensor, grid: Grid) -> Tensor:
    """Sections as they are bent, each read at an offset: ``I(T(x + offset))``."""
    field = offset + _read(bends[list(chosen)], offset, grid)
    moved = bent(images[list(chosen)], field, grid)
    valid = (moved[:, 1:] > 0.99).to(moved.dtype)
    return torch.cat([moved[:, :1] * valid, valid], dim=1)


def _read(fields: Tensor, offset: Tensor, grid: Grid) -> Tensor:
    """Values of fields at ``x + offset``, edge values beyond."""
    return sample(fields, moved_index(offset, grid), outside="edge")
