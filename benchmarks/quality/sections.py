"""Serial sections, ssEMnet's protocol: project and peers side by side, from one run. See benchmarks/README.md.

python benchmarks/quality/sections.py, with SEEDS="0 1 2" METHODS="sections ssemnet" PART=held_back|first|all
KINDS="plain defects" in the environment.
"""

import itertools
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
from peers import stackreg_chain
from scipy.ndimage import gaussian_filter

from napari_denoisereg.evaluation.deformed_sections import DeformedSections, deform_sections, drift, neighbour_correlation
from napari_denoisereg.evaluation.overlap import neighbour_dice
from napari_denoisereg.geometry import Displacement, Grid, Identity, PerFrame, Transform
from napari_denoisereg.register import Registrar, Registration
from napari_denoisereg.register.stacks import register_stack, train
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish

CHECKOUT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("DENOISEREG_DATA", CHECKOUT.parent / "shared" / "data"))
SEEDS = [int(seed) for seed in os.environ.get("SEEDS", "10 11 12").split()]
METHODS = os.environ.get("METHODS", "affine ssemnet sections").split()
PARTS = {"first": slice(0, 60, 5), "held_back": slice(60, 120, 5), "all": slice(0, 120, 5)}
PART = os.environ.get("PART", "held_back")
KINDS = os.environ.get("KINDS", "plain defects").split()
PREFILTER = 2.0  # px

lines: list[str] = []
Aligner = Callable[[DeformedSections], Sequence[Transform]]


def say(text: str = "") -> None:
    print(text, flush=True)
    lines.append(text)


def flow_chain(flow: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Aligner:
    """Dense flow of every section to the one before, composed."""

    def run(sections: DeformedSections) -> list[Transform]:
        images = sections.images
        smooth = [np.clip(gaussian_filter(image.astype(float), PREFILTER), 0, 255).astype(np.uint8) for image in images]
        grid, found = Grid(images.shape[1:]), list[Transform]([Identity(2)])
        for fixed, moving in itertools.pairwise(smooth):
            xy = flow(fixed, moving)
            pair = Displacement(torch.from_numpy(np.ascontiguousarray(np.moveaxis(xy[..., ::-1], -1, 0))), grid)
            found.append(Displacement(found[-1].then(pair).displacement(grid), grid))
        return found

    return run


def ours(kind: str) -> Aligner:
    """A registrar of the project, by its kind, with its defaults."""

    def run(sections: DeformedSections) -> PerFrame:
        stack, registrar = Stack(sections.images, "zyx"), Registrar.coerce(kind)
        models = finish(train([registrar], stack))
        return finish(register_stack(stack, [registrar], models=models)).transforms

    return run


def undone(sections: DeformedSections) -> list[Transform]:
    """The inverse of the known deformation: the best possible, as some tissue has left the image."""
    grid = Grid(sections.images.shape[1:])
    inverses = [Displacement(torch.from_numpy(source).float(), grid).inverse() for source in sections.source]
    return [Displacement(each.field.nan_to_num(), grid) for each in inverses]


def aligners() -> dict[str, Aligner]:
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return {
        "deformed": lambda sections: [Identity(2)] * len(sections.images),
        "undone exactly": undone,
        "StackReg affine, chain": lambda sections: stackreg_chain(sections.images.astype(float)),
        "OpenCV DIS flow, chain": flow_chain(lambda fixed, moving: dis.calc(fixed, moving, None)),
        "OpenCV Farnebäck flow, chain": flow_chain(
            lambda fixed, moving: cv2.calcOpticalFlowFarneback(fixed, moving, None, 0.5, 5, 31, 5, 7, 1.5, 0)
        ),
        **{f"napari-denoisereg: {kind}": ours(kind) for kind in METHODS},
    }


def judge(sections: DeformedSections, transforms: Sequence[Transform], at_rest: np.ndarray) -> tuple[float, ...]:
    """Dice of the 50 largest neurons, chosen by the ids at rest and by those aligned; drift (px); correlation of neighbours."""
    registration = Registration(PerFrame(list(transforms)), Grid(sections.images.shape[1:]))
    ids = registration.warp(Stack(sections.labels.astype(np.int32), "zyx"), interpolation="nearest").data
    images = registration.warp(Stack(sections.images.astype(np.float32), "zyx")).data
    tissue = registration.warp(Stack((sections.images != 0).astype(np.float32), "zyx")).data
    return (
        float(np.nanmean(neighbour_dice(np.asarray(ids), at_rest=at_rest))),
        float(np.nanmean(neighbour_dice(np.asarray(ids)))),
        float(drift(sections, transforms).mean()),
        float(np.nanmean(neighbour_correlation(np.asarray(images), np.asarray(tissue) > 0.99))),
    )


def table(images: np.ndarray, ids: np.ndarray, *, defects: bool) -> None:
    kind = "with defects" if defects else "without defects"
    say(f"\nem_fibsem, part {PART}: {len(images)} sections, seeds {SEEDS}, {kind}: median (range)")
    say(f"{'':<36}{'Dice':<24}{'drift px':<24}{'NCC':<10}{'recovered':<12}{'Dice (either)':<15}s/section")
    best, either = (float(np.nanmean(neighbour_dice(ids, at_rest=rest))) for rest in (ids, None))
    ncc_at_rest = np.nanmean(neighbour_correlation(images))
    say(f"{'at rest':<36}{best:<24.3f}{0:<24.2f}{ncc_at_rest:<10.3f}{'100 %':<12}{either:<15.3f}")
    stacks = [deform_sections(images, ids, seed, defects=defects) for seed in SEEDS]
    worst = 0.0
    for name, align in aligners().items():
        start = time.perf_counter()
        found = [align(stack) for stack in stacks]
        seconds = (time.perf_counter() - start) / len(stacks) / len(images)
        dice, either, far, ncc = np.array([judge(s, t, ids) for s, t in zip(stacks, found, strict=True)]).T
        worst = worst or float(np.median(dice))
        back = (np.median(dice) - worst) / (best - worst)
        say(
            f"{name:<36}{spread(dice, 3):<24}{spread(far, 2):<24}{np.median(ncc):<10.3f}{f'{back:.0%}':<12}"
            f"{np.median(either):<15.3f}{seconds:.2f}"
        )


def spread(values: np.ndarray, digits: int) -> str:
    return f"{np.median(values):.{digits}f} ({values.min():.{digits}f} to {values.max():.{digits}f})"


def main() -> None:
    folder = DATA / "em_fibsem"
    if not folder.is_dir():
        raise SystemExit(f"{folder} is not there (set DENOISEREG_DATA)")
    machine = f"{os.cpu_count()}-core {platform.machine()} CPU, {torch.get_num_threads()} threads, torch {torch.__version__}"
    say(f"{datetime.now(UTC):%Y-%m-%d}, {machine}")
    say("Dice: neurons that are in both sections at rest. Dice (either): those that are in either section once aligned.")
    images, ids = (tifffile.imread(folder / f"{name}.tif")[PARTS[PART]] for name in ("raw", "neuron_ids"))
    for kind in KINDS:
        table(images, ids, defects=kind == "defects")
    results = Path(__file__).resolve().parents[1] / "results"
    results.mkdir(exist_ok=True)
    (results / f"{datetime.now(UTC):%Y-%m-%d}-{'-'.join(METHODS)}-{PART}.txt").write_text(
        "\n".join(lines) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
