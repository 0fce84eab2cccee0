"""Registration: the result for a stack, one Transform per frame."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from napari_denoisereg.geometry import (
    Affine,
    Displacement,
    Grid,
    Interpolation,
    PerFrame,
    Sequential,
    Transform,
    Translation,
    preimage,
    warp,
)
from napari_denoisereg.geometry.units import PIXEL, canonical
from napari_denoisereg.stack import Frame, Stack
from napari_denoisereg.steps import Pace, Progress, Steps, finish


@dataclass(frozen=True, eq=False)
class Registration:
    """Where every frame's points are, seen from the fixed frame.

    Parameters
    ----------
    transforms : PerFrame
        One per frame, fixed to moving, world units.
    grid : Grid
        Of the frames.
    quality : mapping of str to ndarray
        Per frame, ``(T,)``: ``"before"`` and ``"after"``, correlation with the fixed frame (serial sections: with the section
        before) over their overlap, and what else `register.quality.measure` finds.
    flagged : tuple of int
        Frames that look lost or got worse.
    history : tuple of mapping
        How it was made, JSON-ready.
    reasons : mapping of int to str
        Why frames are flagged, in plain words.
    """

    transforms: PerFrame
    grid: Grid
    quality: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    flagged: tuple[int, ...] = ()
    history: tuple[Mapping[str, Any], ...] = ()
    reasons: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.transforms.ndim != self.grid.ndim:
            raise ValueError(f"{self.transforms.ndim}D transforms do not fit a {self.grid.ndim}D grid.")

    def displacement(self, frame: int) -> NDArray[np.float32]:
        """The displacement field of a frame: ``warped(x) = moving(x + u(x))``.

        Parameters
        ----------
        frame : int
            Counted from 0.

        Returns
        -------
        ndarray
            ``(D, *grid.shape)``, world units.
        """
        return np.asarray(self.transforms[frame].displacement(self.grid).cpu().numpy(), np.float32)

    def points(self, frame: int, points: NDArray[np.floating], *, inverse: bool = False) -> NDArray[np.float64]:
        """Where points of the fixed frame are in a frame.

        Parameters
        ----------
        frame : int
            Counted from 0.
        points : ndarray
            ``(N, D)``, world units, axis order.
        inverse : bool
            From the frame back to the fixed frame instead, solved at each point.

        Returns
        -------
        ndarray
            ``(N, D)``; not a number where the inverse does not exist.
        """
        given, transform = torch.from_numpy(np.asarray(points, float).T.copy()), self.transforms[frame]
        moved = preimage(transform, given) if inverse else transform(given)
        return np.asarray(moved.numpy().T, np.float64)

    def inverse(self) -> "Registration":
        """The way back: frames' points to the fixed frame's place.

        Returns
        -------
        Registration
            Without quality.
        """
        return finish(self.inverse_steps())

    def inverse_steps(self) -> Steps["Registration"]:
        """`inverse` as long work: fields are inverted frame by frame.

        Returns
        -------
        Steps of Registration
            Without quality.
        """
        pace, found = Pace(), list[Transform]()
        for number, transform in enumerate(self.transforms, 1):
            found.append(transform.inverse())
            if pace.is_due(last=number == len(self.transforms)):
                yield Progress(number, len(self.transforms), "inverting")
        return replace(
            self, transforms=PerFrame(found), quality={}, flagged=(), reasons={}, history=(*self.history, {"inverse": True})
        )

    def then(self, other: "Registration") -> "Registration":
        """First this, then the other, on points: images are warped by the other first.

        Parameters
        ----------
        other : Registration
            Of the same frames.

        Returns
        -------
        Registration
            On this one's grid, without quality.

        Raises
        ------
        ValueError
            When the number of frames or of spatial axes differs.
        """
        if len(other.transforms) != len(self.transforms) or other.grid.ndim != self.grid.ndim:
            raise ValueError(
                f"Expected two registrations of the same frames, got {len(self.transforms)} frames in {self.grid.ndim}D and "
                f"{len(other.transforms)} in {other.grid.ndim}D."
            )
        history = (*self.history, {"then": list(other.history)})
        return replace(
            self, transforms=self.transforms.then(other.transforms), quality={}, flagged=(), reasons={}, history=history
        )

    def seen_from(self, place: Affine) -> "Registration":
        """The same transforms for coordinates of another place: what is at ``x`` there is at ``place(x)`` here.

        Parameters
        ----------
        place : Affine
            New coordinates to the present ones.

        Returns
        -------
        Registration
            On the same grid; its quality stays.
        """
        if place.is_identity:
            return self
        back = place.inverse()
        moved = PerFrame([place.then(transform).then(back) for transform in self.transforms])
        return replace(self, transforms=moved)

    def shifted(self, offset: Sequence[float]) -> "Registration":
        """The same transforms where everything lies elsewhere, e.g. at the stage's position: ``x`` becomes ``x + offset``.

        Parameters
        ----------
        offset : sequence of float
            World units, axis order.

        Returns
        -------
        Registration
            Grid and fields are shifted, nothing is resampled.
        """
        return replace(
            self,
            transforms=PerFrame([_shifted(transform, offset) for transform in self.transforms]),
            grid=_shifted_grid(self.grid, offset),
        )

    def check_units(self, stack: Stack) -> None:
        """Refuse a stack in another unit: two micrometres are not two pixels.

        Parameters
        ----------
        stack : Stack
            What this is to be applied to, or to start from.

        Raises
        ------
        ValueError
            When the units differ, unless one of them is unknown and the pixels have the same size.
        """
        grids = (self.grid, stack.grid)
        (ours, theirs), sizes = (tuple(map(canonical, grid.units)) for grid in grids), [grid.spacing for grid in grids]
        if len(ours) != len(theirs) or ours == theirs:
            return
        if {PIXEL} in (set(ours), set(theirs)) and np.allclose(sizes[0], sizes[1]):
            return
        raise ValueError(
            f"The transforms are in {ours[-1]} (pixel size {_listed(sizes[0])}), {stack!r} is in {theirs[-1]} (pixel size "
            f"{_listed(sizes[1])}); give the size and unit of its pixels (spacing, units), or write them into its file."
        )

    def placed_like(self, stack: Stack) -> Stack:
        """Give a stack that says no pixel size that of this registration, if it has as many pixels, e.g. labels of the movie.

        Parameters
        ----------
        stack : Stack
            What this is to be applied to.

        Returns
        -------
        Stack
            The stack itself where it says where its voxels are, or has other pixels.

        Raises
        ------
        ValueError
            See `check_units`.
        """
        plain, grid = stack.grid, self.grid
        says_nothing = set(map(canonical, plain.units)) == {PIXEL} and set(plain.spacing) == {1.0} and not any(plain.origin)
        if says_nothing and plain.shape == grid.shape:
            return stack if plain == grid else stack.with_grid(stack.data, grid)
        self.check_units(stack)
        return stack

    def warp(self, stack: Stack, *, interpolation: Interpolation = "linear", outside: float | Literal["edge"] = 0.0) -> Stack:
        """Bring every frame (and channel) of a stack to the fixed frame, lazily: a frame is warped when it is looked at.

        Parameters
        ----------
        stack : Stack
            As many frames as this registration; its grid may differ (another channel's resolution), see `placed_like`.
            Integer labels need ``interpolation="nearest"``.
        interpolation : {"linear", "cubic", "nearest"}
            How to read between voxels.
        outside : float or "edge"
            What stands where nothing was imaged.

        Returns
        -------
        Stack
            Same shape and dtype (integers are rounded, not wrapped around).

        Raises
        ------
        ValueError
            When the number of frames or of spatial axes, or the unit differs, or an option is unknown.
        """
        if stack.n_frames != len(self.transforms) or stack.grid.ndim != self.grid.ndim:
            raise ValueError(
                f"This registration has {len(self.transforms)} frames in {self.grid.ndim}D, got {stack!r}; "
                "apply it to the stack it was made from, or to one with the same frames."
            )
        # Frames are warped when somebody looks at them: that would be late for an error.
        if interpolation not in get_args(Interpolation):
            raise ValueError(f"Expected interpolation {', '.join(get_args(Interpolation))}, got {interpolation!r}.")
        filling: Any = outside
        if filling != "edge" and not isinstance(filling, Real):
            raise ValueError(f"Expected outside as a number or 'edge', got {outside!r}.")
        stack = self.placed_like(stack)
        grid, dtype = stack.grid, stack.dtype

        def change(number: int, frame: Frame) -> Frame:
            transform = self.transforms[number]
            if transform.is_identity:
                return frame
            if interpolation == "nearest":
                values = torch.from_numpy(np.ascontiguousarray(frame.astype(_signed(dtype))))
                fill = outside if isinstance(outside, str) else np.asarray(outside).astype(dtype).astype(_signed(dtype)).item()
                return warp(values, transform, fixed=grid, interpolation="nearest", outside=fill).numpy().astype(dtype)
            image = torch.from_numpy(frame.astype(np.float32))
            return back_to(warp(image, transform, fixed=grid, interpolation=interpolation, outside=outside).numpy(), dtype)

        step = {"warp": list(self.history), "interpolation": interpolation}
        return stack.with_data(stack.map_frames(change), name=f"{stack.name} [aligned]", step=step)


def back_to(values: NDArray[np.float32], dtype: np.dtype[Any]) -> Frame:
    """Values as another type; integers are rounded and clipped, never wrapped around.

    Parameters
    ----------
    values : ndarray
        float32.
    dtype : dtype
        Integer or floating.

    Returns
    -------
    ndarray
        Same shape.
    """
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    # In float64: float32 cannot hold the largest 32- and 64-bit integers, and a cast beyond them is undefined.
    rounded = np.rint(values.astype(np.float64))
    inner = np.clip(rounded, float(limits.min), np.nextafter(float(limits.max), 0) if limits.bits > 52 else limits.max)
    return inner.astype(dtype)


def _listed(values: Sequence[float]) -> str:
    return " x ".join(f"{value:g}" for value in values)


def _shifted(transform: Transform, offset: Sequence[float]) -> Transform:
    if isinstance(transform, Sequential):
        return Sequential(tuple(_shifted(part, offset) for part in transform.parts))
    if isinstance(transform, Displacement):
        return Displacement(transform.field, _shifted_grid(transform.grid, offset))
    if transform.is_identity:
        return transform
    way = Translation(list(offset))
    return way.inverse().then(transform).then(way)


def _shifted_grid(grid: Grid, offset: Sequence[float]) -> Grid:
    return replace(grid, origin=tuple(start + step for start, step in zip(grid.origin, offset, strict=True)))


def _signed(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """A type of the same width that torch can index: its unsigned types other than uint8 cannot."""
    return np.dtype(f"i{dtype.itemsize}") if dtype.kind == "u" and dtype.itemsize > 1 else dtype.newbyteorder("=")
