"""Losses: one file per measure. Similarities compare images, regularities judge displacements."""

import importlib
import pkgutil

from napari_denoisereg.losses.regularity import Regularity
from napari_denoisereg.losses.similarity import Similarity

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["Regularity", "Similarity"]
