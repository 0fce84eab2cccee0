"""The joint network of DenoiseReg and its loss (eq. 4): one encoder denoises two images and tells how one moved.

Coordinates are centred on the image and scaled so that its longest side reaches from -1 to 1 (`to_world` converts).

References
----------
DenoiseReg: Unsupervised Joint Denoising and Registration of Time-Lapse Live Cell Microscopy Images Using Deep Learning, ISBI
2022, eq. 1 to 4.
"""

import math

import torch
from torch import Tensor, nn

from napari_denoisereg.geometry import Grid, affine_points, inside, sample
from napari_denoisereg.networks.affine_head import AffineHead
from napari_denoisereg.networks.blind_spot import Masked, blind_spot_loss
from napari_denoisereg.networks.blind_spot_unet import WIDTHS, BlindSpotUNet


class DenoiseRegNet(nn.Module):
    """Blind-spot U-Net with an affine head on its last encoder block.

    Parameters
    ----------
    ndim : int
        2 or 3.
    widths : tuple of int
        Features of the encoder blocks.
    """

    def __init__(self, ndim: int, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.denoiser = BlindSpotUNet(ndim, widths)
        self.head = AffineHead(ndim, widths[-1])

    def predict(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Transforms of a batch of pairs, without denoising them.

        Parameters
        ----------
        fixed, moving : Tensor
            ``(B, 1, *spatial)``, standardised; sides are multiples of the denoiser's stride.

        Returns
        -------
        Tensor
            ``(B, D, D+1)``, see `AffineHead.forward`.
        """
        return self.head(self.denoiser.encode(fixed)[-1], self.denoiser.encode(moving)[-1])


def joint_loss(network: DenoiseRegNet, noisy: tuple[Tensor, Tensor], hidden: tuple[Masked, Masked], grid: Grid) -> Tensor:
    """DenoiseReg eq. 4: ``½ [rec(F) + rec(M)] + ½ [reg(F', M' ∘ Φ_MF) + reg(M', F' ∘ Φ_FM)]``.

    ``rec`` is the masked mean absolute difference (eq. 1) and ``reg`` the mean squared difference between denoised images
    (eq. 3) where the warped one is defined. Gradients to the denoised images are blocked in ``reg``: otherwise blurring
    them would be the easiest way to make them alike.

    Parameters
    ----------
    network : DenoiseRegNet
        The network.
    noisy : tuple of Tensor
        Fixed and moving, ``(B, 1, *grid.shape)``, standardised.
    hidden : tuple of Masked
        The same with hidden voxels.
    grid : Grid
        Unit grid of the images.

    Returns
    -------
    Tensor
        A scalar.
    """
    # Both images in one pass: twice as fast, and the normalisation sees them together.
    count = len(noisy[0])
    features = network.denoiser.encode(torch.cat([one.image for one in hidden]))
    denoised = network.denoiser.decode(features).float()
    mask = torch.cat([one.mask for one in hidden])
    reconstruction = blind_spot_loss(denoised, torch.cat(noisy), mask)
    fixed, moving = features[-1][:count], features[-1][count:]
    forward, backward = network.head(fixed, moving), network.head(moving, fixed)
    one, two = denoised.detach()[:count], denoised.detach()[count:]
    registration = warped_difference(one, two, forward, grid) + warped_difference(two, one, backward, grid)
    return reconstruction + 0.5 * registration


def warped_difference(fixed: Tensor, moving: Tensor, weights: Tensor, grid: Grid) -> Tensor:
    """DenoiseReg eq. 3: mean squared difference between the fixed and the warped moving image, where that is defined.

    Parameters
    ----------
    fixed, moving : Tensor
        ``(B, 1, *grid.shape)``.
    weights : Tensor
        ``(B, D, D+1)`` in centred, scaled coordinates.
    grid : Grid
        Of both.

    Returns
    -------
    Tensor
        A scalar; 0 at a perfect match.
    """
    points = grid.points(fixed.device)
    index = affine_points(to_world(weights, grid), points)
    index = grid.to_index(index.transpose(0, 1)).transpose(0, 1)
    valid = inside(index, grid.shape).unsqueeze(1).float()
    return ((fixed - sample(moving, index)) ** 2 * valid).sum() / valid.sum().clamp(min=1)


def to_world(weights: Tensor, grid: Grid) -> Tensor:
    """From centred, scaled coordinates to world units.

    Parameters
    ----------
    weights : Tensor
        ``(B, D, D+1)``.
    grid : Grid
        Whose middle is 0 and whose longest half side is 1.

    Returns
    -------
    Tensor
        ``(B, D, D+1)``; differentiable.
    """
    centre = torch.tensor(grid.centre, dtype=weights.dtype, device=weights.device)
    scale = max(grid.extent) / 2
    linear, shift = weights[:, :, :-1], weights[:, :, -1]
    offset = centre + scale * shift - linear @ centre
    return torch.cat([linear, offset[:, :, None]], dim=2)


def match_histogram(moving: Tensor, fixed: Tensor) -> Tensor:
    """Give each moving image the intensity distribution of its fixed image.

    Parameters
    ----------
    moving, fixed : Tensor
        ``(B, 1, *spatial)``, same shape.

    Returns
    -------
    Tensor
        The moving images with their ranks kept and the fixed images' values; equal values stay equal.
    """
    pairs = zip(moving, fixed, strict=True)
    return torch.stack([_matched(one.flatten(), other.flatten()).reshape(one.shape) for one, other in pairs])


def _matched(moving: Tensor, fixed: Tensor) -> Tensor:
    """Values of the fixed image by rank; equal values stay equal (they get the mean over their ranks)."""
    _, ranks, counts = moving.unique(return_inverse=True, return_counts=True)
    ends = counts.cumsum(0)
    sums = nn.functional.pad(fixed.sort().values.double().cumsum(0), (1, 0))
    return ((sums[ends] - sums[ends - counts]) / counts).to(moving.dtype)[ranks]


def longest_side(grid: Grid) -> float:
    """Longest side of a grid, in voxels of its finest axis.

    Parameters
    ----------
    grid : Grid
        Of a frame.

    Returns
    -------
    float
        Voxels.
    """
    return max(grid.extent) / min(grid.spacing)


def shrink(frames: Tensor, grid: Grid, size: int) -> tuple[Tensor, Grid]:
    """Average blocks of voxels until the longest side is at most ``size``.

    Means of disjoint blocks keep noise independent from voxel to voxel, as a blind-spot network needs it; a smooth
    interpolation would not.

    Parameters
    ----------
    frames : Tensor
        ``(B, *grid.shape)``.
    grid : Grid
        Of the frames.
    size : int
        Longest side wanted, voxels of the finest axis; 0 leaves frames as they are.

    Returns
    -------
    tuple of Tensor, Grid
        ``(B, 1, *small.shape)`` and its grid; remainders at the far ends are cut off.
    """
    # A hair less than the quotient: rounding must not make 3.0000001 a 4.
    factor = 1 if size == 0 else math.ceil(longest_side(grid) / size - 1e-6)
    each = [
        max(1, min(round(factor * min(grid.spacing) / step), length // 8))
        for step, length in zip(grid.spacing, grid.shape, strict=True)
    ]
    pool = {2: nn.functional.avg_pool2d, 3: nn.functional.avg_pool3d}[grid.ndim]
    small = pool(frames.unsqueeze(1), each)
    coarse = grid.coarser(each)
    return small, Grid(tuple(small.shape[2:]), coarse.spacing, coarse.origin, grid.units)
