"""What `inspect` has found as lines for a person: a table of layers and bands, the reports of the tables, what to look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from cube.engine.inspect_config import BandRow, SourceRow, Understood
from cube.sources.coverage import percent

MAX_NAMES: Final = 3  # units, or bands, that a line names
MOST_BANDS: Final = 24  # of a layer, that the table lists
HEADS: Final = ("layer", "band", "range", "plausible", "units", "of the region", "units without data")


def text(understood: Understood) -> str:
    """All of it, without notes and problems."""
    lines = [understood.title, *_aligned([HEADS, *(cells for row in understood.sources for cells in _bands(row))]), ""]
    lines += [line for row in understood.sources for line in _files(row)]
    for report in understood.tables:
        lines += ["", *report.lines()]
    return "\n".join(lines)


def notes(understood: Understood) -> list[str]:
    """What should be looked at but refuses nothing."""
    return [note for row in understood.sources for note in _notes(row)]


def span(low: float | None, high: float | None) -> str:
    """`100 to 900`; a dash where there is nothing."""
    return "-" if low is None or high is None else f"{low:.6g} to {high:.6g}"


def metres(length: float) -> str:
    """`12,252 m`, `30.87 m`."""
    return f"{length:,.0f} m" if length >= 100 else f"{length:.4g} m"


def _bands(row: SourceRow) -> Iterator[Sequence[str]]:
    """Cells of the table for the bands of a source; a source that was not read has one row."""
    if not row.bands:
        missing = f"{len(row.units_without_data)} of {row.units}" if row.units else ""
        yield row.layer, "", row.scenes or "not read", "", "", "", missing
    for i, band in enumerate(row.bands[:MOST_BANDS]):
        plausible = span(*band.plausible) if band.plausible else "-"
        missing = f"{len(row.units_without_data)} of {row.units}" if i == 0 else ""
        name = "" if len(row.bands) == 1 and band.name == row.layer else band.name
        yield row.layer if i == 0 else "", name, span(band.low, band.high), plausible, band.units, percent(band.covered), missing
    if len(row.bands) > MOST_BANDS:
        yield "", f"and {len(row.bands) - MOST_BANDS} more", "", "", "", "", ""


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _files(row: SourceRow) -> Iterator[str]:
    more = f" (+{row.files - 1} files)" if row.files > 1 else ""
    pixel = f", pixels of {metres(row.pixel_m)}" if row.pixel_m else ""
    kind = f", {row.kind} at {row.resolution}" if row.kind else ""
    yield f"{row.layer}: {row.file or row.source}{more}{', ' if row.crs else ''}{row.crs}{pixel}{kind}"
    if row.derived:
        yield f"  computed from it: {', '.join(row.derived)}"


def _notes(row: SourceRow) -> Iterator[str]:
    """Bands without values or beyond their plausible range, units without data, unusual forms of the file."""
    yield from (f"{row.source}: {row.file}: {note}." for note in row.notes)
    empty = [band.name for band in row.bands if band.low is None]
    if empty:
        yield f"{row.source}: no value anywhere in the region in {_first_names(empty)}; check the extent, the CRS and no data."
    yield from (_beyond(row, band) for band in row.bands if band.implausible)
    if row.units_without_data and not empty:
        count = len(row.units_without_data)
        what = "scene" if row.scenes else "value at any point"
        yield f"{row.source}: {count} units have no {what} ({_first_names(row.units_without_data)})."


def _beyond(row: SourceRow, band: BandRow) -> str:
    low, high = band.plausible or (0.0, 0.0)
    return (
        f"{row.source}: {band.name} spans {span(band.low, band.high)}, and {span(low, high)} {band.units} is plausible; check"
        " scale, offset, units and no data."
    )


def _first_names(names: list[str]) -> str:
    return ", ".join(names[:MAX_NAMES]) + (f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else "")
