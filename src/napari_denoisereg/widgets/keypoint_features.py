"""What a layer of keypoints says of each point: where it is, whether it counts. No Qt.

A layer that went through a CSV file has its yes and no as the words "True" and "False", which are both true to Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari.layers import Layer

    Flags = NDArray[np.bool_]

NO = ("false", "0", "0.0", "no", "nan", "none", "")


def flags(features: Any, name: str, default: bool) -> Flags:
    """A column of yes and no.

    Parameters
    ----------
    features : DataFrame
        Of a Points layer.
    name : str
        Of the column.
    default : bool
        Where there is no such column.

    Returns
    -------
    ndarray
        ``(N,)``, bool; unknown is no.
    """
    if name not in features:
        return np.full(len(features), default)
    return np.array([str(value).strip().lower() not in NO for value in features[name]], dtype=bool)


def words(features: Any, name: str, default: str) -> list[str]:
    """A column of words.

    Parameters
    ----------
    features : DataFrame
        Of a Points layer.
    name : str
        Of the column.
    default : str
        Where there is no such column, and for empty cells: those of a CSV file are not a number.

    Returns
    -------
    list of str
        One per point.
    """
    if name not in features:
        return [default] * len(features)
    said = [str(value).strip() for value in features[name]]
    return [default if each.lower() in ("", "nan", "none", "<na>") else each for each in said]


def in_voxels(layer: Layer, source: Layer) -> NDArray[np.float64]:
    """Points of a layer in the voxels of another one.

    Parameters
    ----------
    layer : Points
        The points.
    source : Layer
        The movie they lie on.

    Returns
    -------
    ndarray
        ``(N, ndim)``.
    """

    def brought(row: Any) -> NDArray[np.float64]:
        return np.asarray(source.world_to_data(layer.data_to_world(row)), dtype=np.float64)

    origin = brought(np.zeros(layer.ndim))
    columns = np.stack([brought(row) - origin for row in np.eye(layer.ndim)])
    return np.asarray(np.asarray(layer.data, float) @ columns + origin, dtype=np.float64)


def counting(features: Any) -> Flags:
    """Which points somebody marked and wants to count: proposals and excluded ones do not.

    Parameters
    ----------
    features : DataFrame
        Of a Points layer.

    Returns
    -------
    ndarray
        ``(N,)``, bool.
    """
    return flags(features, "included", True) & ~flags(features, "proposed", False)
