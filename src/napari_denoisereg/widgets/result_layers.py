"""The layers that a run makes: denoised, aligned, displacement; how they come into the viewer, and what is said then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Layer
from napari.utils.notifications import show_warning

from napari_denoisereg.widgets.denoise_register_job import doubts, summary
from napari_denoisereg.widgets.layers import Look, arrow_layer_data, image_layer_data
from napari_denoisereg.widgets.runner import report

if TYPE_CHECKING:
    from napari_denoisereg.widgets.denoise_register_job import Outcome

ARROWS = "To see the motion as arrows, switch on the eye of [displacement], or open Inspect."
NOT_SHOWN = "The result is there, but cannot be shown."


def show_results(
    viewer: Any, outcome: Outcome, look: Look, *, denoised: bool = True, registered: bool = True, channel: int | None = None
) -> str:
    """Put all layers of a run into the viewer or, when one cannot be made, none; warn where the result is doubtful.

    Parameters
    ----------
    viewer : Viewer
        Gets the layers.
    outcome, look, denoised, registered, channel
        See `result_layers`.

    Returns
    -------
    str
        What came out, for the dock.
    """
    try:
        layers = result_layers(outcome, look, denoised=denoised, registered=registered, channel=channel)
        active = viewer.layers.selection.active
        for layer in layers:
            viewer.add_layer(layer)
        viewer.layers.selection.active = active  # docks begin with it: the movie, not what was made of it
    except Exception as error:  # noqa: BLE001 - hours of work must not end without a word
        report(error)
        return NOT_SHOWN
    warning = doubts(outcome.result, denoised=denoised)
    if warning:
        show_warning(warning)
    has_arrows = registered and outcome.arrows is not None
    words = f"{summary(outcome.result)} {ARROWS}" if has_arrows else summary(outcome.result)
    return f"{words}\n⚠ {warning}" if warning else words


def result_layers(
    outcome: Outcome, look: Look, *, denoised: bool = True, registered: bool = True, channel: int | None = None
) -> list[Layer]:
    """Make all layers of a run or, when one cannot be made, none.

    Parameters
    ----------
    outcome : Outcome
        Of `denoise_register_job.run_recipe`.
    look : Look
        Of the source layer.
    denoised, registered : bool
        Which parts are wanted.
    channel : int, optional
        Which channel a result without channels is of; the recipe's by default.

    Returns
    -------
    list of Layer
        Not yet in a viewer; to be called on the GUI thread.
    """
    result, recipe = outcome.result, outcome.result.recipe
    place, data = recipe.channel if channel is None else channel, []
    if denoised and result.denoised is not None:
        data.append(image_layer_data(result.denoised, look, "denoised", recipe, channel=place, limits=outcome.limits))
    if registered and result.aligned is not None:
        data.append(image_layer_data(result.aligned, look, "aligned", recipe, channel=place))
    if registered and outcome.arrows is not None:
        data.append(arrow_layer_data(outcome.arrows, look, recipe, registration=result.registration, channel=place))
    return [Layer.create(*each) for each in data]
