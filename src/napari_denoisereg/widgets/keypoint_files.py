"""Keypoints from and to files and layers, for the dock's buttons. No widget in sight."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Points

from napari_denoisereg.evaluation.keypoints import Keypoints
from napari_denoisereg.widgets.keypoint_features import flags, in_voxels, words
from napari_denoisereg.widgets.keypoint_layer import ROLE
from napari_denoisereg.widgets.keypoint_marks import Marks
from napari_denoisereg.widgets.keypoint_movie import Movie
from napari_denoisereg.widgets.layers import METADATA_KEY

if TYPE_CHECKING:
    from napari_denoisereg.io.keypoints import FileFormat

# What a file dialog offers, the format that holds everything first.
FILTERS: dict[str, FileFormat] = {
    "Everything: ids, annotators, kinds (*.csv)": "denoisereg",
    "napari points (*.csv)": "napari",
    "BigWarp landmarks of frames 0 and 1 (*.csv)": "bigwarp",
    "Plain t, y, x (*.csv)": "plain",
}
ANY_CSV = "Keypoints: napari, BigWarp, plain, this plugin (*.csv *.txt)"


def write(points: Keypoints, path: str | Path, chosen_filter: str, movie: Movie) -> Path:
    """Write keypoints in the format that was chosen in a file dialog, which has asked whether to replace a file.

    Parameters
    ----------
    points : Keypoints
        In pixels.
    path : str or Path
        The file; ``.csv`` is added where it has no ending.
    chosen_filter : str
        One of `FILTERS`.
    movie : Movie
        For the size of its pixels.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        When the format would lose something.
    OSError
        When it cannot be written.
    """
    from napari_denoisereg.io.keypoints import write_keypoints

    target = Path(path) if Path(path).suffix else Path(path).with_suffix(".csv")
    file_format = FILTERS.get(chosen_filter, "denoisereg")
    return write_keypoints(points, target, file_format=file_format, spacing=movie.stack.grid.spacing, overwrite=True)


def read(path: str | Path, movie: Movie) -> Keypoints:
    """Read keypoints, whatever the format.

    Parameters
    ----------
    path : str or Path
        The file.
    movie : Movie
        For the size of its pixels.

    Returns
    -------
    Keypoints
        In pixels.

    Raises
    ------
    ValueError
        Names the line that cannot be read.
    """
    from napari_denoisereg.io.keypoints import read_keypoints

    return read_keypoints(path, spacing=movie.stack.grid.spacing)


def points_layers(layers: Sequence[Any], movie: Movie) -> list[Points]:
    """Points layers that may hold keypoints of a movie.

    Parameters
    ----------
    layers : sequence of Layer
        Of the viewer.
    movie : Movie
        The movie.

    Returns
    -------
    list of Points
        With as many axes as the movie's layer, and points.
    """
    return [layer for layer in layers if isinstance(layer, Points) and layer.ndim == movie.layer.ndim and len(layer.data)]


def is_ours(layer: Points, movie: Movie) -> bool:
    """Whether a Points layer was made by the dock for a movie.

    Parameters
    ----------
    layer : Points
        The layer.
    movie : Movie
        The movie.

    Returns
    -------
    bool
        True where the layer says so.
    """
    record = layer.metadata.get(METADATA_KEY)
    return isinstance(record, dict) and record.get("role") == ROLE and record.get("source") == movie.look.name


def marks_of_layer(layer: Points, movie: Movie, annotator: str) -> Marks:
    """Marks of any Points layer that lies on a movie.

    Parameters
    ----------
    layer : Points
        With the features ``id``, ``annotator``, ``kind``, ``included`` and ``check``, as far as it has them.
    movie : Movie
        The movie.
    annotator : str
        Who marked those without a name.

    Returns
    -------
    Marks
        Without ids, points are numbered in each frame in their order.

    Raises
    ------
    ValueError
        When a keypoint is there twice in a frame.
    """
    frames, positions = movie.marks(in_voxels(layer, movie.layer))
    features = layer.features
    columns = {str(name): np.asarray(values) for name, values in features.items()}
    numbers = columns.get("id", np.array(_order_in_frame(frames.tolist())))
    who, kinds = words(features, "annotator", annotator), words(features, "kind", "interior")
    points = Keypoints(frames, numbers, positions, who, kinds)
    marks = Marks(points, flags(features, "included", True), flags(features, "check", False))
    return marks.without(np.flatnonzero(flags(features, "proposed", False)))


def _order_in_frame(frames: list[int]) -> list[int]:
    seen: dict[int, int] = {}
    numbers = []
    for frame in frames:
        numbers.append(seen.get(frame, 0))
        seen[frame] = numbers[-1] + 1
    return numbers
