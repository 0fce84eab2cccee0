"""What tests of widgets share."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from qtpy.QtCore import QSettings


@pytest.fixture
def working_threads() -> Callable[[], list[str]]:
    """Function that names the threads of workers that are not done."""
    return lambda: [thread.name for thread in threading.enumerate() if thread.name.startswith("napari-denoisereg")]


@pytest.fixture(autouse=True)
def forgotten_memories(tmp_path: Path) -> None:
    """What docks remember is kept in a folder of the test, not in the user's settings."""
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(tmp_path / "settings"))
