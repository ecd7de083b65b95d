"""Presence-only records of a configuration, streamed: a chunk of rows is in memory, never the records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from cube import grid
from cube.config import Config, RecordConfig
from cube.errors import ConfigError
from cube.grid import Region
from cube.records import darwincore
from cube.records.geoplant.layout import find_layout
from cube.records.geoplant.metadata import stream_metadata
from cube.records.names import SpeciesNames
from cube.records.tables import PIECE, Report, stream_table


@dataclass
class RecordStream:
    """Presence-only records, `piece` rows of the source at a time; every pass reads the source anew.

    A chunk has the columns record (text), name, longitude, latitude (degrees), x, y (m, EPSG:3035), year, uncertainty_m
    (NaN: not said), and of GeoPlant survey, patch_id and series_id. `report` tells what the latest pass left out, and
    is complete when the pass is.
    """

    config: Config
    source: RecordConfig
    region: Region | None
    piece: int = PIECE
    report: Report = field(default_factory=lambda: Report("records"))

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Chunks of records, never empty. Raises `TableError` as the readers of the source do."""
        self.report = Report("records")
        names = SpeciesNames(self.config, self.config.species.table, self.source.geoplant is not None)
        self.report.keep("records", 0)
        for rows in self._rows():
            kept = self._kept(rows, names)
            if len(kept):
                self.report.keep("records", len(kept))
                yield kept

    def _rows(self) -> Iterator[pd.DataFrame]:
        s = self.source
        if s.geoplant is not None:
            layout = find_layout(self.config.source_path(s.geoplant))
            for rows in stream_metadata(layout, "PO", s.splits, self.report, self.piece):
                yield rows.drop(columns=["day_of_year", "area_m2"]).assign(record=rows["survey"])
        elif s.darwin_core is not None:
            yield from darwincore.stream_records(self.config.source_path(s.darwin_core), self.report, self.piece)
        else:
            yield from self._of_table()

    def _of_table(self) -> Iterator[pd.DataFrame]:
        c = self.source.columns
        assert c is not None
        assert self.source.table is not None
        ours = {"record": c.record, "longitude": c.longitude, "latitude": c.latitude, "year": c.year,
                "uncertainty_m": c.uncertainty_m, "name": c.species, "species_id": c.species_id}  # fmt: skip
        named = {k: v for k, v in ours.items() if v is not None}
        start = 0
        path, columns = self.config.source_path(self.source.table), list(dict.fromkeys(named.values()))
        numbers = [v for k, v in named.items() if k not in ("record", "name")]
        for rows in stream_table(path, columns, numbers, self.piece, self.report):
            out = pd.DataFrame({k: rows[v] for k, v in named.items()}).reset_index(drop=True)
            if c.record is None:
                out["record"] = np.arange(start + 1, start + 1 + len(out))
            start += len(out)
            yield out

    def _kept(self, rows: pd.DataFrame, names: SpeciesNames) -> pd.DataFrame:
        """The usable part of some rows; the rest is noted by reason."""
        out = pd.DataFrame({"record": rows["record"].astype(str), "name": names.of(rows, self.report)})
        for column in ("longitude", "latitude", "year", "uncertainty_m"):
            out[column] = pd.to_numeric(rows[column], errors="coerce").astype(float) if column in rows else np.nan
        for column in ("survey", "patch_id", "series_id"):
            if column in rows:
                out[column] = rows[column]
        note, record = self.report.note, out["record"]
        sited = out["longitude"].between(-180, 180) & out["latitude"].between(-90, 90)
        note("records without a position in degrees, skipped", list(record[~sited]))
        named = out["name"].notna()
        note("records without a species, skipped", list(record[sited & ~named]))
        out = out[sited & named]
        if self.source.max_uncertainty_m is not None:
            vague = out["uncertainty_m"] > self.source.max_uncertainty_m
            note(f"records less certain than {self.source.max_uncertainty_m:g} m, skipped", list(out.loc[vague, "record"]))
            out = out[~vague]
        x, y = grid.project(out["longitude"].to_numpy(), out["latitude"].to_numpy())
        out = out.assign(x=x, y=y)
        if self.region is not None:
            inside = self.region.contains(x, y)
            note("records outside the region, skipped", list(out.loc[~inside, "record"]))
            out = out[inside]
        return out.reset_index(drop=True)


def read_records(config: Config, piece: int = PIECE) -> RecordStream:
    """The presence-only records of `config.records` within its region, as a stream of chunks.

    Raises `ConfigError` where the configuration names none.
    """
    if config.records is None:
        raise ConfigError(f"{config.path}: records is missing; name a table, a GeoPlant folder or a Darwin Core archive.")
    return RecordStream(config, config.records, config.whole_region(), piece)
