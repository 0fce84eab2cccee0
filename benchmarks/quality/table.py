"""The rows of the DenoiseReg paper's Table 1, peers and the project's recipes, side by side. See benchmarks/README.md.

SETS, SEEDS and METHODS choose a part; BUDGET is how long every network is trained, s. Every row is printed as soon as it is
known. With RECORD=file rows are remembered there and not measured anew, so that a table can be made in pieces; METHODS=recorded
prints what is remembered and measures nothing.
"""

import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from cases import CHECKOUT, RECORDINGS, Case, cases, folded, missing
from peers import PEERS

import napari_denoisereg as dr
from napari_denoisereg.geometry import Identity, Transform
from napari_denoisereg.pipeline import Pipeline, presets
from napari_denoisereg.register import Registrar
from napari_denoisereg.register.stacks import register_stack
from napari_denoisereg.steps import finish

SETS = os.environ.get("SETS", "easy hard pc12 glioma").split()
SEEDS = [int(seed) for seed in os.environ.get("SEEDS", "0 1 2").split()]
BUDGET = float(os.environ.get("BUDGET", "30"))
RECORD = os.environ.get("RECORD")
PAPER = {
    "vm": ("VM", "voxelmorph"),
    "deep_affine": ("Deep Affine", "deep_affine"),
    "deep_denoise": ("Deep Denoise + Deep Affine", "deep_denoise_deep_affine"),
    "denoisereg": ("DenoiseReg", "denoisereg"),
    "raw_vm": ("DenoiseReg* + VM", "denoisereg_raw_voxelmorph"),
    "denoisereg_vm": ("DenoiseReg + VM", "denoisereg_voxelmorph"),
}
OURS = {name: (f"napari-denoisereg: {name}", name) for name in ("affine", "fast", "balanced", "best", "cells")}
METHODS = os.environ.get("METHODS", f"unregistered {' '.join(PAPER)} peers fast balanced best").split()

lines: list[str] = []


@dataclass(frozen=True)
class Outcome:
    """What a method made of a movie; ``alone``: what its networks predict where nothing is refined."""

    transforms: Sequence[Transform]
    denoised: np.ndarray | None = None
    alone: Sequence[Transform] | None = None


@dataclass(frozen=True)
class Row:
    """One measurement; errors as the set measures them, shares of folded pixels, s per frame."""

    movie: str
    method: str
    error: float
    folded: float
    seconds: float
    alone: float | None = None
    alone_folded: float | None = None
    remark: str = ""


def say(text: str = "") -> None:
    print(text, flush=True)
    lines.append(text)


def with_budget(name: str) -> Pipeline:
    """A preset, or one registrar by its kind, every network of which is trained for BUDGET."""
    known = presets()
    recipe = known[name] if name in known else Pipeline.model_validate({"name": name, "register": [{"kind": name}]})
    steps = tuple(each.model_copy(update={"seconds": BUDGET}) if each.is_trained else each for each in recipe.registrars)
    denoiser = recipe.denoise
    if denoiser is not None and denoiser.is_trained:
        denoiser = denoiser.model_copy(update={"seconds": BUDGET})
    return recipe.model_copy(update={"registrars": steps, "denoise": denoiser})


def run_recipe(stack: dr.Stack, name: str) -> tuple[Outcome, float]:
    """The result, and the seconds it took."""
    recipe, begin = with_budget(name), time.perf_counter()
    result = finish(recipe.run(stack))
    spent = time.perf_counter() - begin
    assert result.registration is not None
    denoised = None if result.denoised is None else np.asarray(result.denoised.data)
    alone = None
    if any("refinement" in type(step).model_fields for step in recipe.registrars):
        plain = [step.model_copy(update={"refinement": 0}) for step in recipe.registrars]
        models = [model for model in result.models if isinstance(model.method, Registrar)]
        work = register_stack(result.denoised or stack, plain, series=recipe.series, models=models, noisy=stack)
        alone = list(finish(work).transforms)
    return Outcome(list(result.registration.transforms), denoised, alone), spent


def run_peer(stack: dr.Stack, find: Callable[[np.ndarray], Sequence[Transform]]) -> tuple[Outcome, float]:
    begin = time.perf_counter()
    found = find(np.asarray(stack.data).astype(np.float32))
    return Outcome(list(found)), time.perf_counter() - begin


def methods() -> Iterator[tuple[str, Callable[[dr.Stack], tuple[Outcome, float]]]]:
    """Names and methods that were asked for, in the order of the table."""
    recipes = {**PAPER, **OURS}
    for name in METHODS:
        if name == "unregistered":
            yield "Unregistered", lambda stack: (Outcome([Identity(2)] * stack.n_frames), 0.0)
        elif name == "peers":
            for title, find in PEERS.items():
                yield title, lambda stack, find=find: run_peer(stack, find)
        else:
            title, recipe = recipes[name]
            yield title, lambda stack, recipe=recipe: run_recipe(stack, recipe)


def measured(case: Case, title: str, method: Callable[[dr.Stack], tuple[Outcome, float]]) -> Row:
    outcome, seconds = method(case.stack)
    alone = outcome.alone
    return Row(
        case.name,
        title,
        case.error(outcome.transforms),
        folded(case, outcome.transforms),
        seconds / case.stack.n_frames,
        None if alone is None else case.error(alone),
        None if alone is None else folded(case, alone),
        case.remark(outcome.transforms, outcome.denoised),
    )


def shown(row: Row, spread: str = "") -> str:
    alone = "" if row.alone is None else f"{row.alone:8.2f}{row.alone_folded:9.3%}"
    return f"{row.method:<38}{row.error:8.2f}{spread:<17}{row.folded:9.3%} {alone:<18}{row.seconds:8.2f}   {row.remark}"


def remembered() -> list[Row]:
    if RECORD is None or not Path(RECORD).is_file():
        return []
    return [Row(**json.loads(line)) for line in Path(RECORD).read_text(encoding="utf-8").splitlines()]


def remember(row: Row) -> None:
    if RECORD is not None:
        with Path(RECORD).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(row)) + "\n")


def recorded() -> dict[str, list[Row]]:
    """What is remembered, by set and in the order of the table."""
    titles = ["Unregistered", *(title for title, _ in PAPER.values()), *PEERS, *(title for title, _ in OURS.values())]
    rows = sorted(remembered(), key=lambda row: titles.index(row.method))
    sets = {name: [row for row in rows if row.movie.split()[0] == name] for name in SETS}
    return {name: rows for name, rows in sets.items() if rows}


def summary(name: str, rows: Sequence[Row]) -> None:
    """Median and range over the movies of a set; rows that were not measured on all of them say so."""
    movies = len({row.movie for row in rows})
    say(f"\n{name}, movies: {movies}; median of the errors, worst of the folds")
    say(f"{'':<38}{'error':>8}{' (range)':<17}{'folded':>9} {'networks alone':>16}  {'s/frame':>8}")
    for method in dict.fromkeys(row.method for row in rows):
        same = [row for row in rows if row.method == method]
        errors = [row.error for row in same]
        middle = Row(
            name,
            method,
            float(np.median(errors)),
            max(row.folded for row in same),
            float(np.median([row.seconds for row in same])),
            _over(np.median, [row.alone for row in same]),
            _over(max, [row.alone_folded for row in same]),
            ", ".join([row.remark for row in same if row.remark] + [f"{len(same)} of {movies} movies"] * (len(same) < movies)),
        )
        say(shown(middle, f" ({min(errors):.2f} to {max(errors):.2f})" if len(errors) > 1 else ""))


def _over(what: Callable[[list[float]], float], values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(what(known)) if known else None


def main() -> None:
    say(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    say(f"Every network is trained on the movie itself for {BUDGET:.0f} s.")
    found = recorded() if METHODS == ["recorded"] else measured_rows()
    for name, rows in found.items():
        summary(name, rows)
    folder = CHECKOUT / "benchmarks" / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"{datetime.now(UTC):%Y-%m-%d}-quality.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def measured_rows() -> dict[str, list[Row]]:
    """Rows of the sets, methods and seeds that were asked for; those remembered are not measured anew."""
    known, found = {(row.movie, row.method): row for row in remembered()}, dict[str, list[Row]]()
    for name in SETS:
        if name in RECORDINGS and not any(True for _ in cases(name, SEEDS)):
            say(missing(name))
        for case in cases(name, SEEDS):
            print(f"\n{case.name}: {case.measure}", flush=True)
            for title, method in methods():
                row = known.get((case.name, title))
                if row is None:
                    row = measured(case, title, method)
                    remember(row)
                print(shown(row), flush=True)
                found.setdefault(name, []).append(row)
    return found


if __name__ == "__main__":
    main()
