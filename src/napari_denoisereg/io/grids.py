"""A Grid as JSON, kept beside transforms."""

from collections.abc import Mapping
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


def from_dict(values: Mapping[str, Any]) -> Grid:
    """Inverse of `as_dict`.

    Parameters
    ----------
    values : mapping
        What `as_dict` returned.

    Returns
    -------
    Grid
        An equal grid.
    """
    return Grid(*(tuple(values[name]) for name in ("shape", "spacing", "origin", "units")))
