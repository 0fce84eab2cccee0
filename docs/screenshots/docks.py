"""One scene for each dock of the how-to pages, and the picture of the README."""

from pathlib import Path

import napari
import numpy as np
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QDoubleSpinBox, QLineEdit, QListWidget

from napari_denoisereg.widgets.batch_dock import BatchDock
from napari_denoisereg.widgets.guide_chooser import NO_KEYPOINTS
from screenshots import drive
from screenshots.pictures import LARGEST_FIGURE

PLUGIN, MOVIE = "napari-denoisereg", "Nuclei movie"
FRAME = 8
TRAINING = 0.5  # min
STARTING_POINT = "Cells and tissue"


def aligned_fast() -> napari.Viewer:
    """The sample, aligned by two clicks."""
    viewer = drive.open_viewer()
    viewer.open_sample(PLUGIN, "nuclei")
    viewer.layers.selection = {viewer.layers[MOVIE]}
    viewer.layers["Keypoints"].visible = False
    drive.take_menu(viewer, "one-click-menu", ["Layers", "Register"], "Align time-lapse (fast)")
    dock = viewer.window.dock_widgets["Fast results"]
    drive.rest(dock)
    viewer.dims.set_current_step(0, FRAME)
    drive.take(viewer, "one-click-result")
    viewer.window.remove_dock_widget(dock)
    return viewer


def results() -> None:
    """Take the pictures of two clicks, of the transforms and of the inspection."""
    viewer = aligned_fast()
    transforms(viewer)
    inspect(viewer)
    viewer.close()


def transforms(viewer: napari.Viewer) -> None:
    """Bring the keypoints along.

    Parameters
    ----------
    viewer : napari.Viewer
        With transforms.
    """
    dock = drive.open_dock(viewer, "Transforms")
    known, targets = (each for each in dock.findChildren(QListWidget) if each.isVisible())
    item = next(item for item in map(targets.item, range(targets.count())) if item.text().startswith("Keypoints"))
    targets.setCurrentItem(item)
    QTest.keyClick(targets, Qt.Key.Key_Space)
    drive.take(viewer, "transforms", known, targets, drive.button(dock, "Apply"))
    drive.press(dock, "Apply")
    drive.rest(dock)
    viewer.window.remove_dock_widget(dock)
    for layer in list(viewer.layers)[::-1]:
        if layer.name.startswith("Keypoints "):
            viewer.layers.remove(layer)


def inspect(viewer: napari.Viewer) -> None:
    """Look at the deformation, the motion and the noise.

    Parameters
    ----------
    viewer : napari.Viewer
        With results.
    """
    dock = drive.open_dock(viewer, "Inspect")
    drive.press(dock, "Deformation")
    drive.press(dock, "Deformed grid")
    drive.press(dock, "Arrows")
    drive.take(viewer, "inspect-deformation", drive.button(dock, "Deformed grid"))
    drive.press(dock, "Motion over time")
    drive.settle(1)
    drive.take(viewer, "inspect-motion")
    viewer.window.remove_dock_widget(dock)


def many_files() -> None:
    """Take the picture of *Many files*: three movies, and one that cannot be read."""
    viewer = drive.open_viewer()
    viewer.open_sample(PLUGIN, "nuclei")
    frames = np.asarray(viewer.layers[MOVIE].data)[:4, 64:192, 64:192].astype(np.float32)
    folder = Path("movies")
    for path in (folder, Path("results")):
        path.mkdir(exist_ok=True)
    for name in ("monday", "tuesday", "wednesday"):
        tifffile.imwrite(folder / f"{name}.tif", frames, photometric="minisblack")
    (folder / "interrupted.tif").write_bytes(b"II*\0 cut")
    dock = drive.open_dock(viewer, "Many files")
    assert isinstance(dock, BatchDock)
    dock.add([folder])
    lines = {line.placeholderText(): line for line in dock.findChildren(QLineEdit)}
    QTest.keyClicks(lines["as the files say"], "tyx")
    QTest.keyClicks(lines["Choose where results go"], "results")
    drive.press(dock, "Run")
    drive.wait_until(lambda: all(job.state in ("done", "failed") for job in dock.jobs()), drive.LONGEST_RUN)
    drive.rest(dock)
    marked = [drive.button(dock, "Add folder"), lines["Choose where results go"], drive.button(dock, "Run")]
    drive.take(viewer, "many-files", *marked)
    viewer.close()


def fine_tune() -> None:
    """Take the pictures of a training and of what can be done with its model."""
    viewer = drive.open_viewer()
    viewer.open_sample(PLUGIN, "nuclei")
    viewer.layers["Keypoints"].visible = False
    dock = drive.open_dock(viewer, "Fine-tune")
    viewer.dims.set_current_step(0, FRAME)
    drive.choose(dock, STARTING_POINT)
    minutes = next(box for box in dock.findChildren(QDoubleSpinBox) if box.suffix() == " min")
    minutes.setValue(TRAINING)
    drive.take(viewer, "fine-tune-start", drive.box_with(dock, STARTING_POINT), minutes, drive.button(dock, "Train"))
    drive.press(dock, "Train")
    drive.wait_until(lambda: drive.button(dock, "Stop and keep the best").isEnabled(), drive.LONGEST_RUN)
    drive.settle(0.6 * 60 * TRAINING)
    drive.take(viewer, "fine-tune-training", drive.button(dock, "Stop and keep the best"), largest=LARGEST_FIGURE)
    drive.rest(dock)
    marked = drive.button(dock, "Save to library"), drive.button(dock, "Use on layer")
    drive.take(viewer, "fine-tune-result", *marked, largest=LARGEST_FIGURE)
    viewer.close()


def guide() -> None:
    """Take the picture of the choice of keypoints that guide the registration."""
    viewer = drive.open_viewer()
    viewer.open_sample(PLUGIN, "nuclei")
    dock = drive.open_dock(viewer, "Denoise and register")
    viewer.dims.set_current_step(0, FRAME)
    drive.press(dock, "Advanced")
    drive.settle(1)
    box = drive.box_with(dock, NO_KEYPOINTS)
    box.showPopup()  # its list follows the viewer's layers
    drive.settle(0.2)
    QTest.keyClick(box.view(), Qt.Key.Key_Down)
    QTest.keyClick(box.view(), Qt.Key.Key_Return)
    drive.take(viewer, "guide-by", drive.button(dock, "Advanced"), box, drive.button(dock, "Run"))
    viewer.close()


def sections() -> None:
    """Take the picture of aligned serial sections, seen from the side."""
    viewer = drive.open_viewer()
    viewer.open_sample(PLUGIN, "sections")
    dock = drive.open_dock(viewer, "Denoise and register")
    drive.choose(dock, "Sections")
    drive.take(
        viewer, "sections-dock", drive.box_with(dock, "zyx"), drive.box_with(dock, "Sections"), drive.button(dock, "Run")
    )
    viewer.close()


SCENES = {"results": results, "many-files": many_files, "fine-tune": fine_tune, "guide": guide, "sections": sections}
