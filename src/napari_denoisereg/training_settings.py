"""Settings that all methods with a network share, whatever they learn: said in the same words, with defaults of their own."""

from typing import Any

from napari_denoisereg.method import setting


def seconds_at_most(default: float) -> Any:
    """The time a training may take, seconds."""
    words = "Train for at most this long. Training ends when the time or the steps are used up."
    return setting(default, words, unit="s", gt=0, le=1e6)


def steps_at_most(default: int) -> Any:
    """The steps a training may take."""
    return setting(default, "Train for at most this many steps.", ge=1, le=10_000_000)


def patch_size(default: int = 64, words: str = "", *, advanced: bool = True) -> Any:
    """The side of the patches that a network sees while it is trained, px."""
    words = words or "Size of the image pieces (patches) that the network trains on."
    return setting(default, words, unit="px", ge=16, le=1024, multiple_of=8, advanced=advanced)


def number_in_a_step(default: int, of: str, most: int = 256) -> Any:
    """How many examples of a kind a step of training looks at."""
    return setting(default, f"Number of {of} in each training step.", ge=1, le=most, advanced=True)


def step_size(default: float, note: str = "") -> Any:
    """The learning rate that a training begins with; a note stands behind the explanation."""
    words = f"Size of the first training steps; smaller is slower and steadier{note}."
    return setting(default, words, gt=0, le=0.1, advanced=True)


def tested_every(default: int) -> Any:
    """How often a network is tested while it is trained, steps."""
    words = "Test the network after every so many training steps; the best version is kept."
    return setting(default, words, ge=1, advanced=True)


def random_start() -> Any:
    """The seed of everything random in a training."""
    words = "Start of the random numbers: the same number gives the same result."
    return setting(0, words, ge=0, le=2**31 - 1, advanced=True)
