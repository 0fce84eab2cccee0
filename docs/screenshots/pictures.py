"""Where pictures of the manual are kept, and how they are made small."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ASSETS = Path(__file__).parents[1] / "assets"
LARGEST, LARGEST_FIGURE = 140_000, 190_000
"""Bytes of a screenshot, and of a figure of shaded images; fewer colours are taken until it is that small."""
COLOURS = (256, 128, 96, 64, 48, 32, 24, 16)
RING = (255, 140, 0)


def keep(picture: Image.Image, name: str, largest: int = LARGEST) -> None:
    """Write a picture with as many colours as its size allows.

    Parameters
    ----------
    picture : Image
        RGB.
    name : str
        File name without ending.
    largest : int
        Bytes.
    """
    ASSETS.mkdir(exist_ok=True)
    path = ASSETS / f"{name}.png"
    picture.save(path, optimize=True)
    if path.stat().st_size <= largest:
        return
    for n_colours in COLOURS:
        picture.quantize(n_colours, _way(n_colours), dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= largest:
            return
    raise ValueError(f"{path.name} has {path.stat().st_size} bytes with {n_colours} colours; show less noise in it.")


def _way(n_colours: int) -> Image.Quantize:
    """Smooth shades with many colours; with few, rare ones (marks, lines of plots) are kept."""
    return Image.Quantize.MEDIANCUT if n_colours > 128 else Image.Quantize.MAXCOVERAGE


def ring(picture: Image.Image, box: tuple[int, int, int, int], number: str) -> None:
    """Mark a place with an orange frame and a number on its left upper corner.

    Parameters
    ----------
    picture : Image
        Is drawn on.
    box : tuple of int
        Left, top, right, bottom; px.
    number : str
        In the circle.
    """
    draw, (left, top, right, bottom) = ImageDraw.Draw(picture), box
    draw.rounded_rectangle((left - 4, top - 4, right + 4, bottom + 4), radius=6, outline=RING, width=3)
    x, y = max(left - 6, 12), max(top - 6, 12)
    draw.ellipse((x - 11, y - 11, x + 11, y + 11), fill=RING)
    draw.text((x, y), number, fill="black", anchor="mm", font=ImageFont.load_default(size=15))
