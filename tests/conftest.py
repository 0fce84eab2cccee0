"""What every test shares: one thread, no network, seeded randomness, real recordings, and the `gui` mark.

One torch thread makes results repeatable and lets two test processes share two cores. It is asked for through the
environment, before anything imports torch, so that processes started by tests inherit it.
"""

import ipaddress
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import numpy as np
import pytest

if TYPE_CHECKING:
    import torch

for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_variable] = "1"

# napari (through qtpy) and pytest-qt each have a variable of their own; without both they may pick different bindings.
os.environ.setdefault("QT_API", "pyqt6")
os.environ.setdefault("PYTEST_QT_API", os.environ["QT_API"])

# The same examples in every run, and no time limit for one: a busy machine is not a failure.
hypothesis.settings.register_profile("house", deadline=None, derandomize=True)
hypothesis.settings.load_profile("house")

SEED = 20220328
QT_FIXTURES = {"qtbot", "qapp", "make_napari_viewer", "make_napari_viewer_proxy"}
CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `gui` every test that asks for a Qt fixture, before `-m` selects."""
    for item in items:
        if QT_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.gui)


def _is_local(address: Any) -> bool:
    if not isinstance(address, tuple):  # a Unix socket's path
        return True
    if address[0] in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(address[0].partition("%")[0]).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail any test that opens a connection to another machine."""

    def guarded(original: Any) -> Any:
        def connect(self: socket.socket, address: Any) -> Any:
            if not _is_local(address):
                pytest.fail(f"A test tried to reach the network: {address!r}.")
            return original(self, address)

        return connect

    monkeypatch.setattr(socket.socket, "connect", guarded(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex))


@pytest.fixture
def rng() -> np.random.Generator:
    """Numpy generator, the same in every test."""
    return np.random.default_rng(SEED)


@pytest.fixture
def generator() -> "torch.Generator":
    """Torch generator on the CPU, the same in every test."""
    import torch

    return torch.Generator().manual_seed(SEED)


@pytest.fixture
def tiny_movie(rng: np.random.Generator) -> np.ndarray:
    """Array (t=8, y=32, x=32), float32: bright blobs that drift by one pixel a frame, on noise."""
    t, y, x = np.meshgrid(np.arange(8), np.arange(32), np.arange(32), indexing="ij")
    centres = rng.uniform(8, 20, size=(5, 2))
    blobs = sum(np.exp(-((y - cy - t / 2) ** 2 + (x - cx - t) ** 2) / 8) for cy, cx in centres)
    return (100 * blobs + rng.normal(20, 5, t.shape)).astype(np.float32)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real recordings: `$DENOISEREG_DATA`, else `../shared/data` beside the checkout."""
    folder = Path(os.environ.get("DENOISEREG_DATA", CHECKOUT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"Real recordings not found in {folder}: set DENOISEREG_DATA to the folder that holds them.")
    return folder
