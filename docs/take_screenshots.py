"""Take docs/assets/screenshot.png: open the sample, run the dock as a user would, photograph the window.

Run it with `make screenshots`, which gives it a virtual screen.
"""

import sys
import time
from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication, QPushButton, QWidget

PLUGIN = "napari-denoisereg"
PICTURE = Path(__file__).parent / "assets" / "screenshot.png"
PATIENCE = 600.0  # s


def main() -> None:
    """Open, run, wait, photograph."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1400, 900)
    viewer.open_sample(PLUGIN, "nuclei")
    _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Denoise and register")
    _button(dock, "Run").click()
    _wait_for(viewer, "[aligned]")
    viewer.dims.set_current_step(0, viewer.dims.nsteps[0] - 1)
    PICTURE.parent.mkdir(exist_ok=True)
    viewer.screenshot(str(PICTURE), canvas_only=False, flash=False)
    viewer.close()


def _button(dock: object, text: str) -> QPushButton:
    widget = dock if isinstance(dock, QWidget) else dock.native
    return next(button for button in widget.findChildren(QPushButton) if button.text().replace("&", "") == text)


def _wait_for(viewer: napari.Viewer, ending: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not any(layer.name.endswith(ending) for layer in viewer.layers):
        if time.monotonic() > deadline:
            sys.exit(f"No layer {ending} after {PATIENCE:.0f} s.")
        QApplication.processEvents()
        time.sleep(0.02)
    for _ in range(50):  # let the canvas draw what has just been added
        QApplication.processEvents()
        time.sleep(0.02)


if __name__ == "__main__":
    main()
