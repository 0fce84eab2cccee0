"""Dock *Denoise and register*: choose a layer, choose a recipe, press Run; three new layers lie on the old one.

The dock holds layout and wiring. What runs is `denoise_register_job`, how layers are read and made is `layers`. The engine is
imported in the background when the dock opens, so that napari's start and the dock's first picture do not wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer
from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_denoisereg.saved_recipes import PRESETS
from napari_denoisereg.widgets.denoise_register_job import (
    Engine,
    Outcome,
    denoises,
    load_engine,
    of_one_frame,
    run_recipe,
    without_parts,
)
from napari_denoisereg.widgets.device_chooser import DeviceChooser
from napari_denoisereg.widgets.dock import Dock, button, scrolled, separator
from napari_denoisereg.widgets.editors import calm
from napari_denoisereg.widgets.estimate import timed
from napari_denoisereg.widgets.estimate_line import EstimateLine
from napari_denoisereg.widgets.guide_chooser import GuideChooser
from napari_denoisereg.widgets.help_button import help_button
from napari_denoisereg.widgets.layers import Look, frame_layer_data
from napari_denoisereg.widgets.preferences import first_choice, remember
from napari_denoisereg.widgets.recipe_actions import RecipeActions
from napari_denoisereg.widgets.recipe_form import RecipeForm
from napari_denoisereg.widgets.recipe_text import NO_GUIDE, NO_REGION, NO_START, Job
from napari_denoisereg.widgets.region_chooser import RegionChooser
from napari_denoisereg.widgets.register_switch import ONE_FRAME, RegisterSwitch
from napari_denoisereg.widgets.result_layers import show_results
from napari_denoisereg.widgets.runner import Runner, report
from napari_denoisereg.widgets.section import Section
from napari_denoisereg.widgets.sections_advice import SectionsAdvice
from napari_denoisereg.widgets.source_form import SourceForm, row_label, wrapped_label
from napari_denoisereg.widgets.start_chooser import StartChooser

if TYPE_CHECKING:
    import napari

    from napari_denoisereg.pipeline import Pipeline

CUSTOM = "custom"
FIRST_RECIPE = "fast"  # something to look at within seconds; the others are one choice away
ABOUT_CUSTOM = "Your own settings, under Advanced."
ABOUT_RUN = "Work on the whole layer. You can go on using napari; Cancel leaves everything as it was."
ABOUT_PREVIEW = "Denoise the frame in view only, quickly, to see what the recipe does."
PREVIEW = "Frame {number} denoised: switch the eye of layer '{name}' on and off to compare."
ROUGH_PREVIEW = "Frame {number} after a few seconds of training: only a rough idea. Run trains longer and does better."
NOTHING_TO_PREVIEW = "This recipe does not denoise, so one frame alone shows nothing: press Run."


class DenoiseRegisterDock(Dock):
    """The dock.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._engine: Engine | None = None
        self._recipe: Pipeline | None = None
        self._form: RecipeForm | None = None
        self._preview: Layer | None = None
        self._make_widgets()
        self._lay_out()
        self._connect()
        self._refresh_buttons()
        self._runner.start(load_engine(), "Loading the engine", self._on_engine)

    # ------------------------------------------------------------------------------------------ making
    def _make_widgets(self) -> None:
        self._source = SourceForm(self._viewer, least_frames=1)
        self._recipes = QComboBox()
        calm(self._recipes)
        self._recipes.setToolTip("How much time to spend. Each recipe is a set of methods and settings, shown under Advanced.")
        self._save = button("Save…", "Keep these settings under a name, to choose them again.")
        self._about = wrapped_label()
        self._denoise = QCheckBox("Denoise")
        self._denoise.setToolTip("Make a movie without noise: layer [denoised].")
        self._register = RegisterSwitch()
        self._one_frame = wrapped_label()
        self._device = DeviceChooser()
        self._sections = SectionsAdvice(FIRST_RECIPE)
        self._advanced_page = QWidget()
        self._advanced_layout = QVBoxLayout(self._advanced_page)
        self._advanced_layout.setContentsMargins(0, 0, 0, 0)
        self._start = StartChooser(self._viewer)
        self._region = RegionChooser(self._viewer)
        self._advanced_layout.addWidget(self._start)
        self._guide = GuideChooser(self._viewer)
        self._advanced_layout.addWidget(self._region)
        self._advanced_layout.addWidget(self._guide)
        self._advanced = Section("Advanced", self._advanced_page)
        self._estimate = EstimateLine()
        self._show_frame = QPushButton("Preview this frame")
        self._run = QPushButton("Run")
        self._runner = Runner()
        self._actions = RecipeActions(self._runner, self._job)

    def _lay_out(self) -> None:
        page = QWidget()
        rows = QFormLayout(page)
        rows.setRowWrapPolicy(QFormLayout.RowWrapPolicy.DontWrapRows)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        rows.addRow(self._source)
        rows.addRow(separator())
        recipe = QHBoxLayout()
        recipe.addWidget(self._recipes, 1)
        recipe.addWidget(self._save)
        rows.addRow(row_label("Recipe"), recipe)
        rows.addRow(self._about)
        rows.addRow(self._sections)
        parts = QHBoxLayout()
        parts.addWidget(self._denoise)
        parts.addWidget(self._register)
        parts.addStretch(1)
        parts.addWidget(help_button("tutorials/first-movie"))
        rows.addRow(parts)
        rows.addRow(self._one_frame)
        rows.addRow(self._estimate)
        rows.addRow(row_label("Device"), self._device)
        rows.addRow(self._advanced)
        rows.addRow(self._actions)
        buttons = QHBoxLayout()
        buttons.addWidget(self._show_frame)
        buttons.addWidget(self._run)
        self.stack(scrolled(page), buttons, self._runner)

    def _connect(self) -> None:
        self._source.changed.connect(self._on_source_changed)
        self._recipes.currentIndexChanged.connect(self._on_recipe_chosen)
        self._denoise.toggled.connect(self._on_parts_changed)
        self._register.toggled.connect(self._on_parts_changed)
        self._advanced.toggled.connect(self._on_advanced_toggled)
        self._show_frame.clicked.connect(self._on_preview)
        self._save.clicked.connect(lambda: self._actions.save(self.value()))
        self._actions.saved.connect(self._on_saved)
        self._run.clicked.connect(self._on_run)
        self._runner.started.connect(self._refresh_buttons)
        self._runner.finished.connect(self._refresh_buttons)
        self._device.activated.connect(self._refresh_buttons)
        self._sections.wanted.connect(self._on_recipe_wanted)

    # ------------------------------------------------------------------------------------------ value
    def value(self) -> Pipeline:
        """The recipe that *Run* would run.

        Returns
        -------
        Pipeline
            With the parts that are switched on.

        Raises
        ------
        ValueError
            When a setting is not valid, nothing is switched on, or the engine is still loading.
        """
        if self._recipe is None:
            raise ValueError("The engine is still loading; wait a moment.")
        recipe = self._recipe if self._form is None else self._form.value()
        if not self._register.isEnabled():
            return self._named(of_one_frame(recipe, denoise=self._denoise.isChecked()))
        wanted = without_parts(recipe, denoise=self._denoise.isChecked(), register=self._register.isChecked())
        return self._named(wanted)

    def _named(self, wanted: Pipeline) -> Pipeline:
        changes: dict[str, Any] = {"channel": self._source.channel(), "name": str(self._recipes.currentData())}
        if changes["name"] == CUSTOM:
            changes["description"] = ""
        return wanted.model_copy(update=changes)

    def set_value(self, recipe: Pipeline) -> None:
        """Show a recipe.

        Parameters
        ----------
        recipe : Pipeline
            One of the presets, or any other, shown as *custom*.
        """
        self._recipe = recipe
        place = self._recipes.findData(recipe.name)
        self._recipes.blockSignals(True)
        self._recipes.setCurrentIndex(place if place >= 0 else self._recipes.count() - 1)
        self._recipes.blockSignals(False)
        self._about.setText(recipe.description or ABOUT_CUSTOM)
        self._denoise.setChecked(denoises(recipe))
        self._register.want(bool(recipe.registrars))
        self._sections.follow(recipe.name)
        if self._form is not None:
            self._form.blockSignals(True)
            self._form.set_value(recipe)
            self._form.blockSignals(False)
        self._on_parts_changed()

    # ------------------------------------------------------------------------------------------ slots
    def _on_engine(self, engine: Engine) -> None:
        recipe = first_choice("recipe", engine.presets, FIRST_RECIPE)
        for name in engine.presets:
            self._recipes.addItem(name.capitalize() if name in PRESETS else name, name)
        self._recipes.addItem("Custom", CUSTOM)
        self._device.offer(engine.devices)
        self._engine = engine
        self._runner.clear("Ready.")
        self.set_value(engine.presets[recipe])
        self._source.set_ready()

    def _on_source_changed(self) -> None:
        stack = self._source.stack()
        self._sections.look_at(stack)
        self._register.allow(stack is None or stack.n_frames > 1)
        self._refresh_buttons()

    def _on_recipe_chosen(self, _: int) -> None:
        name = self._recipes.currentData()
        if self._engine is not None and name in self._engine.presets:
            self.set_value(self._engine.presets[name])
            remember("last/recipe", name)
        elif self._engine is not None:
            self._about.setText(ABOUT_CUSTOM)
            self._advanced.expand(animate=False)

    def _on_recipe_wanted(self, name: str) -> None:
        if self._engine is not None and name in self._engine.presets:
            self.set_value(self._engine.presets[name])

    def _on_saved(self, recipe: Pipeline) -> None:
        assert self._engine is not None
        self._engine.presets[recipe.name] = recipe
        if self._recipes.findData(recipe.name) < 0:
            self._recipes.insertItem(self._recipes.count() - 1, recipe.name, recipe.name)  # custom stays the last
        self.set_value(recipe)

    def _on_parts_changed(self, _: bool = False) -> None:
        if self._form is not None:
            self._form.show_parts(denoise=self._denoise.isChecked(), register=self._register.isChecked())
        self._refresh_buttons()

    def _on_advanced_toggled(self, is_open: bool) -> None:
        if is_open and self._form is None and self._recipe is not None:
            self._form = RecipeForm(self._recipe)
            self._form.changed.connect(self._on_form_changed)
            self._advanced_layout.addWidget(self._form)
            self._on_parts_changed()

    def _on_form_changed(self) -> None:
        self._recipes.blockSignals(True)
        self._recipes.setCurrentIndex(self._recipes.findData(CUSTOM))
        self._recipes.blockSignals(False)
        self._about.setText(ABOUT_CUSTOM)
        self._refresh_buttons()

    def _on_preview(self) -> None:
        stack, look = self._source.stack(), self._source.look()
        if stack is None or look is None:
            return
        recipe, number = self.value(), self._source.frame_in_view()

        def show(frame: np.ndarray[Any, Any]) -> None:
            self._show_preview(frame, look, recipe, number)

        steps = recipe.preview(stack, number, device=self._device.device())
        self._runner.start(steps, f"Preview of frame {number}", show)

    def _on_run(self) -> None:
        stack, look, layer = self._source.stack(), self._source.look(), self._source.chooser.layer()
        if stack is None or look is None or layer is None:
            return
        try:
            known = {
                "start": self._start.start(layer, stack),
                "region": self._region.region(layer, stack),
                "landmarks": self._guide.landmarks(layer, stack),
            }
        except ValueError as error:
            report(error)
            return
        wanted = {"denoised": self._denoise.isChecked(), "registered": self._register.isChecked()}

        recipe, device = self.value(), self._device.device()

        def show(run: tuple[Outcome, float]) -> None:
            self._show(run[0], look, **wanted)
            self._estimate.learn(recipe, stack, device, run[1])

        self._estimate.stand_back()
        self._runner.start(timed(run_recipe(recipe, stack, device, **known)), f"Denoise and register {look.name}", show)

    def _job(self) -> Job | None:
        """What *Run* would do now; raises ValueError for what a text cannot say."""
        stack, layer = self._source.stack(), self._source.chooser.layer()
        if stack is None or layer is None:
            return None
        if self._start.start(layer, stack) is not None:
            raise ValueError(NO_START)
        if self._region.region(layer, stack) is not None:
            raise ValueError(NO_REGION)
        if self._guide.landmarks(layer, stack) is not None:
            raise ValueError(NO_GUIDE)
        return Job.of(self.value(), stack, layer, self._device.device())

    # ------------------------------------------------------------------------------------------ results
    def _show_preview(self, frame: np.ndarray[Any, Any], look: Look, recipe: Pipeline, number: int) -> None:
        data = frame_layer_data(frame, look, "preview", recipe, number=number, channel=recipe.channel)
        self._drop_preview()
        self._preview = self._viewer.add_layer(Layer.create(*data))
        method = recipe.first_denoiser
        is_rough = method is not None and method.is_trained
        self._runner.say((ROUGH_PREVIEW if is_rough else PREVIEW).format(number=number, name=self._preview.name))

    def _show(self, outcome: Outcome, look: Look, *, denoised: bool, registered: bool) -> None:
        self._drop_preview()
        self._runner.say(show_results(self._viewer, outcome, look, denoised=denoised, registered=registered))

    def _drop_preview(self) -> None:
        if self._preview is not None and self._preview in self._viewer.layers:
            self._viewer.layers.remove(self._preview)
        self._preview = None

    # ------------------------------------------------------------------------------------------ state
    def _refresh_buttons(self, _: object = None) -> None:
        """Switch on what can be pressed now, and say why the rest cannot."""
        recipe, problem = None, ""
        try:
            recipe = self.value()
        except ValueError as error:
            problem = str(error)
        is_ready = recipe is not None and self._source.stack() is not None and not self._runner.is_running
        has_preview = recipe is not None and recipe.first_denoiser is not None
        if not self._runner.is_running:
            self._estimate.set_job(recipe, self._source.stack(), self._device.device())
        self._run.setEnabled(is_ready)
        if recipe is not None and self._source.stack() is None:
            problem = self._source.words()  # under the layer, too
        self._run.setToolTip(problem or ABOUT_RUN)
        self._one_frame.setText(problem or ONE_FRAME)
        self._one_frame.setVisible(not self._register.isEnabled())
        self._save.setEnabled(recipe is not None)
        self._actions.setEnabled(is_ready)
        self._show_frame.setEnabled(is_ready and has_preview)
        self._show_frame.setToolTip(problem or (ABOUT_PREVIEW if has_preview or recipe is None else NOTHING_TO_PREVIEW))

    # ------------------------------------------------------------------------------------------ opening, closing
    def open_up(self) -> None:
        """Follow the viewer's layers."""
        self._source.chooser.connect_viewer()

    def close_down(self) -> None:
        """Stop work, wait for it a moment, and let go of the viewer."""
        self._runner.close_down()
        self._estimate.close_down()
        self._source.chooser.disconnect_viewer()
