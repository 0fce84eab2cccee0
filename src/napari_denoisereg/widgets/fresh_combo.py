"""A choice of things that come and go, e.g. layers: its list is made anew whenever it is opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from napari.layers import Layer
from qtpy.QtWidgets import QComboBox, QFormLayout, QWidget

from napari_denoisereg.widgets.editors import calm
from napari_denoisereg.widgets.source_form import row_label


class FreshCombo(QComboBox):
    """The choice.

    Parameters
    ----------
    nothing : str
        The first entry, which stands for None.
    about : str
        Tooltip.
    known : callable
        Gives what there is now: names and things.
    identity : callable, optional
        By what a thing is known again; by default the thing itself.
    """

    def __init__(
        self,
        nothing: str,
        about: str,
        known: Callable[[], Iterable[tuple[str, Any]]],
        identity: Callable[[Any], Any] = lambda thing: thing,
    ) -> None:
        super().__init__()
        self._nothing, self._known, self._identity = nothing, known, identity
        calm(self)
        self.setToolTip(about)
        self.addItem(nothing, None)

    def showPopup(self) -> None:  # noqa: N802 - Qt's name
        """Look what there is now."""
        self.renew()
        super().showPopup()

    def renew(self) -> None:
        """Make the list anew; the choice stays where it can."""
        chosen = self.currentData()
        self.clear()
        self.addItem(self._nothing, None)
        for name, thing in self._known():
            self.addItem(name, thing)
            if chosen is not None and self._identity(thing) is self._identity(chosen):
                self.setCurrentIndex(self.count() - 1)


def in_row(parent: QWidget, title: str, choice: QComboBox) -> None:
    """Lay a choice out in a row of a form.

    Parameters
    ----------
    parent : QWidget
        Gets the row and nothing else.
    title : str
        In front of it.
    choice : QComboBox
        The choice.
    """
    rows = QFormLayout(parent)
    rows.setContentsMargins(0, 0, 0, 0)
    rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    rows.addRow(row_label(title), choice)


def layers_of(viewer: Any, *kinds: type[Layer]) -> list[tuple[str, Layer]]:
    """Names and layers of some kinds.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers.
    *kinds : type of Layer
        Which of them.

    Returns
    -------
    list of (str, Layer)
        In the viewer's order.
    """
    return [(layer.name, layer) for layer in viewer.layers if isinstance(layer, kinds)]
