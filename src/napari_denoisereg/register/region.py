"""Region: only a part of the frames is looked at, whatever the registrar; its transforms hold for the whole frame.

Registrars get frames that are cut to the region's bounding box. What lies in the box but not in the region is replaced by the
region's own brightness, carried on outwards ever more smoothly ("push-pull"). So nothing outside is seen, and there is no edge
at the rim of the region that would stay, or move, with the mask instead of with the specimen. Frames keep their place in the
world, so nothing has to be translated afterwards.

References
----------
Gortler, Grzeszczuk, Szeliski, Cohen 1996, The lumigraph, doi:10.1145/237170.237200 (push-pull).
"""

from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_denoisereg.checks import inspect
from napari_denoisereg.geometry import Grid
from napari_denoisereg.stack import Frame, Stack
from napari_denoisereg.steps import Pace, Progress, Steps, portion

LEAST_VOXELS = 16
"""A smaller region shows nothing that could be recognised."""
LEAST_SIDE = 16
"""Voxels: a smaller box is widened where there is room."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Region:
    """Where to look in every frame.

    Parameters
    ----------
    mask : array
        ``(*spatial)`` for all frames alike, or ``(T, *spatial)``; what is not 0 counts.
    box : tuple of slice
        The smallest that holds every frame's mask, and not too small for a registrar.
    is_whole : bool
        Whether everything counts.
    """

    mask: Any
    box: tuple[slice, ...]
    is_whole: bool

    @property
    def is_followed(self) -> bool:
        """Whether one mask marks what is to be followed, instead of one for every frame."""
        return not self.is_whole and len(self.mask.shape) == len(self.box)

    def of_frame(self, number: int) -> Mask:
        """The mask of a frame within the box.

        Parameters
        ----------
        number : int
            Counted from 0.

        Returns
        -------
        ndarray
            bool, the shape of the box.
        """
        chosen = self.mask[number] if len(self.mask.shape) > len(self.box) else self.mask
        return np.asarray(chosen[self.box]) != 0

    def confine(self, stack: Stack) -> Stack:
        """Frames of which only the region is to be seen, lazily.

        Parameters
        ----------
        stack : Stack
            Without channel axis, of the size the region was made for.

        Returns
        -------
        Stack
            float32, cut to the box, at its place in the world; the stack itself where the region is everything.
        """
        if self.is_whole:
            return stack
        grid = stack.grid
        origin = tuple(o + cut.start * step for o, cut, step in zip(grid.origin, self.box, grid.spacing, strict=True))
        small = Grid(tuple(cut.stop - cut.start for cut in self.box), grid.spacing, origin, grid.units)

        def change(number: int, frame: Frame) -> Frame:
            return continued(frame[self.box].astype(np.float32), self.of_frame(number))

        return stack.with_grid(stack.map_frames(change, np.float32, small), small)


def region_of(mask: Any, stack: Stack) -> Steps[Region]:
    """Look at a mask and refuse what cannot be a region.

    Parameters
    ----------
    mask : array or Stack
        ``(*spatial)`` for all frames, or ``(T, *spatial)``: what is not 0 counts. A mask of which a single frame is drawn, or
        that is the same in all frames, holds for all of them: what it marks in the first frame is followed.
    stack : Stack
        What is to be registered, without channel axis.

    Returns
    -------
    Steps of Region
        One frame of the mask and of the stack at a time.

    Raises
    ------
    ValueError
        When the mask does not fit the stack, is empty (in some frames), or hardly anything or nothing but one value is in it.
    """
    drawn, grid = _fitting(mask, stack), stack.grid
    count = drawn.shape[0] if len(drawn.shape) > grid.ndim else 1
    bounds, filled, pace, first, is_same = list[tuple[list[int], list[int]] | None](), 0, Pace(), None, count > 1
    for number in range(count):
        one = np.asarray(drawn[number] if len(drawn.shape) > grid.ndim else drawn) != 0
        first = one if first is None else first
        is_same = is_same and np.array_equal(one, first)
        voxels = int(one.sum())
        if 0 < voxels < LEAST_VOXELS:
            where = f" in frame {number}" if count > 1 else ""
            raise ValueError(
                f"Expected a region of at least {LEAST_VOXELS} voxels, got {voxels}{where}; mark all of what is to be followed."
            )
        bounds.append(_bounds(one) if voxels else None)
        filled += voxels
        if pace.is_due(last=number + 1 == count):
            yield Progress(number + 1, 2 * count, "looking at the region")
    there = [each for each in bounds if each is not None]
    if not there:
        raise ValueError("The region is empty: nothing is marked in it; mark what is to be followed.")
    if len(there) == 1 and count > 1:
        drawn, count = drawn[next(t for t, each in enumerate(bounds) if each is not None)], 1
    elif is_same:
        # The specimen moves, the mask does not: it was drawn once, and marks what is to be followed.
        drawn, filled, count = drawn[0], filled // count, 1
    elif len(there) < count:
        gone = [number for number, each in enumerate(bounds) if each is None]
        named = ", ".join(map(str, gone[:12])) + (f" and {len(gone) - 12} more" if len(gone) > 12 else "")
        raise ValueError(
            f"The region is empty in frame {named}; mark it in every frame, or in one frame only, which then holds for all."
        )
    low, high = (np.array([each[side] for each in there]) for side in (0, 1))
    box = _widened(low.min(0), high.max(0), grid.shape)
    region = Region(drawn, box, filled == count * int(np.prod(grid.shape)))
    try:
        yield from portion(inspect(region.confine(stack), least_frames=1), 0.5, 1.0, "looking at the region")
    except ValueError as error:
        raise ValueError(f"Within the region: {error}") from error
    return region


def continued(image: NDArray[np.float32], mask: Mask) -> NDArray[np.float32]:
    """Replace what a mask leaves out by what is in it, carried on smoothly.

    Parameters
    ----------
    image : ndarray
        ``(*spatial)``.
    mask : ndarray
        bool, same shape; somewhere true.

    Returns
    -------
    ndarray
        The same where the mask is true.
    """
    if mask.all():
        return image
    weight = torch.from_numpy(mask.astype(np.float32))[None, None]
    # Taken at the mean of the region, so that large offsets cost no precision.
    level = float(image[mask].mean(dtype=np.float64))
    values = torch.from_numpy(np.where(mask, image - np.float32(level), 0).astype(np.float32))[None, None]
    return np.where(mask, image, _push_pull(values, weight)[0, 0].numpy() + np.float32(level)).astype(np.float32)


def _push_pull(values: Tensor, weight: Tensor) -> Tensor:
    """Values where there is weight, else those of ever coarser means: ``(1, 1, *spatial)``."""
    if bool((weight > 0).all()):
        return values
    pool, mode = (F.avg_pool2d, "bilinear") if values.ndim == 4 else (F.avg_pool3d, "trilinear")
    sides = [min(2, size) for size in values.shape[2:]]
    total, share = (pool(each, sides, ceil_mode=True, count_include_pad=False) for each in (values * weight, weight))
    # Partly seen places count fully from here on: their mean is the best that is known there.
    coarse = _push_pull(total / share.clamp(min=1e-6), (share > 0).to(weight))
    around = F.interpolate(coarse, values.shape[2:], mode=mode, align_corners=False)
    return torch.where(weight > 0, values, around)


def _fitting(mask: Any, stack: Stack) -> Any:
    """The mask as an array with or without a leading frame axis."""
    if isinstance(mask, Stack):
        if mask.n_channels > 1:
            raise ValueError(f"Expected a region without channels, got {mask!r}; take one of them with .channel(number).")
        one = mask.channel(0)
        is_movie = one.spatial_axes == stack.spatial_axes
        drawn = da.moveaxis(one.lazy(), one.axes.index(one.frame_axis), 0) if is_movie else one.data
    else:
        drawn = mask if hasattr(mask, "shape") and hasattr(mask, "dtype") else np.asarray(mask)
    if np.dtype(drawn.dtype).kind not in "bui":
        raise ValueError(
            f"Expected a region of whole numbers or true and false, got {drawn.dtype}; make it with e.g. image > 100."
        )
    space, shape = stack.grid.shape, tuple(int(size) for size in drawn.shape)
    if shape == (1, *space):
        return drawn[0]
    if shape not in (space, (stack.n_frames, *space)):
        raise ValueError(
            f"Expected a region of shape {space} (all frames) or {(stack.n_frames, *space)} (one per frame), got {shape}; "
            "make it on the movie itself."
        )
    return drawn


def _bounds(mask: Mask) -> tuple[list[int], list[int]]:
    """First voxel and the one after the last along each axis."""
    others = [tuple(axis for axis in range(mask.ndim) if axis != own) for own in range(mask.ndim)]
    along = [np.flatnonzero(mask.any(axis=rest)) for rest in others]
    return [int(each[0]) for each in along], [int(each[-1]) + 1 for each in along]


def _widened(low: NDArray[np.int64], high: NDArray[np.int64], shape: tuple[int, ...]) -> tuple[slice, ...]:
    box = []
    for start, stop, size in zip(low.tolist(), high.tolist(), shape, strict=True):
        missing = max(0, min(LEAST_SIDE, size) - (stop - start))
        first = min(max(0, start - missing // 2), size - (stop - start) - missing)
        box.append(slice(first, first + (stop - start) + missing))
    return tuple(box)
