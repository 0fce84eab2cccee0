"""Movies and sections with known motion, known clean images and keypoints followed exactly.

`nuclei_movie` is the time-lapse of one nucleus described below, `timelapse_volume` a 3D one of several nuclei,
`sections` a stack of serial sections (see `synthetic_sections`).

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
from napari_denoisereg.evaluation.synthetic_nucleus import Nucleus, chromatin, draw_nuclei, spots
from napari_denoisereg.evaluation.synthetic_sections import SyntheticSections, sections

__all__ = [
    "EASY",
    "HARD",
    "MovieSettings",
    "SyntheticMovie",
    "SyntheticSections",
    "nuclei_movie",
    "sections",
    "timelapse_volume",
]

Floats = NDArray[np.float64]
Image = NDArray[np.float32]

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
    nucleus = Nucleus.draw(shape, settings.n_foci, settings.mobile_foci, rng)
    marks = nucleus.marks(settings.n_keypoints, rng)
    motions = _draw_motions(nucleus, marks, n_frames, settings, rng)
    clean = _render(nucleus, motions, settings, rng)
    noisy, peak = _expose(clean, settings.psnr, rng)
    scale = np.array(spacing).reshape(2, 1, 1)
    displacement = np.stack([(motion.displacement(shape) * scale).astype(np.float32) for motion in motions])
    return SyntheticMovie(
        noisy, clean, _as_keypoints([motion(marks) for motion in motions]), displacement, peak, tuple(spacing)
    )


def timelapse_volume(
    *,
    seed: int = 0,
    shape: tuple[int, int, int] = (12, 64, 64),
    n_frames: int = 6,
    spacing: tuple[float, float, float] = (2.0, 0.5, 0.5),
    psnr: float = 20.0,
) -> SyntheticMovie:
    """Generate a 3D time-lapse of several nuclei that turn, drift and swell together (an affine motion).

    Parameters
    ----------
    seed
        Same seed, same movie.
    shape
        Of a frame (z, y, x), voxels; at least (4, 16, 16).
    n_frames
        At least 2.
    spacing
        Size of a voxel (z, y, x), world units: the motion is an affine map of world coordinates.
    psnr
        Of the noisy movie, dB; peak is the clean movie's 99.9th percentile.
    """
    if len(shape) != 3 or shape[0] < 4 or min(shape[1:]) < 16 or n_frames < 2:
        raise ValueError(
            f"A volume needs a shape (z, y, x) of at least (4, 16, 16) and 2 frames, got {shape} and {n_frames}; enlarge it."
        )
    rng = np.random.default_rng(seed)
    specimen, marks = draw_nuclei(shape, spacing, rng)
    grid, scale = np.indices(shape).reshape(3, -1).T.astype(float), np.array(spacing)
    frames, fields, places = [], [], []
    for matrix, shift in _draw_affines(shape, scale, n_frames, rng):
        centre = (np.array(shape) - 1) / 2
        sources = (grid - centre - shift) @ np.linalg.inv(matrix).T + centre
        seen = ndimage.map_coordinates(specimen, sources.T, order=3, mode="nearest").reshape(shape)
        frames.append(PEAK_COUNTS * (0.04 + np.clip(seen, 0, None)))
        found = (grid - centre) @ matrix.T + centre + shift
        fields.append(((found - grid) * scale).T.reshape(3, *shape))
        places.append((marks - centre) @ matrix.T + centre + shift)
    clean = np.stack(frames).astype(np.float32)
    noisy, peak = _expose(clean, psnr, rng)
    displacement = np.stack(fields).astype(np.float32)
    return SyntheticMovie(noisy, clean, _as_keypoints(places), displacement, peak, tuple(spacing))


def _draw_affines(
    shape: tuple[int, int, int], scale: Floats, n_frames: int, rng: np.random.Generator
) -> list[tuple[Floats, Floats]]:
    """Return matrix (3, 3) and shift (3,) in voxels per frame: about 12 degrees in the plane, 4 % growth, a drift."""
    turn, tilt = np.deg2rad(rng.uniform(9, 14)) * rng.choice([-1, 1]), np.deg2rad(rng.uniform(-1.5, 1.5))
    growth, drift = rng.uniform(0.02, 0.05), rng.uniform(0.04, 0.08, 3) * rng.choice([-1, 1], 3) * np.array(shape)
    affines = []
    for time in np.linspace(0, 1, n_frames):
        plane, lean = np.eye(3), np.eye(3)
        plane[1:, 1:] = affine_matrix(turn * time, 1.0, 0.0)
        lean[:2, :2] = affine_matrix(tilt * time, 1.0, 0.0)
        world = (1 + growth * time) * plane @ lean
        affines.append((world * scale[None, :] / scale[:, None], drift * time))
    return affines


def _settings(difficulty: str | MovieSettings) -> MovieSettings:
    if isinstance(difficulty, MovieSettings):
        return difficulty
    known = {"easy": EASY, "hard": HARD}
    if difficulty not in known:
        raise ValueError(f"Difficulty must be one of {tuple(known)} or MovieSettings, got {difficulty!r}; pass 'easy'.")
    return known[difficulty]


def _draw_motions(
    nucleus: Nucleus, marks: Floats, n_frames: int, settings: MovieSettings, rng: np.random.Generator
) -> list[Motion]:
    """Draw where the nucleus goes; the drift is as long as `last_error` asks for at the keypoints."""
    bends = [random_bend(nucleus.shape, 52 * nucleus.size, nucleus.inside, rng) for _ in range(2)]
    angle = np.deg2rad(rng.uniform(14, 20)) * rng.choice([-1, 1])
    scale, shear = rng.uniform(0.03, 0.06) * rng.choice([-1, 1]), rng.uniform(0.01, 0.03) * rng.choice([-1, 1])
    heading = rng.uniform(0, 2 * np.pi)
    time = np.linspace(0, 1, n_frames)
    progress = time[:, None] ** 0.9 + _wander(n_frames, 5, rng) * [0.02, 0.02, 0.05, 0.05, 0.05]

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


def _render(nucleus: Nucleus, motions: list[Motion], settings: MovieSettings, rng: np.random.Generator) -> Image:
    """Return the clean movie (t, y, x) in camera counts."""
    keep = np.exp(-1 / settings.memory)
    renewing, foci = chromatin(nucleus.shape, nucleus.size, rng), nucleus.foci.copy()
    frames = []
    for frame, motion in enumerate(motions):
        texture = np.sqrt(1 - settings.renewal) * nucleus.texture + np.sqrt(settings.renewal) * renewing
        specimen = nucleus.body * (0.42 * np.exp(0.38 * texture) + 0.02) + spots(nucleus.shape, foci)
        light = (1 - settings.bleaching) ** (frame / (len(motions) - 1))
        seen = ndimage.map_coordinates(specimen, motion.sources(nucleus.shape), order=3, mode="nearest")
        frames.append(PEAK_COUNTS * (0.04 + light * np.clip(seen, 0, None)))
        if settings.renewal:
            renewing = keep * renewing + np.sqrt(1 - keep**2) * chromatin(nucleus.shape, nucleus.size, rng)
        foci = nucleus.diffuse(foci, settings.diffusion, rng)
    return np.stack(frames).astype(np.float32)


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


def _as_keypoints(places: list[Floats]) -> Keypoints:
    """Return the keypoints whose places `(N, D)` in each frame are given, numbered from 0."""
    n = len(places[0])
    frames, ids = np.repeat(np.arange(len(places)), n), np.tile(np.arange(n), len(places))
    return Keypoints(frames, ids, np.vstack(places), annotator="truth")
