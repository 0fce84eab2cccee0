"""Layers that cannot be worked on, told in plain words with what to do instead."""

from __future__ import annotations

import numpy as np
from napari.layers import Image, Layer


def refuse_unsuitable(layer: Layer) -> None:
    """Refuse a layer that is no movie, no stack of sections and no image.

    Parameters
    ----------
    layer : Layer
        What the user chose.

    Raises
    ------
    TypeError
        For layers that are no images, RGB, multiscale, masks.
    ValueError
        For an empty layer.
    """
    name = repr(layer.name)
    if not isinstance(layer, Image):
        raise TypeError(f"{name} is a {type(layer).__name__} layer; choose an image layer.")
    if layer.rgb:
        raise TypeError(f"{name} is a colour (RGB) picture; right-click it, choose 'Split RGB', and use one of the parts.")
    if layer.multiscale:
        raise TypeError(
            f"{name} is a multiscale pyramid; open one resolution of it as a layer of its own, "
            "e.g. viewer.add_image(layer.data[0])."
        )
    if layer.dtype == np.bool_:
        raise TypeError(f"{name} is a mask, which only knows yes and no (bool); choose the movie that it was made from.")
    if 0 in layer.data.shape:
        raise ValueError(f"{name} is empty: it has no pixels. Open the movie again, or choose another layer.")


def nothing_to_align(name: str) -> str:
    """What to say of a single image where a movie is wanted.

    Parameters
    ----------
    name : str
        Of the layer.

    Returns
    -------
    str
        In plain words.
    """
    return f"{name!r} is a single 2D image: there is nothing to align it to. Open the whole time-lapse or section stack."
