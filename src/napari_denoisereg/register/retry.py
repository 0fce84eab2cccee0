"""Retry: frames that look lost are registered again from other starts, and the new transform is kept only where it is better.

Starts are the frame before, the next frame that is in order, no motion at all, and an exhaustive search of turn and shift. The
best of them, after an affine refinement, is where the recipe's last registrar begins anew. Frames that nothing can help, say
of another place, would cost as much as those that can be saved: after some of them in a row the rest are left as they are.

Better is what is more like the first frame and the nearest frame that is in order, both as they were brought to the first. The
first frame alone would not do: where cells crawl on a dish that rests, late frames are most like it where they were recorded,
and a frame that was followed there would be torn out of the movie.
"""

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from napari_denoisereg.geometry import Affine, Grid, Identity, PerFrame, Transform
from napari_denoisereg.geometry.landmarks import fit
from napari_denoisereg.model import Model
from napari_denoisereg.register.descent import as_transforms, as_weights, descend, pyramid
from napari_denoisereg.register.motions import in_px
from napari_denoisereg.register.pose import Pose
from napari_denoisereg.register.quality import Eye, is_blown_up, likeness
from napari_denoisereg.register.registrar import Registrar
from napari_denoisereg.register.texture import textured
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Progress, Steps

LEAST_GAIN = 0.02
PATIENCE = 3
"""Frames in a row that no start helped, after which the rest are left."""
SEARCH = {2: Pose(), 3: Pose(directions="all", side=24)}
"""In space turns are many: they are searched in smaller images."""


def retry(
    stack: Stack,
    found: PerFrame,
    lost: Sequence[int],
    registrar: Registrar | None,
    *,
    model: Model | None = None,
    device: torch.device | str = "cpu",
) -> Steps[tuple[PerFrame, Mapping[int, str]]]:
    """Register frames anew that look lost.

    Parameters
    ----------
    stack : Stack
        A movie, without channel axis: the frames the registrar looks at.
    found : PerFrame
        What was found, frame 0 to frame t.
    lost : sequence of int
        The frames, in order.
    registrar : Registrar, optional
        Goes on from an affine transform; None where that is enough.
    model : Model, optional
        The registrar's, where it is trained.
    device : torch.device or str
        Where to compute.

    Returns
    -------
    Steps of (PerFrame, mapping of int to str)
        The transforms, and for each frame that has another one now what was gained, in words.
    """
    eye = Eye(stack, device, bridges_stains=registrar is not None and registrar.bridges_stains)
    transforms, gains, failures = list(found), dict[int, str](), 0
    first = stack.tensor([0], device)
    reference = eye.warped(eye.image(0), transforms[0])
    for number, frame in enumerate(lost):
        if failures == PATIENCE:
            break
        yield Progress(number, len(lost), f"retrying frame {frame}")
        image, moving = eye.image(frame), stack.tensor([frame], device)
        near = _nearest(frame, {*lost} - {*gains}, stack.n_frames)
        references = reference, eye.warped(eye.image(near), transforms[near])

        def worth(
            transform: Transform, image: Tensor = image, references: Sequence[tuple[Tensor, Tensor]] = references
        ) -> float:
            seen = eye.warped(image, transform)
            return sum(likeness(*eye.compare(each, seen)) for each in references) / len(references)

        before = worth(transforms[frame])
        seen = (first, moving)
        if registrar is not None and registrar.bridges_stains:  # how bright a place is says nothing then, how rough it is does
            seen = textured(first, in_px(stack.grid)), textured(moving, in_px(stack.grid))
        best = max((yield from _started(*seen, stack.grid, _starts(transforms, frame, lost, stack.grid))), key=worth)
        if registrar is not None and worth(best) > before:
            finer = (yield from registrar.align(first, moving, stack.grid, start=[best], model=model))[0]
            best = max(best, finer, key=worth)
        after = worth(best)
        failures = 0 if after > before + LEAST_GAIN else failures + 1
        if not failures:
            transforms[frame] = best
            gains[frame] = f"found from another start: likeness {before:.2f} before, {after:.2f} now"
    yield Progress(1, 1, "retrying lost frames")
    return PerFrame(transforms), gains


def _nearest(frame: int, lost: Collection[int], n_frames: int) -> int:
    """The nearest frame that is not lost; the first one never is."""
    return min((each for each in range(n_frames) if each not in lost), key=lambda each: abs(each - frame))


def _starts(transforms: Sequence[Transform], frame: int, lost: Sequence[int], grid: Grid) -> list[Transform]:
    """Where to begin: as the frame before, as the next one that is in order, at rest."""
    later = next((each for each in range(frame + 1, len(transforms)) if each not in lost), None)
    neighbours = [transforms[frame - 1], *([] if later is None else [transforms[later]])]
    return [*(straight(each, grid) for each in neighbours), Identity(grid.ndim)]


def _started(fixed: Tensor, moving: Tensor, grid: Grid, starts: Sequence[Transform]) -> Steps[list[Transform]]:
    """Affine transforms, refined from every start and from the best pose that a search finds."""
    pose = yield from SEARCH[grid.ndim].align(fixed, moving, grid)
    levels = [level.repeat(len(starts) + 1) for level in pyramid(fixed, moving, grid, coarsest=32, finest=2, blur=1.0)]
    refined = descend(levels, as_weights([*starts, *pose]), "affine")[0]
    return [*pose, *(each for each in as_transforms(refined) if not is_blown_up(each))]


def straight(transform: Transform, grid: Grid) -> Transform:
    """The affine transform that is nearest to one that may bend.

    Parameters
    ----------
    transform : Transform
        Any.
    grid : Grid
        Where it matters.

    Returns
    -------
    Transform
        Affine.
    """
    if transform.is_affine:
        return Affine(transform.matrix()[:-1])
    points = grid.coarser([max(1.0, size / 8) for size in grid.shape]).points(wide=True).flatten(1)
    return fit(points.T, transform(points).T, tolerance=float("inf")).transform
