"""Keypoints as CSV files: ours, napari's points, BigWarp's landmarks and plain t, y, x.

=============  ====================================================================================================
name           columns
=============  ====================================================================================================
denoisereg     ``frame,id,annotator,kind,(z,)y,x``: pixels; other columns are passed over, all but frame, y, x may be
               missing
napari         ``index,axis-0,axis-1,...``: axis-0 is the frame; columns ``id``, ``annotator``, ``kind`` are kept as features
bigwarp        no header: name, active, moving x, y(, z), fixed x, y(, z) in physical units; fixed is frame 0, moving
               frame 1
plain          ``t,(z,)y,x`` with or without header
=============  ====================================================================================================

The format is found from the content. Where a file has no ids, points are numbered in each frame in the order of the file:
the third point of every frame is the same place of the specimen.
"""

import csv
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_denoisereg.atomic import find, replacing
from napari_denoisereg.evaluation.keypoints import Keypoints
from napari_denoisereg.io.csv_lines import Line, frame_in, is_number, number_in, read_lines

FileFormat = Literal["denoisereg", "napari", "bigwarp", "plain"]
_ALIASES = {
    "frame": ("frame", "t", "time", "timepoint", "axis-0"),
    "id": ("id", "track_id", "track", "keypoint", "point", "label"),
    "annotator": ("annotator",),
    "kind": ("kind",),
    "z": ("z",),
    "y": ("y",),
    "x": ("x",),
}


def read_keypoints(path: str | Path, *, spacing: Sequence[float] | None = None) -> Keypoints:
    """Read keypoints, whatever the format.

    Parameters
    ----------
    path : str or Path
        A CSV file, see the module.
    spacing : sequence of float, optional
        Size of a pixel, axis order ((z,) y, x), in the file's unit: for BigWarp, which writes physical units; 1 by default.
        Other formats are in pixels.

    Returns
    -------
    Keypoints
        In pixels.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        Names the file and the line that cannot be read, and what to do.
    """
    source = find(path)
    lines, _ = read_lines(source)
    if not lines:
        raise ValueError(f"{source} is empty; expected keypoints as CSV, e.g. with the columns frame, id, y, x.")
    first = [cell.strip().lower() for cell in lines[0].cells]
    if is_bigwarp(lines[0]):
        columns = _from_bigwarp(lines, source, spacing)
    elif all(is_number(cell) for cell in first):
        columns = _from_plain(lines, source)
    else:
        columns = _from_named(lines, first, source)
    try:
        return Keypoints(**columns)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def write_keypoints(
    points: Keypoints,
    path: str | Path,
    *,
    file_format: FileFormat = "denoisereg",
    spacing: Sequence[float] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write keypoints as CSV.

    Parameters
    ----------
    points : Keypoints
        In pixels.
    path : str or Path
        The file.
    file_format : {"denoisereg", "napari", "bigwarp", "plain"}
        See the module. Only the first two hold everything.
    spacing : sequence of float, optional
        Size of a pixel, axis order, for BigWarp; 1 by default.
    overwrite : bool
        Whether an earlier file may be replaced.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        When the format is unknown or would lose something.
    OSError
        See `check_writable`.
    """
    writers: dict[str, Callable[[Keypoints], Iterator[Sequence[Any]]]] = {
        "denoisereg": named_rows,
        "napari": _to_napari,
        "bigwarp": lambda given: _to_bigwarp(given, _steps(spacing, given.n_axes)),
        "plain": _to_plain,
    }
    if file_format not in writers:
        raise ValueError(f"Unknown keypoint format {file_format!r}; choose one of {', '.join(writers)}.")
    text = io.StringIO()
    # BigWarp quotes everything.
    quoting: Literal[0, 1] = csv.QUOTE_ALL if file_format == "bigwarp" else csv.QUOTE_MINIMAL
    csv.writer(text, lineterminator="\n", quoting=quoting).writerows(writers[file_format](points))
    target = Path(path)
    with replacing(target, overwrite=overwrite) as part:
        part.write_text(text.getvalue(), encoding="utf-8")
    return target


def is_bigwarp(first: Line) -> bool:
    """Whether a file holds landmarks of BigWarp: name, active, moving place, fixed place.

    Parameters
    ----------
    first : Line
        The first line of a file.

    Returns
    -------
    bool
        True if so.
    """
    return len(first.cells) in (6, 8) and first.cells[1].strip().lower() in ("true", "false")


def _from_plain(lines: list[Line], source: Path) -> dict[str, Any]:
    width = len(lines[0].cells)
    if width not in (3, 4):
        raise ValueError(
            f"{source} has {width} columns without names; expected t, y, x or t, z, y, x. Add a header line, e.g. frame,id,y,x."
        )
    return _columns(lines, ["frame", *"zyx"[4 - width :]], source)


def _from_named(lines: list[Line], header: list[str], source: Path) -> dict[str, Any]:
    if {"shape-type", "vertex-index"} & set(header):
        raise ValueError(f"{source} holds napari shapes, expected points; save a Points layer instead.")
    names = [next((name for name, known in _ALIASES.items() if cell in known), "") for cell in header]
    n_axes = sum(re.fullmatch(r"axis-\d+", cell) is not None for cell in header)
    if n_axes:
        place = dict(zip((f"axis-{n}" for n in range(1, n_axes)), "zyx"[4 - n_axes :], strict=False))
        names = [place.get(cell, name) for cell, name in zip(header, names, strict=True)]
    missing = [name for name in ("frame", "y", "x") if name not in names]
    if missing or not n_axes <= 4:
        raise ValueError(
            f"{source} has the columns {', '.join(filter(None, header))}; expected frame (or t), y and x, or napari's axis-0 "
            f"(frame), axis-1, axis-2. Add the column {missing[0] if missing else 'names'}."
        )
    if len(lines) < 2:
        raise ValueError(f"{source} has a header but no keypoints; mark some and save again.")
    return _columns(lines[1:], names, source)


def _columns(lines: list[Line], names: list[str], source: Path) -> dict[str, Any]:
    """Rows as the columns of Keypoints; ``names`` says what each cell is, empty for what is passed over."""
    axes = [axis for axis in "zyx" if axis in names]
    place = {name: names.index(name) for name in _ALIASES if name in names}
    frames, position = [], []
    for line in lines:
        if len(line.cells) < len(names):
            raise ValueError(
                f"{source}, line {line.number}: expected {len(names)} columns, got {len(line.cells)}; complete or delete it."
            )
        frames.append(frame_in(line, place["frame"], source))
        position.append([number_in(line, place[axis], axis, source) for axis in axes])
    columns: dict[str, Any] = {"frame": frames, "position": position}
    for name in ("annotator", "kind"):
        if name in place:
            columns[name] = [line.cells[place[name]].strip() for line in lines]
    labels = [line.cells[place["id"]].strip() for line in lines] if "id" in place else None
    columns["id"] = _order_in_frame(columns) if labels is None else _as_ids(labels)
    return columns


def _order_in_frame(columns: dict[str, Any]) -> list[int]:
    """Ids for files without: a point's place among those of its frame, annotator and kind."""
    n = len(columns["frame"])
    seen: dict[tuple[Any, ...], int] = {}
    ids = []
    for group in zip(columns["frame"], columns.get("annotator", [""] * n), columns.get("kind", [""] * n), strict=True):
        ids.append(seen.get(group, 0))
        seen[group] = ids[-1] + 1
    return ids


def _as_ids(labels: list[str]) -> list[int]:
    """Whole numbers as they are; other labels are numbered in the order they appear."""
    if all(is_number(label) and float(label).is_integer() for label in labels):
        return [int(float(label)) for label in labels]
    order = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    return [order[label] for label in labels]


def _from_bigwarp(lines: list[Line], source: Path, spacing: Sequence[float] | None) -> dict[str, Any]:
    n_axes = (len(lines[0].cells) - 2) // 2
    steps = _steps(spacing, n_axes)
    columns: dict[str, Any] = {"frame": [], "id": [], "position": []}
    names = [line.cells[0].strip() for line in lines]
    numbered = [re.search(r"\d+$", name) for name in names]
    ids = [int(match.group()) for match in numbered if match]
    if len(set(ids)) < len(lines):
        ids = list(range(len(lines)))
    for line, number in zip(lines, ids, strict=True):
        if len(line.cells) != 2 + 2 * n_axes:
            raise ValueError(
                f"{source}, line {line.number}: expected {2 + 2 * n_axes} columns (name, active, moving, fixed), got "
                f"{len(line.cells)}; export the landmarks again."
            )
        values = [number_in(line, place, "coordinate", source, finite=False) for place in range(2, 2 + 2 * n_axes)]
        # A landmark that is switched off, or set on one side only ("Infinity"), is none yet.
        if line.cells[1].strip().lower() != "true" or not all(math.isfinite(value) for value in values):
            continue
        for frame, point in ((1, values[:n_axes]), (0, values[n_axes:])):
            columns["frame"].append(frame)
            columns["id"].append(number)
            columns["position"].append((np.array(point[::-1]) / steps).tolist())
    if not columns["frame"]:
        raise ValueError(f"{source} has no active landmark that is set in both images; activate or set some in BigWarp.")
    return columns


def named_rows(points: Keypoints) -> Iterator[Sequence[Any]]:
    """Rows of a file of our own.

    Parameters
    ----------
    points : Keypoints
        In pixels.

    Yields
    ------
    sequence
        The header, and one row per mark.
    """
    yield ["frame", "id", "annotator", "kind", *"zyx"[-points.n_axes :]]
    for row in range(len(points)):
        identity = (points.frame[row], points.id[row], points.annotator[row], points.kind[row])
        yield [*identity, *map(repr, points.position[row].tolist())]


def _to_napari(points: Keypoints) -> Iterator[Sequence[Any]]:
    yield ["index", *(f"axis-{axis}" for axis in range(points.n_axes + 1)), "id", "annotator", "kind"]
    for row in range(len(points)):
        place = [float(points.frame[row]), *points.position[row].tolist()]
        yield [row, *map(repr, place), points.id[row], points.annotator[row], points.kind[row]]


def _to_plain(points: Keypoints) -> Iterator[Sequence[Any]]:
    _refuse_groups(points, "plain")
    yield ["t", *"zyx"[-points.n_axes :]]
    for frame in np.unique(points.frame).tolist():
        there = points.in_frame(frame)
        if there.id.tolist() != list(range(len(there))):
            raise ValueError(
                f"A plain file has no ids: in frame {frame} they should be 0 to {len(there) - 1} without gaps, got "
                f"{there.id.tolist()[:9]}; write file_format='denoisereg'."
            )
        for position in there.position.tolist():
            yield [frame, *map(repr, position)]


def _to_bigwarp(points: Keypoints, steps: np.ndarray[Any, np.dtype[np.float64]]) -> Iterator[Sequence[Any]]:
    _refuse_groups(points, "BigWarp")
    fixed, moving = points.in_frame(0), points.in_frame(1)
    if len(fixed) + len(moving) < len(points) or fixed.id.tolist() != moving.id.tolist():
        raise ValueError(
            "A BigWarp file holds the same points in frame 0 (fixed) and frame 1 (moving), got frames "
            f"{np.unique(points.frame).tolist()[:9]} with {len(fixed)} and {len(moving)} points there; choose two frames."
        )
    for number, from_place, to_place in zip(moving.id, moving.position * steps, fixed.position * steps, strict=True):
        yield [f"Pt-{number}", "true", *map(repr, [*from_place[::-1].tolist(), *to_place[::-1].tolist()])]


def _refuse_groups(points: Keypoints, name: str) -> None:
    groups = sorted(set(zip(points.annotator.tolist(), points.kind.tolist(), strict=True)))
    if len(groups) > 1:
        raise ValueError(f"A {name} file holds one annotator and kind, got {groups}; write file_format='denoisereg'.")


def _steps(spacing: Sequence[float] | None, n_axes: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    steps = np.ones(n_axes) if spacing is None else np.asarray(spacing, float)
    if steps.shape != (n_axes,) or not (steps > 0).all():
        raise ValueError(f"Expected {n_axes} positive spacings, axis order, got {spacing}; pass stack.grid.spacing.")
    return steps
