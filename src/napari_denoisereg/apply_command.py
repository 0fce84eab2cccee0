"""The command ``denoisereg apply``: transforms of a registration on other images, labels and keypoints."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from napari_denoisereg import io, results
from napari_denoisereg.console import Teller, with_bar
from napari_denoisereg.evaluation.keypoints import Keypoints
from napari_denoisereg.register import Registration

TABLE = ".csv"
Transforms = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="TRANSFORMS")]
Source = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MOVIE")]
Target = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUTPUT")]


@dataclass
class Apply:
    """Apply the transforms of a registration to another channel, to labels or to keypoints."""

    transforms: Transforms
    """Result of run or register, or a transforms file."""
    source: Source
    """Movie, stack, labels or keypoints (.csv) to align; as many frames as were registered."""
    target: Target
    """File to write (.ome.zarr, .tif; .csv for keypoints)."""
    axes: str | None = None
    """Dimensions of the file in their order, e.g. tyx (t time, z depth or section, c channel). Default: what the file says."""
    spacing: tuple[float, ...] = ()
    """Distance between voxels, one number per axis, e.g. 60 0.2 0.2. Default: what the file says."""
    units: tuple[str, ...] = ()
    """Unit of each axis, e.g. second micrometer micrometer. Default: what the file says."""
    interpolation: Literal["linear", "cubic", "nearest"] = "linear"
    """How values between pixels are found; use nearest for labels."""
    outside: float | Literal["edge"] = 0.0
    """What stands where nothing was imaged: a value, or edge for the value at the border."""
    inverse: bool = False
    """Go the other way: from the aligned frames back to the recorded ones."""
    overwrite: bool = False
    """Replace an earlier result."""

    def execute(self, console: Teller) -> None:
        """Do it."""
        is_table = self.source.suffix.lower() == TABLE
        io.check_suffix(self.target, (TABLE,) if is_table else io.WRITTEN)
        io.check_apart(self.target, self.source, self.transforms)
        io.check_writable(self.target, overwrite=self.overwrite)
        console.will_write(self.target)
        if is_table:
            self._move_keypoints(console)
        else:
            self._warp(console)
        console.wrote(self.target)

    def _warp(self, console: Teller) -> None:
        stack = io.read(self.source, axes=self.axes, spacing=self.spacing, units=self.units)
        registration = results.read_registration(self.transforms, otherwise=stack.grid)
        if registration.placed_like(stack).spacing != stack.spacing:
            console.print(f"{self.source} says no pixel size; that of the transforms is taken.", soft_wrap=True)
        chosen = registration.inverse() if self.inverse else registration
        aligned = chosen.warp(stack, interpolation=self.interpolation, outside=self.outside)
        with_bar(io.write_steps(aligned, self.target, overwrite=self.overwrite), console)

    def _move_keypoints(self, console: Teller) -> None:
        registration, marks = results.read_registration(self.transforms), io.read_keypoints(self.source)
        moved = moved_keypoints(marks, registration, inverse=self.inverse)
        if len(moved) < len(marks):
            console.print(f"{len(marks) - len(moved)} marks have no place there and are left out.", soft_wrap=True)
        io.write_keypoints(moved, self.target, overwrite=self.overwrite)


def moved_keypoints(marks: Keypoints, registration: Registration, *, inverse: bool = False) -> Keypoints:
    """Bring marks of all frames to where they lie in the aligned movie.

    Parameters
    ----------
    marks : Keypoints
        In pixels of the registered movie.
    registration : Registration
        Fixed to moving.
    inverse : bool
        Bring marks of the aligned movie to where they lie in the recorded one instead.

    Returns
    -------
    Keypoints
        In pixels; without marks that have no place there.

    Raises
    ------
    ValueError
        When marks have other axes, or frames that were not registered.
    """
    grid, n_frames = registration.grid, len(registration.transforms)
    if marks.n_axes != grid.ndim:
        raise ValueError(f"Expected keypoints with {grid.ndim} coordinates, as the transforms have axes, got {marks.n_axes}.")
    if len(marks) and int(marks.frame.max()) >= n_frames:
        raise ValueError(
            f"Expected keypoints of the {n_frames} frames that were registered, got frame {int(marks.frame.max())}; "
            "frames count from 0."
        )
    step, origin = np.array(grid.spacing), np.array(grid.origin)
    places = np.empty(marks.position.shape)
    for frame in np.unique(marks.frame):
        rows = marks.frame == frame
        world = registration.points(int(frame), marks.position[rows] * step + origin, inverse=not inverse)
        places[rows] = (world - origin) / step
    kept = np.isfinite(places).all(axis=1)
    return Keypoints(marks.frame[kept], marks.id[kept], places[kept], marks.annotator[kept], marks.kind[kept])
