"""Smooth motions with an exact truth: what the generators of `synthetic` move their specimens with.

A motion is a map of points of the first frame to where they are found later, `T(x) = x + u(x)`. Its bending part is a
cubic B-spline on a coarse lattice, so it can be evaluated anywhere without interpolation error; images are rendered
through the inverse of the same map, found by fixed-point iteration, to better than a hundredth of a pixel.
Everything here is in pixels and axis order (y, x).

References
----------
Unser, M.: Splines: a perfect fit for signal and image processing. IEEE Signal Processing Magazine 16(6), 1999.
https://doi.org/10.1109/79.799930
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float64]

_BORDER = 6  # lattice nodes kept beyond an image, where the spline's boundary condition has died away
_ITERATIONS = 100  # of the inversion at most; bends steeper than 1 px per px cannot be inverted at all
_TOLERANCE = 1e-5  # px by which the last step of the inversion may still move a point


@dataclass(frozen=True, eq=False)
class SmoothField:
    """A displacement `(2, *points)` in pixels: a cubic B-spline on a lattice; zero far outside of it.

    Parameters
    ----------
    coefficients
        B-spline coefficients `(2, rows, columns)`, pixels.
    step
        Distance of the lattice nodes, pixels.
    start
        Coordinate of node 0 along both axes, pixels.
    """

    coefficients: Floats
    step: float
    start: float

    @classmethod
    def through(cls, values: Floats, step: float, start: float) -> "SmoothField":
        """Return the field that takes the `values` `(2, rows, columns)` at the lattice nodes."""
        coefficients = [ndimage.spline_filter(component, order=3, mode="mirror") for component in values]
        return cls(np.stack(coefficients), step, start)

    def scaled(self, factor: float) -> "SmoothField":
        """Return the field times `factor`."""
        return replace(self, coefficients=self.coefficients * factor)

    def plus(self, other: "SmoothField") -> "SmoothField":
        """Return the sum with another field on the same lattice."""
        return replace(self, coefficients=self.coefficients + other.coefficients)

    def at(self, points: Floats) -> Floats:
        """Return the displacement `(N, 2)` at `points` `(N, 2)`, pixels."""
        nodes = (points.T - self.start) / self.step
        parts = (
            ndimage.map_coordinates(part, nodes, order=3, mode="grid-constant", prefilter=False) for part in self.coefficients
        )
        return np.stack(list(parts), axis=1)

    def on(self, shape: tuple[int, int]) -> Floats:
        """Return the displacement `(2, y, x)` at the pixels of an image of this shape."""
        rows, columns = (self._basis(np.arange(shape[axis], dtype=float), axis) for axis in range(2))
        return np.stack([rows @ part @ columns.T for part in self.coefficients])

    def nodes(self) -> Floats:
        """Return the coordinates `(rows, columns, 2)` of the lattice nodes, pixels."""
        axes = [self.start + self.step * np.arange(n) for n in self.coefficients.shape[1:]]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)

    def _basis(self, coordinates: Floats, axis: int) -> Floats:
        nodes = np.arange(self.coefficients.shape[axis + 1])
        t = np.abs((coordinates[:, None] - self.start) / self.step - nodes)
        inner, outer = 2 / 3 - t**2 + t**3 / 2, np.clip(2 - t, 0, None) ** 3 / 6
        return np.where(t < 1, inner, outer)


@dataclass(frozen=True, eq=False)
class Motion:
    """Bend, then turn, scale and shear about a centre, then shift.

    `T(x) = matrix (x + bend(x) - centre) + centre + shift`

    Parameters
    ----------
    matrix
        Linear part `(2, 2)`.
    centre, shift
        Fixed point of the linear part and the translation `(2,)`, pixels.
    bend
        The local deformation, in coordinates of the first frame.
    """

    matrix: Floats
    centre: Floats
    shift: Floats
    bend: SmoothField

    def __call__(self, points: Floats) -> Floats:
        """Return where `points` `(N, 2)` of the first frame are found."""
        return self._move(points + self.bend.at(points))

    def inverse(self, points: Floats) -> Floats:
        """Return the points `(N, 2)` of the first frame that are found at `points`."""
        unbent = (points - self.centre - self.shift) @ np.linalg.inv(self.matrix).T + self.centre
        found = unbent
        for _ in range(_ITERATIONS):
            before, found = found, unbent - self.bend.at(found)
            if np.abs(found - before).max(initial=0) < _TOLERANCE:
                break
        return found

    def displacement(self, shape: tuple[int, int]) -> Floats:
        """Return `u` `(2, y, x)` in pixels: point x of the first frame is found at `x + u(x)`."""
        grid = _grid(shape)
        bent = grid + self.bend.on(shape)
        return self._move(bent.reshape(2, -1).T).T.reshape(grid.shape) - grid

    def sources(self, shape: tuple[int, int]) -> Floats:
        """Return for each pixel of a later frame the place `(2, y, x)` in the first frame it shows.

        The bending part of the inverse is solved on a coarse lattice and read through its interpolating spline.
        """
        step = self.bend.step
        lattice = coarse_lattice(shape, step)
        nodes = lattice.nodes().reshape(-1, 2)
        values = (self.inverse(nodes) - self._unmove(nodes)).T.reshape(lattice.coefficients.shape)
        rest = SmoothField.through(values, step, lattice.start).on(shape)
        grid = _grid(shape)
        return self._unmove(grid.reshape(2, -1).T).T.reshape(grid.shape) + rest

    def _move(self, points: Floats) -> Floats:
        return (points - self.centre) @ self.matrix.T + self.centre + self.shift

    def _unmove(self, points: Floats) -> Floats:
        return (points - self.centre - self.shift) @ np.linalg.inv(self.matrix).T + self.centre


def coarse_lattice(shape: tuple[int, int], step: float, border: int = _BORDER) -> SmoothField:
    """Return the zero field on a lattice that covers an image of this shape and `border` nodes around it."""
    counts = [int(np.ceil((n - 1) / step)) + 1 + 2 * border for n in shape]
    return SmoothField(np.zeros((2, *counts)), step, -border * step)


def random_bend(
    shape: tuple[int, int], wavelength: float, inside: Callable[[Floats], NDArray[np.bool_]], rng: np.random.Generator
) -> SmoothField:
    """Draw a smooth local deformation without affine part, of root mean square length 1 px inside the specimen.

    Parameters
    ----------
    shape
        Of the image (y, x), pixels.
    wavelength
        Standard deviation of the Gaussian that smooths the random vectors, pixels.
    inside
        Tells which of the points `(N, 2)` belong to the specimen.
    rng
        Source of randomness.
    """
    step = max(wavelength / 4, 2.0)
    lattice = coarse_lattice(shape, step, border=_BORDER + int(max(shape) / 4 / step))
    noise = rng.standard_normal(lattice.coefficients.shape)
    smooth = ndimage.gaussian_filter(noise, (0, wavelength / step, wavelength / step))
    nodes = lattice.nodes().reshape(-1, 2)
    within = inside(nodes)
    design = np.column_stack([nodes, np.ones(len(nodes))])
    flat = smooth.reshape(2, -1).T
    flat = flat - design @ np.linalg.lstsq(design[within], flat[within], rcond=None)[0]
    flat = flat / np.sqrt((flat[within] ** 2).sum(axis=1).mean())
    outside = np.maximum(np.abs(nodes - nodes.mean(axis=0)) / np.array(shape) - 0.5, 0).max(axis=1)
    fade = np.cos(np.clip(outside / 0.25, 0, 1) * np.pi / 2) ** 2  # the lattice must end in rest, not in a cliff
    return replace(lattice, coefficients=(flat * fade[:, None]).T.reshape(smooth.shape))


def affine_matrix(angle: float, scale: float, shear: float) -> Floats:
    """Return the `(2, 2)` matrix that shears, scales and then turns by `angle` radians from y towards x."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return turn @ (scale * np.array([[1.0, shear], [0.0, 1.0]]))


def _grid(shape: tuple[int, int]) -> Floats:
    return np.stack(np.meshgrid(*(np.arange(n, dtype=float) for n in shape), indexing="ij"))
