"""Tables of marked places that a registration carries along: points, outlines, tracks and keypoints as CSV files.

=============  ====================================================================================================
name           columns
=============  ====================================================================================================
napari points  ``index,axis-0,axis-1,...``, as napari saves a Points layer: axis-0 is the frame
napari shapes  ``index,shape-type,vertex-index,axis-0,...``, as napari saves a Shapes layer
tracks         ``track_id,t,(z,)y,x``, as napari orders them; also btrack's ``ID,t,x,y,z`` and TrackMate's spots
               (``FRAME,POSITION_X,...``, whose further lines of headings are kept)
keypoints      ``frame,id,annotator,kind,(z,)y,x``, ``t,(z,)y,x`` with or without header, and BigWarp's landmarks; what
               could be tracks as well needs a header
=============  ====================================================================================================

The format is found from the content. Only positions are changed: a table keeps its columns, their order, and whatever else it
says of each mark (BigWarp's landmarks become keypoints).
"""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from napari_denoisereg.atomic import find, replacing
from napari_denoisereg.io.csv_lines import Line, frame_in, is_number, number_in, read_lines
from napari_denoisereg.io.keypoints import is_bigwarp, named_rows, read_keypoints
from napari_denoisereg.register.places import KINDS, Floats, Outline, carried, carried_outlines
from napari_denoisereg.register.registration import Registration

Cells = tuple[str, ...]
SHAPE_COLUMNS = ("index", "shape-type", "vertex-index")
NAMES = {  # by which columns are found, the best first
    "frame": ("frame", "t", "time", "timepoint"),
    "z": ("z", "position_z"),
    "y": ("y", "position_y"),
    "x": ("x", "position_x"),
}
CORNERS = {"ellipse": 4, "line": 2, "rectangle": 4}  # as napari keeps them
EXPECTED = (
    "expected napari's points (index, axis-0, axis-1, ...) or shapes (index, shape-type, vertex-index, axis-0, ...), tracks "
    "(track_id, t, y, x) or keypoints (frame, id, y, x), with z before y in 3D"
)


@dataclass(frozen=True, eq=False)
class MarkTable:
    """Marked places of a movie, with everything else that their table says.

    Parameters
    ----------
    heading : tuple of tuple of str
        Lines above the marks; empty where there are none.
    rows : tuple of tuple of str
        Cells of each mark, or of each corner of an outline.
    numbers : ndarray
        ``(N, 1 + D)``: frame, counted from 0, and position, axis order.
    columns : tuple of int
        Where the numbers stand in a row.
    outline : tuple of int
        Columns of a shape's number, kind and corner number; empty for single marks.
    delimiter : str
        What stands between cells.
    """

    heading: tuple[Cells, ...]
    rows: tuple[Cells, ...]
    numbers: Floats
    columns: tuple[int, ...]
    outline: tuple[int, ...] = ()
    delimiter: str = ","

    def __len__(self) -> int:
        """Return the number of marks, or of shapes."""
        return len(self._marks())

    def moved(self, registration: Registration, *, inverse: bool = False, spacing: Sequence[float] = ()) -> "MarkTable":
        """Bring marks to where they lie in the aligned movie.

        Parameters
        ----------
        registration : Registration
            Of the movie that was marked.
        inverse : bool
            Bring marks of the aligned movie to where they lie in the recorded one instead.
        spacing : sequence of float
            How far one step of the table's numbers is in the registration's unit, one per spatial axis, e.g. ``(1, 1)`` for a
            table in micrometres; by default numbers are pixels of the registered movie.

        Returns
        -------
        MarkTable
            Without marks and shapes that have no place there. Where transforms bend, outlines are polygons and paths.

        Raises
        ------
        ValueError
            For other axes, and frames that were not registered.
        """
        ndim = registration.grid.ndim
        if self.numbers.shape[1] == ndim + 2 and not self.numbers[:, 1].any():  # some programs say z = 0 of flat movies
            flat = replace(self, numbers=np.delete(self.numbers, 1, axis=1), columns=(self.columns[0], *self.columns[2:]))
            return flat.moved(registration, inverse=inverse, spacing=spacing)
        if spacing and (len(spacing) != ndim or min(spacing) <= 0):
            raise ValueError(f"Expected {ndim} positive spacings, one per spatial axis, got {list(spacing)}.")
        to_world = np.diag([*spacing, 1.0]) if spacing else None

        def carry(numbers: Floats) -> Floats:
            frames = np.rint(numbers[:, 0]).astype(np.int64)
            places = carried(registration, frames, numbers[:, 1:], inverse=inverse, to_world=to_world)
            return np.column_stack([numbers[:, :1], places])

        if self.outline:
            return self._with(carried_outlines(registration, self.outlines(), carry))
        return self._with([(each[None], "") for each in carry(self.numbers)])

    def outlines(self) -> list[Outline]:
        """The shapes.

        Returns
        -------
        list of Outline
            Frame and position of every corner, and napari's ``shape_type``; empty for single marks.
        """
        if not self.outline:
            return []
        return [(self.numbers[rows], self.rows[rows[0]][self.outline[1]].strip().lower()) for rows in self._marks()]

    def _marks(self) -> list[list[int]]:
        """Rows of each mark: one, or the corners of an outline, which stand together."""
        rows = range(len(self.rows))
        return [list(each) for _, each in groupby(rows, lambda row: self.rows[row][self.outline[0]] if self.outline else row)]

    def _with(self, moved: Sequence[Outline]) -> "MarkTable":
        """The marks elsewhere, without those that have no place."""
        kept = [(rows, *mark) for rows, mark in zip(self._marks(), moved, strict=True) if np.isfinite(mark[0]).all()]
        made = []
        for number, (rows, corners, kind) in enumerate(kept):
            for corner, values in enumerate(corners):
                # A corner that is new says what the last one says.
                cells = self._row(rows[min(corner, len(rows) - 1)], values)
                for column, value in zip(self.outline, (number, kind, corner), strict=False):
                    cells[column] = str(value)
                made.append(tuple(cells))
        numbers = np.concatenate([corners for _, corners, _ in kept]) if kept else self.numbers[:0]
        return replace(self, rows=tuple(made), numbers=numbers)

    def _row(self, row: int, values: Floats) -> list[str]:
        """Cells of a row with other numbers; those that are the same are written as they were."""
        cells = list(self.rows[row])
        for column, before, after in zip(self.columns, self.numbers[row].tolist(), values.tolist(), strict=True):
            if before != after:
                cells[column] = repr(after)
        return cells


def read_marks(path: str | Path, *, spacing: Sequence[float] | None = None) -> MarkTable:
    """Read a table of marks, whatever the format.

    Parameters
    ----------
    path : str or Path
        A CSV file, see the module.
    spacing : sequence of float, optional
        Size of a pixel, for BigWarp; see `read_keypoints`.

    Returns
    -------
    MarkTable
        As it stands there.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        Names the file and the line that cannot be read, and what to do.
    """
    source = find(path)
    lines, delimiter = read_lines(source)
    if not lines:
        raise ValueError(f"{source} is empty; {EXPECTED}.")
    if is_bigwarp(lines[0]):
        points = read_keypoints(source, spacing=spacing)
        lines = [Line(number, list(map(str, cells))) for number, cells in enumerate(named_rows(points))]
    if all(is_number(cell) for cell in lines[0].cells):
        return _refuse_tracks(_table((), lines, _unnamed(lines[0], source), (), source, delimiter), source)
    names = [cell.strip().lower() for cell in lines[0].cells]
    columns, outline = _columns(names, source), _outline_columns(names, source)
    head = 1
    # TrackMate explains its columns in further lines.
    while "position_x" in names and head < len(lines) and not is_number(lines[head].cells[columns[0]]):
        head += 1
    return _table([tuple(line.cells) for line in lines[:head]], lines[head:], columns, outline, source, delimiter)


def write_marks(table: MarkTable, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a table of marks.

    Parameters
    ----------
    table : MarkTable
        What to write.
    path : str or Path
        The file.
    overwrite : bool
        Whether an earlier file may be replaced.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OSError
        See `check_writable`.
    """
    text = io.StringIO()
    csv.writer(text, delimiter=table.delimiter, lineterminator="\n").writerows([*table.heading, *table.rows])
    target = Path(path)
    with replacing(target, overwrite=overwrite) as part:
        part.write_text(text.getvalue(), encoding="utf-8")
    return target


def _unnamed(first: Line, source: Path) -> tuple[int, ...]:
    width = len(first.cells)
    if width not in (3, 4):
        raise ValueError(
            f"{source} has {width} columns without names; expected t, y, x or t, z, y, x. Add a header line, e.g. "
            f"{'track_id,t,z,y,x' if width == 5 else 'track_id,t,y,x'}."
        )
    return tuple(range(width))


def _refuse_tracks(table: MarkTable, source: Path) -> MarkTable:
    """Refuse four columns without names that are t, z, y, x as well as track_id, t, y, x; else return the table."""
    if table.numbers.shape[1] == 4:
        first, second = table.numbers[:, 0], table.numbers[:, 1]
        goes_on = first[1:] == first[:-1]  # the same frame, or the same track
        if goes_on.any() and (second % 1 == 0).all() and (np.diff(second)[goes_on] > 0).all():
            raise ValueError(
                f"{source} has four columns without names, which may be t, z, y, x or tracks (track_id, t, y, x): the second "
                "one counts up as frames of a track do. Say which by a first line: t,z,y,x or track_id,t,y,x."
            )
    return table


def _columns(names: list[str], source: Path) -> tuple[int, ...]:
    """Where frame and position stand, axis order."""
    axes = sorted((name for name in names if re.fullmatch(r"axis-\d+", name)), key=lambda name: int(name[5:]))
    if axes == [f"axis-{place}" for place in range(len(axes))] and len(axes) in (3, 4):
        return tuple(map(names.index, axes))
    found = {axis: next((names.index(name) for name in known if name in names), None) for axis, known in NAMES.items()}
    if None in (found["frame"], found["y"], found["x"]):
        raise ValueError(f"{source} has the columns {', '.join(filter(None, names))}; {EXPECTED}.")
    return tuple(place for place in found.values() if place is not None)


def _outline_columns(names: list[str], source: Path) -> tuple[int, ...]:
    if not {"shape-type", "vertex-index"} & set(names):
        return ()
    missing = [name for name in SHAPE_COLUMNS if name not in names]
    if missing:
        raise ValueError(f"{source} has the columns {', '.join(names)}, but no {missing[0]}; save the Shapes layer again.")
    return tuple(map(names.index, SHAPE_COLUMNS))


def _table(
    heading: Sequence[Cells],
    lines: list[Line],
    columns: tuple[int, ...],
    outline: tuple[int, ...],
    source: Path,
    delimiter: str,
) -> MarkTable:
    """Check every line, and every shape."""
    if not lines:
        raise ValueError(f"{source} has a header but no marks; mark some and save again.")
    width, axes = len(heading[0] if heading else lines[0].cells), "zyx"[4 - len(columns) :]
    numbers = []
    for line in lines:
        if len(line.cells) < width:
            raise ValueError(
                f"{source}, line {line.number}: expected {width} columns, got {len(line.cells)}; complete or delete it."
            )
        place = [number_in(line, column, axis, source) for column, axis in zip(columns[1:], axes, strict=True)]
        numbers.append([float(frame_in(line, columns[0], source)), *place])
    table = MarkTable(
        tuple(heading), tuple(tuple(line.cells) for line in lines), np.array(numbers), columns, outline, delimiter
    )
    for number, (corners, kind) in enumerate(table.outlines()):
        if kind not in KINDS:
            raise ValueError(
                f"{source}: shape {number} is a {kind!r}, expected one of {', '.join(KINDS)}; correct its shape-type."
            )
        if len(corners) != CORNERS.get(kind, len(corners)):
            raise ValueError(
                f"{source}: shape {number}, {kind}, has {len(corners)} corners in a row, expected {CORNERS[kind]}; save the "
                "Shapes layer again."
            )
    return table
