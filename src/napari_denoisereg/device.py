"""Device, precision, random generator, and how much fits in memory.

Everything that depends on the machine is decided here, once, and handed on as an argument.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from typing import TypeVar

import psutil
import torch

logger = logging.getLogger(__name__)
T = TypeVar("T")

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose(name: str = "auto") -> torch.device:
    """Choose the device to compute on.

    Parameters
    ----------
    name : str
        ``"auto"`` (a GPU where there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.

    Returns
    -------
    torch.device
        The device.

    Raises
    ------
    ValueError
        When the name is unknown or the device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind = name.partition(":")[0]
    if kind not in DEVICES:
        raise ValueError(f"Expected a device among {', '.join(DEVICES)}, got {name!r}.")
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there[kind]:
        raise ValueError(f"Device {name!r} is not available on this machine; use device='auto' or 'cpu'.")
    return torch.device(name)


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Make a seeded random generator.

    Parameters
    ----------
    seed : int
        The seed.
    device : torch.device or str
        Where its numbers are drawn.

    Returns
    -------
    torch.Generator
        The generator.
    """
    return torch.Generator(device=device).manual_seed(seed)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Initialise networks reproducibly without touching the caller's random state.

    Parameters
    ----------
    seed : int
        Seed in force inside the block; the former state comes back afterwards.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Mixed precision for convolutions where it pays (GPUs), else nothing.

    Parameters
    ----------
    device : torch.device
        Where the network runs.

    Returns
    -------
    context manager
        To be entered around the network's forward pass only: coordinates and losses stay float32.
    """
    if device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()


def free_memory(device: torch.device | None = None) -> int:
    """Memory that work may use.

    Parameters
    ----------
    device : torch.device, optional
        Device asked about; main memory by default.

    Returns
    -------
    int
        Free bytes. For main memory the variable ``DENOISEREG_MEMORY`` (bytes) wins.
    """
    if device is not None and device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    told = os.environ.get("DENOISEREG_MEMORY")
    if told:
        return int(told)
    return int(psutil.virtual_memory().available)


def retry_smaller(work: Callable[[int, torch.device], T], batch: int, device: torch.device) -> T:
    """Run work in batches; when the GPU runs out of memory halve the batch, at last use the CPU, and say so.

    Parameters
    ----------
    work : callable
        Called with a batch size and a device.
    batch : int
        Batch size to try first.
    device : torch.device
        Device to try first.

    Returns
    -------
    T
        What the work returned.
    """
    while True:
        try:
            return work(batch, device)
        except torch.OutOfMemoryError:
            if device.type == "cpu":
                raise
            torch.cuda.empty_cache()
            if batch > 1:
                batch //= 2
                logger.warning("The GPU ran out of memory; trying again with batches of %d.", batch)
            else:
                device = torch.device("cpu")
                logger.warning("The GPU ran out of memory even for single frames; going on with the CPU (slower).")
