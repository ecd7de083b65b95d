"""What `inspect` has found as one HTML page that needs no network: a map of the points, thumbnails, histograms and reports."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final

import numpy as np

from cube.engine.inspect_config import BandRow, SourceRow, Understood
from cube.engine.inspect_text import metres, notes, span
from cube.export.png import coloured, data_uri
from cube.records.report import Report
from cube.sources.coverage import percent

MOST_POINTS: Final = 5_000  # of a table, on the map
WIDE: Final = 560  # pixels, of the map
HIGH: Final = 36  # pixels, of a histogram
STEP: Final = 7  # pixels of a bar
COLOURS: Final = {"surveys": "#b2182b", "records": "#2166ac"}
STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ddd;padding:.3rem .6rem;text-align:left;"
    "vertical-align:top}td+td{white-space:nowrap}td:first-child{overflow-wrap:anywhere}"
    "img{image-rendering:pixelated;max-width:180px;border:1px solid #ccc}.problem{color:#a50f15}"
    ".note{color:#8a5a00}.wrong{background:#fee0d2}svg{background:#fafafa;border:1px solid #ddd}"
)


def page(understood: Understood) -> str:
    """The page as HTML."""
    title = escape(understood.title)
    items = [
        *(f'<li class="problem">{escape(text)}</li>' for text in understood.problems),
        *(f'<li class="note">{escape(text)}</li>' for text in notes(understood)),
    ]
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>',
        f"<h1>{title}: what is understood of its inputs</h1>",
        f"<ul>{''.join(items)}</ul>" if items else "<p>Nothing to look at.</p>",
        "<h2>Region and points</h2>",
        _map(understood),
        "<h2>Layers</h2>",
        "<table><tr><th>layer<th>band<th>range<th>plausible<th>of the region<th>values</tr>",
        *(line for row in understood.sources for line in _source(row)),
        "</table>",
        *(_report(report) for report in understood.tables),
        "</html>",
    ]
    return "\n".join(parts)


def _map(understood: Understood) -> str:
    """The region, its units and the points of its tables; where points are many, some of them."""
    west, south, east, north = understood.region.bounds
    scale = WIDE / max(east - west, north - south)
    across, down = (east - west) * scale, (north - south) * scale
    shapes = []
    for unit in understood.region.units():
        left, _, right, top = unit.bounds
        side = (right - left) * scale
        shapes.append(
            f'<rect x="{(left - west) * scale:.1f}" y="{(north - top) * scale:.1f}" width="{side:.1f}"'
            f' height="{side:.1f}" fill="none" stroke="#ccc"><title>{unit.name}</title></rect>'
        )
    captions = []
    for name, points in understood.places.items():
        step = -(-len(points) // MOST_POINTS) or 1
        dots = "".join(f"M{(x - west) * scale:.1f} {(north - y) * scale:.1f}h0" for x, y in points[::step])
        shapes.append(f'<path d="{dots}" stroke="{COLOURS[name]}" stroke-width="3" stroke-linecap="round"/>')
        step_text = f", every {step}th shown" if step > 1 else ""
        captions.append(f'<span style="color:{COLOURS[name]}">{len(points):,} {name}{step_text}</span>')
    size = f'width="{across:.0f}" height="{down:.0f}" viewBox="0 0 {across:.1f} {down:.1f}"'
    at = understood.region
    caption = f"{at.west_km} to {at.east_km} km east, {at.south_km} to {at.north_km} km north ({at.grid.code})"
    return f'<svg {size} role="img" aria-label="Map of the points">{"".join(shapes)}</svg><p>{caption}. {"; ".join(captions)}</p>'


def _source(row: SourceRow) -> Iterator[str]:
    head = f"<b>{escape(row.layer)}</b><br>{escape(row.file or row.source)}"
    if row.files > 1:
        head += f" (+{row.files - 1})"
    head += f"<br>{escape(row.crs)}" + (f", {metres(row.pixel_m)}" if row.pixel_m else "")
    if row.units_without_data:
        head += f"<br>{len(row.units_without_data)} of {row.units} units without data"
    if row.derived:
        head += f"<br>computed from it: {escape(', '.join(row.derived))}"
    if row.picture is not None:
        head += f'<br><img alt="Thumbnail of {escape(row.layer)}" src="{thumbnail(row)}">'
    if not row.bands:
        is_problem = "" if row.scenes else ' class="problem"'
        yield f'<tr><td>{head}<td{is_problem} colspan="5">{escape(row.problem or row.scenes or "not read")}</tr>'
    for i, band in enumerate(row.bands):
        first = f'<td rowspan="{len(row.bands)}">{head}' if i == 0 else ""
        plausible = span(*band.plausible) if band.plausible else "-"
        units = "" if band.units == "1" else f" {escape(band.units)}"
        wrong = ' class="wrong"' if band.implausible or band.low is None else ""
        yield (
            f"<tr>{first}<td>{escape(band.name)}<td{wrong}>{span(band.low, band.high)}{units}<td>{plausible}"
            f"<td>{percent(band.covered)}<td>{_histogram(band)}</tr>"
        )


def _histogram(band: BandRow) -> str:
    """Bars of the values; those beyond the plausible range are red, and its ends are lines where they lie among the values."""
    if band.low is None or band.high is None or not band.histogram:
        return ""
    wide, highest = STEP * len(band.histogram), max(band.histogram)
    step = (band.high - band.low) / len(band.histogram) or 1.0
    low, high = band.plausible or (-np.inf, np.inf)
    bars = []
    for i, count in enumerate(band.histogram):
        tall = HIGH * count / highest
        is_implausible = band.low + i * step < low or band.low + (i + 1) * step > high + step * 1e-6
        bars.append(
            f'<rect x="{i * STEP}" y="{HIGH - tall:.1f}" width="{STEP - 1}" height="{tall:.1f}"'
            f' fill="{"#cb181d" if is_implausible else "#4a7a4a"}"/>'
        )
    for end in (low, high):
        if band.low < end < band.high:
            x = (end - band.low) / step * STEP
            bars.append(f'<path d="M{x:.1f} 0v{HIGH}" stroke="#cb181d" stroke-dasharray="3"/>')
    return f'<svg width="{wide}" height="{HIGH}" role="img" aria-label="Histogram of {escape(band.name)}">{"".join(bars)}</svg>'


def thumbnail(row: SourceRow) -> str:
    """The first band of a source as the data URI of a PNG, transparent where there is no data.

    A range is that of the middle 96 % of the values.
    """
    assert row.picture is not None
    valid = row.picture[np.isfinite(row.picture)]
    low, high = np.percentile(valid, (2, 98)) if valid.size else (0.0, 1.0)
    return data_uri(coloured(row.picture, row.palette, float(low), float(high)))


def _report(report: Report) -> str:
    rows = "".join(f"<tr><td>{escape(account)}<td>{escape(tally.line())}</tr>" for account, tally in report.tallies.items())
    remarks = "".join(f"<li>{escape(reason)}</li>" for reason in report.reasons())
    totals_text = ", ".join(f"{count:,} {escape(what)}" for what, count in report.totals.items())
    return f"<h2>{escape(report.title)}</h2><p>{totals_text}</p><table>{rows}</table><ul>{remarks}</ul>"
