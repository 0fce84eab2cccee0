"""Lines of a CSV file, and numbers in them; what is wrong is told with file and line."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Line:
    """One row of a file.

    Parameters
    ----------
    number : int
        Its number there, counted from 1.
    cells : list of str
        What it holds.
    """

    number: int
    cells: list[str]


def read_lines(source: Path) -> tuple[list[Line], str]:
    """Read a CSV file, whatever divides its columns.

    Parameters
    ----------
    source : Path
        The file.

    Returns
    -------
    lines : list of Line
        Without empty ones, and those that begin with ``#``.
    delimiter : str
        Comma, semicolon or tabulator.

    Raises
    ------
    ValueError
        When it is no text.
    """
    try:
        text = source.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise ValueError(f"{source} is no text file; expected keypoints as CSV.") from error
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(text.splitlines(), delimiter=delimiter)
    rows = [Line(reader.line_num, cells) for cells in reader]
    return [row for row in rows if any(cell.strip() for cell in row.cells) and not row.cells[0].startswith("#")], delimiter


def is_number(text: str) -> bool:
    """Whether a cell holds a number.

    Parameters
    ----------
    text : str
        The cell.

    Returns
    -------
    bool
        True for infinity, too.
    """
    try:
        float(text)
    except ValueError:
        return False
    return True


def number_in(line: Line, place: int, name: str, source: Path, *, finite: bool = True) -> float:
    """Read a number.

    Parameters
    ----------
    line : Line
        The row.
    place : int
        Column, counted from 0.
    name : str
        What it is, for the message.
    source : Path
        The file, for the message.
    finite : bool
        Refuse infinity, too.

    Returns
    -------
    float
        What stands there.

    Raises
    ------
    ValueError
        Names file, line and column.
    """
    text = line.cells[place].strip()
    if not is_number(text) or (finite and not math.isfinite(float(text))):
        raise ValueError(
            f"{source}, line {line.number}: expected a number for {name} in column {place + 1}, got {text!r}; correct or "
            "delete this line."
        )
    return float(text)


def frame_in(line: Line, place: int, source: Path) -> int:
    """Read the number of a frame.

    Parameters
    ----------
    line, place, source
        See `number_in`.

    Returns
    -------
    int
        Counted from 0.

    Raises
    ------
    ValueError
        For anything but 0, 1, 2, ...
    """
    value = number_in(line, place, "frame", source)
    if abs(value - round(value)) > 1e-6 or value < 0:
        raise ValueError(
            f"{source}, line {line.number}: expected a frame number 0, 1, 2, ... in column {place + 1}, got {value:g}; correct "
            "or delete this line."
        )
    return round(value)
