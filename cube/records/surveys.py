"""Surveys of a region and what grew there, from tables, GeoPlant or Darwin Core; what cannot be used is left out and named."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cube import grid
from cube.config import Config, Plots, SpeciesTable, SurveyConfig
from cube.errors import TableError
from cube.grid import Region
from cube.records import darwincore
from cube.records.geoplant.layout import find_layout
from cube.records.geoplant.metadata import raw_surveys
from cube.records.names import SpeciesNames
from cube.records.raw import RawSurveys
from cube.records.tables import Report, read_table


@dataclass(frozen=True)
class SurveyTable:
    """Surveys of a region and what grew there.

    `surveys`: index 0..n-1, columns survey, longitude, latitude (degrees), x, y (m, EPSG:3035), year, area_m2 (NaN:
    unknown), place, habitat; of GeoPlant also patch_id and series_id. `occurrences`: survey (index into surveys), name,
    cover (percent; NaN: not estimated).
    """

    surveys: pd.DataFrame
    occurrences: pd.DataFrame
    report: Report


def read_surveys(config: Config, source: SurveyConfig, species: SpeciesTable | None, region: Region | None,
                 title: str, key: str) -> SurveyTable:  # fmt: skip
    """Surveys and occurrences of `source`; `key` is its place in the configuration, for messages.

    Left out, counted and named: surveys without a position, outside `region` (which is how a latitude of 58.14 in
    Moravia shows), species ids without a name, covers of zero or less. An area that is missing, infinite or not
    positive becomes NaN and is counted.
    """
    report = Report(title)
    if source.geoplant is not None:
        raw = raw_surveys(find_layout(config.source_path(source.geoplant)), source.splits, report)
    elif source.darwin_core is not None:
        raw = darwincore.raw_surveys(config.source_path(source.darwin_core), report)
    else:
        assert source.plots is not None
        raw = _from_tables(config, source.plots, key, report)
    surveys = _surveys(raw, region, report)
    occurrences = _occurrences(raw, SpeciesNames(config, species, source.geoplant is not None), surveys, report)
    report.kept = {"surveys": len(surveys), "occurrences": len(occurrences),
                   "species": int(occurrences["name"].nunique())}  # fmt: skip
    if surveys.empty:
        raise TableError(f"{raw.path}: no survey is left: " + "; ".join(report.lines()[1:]) + ".")
    return SurveyTable(surveys.drop(columns="key"), occurrences, report)


def _from_tables(config: Config, plots: Plots, key: str, report: Report) -> RawSurveys:
    c = plots.columns
    path = config.source_path(plots.table)
    name_column = c.species or c.species_id
    if name_column is None:
        raise TableError(f"{config.path}: {key}.columns: give 'species' (a name) or 'species_id' (a number).")
    if c.longitude is None or c.latitude is None:
        raise TableError(f"{config.path}: {key}.columns: give 'longitude' and 'latitude' (degrees, WGS 84).")
    ours = {"survey": c.survey, "longitude": c.longitude, "latitude": c.latitude, "year": c.year, "area_m2": c.area_m2,
            "place": c.place, "habitat": c.habitat}  # fmt: skip
    labels = {k: v for k, v in ours.items() if v is not None}
    of_rows = {"survey": c.survey, ("name" if c.species else "species_id"): name_column}
    of_rows |= {"cover": c.cover} if c.cover else {}
    apart = plots.occurrences is not None
    table = read_table(path, [*labels.values()] if apart else [*labels.values(), *of_rows.values()])
    rows = table
    if plots.occurrences is not None:
        rows = read_table(config.source_path(plots.occurrences), [*of_rows.values()])
        twice = table.loc[table.duplicated(c.survey), c.survey]
        report.note("surveys given twice, first kept", list(twice))
    surveys = pd.DataFrame({k: table[v] for k, v in labels.items()})
    occurrences = pd.DataFrame({k: rows[v] for k, v in of_rows.items()})
    for frame in (surveys, occurrences):  # one table may say 1 where the other says "1"
        frame["survey"] = frame["survey"].astype(str)
    return RawSurveys(path, surveys, occurrences, labels, c.place is not None)


def _number(raw: RawSurveys, table: pd.DataFrame, name: str, report: Report) -> pd.Series:
    if name not in table:
        return pd.Series(np.nan, index=table.index)
    numbers = pd.to_numeric(table[name], errors="coerce")
    bad = table[name].notna() & numbers.isna()
    report.note(f"rows with a {raw.labels.get(name, name)} that is not a number", list(table.loc[bad, "survey"]))
    return numbers.astype(float)


def _surveys(raw: RawSurveys, region: Region | None, report: Report) -> pd.DataFrame:
    first = raw.surveys.drop_duplicates("survey")
    out = pd.DataFrame({"key": first["survey"], "survey": first["survey"].astype(str)})
    for name in ("longitude", "latitude", "year"):
        out[name] = _number(raw, first, name, report)
    area = _number(raw, first, "area_m2", report)
    usable = np.isfinite(area) & (area > 0)
    if "area_m2" in first:
        report.note("surveys without a usable area, taken as the median", list(out.loc[~usable, "survey"]))
    out["area_m2"] = area.where(usable)
    out["habitat"] = first["habitat"].astype("string") if "habitat" in first else pd.Series(pd.NA, index=first.index)
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
    if raw.places:
        place = first["place"].astype("string").fillna("survey " + out["survey"])
    else:
        # Without a column for it, surveys in one 50 m cell are of one place.
        cell = np.floor(out[["x", "y"]].fillna(0).to_numpy() / grid.CELL).astype(int)
        place = pd.Series([f"{a}/{b}" for a, b in cell], index=out.index)
    out["place"] = place
    for name in ("patch_id", "series_id"):
        if name in first:
            out[name] = first[name]
    return out[inside].reset_index(drop=True)


def _occurrences(raw: RawSurveys, names: SpeciesNames, surveys: pd.DataFrame, report: Report) -> pd.DataFrame:
    rows = raw.occurrences
    out = pd.DataFrame({"key": rows["survey"], "name": names.of(rows, report)})
    if "cover" in rows:
        out["cover"] = pd.to_numeric(rows["cover"], errors="coerce").astype(float)
        none = out["cover"] <= 0
        report.note("occurrences with a cover of zero or less, skipped",
                    [f"{a}: {b}" for a, b in out.loc[none, ["key", "name"]].itertuples(index=False)])  # fmt: skip
        out = out[~none]
    else:
        out["cover"] = np.nan
    out = out[out["name"].notna()]
    position = pd.Series(surveys.index, index=surveys["key"])
    out = out.assign(survey=out["key"].map(position))
    out = out[out["survey"].notna()].astype({"survey": np.int64})
    # A species may stand in several layers of one survey: once for presence, its covers summed.
    return out.groupby(["survey", "name"], sort=True)["cover"].sum(min_count=1).reset_index()


def species_list(occurrences: pd.DataFrame, min_records: int) -> list[str]:
    """Species in at least `min_records` surveys, by name."""
    counts = occurrences.groupby("name")["survey"].nunique()
    return sorted(str(name) for name in counts[counts >= min_records].index)
