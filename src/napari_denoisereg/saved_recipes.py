"""Recipes that a user saved under a name: JSON files in a folder of the user's, found by the docks and the command line.

The folder is ``recipes`` in ``$DENOISEREG_HOME``; without that variable in the place where programs keep a user's settings
(``%APPDATA%``, ``~/Library/Application Support``, ``$XDG_CONFIG_HOME`` or ``~/.config``).
"""

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_denoisereg.atomic import replacing

PRESETS = ("fast", "balanced", "best", "cells", "sections")  # come with the project
PAPER_RECIPES = ("deep_denoise_deep_affine", "denoisereg_raw_voxelmorph", "denoisereg_voxelmorph")  # come with it, too
FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')  # in a file's name, on any system
LONGEST_NAME = 80


def home() -> Path:
    """The folder that holds what a user saved.

    Returns
    -------
    Path
        It need not exist.
    """
    if chosen := os.environ.get("DENOISEREG_HOME"):
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA", Path.home() / "AppData" / "Roaming"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "napari-denoisereg"


def names() -> list[str]:
    """Names of the recipes a user saved.

    Returns
    -------
    list of str
        In alphabetical order.
    """
    folder = home() / "recipes"
    return sorted(path.stem for path in folder.glob("*.json")) if folder.is_dir() else []


def path_of(name: str) -> Path:
    """Where the recipe of a name is or would be.

    Parameters
    ----------
    name : str
        As the user says it.

    Returns
    -------
    Path
        A JSON file.

    Raises
    ------
    ValueError
        For a name that is empty, too long, cannot be that of a file, or belongs to the project.
    """
    if name.lower() in (*PRESETS, *PAPER_RECIPES, "custom"):
        raise ValueError(f"{name!r} is the name of a recipe that comes with the program; choose another.")
    if not name or name != name.strip() or name.startswith(".") or len(name) > LONGEST_NAME or FORBIDDEN.search(name):
        raise ValueError(
            f"Expected a name of at most {LONGEST_NAME} letters that can be that of a file (without / \\ : * ? and the like, "
            f"no dot in front), got {name!r}."
        )
    return home() / "recipes" / f"{name}.json"


def save(recipe: Mapping[str, Any], name: str, *, overwrite: bool = False) -> Path:
    """Keep a recipe.

    Parameters
    ----------
    recipe : mapping
        `Pipeline.to_dict`; its name becomes ``name``.
    name : str
        See `path_of`.
    overwrite : bool
        Whether an earlier recipe of that name may be replaced.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FileExistsError
        When there is one and ``overwrite`` is false.
    ValueError
        See `path_of`.
    OSError
        When the folder cannot be written to.
    """
    path = path_of(name)
    if path.exists() and not overwrite:
        raise FileExistsError(f"There is a recipe {name!r} already; choose another name, or replace it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, overwrite=overwrite) as part:
        part.write_text(json.dumps({**recipe, "name": name}, indent=2) + "\n", encoding="utf-8")
    return path


def find(name: str) -> Path | None:
    """The file of a saved recipe.

    Parameters
    ----------
    name : str
        Of a saved recipe, or anything else.

    Returns
    -------
    Path or None
        None when no recipe of that name was saved.
    """
    return path_of(name) if name in names() else None
