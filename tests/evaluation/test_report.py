"""The report says what was measured, in every form, and is written whole or not at all."""

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_denoisereg.evaluation.agreement import annotator_distances
from napari_denoisereg.evaluation.chart import Series, chart, ticks
from napari_denoisereg.evaluation.keypoints import KeypointError, Keypoints, join, registration_error
from napari_denoisereg.evaluation.report import Report
from napari_denoisereg.evaluation.report_methods import Steering, Step, methods_paragraph
from napari_denoisereg.evaluation.report_page import interpretation


def measured(factor: float = 0.1, *, registered: bool = True, annotators: tuple[str, ...] = ("Anna", "Ben")) -> KeypointError:
    rng = np.random.default_rng(0)
    first = rng.uniform(0, 100, (5, 2))
    tables = []
    for who in annotators:
        places = [first + frame * np.array([3.0, 4.0]) for frame in range(4)]
        kinds = ["interior", "interior", "interior", "contour", "contour"] * 4
        tables.append(Keypoints(np.repeat(range(4), 5), list(range(5)) * 4, np.vstack(places), who, kinds))
    mappings = [lambda p, t=t: p - (1 - factor) * t * np.array([3.0, 4.0]) for t in range(4)]
    return registration_error(join(tables), mappings if registered else None, spacing=(0.5, 0.5), unit="µm")


class TagCheck(HTMLParser):
    """Collects what an HTML page loads and whether its tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_text_table_is_aligned_and_ends_with_the_average() -> None:
    lines = Report(measured()).text().splitlines()
    assert len({len(line) for line in lines[1:]}) == 1
    assert lines[3].split()[:3] == ["Anna", "15", "10.00"]
    assert lines[-1].split() == ["all", "30", "10.00", "10.00", "15.00", "1.00", "1.00", "1.50"]
    assert "µm" in Report(measured()).text("kind", world=True)


def test_text_without_registration_shows_only_before() -> None:
    text = Report(measured(registered=False)).text("frame")
    assert "before mean" in text
    assert "after" not in text


def test_csv_gives_back_every_mark() -> None:
    errors = measured()
    rows = list(csv.DictReader(io.StringIO(Report(errors).csv())))
    assert len(rows) == len(errors)
    assert [float(row["after"]) for row in rows] == errors.after.tolist()
    assert {row["annotator"] for row in rows} == {"Anna", "Ben"}


def test_unknown_errors_are_empty_in_csv_and_null_in_json() -> None:
    report = Report(measured(registered=False), figures={"PSNR, dB": float("inf")})
    assert next(csv.DictReader(io.StringIO(report.csv())))["after"] == ""
    content = json.loads(report.json())
    assert content["all"]["after_mean"] is None
    assert content["figures"] == {"PSNR, dB": None}
    assert len(content["marks"]) == 30


def test_html_stands_alone_and_is_well_formed() -> None:
    report = Report(measured(), title="a <b> & c", figures={"PSNR": 30.0}, pictures={"before & after": b"\x89PNG"})
    html = report.html()
    check = TagCheck()
    check.feed(html)
    assert check.open == []
    assert all(source.startswith("data:image/png;base64,") for source in check.sources)
    assert "<b> &" not in html
    assert "a &lt;b&gt; &amp; c" in html
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ElementTree.fromstring(svg)  # our own text
    assert len(re.findall("<svg", html)) == 3


def test_html_without_registration_has_no_after() -> None:
    html = Report(measured(registered=False, annotators=("",))).html()
    assert html.count("<svg") == 2
    assert "mean error after" not in html
    assert "nan" not in html


@pytest.mark.parametrize(
    ("factor", "sentence"),
    [(0.1, "90 % of the movement was removed"), (0.05, "Half of the marks end up within a pixel"), (2.0, "worse than before")],
)
def test_interpretation_says_what_happened(factor: float, sentence: str) -> None:
    assert sentence in " ".join(interpretation(measured(factor)))


def test_interpretation_points_at_a_bad_frame_and_at_what_was_left_out() -> None:
    errors = measured(0.05)
    spoiled = np.where(errors.frame == 2, 30.0, errors.after)
    text = " ".join(interpretation(KeypointError(**{**errors.__dict__, "after": spoiled, "notes": ("3 marks missing.",)})))
    assert "Frame 2 stands out with 30.0 px" in text
    assert "10 of 30 marks end farther" in text
    assert text.endswith("3 marks missing.")


def test_a_movie_that_does_not_move_can_be_reported() -> None:
    points = Keypoints([0, 1], [0, 0], np.zeros((2, 2)))
    assert "nothing moved" in Report(registration_error(points, [lambda p: p] * 2)).html()


@pytest.mark.parametrize("ending", [".html", ".csv", ".json", ".txt"])
def test_written_files_hold_the_report_and_leave_nothing_else(tmp_path: Path, ending: str) -> None:
    report = Report(measured())
    path = report.write(tmp_path / f"report{ending}")
    form = {".html": report.html, ".csv": report.csv, ".json": report.json, ".txt": report.text}[ending]
    assert path.read_text(encoding="utf-8") == form()
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.csv"
    path.write_text("old")

    def fail(self: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        Report(measured()).write(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_unknown_endings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must end in one of .*\.html.*got 'report.pdf'"):
        Report(measured()).write("report.pdf")


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e5), st.integers(3, 12))
@settings(max_examples=60, deadline=None)
def test_ticks_cover_the_range_in_few_equal_steps(low: float, span: float, n: int) -> None:
    found = ticks(low, low + span, n)
    tolerance = 1e-6 * max(abs(low), span)
    assert found[0] <= low + tolerance
    assert found[-1] >= low + span - tolerance
    assert 2 <= len(found) <= n + 3
    np.testing.assert_allclose(np.diff(found), found[1] - found[0], rtol=1e-3)


def test_a_long_line_keeps_its_peaks_its_ends_and_its_gaps() -> None:
    heights = np.random.default_rng(0).uniform(1, 2, 20_000)
    heights[[0, 7777, 12345, -1]] = 3, 9, 8, 4
    heights[5000:6000] = np.nan
    band = np.stack([heights - 0.5, heights + 0.5])
    text = chart([Series("x", np.arange(20_000.0), heights, "#000000", "line", band)], title="t", x_label="x", y_label="y")
    line = re.search(r'<path d="(M[^"]*)" fill="none" stroke="#000000" stroke-width="2"', text)
    assert line is not None
    runs = [np.array(re.findall(r"([\d.]+) ([\d.]+)", run), float) for run in line[1].split("M")[1:]]
    assert len(runs) == 2
    assert sum(map(len, runs)) <= 2 * 560
    places = np.vstack(runs)
    assert (np.diff(places[:, 0]) >= 0).all()
    widest = np.sort(places[:, 1])[:4]  # px from the top: the highest first
    np.testing.assert_allclose(np.diff(widest) / (widest[3] - widest[0]), np.array([1, 4, 1]) / 6, atol=0.01)
    np.testing.assert_allclose(places[[0, -1], 0], [71.0, 613.0], atol=12)
    assert text.count("<circle") == 1  # that of the legend
    assert len(text) < 60_000


def test_chart_of_nothing_and_of_gaps_is_a_chart() -> None:
    gap = Series("gap", np.arange(4.0), np.array([1.0, np.nan, 2.0, 3.0]), style="thin", band=np.full((2, 4), np.nan))
    for series in ([], [gap]):
        text = chart(series, title="t & t", x_label="x", y_label="y")
        ElementTree.fromstring(text)
        assert "nan" not in text
    assert text.count("M") - text.count("M62") >= 2


def test_methods_paragraph_says_what_was_done_and_numbers_its_references() -> None:
    errors = measured()
    found = annotator_distances(marked_twice())
    steps = [Step("Noise2Void", "https://doi.org/10.1109/CVPR.2019.00223"), Step("an affine chain")]
    methods = methods_paragraph(errors, version="1.2", steps=steps, agreement=found)
    assert "6 interior points and 4 contour points were marked in 4 frames by 2 annotators" in methods.text
    assert "Noise2Void [2] and an affine chain" in methods.text
    assert "10.00 px = 5 µm" in methods.text
    assert "1.00 px" in methods.text
    assert "Anna and Ben marked 3 places both; their marks lay 5.00 px apart" in methods.text
    numbers = [int(number) for number in re.findall(r"\[(\d+)\]", methods.text)]
    assert sorted(set(numbers)) == list(range(1, len(methods.references) + 1))


def test_methods_paragraph_of_a_fit_to_the_points_says_what_its_error_is_worth() -> None:
    steering = Steering("thin-plate", 8, 2, in_sample=0.0, leave_one_out=1.25, check=1.5)
    methods = methods_paragraph(measured(), version="1.2", steering=steering)
    assert "0.00 px at the 8 keypoints used (in sample), 1.25 px when each was left out, and 1.50 px at 2" in methods.text
    assert any("Bookstein" in each for each in methods.references)
    assert any("Fitzpatrick" in each for each in methods.references)
    unknown = methods_paragraph(measured(), version="1.2", steering=Steering("affine", 3, 0, 0.0, np.nan, np.nan))
    assert "nan" not in unknown.text


def test_methods_and_agreement_are_on_the_page_and_in_the_json() -> None:
    errors = measured()
    methods = methods_paragraph(errors, version="1.2 <dev>")
    report = Report(errors, agreement=annotator_distances(marked_twice()), methods=methods, warnings=("Look <out>.",))
    html = report.html()
    check = TagCheck()
    check.feed(html)
    assert check.open == []
    for part in ("Methods paragraph", "1.2 &lt;dev&gt;", "Distance between annotators", "Anna – Ben", "Look &lt;out&gt;."):
        assert part in html
    content = json.loads(report.json())
    assert content["agreement"][0]["mean"] == 5.0
    assert content["references"] == list(methods.references)


def marked_twice() -> Keypoints:
    first = np.array([[0.0, 0], [0, 50], [50, 0]])
    ours = Keypoints(np.repeat([0, 1], 3), [0, 1, 2] * 2, np.vstack([first, first]), "Anna")
    return join([ours, Keypoints(ours.frame, ours.id, ours.position + np.array([3.0, 4.0]), "Ben")])
