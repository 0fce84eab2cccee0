"""A small button that opens the page of the documentation that belongs to a dock."""

from __future__ import annotations

from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QToolButton

DOCUMENTATION = "https://napari-denoisereg.github.io/napari-denoisereg"  # as in pyproject.toml


def help_button(page: str) -> QToolButton:
    """Make the button.

    Parameters
    ----------
    page : str
        Page of the documentation without slashes around it, e.g. ``"how-to/keypoints"``.

    Returns
    -------
    QToolButton
        Opens the page in the web browser when clicked.
    """
    button = QToolButton()
    button.setText("?")
    button.setObjectName("help")
    button.setAccessibleName("Help")
    button.setToolTip("Open the page of the documentation about this dock in the web browser.")
    button.clicked.connect(lambda: QDesktopServices.openUrl(QUrl(page_address(page))))
    return button


def page_address(page: str) -> str:
    """Where a page of the documentation is.

    Parameters
    ----------
    page : str
        As for `help_button`.

    Returns
    -------
    str
        Its address.
    """
    return f"{DOCUMENTATION}/{page}/"
