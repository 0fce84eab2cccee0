"""Dock *Fine-tune*: train a network on the open movie, see what it learns while it learns, and keep it.

The dock holds layout and wiring. What is trained and drawn is `finetune_job`, what to start from `finetune_start`, the model
library `model_shelf`; pictures and curves appear in a panel below the canvas (`finetune_watch`).
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Layer
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_denoisereg.widgets.dock import Dock, button, scrolled, separator
from napari_denoisereg.widgets.finetune_data import LabelsRow, MoreLayers, keypoints_in, place_in_view
from napari_denoisereg.widgets.finetune_engine import JUST_TRAINED, Workshop, judge, load_workshop, starts
from napari_denoisereg.widgets.finetune_job import InView, Lesson, Order, Sight, comparison, train
from napari_denoisereg.widgets.finetune_panel import Panel
from napari_denoisereg.widgets.finetune_result import ResultBox
from napari_denoisereg.widgets.finetune_start import StartForm
from napari_denoisereg.widgets.help_button import help_button
from napari_denoisereg.widgets.model_shelf import ModelShelf
from napari_denoisereg.widgets.result_layers import show_results
from napari_denoisereg.widgets.runner import Runner, report
from napari_denoisereg.widgets.section import Section
from napari_denoisereg.widgets.source_form import SourceForm, wrapped_label

if TYPE_CHECKING:
    import napari

    from napari_denoisereg.io.library import Entry
    from napari_denoisereg.method import Method
    from napari_denoisereg.model import Model
    from napari_denoisereg.steps import Progress, Steps
    from napari_denoisereg.training import Training

ABOUT_TRAIN = "Train on the layer. You can go on using napari; Cancel leaves everything as it was."
ABOUT_STOP = "End the training now; the weights that did best on held-out data are kept."
BY_KEYPOINTS = "The best weights will be chosen by the keypoints that lie over the movie."
IN_TIME = ("early", "middle", "best")
STOPPING = "Stopping; the best is kept …"


class FineTuneDock(Dock):
    """The dock.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari.
    """

    first_size, least_width = (330, 640), 280

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._workshop: Workshop | None = None
        self._lesson: Lesson | None = None
        self._training: Training | None = None
        self._layer: Layer | None = None  # that is trained on
        self._view = InView((0, ()))
        self._judged: tuple[Any, ...] = ()
        self._make_widgets()
        self._lay_out()
        self._connect()
        self._refresh()
        self._runner.start(load_workshop(), "Loading the engine", self._on_workshop)

    # ------------------------------------------------------------------------------------------ making
    def _make_widgets(self) -> None:
        self._source = SourceForm(self._viewer, least_frames=1)
        self._more = MoreLayers(self._viewer)
        self._labels = LabelsRow(self._viewer)
        self._start = StartForm()
        self._judgement = wrapped_label()
        self._judgement.setObjectName("judgement")
        self._judges = wrapped_label(BY_KEYPOINTS)
        self._discard = button("Forget the interrupted training", "Delete what a crash left of it.")
        self._train = QPushButton("Train")
        self._stop = button("Stop and keep the best", ABOUT_STOP)
        self._runner = Runner()
        self._checker = Runner()  # looks at the data while the user chooses; never shown
        self._checker.hide()
        self._result = ResultBox()
        self._shelf = ModelShelf()
        self._library = Section("Model library", self._shelf)
        self._panel = Panel(self._viewer)
        self._reveal = QTimer(self)  # once what was just shown has its place
        self._reveal.setSingleShot(True)

    def _lay_out(self) -> None:
        page = QWidget()
        rows = QVBoxLayout(page)
        for widget in (self._source, self._more, separator(), *self._choices()):
            rows.addWidget(widget)
        rows.addWidget(self._library)
        rows.addStretch(1)
        self._area = scrolled(page)
        buttons = QHBoxLayout()
        buttons.addWidget(self._train, 1)
        buttons.addWidget(self._stop, 1)
        buttons.addWidget(help_button("how-to/fine-tune"))
        self.stack(self._area, buttons, self._runner)

    def _choices(self) -> tuple[QWidget, ...]:
        return self._start, self._labels, self._discard, self._judges, self._judgement, self._result

    def _connect(self) -> None:
        self._source.changed.connect(self._on_chosen)
        self._start.changed.connect(self._on_chosen)
        self._labels.changed.connect(self._refresh)
        self._train.clicked.connect(self._on_train)
        self._stop.clicked.connect(self._on_stop)
        self._discard.clicked.connect(self._on_discard)
        self._runner.progressed.connect(self._on_progressed)
        self._runner.previewed.connect(self._on_sight)
        self._runner.started.connect(self._refresh)
        self._runner.finished.connect(self._on_finished)
        self._checker.finished.connect(self._judge)
        self._reveal.timeout.connect(self._on_reveal)
        self._result.save_wanted.connect(self._on_save)
        self._result.use_wanted.connect(self._on_use_trained)
        self._result.compare_wanted.connect(self._on_compare_kept)
        self._result.longer_wanted.connect(self._on_longer)
        self._shelf.changed.connect(self._on_library)
        self._shelf.start_wanted.connect(self._on_start_wanted)
        self._shelf.use_wanted.connect(self._on_use)
        self._shelf.compare_wanted.connect(self._on_compare)
        self._shelf.export_wanted.connect(self._on_export)

    # ------------------------------------------------------------------------------------------ choosing
    def _on_workshop(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._start.set_methods(workshop.methods)
        self._start.device.offer(workshop.engine.devices)
        self._runner.clear("Ready.")
        self._source.set_ready()
        self._shelf.set_library(workshop.library)

    def _on_library(self) -> None:
        if self._workshop is not None:
            trained = None if self._lesson is None else self._lesson.model
            self._start.set_starts(starts(self._workshop.library, trained))

    def _on_start_wanted(self, entry: Entry) -> None:
        self._start.choose(str(entry.path))

    def _on_chosen(self) -> None:
        start = self._start.start()
        self._discard.setVisible(start is not None and start.is_unfinished)
        self._say_judges()
        self._more.set_main(self._source.chooser.layer())
        self._judge()
        self._refresh()

    def _say_judges(self) -> None:
        """Say whether keypoints will choose the best weights."""
        stack, method = self._source.stack(), None
        with contextlib.suppress(ValueError):  # said under the form
            method = self._start.value()
        has_judges = stack is not None and method is not None and keypoints_in(self._viewer, method, stack) is not None
        self._judges.setVisible(has_judges)

    def _on_discard(self) -> None:
        start = self._start.start()
        if start is not None and start.is_unfinished:
            Path(start.key).unlink(missing_ok=True)
            self._on_library()

    def _judge(self) -> None:
        """Say whether the chosen model knows data like these; in the background, for movies that are slow to read."""
        start, stack = self._start.start(), self._source.stack()
        if start is None or stack is None or start.is_unfinished:
            self._judged = ()
            self._judgement.hide()
            return
        wanted = (start.key, self._source.chooser.layer(), stack.axes, self._source.channel())
        if wanted != self._judged and not self._checker.is_running:
            self._judged = wanted
            self._checker.start(judge(start.model, stack.channel(self._source.channel())), "Compare data", self._on_judged)

    def _on_judged(self, words: str) -> None:
        self._judgement.setText(words)
        self._judgement.setVisible(bool(words) and bool(self._judged))

    # ------------------------------------------------------------------------------------------ training
    def _on_train(self) -> None:
        stack, layer, start = self._source.stack(), self._source.chooser.layer(), self._start.start()
        method, workshop = self._start.value(), self._workshop
        if stack is None or layer is None or method is None or workshop is None:
            return
        try:
            one, others = stack.channel(self._source.channel()), self._more.stacks()
            labels = self._labels.stack(one) if _needs_labels(method) else None
            if labels is not None and others:
                raise ValueError("Labels belong to one movie: untick the other layers.")
        except (TypeError, ValueError) as error:
            report(error)
            return
        self._layer, self._view.place = layer, place_in_view(layer, stack, self._viewer)
        keypoints = None if start is not None and start.is_unfinished else keypoints_in(self._viewer, method, stack)
        known = None if start is None else start.load
        taught = () if labels is None else (labels,)
        order = Order(method, (one, *others), known, keypoints, device=self._start.device.device(), labels=taught)
        self._panel.show()
        self._runner.start(train(order, self._view, workshop.library), f"Train on {layer.name}", self._on_trained)

    def _on_longer(self) -> None:
        self._start.choose(JUST_TRAINED)
        self._on_train()

    def _on_progressed(self, progress: Progress) -> None:
        if progress.training is not None and progress.training is not self._training:
            self._training = progress.training
            self._refresh()
        stack = self._source.stack()
        if self._layer is not None and stack is not None and self._layer is self._source.chooser.layer():
            self._view.place = place_in_view(self._layer, stack, self._viewer)

    def _on_sight(self, sight: object) -> None:
        if isinstance(sight, Sight):
            self._panel.watch.show_sight(sight)

    def _on_stop(self) -> None:
        if self._training is not None:
            self._training.stop()
            self._runner.resume()
            self._stop.setEnabled(False)
            self._runner.say(STOPPING)

    def _on_trained(self, lesson: Lesson) -> None:
        self._lesson = lesson
        self._panel.watch.show_sight(lesson.sight)
        self._result.show_lesson(lesson)
        self._on_library()
        self._reveal.start()
        self._runner.say("Done. Look at the pictures below, then save the model or use it on the layer.")

    def _on_reveal(self) -> None:
        self._area.ensureWidgetVisible(self._result)

    def _on_finished(self) -> None:
        self._training = self._layer = None
        self._on_library()
        self._refresh()

    # ------------------------------------------------------------------------------------------ using
    def _on_save(self, name: str, notes: str) -> None:
        if self._workshop is None or self._lesson is None:
            return
        try:
            entry = self._workshop.library.add(self._lesson.model, name, notes)
        except (ValueError, OSError) as error:
            report(error)
            return
        self._shelf.refresh(entry.path)
        self._runner.say(f"Saved as '{entry.name}' in the model library.")

    def _on_use_trained(self) -> None:
        if self._lesson is not None:
            self._use(self._lesson.model)

    def _on_use(self, entry: Entry) -> None:
        self._use(entry.load())

    def _use(self, model: Model) -> None:
        from napari_denoisereg.widgets.finetune_use import use

        stack, look, channel = self._source.stack(), self._source.look(), self._source.channel()
        if stack is None or look is None or self._runner.is_running:
            return

        def show(outcome: Any) -> None:
            self._runner.say(show_results(self._viewer, outcome, look, channel=channel))

        steps = use(model, stack, channel, self._start.device.device())
        self._runner.start(steps, f"Use the model on {look.name}", show)

    def _on_compare_kept(self) -> None:
        if self._lesson is not None:
            kept = self._lesson.kept
            self._compare([(name.capitalize(), kept[name]) for name in IN_TIME if name in kept])

    def _on_compare(self, entries: list[Entry]) -> None:
        self._compare([(entry.name, entry.load()) for entry in entries])

    def _compare(self, models: list[tuple[str, Model]]) -> None:
        stack, layer = self._source.stack(), self._source.chooser.layer()
        if stack is None or layer is None or self._runner.is_running:
            return
        self._panel.show()
        steps = comparison(models, stack.channel(self._source.channel()), place_in_view(layer, stack, self._viewer))
        self._runner.start(steps, "Compare models", self._on_sight)

    def _on_export(self, entry: Entry, path: str) -> None:
        from napari_denoisereg.widgets.finetune_use import export

        stack = self._source.stack()
        if stack is None or self._runner.is_running:
            self._runner.say("Open a movie first: a piece of it goes into the package as a test.")
            return
        steps: Steps[str] = export(entry, path, stack.channel(self._source.channel()), self._source.frame_in_view())
        self._runner.start(steps, "Export the model", self._runner.say)

    # ------------------------------------------------------------------------------------------ state
    def _refresh(self) -> None:
        """Switch on what can be pressed now, and say why the rest cannot."""
        problem = ""
        try:
            method = self._start.value()
        except ValueError as error:
            method, problem = None, str(error)
        is_busy = self._runner.is_running
        self._labels.setVisible(_needs_labels(method))
        if _needs_labels(method) and not self._labels.has_choice():
            method, problem = None, "Choose the labels to learn from."
        if self._source.stack() is None:
            problem = self._source.words()  # under the layer, too
        is_ready = method is not None and self._source.stack() is not None and not is_busy
        self._train.setEnabled(is_ready)
        self._train.setToolTip(problem or ABOUT_TRAIN)
        self._stop.setEnabled(is_busy and self._training is not None)
        self._result.set_busy(is_busy)
        self._shelf.setEnabled(not is_busy)

    # ------------------------------------------------------------------------------------------ opening, closing
    def open_up(self) -> None:
        """Follow the viewer's layers."""
        self._source.chooser.connect_viewer()
        self._more.connect_viewer()

    def close_down(self) -> None:
        """Stop work, wait for it a moment, and let go of the viewer."""
        self._runner.close_down()
        self._checker.close_down()
        self._source.chooser.disconnect_viewer()
        self._more.disconnect_viewer()
        self._panel.close_down()


def _needs_labels(method: Method | None) -> bool:
    return bool(getattr(method, "needs_labels", False))
