"""A Grid as JSON, kept beside transforms."""

import json
from pathlib import Path
from typing import Any

from napari_denoisereg.geometry import Grid


def as_dict(grid: Grid) -> dict[str, Any]:
    """A Grid as JSON-ready values.

    Parameters
    ----------
    grid : Grid
        Any grid.

    Returns
    -------
    dict
        ``shape``, ``spacing``, ``origin``, ``units``, axis order.
    """
    return {
        "shape": list(grid.shape),
        "spacing": list(grid.spacing),
        "origin": list(grid.origin),
        "units": list(grid.units),
    }


def from_dict(values: Any, source: Path) -> Grid:
    """Inverse of `as_dict`.

    Parameters
    ----------
    values : mapping
        What `as_dict` returned.
    source : Path
        Where it was found, named in errors.

    Returns
    -------
    Grid
        An equal grid.

    Raises
    ------
    ValueError
        When it is not as `as_dict` writes it.
    """
    try:
        return Grid(*(tuple(values[name]) for name in ("shape", "spacing", "origin", "units")))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"The grid in {source} is damaged ({type(error).__name__}: {error}); copy it again.") from error


def from_text(text: str, source: Path) -> Grid:
    """`from_dict` of JSON text.

    Parameters
    ----------
    text : str
        A line of JSON.
    source : Path
        Where it was found, named in errors.

    Returns
    -------
    Grid
        An equal grid.

    Raises
    ------
    ValueError
        When it is damaged.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ValueError(f"The grid in {source} is damaged ({error}); copy it again.") from error
    return from_dict(values, source)
