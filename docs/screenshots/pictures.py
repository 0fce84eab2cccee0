"""Where pictures of the manual are kept, and how they are made small."""

from pathlib import Path

from PIL import Image

ASSETS = Path(__file__).parents[1] / "assets"
LARGEST = 170_000  # bytes of a picture; fewer colours are taken until it is that small
COLOURS = (256, 128, 96, 64, 48, 32, 24, 16)


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
