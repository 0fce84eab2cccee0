"""The command ``denoisereg register ... --objects LABELS``: each tracked object by itself."""

import math
from pathlib import Path
from typing import Any, Protocol

from rich.text import Text

from napari_denoisereg import io, pipeline
from napari_denoisereg.console import Teller, with_bar
from napari_denoisereg.model import load as load_model
from napari_denoisereg.objects import register_objects, write_objects
from napari_denoisereg.register import Series

UNUSED = ("start", "region", "landmarks", "keypoints", "save_models")


class Asked(Protocol):
    """What of ``denoisereg register`` counts here."""

    source: Path
    target: Path
    axes: str | None
    spacing: tuple[float, ...]
    units: tuple[str, ...]
    device: Any
    model: tuple[Path, ...]
    objects: Path | None
    aligned: Path | None
    method: Any
    channel: int
    series: Series
    overwrite: bool


def register_each(command: Asked, console: Teller) -> None:
    """Register every object, write its transforms and the table of their motion, and the movie of still objects if wanted.

    Parameters
    ----------
    command : Asked
        With ``objects``; ``aligned`` is the file of that movie.
    console : Teller
        Where to tell what was done.

    Raises
    ------
    ValueError
        When labels do not fit, or an option was given that has no meaning for objects.
    """
    given = [name for name in UNUSED if getattr(command, name, None) is not None]
    if given:
        words = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ValueError(f"With --objects every object is followed by its labels alone; leave {words} out.")
    assert command.objects is not None
    io.check_suffix(command.target, (".zarr",))
    io.check_apart(command.target, command.source, command.objects, *command.model)
    io.check_writable(command.target, overwrite=command.overwrite)
    if command.aligned is not None:
        io.check_suffix(command.aligned)
        io.check_apart(command.aligned, command.source, command.objects, command.target, *command.model)
    stack = io.read(command.source, axes=command.axes, spacing=command.spacing, units=command.units)
    labels = io.read_mask(command.objects)
    if command.aligned is not None:
        io.check_writable(command.aligned, math.prod(stack.shape) * stack.dtype.itemsize, overwrite=command.overwrite)
    console.will_write(*(path for path in (command.target, command.aligned) if path is not None))
    models = [load_model(path, pipeline.FAMILIES) for path in command.model]
    how: dict[str, Any] = {"device": command.device, "channel": command.channel, "series": command.series}
    objects = with_bar(register_objects(stack, labels, command.method, models=models, **how), console)
    write_objects(objects, command.target, overwrite=command.overwrite)
    for number, reason in objects.left_out.items():
        console.print(Text(f"Object {number} is left out:", "bold yellow"), reason, soft_wrap=True)
    for number, motion in objects.items():
        if motion.doubts:
            console.print(Text(f"Look at object {number},", "bold yellow"), motion.doubts_in_words, soft_wrap=True)
    console.print(f"Registered {len(objects)} objects; their motion is in {command.target / 'motion.csv'}", soft_wrap=True)
    console.wrote(command.target)
    if command.aligned is not None:
        still = with_bar(objects.warp_steps(stack), console)
        with_bar(io.write_steps(still, command.aligned, overwrite=command.overwrite), console)
        console.wrote(command.aligned)
