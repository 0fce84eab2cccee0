"""What tests of widgets share."""

import threading
from collections.abc import Callable

import pytest


@pytest.fixture
def working_threads() -> Callable[[], list[str]]:
    """Function that names the threads of workers that are not done."""
    return lambda: [thread.name for thread in threading.enumerate() if thread.name.startswith("napari-denoisereg")]
