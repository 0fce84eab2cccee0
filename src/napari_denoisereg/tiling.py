"""Cut a large image into overlapping tiles and put the results together again.

Tiles carry a *halo* of context that is cut off again. When the halo covers the receptive field of what is applied, and
tiles start at multiples of its total stride, the tiled result equals the untiled one: no seams to blend.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_denoisereg.steps import Pace, Progress, Steps


@dataclass(frozen=True)
class Tile:
    """One tile.

    Parameters
    ----------
    read : tuple of slice
        Where the tile with its halo lies in the image.
    keep : tuple of slice
        Which part of the tile is kept.
    write : tuple of slice
        Where that part goes in the result.
    """

    read: tuple[slice, ...]
    keep: tuple[slice, ...]
    write: tuple[slice, ...]


def tiles(shape: Sequence[int], size: int, halo: int, multiple: int = 1) -> Iterator[Tile]:
    """Cover an image with tiles.

    Parameters
    ----------
    shape : sequence of int
        Spatial shape; multiples of ``multiple``.
    size : int
        Length of the kept part along each axis, rounded up to a multiple of ``multiple``, voxels.
    halo : int
        Context on each side, rounded up likewise, voxels.
    multiple : int
        Total stride of the network.

    Yields
    ------
    Tile
        The kept parts cover the image exactly once.
    """
    step, border = (-(-length // multiple) * multiple for length in (max(size, 1), halo))
    for starts in itertools.product(*(range(0, length, step) for length in shape)):
        read, keep, write = [], [], []
        for start, length in zip(starts, shape, strict=True):
            stop = min(start + step, length)
            low, high = max(0, start - border), min(length, stop + border)
            read.append(slice(low, high))
            keep.append(slice(start - low, stop - low))
            write.append(slice(start, stop))
        yield Tile(tuple(read), tuple(keep), tuple(write))


def apply_tiled(
    function: Callable[[Tensor], Tensor], image: Tensor, *, size: int, halo: int, multiple: int = 1
) -> Steps[Tensor]:
    """Apply a function tile by tile; equal to ``function(image)`` when the halo covers its receptive field.

    Parameters
    ----------
    function : callable
        Maps ``(B, C, *spatial)`` to ``(B, C', *spatial)`` of the same spatial shape.
    image : Tensor
        ``(B, C, *spatial)``; padded with zeros to multiples of ``multiple`` and cropped again.
    size, halo, multiple : int
        See `tiles`.

    Returns
    -------
    Steps of Tensor
        ``(B, C', *spatial)``; one step per tile.
    """
    shape = image.shape[2:]
    padded = pad_to_multiple(image, multiple)
    every = list(tiles(padded.shape[2:], size, halo, multiple))
    result: Tensor | None = None
    pace = Pace()
    for number, tile in enumerate(every, start=1):
        part = _cut(function(_cut(padded, tile.read)), tile.keep)
        if result is None:
            result = torch.empty(*part.shape[:2], *padded.shape[2:], dtype=part.dtype, device=part.device)
        _cut(result, tile.write).copy_(part)
        if pace.is_due(last=number == len(every)):
            yield Progress(number, len(every), "tiles")
    assert result is not None
    return _cut(result, tuple(slice(length) for length in shape))


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Pad at the far ends with zeros, the mean of standardised images, as the convolutions do at every border.

    Not by reflection: a voxel's noise would stand a second time where a blind-spot network can see it.

    Parameters
    ----------
    image : Tensor
        ``(B, C, *spatial)``.
    multiple : int
        What the spatial lengths become multiples of.

    Returns
    -------
    Tensor
        The image, larger by less than ``multiple`` along each axis.
    """
    missing = [-length % multiple for length in image.shape[2:]]
    return F.pad(image, [count for last in reversed(missing) for count in (0, last)])


def _cut(image: Tensor, slices: tuple[slice, ...]) -> Tensor:
    """View of the spatial part of ``(B, C, *spatial)``."""
    return image[(slice(None), slice(None), *slices)]
