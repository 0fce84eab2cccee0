"""The specimen of the generated movies: one cell nucleus as a fluorescence microscope shows it, at rest.

Chromatin is Gaussian noise of several scales whose exponential is seen, so bright places are rarer and sharper than
dark ones. Nucleoli are dark, roundish and rimmed; foci are bright spots as wide as a microscope's blur; the edge is
soft. Coordinates are pixels (y, x) of the first frame; lengths are stated for a picture of 532 pixels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float64]

REFERENCE_SIZE = 532.0  # pixels of the pictures whose lengths are stated
CHROMATIN = {2.2: 0.3, 4.0: 0.6, 8.0: 0.7, 18.0: 0.45, 40.0: 0.3}  # px of structure: amplitude
_FLATTEST = 0.9  # px: thinner structures would alias


@dataclass(frozen=True, eq=False)
class Nucleus:
    """The specimen in coordinates of the first frame; `size` is one reference pixel in pixels."""

    shape: tuple[int, int]
    size: float
    centre: Floats
    outline: Floats  # radius per degree of angle, px
    body: Floats  # brightness without chromatin, foci: soft edge, nucleoli (y, x)
    texture: Floats  # the lasting chromatin (y, x), mean 0, variance 1
    foci: Floats  # rows of y, x, brightness, width
    n_static: int  # the first so many foci rest

    @classmethod
    def draw(cls, shape: tuple[int, int], n_foci: int, mobile: float, rng: np.random.Generator) -> "Nucleus":
        """Draw a nucleus in the middle of a picture of this shape; a share `mobile` of its foci will diffuse."""
        size = min(shape) / REFERENCE_SIZE
        centre = (np.array(shape) - 1) / 2 + rng.uniform(-6, 6, 2) * size
        outline = _draw_outline(rng) * size
        depth = _depth_image(shape, centre, outline)
        body = _draw_nucleoli(depth, size, rng) / (1 + np.exp(-depth / (3.0 * size + 0.5)))
        foci = np.column_stack(
            [
                _scatter(n_foci, depth, 10 * size, 14 * size, rng),
                rng.uniform(0.35, 1.0, n_foci),
                np.maximum(rng.uniform(2.0, 3.6, n_foci) * size, _FLATTEST),
            ]
        )
        n_static = n_foci - round(n_foci * mobile)
        return cls(shape, size, centre, outline, body, chromatin(shape, size, rng), foci, n_static)

    def inside(self, points: Floats) -> NDArray[np.bool_]:
        """Tell which points `(N, 2)` lie within the nucleus, its soft edge left out."""
        return _depth(points, self.centre, self.outline) > 10 * self.size

    def marks(self, n: int, rng: np.random.Generator) -> Floats:
        """Choose the keypoints `(n, 2)`: half of them static foci, the others anywhere well inside."""
        on_foci = self.foci[: min(n // 2, self.n_static), :2]
        depth = _depth_image(self.shape, self.centre, self.outline)
        return np.vstack([on_foci, _scatter(n - len(on_foci), depth, 12 * self.size, 12 * self.size, rng)])

    def diffuse(self, foci: Floats, step: float, rng: np.random.Generator) -> Floats:
        """Return `foci` after one random step of the mobile ones; those that would leave the nucleus stay."""
        moved = foci.copy()
        moved[self.n_static :, :2] += rng.standard_normal((len(foci) - self.n_static, 2)) * step * self.size
        stays = _depth(moved[:, :2], self.centre, self.outline) < 6 * self.size
        moved[stays] = foci[stays]
        return moved


def _draw_outline(rng: np.random.Generator) -> Floats:
    """Draw the radius per degree: an ellipse of about 160 x 125 px with a few gentle dents."""
    angle = np.deg2rad(np.arange(360))
    long, short = rng.uniform(152, 168), rng.uniform(118, 132)
    turned = angle - rng.uniform(0, np.pi)
    radius = long * short / np.hypot(short * np.cos(turned), long * np.sin(turned))
    for wave in range(2, 7):
        radius = radius * (1 + 0.035 / wave * rng.standard_normal() * np.cos(wave * angle + rng.uniform(0, 2 * np.pi)))
    return np.asarray(radius)


def _depth(points: Floats, centre: Floats, outline: Floats) -> Floats:
    """Return how far inside the outline points `(N, 2)` lie along their ray from the centre, px (negative: outside)."""
    y, x = (points - centre).T
    angle = np.rad2deg(np.arctan2(y, x)) % 360
    return np.asarray(np.interp(angle, np.arange(361), np.append(outline, outline[0])) - np.hypot(y, x))


def _depth_image(shape: tuple[int, int], centre: Floats, outline: Floats) -> Floats:
    points = np.indices(shape).reshape(2, -1).T.astype(float)
    return _depth(points, centre, outline).reshape(shape)


def _scatter(n: int, depth: Floats, margin: float, distance: float, rng: np.random.Generator) -> Floats:
    """Draw `n` places `(n, 2)` deeper than `margin`, kept `distance` apart as far as there is room."""
    rows, columns = np.nonzero(depth > margin)
    chosen = np.empty((0, 2))
    while len(chosen) < n:
        pick = rng.integers(len(rows), size=20)
        candidates = np.column_stack([rows[pick], columns[pick]]) + rng.uniform(-0.5, 0.5, (20, 2))
        nearest = np.linalg.norm(candidates[:, None] - chosen[None], axis=2).min(axis=1, initial=distance)
        chosen = np.vstack([chosen, candidates[nearest.argmax()]])
    return chosen


def _draw_nucleoli(depth: Floats, size: float, rng: np.random.Generator) -> Floats:
    """Return a brightness factor (y, x): dark, roundish nucleoli, each with a faint bright rim."""
    grid = np.indices(depth.shape).astype(float)
    wobble = [bands({12 * size: 1.0}, depth.shape, rng) * 3.5 * size for _ in range(2)]
    factor = np.ones(depth.shape)
    for y, x in _scatter(int(rng.integers(3, 6)), depth, 45 * size, 70 * size, rng):
        radius, stretch = rng.uniform(15, 27) * size, rng.uniform(0.8, 1.25)
        distance = np.hypot((grid[0] - y + wobble[0]) * stretch, (grid[1] - x + wobble[1]) / stretch)
        rim = np.exp(-(((distance - radius - 4 * size) / (4 * size)) ** 2))
        factor = factor * (1 - 0.72 / (1 + np.exp((distance - radius) / (1.8 * size + 0.3)))) * (1 + 0.22 * rim)
    return factor


def chromatin(shape: tuple[int, int], size: float, rng: np.random.Generator) -> Floats:
    """Draw chromatin (y, x) of mean 0, variance 1: bands of several scales, coarse ones the strongest."""
    visible = {scale * size: weight for scale, weight in CHROMATIN.items() if scale * size >= _FLATTEST}
    return bands(visible or {_FLATTEST: 1.0}, shape, rng)


def bands(weights: dict[float, float], shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Draw noise (y, x) of variance 1: a sum of independent bands, structure size in px: amplitude."""
    squared = (2 * np.pi) ** 2 * (np.fft.fftfreq(shape[0])[:, None] ** 2 + np.fft.rfftfreq(shape[1]) ** 2)
    power = np.zeros(squared.shape)
    for scale, weight in weights.items():
        smooth = np.exp(-squared * max(scale, _FLATTEST) ** 2 / 2)
        band = (smooth - smooth**4) ** 2  # between one Gaussian and another of twice the width
        power += weight**2 * band / band.sum()
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * np.sqrt(power), s=shape)
    return np.asarray(noise / noise.std())


def spots(shape: tuple[int, int], foci: Floats) -> Floats:
    """Return Gaussian spots (y, x); `foci` are rows of y, x, brightness, width."""
    image = np.zeros(shape)
    for y, x, brightness, width in foci:
        reach = int(np.ceil(5 * width))
        rows = np.arange(max(int(y) - reach, 0), min(int(y) + reach + 2, shape[0]))
        columns = np.arange(max(int(x) - reach, 0), min(int(x) + reach + 2, shape[1]))
        profile_y, profile_x = (np.exp(-(((at - c) / width) ** 2) / 2) for at, c in ((rows, y), (columns, x)))
        image[np.ix_(rows, columns)] += brightness * np.outer(profile_y, profile_x)
    return image


def draw_nuclei(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Draw a volume `(z, y, x)` of brightness about 0 to 1 with several nuclei; return it and its foci `(N, 3)`, px.

    Nuclei are textured ellipsoids, flattened along z as adherent cells are, with four bright foci each.
    """
    scale = np.array(spacing)
    points = np.stack(np.meshgrid(*(np.arange(n, dtype=float) for n in shape), indexing="ij"), axis=-1)
    extent = np.array(shape) * scale
    texture = ndimage.gaussian_filter(rng.standard_normal(shape), np.maximum(extent.max() / 40 / scale, 0.6))
    texture /= texture.std()
    volume, foci = np.zeros(shape), []
    for column in lonely_places(6, extent[1:] * 0.6, rng) + extent[1:] * 0.2:
        centre = np.array([extent[0] * rng.uniform(0.42, 0.58), *column])
        radii = np.array([0.26 * extent[0], *(min(extent[1:]) * rng.uniform(0.09, 0.14, 2))])
        depth = 1 - np.linalg.norm((points * scale - centre) / radii, axis=-1)
        volume = np.maximum(volume, 0.45 * np.exp(0.3 * texture) / (1 + np.exp(-depth * 9)))
        directions = rng.standard_normal((4, 3))
        directions *= rng.uniform(0.3, 0.7, (4, 1)) / np.linalg.norm(directions, axis=1, keepdims=True)
        foci.extend((centre + directions * radii) / scale)
    width = np.maximum(extent.max() / 50 / scale, 0.8)
    for focus in foci:
        volume = volume + 0.5 * np.exp(-((((points - focus) / width) ** 2).sum(axis=-1)) / 2)
    return volume, np.array(foci)


def lonely_places(n: int, extent: Floats, rng: np.random.Generator) -> Floats:
    """Draw `n` places within a box of this extent, each the loneliest of 30 candidates."""
    places = rng.uniform(size=(1, len(extent))) * extent
    while len(places) < n:
        candidates = rng.uniform(size=(30, len(extent))) * extent
        nearest = np.linalg.norm(candidates[:, None] - places[None], axis=2).min(axis=1)
        places = np.vstack([places, candidates[nearest.argmax()]])
    return places
