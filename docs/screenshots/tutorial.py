"""The tutorial, clicked through: from *File > Open Sample* to the report."""

import tempfile
from pathlib import Path

import napari
from qtpy.QtCore import Qt
from qtpy.QtGui import QPainter, QPixmap
from qtpy.QtPdf import QPdfDocument
from qtpy.QtWidgets import QWidget

from screenshots import drive
from screenshots.pictures import keep

PLUGIN = "napari-denoisereg"
FRAME = 8
LANDMARK = 33.2, 32.8  # micrometers: a bright spot of frame 0 that no keypoint of the sample marks
CLOSER = 1.5
PAGE_WIDTH = 800  # px


def first_movie() -> None:
    """Take the pictures of the page ``tutorials/first-movie``."""
    viewer = drive.open_viewer()
    drive.take_menu(viewer, "tutorial-1-sample", ["File", "Open Sample", PLUGIN], "Nuclei movie")
    drive.wait_until(lambda: "Nuclei movie" in viewer.layers)
    run_recipe(viewer)
    inspect(viewer)
    keypoints(viewer)
    viewer.close()


def run_recipe(viewer: napari.Viewer) -> None:
    """Denoise and register the sample.

    Parameters
    ----------
    viewer : napari.Viewer
        With the sample.
    """
    dock = drive.open_dock(viewer, "Denoise and register")
    viewer.dims.set_current_step(0, FRAME)
    drive.choose(dock, "Fast")
    layer, recipe = drive.box_with(dock, "Nuclei movie"), drive.box_with(dock, "Fast")
    drive.take(viewer, "tutorial-2-recipe", layer, recipe, drive.button(dock, "Preview this frame"), drive.button(dock, "Run"))
    drive.press(dock, "Run")
    drive.rest(dock)
    drive.take(viewer, "tutorial-3-results")
    viewer.window.remove_dock_widget(dock)


def inspect(viewer: napari.Viewer) -> None:
    """Look whether it helped.

    Parameters
    ----------
    viewer : napari.Viewer
        With the results.
    """
    dock = drive.open_dock(viewer, "Inspect")
    drive.settle(2)
    drive.take(viewer, "tutorial-4-helped", drive.button(dock, "Did it help?"))
    drive.press(dock, "Compare pictures")
    pictures = drive.box_with(dock, "Aligned: with first frame")
    drive.settle(1)
    drive.take(viewer, "tutorial-5-compare", drive.button(dock, "Compare pictures"), pictures)
    viewer.window.remove_dock_widget(dock)


def keypoints(viewer: napari.Viewer) -> None:
    """Measure with the keypoints of the sample, mark a landmark by hand, and write the report.

    Parameters
    ----------
    viewer : napari.Viewer
        With the results.
    """
    for name in ("Keypoints", "Nuclei movie", "Nuclei movie [aligned]"):
        viewer.layers[name].visible = False
    dock = drive.open_dock(viewer, "Keypoints")
    begin, judged = drive.box_with(dock, "New keypoints"), drive.box_with(dock, "Nuclei movie [displacement]")
    drive.choose(dock, "Nuclei movie [displacement]")
    drive.take(viewer, "tutorial-6-keypoints", begin, judged, drive.button(dock, "Start annotating"))
    drive.press(dock, "Start annotating")
    drive.rest(dock)
    viewer.dims.set_current_step(0, FRAME)
    viewer.camera.zoom *= CLOSER
    drive.take(viewer, "tutorial-7-error", drive.button(dock, "Report"))
    drive.press(dock, "|◀ First")
    drive.click_data(viewer, LANDMARK)
    drive.rest(dock)
    drive.take(viewer, "tutorial-8-landmark", drive.button(dock, "✔ Accept"))
    report(dock)


def report(dock: QWidget) -> None:
    """Write the report and take a picture of its first page.

    Parameters
    ----------
    dock : QWidget
        Keypoints, measuring.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keypoint report.pdf"
        drive.answer_dialog(path)
        drive.press(dock, "Report")
        drive.rest(dock)
        drive.wait_until(path.is_file)
        page_of(path, "tutorial-9-report")


def page_of(path: Path, name: str) -> None:
    """Write a picture of a PDF's first page.

    Parameters
    ----------
    path : Path
        The PDF.
    name : str
        File name without ending.
    """
    document = QPdfDocument(None)
    document.load(str(path))
    points = document.pagePointSize(0)
    drawn = QPixmap(PAGE_WIDTH, round(PAGE_WIDTH * points.height() / points.width()))
    drawn.fill(Qt.GlobalColor.white)
    painter = QPainter(drawn)
    painter.drawImage(0, 0, document.render(0, drawn.size()))
    painter.end()
    keep(drive.as_image(drawn), name)
    document.close()
