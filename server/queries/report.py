"""A report of an area as JSON, as CSV for a spreadsheet, and as a page that prints well and needs nothing from anywhere."""

from __future__ import annotations

import csv
import io
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from server.queries.area_models import AreaReport, Format

MEDIA: Final[dict[Format, str]] = {"json": "application/json", "csv": "text/csv", "html": "text/html"}
COLUMNS: Final = (
    "section",
    "id",
    "name",
    "vernacular",
    "iucn",
    "protected",
    "invasive",
    "endemic",
    "mean",
    "lower",
    "upper",
    "lowest",
    "highest",
    "coverage",
    "expected_cells",
    "share",
    "km2",
    "units",
)


def in_format(report: AreaReport, form: Format) -> str:
    """The report in one of the formats."""
    if form == "csv":
        return as_csv(report)
    return as_html(report) if form == "html" else report.model_dump_json()


def as_csv(report: AreaReport) -> str:
    """One table with a column `section`: area, count, species, indicator or habitat; empty cells where a column says nothing."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", extrasaction="ignore")
    writer.writeheader()
    for row in _rows(report):
        writer.writerow({key: _plain(value) for key, value in row.items()})
    return out.getvalue()


def _rows(report: AreaReport) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"section": "area", "id": report.release, "name": report.name, "km2": report.km2},
        {
            "section": "area",
            "id": "mapped",
            "name": f"{report.mapped_cells} cells of {report.cell_m} m",
            "km2": report.mapped_km2,
        },
    ]
    for name, count in report.counts.model_dump().items():
        rows.append({"section": "count", "id": name, "name": count["species"], "mean": count["expected_per_plot"]})
    for s in report.species:
        summary = {"mean": s.mean_probability, "highest": s.highest_probability, "units": "1"}
        rows.append({"section": "species", **summary, **s.model_dump()})
    rows += [{"section": "indicator", "name": i.title, **i.model_dump()} for i in report.indicators]
    for h in report.habitats:
        rows += [
            {"section": "habitat", "id": f"{h.level}.{s.value}", "name": s.label, "share": s.share, "km2": s.km2}
            for s in h.shares
        ]
    return rows


def _plain(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return "" if value is None else value


@lru_cache(maxsize=1)
def _template() -> Template:
    # Every value of the page is escaped: names come from tables and from requests.
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FileSystemLoader(Path(__file__).parent),
    )
    environment.filters["number"] = _number
    environment.filters["percent"] = lambda share: "" if share is None else f"{share:.1%}"
    return environment.get_template("report.html")


def _number(value: float | None) -> str:
    """Four figures, thousands apart, no exponents."""
    if value is None:
        return ""
    digits = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return digits if "e" not in digits else f"{value:.6f}".rstrip("0").rstrip(".")


def as_html(report: AreaReport) -> str:
    """The printable page: one file, no script, every colour beside its name and number in a table."""
    return _template().render(report=report)
