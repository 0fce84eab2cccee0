"""Time-lapse movies of a cell nucleus with known motion, known clean images and keypoints followed exactly.

One textured nucleus fills the picture: chromatin of several scales, dark nucleoli, bright foci, a soft edge. It turns,
drifts, swells, shears a little and bends slowly, bleaches, and is seen through Poisson and Gaussian noise. Every
frame is rendered by looking up, for each pixel, the place of the first frame it shows (inverse of the true map), so
images, displacement and keypoints agree exactly. Some foci diffuse on their own and, in the hard movie, half of the
texture renews itself: nothing can be registered there, as in life.

Convention: `displacement[t]` is the Transform from frame 0 (fixed) to frame t (moving): point x of frame 0 is found
at `x + u(x)` in frame t, hence `warped(x) = moving(x + u(x))` aligns frame t with frame 0.

Everything scales with the shape: the lengths below are for pictures of 532 x 532 pixels, as in DenoiseReg's data.

References
----------
The movies imitate dataset A of DenoiseReg: unsupervised joint denoising and registration of time-lapse live cell
microscopy images. IEEE International Symposium on Biomedical Imaging (ISBI) 2022.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_denoisereg.evaluation.keypoints import Keypoints
from napari_denoisereg.evaluation.synthetic_motion import Motion, SmoothField, affine_matrix, random_bend

Floats = NDArray[np.float64]
Image = NDArray[np.float32]

REFERENCE_SIZE = 532.0  # pixels of the pictures whose lengths the settings state
CHROMATIN = {2.2: 0.35, 4.0: 0.6, 8.0: 0.7, 18.0: 0.45, 40.0: 0.3}  # px of structure: amplitude
PEAK_COUNTS = 4000.0  # camera counts at the brightest place of the first frame


@dataclass(frozen=True)
class MovieSettings:
    """What makes a movie easy or hard; lengths in pixels of a 532 x 532 picture.

    Parameters
    ----------
    psnr
        Peak signal-to-noise ratio of the noisy movie, dB; peak is the clean movie's 99.9th percentile.
    bend
        Root mean square length of the local deformation in the last frame, px.
    renewal
        Share of the chromatin texture's variance that renews itself, 0 to 1.
    memory
        Time constant of the renewal, frames.
    mobile_foci
        Share of the bright foci that diffuse on their own, 0 to 1.
    diffusion
        Step of a mobile focus per frame and axis (standard deviation), px.
    last_error
        Mean distance of the keypoints from their first place in the last frame, px.
    bleaching
        Share of the light lost by the last frame, 0 to 1.
    n_foci, n_keypoints
        Numbers of bright foci and of keypoints (half of these on static foci).
    """

    psnr: float = 20.0
    bend: float = 4.5
    renewal: float = 0.0
    memory: float = 8.0
    mobile_foci: float = 1 / 3
    diffusion: float = 1.5
    last_error: float = 57.0
    bleaching: float = 0.3
    n_foci: int = 60
    n_keypoints: int = 40


EASY = MovieSettings()
HARD = MovieSettings(psnr=12.0, bend=6.0, renewal=0.5, mobile_foci=0.5)


@dataclass(frozen=True, eq=False)
class SyntheticMovie:
    """A movie and the truth about it.

    Parameters
    ----------
    noisy, clean
        Images `(t, y, x)` in camera counts, with and without noise. Single noisy pixels of the background may lie
        below zero, as after subtraction of a camera's offset: clipping them would make the noise biased.
    keypoints
        Places followed exactly, one row per keypoint and frame, pixels.
    displacement
        `u` `(t, D, *spatial)` in world units (pixels times `spacing`): point x of frame 0 is found at `x + u(x)`.
    peak
        99.9th percentile of `clean`, camera counts: the peak of every PSNR.
    spacing
        Size of a pixel along each spatial axis, world units.
    """

    noisy: Image
    clean: Image
    keypoints: Keypoints
    displacement: Image
    peak: float
    spacing: tuple[float, ...]


def nuclei_movie(
    difficulty: Literal["easy", "hard"] | MovieSettings = "easy",
    *,
    seed: int = 0,
    shape: tuple[int, int] = (532, 532),
    n_frames: int = 25,
    spacing: tuple[float, float] = (1.0, 1.0),
) -> SyntheticMovie:
    """Generate a time-lapse of one moving nucleus.

    Parameters
    ----------
    difficulty
        "easy" (20 dB, 4.5 px of bending), "hard" (12 dB, 6 px, texture that renews itself) or settings of your own.
    seed
        Same seed, same movie.
    shape
        Of a frame (y, x), pixels; at least 32 along each axis.
    n_frames
        At least 2.
    spacing
        Size of a pixel (y, x), world units; scales `displacement` only.
    """
    settings = _settings(difficulty)
    if len(shape) != 2 or min(shape) < 32 or n_frames < 2:
        raise ValueError(
            f"A nucleus needs a shape (y, x) of at least (32, 32) and 2 frames, got {shape} and {n_frames}; enlarge it."
        )
    rng = np.random.default_rng(seed)
    nucleus = _Nucleus.draw(shape, settings, rng)
    marks = nucleus.marks(settings.n_keypoints, rng)
    motions = _draw_motions(nucleus, marks, n_frames, settings, rng)
    clean = _render(nucleus, motions, settings, rng)
    noisy, peak = _expose(clean, settings.psnr, rng)
    scale = np.array(spacing).reshape(2, 1, 1)
    displacement = np.stack([(motion.displacement(shape) * scale).astype(np.float32) for motion in motions])
    return SyntheticMovie(noisy, clean, _follow(marks, motions), displacement, peak, tuple(spacing))


def _settings(difficulty: str | MovieSettings) -> MovieSettings:
    if isinstance(difficulty, MovieSettings):
        return difficulty
    known = {"easy": EASY, "hard": HARD}
    if difficulty not in known:
        raise ValueError(f"Difficulty must be one of {tuple(known)} or MovieSettings, got {difficulty!r}; pass 'easy'.")
    return known[difficulty]


@dataclass(frozen=True, eq=False)
class _Nucleus:
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
    def draw(cls, shape: tuple[int, int], settings: MovieSettings, rng: np.random.Generator) -> "_Nucleus":
        size = min(shape) / REFERENCE_SIZE
        centre = (np.array(shape) - 1) / 2 + rng.uniform(-6, 6, 2) * size
        outline = _draw_outline(rng) * size
        depth = _depth(np.indices(shape).reshape(2, -1).T, centre, outline).reshape(shape)
        body = _draw_nucleoli(depth, size, rng) / (1 + np.exp(-depth / (3.0 * size + 0.5)))
        foci = np.column_stack(
            [
                _scatter(settings.n_foci, depth, 10 * size, 14 * size, rng),
                rng.uniform(0.35, 1.0, settings.n_foci),
                np.maximum(rng.uniform(2.0, 3.6, settings.n_foci) * size, 0.9),
            ]
        )
        n_static = settings.n_foci - round(settings.n_foci * settings.mobile_foci)
        return cls(shape, size, centre, outline, body, _chromatin(shape, size, rng), foci, n_static)

    def inside(self, points: Floats) -> NDArray[np.bool_]:
        """Tell which points `(N, 2)` lie within the outline."""
        return _depth(points, self.centre, self.outline) > 0

    def marks(self, n: int, rng: np.random.Generator) -> Floats:
        """Choose the keypoints `(n, 2)`: half of them static foci, the others anywhere well inside."""
        on_foci = self.foci[: min(n // 2, self.n_static), :2]
        depth = _depth(np.indices(self.shape).reshape(2, -1).T, self.centre, self.outline).reshape(self.shape)
        return np.vstack([on_foci, _scatter(n - len(on_foci), depth, 12 * self.size, 12 * self.size, rng)])


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
    wobble = [_bands({12 * size: 1.0}, depth.shape, rng) * 3.5 * size for _ in range(2)]
    factor = np.ones(depth.shape)
    for y, x in _scatter(int(rng.integers(3, 6)), depth, 45 * size, 70 * size, rng):
        radius, stretch = rng.uniform(15, 27) * size, rng.uniform(0.8, 1.25)
        distance = np.hypot((grid[0] - y + wobble[0]) * stretch, (grid[1] - x + wobble[1]) / stretch)
        rim = np.exp(-(((distance - radius - 4 * size) / (4 * size)) ** 2))
        factor = factor * (1 - 0.72 / (1 + np.exp((distance - radius) / (1.8 * size + 0.3)))) * (1 + 0.22 * rim)
    return factor


def _chromatin(shape: tuple[int, int], size: float, rng: np.random.Generator) -> Floats:
    """Draw chromatin (y, x) of mean 0, variance 1: bands of several scales, coarse ones the strongest."""
    return _bands({scale * size: weight for scale, weight in CHROMATIN.items()}, shape, rng)


def _bands(weights: dict[float, float], shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Draw noise (y, x) of variance 1: a sum of independent bands, structure size in px: amplitude."""
    squared = (2 * np.pi) ** 2 * (np.fft.fftfreq(shape[0])[:, None] ** 2 + np.fft.rfftfreq(shape[1]) ** 2)
    power = np.zeros(squared.shape)
    for scale, weight in weights.items():
        smooth = np.exp(-squared * max(scale, 0.9) ** 2 / 2)
        band = (smooth - smooth**4) ** 2  # between one Gaussian and another of twice the width
        power += weight**2 * band / band.sum()
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * np.sqrt(power), s=shape)
    return np.asarray(noise / noise.std())


def _draw_motions(
    nucleus: _Nucleus, marks: Floats, n_frames: int, settings: MovieSettings, rng: np.random.Generator
) -> list[Motion]:
    """Draw where the nucleus goes; the drift is as long as `last_error` asks for at the keypoints."""
    bends = [random_bend(nucleus.shape, 42 * nucleus.size, nucleus.inside, rng) for _ in range(2)]
    angle = np.deg2rad(rng.uniform(14, 20)) * rng.choice([-1, 1])
    scale, shear = rng.uniform(0.03, 0.06) * rng.choice([-1, 1]), rng.uniform(0.01, 0.03) * rng.choice([-1, 1])
    heading = rng.uniform(0, 2 * np.pi)
    time = np.linspace(0, 1, n_frames)
    progress = time[:, None] ** [0.9, 0.9, 0.9, 0.9, 0.9] + _wander(n_frames, 5, rng) * [0.02, 0.02, 0.05, 0.05, 0.05]

    def motion(frame: int, drift: float) -> Motion:
        along, across, turned, scaled, sheared = progress[frame]
        shift = drift * nucleus.size * np.array([np.sin(heading) * along, np.cos(heading) * across])
        matrix = affine_matrix(angle * turned, 1 + scale * scaled, shear * sheared)
        return Motion(matrix, nucleus.centre, shift, _bend(bends, time[frame], settings.bend * nucleus.size))

    low, high = 0.0, 2 * settings.last_error + 50
    for _ in range(40):
        middle = (low + high) / 2
        error = np.linalg.norm(motion(n_frames - 1, middle)(marks) - marks, axis=1).mean()
        low, high = (middle, high) if error < settings.last_error * nucleus.size else (low, middle)
    return [motion(frame, low) for frame in range(n_frames)]


def _bend(bends: list[SmoothField], time: float, length: float) -> SmoothField:
    """Blend two bending fields so that the direction of the deformation changes while it grows to `length` px."""
    mixed = bends[0].scaled(np.cos(1 - time)).plus(bends[1].scaled(np.sin(1 - time)))
    return mixed.scaled(length * time**0.8)


def _wander(n_frames: int, n: int, rng: np.random.Generator) -> Floats:
    """Draw `n` slow random courses (n_frames, n) of variance about 1 that begin and end at 0."""
    steps = ndimage.gaussian_filter1d(rng.standard_normal((n_frames, n)), 1.5, axis=0, mode="reflect") * 2.3
    window = np.sin(np.pi * np.linspace(0, 1, n_frames))[:, None]
    return np.asarray(steps * window)


def _render(nucleus: _Nucleus, motions: list[Motion], settings: MovieSettings, rng: np.random.Generator) -> Image:
    """Return the clean movie (t, y, x) in camera counts."""
    keep = np.exp(-1 / settings.memory)
    renewing, foci = _chromatin(nucleus.shape, nucleus.size, rng), nucleus.foci.copy()
    frames = []
    for frame, motion in enumerate(motions):
        texture = np.sqrt(1 - settings.renewal) * nucleus.texture + np.sqrt(settings.renewal) * renewing
        specimen = nucleus.body * (0.42 * np.exp(0.38 * texture) + 0.02) + _spots(nucleus.shape, foci)
        light = (1 - settings.bleaching) ** (frame / (len(motions) - 1))
        seen = ndimage.map_coordinates(specimen, motion.sources(nucleus.shape), order=3, mode="nearest")
        frames.append(PEAK_COUNTS * (0.04 + light * np.clip(seen, 0, None)))
        if settings.renewal:
            renewing = keep * renewing + np.sqrt(1 - keep**2) * _chromatin(nucleus.shape, nucleus.size, rng)
        foci = _diffuse(nucleus, foci, settings.diffusion, rng)
    return np.stack(frames).astype(np.float32)


def _spots(shape: tuple[int, int], foci: Floats) -> Floats:
    """Return Gaussian spots (y, x); `foci` are rows of y, x, brightness, width."""
    image = np.zeros(shape)
    for y, x, brightness, width in foci:
        reach = int(np.ceil(5 * width))
        rows = np.arange(max(int(y) - reach, 0), min(int(y) + reach + 2, shape[0]))
        columns = np.arange(max(int(x) - reach, 0), min(int(x) + reach + 2, shape[1]))
        profile_y, profile_x = (np.exp(-(((at - c) / width) ** 2) / 2) for at, c in ((rows, y), (columns, x)))
        image[np.ix_(rows, columns)] += brightness * np.outer(profile_y, profile_x)
    return image


def _diffuse(nucleus: _Nucleus, foci: Floats, step: float, rng: np.random.Generator) -> Floats:
    """Move the mobile foci by one random step; those that would leave the nucleus stay."""
    moved = foci.copy()
    moved[nucleus.n_static :, :2] += rng.standard_normal((len(foci) - nucleus.n_static, 2)) * step * nucleus.size
    stays = _depth(moved[:, :2], nucleus.centre, nucleus.outline) < 6 * nucleus.size
    moved[stays] = foci[stays]
    return moved


def _expose(clean: Image, psnr: float, rng: np.random.Generator) -> tuple[Image, float]:
    """Add Poisson and Gaussian noise of equal mean variance; return the noisy movie and the peak, camera counts."""
    peak = float(np.percentile(clean, 99.9))
    variance = peak**2 * 10 ** (-psnr / 10)
    counts_per_photon = variance / 2 / float(clean.mean(dtype=np.float64))
    noisy = np.empty_like(clean)
    for frame, image in enumerate(clean):
        photons = rng.poisson(image / counts_per_photon)
        noisy[frame] = photons * counts_per_photon + rng.standard_normal(image.shape) * np.sqrt(variance / 2)
    return noisy, peak


def _follow(marks: Floats, motions: list[Motion]) -> Keypoints:
    frames = np.repeat(np.arange(len(motions)), len(marks))
    ids = np.tile(np.arange(len(marks)), len(motions))
    return Keypoints(frames, ids, np.vstack([motion(marks) for motion in motions]), annotator="truth")
