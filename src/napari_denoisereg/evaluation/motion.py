"""How a movie moved: shift, rotation and scale over time, read off the transforms.

Every frame's transform is sampled on an even lattice of points, and the affine map `A x + b` nearest to it (least squares) is
split into a rotation and a stretch, `A = R S` (polar decomposition). The shift is how far the centre of the frame went; the
rotation is that of `R`; the scale is the geometric mean stretch, `det(S)^(1/D)`. So a local deformation shows as what it
does to the frame as a whole, and what no affine map explains is given as the misfit.

Signs: the specimen moved by `shift` from the fixed frame to this one. In 2D a positive angle turns the y axis towards the x
axis, which is counter-clockwise on a screen whose y points down; in 3D the angle has no sign.

References
----------
Higham, N.: Computing the polar decomposition. SIAM J. Sci. Stat. Comput. 7(4), 1986. https://doi.org/10.1137/0907079
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_denoisereg.geometry import Grid, PerFrame, Transform
from napari_denoisereg.steps import Pace, Progress, Steps

Floats = NDArray[np.float64]

_POINTS_ALONG = 9  # per axis: an odd number has a point at the centre


@dataclass(frozen=True, eq=False)
class MotionTraces:
    """Motion of T frames against the fixed one.

    Parameters
    ----------
    shift
        Way of the centre `(T, D)`, world units, axis order.
    rotation
        Angle `(T,)`, degrees; NaN where the transform is unknown or mirrors.
    scale
        Mean stretch `(T,)`, 1 for none.
    misfit
        Root mean square distance between the transform and its nearest affine map `(T,)`, world units: 0 where all moved as
        one.
    longest
        Longest displacement among the points looked at `(T,)`, world units.
    """

    shift: Floats
    rotation: Floats
    scale: Floats
    misfit: Floats
    longest: Floats


def motion_traces(transforms: PerFrame, grid: Grid) -> Steps[MotionTraces]:
    """Read the motion off the transforms.

    Parameters
    ----------
    transforms
        Fixed to moving, world units, one per frame.
    grid
        Of the fixed frame.

    Returns
    -------
    Long work, some milliseconds per frame, whatever the size of the frames.
    """
    ends = [
        np.linspace(o, o + (n - 1) * s, _POINTS_ALONG) for o, n, s in zip(grid.origin, grid.shape, grid.spacing, strict=True)
    ]
    points = np.stack(np.meshgrid(*ends, indexing="ij")).reshape(grid.ndim, -1)
    pace, rows = Pace(), []
    for number, transform in enumerate(transforms):
        rows.append(_motion(transform, points, np.array(grid.centre)))
        if pace.is_due(last=number + 1 == len(transforms)):
            yield Progress(number + 1, len(transforms), "reading the motion")
    shift, rotation, scale, misfit, longest = (np.array(column) for column in zip(*rows, strict=True))
    return MotionTraces(shift, rotation, scale, misfit, longest)


def angle_and_stretch(linear: Floats) -> tuple[float, float]:
    """Split a linear map into its rotation angle, degrees, and its mean stretch.

    Parameters
    ----------
    linear
        `A`, `(D, D)` with D = 2 or 3.

    Returns
    -------
    Angle and stretch; both NaN where the map mirrors or flattens space.
    """
    volume = float(np.linalg.det(linear))
    if not volume > 0:
        return float("nan"), float("nan")
    left, _, right = np.linalg.svd(linear)
    rotation = left @ right
    if len(linear) == 2:
        # In axis order (y, x): the y axis goes to (cos, sin).
        angle = np.arctan2(rotation[1, 0], rotation[0, 0])
    else:
        angle = np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))
    return float(np.degrees(angle)), volume ** (1 / len(linear))


def _motion(transform: Transform, points: Floats, centre: Floats) -> tuple[Floats, float, float, float, float]:
    moved = np.asarray(transform(torch.from_numpy(points)).detach().cpu().numpy(), np.float64)
    known = np.isfinite(moved).all(axis=0)
    ndim = len(centre)
    # An axis with a single voxel has points at one place only; nothing is known of its stretch, and lstsq's smallest
    # solution would be 0 there. Hence the map is fitted as a change of the identity.
    if known.sum() <= ndim:
        nothing = float("nan")
        return np.full(ndim, nothing), nothing, nothing, nothing, nothing
    offset = (points - centre[:, None])[:, known]
    change = (moved - points)[:, known]
    terms = np.vstack([offset, np.ones(offset.shape[1])]).T
    fitted = np.linalg.lstsq(terms, change.T, rcond=None)[0]
    angle, stretch = angle_and_stretch(np.eye(ndim) + fitted[:-1].T)
    misfit = float(np.sqrt(((terms @ fitted - change.T) ** 2).sum(axis=1).mean()))
    return fitted[-1], angle, stretch, misfit, float(np.linalg.norm(change, axis=0).max())
