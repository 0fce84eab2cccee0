"""Sections: serial sections of electron microscopy aligned all at once, without drift; no training. Our own best for them.

Every section is compared with its neighbours on both sides by `block_matching`, and all of them are moved together by
`section_balance`, which tells how a section was deformed from how tissue runs through the stack. Coarse to fine, a few rounds
each on the sections as they are bent by then. At last small blocks of next neighbours are brought together at full
resolution: what runs obliquely through few sections is straightened a little, yet sections stay near where balance put them,
so that nothing adds up through the stack. A long stack is worked on in windows of consecutive sections; those found before
hold still in the next window, so memory follows the window.

The first section stays where it is, and the others are pulled weakly to where they were: deformations of many sections
average out, so their mean is a frame that does not drift. Shifts and turns beyond the reach (24 px) need an affine
registrar before.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
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
DETAIL_ROUNDS, DETAIL_REACH, DETAIL_STIFFNESS = 2, 2.0, 3e-3  # rounds, reach in blocks
DETAIL_VOXELS = 3.0  # the blocks of the details are so many voxels wide
FEW = 3  # of so many sections nobody can tell how tissue runs
OVERLAP = 8  # sections of a window that hold still in the next


class Sections(Registrar, kind="sections"):
    """Aligns serial sections together, with little drift; folds and dust do not pull. For electron microscopy, no training."""

    title: ClassVar[str] = "Serial sections (all at once)"
    reference: ClassVar[str] = "https://doi.org/10.1038/nmeth.2072"
    bends: ClassVar[bool | None] = True
    is_sectionwise: ClassVar[bool] = True

    neighbours: int = setting(2, "How many sections on each side a section is compared with.", ge=1, le=3)
    block: float = setting(
        8.0, "Size of the blocks that are matched; about a quarter of a cell's width.", unit="px", ge=2, le=256
    )
    stiffness: float = setting(0.02, "How hard a section is to bend; higher gives smoother motion.", gt=0, le=1e6)
    pull: float = setting(0.01, "How strongly sections are held where they were; higher drifts less.", gt=0, le=1e6)
    steadiness: float = setting(
        0.3, "How steadily tissue continues from section to section; higher for thin sections.", gt=0, le=1e6
    )
    outlier: float = setting(2.0, "Matches that are further off than this count little (folds, dust).", unit="px", gt=0, le=1e3)
    detail: float = setting(
        3.0, "Size of the details that are aligned at the end, between neighbouring sections.", unit="px", ge=1, le=256
    )
    firmness: float = setting(
        0.16,
        "How firmly sections keep their place while details are aligned; lower fits neighbours more closely.",
        gt=0,
        le=1e6,
    )
    finest: int = setting(
        2, "Finest resolution used: 1 is full, 2 half, 4 a quarter. Higher numbers are faster and less exact.", ge=1, le=16
    )
    coarsest: int = setting(
        4,
        "Coarsest resolution used. Shifts of up to 6 of its pixels are found: 24 px at the default 4.",
        ge=1,
        le=64,
        advanced=True,
    )
    rounds: int = setting(2, "How often sections are matched again at each resolution.", ge=1, le=20, advanced=True)
    window: int = setting(48, "Sections worked on together; more need more memory.", ge=16, le=10_000, advanced=True)

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
        levels = _levels(grid, self.coarsest, self.finest)
        place, detail = levels[0][0], _level(grid, max(1.0, self.detail / DETAIL_VOXELS))
        bends = torch.zeros(len(sections), grid.ndim, *place.shape, device=sections.device)
        flow = torch.zeros(len(sections) - 1, grid.ndim, *place.shape, device=sections.device)
        # Of two or three sections nobody can tell what runs unsteadily: they are aligned once balanced.
        n_details = DETAIL_ROUNDS if len(sections) > FEW else 0
        total = len(levels) * self.rounds + n_details
        for number, (small, factor) in enumerate(levels):
            images = _shrunk(sections, grid, small)
            bends, flow = resample(bends, place, small), resample(flow, place, small)
            place = small
            for repeat in range(self.rounds):
                bends, flow = self._round(
                    images, (bends, flow), (small, min(grid.spacing), factor), hold, REACHES[2 if repeat else min(number, 1)]
                )
                yield Progress(number * self.rounds + repeat + 1, total, "matching sections")
        if not n_details:
            return bends, place
        images = _shrunk(sections, grid, detail)
        bends = balanced = resample(bends, place, detail)
        for left in reversed(range(n_details)):
            bends = self._details(images, (bends, bends - balanced), (detail, min(grid.spacing)), hold)
            yield Progress(total - left, total, "matching details")
        return bends, detail

    def _round(
        self, images: Tensor, now: tuple[Tensor, Tensor], scale: tuple[Grid, float, float], hold: Tensor, reach: int
    ) -> tuple[Tensor, Tensor]:
        """Match all neighbours as they are bent now, and balance."""
        (bends, flow), (grid, px, factor) = now, scale
        n, block = len(images), self.block * math.sqrt(factor)
        nodes = ControlGrid.over(grid, 1.5 * block * px)
        pairs = [(i, i + lag) for lag in range(1, self.neighbours + 1) for i in range(n - lag)]
        run = torch.stack([flow[i:j].sum(0) for i, j in pairs])
        measured = _measured(images, (bends, run), (grid, nodes, px), pairs, block, reach * factor)
        at_nodes = [_at_nodes(field, grid, nodes) / px for field in (run, bends)]
        delta, along = balance(
            replace(measured, shift=measured.shift + at_nodes[0].double().cpu().numpy()),
            at_nodes[1].double().cpu().numpy(),
            [step / px for step in nodes.spacing],
            self._weights(n),
            hold.tolist(),
            with_flow=n > FEW,
        )
        moved, along_dense = (nodes.dense(torch.from_numpy(each).to(flow), "cubic") * px for each in (delta, along))
        return _joined(bends, moved, grid, hold), along_dense

    def _details(self, images: Tensor, now: tuple[Tensor, Tensor], scale: tuple[Grid, float], hold: Tensor) -> Tensor:
        """Match small blocks of next neighbours and bring them together, near where balance put them."""
        (bends, moved), (grid, px) = now, scale
        nodes = ControlGrid.over(grid, 1.5 * self.detail * px)
        pairs = [(i, i + 1) for i in range(len(images) - 1)]
        nothing = torch.zeros_like(bends[1:])
        measured = _measured(images, (bends, nothing), (grid, nodes, px), pairs, self.detail, DETAIL_REACH * self.detail)
        delta, _ = balance(
            # Relative to the mean, so that firmness means the same for clear and for noisy sections.
            replace(measured, weight=measured.weight / max(measured.weight.mean(), 1e-3)),
            (_at_nodes(moved, grid, nodes) / px).double().cpu().numpy(),
            [step / px for step in nodes.spacing],
            Weights(4 * self.block, self.firmness, DETAIL_STIFFNESS, 0.0, CALM, 0.0, 1.5 * self.outlier),
            hold.tolist(),
            with_flow=False,
        )
        return _joined(bends, nodes.dense(torch.from_numpy(delta).to(bends), "cubic") * px, grid, hold)

    def _weights(self, n: int) -> Weights:
        pull = self.pull if n > FEW else 1e-2 * self.pull
        return Weights(4 * self.block, pull, self.stiffness, self.steadiness, CALM, EVENNESS, self.outlier)


def _measured(
    images: Tensor,
    now: tuple[Tensor, Tensor],
    scale: tuple[Grid, ControlGrid, float],
    pairs: Sequence[tuple[int, int]],
    block: float,
    reach: float,
) -> Measured:
    """Matches of sections as they are bent now, beyond what tissue is thought to run; block and reach in px."""
    (bends, run), (grid, nodes, px) = now, scale
    voxels = [px / step for step in grid.spacing]  # in one px
    # Half of the run is looked for on either side, so that the reach is for what is not known.
    fixed, moving = (
        _seen(images, bends, [pair[side] for pair in pairs], run * sign, grid) for side, sign in ((0, -0.5), (1, 0.5))
    )
    found = match(
        fixed, moving, nodes.shape, window=[block * each for each in voxels], reach=[round(reach * each) for each in voxels]
    )
    world = torch.tensor(grid.spacing, device=run.device).reshape(-1, *(1,) * grid.ndim)
    lag = torch.tensor([LAG_WEIGHTS[j - i - 1] for i, j in pairs]).reshape(-1, *(1,) * grid.ndim)
    return Measured(
        pairs, (found.shift * world / px).double().cpu().numpy(), (found.weight.cpu() * lag + 1e-6).double().numpy()
    )


def _at_nodes(fields: Tensor, grid: Grid, nodes: ControlGrid) -> Tensor:
    """Means of fields around nodes."""
    widths = [0.5 * s / h for s, h in zip(nodes.spacing, grid.spacing, strict=True)]
    return along_axes(fields, [each.to(fields) for each in window_matrices(grid.shape, nodes.shape, widths)])


def _joined(bends: Tensor, moved: Tensor, grid: Grid, hold: Tensor) -> Tensor:
    """Fields for "move, then bend as before"; those that hold still stay."""
    return torch.where(hold.to(bends.device).reshape(-1, *(1,) * (grid.ndim + 1)), bends, moved + _read(bends, moved, grid))


def _levels(grid: Grid, coarsest: int, finest: int) -> list[tuple[Grid, float]]:
    """Grids from coarse to fine, each with its voxels' size in px; images of a few voxels are not made coarser."""
    factors = [finest]
    while factors[-1] * 2 <= coarsest:
        factors.append(factors[-1] * 2)
    px = min(grid.spacing)
    fitting = [f for f in reversed(factors) if max(grid.extent) / (f * px) >= 24] or [1]
    return [(_level(grid, factor), float(factor)) for factor in fitting]


def _level(grid: Grid, factor: float) -> Grid:
    """The grid with voxels of so many px; axes of a few voxels are not made coarser."""
    each = [max(1.0, factor * min(grid.spacing) / step) for step in grid.spacing]
    return grid.coarser([f if n >= 4 * f else 1.0 for f, n in zip(each, grid.shape, strict=True)])


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
