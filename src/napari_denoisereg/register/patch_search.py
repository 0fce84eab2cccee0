"""Patch search: small patches of an image, each found in the other image on its own, and a motion for every voxel from them.

Patches overlap. Each begins where the coarser resolution, or later a neighbour, has found itself, and goes down on the squared
difference by inverse compositional Gauss-Newton steps: slopes are those of the fixed image, made once. Means are taken out, so
brightness may change. A patch that runs away goes back to where it began. Every voxel then moves as the patches that cover it
do, those more that fit better there. Nothing is smoothed over edges: what is cell may move, what is background may rest.

References
----------
Kroeger, Timofte, Dai, Van Gool 2016, Fast optical flow using dense inverse search, doi:10.1007/978-3-319-46493-0_29. Theirs
gets a variational refinement, which ours does not; ours takes several channels and any number of axes, and patches take over
what their neighbours found.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_denoisereg.geometry import inside, sample

ROUNDS = 3  # of going down, each after neighbours were asked
STEPS = 5  # down, per round
DAMPING = 0.1  # of the usual slopes: patches that show little stay near where they began
LEAST_SEEN = 0.25  # of a patch that must be in the moving image
BEYOND = 10.0  # power of that share by which a patch is believed less: what leaves the image fits anything
LEAST_MISFIT = 0.1  # of the image's standard deviation: what fits better counts no more


@dataclass(frozen=True, eq=False)
class Patches:
    """Patches of the fixed image.

    Parameters
    ----------
    nodes : tuple of int
        How many there are along each axis.
    places : Tensor
        Their voxels, ``(D, P, K)``, indices.
    template : Tensor
        What they show, ``(C, P, K)``, of mean 0.
    slopes : Tensor
        Its derivatives ``(C, D, P, K)``, of mean 0.
    """

    nodes: tuple[int, ...]
    places: Tensor
    template: Tensor
    slopes: Tensor


def search_patches(fixed: Tensor, moving: Tensor, start: Tensor, *, size: int) -> Tensor:
    """Find the patches of one image in another.

    Parameters
    ----------
    fixed, moving : Tensor
        ``(C, *shape)``, channels of about unit variance.
    start : Tensor
        Where to begin: displacement ``(D, *shape)``, voxels.
    size : int
        Side of the patches, voxels; less along short axes.

    Returns
    -------
    Tensor
        ``(D, *shape)``: displacement of every voxel of the fixed image, voxels.
    """
    patches = _cut(fixed, size)
    middle = patches.places.float().mean(2).round().long()
    begin = start.flatten(1)[:, _numbers(middle, fixed.shape[1:])]
    curvature = torch.einsum("cdpk,cepk->pde", patches.slopes, patches.slopes)
    usual = curvature.diagonal(dim1=1, dim2=2).mean().clamp(min=1e-12)
    inverse = torch.linalg.inv(curvature + DAMPING * usual * torch.eye(len(start), device=start.device))
    motion, (difference, misfit) = begin, _difference(patches, moving, begin)
    best = begin
    for number in range(ROUNDS):
        if number:
            motion = best = _asked(patches, moving, best, misfit)
            difference, misfit = _difference(patches, moving, best)
        for _ in range(STEPS):
            pull = torch.einsum("cdpk,cpk->pd", patches.slopes, difference)
            motion = motion - torch.einsum("pde,pe->dp", inverse, pull)
            motion = torch.where((motion - begin).norm(dim=0) > size, best, motion)
            difference, other = _difference(patches, moving, motion)
            best, misfit = _better(best, misfit, motion, other)
    return _spread(patches, best, _difference(patches, moving, best)[0], fixed.shape[1:])


def _cut(image: Tensor, size: int) -> Patches:
    shape, device = image.shape[1:], image.device
    sides = [min(size, length) for length in shape]
    corners = [_corners(length, side, device) for length, side in zip(shape, sides, strict=True)]
    nodes = tuple(len(each) for each in corners)
    first = torch.stack([axis.flatten() for axis in torch.meshgrid(*corners, indexing="ij")])
    offsets = [torch.arange(side, device=device) for side in sides]
    inner = torch.stack([axis.flatten() for axis in torch.meshgrid(*offsets, indexing="ij")])
    places = first[:, :, None] + inner[:, None, :]
    slopes = torch.stack(
        [
            torch.gradient(image, dim=axis + 1)[0] if length > 1 else torch.zeros_like(image)
            for axis, length in enumerate(shape)
        ],
        dim=1,
    )
    at = _numbers(places, shape)
    return Patches(nodes, places, _centred(image.flatten(1)[:, at]), _centred(slopes.flatten(2)[:, :, at]))


def _numbers(places: Tensor, shape: Sequence[int]) -> Tensor:
    """Numbers of voxels ``(D, ...)`` in the order that they lie in memory."""
    number = torch.zeros_like(places[0])
    for place, length in zip(places, shape, strict=True):
        number = number * length + place
    return number


def _corners(length: int, side: int, device: torch.device) -> Tensor:
    """Where patches begin along an axis: they overlap by half, and the last one ends with the axis."""
    stride = max(1, side // 2)
    return torch.cat([torch.arange(0, length - side, stride, device=device), torch.tensor([length - side], device=device)])


def _centred(values: Tensor) -> Tensor:
    return values - values.mean(-1, keepdim=True)


def _difference(patches: Patches, moving: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
    """What the moving image shows there less the patch ``(C, P, K)``, of mean 0, 0 beyond the border; the misfit ``(P,)``."""
    index = patches.places + motion[:, :, None]
    seen = inside(index[None], moving.shape[1:])[0].float()
    count = seen.sum(-1, keepdim=True)
    difference = (sample(moving[None], index[None])[0] - patches.template) * seen
    difference = (difference - difference.sum(-1, keepdim=True) / count.clamp(min=1)) * seen
    share = count[:, 0] / seen.shape[-1]
    misfit = difference.square().sum((0, 2)) / share.clamp(min=LEAST_SEEN) ** BEYOND
    return difference, torch.where(share < LEAST_SEEN, torch.inf, misfit)


def _better(best: Tensor, misfit: Tensor, motion: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    return torch.where(other < misfit, motion, best), torch.minimum(other, misfit)


def _asked(patches: Patches, moving: Tensor, best: Tensor, misfit: Tensor) -> Tensor:
    """Take over the motion of a neighbour where it fits better."""
    found = best.reshape(-1, *patches.nodes)
    for axis in range(1, found.ndim):
        for shift in (1, -1):
            theirs = found.roll(shift, dims=axis).flatten(1)
            best, misfit = _better(best, misfit, theirs, _difference(patches, moving, theirs)[1])
    return best


def _spread(patches: Patches, motion: Tensor, difference: Tensor, shape: Sequence[int]) -> Tensor:
    """A motion for every voxel: the mean of the patches that cover it, each by how well it fits there."""
    weight = 1 / (difference.square().mean(0).sqrt() + LEAST_MISFIT)
    values = torch.cat([motion[:, :, None] * weight, weight[None]]).flatten(1)
    total = torch.zeros(len(values), math.prod(shape), device=motion.device)
    total.index_add_(1, _numbers(patches.places, shape).flatten(), values)
    return (total[:-1] / total[-1:]).reshape(-1, *shape)
