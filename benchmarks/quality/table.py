"""Print the quality table: project and peers side by side, from one run. See benchmarks/README.md."""

import os
import platform
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from peers import PEERS

import napari_denoisereg as dr
from napari_denoisereg.evaluation.image_quality import psnr
from napari_denoisereg.evaluation.synthetic import SyntheticMovie, nuclei_movie
from napari_denoisereg.geometry import Identity, PerFrame, Transform
from napari_denoisereg.pipeline import Pipeline, Result, evaluate, presets
from napari_denoisereg.register import Registration, Series
from napari_denoisereg.register.stacks import register_stack
from napari_denoisereg.steps import finish

CHECKOUT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("DENOISEREG_DATA", CHECKOUT.parent / "shared" / "data"))
SEEDS = [int(seed) for seed in os.environ.get("SEEDS", "0 1 2").split()]
METHODS = os.environ.get("METHODS", "affine denoisereg fast balanced best").split()
DIFFICULTIES = os.environ.get("SETS", "easy hard").split()

lines: list[str] = []


def say(text: str = "") -> None:
    print(text, flush=True)
    lines.append(text)


def recipe(name: str) -> Pipeline:
    """A preset, or one registrar by its kind."""
    known = presets()
    return known[name] if name in known else Pipeline.model_validate({"name": name, "register": [{"kind": name}]})


def error(movie: SyntheticMovie, transforms: Sequence[Transform]) -> float:
    """Mean error over frames 1 to the last, px."""
    grid = dr.Stack(movie.noisy, axes="tyx").grid
    result = evaluate(movie.keypoints, Registration(PerFrame(list(transforms)), grid))
    return float(np.nanmean(result.after[result.frame > 0]))


def timed(work: Callable[[], object]) -> tuple[object, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def row(name: str, errors: list[float], seconds: list[float], frames: int, decibels: list[float] | None = None) -> None:
    spread = f"{np.median(errors):6.2f} ({min(errors):.2f} to {max(errors):.2f})"
    noise = f"{np.median(decibels):6.2f} dB" if decibels else ""
    say(f"{name:<40}{spread:<26}{np.median(seconds) / frames:8.2f}   {noise}")


def synthetic(difficulty: str) -> None:
    movies = [nuclei_movie(difficulty, seed=seed) for seed in SEEDS]
    frames = len(movies[0].noisy)
    say(f"\n{difficulty}, seeds {SEEDS}: error at keypoints, px: median (range), s/frame, PSNR of the denoised movie")
    row("unregistered", [error(movie, [Identity(2)] * frames) for movie in movies], [0.0], frames)
    for name, peer in PEERS.items():
        runs = [timed(lambda m=movie, p=peer: p(m.noisy)) for movie in movies]
        row(name, [error(movie, run[0]) for movie, run in zip(movies, runs, strict=True)], [run[1] for run in runs], frames)
    for name in METHODS:
        errors, seconds, decibels, alone = [], [], [], []
        for movie in movies:
            stack = dr.Stack(movie.noisy, axes="tyx")
            result, spent = timed(lambda s=stack, n=name: finish(recipe(n).run(s)))
            assert isinstance(result, Result)
            errors.append(error(movie, result.registration.transforms))
            seconds.append(spent)
            if result.denoised is not None:
                decibels.append(psnr(np.asarray(result.denoised.data), movie.clean, peak=movie.peak))
            alone += [error(movie, each) for each in network_alone(result, stack)]
        row(f"napari-denoisereg: {name}", errors, seconds, frames, decibels)
        for place, how in enumerate(("to the first frame", "chained")):
            if alone:
                trained = next(step for step in recipe(name).registrars if step.is_trained)
                row(f"  its network alone, {how}", alone[place::2], [0.0], frames)
                say(f"  trained for {trained.seconds:.0f} s")


def network_alone(result: Result, stack: dr.Stack) -> list[PerFrame]:
    """What the trained network predicts without refinement: to the first frame, and chained."""
    for model in result.models:
        if "refinement" in type(model.method).model_fields:
            plain = model.method.model_copy(update={"refinement": 0})
            kinds = (Series.coerce("to_first"), Series.coerce("to_previous"))
            runs = [finish(register_stack(stack, [plain], series=each, models=[model])) for each in kinds]
            return [run.transforms for run in runs]
    return []


def drift() -> None:
    folder = DATA / "timelapse_pc12_drift"
    say("\ntimelapse_pc12_drift: mean squared difference to the first frame, frames 1 to the last, where all are defined")
    if not folder.is_dir():
        say(f"left out: {folder} is not there (set DENOISEREG_DATA)")
        return
    stack = dr.read(folder / "movie.tif", axes="tyx")
    raw = np.asarray(stack.data).astype(float)
    candidates = {"unregistered": raw}
    for path in sorted(folder.glob("stackreg_*.tif")):
        candidates[path.stem.replace("_", " ")] = np.asarray(dr.read(path, axes="tyx").data).astype(float)
    for name in METHODS:
        result, spent = timed(lambda n=name: finish(recipe(n).run(stack)))
        aligned = result.registration.warp(stack.with_data(raw), outside=float("nan"))
        candidates[f"napari-denoisereg: {name} ({spent / len(raw):.2f} s/frame)"] = np.asarray(aligned.data)
    # StackReg fills the outside with zeros; every candidate is judged on the voxels that all of them define.
    valid = np.all([np.isfinite(c).all(0) & (c != 0).all(0) for c in candidates.values()], axis=0)
    say(f"judged on {valid.mean():.0%} of the field")
    for name, frames in candidates.items():
        say(f"{name:<60}{np.mean((frames[1:] - frames[:1])[:, valid] ** 2):12.1f}")


def main() -> None:
    say(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for difficulty in DIFFICULTIES:
        synthetic(difficulty)
    drift()
    folder = Path(__file__).resolve().parents[1] / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"{datetime.now(UTC):%Y-%m-%d}-quality.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
