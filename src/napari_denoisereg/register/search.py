"""Exhaustive search of rotation and shift at low resolution, by masked normalised cross-correlation in Fourier space.

The overlap of the two images enters the correlation, so shifts of half an image are found as well as small ones. Shared by
the registrars that must not get lost.

References
----------
Padfield 2012, Masked object registration in the Fourier domain, doi:10.1109/TIP.2011.2181402.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_denoisereg.geometry import Affine, Grid, affine_index, inside, resample, sample, smooth

LEAST_OVERLAP = 0.2


@dataclass(frozen=True)
class Candidates:
    """The best poses of each pair, best first.

    Parameters
    ----------
    weights : Tensor
        ``(B, K, D, D+1)``, fixed to moving, world units, float64.
    scores : Tensor
        ``(B, K)``: correlation, discounted for small overlap.
    """

    weights: Tensor
    scores: Tensor


def small_grid(grid: Grid, side: int) -> Grid:
    """A grid of equal spacing along all axes whose longest side has about ``side`` voxels.

    Parameters
    ----------
    grid : Grid
        The full grid.
    side : int
        Voxels.

    Returns
    -------
    Grid
        Never finer than the finest spacing of ``grid``; axes that are coarser than that keep their spacing.
    """
    step = max(max(grid.extent) / side, min(grid.spacing))
    return grid.coarser([max(1.0, step / spacing) for spacing in grid.spacing])


def search(fixed: Tensor, moving: Tensor, grid: Grid, rotations: Tensor, *, side: int, keep: int) -> Candidates:
    """Try every rotation with every shift.

    Parameters
    ----------
    fixed, moving : Tensor
        ``(B, *grid.shape)``.
    grid : Grid
        Of both.
    rotations : Tensor
        ``(K, D, D)``, float64.
    side : int
        Longest side of the images that are compared, voxels.
    keep : int
        How many of the best rotations to return.

    Returns
    -------
    Candidates
        For each of the best rotations its best shift.
    """
    small = small_grid(grid, side)
    both = smooth(resample(torch.stack([fixed, moving], dim=1), grid, small), 0.7)
    padded = [_fast_length(2 * size) for size in small.shape]
    one = _spectra(both[:, 0], torch.ones_like(both[:, 0]), padded)
    scores, shifts = [], []
    # A rotation about the middle, then a shift: T(x) = R (x - c) + c + s.
    for few in _in_batches(len(rotations), max(1, 4_000_000 // (len(fixed) * math.prod(padded)))):
        turned, valid = _turned(both[:, 1], small, rotations[few])
        best, place = _peaks(one, turned, valid, padded, both.shape[0])
        scores.append(best)
        shifts.append(place)
    score, shift = torch.cat(scores, dim=1), torch.cat(shifts, dim=1)
    order = score.argsort(dim=1, descending=True)[:, :keep]
    rows = torch.arange(len(fixed))[:, None]
    return Candidates(_weights(rotations[order], shift[rows, order], small), score[rows, order])


def rotations(ndim: int, step: float, *, in_plane: bool = True) -> Tensor:
    """Rotation matrices that cover all directions.

    Parameters
    ----------
    ndim : int
        2 or 3.
    step : float
        Angle between neighbours, degrees.
    in_plane : bool
        In 3D only about the z axis.

    Returns
    -------
    Tensor
        ``(K, D, D)``, float64; the identity is the first.
    """
    angles = torch.arange(round(360 / step), dtype=torch.float64) * (2 * torch.pi / round(360 / step))
    plane = torch.eye(ndim, dtype=torch.float64).repeat(len(angles), 1, 1)
    plane[:, -2, -2] = plane[:, -1, -1] = torch.cos(angles)
    plane[:, -2, -1], plane[:, -1, -2] = -torch.sin(angles), torch.sin(angles)
    if ndim == 2 or in_plane:
        return plane
    # Directions of the turned z axis on a spiral (evenly spaced), each with all rotations about it.
    count = max(2, round(4 * math.pi / math.radians(step) ** 2))
    tilts = torch.stack([_tilt(number, count) for number in range(count)])
    return (tilts[:, None] @ plane[None]).reshape(-1, 3, 3)


def _tilt(number: int, count: int) -> Tensor:
    """Rotation that takes the z axis (first axis) to point ``number`` of a spherical spiral; the first is the identity."""
    height = 1 - 2 * number / (count - 1)
    azimuth = number * math.pi * (3 - math.sqrt(5))
    side = math.sqrt(max(0.0, 1 - height**2))
    z = torch.tensor([height, side * math.sin(azimuth), side * math.cos(azimuth)], dtype=torch.float64)
    first = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    if height <= -1 + 1e-9:
        return torch.diag(torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64))
    axis = torch.linalg.cross(first, z)
    cross = torch.tensor([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]], dtype=torch.float64)
    return torch.eye(3, dtype=torch.float64) + cross + cross @ cross / (1 + height)


def _turned(moving: Tensor, grid: Grid, turns: Tensor) -> tuple[Tensor, Tensor]:
    """Every moving image turned about the middle: ``(B, K, *shape)`` each, and where it is valid."""
    weights = torch.stack([Affine.about(turn, torch.zeros(grid.ndim), grid.centre).weights for turn in turns])
    index = affine_index(weights, grid, device=moving.device)
    valid = inside(index, grid.shape)
    # One read per rotation, all images at once as channels.
    stacked = moving.unsqueeze(0).expand(len(turns), *moving.shape)
    turned = sample(stacked, index).transpose(0, 1)
    return turned, valid.unsqueeze(0).expand_as(turned).to(moving.dtype)


def _spectra(image: Tensor, valid: Tensor, padded: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    axes = tuple(range(-len(padded), 0))
    mean = (image * valid).sum(axes, keepdim=True) / valid.sum(axes, keepdim=True).clamp(min=1)
    std = ((image - mean) ** 2 * valid).sum(axes, keepdim=True).sqrt().clamp(min=1e-12)
    # Centring and scaling keep float32 sums accurate; the correlation does not change.
    image = (image - mean) / std * valid
    return (
        torch.fft.rfftn(image, s=padded, dim=axes),
        torch.fft.rfftn(image**2, s=padded, dim=axes),
        torch.fft.rfftn(valid, s=padded, dim=axes),
    )


def _peaks(
    one: tuple[Tensor, Tensor, Tensor], turned: Tensor, valid: Tensor, padded: list[int], batch: int
) -> tuple[Tensor, Tensor]:
    """Best score ``(B, K)`` and its shift in voxels ``(B, K, D)`` for every turned image."""
    axes = tuple(range(-len(padded), 0))
    two = _spectra(turned, valid, padded)
    first = [spectrum.unsqueeze(1) for spectrum in one]

    def against(left: Tensor, right: Tensor) -> Tensor:
        return torch.fft.irfftn(left.conj() * right, s=padded, dim=axes)

    overlap = against(first[2], two[2]).round().clamp(min=0)
    count = overlap.clamp(min=1)
    sum_one, sum_two = against(first[0], two[2]), against(first[2], two[0])
    product = against(first[0], two[0]) - sum_one * sum_two / count
    variance = (against(first[1], two[2]) - sum_one**2 / count) * (against(first[2], two[1]) - sum_two**2 / count)
    correlation = product / variance.clamp(min=1e-12).sqrt()
    share = overlap / overlap.amax(axes, keepdim=True).clamp(min=1)
    # A high correlation over a small overlap is less telling: its standard error falls with the root of the overlap.
    score = torch.where((share >= LEAST_OVERLAP) & (variance > 1e-9), correlation.clamp(-1, 1) * share**0.25, -1.0)
    best, place = score.flatten(2).max(dim=2)
    shift = torch.stack(torch.unravel_index(place.cpu(), tuple(padded)), dim=-1).double()
    size = torch.tensor(padded, dtype=torch.float64)
    return best.cpu().double(), torch.where(shift > size / 2, shift - size, shift).reshape(batch, -1, len(padded))


def _weights(turns: Tensor, shifts: Tensor, grid: Grid) -> Tensor:
    """Poses in world units from rotations ``(B, K, D, D)`` and the shifts of the turned images, voxels ``(B, K, D)``.

    The correlation peak at shift s says fixed(x) = turned(x + s), hence T(x) = R (x + s - c) + c.
    """
    centre = torch.tensor(grid.centre, dtype=torch.float64)
    moved = shifts * torch.tensor(grid.spacing, dtype=torch.float64) - centre
    offset = (turns @ moved[..., None]).squeeze(-1) + centre
    return torch.cat([turns, offset[..., None]], dim=-1)


def _fast_length(length: int) -> int:
    """Smallest length not below this with factors 2, 3 and 5 only."""
    fast = (2**two * 3**three * 5**five for two, three, five in itertools.product(range(14), range(6), range(4)))
    return min(candidate for candidate in fast if candidate >= length)


def _in_batches(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
