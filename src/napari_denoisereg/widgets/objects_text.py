"""What the dock *Register objects* would do, as Python to copy. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_denoisereg.steps import portion
from napari_denoisereg.widgets.recipe_text import Job, stack_lines

if TYPE_CHECKING:
    from napari_denoisereg.method import Method
    from napari_denoisereg.steps import Steps


@dataclass(frozen=True, eq=False)
class ObjectsJob:
    """What would be run.

    Parameters
    ----------
    movie, labels : Job
        The two layers, with the same recipe: one registrar, a series and the channel.
    """

    movie: Job
    labels: Job


def objects_text(job: ObjectsJob) -> Steps[str]:
    """The job as a Python script.

    Parameters
    ----------
    job : ObjectsJob
        What would be run.

    Returns
    -------
    Steps of str
        Runs as it is (in napari's console where a layer is no file).
    """
    movie = yield from portion(stack_lines(job.movie, "stack"), 0.0, 0.5)
    labels = yield from portion(stack_lines(job.labels, "labels"), 0.5, 1.0)
    recipe = job.movie.recipe
    (method,) = recipe.registrars
    how = f"device={job.movie.device!r}, channel={recipe.channel}, series={_settings(recipe.series)}"
    return "\n".join(
        [
            "import napari_denoisereg as dr",
            "from napari_denoisereg.objects import write_objects",
            "",
            *movie,
            *labels,
            f"method = {_settings(method)}",
            f"objects = dr.register_objects(stack, labels, method, {how})",
            "print(objects.left_out)",
            "still = objects.warp(stack)  # every object stands still",
            '# write_objects(objects, "objects.zarr") keeps the transforms and the table of motion,',
            '# dr.write(still, "still.ome.zarr") the movie.',
            "",
        ]
    )


def _settings(method: Method) -> str:
    """What differs from the defaults."""
    return repr(
        {"kind": method.kind, **method.model_dump(mode="json", serialize_as_any=True, by_alias=True, exclude_defaults=True)}
    )
