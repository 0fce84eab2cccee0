"""Frames of stacks: in batches, and arrays to write results to. `FramePool` draws them at random for training.

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
from napari_denoisereg.appearance import appearance
from napari_denoisereg.frame_pool import FramePool as FramePool
from napari_denoisereg.frame_pool import around
from napari_denoisereg.networks.blind_spot_unet import TiledNetwork, predict
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Pace, Progress, Steps


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
    figures = appearance(stack)
    return figures["mean"], figures["std"]


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
    stack: Stack,
    network: TiledNetwork,
    *,
    tile: int,
    device: torch.device | str,
    step: Mapping[str, Any],
    reach: int = 0,
) -> Steps[Stack]:
    """Denoise a stack with a trained network.

    Parameters
    ----------
    stack : Stack
        Without channel axis; standardised by its own statistics.
    network : TiledNetwork
        Trained.
    tile : int
        Largest side of a tile, voxels.
    device : torch.device or str
        Where to compute.
    step : mapping
        For the history.
    reach : int
        Neighbours on each side that the network sees.

    Returns
    -------
    Steps of Stack
        See `denoise_frames`.
    """
    network.eval()
    mean, std = standardisation(stack)

    def denoise(noisy: Tensor, _: Sequence[int]) -> Tensor:
        return predict(network.to(noisy.device), (noisy - mean) / std, tile) * std + mean

    batch = at_a_time(stack, reach)
    return (yield from denoise_frames(stack, denoise, device=device, batch=batch, step=step, reach=reach))


def at_a_time(stack: Stack, reach: int = 0) -> int:
    """How many frames a network is given at a time: many small ones, few large ones.

    Parameters
    ----------
    stack : Stack
        What is denoised.
    reach : int
        Neighbours on each side that come with each frame.

    Returns
    -------
    int
        At least one.
    """
    return max(1, 8 * 512**2 // (math.prod(stack.grid.shape) * (2 * reach + 1)))


def denoise_frames(
    stack: Stack,
    denoise: Callable[[Tensor, Sequence[int]], Tensor],
    *,
    device: torch.device | str,
    batch: int,
    step: Mapping[str, Any],
    reach: int = 0,
) -> Steps[Stack]:
    """Write a denoised stack batch by batch; when the GPU runs out of memory try smaller batches, then the CPU.

    Parameters
    ----------
    stack : Stack
        What to denoise.
    denoise : callable
        Maps frames ``(N, 2 * reach + 1, *spatial)`` on a device, and their numbers, to denoised frames ``(N, 1, *spatial)``.
    device : torch.device or str
        Where to compute.
    batch : int
        Frames at a time.
    step : mapping
        For the history.
    reach : int
        Neighbours on each side that come with each frame, see `frame_pool.around`.

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
            values = denoise(_clips(stack, chosen, reach, where), chosen).squeeze(1).cpu().numpy()
            for number, frame in zip(chosen, values, strict=True):
                result[(slice(None),) * place + (number,)] = frame

    for frames in batches(stack.n_frames, batch):
        devices.retry_smaller(functools.partial(work, frames), batch, torch.device(device))
        if pace.is_due(last=frames.stop == stack.n_frames):
            yield Progress(frames.stop, stack.n_frames, "denoising", preview=stack_frame(result, place, frames.stop - 1))
    return stack.with_data(result, name=f"{stack.name} [denoised]", step=step)


def _clips(stack: Stack, frames: Sequence[int], reach: int, device: torch.device) -> Tensor:
    """Frames with their neighbours, each read once: ``(N, 2 * reach + 1, *spatial)``."""
    clips = [around(frame, stack.n_frames, reach) for frame in frames]
    every = sorted({frame for clip in clips for frame in clip})
    return stack.tensor(every, device)[torch.tensor([[every.index(frame) for frame in clip] for clip in clips])]


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
