"""Frames of stacks: in batches, at random for training, and arrays to write results to.

Memory is bounded by settings, not by the stack: frames are read when they are needed.
"""

import functools
import math
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import zarr
from torch import Tensor

from napari_denoisereg import device as devices
from napari_denoisereg.geometry import Grid
from napari_denoisereg.networks.blind_spot_unet import BlindSpotUNet, predict
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Pace, Progress, Steps


class FramePool:
    """Random frames of stacks for training, standardised; only some of them are in memory at a time.

    Each stack is standardised by its own mean and standard deviation (of at most 32 evenly spaced frames), so that
    brightness changes within a stack stay what they are.

    Parameters
    ----------
    stacks : sequence of Stack
        Same number of spatial axes, no channel axis.
    size : int, optional
        Frames kept in memory, by default as many as fit in an eighth of what is free, at most 64. Where there are more, the
        oldest is exchanged for each one that is drawn anew.
    seed : int
        Seed of the draws.

    Raises
    ------
    ValueError
        When there are no stacks or their frames differ in dimension.
    """

    def __init__(self, stacks: Sequence[Stack], *, size: int | None = None, seed: int = 0) -> None:
        if len({stack.grid.ndim for stack in stacks}) != 1:
            raise ValueError(f"Expected stacks whose frames have the same number of axes, got {list(stacks)}.")
        self._stacks = tuple(stacks)
        self._scales = tuple(standardisation(stack) for stack in stacks)
        self._random = np.random.default_rng(seed)
        self._all = [(number, frame) for number, stack in enumerate(stacks) for frame in range(stack.n_frames)]
        fitting = devices.free_memory() // 8 // (4 * max(math.prod(stack.grid.shape) for stack in stacks))
        self._size = size or max(2, min(64, fitting))
        self._kept: dict[tuple[int, int], Tensor] = {}

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return self._stacks[0].grid.ndim

    def frame(self) -> Tensor:
        """Draw a frame.

        Returns
        -------
        Tensor
            ``(*spatial)``, standardised.
        """
        return self._read(self._all[int(self._random.integers(len(self._all)))])

    def pairs(self, count: int, reach: int) -> tuple[list[tuple[Tensor, Tensor]], Grid]:
        """Draw pairs of frames, all of one stack.

        Parameters
        ----------
        count : int
            How many.
        reach : int
            The two are at most so many frames apart, at least one.

        Returns
        -------
        tuple of list and Grid
            Pairs of ``(*spatial)``, standardised, and their grid.

        Raises
        ------
        ValueError
            When the stack has a single frame.
        """
        number, _ = self._all[int(self._random.integers(len(self._all)))]
        stack = self._stacks[number]
        if stack.n_frames < 2:
            raise ValueError(f"Expected at least two frames to make pairs of, got {stack!r}; leave it out of the training.")
        drawn = []
        for _ in range(count):
            frame = int(self._random.integers(stack.n_frames))
            others = [t for t in range(max(0, frame - reach), min(stack.n_frames, frame + reach + 1)) if t != frame]
            other = others[int(self._random.integers(len(others)))]
            drawn.append((self._read((number, frame)), self._read((number, other))))
        return drawn, stack.grid

    def patches(self, count: int, size: int) -> Tensor:
        """Draw patches, each from its own frame.

        Parameters
        ----------
        count : int
            How many.
        size : int
            Length of the sides, voxels; axes shorter than that give what they have, rounded down to a multiple of 8
            (an axis shorter than 8 is filled up to 8 with exact zeros).

        Returns
        -------
        Tensor
            ``(count, 1, *patch)``, standardised.
        """
        return torch.stack([self._patch(size) for _ in range(count)]).unsqueeze(1)

    def _patch(self, size: int) -> Tensor:
        frame = self.frame()
        shortest = [min(stack.grid.shape[axis] for stack in self._stacks) for axis in range(self.ndim)]
        for axis, length in enumerate(shortest):
            side = max(8, min(size, length) // 8 * 8)
            if frame.shape[axis] < side:
                # Not by reflection: noise must not stand twice in a patch (see `tiling.pad_to_multiple`).
                rest = [*frame.shape[:axis], side - frame.shape[axis], *frame.shape[axis + 1 :]]
                frame = torch.cat([frame, frame.new_zeros(rest)], dim=axis)
            start = int(self._random.integers(frame.shape[axis] - side + 1))
            frame = frame.narrow(axis, start, side)
        for axis in range(self.ndim):
            if self._random.random() < 0.5:
                frame = frame.flip(axis)
        return frame

    def _read(self, place: tuple[int, int]) -> Tensor:
        if place not in self._kept:
            if len(self._kept) >= self._size:
                del self._kept[next(iter(self._kept))]
            mean, std = self._scales[place[0]]
            self._kept[place] = (self._stacks[place[0]].tensor([place[1]])[0] - mean) / std
        return self._kept[place]


def standardisation(stack: Stack) -> tuple[float, float]:
    """Mean and standard deviation of a stack, from at most 32 evenly spaced frames.

    Parameters
    ----------
    stack : Stack
        Without channel axis.

    Returns
    -------
    tuple of float
        ``mean, std``; the same at every call.
    """
    chosen = np.unique(np.linspace(0, stack.n_frames - 1, min(32, stack.n_frames)).round().astype(int))
    moments = [(float(f.mean()), float((f**2).mean())) for f in (stack.frame(int(t)).astype(np.float64) for t in chosen)]
    mean, square = (float(value) for value in np.mean(moments, axis=0))
    return mean, math.sqrt(max(square - mean**2, 1e-30))


def batches(n_frames: int, size: int) -> Iterator[range]:
    """Frame numbers in batches.

    Parameters
    ----------
    n_frames, size : int
        How many in all, how many at most in one batch.

    Yields
    ------
    range
        Consecutive frame numbers.
    """
    for start in range(0, n_frames, size):
        yield range(start, min(start + size, n_frames))


def result_array(shape: Sequence[int], dtype: Any, chunks: Sequence[int]) -> Any:
    """A writable array: in memory when it takes at most a quarter of what is free, else a temporary zarr on disk.

    Parameters
    ----------
    shape, chunks : sequence of int
        Of the array.
    dtype : dtype
        Of the array.

    Returns
    -------
    numpy.ndarray or zarr.Array
        Zeros. A temporary array is deleted with the process's last reference to it.

    Raises
    ------
    OSError
        When neither memory nor the temporary folder has room.
    """
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if n_bytes > devices.free_memory() // 4 and n_bytes > shutil.disk_usage(tempfile.gettempdir()).free:
        raise OSError(
            f"The result needs {n_bytes / 1e9:.1f} GB, which neither memory nor the temporary folder "
            f"{tempfile.gettempdir()} has; set TMPDIR to a folder on a larger disk."
        )
    if n_bytes <= devices.free_memory() // 4:
        return np.zeros(shape, dtype)
    folder = tempfile.mkdtemp(prefix="denoisereg-")
    array = zarr.create_array(store=folder, shape=tuple(shape), dtype=dtype, chunks=tuple(chunks), overwrite=True)
    weakref.finalize(array.store, shutil.rmtree, folder, ignore_errors=True)
    return array


def denoise_with_network(
    stack: Stack, network: BlindSpotUNet, *, tile: int, device: torch.device | str, step: Mapping[str, Any]
) -> Steps[Stack]:
    """Denoise a stack with a trained blind-spot network.

    Parameters
    ----------
    stack : Stack
        Without channel axis; standardised by its own statistics.
    network : BlindSpotUNet
        Trained.
    tile : int
        Largest side of a tile, voxels.
    device : torch.device or str
        Where to compute.
    step : mapping
        For the history.

    Returns
    -------
    Steps of Stack
        See `denoise_frames`.
    """
    network.eval()
    mean, std = standardisation(stack)

    def denoise(noisy: Tensor) -> Tensor:
        return predict(network.to(noisy.device), (noisy - mean) / std, tile) * std + mean

    batch = max(1, 8 * 512**2 // math.prod(stack.grid.shape))
    return (yield from denoise_frames(stack, denoise, device=device, batch=batch, step=step))


def denoise_frames(
    stack: Stack,
    denoise: Callable[[Tensor], Tensor],
    *,
    device: torch.device | str,
    batch: int,
    step: Mapping[str, Any],
) -> Steps[Stack]:
    """Write a denoised stack batch by batch; when the GPU runs out of memory try smaller batches, then the CPU.

    Parameters
    ----------
    stack : Stack
        What to denoise.
    denoise : callable
        Maps frames ``(N, 1, *spatial)`` on a device to denoised frames of the same shape.
    device : torch.device or str
        Where to compute.
    batch : int
        Frames at a time.
    step : mapping
        For the history.

    Returns
    -------
    Steps of Stack
        float32, named ``"<name> [denoised]"``.
    """
    result = result_array(stack.shape, np.float32, _chunks(stack))
    place = stack.axes.index(stack.frame_axis)
    pace = Pace()

    def work(frames: range, size: int, where: torch.device) -> None:
        for few in batches(len(frames), size):
            chosen = [frames[number] for number in few]
            values = denoise(stack.tensor(chosen, where).unsqueeze(1)).squeeze(1).cpu().numpy()
            for number, frame in zip(chosen, values, strict=True):
                result[(slice(None),) * place + (number,)] = frame

    for frames in batches(stack.n_frames, batch):
        devices.retry_smaller(functools.partial(work, frames), batch, torch.device(device))
        if pace.is_due(last=frames.stop == stack.n_frames):
            yield Progress(frames.stop, stack.n_frames, "denoising", preview=stack_frame(result, place, frames.stop - 1))
    return stack.with_data(result, name=f"{stack.name} [denoised]", step=step)


def stack_frame(array: Any, place: int, number: int) -> np.ndarray[Any, Any]:
    """One frame of an array, for previews.

    Parameters
    ----------
    array : array
        Any array.
    place, number : int
        Which axis, which entry.

    Returns
    -------
    ndarray
        The frame.
    """
    return np.asarray(array[(slice(None),) * place + (number,)])


def _chunks(stack: Stack) -> tuple[int, ...]:
    place = stack.axes.index(stack.frame_axis)
    return tuple(1 if number == place else size for number, size in enumerate(stack.shape))
