"""Segmentation: features that tell things apart, learnt from labels that a person drew.

Labels may be given for some frames only: frames without any label are left out. References: see ``losses/deep_similarity.py``.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from napari_denoisereg.encode.encoder import HELD_OUT, Batch, Encoder
from napari_denoisereg.frame_pool import FramePool
from napari_denoisereg.frames import standardisation
from napari_denoisereg.method import setting
from napari_denoisereg.model import Model
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Steps

MOST_CLASSES = 64


class Segmentation(Encoder, kind="segmentation"):
    """Learns features from labels of some frames, as DeepSim does: they say what is what."""

    title: ClassVar[str] = "Segmentation (from labels)"
    reference: ClassVar[str] = "https://arxiv.org/abs/2011.05735"
    needs_labels: ClassVar[bool] = True
    has_skips: ClassVar[bool] = True
    makes: ClassVar[str] = "Recognised"

    meaning: Literal["objects", "classes"] = setting(
        "objects", "objects: each number is one object, told from the background. classes: each number is a kind of object."
    )

    def fit(
        self,
        stacks: Sequence[Stack],
        *,
        labels: Sequence[Stack] = (),
        start: Model | None = None,
        device: torch.device | str = "cpu",
    ) -> Steps[Model]:
        """Train on stacks and labels; see `Encoder.fit`. The loss is the cross-entropy."""
        _check(stacks, labels)
        pool = FramePool(stacks, seed=self.seed)
        shown = _Labelled(stacks, labels, self.meaning)
        network = self._network(pool.ndim, shown.n_classes, start=start).to(device)
        aside = shown.patches(HELD_OUT, self.patch, np.random.default_rng([self.seed, 1]), device)

        def draw() -> Batch:
            return shown.patches(self.batch, self.patch, pool.random, device)

        return (yield from self._trained(network, pool, draw, nn.functional.cross_entropy, aside, start))

    def _picture(self, image: Tensor, made: Tensor) -> Tensor:
        """The image, the darker the surer the network is that it is background."""
        low = image.min()
        return low + (image - low) * (1 - made.softmax(0)[0])


class _Labelled:
    """Random patches of labelled frames."""

    def __init__(self, stacks: Sequence[Stack], labels: Sequence[Stack], meaning: str) -> None:
        self._stacks, self._labels, self._meaning = stacks, labels, meaning
        self._scales = [standardisation(stack) for stack in stacks]
        highest = {(n, t): int(each.frame(t).max()) for n, each in enumerate(labels) for t in range(each.n_frames)}
        self._places = [place for place, value in highest.items() if value > 0]
        if not self._places:
            raise ValueError("Expected at least one frame with labels, got none; draw some, 0 is background.")
        self.n_classes = 2 if meaning == "objects" else max(highest.values()) + 1
        if self.n_classes > MOST_CLASSES:
            raise ValueError(
                f"Expected at most {MOST_CLASSES} classes, got labels up to {self.n_classes - 1}; for numbered things choose "
                "meaning='objects'."
            )

    def patches(self, count: int, size: int, random: np.random.Generator, device: torch.device | str) -> Batch:
        """``(count, 1, *patch)`` standardised, and ``(count, *patch)`` classes."""
        shapes = np.array([stack.grid.shape for stack in self._stacks])
        sides = [int(min(size, length)) for length in shapes.min(0)]
        drawn = [self._patch(sides, random) for _ in range(count)]
        images, classes = (torch.stack([pair[part] for pair in drawn]).to(device) for part in (0, 1))
        return images.unsqueeze(1), classes

    def _patch(self, sides: Sequence[int], random: np.random.Generator) -> tuple[Tensor, Tensor]:
        number, frame = self._places[int(random.integers(len(self._places)))]
        mean, std = self._scales[number]
        image = (self._stacks[number].tensor([frame])[0] - mean) / std
        label = torch.from_numpy(np.asarray(self._labels[number].frame(frame)).astype(np.int64))
        label = (label > 0).long() if self._meaning == "objects" else label.clamp(min=0)
        starts = [int(random.integers(length - side + 1)) for length, side in zip(image.shape, sides, strict=True)]
        block = tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))
        axes = [axis for axis in range(image.ndim) if random.random() < 0.5]
        return image[block].flip(axes), label[block].flip(axes)


def _check(stacks: Sequence[Stack], labels: Sequence[Stack]) -> None:
    if len(labels) != len(stacks):
        raise ValueError(f"Expected labels for each of {len(stacks)} stacks, got {len(labels)}; pass one label stack for each.")
    for stack, label in zip(stacks, labels, strict=True):
        if label.shape != stack.shape or label.axes != stack.axes:
            raise ValueError(f"Expected labels of the shape and axes of {stack!r}, got {label!r}.")
        if not np.issubdtype(label.dtype, np.integer):
            raise ValueError(f"Expected whole numbers as labels, got {label.dtype}; convert them, 0 is background.")
