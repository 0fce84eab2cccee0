"""Report: what a registration achieved at the keypoints, as a table, CSV, JSON and one HTML page that stands alone.

The HTML page holds everything (plots are inline SVG, pictures base64 PNG), so it can be mailed or archived as one file.
Files appear complete or not at all: they are written beside their place and then moved there.
"""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from napari_denoisereg.atomic import replacing
from napari_denoisereg.evaluation.agreement import Agreement
from napari_denoisereg.evaluation.keypoints import Column, KeypointError, Row
from napari_denoisereg.evaluation.report_methods import Methods
from napari_denoisereg.evaluation.report_page import page

SUFFIXES = (".html", ".csv", ".json", ".txt")
_FIGURES = ("before_mean", "before_median", "before_p90", "after_mean", "after_median", "after_p90")


@dataclass(frozen=True, eq=False)
class Report:
    """What a registration achieved.

    Parameters
    ----------
    errors
        The registration error of every mark.
    title
        Names the movie, in files and headings.
    figures
        Further figures by name, for instance `{"PSNR before, dB": 20.0}`.
    pictures
        PNG files by caption, for instance overlays before and after.
    agreement
        Distances between annotators.
    methods
        A paragraph for a paper's supplement.
    warnings
        What a reader must know before the figures.
    """

    errors: KeypointError
    title: str = "Registration report"
    figures: Mapping[str, float] = field(default_factory=dict)
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    agreement: Sequence[Agreement] = ()
    methods: Methods | None = None
    warnings: Sequence[str] = ()

    def text(self, *by: Column, world: bool = False) -> str:
        """Return an aligned table: one line per group (annotators by default) and one for all, px or world units."""
        grouping: tuple[Column, ...] = by or ("annotator",)
        rows = [*self.errors.table(*grouping, world=world), {grouping[0]: "all"} | self.errors.table(world=world)[0]]
        names = _FIGURES if self.errors.is_registered else _FIGURES[:3]
        header = [*grouping, "n", *(name.replace("_", " ") for name in names)]
        cells = [header, *([*_keys(row, grouping), str(row["n"]), *(_number(row[name]) for name in names)] for row in rows)]
        widths = [max(len(line[column]) for line in cells) for column in range(len(header))]
        keys = len(grouping)
        lines = [
            "  ".join(c.ljust(w) if at < keys else c.rjust(w) for at, (c, w) in enumerate(zip(line, widths, strict=True)))
            for line in cells
        ]
        unit = self.errors.unit if world else "px"
        return "\n".join([f"{self.title}: error at keypoints, {unit}", lines[0], "-" * len(lines[0]), *lines[1:]])

    def csv(self) -> str:
        """Return one line per mark: frame, id, annotator, kind, before, after, before_world, after_world."""
        rows = self.errors.rows()
        stream = io.StringIO()
        columns = ["frame", "id", "annotator", "kind", "before", "after", "before_world", "after_world"]
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: "" if _is_nan(value) else value for key, value in row.items()} for row in rows)
        return stream.getvalue()

    def json(self) -> str:
        """Return everything as JSON; figures that are unknown are null."""
        errors = self.errors
        content = {
            "title": self.title,
            "fixed_frame": errors.fixed_frame,
            "unit": errors.unit,
            "all": errors.table()[0],
            "all_world": errors.table(world=True)[0],
            "per_annotator": errors.table("annotator"),
            "per_kind": errors.table("kind", "annotator"),
            "per_frame": errors.table("frame"),
            "per_keypoint": errors.table("annotator", "kind", "id"),
            "marks": errors.rows(),
            "figures": dict(self.figures),
            "notes": list(errors.notes),
            "agreement": [asdict(each) for each in self.agreement],
            "methods": self.methods.text if self.methods else "",
            "references": list(self.methods.references) if self.methods else [],
            "warnings": list(self.warnings),
        }
        return json.dumps(_nulled(content), indent=1, allow_nan=False)

    def html(self) -> str:
        """Return the page: reading, table, plots, formula, pictures; nothing is loaded from elsewhere."""
        return page(
            self.errors,
            title=self.title,
            figures=self.figures,
            pictures=self.pictures,
            agreement=self.agreement,
            methods=self.methods,
            warnings=self.warnings,
        )

    def write(self, path: str | Path) -> Path:
        """Write the report in the form the file's ending asks for (.html, .csv, .json, .txt); return the path."""
        target = Path(path)
        forms = dict(zip(SUFFIXES, (self.html, self.csv, self.json, self.text), strict=True))
        form = forms.get(target.suffix.lower())
        if form is None:
            raise ValueError(f"A report must end in one of {SUFFIXES}, got {target.name!r}; rename it.")
        with replacing(target, overwrite=True) as part, part.open("x", encoding="utf-8", newline="") as stream:
            stream.write(form())
        return target


def _keys(row: Row, grouping: tuple[Column, ...]) -> list[str]:
    return [str(row.get(column, "")) or "unnamed" if column in row else "" for column in grouping]


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _nulled(content: Any) -> Any:
    """Return JSON content with NaN and infinity replaced by None."""
    if isinstance(content, dict):
        return {key: _nulled(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_nulled(value) for value in content]
    return None if _is_nan(content) else content
