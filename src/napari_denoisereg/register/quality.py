"""Which frame failed? Figures per frame that are cheap to have, and what they say in plain words.

Everything is measured on some ten thousand voxels a frame, each frame is read once, and nothing is registered anew at full
resolution, so that the check costs a few per cent of a registration.

Forward and backward: a frame, brought to the first by its transform T, is taken as the fixed image, and the first frame is
registered to it by an affine found on its own at low resolution. Together with the inverse of T that is the way back, and a
point that goes there and back should end where it began: how far it ends from there is the figure. Frames that are bent
otherwise than the transform says pass this test; frames that are lost, slipped or turned do not.

References
----------
Christensen and Johnson 2001, Consistent image registration, doi:10.1109/42.932742 (inverse consistency).
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_denoisereg.geometry import (
    Affine,
    Grid,
    Identity,
    PerFrame,
    Transform,
    inside,
    jacobian_determinant,
    resample,
    smooth,
    warp,
)
from napari_denoisereg.losses.correlation import Correlation
from napari_denoisereg.register.descent import descend, pyramid
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Pace, Progress, Steps

Floats = NDArray[np.float64]

VOXELS, FEW_VOXELS = 2**16, 2**12  # of a frame that is looked at; of one that is registered backward
LEAST_OVERLAP = 0.1  # a smaller one says nothing
LEAST_CONTRAST = 0.1  # of what is usual in the stack
LEAST_DROP = 0.05  # of the correlation, below both neighbours
LEAST_ALIKE = 0.3  # likeness of frames that have something in common
LARGEST_FOLD = 0.01  # share of a frame
LARGEST_STRETCH = 2.0  # of area or volume, everywhere in the frame
LARGEST_SLIP = 0.05  # forward and backward, of the longest side
AT_ONCE = 32  # frames that are registered backward at a time


class Eye:
    """Looks at the frames of a stack from afar: slightly smoothed, some ten thousand voxels.

    Parameters
    ----------
    stack : Stack
        Without channel axis.
    device : torch.device or str
        Where to compute.
    bridges_stains : bool
        Whether what is bright in one frame may be dark in another: then the sign of a correlation does not count.
    """

    def __init__(self, stack: Stack, device: torch.device | str, *, bridges_stains: bool = False) -> None:
        self._stack, self._device, self._unlike, self._bridges_stains = stack, device, Correlation(), bridges_stains
        self.grid = _coarse(stack.grid, VOXELS)

    def image(self, frame: int) -> Tensor:
        """A frame, ``(1, 1, *grid.shape)``."""
        return smooth(resample(self._stack.tensor([frame], self._device)[None], self._stack.grid, self.grid), 1.0)

    def warped(self, image: Tensor, transform: Transform) -> tuple[Tensor, Tensor]:
        """An image brought to the first frame, and where it is defined, ``(1, 1, *grid.shape)`` each."""
        both = warp(torch.cat([image, torch.ones_like(image)], dim=1), transform, fixed=self.grid)
        return both[:, :1], both[:, 1:] > 0.999

    def compare(self, one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> tuple[float, float]:
        """Correlation of two warped images where both are defined (-1 for hardly any overlap), and the share of that."""
        overlap = one[1] & other[1]
        share = float(overlap.float().mean())
        if share < LEAST_OVERLAP:
            return -1.0, share
        return self.sign(one, other) * (1 - float(self._unlike(one[0], other[0], overlap))), share

    def sign(self, one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> float:
        """-1 where what is bright in one image may be, and is, dark in the other; else 1."""
        is_inverted = self._bridges_stains and float(self._unlike(one[0], other[0], one[1] & other[1])) > 1
        return -1.0 if is_inverted else 1.0


def likeness(alike: float, share: float) -> float:
    """By what one of several transforms is chosen: a correlation, less the smaller the overlap it was measured on.

    The smaller an overlap, the less telling. Below half of a frame it counts for little: a few cells look like a few others in
    some corner of any frame.

    Parameters
    ----------
    alike, share : float
        Correlation over the overlap, and its share of the frame: see `Eye.compare`.

    Returns
    -------
    float
        From -1 to 1.
    """
    return alike * share**0.25 * min(1.0, 2 * share) ** 2 if alike > 0 else alike


def is_blown_up(transform: Transform, before: Transform | None = None) -> bool:
    """Whether an affine transform grows or shrinks a frame more than any specimen does.

    What has nothing in common is alike once it is blown up until nothing is left to see.

    Parameters
    ----------
    transform : Transform
        Others than affine ones are not looked at.
    before : Transform, optional
        The motion it started from, compared with which it must not grow.

    Returns
    -------
    bool
        True beyond `LARGEST_STRETCH`.
    """
    if not transform.is_affine:
        return False
    size = float(torch.linalg.det(transform.matrix()[:-1, :-1]))
    if before is not None and before.is_affine:
        size /= float(torch.linalg.det(before.matrix()[:-1, :-1]))
    return not 1 / LARGEST_STRETCH < size < LARGEST_STRETCH


def measure(
    stack: Stack,
    transforms: PerFrame,
    device: torch.device | str = "cpu",
    *,
    motion: PerFrame | None = None,
    bridges_stains: bool = False,
) -> Steps[dict[str, Floats]]:
    """Measure every frame of a registration, cheaply.

    Parameters
    ----------
    stack : Stack
        The frames that were registered, without channel axis.
    transforms : PerFrame
        Frame 0 to frame t.
    device : torch.device or str
        Where to compute.
    motion : PerFrame, optional
        Whose Jacobian is looked at, where a part of the motion was applied to the stack before; ``transforms`` by default.
    bridges_stains : bool
        See `Eye`.

    Returns
    -------
    Steps of dict of str to ndarray
        Per frame ``(T,)``: ``"before"`` and ``"after"``, correlation with the first frame (serial sections: with the section
        before) over their overlap, -1 where that is below a tenth; ``"overlap"``, its share of the frame; ``"backward"``, mean
        distance from where they began of points that go forward and back, world units; ``"smallest"`` and ``"largest"``
        Jacobian determinant; ``"folded"``, share of the frame where it is not positive; ``"contrast"``, standard deviation;
        ``"copy"``, an earlier frame that is exactly the same, NaN where there is none.
    """
    eye, pace, rows = Eye(stack, device, bridges_stains=bridges_stains), Pace(), list[dict[str, float]]()
    still, seen, pairs, slips = Identity(stack.grid.ndim), dict[bytes, int](), list[tuple[Tensor, Tensor]](), [0.0]
    for frame in range(stack.n_frames):
        image = eye.image(frame)
        plain, moved = eye.warped(image, still), eye.warped(image, transforms[frame])
        if frame == 0:
            unmoved = reference = moved
        before, after = eye.compare(unmoved, plain), eye.compare(reference, moved)
        key = hashlib.sha256(image.cpu().numpy().tobytes()).digest()
        copy, contrast = float(seen.setdefault(key, frame)), float(image.std())
        row = {"before": before[0], "after": after[0], "overlap": after[1], "contrast": contrast}
        rows.append({**row, **_shape((motion or transforms)[frame], eye.grid), "copy": math.nan if copy == frame else copy})
        if frame:
            sign = eye.sign(reference, moved)
            pairs.append((_smaller(sign * _filled(*moved), eye.grid), _smaller(_filled(*reference), eye.grid)))
        if stack.frame_axis == "z":
            unmoved, reference = plain, moved
        if len(pairs) == AT_ONCE or (pairs and frame + 1 == stack.n_frames):
            slips += _backward(pairs, eye.grid)
            pairs = []
        if pace.is_due(last=frame + 1 == stack.n_frames):
            yield Progress(frame + 1, stack.n_frames, "checking frames")
    figures = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return {**figures, "backward": np.array(slips)}


@dataclass(frozen=True)
class Doubts:
    """What speaks against frames.

    Parameters
    ----------
    lost : mapping of int to str
        Frames whose alignment may have failed, and why.
    strange : mapping of int to str
        Frames that are not as they should be themselves, and why.
    blank : tuple of int
        Frames without anything that could be registered.
    """

    lost: Mapping[int, str]
    strange: Mapping[int, str]
    blank: tuple[int, ...] = ()

    @property
    def reasons(self) -> dict[int, str]:
        """All of them, by frame."""
        frames = sorted({*self.lost, *self.strange})
        return {
            frame: "; ".join(said[frame] for said in (self.strange, self.lost) if frame in said)
            for frame in frames
            if frame > 0
        }


def judge(figures: Mapping[str, Floats], *, other: str = "first frame", side: float = math.inf, unit: str = "") -> Doubts:
    """Say which frames got worse, look lost or are strange.

    Parameters
    ----------
    figures : mapping of str to ndarray
        Of `measure`; only ``"before"`` and ``"after"`` must be there.
    other : str
        What frames are compared with.
    side : float
        Longest side of a frame, world units.
    unit : str
        Of the world.

    Returns
    -------
    Doubts
        Nothing about the first frame.
    """
    before, after = figures["before"], figures["after"]
    lost, strange, blank = _Told(), _Told(), np.zeros(len(after), bool)
    if len(after) < 2:
        return Doubts(lost, strange)
    usual, spread = _usual(after[1:])
    lost.tell(after <= -1, f"it hardly overlaps the {other}")
    far = (after > -1) & (after < min(usual - 6 * spread, usual - 0.2 * abs(usual)))
    lost.tell(
        far, f"it fits the {other} far less well than the other frames do (correlation {{:.2f}}; usual {usual:.2f})", after
    )
    sudden = _sudden(after) & ~far & (after > -1)
    lost.tell(sudden, f"it fits the {other} less well than the frames around it do (correlation {{:.2f}})", after)
    lost.tell(
        (after > -1) & (after < before - 0.02),
        "it fits less well than before (correlation {:.2f}, before {:.2f})",
        after,
        before,
    )
    if "backward" in figures:
        slip = figures["backward"]
        limit = max(LARGEST_SLIP * side, 4 * _usual(slip[1:])[0])
        lost.tell(slip > limit, f"registered there and back, points end {{:.3g}} {unit} from where they began", slip)
        # Where all frames are lost none of them is unusual.
        alike = np.array([likeness(*each) for each in zip(after, figures["overlap"], strict=True)])
        strayed = (slip > LARGEST_SLIP * side) & (slip <= limit) & (after > -1) & (alike < LEAST_ALIKE) & ~far & ~sudden
        lost.tell(
            strayed,
            f"it has little in common with the {other} (correlation {{:.2f}} over {{:.0%}} of it), and registered there and "
            f"back, points end {{:.3g}} {unit} from where they began",
            after,
            figures["overlap"],
            slip,
        )
        lost.tell(figures["folded"] > LARGEST_FOLD, "the motion folds over itself in {:.0%} of the frame", figures["folded"])
        lost.tell(
            figures["largest"] < 1 / LARGEST_STRETCH,
            "it was blown up everywhere, at least {:.3g} times",
            1 / np.maximum(figures["largest"], 1e-9),
        )
        lost.tell(figures["smallest"] > LARGEST_STRETCH, "it was shrunk everywhere, at least {:.3g} times", figures["smallest"])
        contrast = figures["contrast"]
        blank = contrast < LEAST_CONTRAST * np.median(contrast)
        strange.tell(blank, "hardly anything is to be seen in it")
        copy = figures["copy"]
        # A movie at rest, or one that was made longer by repeating frames, has many copies, and knows it.
        if np.isfinite(copy).sum() <= max(1, 0.1 * len(copy)):
            strange.tell(np.isfinite(copy), "it is an exact copy of frame {:.0f}", copy)
    return Doubts(lost, strange, tuple(np.flatnonzero(blank).tolist()))


class _Told(dict[int, str]):
    """Reasons by frame; a second one is put after the first."""

    def tell(self, where: NDArray[np.bool_], words: str, *values: Floats) -> None:
        for frame in np.flatnonzero(where).tolist():
            said = words.format(*(float(value[frame]) for value in values))
            if frame > 0:
                self[frame] = f"{self[frame]}; {said}" if frame in self else said


def _usual(values: Floats) -> tuple[float, float]:
    """Median, and spread without the outliers."""
    middle = float(np.median(values))
    return middle, 1.4826 * float(np.median(np.abs(values - middle)))


def _sudden(after: Floats) -> NDArray[np.bool_]:
    """Where the likeness drops and rises again: what happens to a specimen goes on in the next frame."""
    found = np.zeros(len(after), bool)
    inner = after[1:]  # the first frame is always perfect
    if len(inner) < 4:
        return found
    around = np.minimum(np.append(inner[1:], inner[-2]), np.insert(inner[:-1], 0, inner[2]))
    found[1:] = around - inner > max(LEAST_DROP, 6 * _usual(np.diff(inner))[1])
    return found


def _coarse(grid: Grid, voxels: int) -> Grid:
    return grid.coarser(max(1.0, (math.prod(grid.shape) / voxels) ** (1 / grid.ndim)))


def _smaller(image: Tensor, grid: Grid) -> Tensor:
    return resample(image, grid, _coarse(grid, FEW_VOXELS))[0]


def _filled(image: Tensor, valid: Tensor) -> Tensor:
    """The mean where nothing is defined: no edge that moves with the frame would be seen there otherwise."""
    known = image[valid]
    return torch.where(valid, image, known.mean() if known.numel() else image.new_zeros(()))


def _backward(pairs: Sequence[tuple[Tensor, Tensor]], grid: Grid) -> list[float]:
    """How far points end from where they began, world units."""
    small = _coarse(grid, FEW_VOXELS)
    warped, reference = (torch.cat([pair[side] for pair in pairs]) for side in (0, 1))
    levels = pyramid(warped, reference, small, coarsest=16, finest=1, blur=0.7)
    still = Identity(grid.ndim).matrix()[:-1].expand(len(pairs), -1, -1)
    ways, points = descend(levels, still, "affine")[0], small.points().double()
    return [float(torch.linalg.vector_norm(Affine(way)(points) - points, dim=0).mean()) for way in ways]


def _shape(transform: Transform, grid: Grid) -> dict[str, float]:
    """Smallest and largest Jacobian determinant where the frame is, and the share of it that is folded."""
    if transform.is_affine:
        value = float(torch.linalg.det(transform.matrix()[:-1, :-1]))
        return {"smallest": value, "largest": value, "folded": float(value <= 0)}
    field = transform.displacement(grid).double()
    index = grid.to_index(grid.points().double() + field)
    found = jacobian_determinant(field, grid)[inside(index[None], grid.shape)[0]]
    found = found[~found.isnan()]
    if not found.numel():
        return {"smallest": math.nan, "largest": math.nan, "folded": math.nan}
    return {"smallest": float(found.min()), "largest": float(found.max()), "folded": float((found <= 0).double().mean())}
