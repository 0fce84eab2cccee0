"""Make the sample data from nothing: `python sample_data/make.py` writes the files beside this script."""

import csv
from pathlib import Path

import numpy as np
import tifffile

from napari_denoisereg.evaluation.synthetic import MovieSettings, nuclei_movie, sections

HERE = Path(__file__).parent
CAMERA_OFFSET = 1500  # counts; keeps the read noise of the dark background above zero
PIXEL = 0.4  # µm
FRAME_INTERVAL = 30.0  # s


def make_nucleus() -> None:
    """Write nucleus.ome.tif (t, y, x) and nucleus_keypoints.csv."""
    settings = MovieSettings(n_foci=24, n_keypoints=20)
    movie = nuclei_movie(settings, seed=4, shape=(96, 96), n_frames=8, spacing=(PIXEL, PIXEL))
    counts = np.clip(np.rint(movie.noisy + CAMERA_OFFSET), 0, 65535).astype(np.uint16)
    metadata = {
        "axes": "TYX",
        "PhysicalSizeX": PIXEL,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": PIXEL,
        "PhysicalSizeYUnit": "µm",
        "TimeIncrement": FRAME_INTERVAL,
        "TimeIncrementUnit": "s",
        "UUID": "00000000-0000-0000-0000-000000000004",  # the same file every time
    }
    tifffile.imwrite(HERE / "nucleus.ome.tif", counts, metadata=metadata, compression="zlib", photometric="minisblack")
    points = movie.keypoints
    with (HERE / "nucleus_keypoints.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["frame", "id", "y", "x", "annotator", "kind"])
        rows = zip(points.frame, points.id, points.position, points.annotator, points.kind, strict=True)
        writer.writerows([frame, name, f"{y:.3f}", f"{x:.3f}", who, kind] for frame, name, (y, x), who, kind in rows)


def make_sections() -> None:
    """Write sections.tif and sections_labels.tif (z, y, x)."""
    stack = sections(seed=2, n=8, shape=(160, 160))
    tifffile.imwrite(
        HERE / "sections.tif",
        stack.images,
        imagej=True,
        metadata={"axes": "ZYX", "spacing": 0.05, "unit": "um"},
        resolution=(1 / 0.008, 1 / 0.008),
        compression="zlib",
    )
    tifffile.imwrite(HERE / "sections_labels.tif", stack.labels.astype(np.uint16), compression="zlib")


if __name__ == "__main__":
    make_nucleus()
    make_sections()
