"""Where a registration starts: nothing known, or transforms of the session, e.g. made by hand in the dock *Transforms*."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtWidgets import QWidget

from napari_denoisereg.widgets.fresh_combo import FreshCombo, in_row
from napari_denoisereg.widgets.transforms_list import Known, axes_of, coordinates
from napari_denoisereg.widgets.transforms_session import known_to
from napari_denoisereg.widgets.transforms_task import problem

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_denoisereg.register import Registration
    from napari_denoisereg.stack import Stack

NOTHING = "Nothing known"
ABOUT = "Registration goes on from these transforms. Make some by hand in the dock 'Transforms' where frames jump."


class StartChooser(QWidget):
    """The choice; its list follows the session when it is opened.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose transforms.
    parent : QWidget, optional
        Qt parent.
    """

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._choice = FreshCombo(
            NOTHING, ABOUT, lambda: [(known.name, known) for known in known_to(viewer)], lambda known: known.registration
        )
        in_row(self, "Start from", self._choice)

    def start(self, layer: Image, stack: Stack) -> Registration | None:
        """The chosen start in the coordinates of a stack.

        Parameters
        ----------
        layer : Image
            The movie.
        stack : Stack
            Made of it.

        Returns
        -------
        Registration or None
            None where nothing is known.

        Raises
        ------
        ValueError
            When the chosen transforms do not fit the movie.
        """
        known = self._choice.currentData()
        return None if known is None else in_coordinates(known, layer, stack)


def in_coordinates(known: Known, layer: Image, stack: Stack) -> Registration:
    """Transforms as a stack of a layer sees them.

    Parameters
    ----------
    known : Known
        The transforms.
    layer : Image
        The movie.
    stack : Stack
        Made of it: its coordinates are ``spacing * index``.

    Returns
    -------
    Registration
        The same motion in the stack's coordinates.

    Raises
    ------
    ValueError
        When they do not fit the movie.
    """
    import torch

    from napari_denoisereg.geometry import Affine

    reason = problem(layer, known)
    if reason:
        raise ValueError(reason)
    step = np.diag([*stack.grid.spacing, 1.0])
    place = coordinates(layer, axes_of(layer, known), known) @ np.linalg.inv(step)
    if np.allclose(place, np.eye(len(place)), atol=1e-12):
        return known.registration
    return known.registration.seen_from(Affine(torch.from_numpy(place[:-1])))
