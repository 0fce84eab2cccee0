"""Names of units. Inside the project they are OME-NGFF's (``"micrometer"``, ``"second"``); files have many spellings."""

PIXEL = "pixel"  # also stands for "unknown"

_SPELLINGS = {
    "angstrom": ("angstrom", "ångström", "å"),
    "nanometer": ("nanometer", "nanometre", "nm"),
    "micrometer": ("micrometer", "micrometre", "micron", "microns", "um", "µm", "μm", r"\u00b5m"),
    "millimeter": ("millimeter", "millimetre", "mm"),
    "centimeter": ("centimeter", "centimetre", "cm"),
    "meter": ("meter", "metre", "m"),
    "inch": ("inch", "inches", "in"),
    "nanosecond": ("nanosecond", "ns"),
    "microsecond": ("microsecond", "us", "µs", "μs", "usec"),
    "millisecond": ("millisecond", "ms", "msec"),
    "second": ("second", "seconds", "sec", "s"),
    "minute": ("minute", "minutes", "min"),
    "hour": ("hour", "hours", "hr", "h"),
    "day": ("day", "days", "d"),
}
_CANONICAL = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings}
_UNKNOWN = {"", "pixel", "pixels", "px", "voxel", "reference frame", "frame", "none", "null"}


def canonical(unit: str | None) -> str:
    """The project's name of a unit.

    Parameters
    ----------
    unit : str or None
        As found in a file, e.g. ``"um"``.

    Returns
    -------
    str
        OME-NGFF's name; ``"pixel"`` where there is none; what is not known is kept as it is.
    """
    text = (unit or "").strip()
    if text.lower() in _UNKNOWN:
        return PIXEL
    return _CANONICAL.get(text.lower(), text)
