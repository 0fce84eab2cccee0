"""A Shapes layer to draw an outline in, taken away when its points are marked."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Shapes

from napari_denoisereg.evaluation.keypoints import Floats
from napari_denoisereg.widgets.keypoint_movie import Movie

HOW = "Click around the object, double-click to close the outline, then press Mark along it."
NONE_DRAWN = "There is no outline yet: press Draw outline, click around the object, and double-click to close it."


class Outline:
    """An outline on a movie.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    movie : Movie
        The movie.
    """

    def __init__(self, viewer: Any, movie: Movie) -> None:
        self._viewer = viewer
        self._movie = movie
        self._layer: Shapes | None = None

    def draw(self) -> None:
        """Let the user draw."""
        if self._layer is None or self._layer not in self._viewer.layers:
            self._layer = Shapes(
                ndim=len(self._movie.look.axes),
                name=f"{self._movie.look.name} [outline]",
                edge_color="#F0E442",
                face_color="transparent",
                edge_width=max(1.0, max(self._movie.stack.grid.shape[-2:]) / 250),
                **self._movie.look.place,
            )
            self._viewer.add_layer(self._layer)
        self._viewer.layers.selection.active = self._layer
        self._layer.mode = "add_polygon"

    def take(self) -> tuple[int, Floats]:
        """The outline that was drawn last.

        Returns
        -------
        frame : int
            It was drawn in.
        corners : ndarray
            ``(M, D)``, pixels.

        Raises
        ------
        ValueError
            When there is none.
        """
        if self._layer is None or self._layer not in self._viewer.layers or not len(self._layer.data):
            raise ValueError(NONE_DRAWN)
        frames, corners = self._movie.marks(self._layer.data[-1])
        return int(np.median(frames)), corners

    def remove(self) -> None:
        """Take the layer away."""
        if self._layer is not None and self._layer in self._viewer.layers:
            self._viewer.layers.remove(self._layer)
        self._layer = None
