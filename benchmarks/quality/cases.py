"""Movies that registration is judged on, and how: generated nuclei (exact truth) and recordings (what is known of them)."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tifffile
import torch
from scipy.ndimage import center_of_mass

import napari_denoisereg as dr
from napari_denoisereg.evaluation.image_quality import psnr
from napari_denoisereg.evaluation.keypoints import Keypoints
from napari_denoisereg.evaluation.overlap import dice
from napari_denoisereg.evaluation.synthetic import nuclei_movie
from napari_denoisereg.geometry import Grid, Identity, PerFrame, Transform, warp
from napari_denoisereg.geometry.fields import jacobian_determinant
from napari_denoisereg.pipeline import evaluate
from napari_denoisereg.register import Registration

CHECKOUT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("DENOISEREG_DATA", CHECKOUT.parent / "shared" / "data"))
MARGIN = 24  # px: farther than the stage of pc12 drifts


@dataclass(frozen=True)
class Case:
    """A movie and how it is judged.

    ``error`` gives one number for transforms from the first frame, low is good; ``remark`` says what else is to be said of
    them, and of a denoised movie where there is one.
    """

    name: str
    stack: dr.Stack
    error: Callable[[Sequence[Transform]], float]
    measure: str
    remark: Callable[[Sequence[Transform], np.ndarray | None], str] = field(default=lambda *_: "")


def cases(name: str, seeds: Sequence[int]) -> Iterator[Case]:
    """The movies of a set: one per seed, or the recording; none where it is not there."""
    if name in RECORDINGS:
        folder, load = RECORDINGS[name]
        if (DATA / folder).is_dir():
            yield load(name, DATA / folder)
        return
    for seed in seeds:
        yield _nuclei(name, seed)


def missing(name: str) -> str:
    return f"{name} is left out: {DATA / RECORDINGS[name][0]} is not there (set DENOISEREG_DATA)"


def folded(case: Case, transforms: Sequence[Transform]) -> float:
    """Share of all pixels of the movie whose surroundings are turned inside out (Jacobian determinant not positive)."""
    grid, shares = case.stack.grid, []
    for transform in transforms:
        if transform.is_affine:
            shares.append(float(torch.linalg.det(transform.matrix()[:-1, :-1]) <= 0))
            continue
        determinant = jacobian_determinant(transform.displacement(grid).double(), grid)
        shares.append(float((determinant <= 0).double().mean()))
    return float(np.mean(shares))


def _nuclei(difficulty: str, seed: int) -> Case:
    movie = nuclei_movie(difficulty, seed=seed)
    stack = dr.Stack(movie.noisy, axes="tyx")

    def remark(_: Sequence[Transform], denoised: np.ndarray | None) -> str:
        return "" if denoised is None else f"{psnr(denoised, movie.clean, peak=movie.peak):.1f} dB"

    return Case(f"{difficulty} {seed}", stack, lambda found: _at_keypoints(movie.keypoints, found, stack.grid), "px", remark)


def _glioma(name: str, folder: Path) -> Case:
    """Cells that migrate each on their own; the centres of their ids are the keypoints."""
    stack = dr.Stack(tifffile.imread(folder / "movie.tif"), axes="tyx")
    ids = tifffile.imread(folder / "track_ids.tif").astype(np.int64)
    first = set(np.unique(ids[0]).tolist()) - {0}
    rows = [
        (frame, number, place)
        for frame, image in enumerate(ids)
        for number in sorted(first & set(np.unique(image).tolist()))
        for place in [center_of_mass(image == number)]
    ]
    frames, numbers, places = zip(*rows, strict=True)
    centres = Keypoints(frames, numbers, np.array(places))

    def remark(found: Sequence[Transform], _: np.ndarray | None) -> str:
        scores = [id_dice(ids[0], image, transform) for image, transform in zip(ids[1:], found[1:], strict=True)]
        return f"Dice {np.mean(scores):.3f}"

    return Case(name, stack, lambda found: _at_keypoints(centres, found, stack.grid), "px", remark)


def id_dice(fixed: np.ndarray, moving: np.ndarray, transform: Transform) -> float:
    """Mean Dice of the ids that both frames show, the moving ones brought to the fixed frame."""
    moved = warp(torch.from_numpy(moving), transform, fixed=Grid(fixed.shape), interpolation="nearest").numpy()
    both = set(np.unique(fixed).tolist()) & set(np.unique(moving).tolist()) - {0}
    return float(np.mean([score for label, score in dice(fixed, moved).items() if label in both]))


def _drift(name: str, folder: Path) -> Case:
    """Nothing is known but that the stage drifts: what is left of the difference to the first frame, away from the border."""
    stack = dr.read(folder / "movie.tif", axes="tyx")
    frames = np.asarray(stack.data).astype(np.float32)
    inner = (slice(None), *(slice(MARGIN, -MARGIN),) * 2)

    def difference(found: Sequence[Transform]) -> float:
        aligned = Registration(PerFrame(list(found)), stack.grid).warp(stack.with_data(frames), outside="edge")
        left = np.asarray(aligned.data)[inner]
        return float(np.mean((left[1:] - left[0]) ** 2))

    before = difference([Identity(2)] * len(frames))
    return Case(name, stack, lambda found: difference(found) / before, "of the squared difference to the first frame is left")


def _at_keypoints(points: Keypoints, transforms: Sequence[Transform], grid: Grid) -> float:
    """Mean error over frames 1 to the last, px."""
    result = evaluate(points, Registration(PerFrame(list(transforms)), grid))
    return float(np.nanmean(result.after[result.frame > 0]))


RECORDINGS: dict[str, tuple[str, Callable[[str, Path], Case]]] = {
    "pc12": ("timelapse_pc12_drift", _drift),
    "glioma": ("timelapse_glioma_tracked", _glioma),
}
