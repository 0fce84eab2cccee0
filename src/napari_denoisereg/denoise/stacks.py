"""Denoise a whole stack, channel by channel."""

from collections.abc import Callable, Sequence

import dask.array as da
import numpy as np
import torch

from napari_denoisereg.denoise.denoiser import Denoiser
from napari_denoisereg.geometry import PerFrame
from napari_denoisereg.model import Model
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Steps, portion


def denoise_stack(
    stack: Stack,
    denoiser: Denoiser,
    *,
    models: Sequence[Model] = (),
    device: torch.device | str = "cpu",
    motion: PerFrame | None = None,
    dropped: Callable[[int], Sequence[int]] = lambda _: (),
) -> Steps[tuple[Stack, tuple[Model, ...]]]:
    """Denoise every channel of a stack by itself.

    Parameters
    ----------
    stack : Stack
        Checked by `checks.inspect`.
    denoiser : Denoiser
        How.
    models : sequence of Model
        One per channel, or one for all; none to train on each channel first.
    device : torch.device or str
        Where to compute.
    motion : PerFrame, optional
        Frame 0 to every frame, for denoisers that use it.
    dropped : callable
        Says of a channel's number which frames show nothing; they are left out, and stay as they are. There are none where
        motion is known.

    Returns
    -------
    Steps of Stack and tuple of Model
        The denoised stack, float32, and the models used (empty where nothing is trained).

    Raises
    ------
    ValueError
        When a model belongs to another method or dimension, or their number does not fit.
    """
    count = stack.n_channels
    for model in models:
        model.expect(type(denoiser), stack.grid.ndim)
    if len(models) not in (0, 1, count):
        raise ValueError(f"Expected one model per channel ({count}) or one for all, got {len(models)}.")
    used: list[Model] = []

    def one(channel: Stack, number: int) -> Steps[Stack]:
        lost = dropped(number)
        return _with_frames(channel, lost, (yield from recorded(channel.without_frames(lost), number)))

    def recorded(channel: Stack, number: int) -> Steps[Stack]:
        if not denoiser.is_trained:
            return (yield from denoiser.run_along(channel, motion, device=device))
        if models:
            used.append(models[number % len(models)])
            return (yield from denoiser.run_along(channel, motion, model=used[-1], device=device))
        used.append((yield from portion(denoiser.fit([channel], device=device), 0.0, 0.9)))
        return (yield from portion(denoiser.run_along(channel, motion, model=used[-1], device=device), 0.9, 1.0))

    return (yield from each_channel(stack, one)), tuple(used)


def each_channel(stack: Stack, denoise: Callable[[Stack, int], Steps[Stack]]) -> Steps[Stack]:
    """Denoise channel by channel and put the channels together again.

    Parameters
    ----------
    stack : Stack
        With or without channel axis.
    denoise : callable
        Called with a stack without channel axis and the channel's number.

    Returns
    -------
    Steps of Stack
        Axes of the input.
    """
    count = stack.n_channels
    results = []
    for number in range(count):
        steps = denoise(stack.channel(number), number)
        results.append((yield from portion(steps, number / count, (number + 1) / count)))
    if "c" not in stack.axes:
        return results[0]
    data = da.stack([result.lazy() for result in results], axis=stack.axes.index("c"))
    return stack.with_data(data, name=results[0].name, step=results[0].history[-1])


def _with_frames(stack: Stack, numbers: Sequence[int], rest: Stack) -> Stack:
    """Some frames as they are in a stack, and the others as they are in one that lacks these."""
    if not numbers:
        return rest
    place, missing = stack.axes.index(stack.frame_axis), list(numbers)
    kept = sorted(set(range(stack.n_frames)) - set(missing))
    joined = da.concatenate([rest.lazy(), da.take(stack.lazy(), missing, axis=place).astype(rest.dtype)], axis=place)
    data = da.take(joined, np.argsort([*kept, *missing]), axis=place)
    return stack.with_data(data, name=rest.name, step=rest.history[-1])
