"""The command ``denoisereg apply``: a registration on other images, labels, points, shapes, tracks and keypoints."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from napari_denoisereg import io, results
from napari_denoisereg.console import Teller, with_bar

TABLE = ".csv"
Transforms = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="TRANSFORMS")]
Source = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MOVIE")]
Target = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUTPUT")]


@dataclass
class Apply:
    """Apply the transforms of a registration to another channel, to labels, or to points, shapes, tracks and keypoints."""

    transforms: Transforms
    """Result of run or register, or a transforms file."""
    source: Source
    """Movie, stack or labels to align, with as many frames as were registered; or points, shapes, tracks, keypoints (.csv)."""
    target: Target
    """File to write (.ome.zarr, .tif; .csv for points, shapes, tracks and keypoints)."""
    axes: str | None = None
    """Dimensions of the file in their order, e.g. tyx (t time, z depth or section, c channel). Default: what the file says."""
    spacing: tuple[float, ...] = ()
    """Distance between voxels, one number per axis, e.g. 60 0.2 0.2. Default: what the file says. For a .csv: how far a step of
    its numbers is, e.g. 1 1 1 for micrometres; default: pixels of the registered movie."""
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
        if is_table and (self.axes or self.units):
            raise ValueError(f"The columns of {self.source} say its axes; leave out --axes and --units.")
        io.check_suffix(self.target, (TABLE,) if is_table else io.WRITTEN)
        io.check_apart(self.target, self.source, self.transforms)
        io.check_writable(self.target, overwrite=self.overwrite)
        console.will_write(self.target)
        if is_table:
            self._move_marks(console)
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

    def _move_marks(self, console: Teller) -> None:
        registration = results.read_registration(self.transforms)
        marks = io.read_marks(self.source, spacing=registration.grid.spacing)
        moved = marks.moved(registration, inverse=self.inverse, spacing=self.spacing[-registration.grid.ndim :])
        if len(moved) < len(marks):
            console.print(f"{len(marks) - len(moved)} marks have no place there and are left out.", soft_wrap=True)
        io.write_marks(moved, self.target, overwrite=self.overwrite)
