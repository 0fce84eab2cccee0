"""Drive the real GUI with mouse clicks and take the pictures of the README and the manual.

Run it on a desktop, or without one as ``xvfb-run -a -s "-screen 0 1920x1080x24" python docs/make_screenshots.py``. It opens the
sample movie, runs the chosen recipe and writes ``docs/assets/screenshot*.png``.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import napari
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QApplication, QComboBox, QWidget

ASSETS = Path(__file__).parent / "assets"
SIZE = 1280, 800
FRAME = 8
LONGEST_RUN = 900.0  # s


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Let Qt work until something is so.

    Parameters
    ----------
    condition : callable
        Asked again and again.
    seconds : float
        At most so long.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"Nothing happened within {seconds:g} s; run the script again with more time.")
        QApplication.processEvents()
        time.sleep(0.01)


def settle(seconds: float = 1.0) -> None:
    """Let Qt work for a while.

    Parameters
    ----------
    seconds : float
        So long.
    """
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > end, seconds + 10)


def button(dock: QWidget, text: str) -> QAbstractButton:
    """Find a button by what is written on it.

    Parameters
    ----------
    dock : QWidget
        Where.
    text : str
        What is written on it.

    Returns
    -------
    QAbstractButton
        The button.
    """
    return next(each for each in dock.findChildren(QAbstractButton) if each.text() == text)


def take(viewer: napari.Viewer, name: str) -> None:
    """Write a picture of the window.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    name : str
        File name without ending.
    """
    settle()
    picture = Image.fromarray(viewer.window.screenshot(canvas_only=False, flash=False)[..., :3])
    picture.quantize(256, dither=Image.Dither.NONE).save(ASSETS / f"{name}.png", optimize=True)


def choose(dock: QWidget, recipe: str) -> None:
    """Choose a recipe in the dock.

    Parameters
    ----------
    dock : QWidget
        The dock.
    recipe : str
        ``"fast"``, ``"balanced"`` or ``"best"``.
    """
    box = next(each for each in dock.findChildren(QComboBox) if each.findData(recipe) >= 0)
    box.setCurrentIndex(box.findData(recipe))


def show_results(viewer: napari.Viewer) -> None:
    """Lay the movie and its results side by side.

    Parameters
    ----------
    viewer : napari.Viewer
        With the results of a run.
    """
    viewer.layers.remove("Keypoints")
    viewer.dims.set_current_step(0, FRAME)
    viewer.layers.selection.active = viewer.layers["Nuclei movie [aligned]"]
    grid = viewer.canvas.grid if hasattr(viewer, "canvas") else viewer.grid  # before napari 0.9
    grid.stride = 1
    grid.shape = (2, 2)
    grid.enabled = True
    viewer.reset_view()


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="fast", choices=("fast", "balanced", "best"))
    recipe = parser.parse_args().recipe
    ASSETS.mkdir(exist_ok=True)
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZE)
    viewer.open_sample("napari-denoisereg", "nuclei")
    _, dock = viewer.window.add_plugin_dock_widget("napari-denoisereg", "Denoise and register")
    run = button(dock, "Run")
    wait_until(run.isEnabled)
    viewer.window.resize(*SIZE)
    viewer.dims.set_current_step(0, FRAME)
    choose(dock, recipe)
    take(viewer, "screenshot-dock")
    QTest.mouseClick(run, Qt.MouseButton.LeftButton)
    settle(0.5)
    wait_until(run.isEnabled, LONGEST_RUN)
    take(viewer, "screenshot-result")
    show_results(viewer)
    take(viewer, "screenshot")
    viewer.close()


if __name__ == "__main__":
    main()
