"""Serial sections as an electron microscope shows them, each moved by its own known deformation.

Cells are a Voronoi-like pattern of bent columns that change slowly from section to section: pale cytoplasm, dark
membranes, mitochondria with cristae, vesicles, grain, and brightness that differs between sections. Every section but
the first is deformed by its own thin-plate spline plus a small rotation and shift, as in ssEMnet's protocol.

Convention: `displacement[z]` is the Transform from the section at rest (fixed) to the section as cut (moving): point
x at rest is found at `x + u(x)`, hence `warped(x) = moving(x + u(x))` undoes the deformation.

References
----------
The protocol follows ssEMnet: serial-section electron microscopy image registration using a spatial transformer network
with learned features. 2017.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree
from scipy.special import expit

from napari_denoisereg.evaluation.synthetic_motion import Motion, SmoothField, affine_matrix, coarse_lattice
from napari_denoisereg.evaluation.synthetic_nucleus import lonely_places

Floats = NDArray[np.float64]
Labels = NDArray[np.int32]

REFERENCE_SIZE = 250.0  # pixels of the pictures whose lengths are stated
_CELL = 34.0  # px: mean distance of cell centres
_THICKNESS = 10.0  # px: distance of two sections
_STRETCH = 2.0  # cells are so many times longer across the sections than within
_MARGIN = 40.0  # px drawn around a section, so that deformation pulls in tissue and not emptiness


@dataclass(frozen=True, eq=False)
class SyntheticSections:
    """A stack of sections and the truth about it; all arrays share `(z, y, x)`.

    Parameters
    ----------
    images
        The sections as cut and recorded: deformed, noisy, 8 bit.
    at_rest
        The same sections before deformation, without noise, 8 bit.
    labels, labels_at_rest
        Number of the cell each pixel belongs to (from 1, the same in every section), deformed and at rest.
    displacement
        `u` `(z, 2, y, x)` in pixels: point x at rest is found at `x + u(x)`; zero in the first section.
    """

    images: NDArray[np.uint8]
    at_rest: NDArray[np.uint8]
    labels: Labels
    labels_at_rest: Labels
    displacement: NDArray[np.float32]


def sections(seed: int = 0, n: int = 12, shape: tuple[int, int] = (250, 250), *, bend: float = 5.0) -> SyntheticSections:
    """Generate `n` serial sections.

    Parameters
    ----------
    seed
        Same seed, same stack.
    n
        Number of sections, at least 1.
    shape
        Of a section (y, x), pixels; at least 32 along each axis. What it shows scales with it.
    bend
        Standard deviation of the 20 vectors the deformation is drawn from, px of a picture of 250 px.
    """
    if n < 1 or len(shape) != 2 or min(shape) < 32:
        raise ValueError(f"Sections need n >= 1 and a shape (y, x) of at least (32, 32), got {n} and {shape}; enlarge.")
    rng = np.random.default_rng(seed)
    size = min(shape) / REFERENCE_SIZE
    margin = int(np.ceil(_MARGIN * size))
    tissue = _Tissue.draw(n, (shape[0] + 2 * margin, shape[1] + 2 * margin), size, rng)
    drawn = np.stack([_draw_section(tissue, z, rng) for z in range(n)])
    motions = [_draw_motion(shape, bend * size if z else 0.0, rng) for z in range(n)]
    places = [motion.sources(shape) + margin for motion in motions]
    moved = [ndimage.map_coordinates(image, at, order=3, mode="nearest") for image, at in zip(drawn, places, strict=True)]
    ids = [ndimage.map_coordinates(cells, at, order=0, mode="nearest") for cells, at in zip(tissue.cells, places, strict=True)]
    inner = (slice(None), slice(margin, margin + shape[0]), slice(margin, margin + shape[1]))
    return SyntheticSections(
        images=np.stack([_record(image, rng) for image in moved]),
        at_rest=_to_bytes(drawn[inner]),
        labels=np.stack(ids),
        labels_at_rest=tissue.cells[inner].copy(),
        displacement=np.stack([motion.displacement(shape) for motion in motions]).astype(np.float32),
    )


@dataclass(frozen=True, eq=False)
class _Tissue:
    """Cells at rest, `(z, y, x)`."""

    size: float
    cells: Labels
    membrane: Floats  # distance to the next cell, px
    places: Floats  # bent coordinates of every pixel (z, y, x, 3), in which cells are straight
    organelles: Floats  # centres of the mitochondria, rows of bent z, y, x

    @classmethod
    def draw(cls, n: int, shape: tuple[int, int], size: float, rng: np.random.Generator) -> "_Tissue":
        """Draw cells of very different size: a power diagram, found as nearest neighbours in four dimensions."""
        border = _CELL * size
        extent = np.array([n * _THICKNESS * size / _STRETCH, *shape]) + 2 * border
        centres = rng.uniform(size=(int(extent.prod() / border**3) + 4, 3)) * extent - border
        radius = np.minimum(rng.gamma(1.5, 9.0, len(centres)), 32.0) * size
        lifted = np.column_stack([centres, np.sqrt(radius.max() ** 2 - radius**2)])
        places = _bent_places(n, shape, size, rng)
        points = np.column_stack([places.reshape(-1, 3), np.zeros(places[..., 0].size)])
        distance, nearest = cKDTree(lifted).query(points, k=2)
        apart = np.linalg.norm(np.diff(centres[nearest][..., 1:], axis=1)[:, 0], axis=1)
        gap = (distance[:, 1] ** 2 - distance[:, 0] ** 2) / (2 * np.maximum(apart, 4 * size))
        cells = (nearest[:, 0] + 1).astype(np.int32).reshape(n, *shape)
        organelles = centres + rng.normal(0, 8 * size, centres.shape)
        return cls(size, cells, gap.reshape(n, *shape), places, organelles[radius > 10 * size])


def _bent_places(n: int, shape: tuple[int, int], size: float, rng: np.random.Generator) -> Floats:
    """Return the coordinates of all pixels bent by smooth noise `(z, y, x, 3)`: it makes straight borders winding."""
    grid = np.stack(np.meshgrid(*(np.arange(k, dtype=float) for k in (n, *shape)), indexing="ij"), axis=-1)
    grid[..., 0] *= _THICKNESS * size / _STRETCH
    for width, length in ((9.0, 2.4), (26.0, 7.0)):
        widths = np.array([width * _STRETCH / _THICKNESS, width * size, width * size])
        for axis in range(3):
            noise = ndimage.gaussian_filter(rng.standard_normal((n, *shape)), widths)
            grid[..., axis] += noise / noise.std() * length * size
    return grid


def _draw_section(tissue: _Tissue, z: int, rng: np.random.Generator) -> Floats:
    """Return one section at rest without noise, brightness 0 to 1."""
    size, gap, cells = tissue.size, tissue.membrane[z], tissue.cells[z]
    tint = ((cells * 0.618) % 1 - 0.5) * 0.16  # neighbouring numbers far apart
    grain = _noise(gap.shape, 1.3 * size, rng) * 0.045 + _noise(gap.shape, 5 * size, rng) * 0.03
    image = 0.72 + tint + grain
    image = _add_vesicles(image, gap, cells, size, rng)
    image = _add_mitochondria(image, tissue, z)
    thickness = (1.7 + 0.5 * _noise(gap.shape, 12 * size, rng)) * size + 0.3
    image = image - 0.5 * np.exp(-((gap / np.maximum(thickness, 0.6)) ** 2))
    return np.asarray(ndimage.gaussian_filter(image, 0.5))


def _add_vesicles(image: Floats, gap: Floats, cells: Labels, size: float, rng: np.random.Generator) -> Floats:
    """Stamp small rings, most of them into every third cell, none onto membranes."""
    chance = np.where(cells % 3 == 0, 0.006, 0.0008) * (gap > 6 * size) / size**2
    seeds = (rng.uniform(size=image.shape) < np.minimum(chance, 0.2)).astype(float)
    reach = int(np.ceil(5 * size)) + 1
    offset = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1])
    ring = np.exp(-(((offset - 2.6 * size) / (0.9 * size + 0.2)) ** 2))
    lumen = np.exp(-((offset / (1.6 * size + 0.2)) ** 2))
    return image - 0.22 * np.minimum(ndimage.convolve(seeds, ring - 0.4 * lumen, mode="constant"), 1.2)


def _add_mitochondria(image: Floats, tissue: _Tissue, z: int) -> Floats:
    """Darken long ovals with a membrane of their own and bright folds (cristae) inside."""
    size, place, gap = tissue.size, tissue.places[z], tissue.membrane[z]
    reach = 45 * size  # as far as an oval and the bending of the places can extend
    for number, centre in enumerate(tissue.organelles):
        rows, columns = (slice(int(max(c - reach, 0)), int(max(c + reach, 0))) for c in centre[1:])
        box = (rows, columns)
        turn = number * 2.4  # golden angle: no two alike
        axes = np.array([[np.sin(turn), np.cos(turn)], [np.cos(turn), -np.sin(turn)]])
        along, across = np.moveaxis((place[box][..., 1:] - centre[1:]) @ axes.T, -1, 0) / size
        deep = (place[box][..., 0] - centre[0]) / size
        radius = np.sqrt((along / 15) ** 2 + (across / 8) ** 2 + (deep / 9) ** 2)
        inside = expit((1 - radius) * 14) * np.clip(gap[box] / (3 * size) - 1, 0, 1)
        rim = np.exp(-(((radius - 1) * 7) ** 2)) * (gap[box] > 3 * size)
        folds = 0.06 * np.sin(along / 1.5 + across / 3)
        image[box] = image[box] * (1 - inside) + inside * (0.42 + folds) - 0.16 * rim
    return image


def _noise(shape: tuple[int, ...], scale: float, rng: np.random.Generator) -> Floats:
    smooth = ndimage.gaussian_filter(rng.standard_normal(shape), max(scale, 0.5))
    return np.asarray(smooth / smooth.std())


def _draw_motion(shape: tuple[int, int], bend: float, rng: np.random.Generator) -> Motion:
    """Draw a thin-plate spline through 20 spread points, a rotation of about a degree and a shift of about 3 px."""
    lattice = coarse_lattice(shape, max(min(shape) / 32, 2.0))
    vectors = rng.normal(0, bend, (20, 2))
    places = lonely_places(20, np.array(shape, dtype=float), rng)  # close pairs would fold the section
    spline = RBFInterpolator(places, vectors, kernel="thin_plate_spline")
    values = spline(lattice.nodes().reshape(-1, 2)).T.reshape(lattice.coefficients.shape)
    angle, shift = rng.normal(0, np.deg2rad(1.0)), rng.normal(0, 0.6 * bend, 2)
    centre = (np.array(shape) - 1) / 2
    bending = SmoothField.through(values, lattice.step, lattice.start)
    return Motion(affine_matrix(angle if bend else 0.0, 1.0, 0.0), centre, shift, bending)


def _record(image: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Add what the microscope adds: contrast and brightness of its own, and noise."""
    contrast, brightness = rng.normal(1.0, 0.05), rng.normal(0.0, 0.02)
    return _to_bytes((image - 0.6) * contrast + 0.6 + brightness + rng.normal(0, 0.055, image.shape))


def _to_bytes(image: Floats) -> NDArray[np.uint8]:
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
