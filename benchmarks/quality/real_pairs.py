"""Real pairs with landmarks or ids: `elastic`, `patches` and a peer side by side. See benchmarks/README.md.

`landmarks_histology/rat_kidney`: two differently stained sections, grey, inverted; distance of 69 landmarks after registration.
`timelapse_glioma_tracked`: cells on the later half of the movie, frames k and k + 3; mean Dice of the ids both frames show. The
rows "chained" may look at the two frames between, as one would who has the movie; the others may not.

SETS="kidney glioma", PART=earlier|later and EVERY=2 (of the pairs) choose.
"""

import functools
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
from cases import DATA, id_dice
from PIL import Image
from scipy.ndimage import gaussian_filter

import napari_denoisereg as dr
from napari_denoisereg.geometry import Affine, Displacement, Grid, Identity, Transform, warp
from napari_denoisereg.register import Registrar
from napari_denoisereg.register.series import Series, ToFirst, ToPrevious
from napari_denoisereg.register.stacks import register_stack
from napari_denoisereg.steps import finish

KIDNEY = [{"kind": "affine"}, {"kind": "elastic", "stiffness": 50.0}]
# Chosen on the earlier half of the movie.
GLIOMA = [
    {
        "kind": "elastic",
        "look": "texture",
        "stiffness": 0.03,
        "steadiness": 0.0,
        "knots": 8.0,
        "coarsest": 16,
        "finest": 1,
        "iterations": 6,
    }
]
CELLS = [{"kind": "patches", "look": "both"}]  # chosen on k = 4 and 12
GAP = 3  # frames
PART = os.environ.get("PART", "later")
EVERY = int(os.environ.get("EVERY", "1"))
SETS = os.environ.get("SETS", "kidney glioma").split()

lines: list[str] = []


def say(text: str = "") -> None:
    print(text, flush=True)
    lines.append(text)


def registered(frames: np.ndarray, recipe: Sequence[dict], series: Series | None = None) -> Transform:
    """First frame to last frame."""
    stack, series = dr.Stack(frames, axes="tyx"), series or ToFirst()
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


def chained_dis(frames: np.ndarray) -> Transform:
    """DIS flow from frame to frame, composed."""
    steps = [dis(frames[number : number + 2]) for number in range(len(frames) - 1)]
    return functools.reduce(Transform.then, steps)


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
    say(f"\ntimelapse_glioma_tracked, {PART} half: mean Dice of ids, frames k and k + {GAP}")
    if not folder.is_dir():
        say(f"left out: {folder} is not there (set DENOISEREG_DATA)")
        return
    movie, ids = tifffile.imread(folder / "movie.tif"), tifffile.imread(folder / "track_ids.tif").astype(np.int64)
    half = len(movie) // 2
    starts = range(half, len(movie) - GAP) if PART == "later" else range(half - GAP)
    candidates: dict[str, Callable[[np.ndarray], Transform]] = {
        "unregistered": lambda _: Identity(2),
        "OpenCV DIS flow, the pair alone": dis,
        "OpenCV DIS flow, chained over k to k + 3": chained_dis,
        "napari-denoisereg: elastic, the pair alone": lambda frames: registered(frames[[0, -1]], GLIOMA),
        "napari-denoisereg: elastic, chained over k to k + 3": lambda frames: registered(frames, GLIOMA, ToPrevious()),
        "napari-denoisereg: patches, the pair alone": lambda frames: registered(frames[[0, -1]], CELLS),
        "napari-denoisereg: patches, chained over k to k + 3": lambda frames: registered(frames, CELLS, ToPrevious()),
    }
    for name, find in candidates.items():
        begin, scores = time.perf_counter(), []
        for k in starts[::EVERY]:
            found = find(movie[k : k + GAP + 1])
            scores.append(id_dice(ids[k], ids[k + GAP], found))
        say(f"{name:<52}{np.mean(scores):.3f}   {(time.perf_counter() - begin) / len(scores):6.1f} s")


def main() -> None:
    say(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for name in SETS:
        {"kidney": kidney, "glioma": glioma}[name]()
    folder = Path(__file__).resolve().parents[1] / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"{datetime.now(UTC):%Y-%m-%d}-real-pairs.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
