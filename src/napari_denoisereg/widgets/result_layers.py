"""The layers that a run makes: denoised, aligned, displacement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Layer

from napari_denoisereg.widgets.layers import Look, arrow_layer_data, image_layer_data

if TYPE_CHECKING:
    from napari_denoisereg.widgets.denoise_register_job import Outcome


def result_layers(outcome: Outcome, look: Look, *, denoised: bool, registered: bool) -> list[Layer]:
    """Make all layers of a run or, when one cannot be made, none.

    Parameters
    ----------
    outcome : Outcome
        Of `denoise_register_job.run_recipe`.
    look : Look
        Of the source layer.
    denoised, registered : bool
        Which parts are wanted.

    Returns
    -------
    list of Layer
        Not yet in a viewer; to be called on the GUI thread.
    """
    result, recipe = outcome.result, outcome.result.recipe
    channel, data = recipe.channel, []
    if denoised and result.denoised is not None:
        data.append(image_layer_data(result.denoised, look, "denoised", recipe, channel=channel, limits=outcome.limits))
    if registered and result.aligned is not None:
        data.append(image_layer_data(result.aligned, look, "aligned", recipe, channel=channel))
    if registered and outcome.arrows is not None:
        data.append(arrow_layer_data(outcome.arrows, look, recipe, registration=result.registration, channel=channel))
    return [Layer.create(*each) for each in data]
