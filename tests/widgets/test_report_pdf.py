"""The printed report: blocks, pages, slices, and work of the GUI thread that is cut into slices."""

import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from napari_denoisereg.evaluation.keypoints import Keypoints, registration_error
from napari_denoisereg.evaluation.report import Report
from napari_denoisereg.evaluation.report_methods import methods_paragraph
from napari_denoisereg.widgets.report_pdf import PART, PdfPages, blocks, chart_parts
from napari_denoisereg.widgets.slices import GuiSlices


def page(n_frames: int, n_ids: int) -> str:
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 100, (n_frames * n_ids, 2))
    marks = Keypoints(np.repeat(np.arange(n_frames), n_ids), np.tile(np.arange(n_ids), n_frames), places, "Ada")
    error = registration_error(marks, [lambda place: place] * n_frames)
    methods = methods_paragraph(error, version="1")
    return Report(error, "Cells", {"PSNR, dB": 20.0}, methods=methods, warnings=("look here",)).html()


def test_nothing_that_is_read_is_lost_when_a_page_is_taken_apart() -> None:
    html = page(6, 3)
    together = " ".join(blocks(html))
    for words in ("Cells", "look here", "mean error before", "Each frame, px", "PSNR, dB", "Methods paragraph", "eq. 5"):
        assert words in together
    assert together.count("<tr>") == html.count("<tr")
    assert together.count("<li>") == html.count("<li>")


def test_parts_of_a_chart_hold_all_its_shapes() -> None:
    svg = next(block for block in blocks(page(200, 20)) if block.startswith("<svg"))
    parts = chart_parts(svg)
    assert len(parts) > 1
    for shape in ("<text", "<line", "<path", "<rect", "<polygon"):
        assert sum(part.count(shape) for part in parts) == svg.count(shape)


def test_a_chart_of_thousands_of_frames_has_no_part_that_takes_long() -> None:
    svg = next(block for block in blocks(page(5000, 2)) if block.startswith("<svg"))
    assert max(map(len, chart_parts(svg))) < 2 * PART


def test_each_slice_of_a_long_report_is_short(qapp: Any, tmp_path: Path) -> None:
    slices, took = PdfPages(blocks(page(150, 30)), "Cells", tmp_path / "report.pdf").slices(), []
    start = time.thread_time()
    for _ in slices:
        took.append(time.thread_time() - start)
        start = time.thread_time()
    assert np.sort(took[1:])[-2] < 0.05  # the first loads fonts, a garbage collection may fall into another
    assert len(took) > 150
    assert (tmp_path / "report.pdf").read_bytes().count(b"/Type /Page\n") >= 4


def test_a_report_that_is_dropped_leaves_nothing(qapp: Any, tmp_path: Path) -> None:
    slices = PdfPages(blocks(page(6, 3)), "Cells", tmp_path / "report.pdf").slices()
    next(slices)
    slices.close()
    assert list(tmp_path.iterdir()) == []


def test_slices_run_in_order_and_can_be_dropped_and_fail(qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(notification_manager, "dispatch", told.append)
    work, done = GuiSlices(), []

    def slices(count: int) -> Generator[None, None, None]:
        try:
            for number in range(count):
                done.append(number)
                yield
            raise OSError("the disk is full")
        finally:
            done.append("closed")

    work.start(slices(2), lambda: done.append("then"))
    qtbot.waitUntil(lambda: not work.is_running)
    assert done == [0, 1, "closed"]
    assert "disk is full" in told[-1].message
    work.start(slices(10**9), lambda: done.append("then"))
    qtbot.waitUntil(lambda: len(done) > 10)
    work.drop()
    assert (done[-1], work.is_running) == ("closed", False)
    work.start((None for _ in range(3)), lambda: done.append("then"))
    qtbot.waitUntil(lambda: done[-1] == "then")
