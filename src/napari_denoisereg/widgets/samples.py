"""File > Open Sample: small generated movies, so that the plugin can be tried without data and without network."""

from __future__ import annotations

from typing import Any

import numpy as np

LayerData = tuple[Any, dict[str, Any], str]

MOVIE_FRAMES, MOVIE_SIDE, MOVIE_PIXEL = 12, 256, 0.2
N_SECTIONS, SECTION_SIDE, SECTION_PIXEL, SECTION_THICKNESS = 10, 180, 0.008, 0.05


def nuclei_movie() -> list[LayerData]:
    """A noisy nucleus that turns and drifts, with the places of its keypoints in every frame.

    Returns
    -------
    list of LayerDataTuple
        Image ``(t, y, x)`` and points ``(t, y, x)`` with the feature ``id``.
    """
    from napari_denoisereg.evaluation import synthetic

    movie = synthetic.nuclei_movie("easy", shape=(MOVIE_SIDE, MOVIE_SIDE), n_frames=MOVIE_FRAMES)
    place = {
        "scale": (1.0, MOVIE_PIXEL, MOVIE_PIXEL),
        "units": ("second", "micrometer", "micrometer"),
        "axis_labels": ("t", "y", "x"),
    }
    image = {"name": "Nuclei movie", "contrast_limits": (0.0, 1.05 * float(movie.peak)), **place}
    marks = movie.keypoints
    points = {
        "name": "Keypoints",
        "features": {"id": np.asarray(marks.id)},
        "face_color": "transparent",
        "border_color": "#ffb000",
        "border_width": 0.15,
        "size": 6.0,
        **place,
    }
    return [(movie.noisy, image, "image"), (np.column_stack([marks.frame, marks.position]), points, "points")]


def serial_sections() -> list[LayerData]:
    """Tissue cut in sections and imaged by electron microscopy; each section is deformed on its own.

    Returns
    -------
    list of LayerDataTuple
        Image ``(z, y, x)``, 8 bit.
    """
    from napari_denoisereg.evaluation import synthetic_sections

    stack = synthetic_sections.sections(n=N_SECTIONS, shape=(SECTION_SIDE, SECTION_SIDE))
    settings = {
        "name": "Serial sections",
        "scale": (SECTION_THICKNESS, SECTION_PIXEL, SECTION_PIXEL),
        "units": ("micrometer",) * 3,
        "axis_labels": ("z", "y", "x"),
        "contrast_limits": (0, 255),
    }
    return [(stack.images, settings, "image")]
