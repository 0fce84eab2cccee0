"""Axes, spacing, origin and units as TIFF, ImageJ and OME write them."""

import json
import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import tifffile

from napari_denoisereg.geometry.units import PIXEL, canonical
from napari_denoisereg.io.units import ome_symbol
from napari_denoisereg.stack import Stack

HISTORY_MARK = "napari-denoisereg history: "
TIME_MARK = "napari-denoisereg: TimeIncrement has no unit. "  # OME knows no such thing and takes it for seconds
_OME_SIZE = {"x": "PhysicalSizeX", "y": "PhysicalSizeY", "z": "PhysicalSizeZ", "t": "TimeIncrement"}
_OME_POSITION = {"x": "PositionX", "y": "PositionY", "z": "PositionZ", "t": "DeltaT"}
_OME_DEFAULT_UNIT = {"x": "µm", "y": "µm", "z": "µm", "t": "s"}


@dataclass(frozen=True)
class Calibration:
    """Where the voxels of a file are; axes that are not named have spacing 1, origin 0 and unit ``"pixel"``.

    Parameters
    ----------
    spacing, origin : mapping of str to float
        By axis letter, in ``units``.
    units : mapping of str to str
        By axis letter.
    history : tuple of mapping
        What was done to the stack before it was written.
    """

    spacing: Mapping[str, float] = field(default_factory=dict)
    origin: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()

    def arguments(self, axes: str) -> dict[str, Any]:
        """What `Stack` wants to know.

        Parameters
        ----------
        axes : str
            Axes of the stack.

        Returns
        -------
        dict
            ``spacing``, ``origin``, ``units``, ``history``.
        """
        return {
            "spacing": tuple(self.spacing.get(axis, 1.0) for axis in axes),
            "origin": tuple(self.origin.get(axis, 0.0) for axis in axes),
            "units": tuple(self.units.get(axis, PIXEL) for axis in axes),
            "history": self.history,
        }


def read_calibration(file: tifffile.TiffFile, number: int) -> Calibration:
    """Find out where the voxels are.

    Parameters
    ----------
    file : TiffFile
        Open file.
    number : int
        Which of its image series.

    Returns
    -------
    Calibration
        From OME-XML, ImageJ's description or the resolution tags, in this order.
    """
    page = file.series[number].keyframe
    if file.is_ome and file.ome_metadata:
        return _from_ome(file.ome_metadata, number)
    if file.is_imagej and file.imagej_metadata:
        return _from_imagej(file.imagej_metadata, page)
    shaped = (file.shaped_metadata or [{}])[0] if file.is_shaped else {}
    return _from_imagej(shaped, page) if "unit" in shaped else _from_tags(page)


def to_imagej(stack: Stack) -> tuple[str, dict[str, Any]]:
    """ImageJ's description of a stack.

    Parameters
    ----------
    stack : Stack
        Axes in the order ``tzcyx``.

    Returns
    -------
    description, arguments : str, dict
        The text, and ``resolution`` and ``extratags`` for `TiffWriter.write`.
    """
    place = {axis: number for number, axis in enumerate(stack.axes)}
    unit = canonical(stack.units[place["x"]])
    entries: dict[str, Any] = {"unit": "micron" if unit == "micrometer" else unit}
    if "z" in place:
        entries["spacing"] = repr(float(stack.spacing[place["z"]]))
    if "t" in place and (stack.spacing[place["t"]] != 1 or canonical(stack.units[place["t"]]) != PIXEL):
        entries["finterval"] = repr(float(stack.spacing[place["t"]]))
        entries["tunit"] = ome_symbol(stack.units[place["t"]]) or stack.units[place["t"]]
    for axis in set("zyx") & set(place):
        if stack.origin[place[axis]]:
            entries[f"{axis}origin"] = repr(-stack.origin[place[axis]] / stack.spacing[place[axis]])
    ordered = [axis for axis in "tzcyx" if axis in place]
    shape = [stack.shape[place[axis]] for axis in ordered]
    description = tifffile.imagej_description(shape, "".join(ordered).upper(), **entries)
    info = {"Info": HISTORY_MARK + json.dumps(list(stack.history))} if stack.history else {}
    return description.encode("ascii", "backslashreplace").decode(), {
        "resolution": (1 / stack.spacing[place["x"]], 1 / stack.spacing[place["y"]]),
        "resolutionunit": "NONE",
        "extratags": tifffile.tifffile.imagej_metadata_tag(info, "<"),
    }


def to_ome(stack: Stack) -> str:
    """OME-XML of a stack.

    Parameters
    ----------
    stack : Stack
        Any axes.

    Returns
    -------
    str
        The XML; planes in the order ``tzcyx``, channels fastest.

    Raises
    ------
    ValueError
        When OME has no such pixel type or unit.
    """
    place = {axis: number for number, axis in enumerate(stack.axes)}
    ordered = [axis for axis in "tzcyx" if axis in place]
    shape = [stack.shape[place[axis]] for axis in ordered]
    n_planes = math.prod(shape[:-2])
    entries: dict[str, Any] = {"Name": stack.name}
    planes: dict[str, Any] = {}
    notes = ""
    for axis in ordered:
        if axis not in _OME_SIZE:
            continue
        symbol = ome_symbol(stack.units[place[axis]])
        if symbol is None:
            raise ValueError(
                f"OME-TIFF has no unit {stack.units[place[axis]]!r} (axis {axis}); use e.g. 'micrometer', or write .zarr."
            )
        if axis == "t" and symbol == PIXEL:
            if stack.spacing[place["t"]] != 1:
                entries["TimeIncrement"] = float(stack.spacing[place["t"]])
                notes = TIME_MARK
        else:
            entries |= {_OME_SIZE[axis]: float(stack.spacing[place[axis]]), f"{_OME_SIZE[axis]}Unit": symbol}
            if stack.origin[place[axis]] and axis != "t":
                planes |= {_OME_POSITION[axis]: [float(stack.origin[place[axis]])] * n_planes}
                planes |= {f"{_OME_POSITION[axis]}Unit": [symbol] * n_planes}
    if planes:
        entries["Plane"] = planes
    if stack.history:
        notes += HISTORY_MARK + json.dumps(list(stack.history))
    if notes:
        entries["Description"] = notes
    xml = tifffile.OmeXml(Creator="napari-denoisereg")
    stored = (n_planes, 1, 1, shape[-2], shape[-1], 1)
    xml.addimage(stack.dtype, shape, stored, axes="".join(ordered).upper(), **entries)
    return str(xml.tostring(declaration=True))


def _from_ome(text: str, index: int) -> Calibration:
    try:
        images = [node for node in ET.fromstring(text) if _tag(node) == "Image"]
    except ET.ParseError:  # The pixels are still good; without units nobody takes them for calibrated.
        return Calibration()
    image = images[min(index, len(images) - 1)]
    pixels = next(node for node in image if _tag(node) == "Pixels")
    plane = next((node for node in pixels if _tag(node) == "Plane"), None)
    notes = next((node.text or "" for node in image if _tag(node) == "Description"), "")
    spacing, origin, units = {}, {}, {}
    for axis, name in _OME_SIZE.items():
        if (value := _positive(pixels.get(name))) is None:
            continue
        spacing[axis] = value
        units[axis] = canonical(pixels.get(f"{name}Unit", _OME_DEFAULT_UNIT[axis]))
        at = _OME_POSITION[axis]
        if plane is not None and axis != "t" and plane.get(at) is not None:
            # A stage position is used only when it is in the same unit as the pixels.
            same = canonical(plane.get(f"{at}Unit", "reference frame")) == units[axis]
            origin[axis] = float(plane.get(at, "0")) if same else 0.0
    if TIME_MARK in notes and "t" in units:
        units["t"] = PIXEL
    return Calibration(spacing, origin, units, _history(notes))


def _from_imagej(entries: Mapping[str, Any], page: tifffile.TiffPage) -> Calibration:
    unit = canonical(str(entries.get("unit", "")))
    tag = page.tags.get("ResolutionUnit")
    is_own = tag is not None and int(tag.value) == 1  # NONE: not for print, but in the unit of the description, or in none
    spacing = _resolution(page) if unit != PIXEL or entries.get("spacing") or is_own else {}
    if (depth := _positive(entries.get("spacing"))) is not None:
        spacing["z"] = depth
    units = dict.fromkeys(spacing, unit)
    interval = _positive(entries.get("finterval"))
    if interval is None and (rate := _positive(entries.get("fps"))) is not None:
        interval = 1 / rate
    if interval is not None:
        spacing["t"], units["t"] = interval, canonical(str(entries.get("tunit", "sec")))
    origin = {axis: -float(entries[f"{axis}origin"]) * spacing.get(axis, 1.0) for axis in "xyz" if f"{axis}origin" in entries}
    return Calibration(spacing, origin, units, _history(str(entries.get("Info", ""))))


def _from_tags(page: tifffile.TiffPage) -> Calibration:
    """Resolution tags of plain TIFF, used only where they can be a microscope's: below 10 µm per pixel, in cm."""
    tag = page.tags.get("ResolutionUnit")
    steps = {axis: 1e4 * step for axis, step in _resolution(page).items()}
    if tag is None or int(tag.value) != 3 or not all(0 < step < 10 for step in steps.values()):
        return Calibration()
    return Calibration(steps, {}, dict.fromkeys(steps, "micrometer"))


def _resolution(page: tifffile.TiffPage) -> dict[str, float]:
    """Size of a pixel in the file's unit, from the resolution tags (pixels per unit)."""
    steps = {}
    for axis, name in (("x", "XResolution"), ("y", "YResolution")):
        tag = page.tags.get(name)
        if tag is not None and tag.value[0] > 0 and tag.value[1] > 0:
            steps[axis] = tag.value[1] / tag.value[0]
    return steps


def _positive(value: Any) -> float | None:
    """A number that can be a spacing, else None."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _history(notes: str) -> tuple[Mapping[str, Any], ...]:
    _, mark, text = notes.partition(HISTORY_MARK)
    if not mark:
        return ()
    try:
        return tuple(json.loads(text))
    except ValueError:  # Somebody edited the note.
        return ()


def _tag(node: ET.Element) -> str:
    return node.tag.rpartition("}")[2]
