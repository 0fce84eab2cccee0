"""Objects: every tracked object of a movie registered by itself.

Where an object is, and when, is told by labels that keep their id over time. Its frames are cut to a window that goes along
with the labels' centre, in whole voxels; there the object is cut out, on a dark ground, so that its outline tells as much as
what is in it; what moved within the window is found by a registrar. The result maps from the object's first frame to each of
its frames.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from scipy import ndimage

from napari_denoisereg.encode.binding import with_encoders
from napari_denoisereg.geometry import Grid, PerFrame, Translation
from napari_denoisereg.io import check_writable, replacing, transforms_zarr
from napari_denoisereg.model import Model
from napari_denoisereg.object_motion import ObjectMotion, Objects, frames_in_words, motion_table
from napari_denoisereg.pipeline import Pipeline
from napari_denoisereg.register import Registrar, Registration, Series
from napari_denoisereg.register.stacks import train
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Pace, Progress, Steps, finish, portion

GROUND = 3.0
"""The ground that objects are cut out on is so many standard deviations of the object below its mean: a clear outline."""
MARGIN = 4
"""Voxels of ground on all sides."""
LEAST_VOXELS = 16
"""A smaller object shows nothing that could be followed."""

Voxels = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Sight:
    """An object in a frame: its mask from voxel ``low`` on, and the middle of that, in voxels."""

    frame: int
    middle: NDArray[np.float64]
    low: Voxels
    mask: Mask

    @property
    def centre(self) -> Voxels:
        """The voxel next to the middle."""
        return np.rint(self.middle).astype(np.int64)


def register_objects(  # noqa: PLR0913 - everything after method is a keyword
    stack: Stack,
    labels: Any,
    method: Registrar | str | Mapping[str, Any] = "affine",
    *,
    models: Sequence[Model] = (),
    device: str = "auto",
    channel: int = 0,
    series: Series | str | Mapping[str, Any] = "combined",
) -> Steps[Objects]:
    """Register every object of a movie by its own transforms.

    Parameters
    ----------
    stack : Stack
        The movie.
    labels : array or Stack
        ``(T, *spatial)``, whole numbers: 0 is background, the same object has the same number in all frames.
    method : Registrar, str or mapping
        A Method, its kind or its settings. One that is trained is trained once, on the whole movie.
    models : sequence of Model
        Trained ones to use instead.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``.
    channel : int
        Channel to look at.
    series : Series, str or mapping
        How pairs become a series.

    Returns
    -------
    Steps of Objects
        By id, rising. Objects that are seen once, or are too small, are named in ``left_out``.

    Raises
    ------
    ValueError
        When labels do not fit the movie or no object is in two frames; before any long work but reading them.
    """
    one, read = stack.channel(channel), _labels(labels, stack)
    sights = yield from portion(_sights(read, one), 0.0, 0.1)
    several = {number: seen for number, seen in sights.items() if len(seen) > 1}
    if not several:
        raise ValueError(
            "Expected labels that keep their number over time, got no object that is in two frames; track them first."
        )
    found = Objects()
    found.left_out |= {number: "it is in one frame only" for number in sights if number not in several}
    registrar = Registrar.coerce(method)
    (ready,), encoders = yield from portion(with_encoders((registrar,), one, models=models, device=device), 0.1, 0.15)
    known = [model for model in models if isinstance(model.method, Registrar)]
    if ready.is_trained and not known:
        known = list((yield from portion(train((ready,), one, device=device), 0.15, 0.5)))
    recipe = Pipeline(registrars=(ready,), keep_denoised=False, series=Series.coerce(series))
    begin = 0.5 if ready.is_trained or encoders else 0.15
    for place, (number, seen) in enumerate(sorted(several.items())):
        low, high = (begin + (1 - begin) * each / len(several) for each in (place, place + 1))
        try:
            work = _one(one, seen, recipe, known, device)
            found[number] = yield from portion(work, low, high, f"object {number}")
        except ValueError as error:
            found.left_out[number] = str(error)
    return found


def write_objects(objects: Objects, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write the transforms of every object, and the table of their motion.

    Parameters
    ----------
    objects : Objects
        What `register_objects` returned.
    path : str or Path
        ``OUT.zarr``: a zarr group with one group per id, each like a result of one registration
        (``results.read_registration(OUT.zarr/7)``), and ``motion.csv``.
    overwrite : bool
        Whether an earlier result may be replaced.

    Returns
    -------
    Path
        What was written.
    """
    target = Path(path)
    check_writable(target, overwrite=overwrite)
    rows = finish(motion_table(objects))
    with replacing(target, overwrite=overwrite) as part:
        group = zarr.create_group(part, zarr_format=3)
        frames = {str(number): list(motion.frames) for number, motion in objects.items()}
        group.attrs["napari-denoisereg"] = {"objects": frames}
        for number, motion in objects.items():
            group.create_group(str(number))
            transforms = motion.registration.transforms
            transforms_zarr.write(transforms, part / str(number) / "transforms", motion.registration.grid)
        _write_rows(rows, part / "motion.csv")
    return target


def write_table(objects: Objects, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write the table of motion alone.

    Parameters
    ----------
    objects : Objects
        What `register_objects` returned.
    path : str or Path
        ``OUT.csv``; see `motion_table` for the columns.
    overwrite : bool
        Whether an earlier file may be replaced.

    Returns
    -------
    Path
        What was written.
    """
    target = Path(path)
    check_writable(target, overwrite=overwrite)
    rows = finish(motion_table(objects))
    with replacing(target, overwrite=overwrite) as part:
        _write_rows(rows, part)
    return target


def _write_rows(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0].keys() if rows else ["id", "frame"])
        table.writeheader()
        table.writerows(rows)


def _labels(labels: Any, stack: Stack) -> Stack:
    """Labels as a stack of the movie's frames."""
    given = labels if isinstance(labels, Stack) else None
    if given is None:
        data = np.asarray(labels) if not hasattr(labels, "shape") else labels
        axes = stack.frame_axis + stack.spatial_axes
        if len(data.shape) == len(axes) and np.dtype(data.dtype).kind in "iu":
            given = Stack(data, axes)
    fits = given is not None and given.n_channels == 1 and given.dtype.kind in "iu"
    if given is None or not fits or (given.n_frames, given.grid.shape) != (stack.n_frames, stack.grid.shape):
        wanted = (stack.n_frames, *stack.grid.shape)
        got = f"{tuple(getattr(labels, 'shape', ()))} of {getattr(labels, 'dtype', type(labels).__name__)}"
        raise ValueError(f"Expected labels of shape {wanted}, whole numbers, got {got}; make them on the movie itself.")
    return given.channel(0)


def _sights(labels: Stack, stack: Stack) -> Steps[dict[int, list[_Sight]]]:
    """Where every object is, frame by frame."""
    found, pace = dict[int, list[_Sight]](), Pace()
    for frame in range(stack.n_frames):
        image = labels.frame(frame)
        numbers, packed = np.unique(image, return_inverse=True)
        boxes = ndimage.find_objects(packed.reshape(image.shape) + 1)
        for number, box in zip(numbers.tolist(), boxes, strict=True):
            if number:
                found.setdefault(number, []).append(_sight(image, number, box, frame))
        if pace.is_due(last=frame + 1 == stack.n_frames):
            yield Progress(frame + 1, stack.n_frames, "looking for objects")
    return found


def _sight(image: NDArray[Any], number: int, box: Sequence[slice], frame: int) -> _Sight:
    own, low = image[tuple(box)] == number, np.array([cut.start for cut in box])
    return _Sight(frame, low + np.argwhere(own).mean(0), low, own)


def _one(stack: Stack, sights: Sequence[_Sight], recipe: Pipeline, models: Sequence[Model], device: str) -> Steps[ObjectMotion]:
    """Register one object in a window that goes along with it."""
    grid, step = stack.grid, np.array(stack.grid.spacing)
    small = [each.frame for each in sights if each.mask.sum() < LEAST_VOXELS]
    if small:
        raise ValueError(f"it has fewer than {LEAST_VOXELS} voxels in {frames_in_words(small)}")
    # A margin on all sides shows the outline, and what moves beyond it.
    below = np.min([each.low - each.centre for each in sights], axis=0) - MARGIN
    above = np.max([each.low + each.mask.shape - each.centre for each in sights], axis=0) + MARGIN
    frames = [_cut_out(stack.frame(each.frame), each, below, above) for each in sights]
    blank = [each.frame for each, frame in zip(sights, frames, strict=True) if frame.min() == frame.max()]
    if blank:
        raise ValueError(f"it is equally bright everywhere in {frames_in_words(blank)}, so nothing shows how it moved")
    origin = tuple((np.array(grid.origin) + (sights[0].centre + below) * step).tolist())
    window = Grid(tuple((above - below).tolist()), grid.spacing, origin, grid.units)
    time = stack.axes.index(stack.frame_axis)
    spacing, units = (stack.spacing[time], *grid.spacing), (stack.units[time], *grid.units)
    crop = Stack(np.stack(frames), stack.frame_axis + stack.spatial_axes, spacing, (0.0, *origin), units, name=stack.name)
    result = yield from recipe.run(crop, device=device, models=models)
    inner = result.registration
    assert inner is not None
    gone = [Translation(((each.centre - sights[0].centre) * step).tolist()) for each in sights]
    transforms = PerFrame([found.then(way) for found, way in zip(inner.transforms, gone, strict=True)])
    registration = Registration(transforms, grid, inner.quality, inner.flagged, (*stack.history, *inner.history), inner.reasons)
    mask, middle = np.zeros(window.shape, bool), np.array(grid.origin) + sights[0].middle * step
    mask[_in_window(sights[0], below)] = sights[0].mask
    return ObjectMotion(tuple(each.frame for each in sights), registration, window, mask, tuple(middle.tolist()))


def _cut_out(frame: NDArray[Any], sight: _Sight, below: Voxels, above: Voxels) -> NDArray[np.float32]:
    """An object on its ground, in the window around its centre."""
    place = tuple(slice(a, a + n) for a, n in zip(sight.low, sight.mask.shape, strict=True))
    values = frame[place].astype(np.float32)
    own = values[sight.mask]
    window = np.full(above - below, own.mean() - GROUND * own.std(), np.float32)
    inner = _in_window(sight, below)
    window[inner] = np.where(sight.mask, values, window[inner])
    return window


def _in_window(sight: _Sight, below: Voxels) -> tuple[slice, ...]:
    """Where the mask lies in the window."""
    start = sight.low - sight.centre - below
    return tuple(slice(a, a + n) for a, n in zip(start, sight.mask.shape, strict=True))
