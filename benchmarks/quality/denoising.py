"""Print the denoising table: project and peers side by side, from one run. See benchmarks/README.md."""

import os
import platform
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import tifffile
import torch
from denoising_peers import peers

import napari_denoisereg as dr
from napari_denoisereg.denoise import Denoiser
from napari_denoisereg.evaluation.denoising_trust import check_denoising
from napari_denoisereg.evaluation.image_quality import psnr
from napari_denoisereg.evaluation.synthetic import nuclei_movie
from napari_denoisereg.pipeline import presets
from napari_denoisereg.steps import finish

CHECKOUT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("DENOISEREG_DATA", CHECKOUT.parent / "shared" / "data"))
SEEDS = [int(seed) for seed in os.environ.get("SEEDS", "0 1 2 3 4").split()]
RECIPES = os.environ.get("RECIPES", "fast best").split()
METHODS = os.environ.get("METHODS", "gaussian total_variation fusion noise2void").split()
VIDEO = os.environ.get("VIDEO", "deep_temporal small_data").split()  # methods that need neighbours in time
PEERS = os.environ.get("PEERS", "wavelet nl_means bm3d careamics").split()
PAIRS = os.environ.get("PAIRS", "1") != "0"
BUDGET = {name: float(os.environ[name.upper()]) for name in ("iterations", "seconds") if name.upper() in os.environ}
SETS = os.environ.get("SETS", "easy hard").split()
HELD_BACK = 6  # the last fields of the wide-field pairs

lines: list[str] = []


def say(text: str = "") -> None:
    print(text, flush=True)
    lines.append(text)


def recipe(name: str) -> Callable[[dr.Stack], np.ndarray]:
    return lambda stack: np.asarray(finish(presets()[name].run(stack, device="cpu")).denoised.data)


def method(kind: str) -> Callable[[dr.Stack], np.ndarray]:
    """A denoiser by itself, fusion on single frames; networks are trained on the stack, within their own budget or ours."""
    budget = BUDGET if Denoiser.members()[kind].is_trained else {}
    alone = Denoiser.coerce({"kind": kind, **({"reach": 0} if kind == "fusion" else budget)})
    return lambda stack: np.asarray(finish(alone.run(stack)).data)


def candidates(single_image: bool = False) -> dict[str, Callable[[dr.Stack], np.ndarray]]:
    """Methods that look at single frames, and peers; a network of another project is not trained on a single image."""
    wanted = [name for name in PEERS if not (single_image and name == "careamics")]
    return {f"napari-denoisereg: {kind}, single frames": method(kind) for kind in METHODS} | dict(peers(wanted, say))


def synthetic(difficulty: str) -> None:
    movies = [nuclei_movie(difficulty, seed=seed) for seed in SEEDS]
    say(f"\n{difficulty}, seeds {SEEDS}: PSNR, dB: each seed | first, middle, last frame | s/frame | removed, smooth")
    every = {f"napari-denoisereg: recipe {name}": recipe(name) for name in RECIPES} | candidates()
    every |= {f"napari-denoisereg: {kind}, video": method(kind) for kind in VIDEO}
    for name, denoise in every.items():
        decibels, ends, seconds, trust = [], [], [], []
        for movie in movies:
            stack = dr.Stack(movie.noisy, axes="tyx")
            start = time.perf_counter()
            result = denoise(stack)
            seconds.append((time.perf_counter() - start) / len(movie.noisy))
            decibels.append(psnr(result, movie.clean, peak=movie.peak))
            ends.append([psnr(result[t], movie.clean[t], peak=movie.peak) for t in (0, len(result) // 2, -1)])
            found = finish(check_denoising(stack, stack.with_data(result)))
            trust.append([found.removed.mean(), found.structure.mean()])
        each = " ".join(f"{value:.2f}" for value in decibels)
        near = " ".join(f"{value:.1f}" for value in np.mean(ends, axis=0))
        say(f"{name:<48}{each} | {near} | {np.median(seconds):.2f} | {' '.join(f'{v:.2f}' for v in np.mean(trust, axis=0))}")


def pairs(folder: str, pattern: str, count: int | None) -> None:
    say(f"\n{folder}: PSNR after the best gain and offset, dB, mean: each image; peak = the clean image's range")
    paths = sorted((DATA / folder).glob(pattern))
    paths = paths if count is None else paths[-count:]
    if not paths:
        say(f"left out: {DATA / folder} is not there (set DENOISEREG_DATA)")
        return
    images = distinct([image for path in paths for image in planes(path)])
    every = {"noisy": lambda stack: np.asarray(stack.data), **candidates(single_image=True)}
    for name, denoise in every.items():
        values, start = [], time.perf_counter()
        for noisy, clean in images:
            result = denoise(dr.Stack(noisy[None].astype(np.float32), axes="tyx"))[0]
            values.append(psnr(result, clean, peak=float(np.ptp(clean)), fit=True))
        spent = (time.perf_counter() - start) / len(images)
        each = " ".join(f"{value:.2f}" for value in values)
        say(f"{name:<48}{np.mean(values):.2f}: {each} | {spent:.2f} s")


def planes(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Noisy and clean images of a file: every plane of a volume, and one channel where all colours show the same grey."""
    noisy, clean = tifffile.imread(path), tifffile.imread(str(path).replace("noisy", "clean"))
    if noisy.ndim == 3 and noisy.shape[-1] == 3:
        noisy, clean = np.moveaxis(noisy, -1, 0), np.moveaxis(clean, -1, 0)
    shape = (-1, *noisy.shape[-2:])
    yield from zip(noisy.reshape(shape), clean.reshape(shape).astype(np.float64), strict=True)


def distinct(images: list[tuple[np.ndarray, np.ndarray]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every image once: some are in two files."""
    kept = dict[bytes, tuple[np.ndarray, np.ndarray]]()
    for noisy, clean in images:
        kept.setdefault(noisy.astype(np.float32).tobytes(), (noisy, clean))
    return list(kept.values())


def main() -> None:
    say(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    trained = {kind: Denoiser.members()[kind] for kind in METHODS + VIDEO if Denoiser.members()[kind].is_trained}
    budgets = {kind: BUDGET.get("seconds", member.model_fields["seconds"].default) for kind, member in trained.items()}
    most = f", at most {BUDGET['iterations']:g} iterations" if "iterations" in BUDGET else ""
    say("networks are trained on the stack itself: " + ", ".join(f"{kind} {s:g} s" for kind, s in budgets.items()) + most)
    sets = (("denoise_widefield_pairs", "*_0_noisy.tif", HELD_BACK), ("denoise_fluorescence_pairs", "*_noisy.tif", None))
    for folder, pattern, count in sets if PAIRS else ():
        pairs(folder, pattern, count)
    for difficulty in SETS:
        synthetic(difficulty)
    folder = Path(__file__).resolve().parents[1] / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"{datetime.now(UTC):%Y-%m-%d}-denoising.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
