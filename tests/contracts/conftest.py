"""What the contract tests share: tiny stacks, tiny budgets, and an eye on what work leaves behind.

Nothing here names a member of a family, so a new file in a room is covered as soon as it is there.
"""

import gc
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from napari_denoisereg.method import Method
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Pace, Steps

TINY = {"iterations": 3, "seconds": 60.0, "every": 2, "batch": 2, "patch": 16}


@pytest.fixture(scope="session")
def quick() -> Callable[[type[Method]], Method]:
    """A member with tiny budgets where it is trained, else with its defaults."""

    def make(member: type[Method]) -> Method:
        if not getattr(member, "is_trained", False):
            return member()
        return member().model_copy(update={name: value for name, value in TINY.items() if name in member.model_fields})

    return make


@pytest.fixture(scope="session")
def tiny() -> Callable[[int], Stack]:
    """A movie of blobs that drift, in 2D or 3D, uint16, on an anisotropic grid away from the origin."""

    def make(ndim: int) -> Stack:
        random = np.random.default_rng(7)
        shape = (4, 32, 28) if ndim == 2 else (3, 8, 16, 20)
        places = np.indices(shape[1:])
        frames = []
        for number in range(shape[0]):
            frame = np.zeros(shape[1:])
            for _ in range(12):
                centre = [random.uniform(0, size) for size in shape[1:]] if number == 0 else [0] * ndim
                frame = frame + np.exp(-sum((p - c - number) ** 2 for p, c in zip(places, centre, strict=True)) / 12)
            frames.append(frame if number == 0 else np.roll(frames[0], number, axis=(-2, -1)))
        noisy = 1000 + 4000 * np.stack(frames) + random.normal(0, 100, shape)
        spacing = (1.0, 2.0, 0.5, 0.5)[3 - ndim :] if ndim == 3 else (1.0, 0.5, 0.5)
        return Stack(
            noisy.astype(np.uint16),
            "tzyx"[4 - ndim - 1 :] if ndim == 3 else "tyx",
            spacing=spacing,
            origin=(0.0, *(10.0, -20.0, 30.0)[-ndim:]),
            units=("second", *("micrometer",) * ndim),
            name="tiny",
        )

    return make


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work yields whenever it may."""
    monkeypatch.setattr(Pace, "is_due", lambda self, last=False: True)


@pytest.fixture
def leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> Iterator[Callable[[Callable[[], Steps]], int]]:
    """Close work at up to five of its yields, first and last included, with hardly any memory; return how many there are."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("DENOISEREG_MEMORY", "1000")

    def busy() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if not thread.daemon}

    def check(start: Callable[[], Steps]) -> int:
        total = len(list(_take(start(), 1000)))
        before = busy()  # after a whole run: dask keeps its pool of threads
        gc.collect()
        gc.freeze()  # so that collecting takes milliseconds
        for count in sorted({round(part) for part in np.linspace(1, total, 5)}):
            steps = start()
            assert len(list(_take(steps, count))) == count
            steps.close()
            del steps
            gc.collect()
            assert list(tmp_path.iterdir()) == [], f"Closed after yield {count}."
            assert busy() == before, f"Closed after yield {count}."
        return total

    yield check
    gc.unfreeze()


def _take(steps: Steps, count: int) -> Iterator[object]:
    """The first so many yields; the work is left open."""
    for _ in range(count):
        try:
            yield next(steps)
        except StopIteration:
            return
