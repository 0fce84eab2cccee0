"""The front door opens fast and light, and the engine never needs napari or Qt."""

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "napari_denoisereg"
HEAVY = {"torch", "napari", "qtpy", "PyQt6", "PySide6", "magicgui", "superqt", "pyqtgraph"}
FACES = {"napari", "napari_builtins", "qtpy", "PyQt5", "PyQt6", "PySide6", "magicgui", "superqt", "pyqtgraph", "vispy"}
ROOMS = sorted(module.name for module in pkgutil.iter_modules([str(PACKAGE)]) if module.name != "widgets")

IMPORT_AND_REPORT = """
import json, sys, time
start = time.perf_counter()
import napari_denoisereg
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "modules": sorted({name.partition(".")[0] for name in sys.modules})}))
"""

IMPORT_WITHOUT_FACES = """
import importlib, pkgutil, sys

class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in set(sys.argv[2].split(",")):
            raise ImportError(f"{name} is forbidden in the engine")

sys.meta_path.insert(0, Forbid())
room = importlib.import_module("napari_denoisereg." + sys.argv[1])
for module in pkgutil.walk_packages(getattr(room, "__path__", []), room.__name__ + "."):
    importlib.import_module(module.name)
"""


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", *arguments], capture_output=True, text=True, timeout=120)


def _front_door() -> dict:
    finished = _python(IMPORT_AND_REPORT)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def test_front_door_imports_without_torch_napari_or_qt() -> None:
    assert not HEAVY & set(_front_door()["modules"])


def test_front_door_imports_in_less_than_a_third_of_a_second() -> None:
    # the best of five: the figure is the package's, the rest is whatever else the machine is doing
    assert min(_front_door()["seconds"] for _ in range(5)) < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("room", ROOMS)
def test_engine_room_imports_with_napari_and_qt_forbidden(room: str) -> None:
    finished = _python(IMPORT_WITHOUT_FACES, room, ",".join(sorted(FACES)))
    assert finished.returncode == 0, finished.stderr


def test_rooms_with_the_name_of_a_function_are_both() -> None:
    finished = _python(
        "import napari_denoisereg as dr\n"
        "import napari_denoisereg.register.affine as room\n"
        "from napari_denoisereg.denoise import Denoiser\n"
        "assert room.AffineDescent.kind == 'affine' and callable(dr.register) and callable(dr.denoise)\n"
        "import numpy as np\n"
        "stack = dr.Stack(np.random.default_rng(0).random((3, 32, 32)), axes='tyx')\n"
        "assert dr.denoise(stack, 'gaussian').shape == stack.shape\n"
        "assert len(dr.register(stack, 'affine').transforms) == 3\n"
    )
    assert finished.returncode == 0, finished.stderr
