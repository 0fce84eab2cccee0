"""Masks: files that mark a part of a movie, a single image too, as drawn in napari, Fiji or a paint program."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image

from napari_denoisereg.atomic import find
from napari_denoisereg.io import ome_zarr, tiff


def read_mask(path: str | Path) -> NDArray[Any]:
    """Read a mask or labels whole.

    Parameters
    ----------
    path : str or Path
        ``.tif``, ``.tiff``, ``.png`` or a zarr (OME-Zarr or one plain array).

    Returns
    -------
    ndarray
        ``(*spatial)`` or ``(T, *spatial)``; what is not 0 is marked.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        For other formats, colour images and damaged files.
    """
    source = find(path)
    if tiff.is_tiff(source):
        try:
            image = tifffile.imread(source)
        except (tifffile.TiffFileError, OSError, IndexError, KeyError, ValueError) as error:
            raise ValueError(f"{source} cannot be read as TIFF ({error}); export it again as TIFF.") from error
    elif source.suffix.lower() == ".png":
        with Image.open(source) as picture:
            image = np.asarray(picture)
        if image.ndim != 2:
            raise ValueError(f"Expected a mask of one channel, got the colours of {source}; save it in shades of grey.")
    elif source.is_dir():
        opened = zarr.open(source, mode="r")
        image = np.asarray(opened[:]) if isinstance(opened, zarr.Array) else np.asarray(ome_zarr.read(source).data)
    else:
        raise ValueError(f"Expected a mask as .tif, .tiff, .png or .zarr, got {path}; save it as one of these.")
    return np.squeeze(image) if image.ndim > 4 else image
