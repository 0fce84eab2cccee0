"""Encoders: one file each. Importing this package imports them all, so that the family is complete."""

import importlib
import pkgutil

from napari_denoisereg.encode.encoder import Encoder

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["Encoder"]
