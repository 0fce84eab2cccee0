"""Real pairs with landmarks or ids: `elastic` and a peer side by side. See benchmarks/README.md.

`landmarks_histology/rat_kidney`: two differently stained sections, grey, inverted; distance of 69 landmarks after registration.
`timelapse_glioma_tracked`: cells on the later half of the movie, frames k and k + 3; mean Dice of the ids both frames show.
"""

import os
import platform
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import tifffile
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

import napari_denoisereg as dr
from napari_denoisereg.evaluation.overlap import dice
from napari_denoisereg.geometry import Affine, Displacement, Grid, Identity, Transform, warp
from napari_denoisereg.register import Registrar
from napari_denoisereg.register.series import Combined, ToFirst
from napari_denoisereg.register.stacks import register_stack
from napari_denoisereg.steps import finish

CHECKOUT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("DENOISEREG_DATA", CHECKOUT.parent / "shared" / "data"))
KIDNEY = [{"kind": "affine"}, {"kind": "elastic", "stiffness": 50.0}]
GLIOMA = [{"kind": "elastic", "stiffness": 0.3, "steadiness": 0.0}]
GAP = 3  # frames

lines: list[str] = []


def say(text: str = "") -> None:
    print(text, flush=True)
    lines.append(text)


def registered(frames: np.ndarray, recipe: Sequence[dict]) -> Transform:
    """First frame to last frame."""
    stack = dr.Stack(frames, axes="tyx")
    # Two frames are a pair whose first one holds still.
    series = ToFirst() if len(frames) == 2 else Combined()
    return finish(register_stack(stack, [Registrar.coerce(step) for step in recipe], series=series)).transforms[-1]


def dis(frames: np.ndarray) -> Transform:
    """OpenCV's DIS flow from the first to the last frame, Gaussian prefilter of 2 px."""
    low, high = np.percentile(frames[[0, -1]], [0.5, 99.9])
    fixed, moving = (
        (np.clip((gaussian_filter(frames[t].astype(np.float32), 2) - low) / (high - low), 0, 1) * 255).astype(np.uint8)
        for t in (0, -1)
    )
    xy = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(fixed, moving, None)
    field = np.ascontiguousarray(np.moveaxis(xy[..., ::-1], -1, 0))
    return Displacement(torch.from_numpy(field), Grid(frames.shape[1:]))


def dis_after_affine(frames: np.ndarray) -> Transform:
    """DIS flow after our affine registration."""
    rough = registered(frames, KIDNEY[:1])
    warped = warp(torch.from_numpy(frames[-1]), rough, fixed=Grid(frames.shape[1:])).numpy()
    return dis(np.stack([frames[0], warped])).then(rough)


def kidney() -> None:
    folder = DATA / "landmarks_histology" / "rat_kidney"
    say("\nlandmarks_histology/rat_kidney: distance of 69 landmarks, px")
    if not folder.is_dir():
        say(f"left out: {folder} is not there (set DENOISEREG_DATA)")
        return
    names = ("Rat-Kidney_HE", "Rat-Kidney_PanCytokeratin")
    images = [255 - np.asarray(Image.open(folder / f"{name}.jpg").convert("L")).astype(np.float32) for name in names]
    shape = np.max([image.shape for image in images], axis=0)
    frames = np.stack([np.pad(image, [(0, n - m) for n, m in zip(shape, image.shape, strict=True)]) for image in images])
    # The columns are number, x, y; only the first 69 rows of both files belong together.
    fixed, moving = (np.loadtxt(folder / f"{name}.csv", delimiter=",", skiprows=1)[:69, :0:-1] for name in names)
    design = np.column_stack([fixed, np.ones(len(fixed))])
    best = Affine(torch.from_numpy(np.linalg.lstsq(design, moving, rcond=None)[0].T))
    candidates: dict[str, Callable[[], Transform]] = {
        "unregistered": lambda: Identity(2),
        "best possible affine": lambda: best,
        "napari-denoisereg: affine": lambda: registered(frames, KIDNEY[:1]),
        "OpenCV DIS flow after our affine": lambda: dis_after_affine(frames),
        "napari-denoisereg: affine, elastic": lambda: registered(frames, KIDNEY),
    }
    for name, find in candidates.items():
        begin = time.perf_counter()
        found = find()(torch.from_numpy(fixed.T.copy())).numpy().T
        spent, errors = time.perf_counter() - begin, np.linalg.norm(found - moving, axis=1)
        say(f"{name:<40}median {np.median(errors):6.2f}   p90 {np.percentile(errors, 90):6.2f}   {spent:6.1f} s")


def glioma() -> None:
    folder = DATA / "timelapse_glioma_tracked"
    say(f"\ntimelapse_glioma_tracked, later half: mean Dice of ids, frames k and k + {GAP}")
    if not folder.is_dir():
        say(f"left out: {folder} is not there (set DENOISEREG_DATA)")
        return
    movie, ids = tifffile.imread(folder / "movie.tif"), tifffile.imread(folder / "track_ids.tif").astype(np.int64)
    grid, starts = Grid(movie.shape[1:]), range(len(movie) // 2, len(movie) - GAP)
    candidates: dict[str, Callable[[np.ndarray], Transform]] = {
        "unregistered": lambda _: Identity(2),
        "OpenCV DIS flow": dis,
        "napari-denoisereg: elastic, the pair alone": lambda frames: registered(frames[[0, -1]], GLIOMA),
        "napari-denoisereg: elastic, frames k to k + 3": lambda frames: registered(frames, GLIOMA),
    }
    for name, find in candidates.items():
        begin, scores = time.perf_counter(), []
        for k in starts:
            found = find(movie[k : k + GAP + 1])
            moved = warp(torch.from_numpy(ids[k + GAP]), found, fixed=grid, interpolation="nearest").numpy()
            both = set(np.unique(ids[k])) & set(np.unique(ids[k + GAP])) - {0}
            scores.append(np.mean([score for label, score in dice(ids[k], moved).items() if label in both]))
        say(f"{name:<50}{np.mean(scores):.3f}   {(time.perf_counter() - begin) / len(starts):6.1f} s")


def main() -> None:
    say(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    kidney()
    glioma()
    folder = Path(__file__).resolve().parents[1] / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"{datetime.now(UTC):%Y-%m-%d}-real-pairs.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
