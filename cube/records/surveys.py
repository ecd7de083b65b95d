"""Surveys of a region and what grew there, from tables with a column mapping; what cannot be used is left out and named."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cube import grid
from cube.config import Config, Plots, SpeciesTable
from cube.errors import TableError
from cube.grid import Region
from cube.records.tables import Report, normal_name, read_table


@dataclass(frozen=True)
class SurveyTable:
    """Surveys of a region and what grew there.

    `surveys`: index 0..n-1, columns survey, longitude, latitude (degrees), x, y (m, EPSG:3035), year, area_m2 (NaN:
    unknown), place, habitat. `occurrences`: survey (index into surveys), name, cover (percent; NaN: not estimated).
    """

    surveys: pd.DataFrame
    occurrences: pd.DataFrame
    report: Report


def read_surveys(config: Config, plots: Plots, species: SpeciesTable | None, region: Region | None,
                 title: str, key: str) -> SurveyTable:  # fmt: skip
    """Surveys and occurrences of `plots`; `key` is their place in the configuration, for messages.

    Left out, counted and named: surveys without a position, outside `region` (which is how a latitude of 58.14 in
    Moravia shows), species ids without a name, covers of zero or less. An area that is missing, infinite or not
    positive becomes NaN and is counted.
    """
    c = plots.columns
    path = config.source_path(plots.table)
    name_column = c.species or c.species_id
    if name_column is None:
        raise TableError(f"{config.path}: {key}.columns: give 'species' (a name) or 'species_id' (a number).")
    if c.longitude is None or c.latitude is None:
        raise TableError(f"{config.path}: {key}.columns: give 'longitude' and 'latitude' (degrees, WGS 84).")
    apart = plots.occurrences is not None
    header = [x for x in (c.survey, c.longitude, c.latitude, c.year, c.area_m2, c.place, c.habitat) if x]
    table = read_table(path, header if apart else [*header, name_column, *([c.cover] if c.cover else [])])
    report = Report(title)
    if apart:
        assert plots.occurrences is not None
        rows = read_table(config.source_path(plots.occurrences), [c.survey, name_column, *([c.cover] if c.cover else [])])
    else:
        rows = table
    surveys = _surveys(table, path, plots, region, report)
    occurrences = _occurrences(config, rows, plots, species, surveys, report)
    report.kept = {"surveys": len(surveys), "occurrences": len(occurrences),
                   "species": int(occurrences["name"].nunique())}  # fmt: skip
    if surveys.empty:
        raise TableError(f"{path}: no survey is left: " + "; ".join(report.lines()[1:]) + ".")
    return SurveyTable(surveys, occurrences, report)


def _number(table: pd.DataFrame, column: str | None, path: str, report: Report, survey: str) -> pd.Series:
    if column is None:
        return pd.Series(np.nan, index=table.index)
    numbers = pd.to_numeric(table[column], errors="coerce")
    bad = table[column].notna() & numbers.isna()
    report.note(f"rows with a {column} that is not a number", list(table.loc[bad, survey]))
    return numbers.astype(float)


def _surveys(table: pd.DataFrame, path: str, plots: Plots, region: Region | None, report: Report) -> pd.DataFrame:
    c = plots.columns
    first = table.drop_duplicates(c.survey)
    if plots.occurrences is not None and len(first) < len(table):
        twice = table.loc[table.duplicated(c.survey), c.survey]
        report.note("surveys given twice, first kept", list(twice))
    out = pd.DataFrame({"survey": first[c.survey].astype(str)})
    out["longitude"] = _number(first, c.longitude, path, report, c.survey)
    out["latitude"] = _number(first, c.latitude, path, report, c.survey)
    out["year"] = _number(first, c.year, path, report, c.survey)
    area = _number(first, c.area_m2, path, report, c.survey)
    usable = np.isfinite(area) & (area > 0)
    if c.area_m2 is not None:
        report.note("surveys without a usable area, taken as the median", list(out.loc[~usable, "survey"]))
    out["area_m2"] = area.where(usable)
    out["habitat"] = first[c.habitat].astype("string") if c.habitat else pd.Series(pd.NA, index=first.index)
    sited = out["longitude"].between(-180, 180) & out["latitude"].between(-90, 90)
    report.note("surveys without a position in degrees, skipped", list(out.loc[~sited, "survey"]))
    out["x"], out["y"] = np.nan, np.nan
    x, y = grid.project(out.loc[sited, "longitude"].to_numpy(), out.loc[sited, "latitude"].to_numpy())
    out.loc[sited, "x"], out.loc[sited, "y"] = x, y
    inside = sited.copy()
    if region is not None:
        inside &= pd.Series(region.contains(out["x"].to_numpy(), out["y"].to_numpy()), index=out.index)
        outside = out[sited & ~inside]
        report.note(
            "surveys outside the region, skipped",
            [f"{r.survey} at {r.longitude:g} E {r.latitude:g} N" for r in outside.itertuples()],
        )
    if c.place:
        place = first[c.place].astype("string").fillna("survey " + out["survey"])
    else:
        # Without a column for it, surveys in one 50 m cell are of one place.
        cell = np.floor(out[["x", "y"]].fillna(0).to_numpy() / grid.CELL).astype(int)
        place = pd.Series([f"{a}/{b}" for a, b in cell], index=out.index)
    out["place"] = place
    return out[inside].reset_index(drop=True)


def _occurrences(config: Config, rows: pd.DataFrame, plots: Plots, species: SpeciesTable | None,
                 surveys: pd.DataFrame, report: Report) -> pd.DataFrame:  # fmt: skip
    c = plots.columns
    out = pd.DataFrame({"survey_id": rows[c.survey].astype(str)})
    if c.species is not None:
        out["name"] = rows[c.species].astype("string").map(normal_name, na_action="ignore")
    else:
        assert c.species_id is not None
        if species is None:
            raise TableError(f"{config.path}: species.table is missing; it names the ids of column '{c.species_id}'.")
        names = read_table(config.source_path(species.table), [species.id, species.name])
        lookup = {int(i): normal_name(n) for i, n in zip(names[species.id], names[species.name], strict=True)}
        # GeoPlant stores ids as floats.
        ids = pd.to_numeric(rows[c.species_id], errors="coerce")
        out["name"] = ids.map(lambda i: lookup.get(int(i)), na_action="ignore")
        unknown = ids.notna() & out["name"].isna()
        report.note("occurrences of a species id without a name, skipped",
                    sorted({str(int(i)) for i in ids[unknown]}))  # fmt: skip
    if c.cover is not None:
        out["cover"] = pd.to_numeric(rows[c.cover], errors="coerce").astype(float)
        none = out["cover"] <= 0
        report.note("occurrences with a cover of zero or less, skipped",
                    [f"{a}: {b}" for a, b in out.loc[none, ["survey_id", "name"]].itertuples(index=False)])  # fmt: skip
        out = out[~none]
    else:
        out["cover"] = np.nan
    out = out[out["name"].notna()]
    position = pd.Series(surveys.index, index=surveys["survey"])
    out["survey"] = out["survey_id"].map(position)
    out = out[out["survey"].notna()].astype({"survey": np.int64})
    # A species may stand in several layers of one survey: once for presence, its covers summed.
    return out.groupby(["survey", "name"], sort=True)["cover"].sum(min_count=1).reset_index()


def species_list(occurrences: pd.DataFrame, min_records: int) -> list[str]:
    """Species in at least `min_records` surveys, by name."""
    counts = occurrences.groupby("name")["survey"].nunique()
    return sorted(str(name) for name in counts[counts >= min_records].index)
