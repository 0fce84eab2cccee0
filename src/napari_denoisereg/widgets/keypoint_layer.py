"""Keypoints in the canvas: a Points layer of marks and proposals that answers clicks and drags, a Vectors layer of residuals.

In napari's pan mode the layer takes clicks itself: on a mark to drag it, elsewhere to mark a new one; a drag elsewhere moves
the picture as always. napari's own tools for points (add, select, delete) work too. Everything is told by signals; what a
click means is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from napari.layers import Points, Vectors
from napari.layers.base import ActionType
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]  # qtpy renames pyqtSignal

from napari_denoisereg.evaluation.keypoints import Floats, Ints
from napari_denoisereg.widgets.keypoint_marks import Flags, Marks
from napari_denoisereg.widgets.keypoint_movie import Movie
from napari_denoisereg.widgets.layers import METADATA_KEY

ROLE = "keypoints"
CLICK = 5.0  # screen pixels that a hand may move in a click
MOST_LABELS = 30  # that follow a drag: napari lays all of them out anew at every move
# Okabe and Ito's colours that are bright enough on a dark image, and two more.
PALETTE = ("#E69F00", "#56B4E9", "#F0E442", "#CC79A7", "#00C08B", "#FF7F3F", "#9FA8FF")
ARROW = "#00E5FF"
SYMBOLS = {"interior": "disc", "contour": "square"}
LARGER = 1.6
EXCLUDED, PROPOSED = "x", "diamond"


def colour_of(number: int) -> str:
    """Colour of a keypoint, the same in all frames and sessions.

    Parameters
    ----------
    number : int
        Its id.

    Returns
    -------
    str
        ``"#rrggbb"``.
    """
    return PALETTE[number % len(PALETTE)]


def label_of(kind: str, number: int) -> str:
    """Short name of a keypoint.

    Parameters
    ----------
    kind : str
        "interior" or "contour".
    number : int
        Its id.

    Returns
    -------
    str
        E.g. ``"3"``, ``"c3"`` on a contour.
    """
    return f"c{number}" if kind == "contour" else str(number)


class KeypointLayer(QObject):
    """The two layers of a movie's keypoints.

    Signals: ``clicked(place)``, a place in data coordinates where nothing was; ``dragged(row, place)`` again and again, then
    ``dropped(row)``; ``deleted(rows)``; ``edited()`` when napari's own tools changed points; ``removed()`` when the user took
    the layer away. Rows count marks first, then proposals.

    Parameters
    ----------
    viewer : napari.Viewer
        Where to put them.
    movie : Movie
        Which they lie on.
    """

    clicked = Signal(object)
    dragged = Signal(int, object)
    dropped = Signal(int)
    deleted = Signal(object)
    edited = Signal()
    removed = Signal()

    def __init__(self, viewer: Any, movie: Movie) -> None:
        super().__init__()
        self._viewer = viewer
        self._movie = movie
        self._is_own = False  # whether a change of the layer is made here
        self._looks: dict[str, Any] = {}
        self._n_shown = 0  # how often `show` was called: rows are others after it
        record = {METADATA_KEY: {"role": ROLE, "source": movie.look.name, "axes": movie.look.axes}}
        ndim = len(movie.look.axes)
        self._size = max(6.0, 0.03 * max(movie.stack.grid.shape[-2:]))
        self.points = Points(
            np.empty((0, ndim)),
            ndim=ndim,
            name=f"{movie.look.name} [keypoints]",
            features=_features([], [], [], [], [], []),
            face_color="transparent",
            border_width=0.12,
            size=self._size,
            text={"string": {"feature": "label"}, "size": 9, "color": "white", "anchor": "upper_left", "translation": 0},
            metadata=record,
            **movie.look.place,
        )
        self.arrows = Vectors(
            np.empty((0, 2, ndim)),
            ndim=ndim,
            name=f"{movie.look.name} [keypoint error]",
            edge_color=ARROW,
            edge_width=self._size / 10,
            vector_style="arrow",
            length=1.0,
            metadata={METADATA_KEY: {"role": "keypoint error", "source": movie.look.name, "axes": movie.look.axes}},
            **movie.look.place,
        )
        viewer.add_layer(self.arrows)
        viewer.add_layer(self.points)
        self.points.mode = "pan_zoom"
        self.points.mouse_drag_callbacks.append(self._on_mouse)
        self.points.events.data.connect(self._on_data)
        viewer.layers.events.removed.connect(self._on_removed)

    # ------------------------------------------------------------------------------------------ showing
    def show(self, marks: Marks, proposed: Marks, shown: Flags) -> None:
        """Show marks and proposals.

        Parameters
        ----------
        marks, proposed : Marks
            What to show; proposals come last.
        shown : ndarray
            Which of the marks are to be seen ``(N,)``.
        """
        tables = (marks.points, proposed.points)
        frame, number = (np.concatenate([getattr(table, name) for table in tables]) for name in ("frame", "id"))
        who, kind = ([text for table in tables for text in getattr(table, name).tolist()] for name in ("annotator", "kind"))
        included, check = (
            np.concatenate([getattr(each, name) for each in (marks, proposed)]) for name in ("included", "check")
        )
        symbols = [SYMBOLS[each] if counts else EXCLUDED for each, counts in zip(kind, included, strict=True)]
        symbols[len(marks) :] = [PROPOSED] * len(proposed)
        rows = self._movie.rows(frame, np.concatenate([table.position for table in tables]))
        features = _features(number, who, kind, included, check, [False] * len(marks) + [True] * len(proposed))
        looks = {**features, "shown": np.concatenate([shown, np.ones(len(proposed), bool)])}
        self._n_shown += 1
        self.select([])
        if len(self.points.data) == len(rows) and _are_equal(looks, self._looks):
            self.points.data[:] = rows
            self.points.refresh()
            return
        self._looks = looks
        with self._own_change():
            self.points.data = rows
            self.points.features = features
            if len(rows):
                self.points.border_color = np.array([colour_of(each) for each in range(len(PALETTE))])[number % len(PALETTE)]
                self.points.shown = looks["shown"]
                self.points.symbol = symbols

    def move(self, rows: Ints, positions: Floats, *, for_good: bool) -> None:
        """Move rows that are shown.

        Parameters
        ----------
        rows : ndarray
            Which ``(M,)``.
        positions : ndarray
            Where to ``(M, D)``, pixels.
        for_good : bool
            False during a drag: what is not in view (thumbnail, extent) is brought up to date at its end.
        """
        self.points.data[np.ix_(rows, np.array(self._movie.space))] = positions
        self.points.refresh(thumbnail=for_good, extent=for_good, highlight=for_good)

    def select(self, rows: Sequence[int]) -> None:
        """Select rows; they are drawn larger, as napari shows no selection in its pan mode.

        Parameters
        ----------
        rows : sequence of int
            Which.
        """
        sizes = np.full(len(self.points.data), self._size)
        sizes[list(rows)] = LARGER * self._size
        if not np.array_equal(sizes, self.points.size):
            self.points.size = sizes
        self.points.selected_data = set(rows)

    def show_arrows(self, frame: int, starts: Floats, ends: Floats) -> None:
        """Draw residuals in a frame.

        Parameters
        ----------
        frame : int
            Which.
        starts, ends : ndarray
            ``(M, D)``, pixels.
        """
        data = np.zeros((len(starts), 2, len(self._movie.look.axes)))
        data[:, 0] = self._movie.rows(frame, starts)
        data[:, 1][:, self._movie.space] = ends - starts
        if self.arrows.data.shape == data.shape:
            self.arrows.data[:] = data
            self.arrows.refresh(thumbnail=False, extent=False, highlight=False)
        else:
            self.arrows.data = data

    def row_at(self, event: Any) -> int | None:
        """Row of the mark under the mouse.

        Parameters
        ----------
        event : napari mouse event
            The event.

        Returns
        -------
        int or None
            None where there is none.
        """
        found = self.points.get_value(
            event.position, view_direction=event.view_direction, dims_displayed=list(event.dims_displayed), world=True
        )
        return None if found is None else int(found)

    def let_go(self, *, keep: bool) -> None:
        """Let go of the viewer; arrows go.

        Parameters
        ----------
        keep : bool
            Whether the points stay.
        """
        if self._on_mouse in self.points.mouse_drag_callbacks:
            self.points.mouse_drag_callbacks.remove(self._on_mouse)
        self.points.events.data.disconnect(self._on_data)
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        for layer in (self.arrows,) if keep else (self.arrows, self.points):
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    # ------------------------------------------------------------------------------------------ answering
    def _on_mouse(self, layer: Points, event: Any) -> Iterator[None]:
        """Click, or drag of a mark, in pan mode and the plane view."""
        if event.button != 1 or layer.mode != "pan_zoom" or len(event.dims_displayed) > 2 or event.modifiers:
            return
        row = self.row_at(event)
        if row is not None:
            # The picture stays: `event.handled` alone is not enough, as napari lets quick moves through to the camera.
            layer.mouse_pan, has_labels = False, layer.text.visible
            try:
                yield from self._drag(row, event)
            finally:
                layer.mouse_pan, layer.text.visible = layer.mode == "pan_zoom", has_labels
            return
        pressed = np.array(event.pos)
        yield
        while event.type == "mouse_move":
            yield
        if np.linalg.norm(np.array(event.pos) - pressed) < CLICK:
            self.clicked.emit(np.array(layer.world_to_data(event.position)))

    def _drag(self, row: int, event: Any) -> Iterator[None]:
        self.select([row])
        offset = self.points.data[row] - self.points.world_to_data(event.position)
        pressed, has_moved, shown = np.array(event.pos), False, self._n_shown
        yield
        while event.type == "mouse_move":
            event.handled = True
            has_moved = has_moved or bool(np.linalg.norm(np.array(event.pos) - pressed) >= 1)
            if has_moved and shown == self._n_shown:  # a key may delete the mark or go to another frame meanwhile
                self._spare_labels(row)
                self._move_to(row, event, offset)
            yield
        # A quick hand lets go farther than its last move, or before any: moves that follow one another fast are not told.
        has_moved = has_moved or bool(np.linalg.norm(np.array(event.pos) - pressed) >= 1)
        if has_moved and shown == self._n_shown:
            self._move_to(row, event, offset)
            self.dropped.emit(row)

    def _spare_labels(self, row: int) -> None:
        axis = self._movie.frame_axis
        if np.count_nonzero(self.points.data[:, axis] == self.points.data[row, axis]) > MOST_LABELS:
            self.points.text.visible = False

    def _move_to(self, row: int, event: Any, offset: Any) -> None:
        self.dragged.emit(row, self.points.world_to_data(event.position) + offset)

    def _on_data(self, event: Any) -> None:
        if self._is_own:
            return
        if event.action == ActionType.REMOVED:
            self.deleted.emit(np.array(sorted(event.data_indices), dtype=np.int64))
        elif event.action in (ActionType.ADDED, ActionType.CHANGED):
            self.edited.emit()

    def _on_removed(self, event: Any) -> None:
        if event.value is self.points:
            self.removed.emit()

    @contextmanager
    def _own_change(self) -> Iterator[None]:
        self._is_own = True
        try:
            yield
        finally:
            self._is_own = False


def _are_equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def _features(number: Any, who: Any, kind: Any, included: Any, check: Any, proposed: Any) -> dict[str, Any]:
    """Features of the layer, with the columns that files and other software know."""
    label = [label_of(each, one) for each, one in zip(kind, np.asarray(number).tolist(), strict=True)]
    return {
        "id": np.asarray(number, dtype=np.int64),
        "annotator": np.asarray(who, dtype=object),
        "kind": np.asarray(kind, dtype=object),
        "included": np.asarray(included, dtype=bool),
        "check": np.asarray(check, dtype=bool),
        "proposed": np.asarray(proposed, dtype=bool),
        "label": np.asarray(label, dtype=object),
    }
