"""Symbols of units as OME-XML writes them."""

from napari_denoisereg.geometry.units import PIXEL, canonical

_OME = {
    "angstrom": "Å",
    "nanometer": "nm",
    "micrometer": "µm",
    "millimeter": "mm",
    "centimeter": "cm",
    "meter": "m",
    "inch": "in",
    "nanosecond": "ns",
    "microsecond": "µs",
    "millisecond": "ms",
    "second": "s",
    "minute": "min",
    "hour": "h",
    "day": "d",
    PIXEL: "pixel",
}


def ome_symbol(unit: str) -> str | None:
    """The symbol OME-XML uses.

    Parameters
    ----------
    unit : str
        Any spelling.

    Returns
    -------
    str or None
        E.g. ``"µm"``; None for a unit that OME does not have.
    """
    return _OME.get(canonical(unit))
