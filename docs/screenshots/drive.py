"""Drive napari as a hand does: wait, click, press keys, open menus, choose in lists, answer file dialogs, and take pictures."""

import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import napari
from PIL import Image
from qtpy.QtCore import QBuffer, QPoint, Qt, QTimer
from qtpy.QtGui import QPixmap
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractButton,
    QApplication,
    QComboBox,
    QDialogButtonBox,
    QFileDialog,
    QLineEdit,
    QMainWindow,
    QMenu,
    QScrollArea,
    QWidget,
)

from screenshots.pictures import LARGEST, keep, ring

SIZE = 1280, 800
LONGEST_RUN = 900.0  # s
LEFT = Qt.MouseButton.LeftButton


# ------------------------------------------------------------------------------------------------ waiting
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


def settle(seconds: float = 0.6) -> None:
    """Let Qt work for a while.

    Parameters
    ----------
    seconds : float
        So long.
    """
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > end, seconds + 10)


def is_busy(dock: QWidget) -> bool:
    """Whether a dock is at work.

    Parameters
    ----------
    dock : QWidget
        Any dock of the plugin.

    Returns
    -------
    bool
        True where one of its runners runs.
    """
    return any(getattr(each, "is_running", False) for each in dock.findChildren(QWidget))


def rest(dock: QWidget) -> None:
    """Wait until a dock has done its work.

    Parameters
    ----------
    dock : QWidget
        Any dock of the plugin.
    """
    settle(0.3)
    wait_until(lambda: not is_busy(dock), LONGEST_RUN)
    settle(0.3)


# ----------------------------------------------------------------------------------------------- finding
def main_window() -> QMainWindow:
    """Napari's window."""
    return next(each for each in QApplication.topLevelWidgets() if isinstance(each, QMainWindow) and each.isVisible())


def canvas() -> QWidget:
    """The widget that napari draws layers on."""
    return next(each for each in main_window().findChildren(QWidget) if type(each).__name__ == "CanvasBackendDesktop")


def button(dock: QWidget, text: str) -> QAbstractButton:
    """Find a button by how the text on it begins.

    Parameters
    ----------
    dock : QWidget
        Where.
    text : str
        The beginning of what is written on it.

    Returns
    -------
    QAbstractButton
        The button; the one with exactly this text, where there is one.
    """
    found = [each for each in dock.findChildren(QAbstractButton) if each.text().lstrip("▸▾ ").startswith(text)]
    return min(found, key=lambda each: len(each.text()))


def box_with(dock: QWidget, text: str) -> QComboBox:
    """Find a list by an entry.

    Parameters
    ----------
    dock : QWidget
        Where.
    text : str
        The beginning of an entry.

    Returns
    -------
    QComboBox
        The first list with such an entry that is seen.
    """
    boxes = [box for box in dock.findChildren(QComboBox) if box.isVisible()]
    return next(box for box in boxes if any(box.itemText(row).startswith(text) for row in range(box.count())))


# ---------------------------------------------------------------------------------------------- clicking
def press(dock: QWidget, text: str) -> None:
    """Click a button.

    Parameters
    ----------
    dock : QWidget
        Where it is.
    text : str
        The beginning of what is written on it.
    """
    each = button(dock, text)
    wait_until(each.isEnabled)
    place = each.rect().center() if each.text() and not hasattr(each, "isTristate") else QPoint(10, each.height() // 2)
    QTest.mouseClick(each, LEFT, pos=place)
    settle(0.3)


def choose(dock: QWidget, text: str) -> None:
    """Open a list and choose an entry with the keys.

    Parameters
    ----------
    dock : QWidget
        Where the list is.
    text : str
        The beginning of the entry.
    """
    box = box_with(dock, text)
    row = next(row for row in range(box.count()) if box.itemText(row).startswith(text))
    box.showPopup()
    settle(0.2)
    view = box.view()
    QTest.keyClick(view, Qt.Key.Key_Home)
    for _ in range(row):
        QTest.keyClick(view, Qt.Key.Key_Down)
    QTest.keyClick(view, Qt.Key.Key_Return)
    settle(0.3)


def click_data(viewer: napari.Viewer, place: Sequence[float]) -> None:
    """Click in the canvas.

    Parameters
    ----------
    viewer : napari.Viewer
        Showing two dimensions.
    place : sequence of float
        World coordinates (y, x).
    """
    drawn, camera = canvas(), viewer.camera
    down, across = ((place[axis] - camera.center[axis + 1]) * camera.zoom for axis in (0, 1))
    where = QPoint(round(drawn.width() / 2 + across), round(drawn.height() / 2 + down))
    QTest.mouseMove(drawn, where)
    settle(0.2)
    QTest.mouseClick(drawn, LEFT, pos=where)
    settle(0.3)


def open_menu(*titles: str) -> list[QMenu]:
    """Click through the menu bar.

    Parameters
    ----------
    *titles : str
        Menu, submenus.

    Returns
    -------
    list of QMenu
        The menus that are open.
    """
    bar = main_window().menuBar()
    action = _entry(bar, titles[0])
    QTest.mouseClick(bar, LEFT, pos=bar.actionGeometry(action).center())
    menus = [action.menu()]
    for title in titles[1:]:
        settle(0.4)
        action = _entry(menus[-1], title)
        menus[-1].setActiveAction(action)  # what the pointer does by lying on it; opens the submenu
        if not action.menu().isVisible():
            corner = menus[-1].actionGeometry(action).topRight()
            action.menu().popup(menus[-1].mapToGlobal(corner))
        menus.append(action.menu())
    settle(0.4)
    return menus


def take_menu(viewer: napari.Viewer, name: str, titles: Sequence[str], last: str) -> None:
    """Open a menu, take a picture with an entry marked, and choose that entry.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    name : str
        File name without ending.
    titles : sequence of str
        Menu, submenus.
    last : str
        The entry.
    """
    menus = open_menu(*titles)
    entry = _entry(menus[-1], last)
    menus[-1].setActiveAction(entry)
    settle(0.3)
    picture, origin = photograph(viewer), main_window().mapToGlobal(QPoint(0, 0))
    for menu in menus:
        corner = menu.mapToGlobal(QPoint(0, 0)) - origin
        picture.paste(as_image(menu.grab()), (corner.x(), corner.y()))
    place = menus[-1].actionGeometry(entry)
    corner = menus[-1].mapToGlobal(place.topLeft()) - origin
    ring(picture, (corner.x(), corner.y(), corner.x() + place.width(), corner.y() + place.height()), "1")
    keep(picture, name)
    for menu in reversed(menus):
        menu.close()
    entry.trigger()
    settle()


def answer_dialog(path: Path) -> None:
    """Write a path into the file dialog that opens next, and press its button.

    Parameters
    ----------
    path : Path
        What to write.
    """

    def answer() -> None:
        dialog = QApplication.activeModalWidget()
        if isinstance(dialog, QFileDialog) and dialog.isVisible():
            dialog.findChild(QLineEdit, "fileNameEdit").setText(str(path))
            QTest.mouseClick(dialog.findChild(QDialogButtonBox).buttons()[0], LEFT)
        else:
            QTimer.singleShot(100, answer)

    QTimer.singleShot(100, answer)


# ----------------------------------------------------------------------------------------------- viewers
def open_viewer() -> napari.Viewer:
    """A window of the size of the pictures."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZE)
    settle()
    return viewer


def open_dock(viewer: napari.Viewer, name: str) -> QWidget:
    """Open a dock of the plugin and wait until it is ready.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    name : str
        As in the menu Plugins.

    Returns
    -------
    QWidget
        The dock.
    """
    _, dock = viewer.window.add_plugin_dock_widget("napari-denoisereg", name)
    rest(dock)
    viewer.window.resize(*SIZE)
    viewer.reset_view()
    settle()
    return dock


# ---------------------------------------------------------------------------------------------- pictures
def take(viewer: napari.Viewer, name: str, *marked: QWidget, largest: int = LARGEST) -> None:
    """Write a picture of the window.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    name : str
        File name without ending.
    *marked : QWidget
        What to mark, as 1, 2, 3.
    largest : int
        Bytes; more for pictures in which colours matter.
    """
    for widget in marked:
        show_whole(widget)
    settle(1.0)
    picture = photograph(viewer)
    for number, widget in enumerate(marked, start=1):
        corner = widget.mapTo(main_window(), QPoint(0, 0))
        box = (corner.x(), corner.y(), corner.x() + widget.width(), corner.y() + widget.height())
        ring(picture, box, str(number))
    keep(picture, name, largest)


def show_whole(widget: QWidget) -> None:
    """Scroll until a widget is seen.

    Parameters
    ----------
    widget : QWidget
        Perhaps in a scroll area.
    """
    around = widget.parentWidget()
    while around is not None:
        if isinstance(around, QScrollArea):
            around.ensureWidgetVisible(widget)
        around = around.parentWidget()


def photograph(viewer: napari.Viewer) -> Image.Image:
    """What the window shows.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.

    Returns
    -------
    Image
        RGB.
    """
    return Image.fromarray(viewer.window.screenshot(canvas_only=False, flash=False)[..., :3])


def as_image(pixmap: QPixmap) -> Image.Image:
    """Qt's picture as Pillow's.

    Parameters
    ----------
    pixmap : QPixmap
        Of a widget.

    Returns
    -------
    Image
        RGB.
    """
    buffer = QBuffer()
    buffer.open(QBuffer.OpenModeFlag.ReadWrite)
    pixmap.save(buffer, "PNG")
    return Image.open(io.BytesIO(bytes(buffer.data()))).convert("RGB")


def _entry(menu: Any, title: str) -> Any:
    texts = {action.text().replace("&", ""): action for action in menu.actions()}
    found = [action for text, action in texts.items() if text.startswith(title)]
    if not found:
        raise LookupError(f"No entry {title!r}; there are {sorted(texts)}.")
    return found[0]
