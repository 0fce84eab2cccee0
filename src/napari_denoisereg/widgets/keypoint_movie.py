"""The movie that keypoints are marked on: which axis of its layer is the frame, which ones are space, and what is in view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image

from napari_denoisereg.evaluation.keypoints import Floats, Ints
from napari_denoisereg.widgets.keypoint_autosave import movie_key
from napari_denoisereg.widgets.layers import METADATA_KEY, Look

if TYPE_CHECKING:
    from napari_denoisereg.register import Registration
    from napari_denoisereg.stack import Stack


@dataclass(frozen=True, eq=False)
class Movie:
    """A layer to mark keypoints on.

    Parameters
    ----------
    layer : Image
        The layer.
    look : Look
        Where it is.
    stack : Stack
        The layer as a stack.
    channel : int
        The channel that the marks are seen in, where there are several.
    """

    layer: Image
    look: Look
    stack: Stack
    channel: int = 0

    @property
    def n_axes(self) -> int:
        """Number of spatial axes."""
        return int(self.stack.grid.ndim)

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return int(self.stack.n_frames)

    @property
    def frame_axis(self) -> int:
        """Which axis of the layer counts frames."""
        return self.look.axes.index(self.stack.frame_axis)

    @property
    def space(self) -> list[int]:
        """Which axes of the layer are space, in order."""
        return [place for place, axis in enumerate(self.look.axes) if axis in "zyx" and axis != self.stack.frame_axis]

    @property
    def key(self) -> str:
        """Tells the movie from others, for autosaving."""
        source = getattr(self.layer.source, "path", None)
        return movie_key(self.layer.name, tuple(self.layer.data.shape), None if source is None else str(source))

    def rows(self, frames: Any, positions: Floats) -> Floats:
        """Marks as rows of a Points layer.

        Parameters
        ----------
        frames : array_like
            ``(N,)``, or one for all.
        positions : ndarray
            ``(N, D)``, pixels.

        Returns
        -------
        ndarray
            ``(N, layer.ndim)``, data coordinates.
        """
        rows = np.zeros((len(positions), len(self.look.axes)))
        rows[:, self.frame_axis] = frames
        if "c" in self.look.axes:
            rows[:, self.look.axes.index("c")] = self.channel
        rows[:, self.space] = positions
        return rows

    def marks(self, rows: Any) -> tuple[Ints, Floats]:
        """Rows of a Points layer as marks.

        Parameters
        ----------
        rows : array_like
            ``(N, layer.ndim)``, data coordinates.

        Returns
        -------
        frames : ndarray
            ``(N,)``, the nearest that exist.
        positions : ndarray
            ``(N, D)``, pixels, kept within the frame.
        """
        table = np.atleast_2d(np.asarray(rows, dtype=float))
        frames = np.clip(np.rint(table[:, self.frame_axis]), 0, self.n_frames - 1).astype(np.int64)
        largest = np.array(self.stack.grid.shape, float) - 1
        return frames, np.clip(table[:, self.space], 0, largest)

    def frame_in_view(self, viewer: Any) -> int:
        """Number of the frame that a viewer shows.

        Parameters
        ----------
        viewer : napari.Viewer
            The viewer.

        Returns
        -------
        int
            The nearest that exists.
        """
        index = self.layer.world_to_data(viewer.dims.point)[self.frame_axis]
        return int(np.clip(round(float(index)), 0, self.n_frames - 1))

    def show_frame(self, viewer: Any, frame: int) -> None:
        """Make a viewer show a frame.

        Parameters
        ----------
        viewer : napari.Viewer
            The viewer.
        frame : int
            Counted from 0.
        """
        index = np.array(self.layer.world_to_data(viewer.dims.point), dtype=float)
        index[self.frame_axis] = frame
        axis = viewer.dims.ndim - self.layer.ndim + self.frame_axis
        viewer.dims.set_point(axis, self.layer.data_to_world(index)[self.frame_axis])

    def look_at(self, viewer: Any, position: Floats) -> None:
        """Move a viewer's camera to a place of the frame in view; the zoom stays.

        Parameters
        ----------
        viewer : napari.Viewer
            The viewer.
        position : ndarray
            ``(D,)``, pixels.
        """
        row = self.rows([self.frame_in_view(viewer)], np.atleast_2d(position))[0]
        world = np.array(self.layer.data_to_world(row))
        offset = viewer.dims.ndim - self.layer.ndim
        for place in self.space:
            if place + offset not in viewer.dims.displayed:
                viewer.dims.set_point(place + offset, world[place])
        shown = [axis - offset for axis in viewer.dims.displayed if axis >= offset]
        camera = getattr(viewer, "scene", viewer).camera  # before napari 0.9 the viewer's own
        camera.center = tuple(world[shown])


def registrations_in(viewer: Any, movie: Movie) -> dict[str, Registration]:
    """Registrations that layers of a viewer carry and that fit a movie.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    movie : Movie
        The movie.

    Returns
    -------
    dict
        Registration by the name of its layer, the newest last.
    """
    found = {}
    for layer in viewer.layers:
        record = layer.metadata.get(METADATA_KEY)
        registration = record.get("registration") if isinstance(record, dict) else None
        if registration is None or len(registration.transforms) != movie.n_frames or registration.grid.ndim != movie.n_axes:
            continue
        found[str(layer.name)] = registration
    return found
