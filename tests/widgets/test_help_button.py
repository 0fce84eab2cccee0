"""The help button opens the page it was made for, and that page exists."""

from pathlib import Path

import pytest
from qtpy.QtCore import QObject, Qt, QUrl, Slot
from qtpy.QtGui import QDesktopServices

from napari_denoisereg.widgets.help_button import DOCUMENTATION, help_button, page_address

ROOT = Path(__file__).parents[2]


class Browser(QObject):
    """Stands where the web browser would be."""

    def __init__(self):
        super().__init__()
        self.opened = []

    @Slot(QUrl)
    def open(self, address):
        self.opened.append(address.toString())


@pytest.fixture
def browser():
    browser = Browser()
    QDesktopServices.setUrlHandler("https", browser, "open")
    yield browser
    QDesktopServices.unsetUrlHandler("https")


def test_a_click_opens_the_page(qtbot, browser):
    button = help_button("concepts/registration-error")
    qtbot.addWidget(button)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert browser.opened == [f"{DOCUMENTATION}/concepts/registration-error/"]
    assert button.toolTip()


def test_the_documentation_is_where_the_package_says():
    assert f'Documentation = "{DOCUMENTATION}"' in (ROOT / "pyproject.toml").read_text()


def test_every_page_that_a_dock_opens_exists():
    for source in (ROOT / "src/napari_denoisereg/widgets").glob("*.py"):
        for part in source.read_text().split('help_button("')[1:]:
            page = part.split('"')[0]
            if source.name != "help_button.py":
                assert (ROOT / "docs" / f"{page}.md").is_file(), f"{source.name} opens {page}"
    assert page_address("a/b").endswith("/a/b/")
