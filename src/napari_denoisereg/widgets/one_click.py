"""Two clicks to a result: *Layers > Filter > Denoise (fast)* and *Layers > Register > Align time-lapse (fast)*.

The command works on the selected layer (or the only one that can be worked on) with the recipe *fast* and its axes as detected;
a small dock shows how far it is, with Pause and Cancel. Results are those of the dock *Denoise and register*.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image
from napari.utils.notifications import show_error, show_warning
from napari.viewer import Viewer

from napari_denoisereg.widgets.denoise_register_job import Outcome, devices, run_recipe, without_parts
from napari_denoisereg.widgets.device_chooser import NAMES
from napari_denoisereg.widgets.job_dock import JobDock
from napari_denoisereg.widgets.layers import METADATA_KEY, Look, detect_axes, stack_from
from napari_denoisereg.widgets.preferences import first_choice
from napari_denoisereg.widgets.result_layers import show_results
from napari_denoisereg.widgets.runner import report

if TYPE_CHECKING:
    from napari_denoisereg.stack import Stack
    from napari_denoisereg.steps import Steps

RECIPE, DOCK = "fast", "Fast results"
DENOISE, ALIGN = "Denoise (fast)", "Align time-lapse (fast)"
NO_LAYER = "Nothing to work on: open a time-lapse, a stack of sections or an image, select it in the layer list, and try again."
SEVERAL = "Several layers could be meant: select one movie in the layer list, and try again."


class OneClickDock(JobDock):
    """What goes on, with Pause and Cancel.

    Parameters
    ----------
    viewer : napari.Viewer
        Gets the results.
    """

    def run(self, layer: Image, *, denoise: bool) -> None:
        """Denoise or align a layer; what is wrong with it is said at once.

        Parameters
        ----------
        layer : Image
            A movie or a stack of sections; to denoise, a single image, too.
        denoise : bool
            Denoise it; else align it.
        """
        if self._runner.is_running:
            show_warning("One job at a time: wait for the present one or cancel it.")
            return
        try:
            stack = stack_from(layer, may_be_image=denoise)
            if stack.n_frames < 2 and not denoise:
                raise ValueError(f"{layer.name!r} has only one frame along {stack.frame_axis!r}; open the whole movie.")
        except (TypeError, ValueError) as error:
            report(error)
            self._runner.say(str(error))
            return
        look = Look.of(layer, detect_axes(layer))
        title = f"{DENOISE if denoise else ALIGN}: {layer.name}"
        device = first_choice("device", tuple(NAMES), "auto")
        self._runner.start(
            job(stack, denoise=denoise, device=device), title, lambda outcome: self._show(outcome, look, denoise)
        )

    def _show(self, outcome: Outcome, look: Look, denoise: bool) -> None:
        self._runner.say(show_results(self._viewer, outcome, look, denoised=denoise, registered=not denoise))


def denoise_fast(viewer: Viewer) -> None:
    """Command *Denoise (fast)*.

    Parameters
    ----------
    viewer : Viewer
        Given by napari.
    """
    _start(viewer, denoise=True)


def align_fast(viewer: Viewer) -> None:
    """Command *Align time-lapse (fast)*.

    Parameters
    ----------
    viewer : Viewer
        Given by napari.
    """
    _start(viewer, denoise=False)


def job(stack: Stack, *, denoise: bool, device: str = "auto") -> Steps[Outcome]:
    """The work.

    Parameters
    ----------
    stack : Stack
        What to work on.
    denoise : bool
        Denoise it; else align it (on denoised frames, which are not shown).
    device : str
        Where docks begin to compute; a graphics card may be gone.

    Returns
    -------
    Steps of Outcome
        Ready to be shown.
    """
    from napari_denoisereg.pipeline import presets

    recipe = presets()[RECIPE]
    # Aligning looks at denoised frames, so that only the registration is taken away.
    wanted = without_parts(recipe, denoise=True, register=False) if denoise else recipe
    return (yield from run_recipe(wanted, stack, device if device in devices() else "auto"))


def meant(viewer: Any) -> Image | None:
    """The layer that a command is about: the selected one, or the only one that it can be.

    Parameters
    ----------
    viewer : Viewer
        Whose.

    Returns
    -------
    Image or None
        None where none or several can be meant.
    """
    active = viewer.layers.selection.active
    if active is not None:
        return active if isinstance(active, Image) else None
    own = [layer for layer in viewer.layers if isinstance(layer, Image) and METADATA_KEY not in layer.metadata]
    return own[0] if len(own) == 1 else None


def _start(viewer: Viewer, *, denoise: bool) -> None:
    layer = meant(viewer)
    if layer is None:
        images = [each for each in viewer.layers if isinstance(each, Image)]
        show_error(SEVERAL if len(images) > 1 else NO_LAYER)
        return
    OneClickDock.of(viewer, DOCK).run(layer, denoise=denoise)
