"""Presence-only records of a configuration, streamed: a chunk of rows is in memory, never the records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd

from cube.config import Config, RecordConfig
from cube.config.records import Corner, RecordColumns
from cube.errors import ConfigError
from cube.grid import EUROPE, Region
from cube.records import darwincore
from cube.records.coordinates import positions, without_place
from cube.records.darwincore.observations import RECORDS as ACCOUNT
from cube.records.darwincore.vocabulary import STATUS_TERMS, not_a_presence, word
from cube.records.geoplant.layout import find_layout
from cube.records.geoplant.metadata import stream_metadata
from cube.records.names import SpeciesNames
from cube.records.numbers import EARTH_M, parse_numbers, uncertainties
from cube.records.report import Report
from cube.records.squares import COLUMNS as SQUARE_COLUMNS
from cube.records.squares import LARGEST_M, Squares
from cube.records.tables import PIECE, header, keep_where, stream_table
from cube.records.years import years

COUNTS: Final = ("abundance", "count", "quantity", "occurrences")  # columns, by `word`, in which a zero is an absence
STATUSES: Final = ("presence", "present", "presenceabsence", "presabs", "pa", "detected", "detection")  # and FALSE, too


@dataclass
class RecordStream:
    """Presence-only records, `piece` rows of the source at a time; every pass reads the source anew.

    A chunk has the columns record (text), name, longitude, latitude (degrees), x, y (m of the grid), year, uncertainty_m
    (NaN: not stated), of GeoPlant survey, patch_id and series_id, and of records in cells the columns of `Squares`, whose
    centres are then the positions. `report` counts what the latest pass read, used and left out, and is complete when the
    pass is.
    """

    config: Config
    source: RecordConfig
    region: Region | None
    piece: int = PIECE
    report: Report = field(default_factory=lambda: Report("records"))
    _header: list[str] | None = None

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Chunks of records, never empty. Raises `TableError` as the readers of the source do."""
        self.report = Report("records")
        names = SpeciesNames(self.config, self.config.species.table, self.source.geoplant is not None)
        self.report.totals["records"] = 0
        for rows in self._rows():
            usable_rows = self._usable(rows, names)
            self.report.use(ACCOUNT, len(usable_rows))
            if len(usable_rows):
                self.report.totals["records"] += len(usable_rows)
                yield usable_rows
        self.report.check()

    def _rows(self) -> Iterator[pd.DataFrame]:
        s = self.source
        if s.geoplant is not None:
            layout = find_layout(self.config.source_path(s.geoplant))
            for rows in stream_metadata(layout, "PO", s.splits, self.report, self.piece):
                self.report.count(ACCOUNT, len(rows))
                yield rows.drop(columns=["day_of_year", "area_m2"]).assign(record=rows["survey"])
        elif s.darwin_core is not None:
            path = self.config.source_path(s.darwin_core)
            labels = ("decimalLongitude", "decimalLatitude")
            for rows in darwincore.stream_records(path, self.report, self.piece, s.where_texts):
                rows[["longitude", "latitude"]] = positions(rows, path, self.report, None, self.region, labels)
                yield rows
        else:
            yield from self._of_table()

    def _of_table(self) -> Iterator[pd.DataFrame]:
        s, c = self.source, self.source.columns
        assert c is not None
        assert s.table is not None
        path = self.config.source_path(s.table)
        column_names = c.model_dump(exclude={"cells", "crs", "species"}, exclude_none=True)
        column_names |= {"name": c.species} if c.species is not None else {}
        if self._header is None:
            self._header = header(path, s.encoding)
        present = {word(name): name for name in reversed(self._header)}
        status = {term: present[word(term)] for term in STATUS_TERMS if word(term) in present}
        counts, statuses = ([present[name] for name in names if name in present] for names in (COUNTS, STATUSES))
        read_columns = [*column_names.values(), *status.values(), *counts, *statuses, *s.where, *_cell_columns(c)]
        numbers = [c.species_id] if c.species_id is not None else []
        degrees = (c.longitude or "longitude", c.latitude or "latitude")
        start = 0
        columns = list(dict.fromkeys(read_columns))
        for rows in stream_table(path, columns, numbers, self.piece, self.report, ACCOUNT, s.encoding, degrees):
            record = pd.Series(np.arange(start + 1, start + 1 + len(rows))) if c.record is None else rows[c.record]
            start += len(rows)
            matches = keep_where(rows, s.where_texts, record, self.report, ACCOUNT)
            terms = status | {column: column for column in (*counts, *statuses)}
            words = pd.DataFrame({term: matches[column] for term, column in terms.items()}, index=matches.index)
            reasons = not_a_presence(words, counts, statuses)
            for reason in dict.fromkeys(reasons[reasons != ""]):
                self._leave_out(reason, record[reasons.index[reasons == reason]])
            matches = matches[reasons == ""]
            out = pd.DataFrame({k: matches[v] for k, v in column_names.items()}).assign(record=record.loc[matches.index])
            if c.cells is not None:
                out = out.assign(**_squares(matches, c.cells, c.crs).columns())
            else:
                out[["longitude", "latitude"]] = positions(out, path, self.report, c.crs, self.region, degrees)
            yield out.reset_index(drop=True)

    def _usable(self, rows: pd.DataFrame, names: SpeciesNames) -> pd.DataFrame:
        """The usable part of some rows; the rest is left out by reason."""
        grid = EUROPE if self.region is None else self.region.grid
        out = pd.DataFrame({"record": rows["record"].astype(str), "name": names.of_rows(rows, self.report)})
        for column in ("survey", "patch_id", "series_id", *SQUARE_COLUMNS):
            if column in rows:
                out[column] = rows[column]
        if SQUARE_COLUMNS[0] in rows:
            out["x"], out["y"] = Squares.of_rows(out).at(0.5, 0.5, grid)
            out["longitude"], out["latitude"] = grid.unproject(out["x"].to_numpy(), out["y"].to_numpy())
            has_place = out["x"].notna()
            self._leave_out(
                "records whose cell is no EEA or MGRS code and no square of up to 100 km", out.loc[~has_place, "record"]
            )
        else:
            for column in ("longitude", "latitude"):
                out[column] = pd.to_numeric(rows[column], errors="coerce").astype(float)
            has_place = ~without_place(out, "record", ACCOUNT, self.report)
        has_name = out["name"].notna()
        self._leave_out("records without a species", out.loc[has_place & ~has_name, "record"])
        out = self._certain(out[has_place & has_name], rows)
        if "x" not in out:
            out["x"], out["y"] = grid.project(out["longitude"].to_numpy(), out["latitude"].to_numpy())
        if self.region is not None:
            inside = self.region.contains(out["x"].to_numpy(), out["y"].to_numpy())
            self._leave_out("records outside the region", out.loc[~inside, "record"])
            out = out[inside]
        year = rows.loc[out.index, "year"] if "year" in rows else pd.Series(np.nan, out.index)
        return out.assign(year=years(year, out["record"], self.report)).reset_index(drop=True)

    def _certain(self, out: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
        """`out` with its uncertainties, and without the records that are less certain than the configuration asks."""
        s, note = self.source, self.report.note
        if "uncertainty_m" not in rows:
            return out.assign(uncertainty_m=np.nan)
        uncertainty_m = uncertainties(rows.loc[out.index, "uncertainty_m"], out["record"], self.report)
        silent = out.loc[uncertainty_m.isna(), "record"]
        if s.assumed_uncertainty_m is not None:
            note(f"records without a stated uncertainty, taken as {s.assumed_uncertainty_m:g} m", list(silent))
            uncertainty_m = uncertainty_m.fillna(s.assumed_uncertainty_m)
        else:
            note("records without a stated uncertainty, used", list(silent))
        out = out.assign(uncertainty_m=uncertainty_m)
        impossible = uncertainty_m > EARTH_M
        self._leave_out("records less certain than the Earth is large", out.loc[impossible, "record"])
        if s.max_uncertainty_m is None:
            return out[~impossible]
        vague = uncertainty_m > s.max_uncertainty_m
        self._leave_out(f"records less certain than {s.max_uncertainty_m:g} m", out.loc[vague & ~impossible, "record"])
        return out[~vague & ~impossible]

    def _leave_out(self, reason: str, records: pd.Series) -> None:
        self.report.leave_out(ACCOUNT, reason, list(records))


def _cell_columns(columns: RecordColumns) -> list[str]:
    cells = columns.cells
    if isinstance(cells, Corner):
        return [cells.west, cells.south, *([cells.size_m] if isinstance(cells.size_m, str) else [])]
    return [] if cells is None else [cells]


def _squares(rows: pd.DataFrame, cells: str | Corner, crs: str | None) -> Squares:
    """The squares of a table's rows, by their codes or by corners in `crs`; NaN where a row has none."""
    if not isinstance(cells, Corner):
        return Squares.of_codes(rows[cells])
    corner = [parse_numbers(rows[name], name) for name in (cells.west, cells.south)]
    cell_size = cells.size_m
    size = parse_numbers(rows[cell_size], cell_size) if isinstance(cell_size, str) else pd.Series(float(cell_size), rows.index)
    size = size.where((size > 0) & (size <= LARGEST_M))
    systems = np.full(len(rows), crs or EUROPE.code, object)
    west, south, side = (np.asarray(values, np.float64) for values in (*corner, size))
    return Squares(systems, west, south, side)


def read_records(config: Config, piece: int = PIECE) -> RecordStream:
    """The presence-only records of `config.records` within its region, as a stream of chunks.

    Raises `ConfigError` where the configuration names none.
    """
    if config.records is None:
        raise ConfigError(f"{config.path}: records is missing; name a table, a GeoPlant folder or a Darwin Core archive.")
    return RecordStream(config, config.records, config.whole_region(), piece)
