"""What to mark keypoints on, with which marks to begin, what to judge, and who marks."""

from __future__ import annotations

import getpass
from typing import Any

from napari.layers import Points
from qtpy.QtCore import Signal  # type: ignore[attr-defined]  # qtpy renames pyqtSignal
from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QWidget

from napari_denoisereg.widgets import keypoint_files
from napari_denoisereg.widgets.editors import calm
from napari_denoisereg.widgets.keypoint_movie import Movie, registrations_in
from napari_denoisereg.widgets.source_form import SourceForm, row_label

NO_REGISTRATION = "None: error before only"
FITS = {"affine": "Affine fit to these points", "thin-plate": "Thin-plate fit to these points"}
FROM_NOTHING = "New keypoints"


class KeypointSetup(QWidget):
    """The form.

    Signals: ``source_changed()``, another movie or none; ``judged_changed()``; ``who_changed()``.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers.
    """

    source_changed = Signal()
    judged_changed = Signal()
    who_changed = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self.source = SourceForm(viewer)
        self._begin = QComboBox()
        self._begin.setToolTip("Begin without marks, or go on with a layer of points. The layer itself is not changed.")
        self._judged = QComboBox()
        self._judged.setToolTip(
            "The registration to judge: a [displacement] layer of a registration, or a fit to the keypoints themselves. "
            "A registration also proposes where a keypoint is in the next frame."
        )
        self._who = QComboBox()
        self._who.setEditable(True)
        self._who.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self._who.addItem(getpass.getuser())
        self._who.setToolTip("Who marks now. Several people can mark the same movie, each under a name of their own.")
        self._only_own = QCheckBox("Hide the others' marks")
        self._only_own.setToolTip("Mark without being led by what others marked. Their errors are still in table and plot.")
        for box in (self._begin, self._judged, self._who):
            calm(box)
        rows = self._rows = QFormLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        rows.addRow(self.source)
        rows.addRow(row_label("Begin"), self._begin)
        rows.addRow(row_label("Judge"), self._judged)
        rows.addRow(row_label("Name"), self._who)
        rows.addRow(self._only_own)
        self.source.changed.connect(self._on_source)
        self._judged.currentIndexChanged.connect(lambda _: self.judged_changed.emit())
        self._who.currentTextChanged.connect(lambda _: self.who_changed.emit())
        self._only_own.toggled.connect(lambda _: self.who_changed.emit())
        rows.setRowVisible(self._only_own, False)  # until there are others
        self._is_connected = False
        self.connect_viewer()
        self._list_layers()

    # ------------------------------------------------------------------------------------------ value
    def movie(self) -> Movie | None:
        """The movie to mark keypoints on; None where there is none, which the form says why."""
        layer, look, stack = self.source.chooser.layer(), self.source.look(), self.source.stack()
        if layer is None or look is None or stack is None:
            return None
        return Movie(layer, look, stack, self.source.channel())

    def begin_with(self) -> Points | None:
        """The layer whose points to begin with; None to begin without."""
        return self._begin.currentData()

    def judged(self) -> Any:
        """The registration to judge, the kind of a fit to the marks as text, or None."""
        return self._judged.currentData()

    def annotator(self) -> str:
        """Who marks."""
        return str(self._who.currentText()).strip()

    def only_own(self) -> bool:
        """Whether to hide the others' marks."""
        return bool(self._only_own.isChecked())

    def offer_annotators(self, names: tuple[str, ...]) -> None:
        """Add names to choose from.

        Parameters
        ----------
        names : tuple of str
            Those that are there already are passed over.
        """
        for name in names:
            if name and self._who.findText(name) < 0:
                self._who.addItem(name)
        self._rows.setRowVisible(self._only_own, self._who.count() > 1)

    def hold(self, is_held: bool) -> None:
        """Keep the movie as it is while keypoints are marked on it, and leave its place to the errors.

        Parameters
        ----------
        is_held : bool
            False to let it be chosen again.
        """
        for widget in (self.source, self._begin):
            self._rows.setRowVisible(widget, not is_held)
        self._rows.setRowVisible(self._only_own, is_held and self._who.count() > 1)
        if not is_held:
            self._begin.setCurrentIndex(0)
            self._list_layers()

    # ------------------------------------------------------------------------------------------ layers
    def connect_viewer(self) -> None:
        """Follow the viewer's layers."""
        if not self._is_connected:
            self._is_connected = True
            self.source.chooser.connect_viewer()
            for event in (self._viewer.layers.events.inserted, self._viewer.layers.events.removed):
                event.connect(self._list_layers)

    def disconnect_viewer(self) -> None:
        """Stop following the viewer's layers."""
        if self._is_connected:
            self._is_connected = False
            self.source.chooser.disconnect_viewer()
            for event in (self._viewer.layers.events.inserted, self._viewer.layers.events.removed):
                event.disconnect(self._list_layers)

    def _on_source(self) -> None:
        self._list_layers()
        self.source_changed.emit()

    def _list_layers(self, _: Any = None) -> None:
        """List the registrations and the points layers that fit the movie."""
        movie = self.movie()
        registrations = {} if movie is None else registrations_in(self._viewer, movie)
        fits = [(words, fit) for fit, words in FITS.items()]
        newest = next(reversed(registrations.values()), None)
        is_other = _fill(self._judged, [(NO_REGISTRATION, None), *registrations.items(), *fits], newest)
        points = [] if movie is None else keypoint_files.points_layers(self._viewer.layers, movie)
        likely = [layer for layer in points if "id" in layer.features]
        _fill(self._begin, [(FROM_NOTHING, None), *((layer.name, layer) for layer in points)], likely[-1] if likely else None)
        if is_other:
            self.judged_changed.emit()


def _fill(box: QComboBox, items: list[tuple[str, Any]], likely: Any) -> bool:
    """Fill a chooser: what was chosen stays chosen, in place of nothing the likely choice is taken. Tell whether it changed."""
    chosen = box.currentData()
    box.blockSignals(True)
    box.clear()
    for words, data in items:
        box.addItem(words, data)
    kept = [place for place, (_, data) in enumerate(items) if _is_same(data, chosen) and chosen is not None]
    box.setCurrentIndex(kept[0] if kept else next(place for place, (_, data) in enumerate(items) if data is likely))
    box.blockSignals(False)
    return not _is_same(box.currentData(), chosen)


def _is_same(one: Any, other: Any) -> bool:
    """Whether two items are the same; Qt gives words back as others that are equal."""
    return one is other or (isinstance(one, str) and isinstance(other, str) and one == other)
