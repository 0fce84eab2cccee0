"""Settings that outlive a session, read and written here and nowhere else.

*Preferences* are what a user sets on napari's own page (File > Preferences > napari-denoisereg; napari 0.9 or newer, declared
in ``napari.yaml``); older versions of napari have no such page and everything is at its default. *Memories* are what docks
remember by themselves: small JSON values in an INI file where the system keeps programs' settings.

An environment variable that is set wins over a preference.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from qtpy.QtCore import QSettings

from napari_denoisereg.widgets.layers import METADATA_KEY

LAST_USED = "last used"


@dataclass(frozen=True)
class Preferences:
    """What a user prefers; the defaults are those of ``napari.yaml``.

    Parameters
    ----------
    recipe : str
        Recipe a dock begins with; ``"last used"`` for the one of the last time.
    device : str
        Where to compute, likewise.
    models : str
        Folder of the model library, seen from the user's own; empty for the place where the system keeps such things.
    threads : int
        Processor cores to compute with; 0 for all.
    memory : float
        Memory that one run may plan with, GB; 0 for what is free.
    """

    recipe: str = LAST_USED
    device: str = LAST_USED
    models: str = ""
    threads: int = 0
    memory: float = 0.0


def preferences() -> Preferences:
    """Read the preferences.

    Returns
    -------
    Preferences
        Those of napari's page; the defaults where napari has no such page.
    """
    try:
        from napari.settings import get_plugin_settings
    except ImportError:  # napari 0.8
        return Preferences()
    page = get_plugin_settings().get(METADATA_KEY)
    if page is None:  # the plugin is switched off, or used without being installed
        return Preferences()
    work = page.work
    return Preferences(work.recipe, work.device, work.models.strip(), int(work.threads), float(work.memory))


def apply_preferences(chosen: Preferences | None = None) -> Preferences:
    """Tell the engine about folders and limits: by the environment variables that it reads, and cores in the calling thread.

    Parameters
    ----------
    chosen : Preferences, optional
        Read from napari by default.

    Returns
    -------
    Preferences
        Those applied. A folder or a limit of memory that was changed holds from the next start of napari on.
    """
    chosen = preferences() if chosen is None else chosen
    if chosen.models:
        folder = Path.home() / os.path.expanduser(chosen.models)  # noqa: PTH111 - keeps what is no path
        os.environ.setdefault("DENOISEREG_MODELS", str(folder))
    if chosen.memory > 0:
        os.environ.setdefault("DENOISEREG_MEMORY", str(int(chosen.memory * 1e9)))
    limit_threads(chosen.threads)
    return chosen


def first_choice(setting: Literal["recipe", "device"], offered: Collection[str], default: str) -> str:
    """What a dock begins with: what is preferred, else what was used last, else the default.

    Parameters
    ----------
    setting : {"recipe", "device"}
        Which one.
    offered : collection of str
        What there is to choose from; a graphics card may be gone.
    default : str
        One of them.

    Returns
    -------
    str
        One of them.
    """
    wanted = getattr(preferences(), setting)
    if wanted == LAST_USED:
        wanted = recall(f"last/{setting}", default)
    return wanted if wanted in offered else default


def limit_threads(threads: int) -> None:
    """Compute with at most so many processor cores from now on, in this thread; 0 changes nothing.

    Parameters
    ----------
    threads : int
        Of `Preferences`. More than there are would only be slower, and are not used.
    """
    if threads > 0:
        import torch

        torch.set_num_threads(min(threads, os.cpu_count() or threads))


def remember(name: str, value: Any) -> None:
    """Keep a value for the next session.

    Parameters
    ----------
    name : str
        Dock and setting, e.g. ``"denoise_register/recipe"``.
    value : Any
        Anything JSON can hold.
    """
    _store().setValue(name, json.dumps(value))


def recall(name: str, default: Any = None) -> Any:
    """What was kept under a name.

    Parameters
    ----------
    name : str
        As for `remember`.
    default : Any
        For what was never kept, and for what is no JSON (a file that somebody edited).

    Returns
    -------
    Any
        The value.
    """
    kept = _store().value(name)
    try:
        return default if kept is None else json.loads(str(kept))
    except json.JSONDecodeError:
        return default


def _store() -> QSettings:
    return QSettings(QSettings.Format.IniFormat, QSettings.Scope.UserScope, METADATA_KEY, "docks")
