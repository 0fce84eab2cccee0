"""Form for a whole recipe: which denoiser, which registrars one after the other, and how pairs of frames become a series."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from qtpy.QtWidgets import QGroupBox, QVBoxLayout, QWidget

from napari_denoisereg.widgets.editors import Editor
from napari_denoisereg.widgets.form import BOX_MARGINS, FamilyForm, MethodForm, SeveralForm

if TYPE_CHECKING:
    from napari_denoisereg.pipeline import Pipeline

# Edited by the dock itself, or by the two boxes below.
SKIPPED = ("name", "description", "channel", "denoise", "registrars")


class RecipeForm(Editor):
    """Form for a recipe.

    Parameters
    ----------
    recipe : Pipeline
        Shown at first; its name and channel stay as they are.
    parent : QWidget, optional
        Qt parent.
    """

    def __init__(self, recipe: Pipeline, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        from napari_denoisereg.denoise import Denoiser
        from napari_denoisereg.register import Registrar

        self._denoise = FamilyForm(Denoiser, is_optional=True)
        self._register = SeveralForm(Registrar)
        self._rest = MethodForm(type(recipe), skip=SKIPPED)
        self._denoise_box = _box("Denoising", self._denoise)
        self._register_box = _box("Registration", self._register, self._rest)
        self._hold(self._denoise_box, self._register_box, vertical=True)
        self.set_value(recipe)
        for part in (self._denoise, self._register, self._rest):
            part.changed.connect(self.changed)

    def value(self) -> Pipeline:
        """The recipe with these settings; raises ValueError where one is not valid."""
        return cast("Pipeline", self._rest.value()).model_copy(
            update={"denoise": self._denoise.value(), "registrars": self._register.value()}
        )

    def set_value(self, value: Pipeline) -> None:
        """Show a recipe.

        Parameters
        ----------
        value : Pipeline
            Any recipe.
        """
        self._rest.set_value(value)
        self._denoise.set_value(value.denoise)
        self._register.set_value(value.registrars)

    def show_parts(self, *, denoise: bool, register: bool) -> None:
        """Show only the parts that will be done.

        Parameters
        ----------
        denoise, register : bool
            Whether that part will be done.
        """
        self._denoise_box.setVisible(denoise)
        self._register_box.setVisible(register)


def _box(title: str, *content: QWidget) -> QGroupBox:
    box = QGroupBox(title)
    layout = QVBoxLayout(box)
    layout.setContentsMargins(*BOX_MARGINS)
    for widget in content:
        layout.addWidget(widget)
    return box
