"""Noise that neighbouring pixels share, which no look at a single frame can tell from structure: how strong it is.

Cameras that filter, scanners, resampling and compression make grainy noise. `noise.estimate_noise` looks at differences of
neighbours, and finds too little of it. From frame to frame noise is new, though: the second difference in time shows it, and
nothing of what rests or moves evenly. Where the frame moves as a whole it is moved back first. It is looked at where least
happens. Motion that is left there is known by its reach: structures extend over more pixels than grains.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_denoisereg.geometry import smooth
from napari_denoisereg.noise import NoiseModel, repair
from napari_denoisereg.stack import Stack

Floats = NDArray[np.float64]

BLOCK, MARGIN = 16, 8  # px: sides of the places that are compared, and what is left out at the border
LEAST_BLOCKS = 16
QUIET = 0.2
"""Share of the places that are looked at: those in which least happens."""
MOST_SIDE = 1024  # px: of large frames the middle
TRIPLES = 3  # frames in a row, so many times
STRONGER = 1.3
"""Noise is shared when it is so many times as strong as neighbours tell ..."""
SHARED = 0.15
"""... and next neighbours correlate by more than this, but pixels that are `FAR` apart by less."""
FAR = 5  # px
SMOOTHED = 2.0  # px: width of the Gaussian before frames are laid over each other, so that grains do not say how


@dataclass(frozen=True)
class SharedNoise:
    """Noise in units of what differences of neighbouring pixels say.

    Parameters
    ----------
    strength : float
        Standard deviation.
    smooth : float
        Standard deviation of its smooth part.
    """

    strength: float
    smooth: float


def shared_noise(stack: Stack, noise: NoiseModel, *, blur: float) -> SharedNoise | None:
    """Measure noise that neighbouring pixels share.

    Parameters
    ----------
    stack : Stack
        Without channel axis.
    noise : NoiseModel
        Measured from differences of neighbours.
    blur : float
        Width of the Gaussian that leaves the smooth part, px.

    Returns
    -------
    SharedNoise or None
        None where pixels do not share their noise, and where nothing can be said: fewer than three frames, frames of few
        pixels, structure that changes everywhere.
    """
    sides = stack.grid.shape[-2:]
    if stack.n_frames < 3 or min(sides) < 2 * MARGIN + BLOCK:
        return None
    middles = np.unique(np.linspace(1, stack.n_frames - 2, TRIPLES).round().astype(int))
    images = [_change(stack, int(middle), noise) for middle in middles]
    blocks = np.concatenate([_blocks(image.numpy()) for image in images])
    blurred = np.concatenate([_blocks(smooth(image[None, None], blur)[0, 0].numpy()) for image in images])
    power = (blocks**2).mean((1, 2))
    was_recorded = power > 0  # not so beyond a mask, or where no photon came
    blocks, blurred, power = blocks[was_recorded], blurred[was_recorded], power[was_recorded]
    if len(blocks) < LEAST_BLOCKS:
        return None
    quiet = np.argsort(power, kind="stable")[: max(LEAST_BLOCKS // 4, int(QUIET * len(blocks)))]
    strength, near, far = (
        float(np.sqrt(np.median(power[quiet]))),
        _correlation(blocks[quiet], 1),
        _correlation(blocks[quiet], FAR),
    )
    if strength < STRONGER or min(near) < SHARED or max(map(abs, far)) > SHARED:
        return None
    return SharedNoise(strength, float(np.sqrt(np.median((blurred[quiet] ** 2).mean((1, 2))))))


def _change(stack: Stack, middle: int, noise: NoiseModel) -> torch.Tensor:
    """What is new in three frames, one plane ``(y, x)``, in units of the noise."""
    planes = []
    for frame in stack.tensor([middle - 1, middle, middle + 1]):
        plane = frame if frame.ndim == 2 else frame[len(frame) // 2]
        for axis, length in enumerate(plane.shape):
            plane = plane.narrow(axis, max(0, (length - MOST_SIDE) // 2), min(length, MOST_SIDE))
        planes.append(repair(plane, noise))
    before, now, after = planes
    before, after = _laid_over(now, before), _laid_over(now, after)
    return (before - 2 * now + after) / 6**0.5 / noise.variance((before + now + after) / 3).sqrt()


def _laid_over(fixed: torch.Tensor, moving: torch.Tensor) -> torch.Tensor:
    """A plane moved by whole pixels to where it correlates best with another; left where that is farther than the margin."""
    there, here = (torch.fft.rfft2(smooth((each - each.mean())[None, None], SMOOTHED)[0, 0]) for each in (fixed, moving))
    correlation = torch.fft.irfft2(there * here.conj(), s=fixed.shape)
    row, column = divmod(int(correlation.argmax()), fixed.shape[1])
    steps = [place - length if 2 * place > length else place for place, length in zip((row, column), fixed.shape, strict=True)]
    return moving.roll(steps, (0, 1)) if max(map(abs, steps)) <= MARGIN else moving


def _blocks(image: NDArray[np.float32]) -> Floats:
    """Squares ``(N, BLOCK, BLOCK)`` side by side, the border left out."""
    inner = image[MARGIN:-MARGIN, MARGIN:-MARGIN].astype(np.float64)
    rows, columns = (side // BLOCK for side in inner.shape)
    squares = inner[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
    return np.asarray(squares.swapaxes(1, 2).reshape(-1, BLOCK, BLOCK))


def _correlation(blocks: Floats, apart: int) -> tuple[float, float]:
    """Of pixels so far apart, along y and along x."""
    power = float((blocks**2).mean())
    along_y = float((blocks[:, apart:] * blocks[:, :-apart]).mean()) / power
    return along_y, float((blocks[:, :, apart:] * blocks[:, :, :-apart]).mean()) / power
