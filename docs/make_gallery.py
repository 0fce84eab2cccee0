"""Make the before-and-after pictures of the manual with the engine, on generated data: ``python docs/make_gallery.py``.

Every number in a picture's caption is computed here, from the images shown. A picture takes seconds to minutes.
"""

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from screenshots.pictures import LARGEST_FIGURE, keep

import napari_denoisereg as dr
from napari_denoisereg.evaluation.image_quality import psnr
from napari_denoisereg.evaluation.synthetic import nuclei_movie
from napari_denoisereg.evaluation.synthetic_sections import sections as serial_sections
from napari_denoisereg.geometry.fields import jacobian_determinant
from napari_denoisereg.register import Registration

Pixels = NDArray[np.floating]
INCH = 2.6
GREY, PLAIN = "gray", {"fontsize": 9}


def nuclei(difficulty: str, side: int = 256, n_frames: int = 12) -> None:
    """Noisy, denoised and true frame; mean over frames before and after.

    Parameters
    ----------
    difficulty : {"easy", "hard"}
        Of the generated movie.
    side, n_frames : int
        Its size.
    """
    movie = nuclei_movie(difficulty, shape=(side, side), n_frames=n_frames)
    stack = dr.Stack(movie.noisy, axes="tyx")
    result = dr.run(stack, "fast", device="cpu")
    assert result.registration is not None
    denoised, aligned = np.asarray(result.denoised.data), np.asarray(result.aligned.data)
    frame = n_frames - 1
    qualities = [psnr(images, movie.clean, peak=movie.peak) for images in (movie.noisy, denoised)]
    error = dr.evaluate(movie.keypoints, result.registration).figures()
    top = movie.peak
    figure = _figure(3, 2)
    shown = [
        (movie.noisy[frame], f"frame {frame}, as recorded: {qualities[0]:.1f} dB"),
        (denoised[frame], f"denoised: {qualities[1]:.1f} dB"),
        (movie.clean[frame], "the truth"),
        (movie.noisy.mean(0), f"mean of all frames: {error['before_mean']:.1f} px off"),
        (aligned.mean(0), f"mean, aligned: {error['after_mean']:.2f} px off"),
        (movie.clean[0], "the truth, frame 0"),
    ]
    for place, (image, title) in zip(figure.axes, shown, strict=True):
        _show(place, image, title, vmin=0, vmax=top)
    _keep(figure, f"gallery-nuclei-{difficulty}")
    if difficulty == "easy":
        deformation(denoised[0], result.registration, frame)


def deformation(image: Pixels, registration: Registration, frame: int) -> None:
    """Displacement and Jacobian determinant of one frame.

    Parameters
    ----------
    image : array
        The first frame, without noise, which would need many colours.
    registration : Registration
        Of it.
    frame : int
        Which.
    """
    field = registration.displacement(frame)
    determinant = jacobian_determinant(torch.from_numpy(field), registration.grid).numpy()
    size = np.linalg.norm(field, axis=0)
    figure = _figure(3, 1)
    step = 16
    rows, columns = np.mgrid[step // 2 : image.shape[0] : step, step // 2 : image.shape[1] : step]
    _show(figure.axes[0], image, f"from frame 0 to frame {frame}")
    figure.axes[0].quiver(
        columns, rows, field[1, rows, columns], field[0, rows, columns], color="#56b4e9", angles="xy", scale_units="xy", scale=1
    )
    drawn = figure.axes[1].imshow(size, cmap="viridis")
    figure.axes[1].set_title("size of the displacement, px", **PLAIN)
    figure.colorbar(drawn, ax=figure.axes[1], shrink=0.8)
    reach = max(float(np.abs(determinant - 1).max()), 0.01)
    drawn = figure.axes[2].imshow(determinant, cmap="PuOr_r", vmin=1 - reach, vmax=1 + reach)
    figure.axes[2].set_title(f"Jacobian determinant; folds: {int((determinant <= 0).sum())} px", **PLAIN)
    figure.colorbar(drawn, ax=figure.axes[2], shrink=0.8)
    for place in figure.axes[1:3]:
        place.set_axis_off()
    _keep(figure, "gallery-deformation")


def sections(side: int = 200, n: int = 16) -> None:
    """Serial sections from above and from the side.

    Parameters
    ----------
    side, n : int
        Size of the generated stack.
    """
    made = serial_sections(n=n, shape=(side, side))
    result = dr.run(dr.Stack(made.images, axes="zyx"), "sections", device="cpu")
    aligned = np.asarray(result.aligned.data)
    figure = _figure(3, 2)
    for row, (of, name) in enumerate(((_of_z, "seen from above, section {}"), (_of_y, "seen from the side"))):
        for column, (images, title) in enumerate(
            ((made.images, "as cut: "), (aligned, "aligned: "), (made.at_rest, "the truth: "))
        ):
            _show(figure.axes[3 * row + column], of(images), title + name.format(n // 2), vmin=0, vmax=255)
    _keep(figure, "gallery-sections")


def _of_z(images: Pixels) -> Pixels:
    return images[len(images) // 2]


def _of_y(images: Pixels) -> Pixels:
    return np.repeat(images[:, images.shape[1] // 2], 6, axis=0)


def _figure(columns: int, rows: int) -> Figure:
    figure = Figure(figsize=(INCH * columns, INCH * rows), layout="constrained")
    figure.subplots(rows, columns)
    return figure


def _show(place: Axes, image: Pixels, title: str, **limits: float) -> None:
    place.imshow(image, cmap=GREY, interpolation="nearest", **limits)
    place.set_title(title, **PLAIN)
    place.set_axis_off()


def _keep(figure: Figure, name: str) -> None:
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(110)
    canvas.draw()
    keep(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]), name, LARGEST_FIGURE)


def main(pictures: Sequence[str] | None = None) -> None:
    """Make all pictures, or those that are named."""
    makers = {"easy": lambda: nuclei("easy"), "hard": lambda: nuclei("hard"), "sections": sections}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", nargs="*", choices=[*makers, []], metavar="picture", help=f"{', '.join(makers)}")
    for name in parser.parse_args(pictures).pictures or makers:
        makers[name]()


if __name__ == "__main__":
    main()
