"""The page of a report on A4, drawn in slices on the GUI thread: Qt's text engine works with timers of the thread it is in.

The HTML page is taken apart into blocks (a heading, a paragraph, a chart, a line of a table), each of which is laid out by
itself and put on the page below the one before; nothing is split between two pages. Charts stay vectors.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from qtpy.QtCore import QByteArray, QMarginsF, QPointF, QRectF, QSizeF, Qt
from qtpy.QtGui import QPageLayout, QPageSize, QPainter, QPdfWriter, QTextDocument
from qtpy.QtSvg import QSvgRenderer

from napari_denoisereg.io import replacing
from napari_denoisereg.widgets.layers import METADATA_KEY

PER_INCH = 300  # dots, in print
CHART_WIDTH = 0.8  # of the page
MARGINS = QMarginsF(18, 16, 18, 18)  # mm
PART = 20_000  # characters of a chart that are drawn at once
GAP = PER_INCH / 12  # between blocks
WITH_HEADING = PER_INCH  # of a text or table stays on the page of its heading
STYLE = """
body{font-family:Helvetica,Arial,sans-serif;font-size:10pt;color:#222}
h1{font-size:17pt;margin:0}h2{font-size:12pt;margin:8pt 0 0 0}p,ul,ol{margin:0}
th{text-align:right;font-weight:600}td{text-align:right}
.note{color:#555}.formula{font-size:11pt}.warning{color:#8a3c00;font-weight:600}
"""
_BLOCK = re.compile(r"<(h1|h2|p|ul|ol|svg|table|figure)\b.*?</\1>", re.DOTALL)
_LINE = re.compile(r"<tr\b.*?</tr>", re.DOTALL)
_SHAPE = re.compile(r"<(\w+)\b[^>]*/>|<(\w+)\b[^>]*>.*?</\2>", re.DOTALL)
_BOX = re.compile(r'viewBox="0 0 (\S+) (\S+)"')
_CELL = re.compile(r"<(th|td)>(.*?)</\1>", re.DOTALL)


@dataclass(frozen=True)
class PdfPages:
    """Pieces of a page of HTML that are to become a PDF.

    Parameters
    ----------
    blocks : tuple of str
        Of `blocks`.
    title : str
        Of the document.
    path : Path
        The file; an earlier one is replaced.
    """

    blocks: tuple[str, ...]
    title: str
    path: Path

    def slices(self) -> Generator[None, None, None]:
        """Draw, a block at a time; on the GUI thread.

        Yields
        ------
        None
            After each block and each part of a chart. Closed early, nothing is left behind.

        Raises
        ------
        OSError
            When the file cannot be written.
        """
        with replacing(self.path, overwrite=True) as part:
            writer = _writer(part, self.title)
            sheet = _Sheet(writer, part)
            try:
                for block, following in zip(self.blocks, [*self.blocks[1:], ""], strict=True):
                    yield from sheet.put(block, following)
            finally:
                sheet.painter.end()
            yield
            if not part.exists() or part.stat().st_size == 0:
                raise OSError(f"{self.path.name} could not be written; choose another folder.")


def blocks(html: str) -> tuple[str, ...]:
    """Take a report's page apart; in any thread.

    Parameters
    ----------
    html : str
        The whole page, of `evaluation.report.Report.html`.

    Returns
    -------
    tuple of str
        Pieces of HTML in order, small enough to be drawn in a moment. Each line of a table is a table of its own, with columns
        as wide as those of the others.
    """
    body = re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    body = body.replace("<summary>", "<h2>").replace("</summary>", "</h2>")
    body = re.sub(r"<div><b>(.*?)</b>(.*?)</div>", r"<p><big><b>\1</b></big> \2</p>", body, flags=re.DOTALL)
    found = list[str]()
    for match in _BLOCK.finditer(body):
        found += _lines(match[0]) if match[1] == "table" else [match[0]]
    return tuple(found)


def _lines(table: str) -> list[str]:
    """The lines of a table."""
    lines = []
    for line in _LINE.findall(table):
        cells = _CELL.findall(line)
        width = 100 // len(cells)
        sides = ("left", *["right"] * (len(cells) - 1))
        row = "".join(
            f'<{kind} width="{width}%" align="{side}">{text}</{kind}>' for (kind, text), side in zip(cells, sides, strict=True)
        )
        lines.append(f'<table width="100%" cellpadding="2" cellspacing="0"><tr>{row}</tr></table>')
    return lines


def chart_parts(svg: str) -> list[str]:
    """Take a chart apart, for one with thousands of points takes longer than a moment.

    Parameters
    ----------
    svg : str
        Shapes side by side in one ``svg``, as `evaluation.chart` makes it.

    Returns
    -------
    list of str
        Charts that drawn over each other give the whole.
    """
    head, body = re.fullmatch(r"(<svg\b[^>]*>)(.*)</svg>", svg, re.DOTALL).groups()  # type: ignore[union-attr]
    parts = [""]
    for shape in _SHAPE.finditer(body):
        if len(parts[-1]) + len(shape[0]) > PART and parts[-1]:
            parts.append("")
        parts[-1] += shape[0]
    return [f"{head}{part}</svg>" for part in parts]


class _Sheet:
    """The page that is drawn on, from top to bottom."""

    def __init__(self, writer: QPdfWriter, part: Path) -> None:
        self._writer, self._y, self._number = writer, 0.0, 1
        self.painter = QPainter()
        if not self.painter.begin(writer):
            raise OSError(f"{part.name} could not be written; choose another folder.")
        self._name_page()

    def put(self, block: str, following: str) -> Iterator[None]:
        """Draw a block below the last one, on a new page where it does not fit; a heading stays with what follows."""
        if _is_chart(block):
            yield from self._put_chart(block)
            return
        document = _document(block, self._writer)
        height = document.size().height()
        if block.startswith("<h2"):
            self._y += GAP if self._y else 0
            self._make_room(height + (self._chart_size(following).height() + GAP if _is_chart(following) else WITH_HEADING))
        self._make_room(height)
        self.painter.save()
        self.painter.translate(0, self._y)
        document.drawContents(self.painter)
        self.painter.restore()
        self._y += height + (0 if block.startswith("<table") else GAP)
        yield

    def _put_chart(self, svg: str) -> Iterator[None]:
        size = self._chart_size(svg)
        self._make_room(size.height())
        for part in chart_parts(svg):
            QSvgRenderer(QByteArray(part.encode())).render(self.painter, QRectF(QPointF(0, self._y), size))
            yield
        self._y += size.height() + GAP

    def _chart_size(self, svg: str) -> QSizeF:
        width, (across, down) = CHART_WIDTH * self._writer.width(), map(float, _BOX.search(svg).groups())  # type: ignore[union-attr]
        return QSizeF(width, width * down / across)

    def _make_room(self, height: float) -> None:
        if self._y > 0 and self._y + height > self._writer.height():
            self._writer.newPage()
            self._y, self._number = 0.0, self._number + 1
            self._name_page()

    def _name_page(self) -> None:
        foot = QRectF(0, self._writer.height() + GAP, self._writer.width(), 3 * GAP)
        self.painter.drawText(foot, Qt.AlignmentFlag.AlignCenter, str(self._number))


def _is_chart(block: str) -> bool:
    return block.startswith("<svg")


def _writer(path: Path, title: str) -> QPdfWriter:
    writer = QPdfWriter(str(path))
    writer.setTitle(title)
    writer.setCreator(METADATA_KEY)
    writer.setResolution(PER_INCH)
    page = QPageSize(QPageSize.PageSizeId.A4)
    writer.setPageLayout(QPageLayout(page, QPageLayout.Orientation.Portrait, MARGINS, QPageLayout.Unit.Millimeter))
    return writer


def _document(block: str, writer: QPdfWriter) -> QTextDocument:
    document = QTextDocument()
    layout = document.documentLayout()
    assert layout is not None
    layout.setPaintDevice(writer)
    document.setDefaultStyleSheet(STYLE)
    document.setDocumentMargin(0)
    document.setHtml(f"<body>{block}</body>")
    document.setTextWidth(writer.width())
    return document
