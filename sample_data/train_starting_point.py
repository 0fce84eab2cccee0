"""Train the starting point that comes with the program: Noise2Void in 2D, on generated movies only.

    python sample_data/train_starting_point.py

writes ``src/napari_denoisereg/models/generated-cells-2d.model`` (about 0.6 MB: weights in half precision). It has seen nuclei
and tissue sections with weak and strong, Poisson and Gaussian noise, at several pixel sizes. It takes some minutes.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_denoisereg.denoise.noise2void import Noise2Void
from napari_denoisereg.evaluation.synthetic import nuclei_movie
from napari_denoisereg.evaluation.synthetic_sections import sections
from napari_denoisereg.model import Model
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Progress, finish

TARGET = Path(__file__).resolve().parent.parent / "src" / "napari_denoisereg" / "models" / "generated-cells-2d.model"
METHOD = Noise2Void(iterations=2500, seconds=1e6)
SIDE = 192
NOTES = "A starting point for fluorescence movies and tissue sections; trained on generated images only."


def movies() -> Iterator[Stack]:
    """Generated movies of different looks."""
    for seed, (level, pixel) in enumerate([("easy", 0.1), ("hard", 0.2), ("easy", 0.3), ("hard", 0.4)]):
        movie = nuclei_movie(level, seed=100 + seed, shape=(SIDE, SIDE), n_frames=8)
        units = ("second", "micrometer", "micrometer")
        yield Stack(movie.noisy, "tyx", spacing=(60.0, pixel, pixel), units=units, name=f"generated nuclei {seed}")
    random = np.random.default_rng(7)
    for seed, photons in enumerate([4.0, 30.0]):
        clean = sections(n=6, shape=(SIDE, SIDE), seed=100 + seed).images.astype(np.float64)
        noisy = random.poisson(clean / clean.max() * photons) + random.normal(0, 1.0, clean.shape)
        units = ("micrometer",) * 3
        yield Stack(noisy.astype(np.float32), "zyx", spacing=(0.05, 0.008, 0.008), units=units, name=f"generated tissue {seed}")


def tell(progress: Progress) -> None:
    """Print a line now and then."""
    if int(progress.figures.get("iteration", 1)) % 100 == 0:
        print(f"{progress.fraction:.0%}", {name: round(value, 4) for name, value in progress.figures.items()}, flush=True)


def main() -> None:
    """Train and write."""
    model: Model = finish(METHOD.fit(list(movies())), tell)
    weights = {name: value.half() if value.is_floating_point() else value for name, value in model.weights.items()}
    told = {**model.provenance, "name": "Cells and tissue, generated (2D)", "notes": NOTES}
    TARGET.parent.mkdir(exist_ok=True)
    replace(model, weights=weights, provenance=told).save(TARGET)
    print(f"Wrote {TARGET.name}, {TARGET.stat().st_size / 1e6:.2f} MB: validation {told['validation']:.4f}")


if __name__ == "__main__":
    main()
