"""Stack: a lazy array with named axes; the only thing that moves between rooms.

A stack is a series of *frames*: time points (``t``) or, where there is no time axis, serial sections (``z`` of ``"zyx"``).
What is left, (z,) y, x, is the space of a frame, described by a `Grid`. Data is never loaded whole: frames are read one by
one, and results larger than a share of free memory are kept in a temporary zarr array on disk.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dask.array as da
import numpy as np
import torch
from dask.delayed import delayed
from numpy.typing import NDArray
from torch import Tensor

from napari_denoisereg.geometry import Grid

AXES = "tczyx"
Frame = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Stack:
    """A series of frames.

    Contract:

    - ``data`` has ``shape``, ``dtype`` and basic slicing (numpy, dask, zarr, or a torch Tensor); it is never changed.
    - ``axes`` has one letter of ``"tczyx"`` per dimension, each at most once, ending in ``"yx"``.
    - ``spacing``, ``origin``, ``units`` have one entry per axis (defaults: 1, 0, ``"pixel"``).
    - there are frames to go through: ``t``, or else ``z``. A single image is one frame along ``t``, see `of_image`.

    Parameters
    ----------
    data : array
        The values: any integer or float type.
    axes : str
        E.g. ``"tyx"``, ``"tzyx"``, ``"tcyx"``, ``"zyx"`` (serial sections).
    spacing, origin : sequence of float
        Per axis, in ``units``.
    units : sequence of str
        Per axis.
    name : str
        Shown to people.
    history : tuple of mapping
        What was done to get here, JSON-ready.
    is_image : bool
        Whether this is a single image: its files and layers have no axis for its one frame.

    Raises
    ------
    TypeError
        For bool, complex and other types that are no intensities.
    ValueError
        When axes and shape do not fit, or an axis is empty.
    """

    data: Any
    axes: str
    spacing: tuple[float, ...] = ()
    origin: tuple[float, ...] = ()
    units: tuple[str, ...] = ()
    name: str = "stack"
    history: tuple[Mapping[str, Any], ...] = ()
    is_image: bool = False

    @classmethod
    def of_image(
        cls,
        data: Any,
        axes: str = "yx",
        *,
        spacing: Sequence[float] = (),
        origin: Sequence[float] = (),
        units: Sequence[str] = (),
        **more: Any,
    ) -> "Stack":
        """A single image as a stack of one frame, lazily.

        Parameters
        ----------
        data : array
            The values.
        axes : str
            ``"yx"`` or ``"cyx"``.
        spacing, origin, units
            One entry per axis of the image.
        **more
            ``name``, ``history``.

        Returns
        -------
        Stack
            Axes ``"tyx"`` or ``"tcyx"``; it can be denoised, not registered.
        """
        values = data if hasattr(data, "shape") and hasattr(data, "dtype") else np.asarray(data)
        _check_letters(axes, tuple(values.shape))
        frame = values[None] if isinstance(values, np.ndarray | da.Array | Tensor) else da.from_array(values, name=False)[None]
        steps, starts = (1.0, *spacing) if spacing else (), (0.0, *origin) if origin else ()
        return cls(frame, f"t{axes}", steps, starts, ("pixel", *units) if units else (), is_image=True, **more)

    def __post_init__(self) -> None:
        if isinstance(self.data, Tensor):
            object.__setattr__(self, "data", self.data.detach().cpu().numpy())
        if not hasattr(self.data, "shape") or not hasattr(self.data, "dtype"):
            object.__setattr__(self, "data", np.asarray(self.data))
        _check_axes(self.axes, tuple(self.data.shape))
        _check_dtype(np.dtype(self.data.dtype))
        for name, default in (("spacing", 1.0), ("origin", 0.0), ("units", "pixel")):
            values = tuple(getattr(self, name)) or (default,) * len(self.axes)
            if len(values) != len(self.axes):
                raise ValueError(f"Stack {name} must have one entry per axis of {self.axes!r}, got {values}.")
            object.__setattr__(self, name, values)
        _ = self.grid  # Grid checks those of space; here are time and channels, too
        if not all(math.isfinite(step) and step > 0 for step in self.spacing) or not all(map(math.isfinite, self.origin)):
            raise ValueError(
                f"Stack spacing must be positive and its origin finite along every axis of {self.axes!r}, got {self.spacing} "
                f"and {self.origin}; correct the file, or pass spacing=..."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the data."""
        return tuple(int(size) for size in self.data.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the data."""
        return np.dtype(self.data.dtype)

    @property
    def frame_axis(self) -> str:
        """``"t"``, or ``"z"`` for serial sections."""
        return "t" if "t" in self.axes else "z"

    @property
    def outer_axes(self) -> str:
        """Axes of files and layers of this stack: ``axes``, for a single image without that of its one frame."""
        return self.axes.replace(self.frame_axis, "") if self.is_image else self.axes

    @property
    def spatial_axes(self) -> str:
        """Axes of one frame: ``"yx"`` or ``"zyx"``."""
        return "".join(axis for axis in self.axes if axis in "zyx" and axis != self.frame_axis)

    @property
    def grid(self) -> Grid:
        """Where the voxels of a frame are."""
        places = [self.axes.index(axis) for axis in self.spatial_axes]
        return Grid(
            tuple(self.shape[place] for place in places),
            tuple(self.spacing[place] for place in places),
            tuple(self.origin[place] for place in places),
            tuple(self.units[place] for place in places),
        )

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.shape[self.axes.index(self.frame_axis)]

    @property
    def n_channels(self) -> int:
        """Number of channels, 1 where there is no channel axis."""
        return self.shape[self.axes.index("c")] if "c" in self.axes else 1

    def __repr__(self) -> str:
        """Name, axes, shape and type; never the values."""
        return f"Stack({self.name!r}, axes={self.axes!r}, shape={self.shape}, dtype={self.dtype})"

    def channel(self, number: int) -> "Stack":
        """One channel as a stack without channel axis, lazily.

        Parameters
        ----------
        number : int
            Counted from 0.

        Returns
        -------
        Stack
            This stack itself where there is no channel axis and ``number`` is 0.

        Raises
        ------
        ValueError
            When there is no such channel.
        """
        if not 0 <= number < self.n_channels:
            raise ValueError(f"Channel {number} does not exist: {self.name!r} has channels 0 to {self.n_channels - 1}.")
        if "c" not in self.axes:
            return self
        place = self.axes.index("c")
        data = self.lazy()[(slice(None),) * place + (number,)]
        return self._without(place, data)

    def frame_range(self, start: int, stop: int) -> "Stack":
        """Some consecutive frames, lazily.

        Parameters
        ----------
        start, stop : int
            First frame and the one after the last.

        Returns
        -------
        Stack
            Same axes.
        """
        place = self.axes.index(self.frame_axis)
        return replace(self, data=self.lazy()[(slice(None),) * place + (slice(start, stop),)])

    def without_frames(self, numbers: Sequence[int]) -> "Stack":
        """The stack without some frames, lazily.

        Parameters
        ----------
        numbers : sequence of int
            Frames to leave out.

        Returns
        -------
        Stack
            Same axes; this stack itself where nothing is left out.
        """
        if not numbers:
            return self
        place = self.axes.index(self.frame_axis)
        kept = sorted(set(range(self.n_frames)) - set(numbers))
        return replace(self, data=da.take(self.lazy(), kept, axis=place))

    def frame(self, number: int, channel: int = 0) -> Frame:
        """Read one frame of one channel.

        Parameters
        ----------
        number, channel : int
            Counted from 0.

        Returns
        -------
        ndarray
            ``grid.shape``, dtype of the stack.
        """
        index: list[int | slice] = [slice(None)] * len(self.axes)
        index[self.axes.index(self.frame_axis)] = number
        if "c" in self.axes:
            index[self.axes.index("c")] = channel
        return np.asarray(self.data[tuple(index)])

    def tensor(self, frames: Sequence[int], device: torch.device | str = "cpu", channel: int = 0) -> Tensor:
        """Read frames as a tensor: one of the two crossings between stacks and tensors.

        Parameters
        ----------
        frames : sequence of int
            Which frames.
        device : torch.device or str
            Where to put them.
        channel : int
            Which channel.

        Returns
        -------
        Tensor
            ``(len(frames), *grid.shape)``, float32.
        """
        batch = np.stack([self.frame(number, channel).astype(np.float32) for number in frames])
        return torch.from_numpy(batch).to(device)

    def lazy(self) -> da.Array:
        """The data as a dask array, one frame per chunk unless it is chunked already.

        Returns
        -------
        dask.array.Array
            Same shape; nothing is read.
        """
        if isinstance(self.data, da.Array):
            return self.data
        place = self.axes.index(self.frame_axis)
        chunks = tuple(1 if axis == place else size for axis, size in enumerate(self.shape))
        return da.from_array(self.data, chunks=getattr(self.data, "chunks", None) or chunks, name=False)

    def map_frames(self, change: Callable[[int, Frame], Frame], dtype: Any = None, grid: Grid | None = None) -> da.Array:
        """Apply a function to every frame (and channel) lazily: it runs when a frame is looked at.

        Parameters
        ----------
        change : callable
            Called with the frame's number and values; returns ``grid.shape``.
        dtype : dtype, optional
            Type of the result, the stack's by default.
        grid : Grid, optional
            Grid of the result, the stack's by default.

        Returns
        -------
        dask.array.Array
            Axes as in ``axes``.
        """
        shape = (grid or self.grid).shape
        # In the machine's byte order, as dask joins frames.
        dtype = np.dtype(dtype or self.dtype).newbyteorder("=")

        def lazily(number: int, channel: int) -> da.Array:
            work = delayed(lambda: change(number, self.frame(number, channel)).astype(dtype, copy=False), pure=False)()
            return da.from_delayed(work, shape=shape, dtype=dtype)

        channels = [da.stack([lazily(t, c) for t in range(self.n_frames)]) for c in range(self.n_channels)]
        has_channels = "c" in self.axes
        order = self.frame_axis + ("c" if has_channels else "") + self.spatial_axes
        joined = da.stack(channels, axis=1) if has_channels else channels[0]
        return da.moveaxis(joined, range(len(order)), [self.axes.index(axis) for axis in order])

    def with_data(self, data: Any, *, name: str | None = None, step: Mapping[str, Any] | None = None) -> "Stack":
        """The same place and axes with other values.

        Parameters
        ----------
        data : array
            Same shape.
        name : str, optional
            New name.
        step : mapping, optional
            Appended to the history.

        Returns
        -------
        Stack
            A new stack.
        """
        if tuple(data.shape) != self.shape:
            raise ValueError(f"Expected data of shape {self.shape}, got {tuple(data.shape)}.")
        history = self.history if step is None else (*self.history, step)
        return replace(self, data=data, name=self.name if name is None else name, history=history)

    def with_grid(self, data: Any, grid: Grid) -> "Stack":
        """Other values on another grid.

        Parameters
        ----------
        data : array
            Axes as in ``axes``, spatial shape of ``grid``.
        grid : Grid
            The new spatial grid.

        Returns
        -------
        Stack
            A new stack.
        """
        spacing, origin, units = list(self.spacing), list(self.origin), list(self.units)
        for number, axis in enumerate(self.spatial_axes):
            place = self.axes.index(axis)
            spacing[place], origin[place], units[place] = grid.spacing[number], grid.origin[number], grid.units[number]
        return replace(self, data=data, spacing=tuple(spacing), origin=tuple(origin), units=tuple(units))

    def _without(self, place: int, data: Any) -> "Stack":
        def cut(values: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(value for number, value in enumerate(values) if number != place)

        axes = self.axes[:place] + self.axes[place + 1 :]
        return replace(self, data=data, axes=axes, spacing=cut(self.spacing), origin=cut(self.origin), units=cut(self.units))


def _check_letters(axes: str, shape: tuple[int, ...]) -> None:
    fits = len(axes) == len(shape) and len(set(axes)) == len(axes) and set(axes) <= set(AXES)
    if not fits:
        example = {2: "yx", 3: "tyx", 4: "tzyx", 5: "tczyx"}.get(len(shape), "tyx")
        raise ValueError(
            f"Stack axes must be one letter of {AXES!r} per dimension, got {axes!r} for shape {shape}; "
            f"pass e.g. axes={example!r}."
        )


def _check_axes(axes: str, shape: tuple[int, ...]) -> None:
    _check_letters(axes, shape)
    if 0 in shape:
        raise ValueError(f"Every axis must have at least one entry, got shape {shape}.")
    if not axes.endswith("yx"):
        raise ValueError(f"Stack axes must end in 'yx', got {axes!r}; transpose the data or correct the axes.")
    if not {"t", "z"} & set(axes):
        raise ValueError(
            f"Expected a series of frames along 't' or 'z', got axes {axes!r} with shape {shape}; a single image has nothing "
            "to register to. Open the whole time-lapse or section stack; to denoise one image use Stack.of_image(image)."
        )


def _check_dtype(dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "iuf":
        advice = {"b": "convert masks with astype('uint8') if you must", "c": "take its real part or magnitude"}
        raise TypeError(
            f"Expected integer or floating intensities, got {dtype}; {advice.get(dtype.kind, 'convert the data first')}."
        )
