"""Affine descent: batched, multi-resolution Gauss-Newton on intensities. Shared by the registrars that end in an affine.

At each level the warped image is compared with the fixed one after both are brought to mean 0 and standard deviation 1 where
they overlap (so brightness and bleaching do not matter), and a small transform is composed in front of the present one. The
steepest-descent images are those of the fixed image (inverse compositional Gauss-Newton), so that they are made once a level
and a step costs little more than one warp; Levenberg-Marquardt damping, and a step that lowers the correlation is taken back.

References
----------
Baker and Matthews 2004, doi:10.1023/B:VISI.0000011205.11775.fd.
Thévenaz, Ruttimann, Unser 1998, doi:10.1109/83.650848. Evangelidis and Psarakis 2008 (ECC), doi:10.1109/TPAMI.2008.113.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from napari_denoisereg.geometry import Affine, Grid, Transform, affine_index, inside, resample, sample, smooth
from napari_denoisereg.register.pull import Pull as Pull
from napari_denoisereg.register.pull import velocity

Motion = Literal["translation", "rigid", "similarity", "affine"]
LEAST_OVERLAP = 0.1
LEAST_SEEN = 30
"""Voxels of a level: fewer do not tell where they belong."""


@dataclass(frozen=True)
class Pyramid:
    """A batch of pairs at one resolution.

    Parameters
    ----------
    fixed, moving : Tensor
        ``(B, 1, *grid.shape)``.
    grid : Grid
        Of both.
    seen : Tensor, optional
        ``(1, 1, *grid.shape)``, bool: where the fixed images are looked at; everywhere by default.
    """

    fixed: Tensor
    moving: Tensor
    grid: Grid
    seen: Tensor | None = None

    def repeat(self, count: int) -> "Pyramid":
        """The only pair several times, to start from several places at once.

        Parameters
        ----------
        count : int
            How often.

        Returns
        -------
        Pyramid
            A batch of ``count``.
        """
        return replace(
            self,
            fixed=self.fixed.expand(count, *self.fixed.shape[1:]),
            moving=self.moving.expand(count, *self.moving.shape[1:]),
        )


def descend(
    levels: Sequence[Pyramid],
    start: Tensor,
    motion: Motion,
    *,
    iterations: int = 15,
    tolerance: float = 0.01,
    pull: Pull | None = None,
) -> tuple[Tensor, Tensor]:
    """Refine affine transforms level by level.

    Parameters
    ----------
    levels : sequence of Pyramid
        Coarse to fine.
    start : Tensor
        ``(B, D, D+1)``, fixed to moving, world units, float64.
    motion : {"translation", "rigid", "similarity", "affine"}
        What may change.
    iterations : int
        At most so many per level.
    tolerance : float
        A level ends when no corner moves further than that, in voxels of the level.
    pull : Pull, optional
        Landmarks.

    Returns
    -------
    tuple of Tensor, Tensor
        The transforms ``(B, D, D+1)`` and the correlation coefficient of each pair at the finest level ``(B,)``, less what
        landmarks cost.
    """
    matrices = homogeneous(start)
    score = torch.full((start.shape[0],), -1.0, dtype=torch.float64)
    for level in levels:
        matrices, score = _descend_level(level, matrices, motion, (iterations, tolerance), pull)
    return matrices[:, :-1], score


def pyramid(  # noqa: PLR0913 - everything after grid is a keyword
    fixed: Tensor,
    moving: Tensor,
    grid: Grid,
    *,
    coarsest: int,
    finest: int,
    blur: float = 0.7,
    seen: Tensor | None = None,
) -> list[Pyramid]:
    """Pairs at halved resolutions.

    Parameters
    ----------
    fixed, moving : Tensor
        ``(B, *grid.shape)``.
    grid : Grid
        Of both.
    coarsest : int
        Halve until the longest side would fall below this, voxels.
    finest : int
        Reduction of the finest level: 1 is full resolution, 2 half, ...
    blur : float
        Extra smoothing at each level, voxels of that level.
    seen : Tensor, optional
        ``grid.shape``, bool: where the fixed images are looked at; everywhere by default. Levels at which hardly any of it is
        left are left out.

    Returns
    -------
    list of Pyramid
        Coarse to fine, at least one.
    """
    longest = max(grid.extent) / min(grid.spacing)
    factors = [finest]
    while longest / (factors[-1] * 2) >= coarsest:
        factors.append(factors[-1] * 2)
    images, place, levels = torch.stack([fixed, moving], dim=1), grid, list[Pyramid]()
    part = None if seen is None else seen[None, None].to(images.dtype)
    std, mean = torch.std_mean(images, dim=tuple(range(2, images.ndim)), keepdim=True)
    images = (images - mean) / std.clamp(min=torch.finfo(images.dtype).tiny)  # whatever unit the intensities have
    for factor in factors:
        # Anisotropic voxels: an axis is shrunk only once the others have become as coarse as it is.
        each = [max(1.0, factor * min(grid.spacing) / step) for step in grid.spacing]
        small = grid.coarser([min(f, n / 4) if n >= 8 else 1.0 for f, n in zip(each, grid.shape, strict=True)])
        # Each level is made from the finer one: cheaper than from full resolution, and as free of aliasing.
        part = None if part is None else resample(part, place, small)
        images, place = resample(images, place, small), small
        if levels and part is not None and int((part > 0.5).sum()) < LEAST_SEEN:
            break
        blurred = smooth(images, blur)
        levels.append(Pyramid(blurred[:, :1], blurred[:, 1:], small, None if part is None else part > 0.5))
    return levels[::-1]


def homogeneous(weights: Tensor) -> Tensor:
    """Append the last row ``(0 … 0 1)``.

    Parameters
    ----------
    weights : Tensor
        ``(B, D, D+1)``.

    Returns
    -------
    Tensor
        ``(B, D+1, D+1)``.
    """
    last = torch.zeros(weights.shape[0], 1, weights.shape[2], dtype=weights.dtype, device=weights.device)
    last[:, 0, -1] = 1.0
    return torch.cat([weights, last], dim=1)


def as_weights(transforms: Sequence[Transform]) -> Tensor:
    """Affine transforms as a batch.

    Parameters
    ----------
    transforms : sequence of Transform
        Affine.

    Returns
    -------
    Tensor
        ``(B, D, D+1)``, float64, CPU.

    Raises
    ------
    TypeError
        When one is not affine.
    """
    return torch.stack([transform.matrix()[:-1] for transform in transforms])


def as_transforms(weights: Tensor) -> list[Transform]:
    """Inverse of `as_weights`."""
    return [Affine(each) for each in weights]


def correlate(level: Pyramid, weights: Tensor) -> Tensor:
    """Correlation coefficient of fixed and warped images.

    Parameters
    ----------
    level : Pyramid
        The pairs.
    weights : Tensor
        ``(B, D, D+1)``, fixed to moving, world units.

    Returns
    -------
    Tensor
        ``(B,)``, float64, CPU; -1 where the overlap is below a tenth.
    """
    return _standardised(level, *_warped(level, homogeneous(weights)))[2]


def overlap(level: Pyramid, weights: Tensor) -> Tensor:
    """Share of the fixed image, as far as it is looked at, on which the warped one is defined.

    Parameters
    ----------
    level : Pyramid
        The pairs.
    weights : Tensor
        ``(B, D, D+1)``, fixed to moving, world units.

    Returns
    -------
    Tensor
        ``(B,)``, float64, CPU.
    """
    return _shares(level, _warped(level, homogeneous(weights))[1]).cpu().double()


def _descend_level(
    level: Pyramid, matrices: Tensor, motion: Motion, budget: tuple[int, float], pull: Pull | None
) -> tuple[Tensor, Tensor]:
    (iterations, tolerance), (generators, place) = budget, _generators(motion, level.grid)

    def judged(warped: Tensor, valid: Tensor, matrices: Tensor) -> tuple[Tensor, Tensor]:
        residual, score = _residual(level, warped, valid)
        return residual, score if pull is None else score - pull.cost(matrices)

    warped, valid = _warped(level, matrices)
    residual, score = judged(warped, valid, matrices)
    design = _design(level, _steepest(generators, place, level.grid, level.fixed.device))
    seen = design * valid.flatten(2)
    normal, count = (seen @ design.transpose(1, 2)).cpu().double(), valid.flatten(1).sum(1).cpu().double()
    damping = torch.full((len(matrices),), 1e-3, dtype=torch.float64)
    active = torch.ones(len(matrices), dtype=torch.bool)
    for _ in range(iterations):
        right = (design @ residual.unsqueeze(-1)).squeeze(-1).cpu().double()
        step = _solve(*_pulled(normal, right, pull, matrices, (generators, place), count), damping)
        trial = torch.where(active[:, None, None], matrices @ _exponential(step, generators, place), matrices)
        after, score_trial = judged(*_warped(level, trial), trial)
        better = active & (score_trial > score)
        moved = _corner_motion(step, generators, place, level.grid)
        matrices = torch.where(better[:, None, None], trial, matrices)
        score = torch.where(better, score_trial, score)
        residual = torch.where(better.to(residual.device)[:, None], after, residual)
        damping = torch.where(better, damping / 5, damping * 10).clamp(min=1e-6)
        # A refused step of a tenth of a voxel is noise, not a slope to follow with smaller ones.
        active &= (moved > torch.where(better, tolerance, 0.1)) & (damping < 10.0)
        if not bool(active.any()):
            break
    return matrices, score


def _design(level: Pyramid, steepest: Tensor) -> Tensor:
    """How the fixed image changes under every generator: ``(B, P, N)``."""
    seen = torch.ones_like(level.fixed) if level.seen is None else level.seen.to(level.fixed.dtype).expand_as(level.fixed)
    fixed = _scaled(level.fixed, seen)
    # A single plane has no slope along z.
    slopes = [
        (torch.gradient(fixed, spacing=step, dim=axis + 2)[0] if fixed.shape[axis + 2] > 1 else 0 * fixed).flatten(1)
        for axis, step in enumerate(level.grid.spacing)
    ]
    return sum(slope[:, None, :] * steepest[None, :, axis] for axis, slope in enumerate(slopes))  # type: ignore[return-value]


def _residual(level: Pyramid, warped: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Difference of the standardised images ``(B, N)`` and their correlation ``(B,)``."""
    one, two, score = _standardised(level, warped, valid)
    return (one - two).flatten(1), score


def _warped(level: Pyramid, matrices: Tensor) -> tuple[Tensor, Tensor]:
    index = affine_index(matrices[:, :-1], level.grid, device=level.fixed.device)
    valid = inside(index, level.grid.shape).unsqueeze(1)
    return sample(level.moving, index), valid if level.seen is None else valid & level.seen


def _shares(level: Pyramid, valid: Tensor) -> Tensor:
    """How much of what is looked at is valid, ``(B,)``."""
    share = valid.float().flatten(1).mean(1)
    return share if level.seen is None else share / level.seen.float().mean()


def _standardised(level: Pyramid, warped: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Both images with mean 0 and variance 1 over the overlap, zero elsewhere, and their correlation."""
    weights = valid.to(level.fixed.dtype)
    one, two = (_scaled(image, weights) * weights for image in (level.fixed, warped))
    count = weights.flatten(1).sum(1).clamp(min=1.0)
    score = ((one * two).flatten(1).sum(1) / count).cpu().double()
    return one, two, torch.where(_shares(level, valid).cpu() < LEAST_OVERLAP, -1.0, score)


def _scaled(image: Tensor, weights: Tensor) -> Tensor:
    """Brought to mean 0 and variance 1 where there is weight."""
    axes = tuple(range(1, image.ndim))
    count = weights.sum(axes, keepdim=True).clamp(min=1.0)
    centred = image - (image * weights).sum(axes, keepdim=True) / count
    return centred / ((centred.square() * weights).sum(axes, keepdim=True) / count).clamp(min=1e-12).sqrt()


def _generators(motion: Motion, grid: Grid) -> tuple[Tensor, tuple[Tensor, float]]:
    """Basis of small motions as ``(P, D+1, D+1)`` in coordinates centred on the grid and scaled to about ±1."""
    ndim = grid.ndim
    basis = []

    def unit(row: int, column: int) -> Tensor:
        matrix = torch.zeros(ndim + 1, ndim + 1, dtype=torch.float64)
        matrix[row, column] = 1.0
        return matrix

    basis += [unit(axis, ndim) for axis in range(ndim)]
    if motion in ("rigid", "similarity"):
        basis += [unit(a, b) - unit(b, a) for a in range(ndim) for b in range(a + 1, ndim)]
    if motion == "similarity":
        basis.append(torch.diag(torch.tensor([1.0] * ndim + [0.0], dtype=torch.float64)))
    if motion == "affine":
        basis += [unit(a, b) for a in range(ndim) for b in range(ndim)]
    return torch.stack(basis), (torch.tensor(grid.centre, dtype=torch.float64), max(grid.extent) / 2)


def _steepest(generators: Tensor, place: tuple[Tensor, float], grid: Grid, device: torch.device) -> Tensor:
    """Velocity of every voxel under every generator, world units: ``(P, D, N)``."""
    return velocity(generators, place, grid.points(device).flatten(1))


def _pulled(
    normal: Tensor,
    right: Tensor,
    pull: Pull | None,
    matrices: Tensor,
    basis: tuple[Tensor, tuple[Tensor, float]],
    count: Tensor,
) -> tuple[Tensor, Tensor]:
    """The normal equations of ``count`` voxels with those of landmarks."""
    if pull is None:
        return normal, right
    more, towards = pull.slopes(matrices, *basis)
    return normal + count[:, None, None] * more, right + count[:, None] * towards


def _solve(normal: Tensor, right: Tensor, damping: Tensor) -> Tensor:
    """Solve the damped normal equations: ``(B, P)``, float64, CPU."""
    diagonal = torch.diagonal(normal, dim1=1, dim2=2)
    ridge = diagonal * damping[:, None] + 1e-9 * diagonal.amax(1, keepdim=True) + 1e-12
    return torch.linalg.solve(normal + torch.diag_embed(ridge), right)


def _exponential(step: Tensor, generators: Tensor, place: tuple[Tensor, float]) -> Tensor:
    """The small motions as world matrices ``(B, D+1, D+1)``; rigid generators give exactly rigid matrices."""
    centre, scale = place
    small = torch.linalg.matrix_exp(torch.einsum("bp,pij->bij", step, generators))
    ndim = len(centre)
    to_local = torch.eye(ndim + 1, dtype=torch.float64)
    to_local[:ndim, :ndim] /= scale
    to_local[:ndim, ndim] = -centre / scale
    return torch.linalg.inv(to_local) @ small @ to_local


def _corner_motion(step: Tensor, generators: Tensor, place: tuple[Tensor, float], grid: Grid) -> Tensor:
    """An upper bound of how far the step moves a corner, voxels: ``(B,)``."""
    _, scale = place
    size = generators.abs().amax(dim=(1, 2))
    return (step.abs() * size).sum(1) * scale * 1.5 / min(grid.spacing)
