"""Registrars: one file each. Importing this package imports them all, so that the family is complete."""

import importlib
import pkgutil

from napari_denoisereg.register.registrar import Registrar
from napari_denoisereg.register.registration import Registration
from napari_denoisereg.register.series import Series, Task, similarity_to_first, similarity_to_previous

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["Registrar", "Registration", "Series", "Task", "similarity_to_first", "similarity_to_previous"]
