"""ssEMnet's protocol on real sections that are aligned already: deform each by its own known field, align, compare.

Every section but the first is deformed by a thin-plate spline through 20 random vectors at random places, a small turn and a
small shift; with ``defects``, every sixth also gets dust and a fold, which hides a strip of tissue. What was moved in from
outside the image is empty (0). Alignments are judged by the Dice of the ids of neighbouring sections (`overlap`), by the
correlation of neighbouring sections, and by the drift: how far tissue is from where it was before deformation. A chain may
have good neighbours and still drift.

Convention: pixel y of a deformed section shows the section at rest at ``y + source(y)``. A transform T found for it (fixed to
moving) brings to x what was at rest at ``T(x) + source(T(x))``; its drift at x is the distance of the two.

References
----------
Yoo, Hildebrand, Tobin, Lee, Jeong 2017, ssEMnet, doi:10.1007/978-3-319-67558-9_29.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import RBFInterpolator

from napari_denoisereg.geometry import Grid, Transform

Floats = NDArray[np.float64]
N_VECTORS = 20
FOLD_EVERY, FOLD_PX, FOLD_REACH = 6, 12.0, 60.0
N_DUST = 6


@dataclass(frozen=True, eq=False)
class DeformedSections:
    """Deformed sections and what was done to them.

    Parameters
    ----------
    images, labels : ndarray
        ``(z, y, x)``, dtypes as given; 0 where there is no tissue.
    source : ndarray
        ``(z, 2, y, x)``, px, see the module; 0 in the first section.
    """

    images: NDArray[Any]
    labels: NDArray[Any]
    source: Floats


def deform_sections(
    images: NDArray[Any], labels: NDArray[Any], seed: int, *, bend: float = 5.0, shift: float = 3.0, defects: bool = False
) -> DeformedSections:
    """Deform aligned sections.

    Parameters
    ----------
    images, labels : ndarray
        ``(z, y, x)``.
    seed : int
        Same seed, same deformation.
    bend, shift : float
        Standard deviation of the vectors of the spline and of the shift, px; the turn has 1 degree.
    defects : bool
        Dust and a fold in every sixth section.

    Returns
    -------
    DeformedSections
        Same shapes.

    Raises
    ------
    ValueError
        When images and labels are no stacks of one shape.
    """
    if images.ndim != 3 or images.shape != labels.shape:
        raise ValueError(f"Expected images and labels (z, y, x) of one shape, got {images.shape} and {labels.shape}.")
    random = np.random.default_rng(seed)
    shape, places = images.shape[1:], np.indices(images.shape[1:], dtype=float)
    source = np.zeros((len(images), 2, *shape))
    seen, ids = images.copy(), labels.copy()
    for z in range(1, len(images)):
        source[z] = _motion(shape, bend, shift, random)
        is_broken = defects and z % FOLD_EVERY == FOLD_EVERY // 2
        line = _line(shape, random) if is_broken else None
        if line is not None:
            source[z] += _fold(*line)
        at = places + source[z]
        image = ndimage.map_coordinates(images[z].astype(float), at, order=1, mode="constant")
        if line is not None:
            image = _with_dust(image * (1 - 0.85 * np.exp(-((line[0] / 3) ** 2))), random)
        seen[z] = np.rint(image) if images.dtype.kind in "iu" else image
        ids[z] = ndimage.map_coordinates(labels[z], at, order=0, mode="constant")
    return DeformedSections(seen, ids, source)


def drift(sections: DeformedSections, transforms: Sequence[Transform]) -> Floats:
    """Mean distance of tissue to where it was before deformation, for every section but the first.

    Parameters
    ----------
    sections : DeformedSections
        The truth.
    transforms : sequence of Transform
        One per section, fixed to moving, px.

    Returns
    -------
    ndarray
        ``(z - 1,)``, px.
    """
    shape = sections.images.shape[1:]
    points = Grid(shape).points(wide=True)
    found = []
    for source, transform in zip(sections.source[1:], list(transforms)[1:], strict=True):
        moved = transform(points).numpy()
        at_rest = moved + np.stack([ndimage.map_coordinates(each, moved, order=1, mode="nearest") for each in source])
        found.append(np.linalg.norm(at_rest - points.numpy(), axis=0).mean())
    return np.array(found)


def neighbour_correlation(images: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> Floats:
    """Correlation coefficient of each section with the next, where both have tissue.

    Parameters
    ----------
    images : ndarray
        ``(z, y, x)``.
    valid : ndarray, optional
        Where there is tissue; by default where images are not 0.

    Returns
    -------
    ndarray
        ``(z - 1,)``; NaN where two sections share fewer than two pixels.
    """
    tissue = images != 0 if valid is None else valid
    found = []
    for z in range(len(images) - 1):
        both = tissue[z] & tissue[z + 1]
        one, two = images[z][both].astype(float), images[z + 1][both].astype(float)
        found.append(float(np.corrcoef(one, two)[0, 1]) if both.sum() > 1 else float("nan"))
    return np.array(found)


def _motion(shape: Sequence[int], bend: float, shift: float, random: np.random.Generator) -> Floats:
    """A thin-plate spline, a turn about the middle and a shift ``(2, y, x)``, px."""
    size, step = np.array(shape), 4.0
    spline = RBFInterpolator(
        random.uniform(size=(N_VECTORS, 2)) * size, random.normal(0, bend, (N_VECTORS, 2)), kernel="thin_plate_spline"
    )
    # Evaluated at every fourth pixel and interpolated: the spline is smooth.
    axes = [np.arange(-step, length + 2 * step, step) for length in shape]
    coarse = spline(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)).T.reshape(2, *map(len, axes))
    places = np.indices(shape, dtype=float)
    field = np.stack([ndimage.map_coordinates(each, places / step + 1, order=3, mode="nearest") for each in coarse])
    angle = np.deg2rad(random.normal(0, 1.0))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) - np.eye(2)
    centred = places - (size[:, None, None] - 1) / 2
    return field + np.einsum("ij,jyx->iyx", turn, centred) + random.normal(0, shift, 2)[:, None, None]


def _line(shape: Sequence[int], random: np.random.Generator) -> tuple[Floats, Floats]:
    """Signed distance of every pixel to a random line near the middle, and its normal."""
    angle = random.uniform(0, np.pi)
    normal = np.array([np.sin(angle), np.cos(angle)])
    centre = np.array(shape) / 2 + random.uniform(-1, 1, 2) * np.array(shape) / 6
    return np.tensordot(normal, np.indices(shape) - centre[:, None, None], axes=1), normal


def _fold(distance: Floats, normal: Floats) -> Floats:
    """A strip of tissue is hidden at the line; far from it nothing moves."""
    jump = np.sign(distance) * FOLD_PX / 2 * np.exp(-np.abs(distance) / FOLD_REACH)
    return normal[:, None, None] * jump


def _with_dust(image: Floats, random: np.random.Generator) -> Floats:
    """Dark round grains of 4 to 14 px radius."""
    places = np.indices(image.shape)
    for _ in range(N_DUST):
        centre, radius = random.uniform(size=2) * image.shape, random.uniform(4, 14)
        grain = 1 / (1 + np.exp(np.clip(np.hypot(*(places - centre[:, None, None])) - radius, -50, 50)))
        image = image * (1 - grain) + grain * random.uniform(0.02, 0.15) * image.max()
    return image
