"""A table of matrices, one row per frame, for affine transforms.

Columns ``frame``, then ``m00``, ``m01``, ... row by row: the upper D rows of the homogeneous matrix, axis order ((z,) y, x),
world units. ``moving = M @ (fixed, 1)``. Lines that start with ``#`` explain this and hold the grid of the fixed space.
"""

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from napari_denoisereg.geometry import Affine, Grid, PerFrame, Transform
from napari_denoisereg.io.grids import as_dict, from_text

GRID_MARK = "# grid: "


def to_text(transforms: PerFrame, grid: Grid) -> str:
    """The table as text.

    Parameters
    ----------
    transforms : PerFrame
        Affine transforms.
    grid : Grid
        The fixed space.

    Returns
    -------
    str
        CSV; numbers are exact.

    Raises
    ------
    ValueError
        When a frame's transform is not affine.
    """
    ndim = transforms.ndim
    order = "(z, y, x)" if ndim == 3 else "(y, x)"
    text = io.StringIO()
    text.write("# Affine transforms, fixed to moving: moving = M @ (fixed, 1), one row per frame\n")
    text.write(f"# axis order {order}, world units {grid.units[0]}; m01 is row 0, column 1\n")
    text.write(GRID_MARK + json.dumps(as_dict(grid)) + "\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["frame", *(f"m{row}{column}" for row in range(ndim) for column in range(ndim + 1))])
    for frame, transform in enumerate(transforms):
        if not transform.is_affine:
            raise ValueError(
                f"A table of matrices holds affine transforms only, that of frame {frame} is a {type(transform).__name__}; "
                "write .zarr or a folder of ITK fields instead."
            )
        writer.writerow([frame, *(repr(value) for value in as_affine(transform).weights.flatten().tolist())])
    return text.getvalue()


def read(path: Path) -> tuple[list[Transform], Grid | None]:
    """Read a table of matrices.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    transforms : list of Transform
        One per frame, in the order of the frame column.
    grid : Grid or None
        None where the file does not say it.

    Raises
    ------
    ValueError
        Names the row that cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text file; expected a table of matrices as CSV.") from error
    stated = next((line for line in lines if line.startswith(GRID_MARK)), None)
    rows = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    if len(rows) < 2 or not _is_heading(rows[0][1]):
        raise ValueError(f"{path} is no table of matrices; expected the columns frame, m00, m01, ... and a row per frame.")
    frames = dict(_row(path, number, line) for number, line in rows[1:])
    if sorted(frames) != list(range(len(rows) - 1)):
        raise ValueError(f"{path} must have one row for each frame 0 to {len(rows) - 2}, got frames {sorted(frames)}.")
    grid = from_text(stated[len(GRID_MARK) :], path) if stated else None
    return [frames[frame] for frame in sorted(frames)], grid


def is_table(path: Path) -> bool:
    """Whether a CSV file is a table of matrices, and not e.g. one of keypoints.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    bool
        By its heading.
    """
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return _is_heading(next((line for line in file if line.strip() and not line.startswith("#")), ""))


def as_affine(transform: Transform) -> Affine:
    """One matrix for an affine transform of any make.

    Parameters
    ----------
    transform : Transform
        With ``is_affine``.

    Returns
    -------
    Affine
        The same map, float64.
    """
    if isinstance(transform, Affine):
        return transform
    parts: Iterable[Transform] = getattr(transform, "parts", ())
    merged: Transform | None = None
    for part in parts:
        merged = as_affine(part) if merged is None else Affine.merge(merged, as_affine(part))
    return merged if isinstance(merged, Affine) else Affine(transform.matrix()[:-1])


def _is_heading(line: str) -> bool:
    return line.replace(" ", "").lower().startswith("frame,m00,")


def _row(path: Path, number: int, line: str) -> tuple[int, Transform]:
    cells = next(csv.reader([line]))
    try:
        values = np.array([float(cell) for cell in cells[1:]])
        return int(cells[0]), Affine(torch.from_numpy(values.reshape({6: (2, 3), 12: (3, 4)}[len(values)])))
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"{path}, line {number}: expected a frame number and 6 (2D) or 12 (3D) finite numbers, got {line!r}; correct it."
        ) from error
