"""Surveys of a region and what grew there, from tables, GeoPlant or Darwin Core; what cannot be used is left out and named."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from cube.config import Config, SpeciesTable, SurveyConfig
from cube.errors import TableError
from cube.grid import CELL, EUROPE, Region
from cube.records import darwincore
from cube.records.coordinates import positions, where_they_lie, without_place
from cube.records.geoplant.layout import find_layout
from cube.records.geoplant.metadata import raw_surveys
from cube.records.names import SpeciesNames
from cube.records.numbers import parse_numbers
from cube.records.plots import read_plots
from cube.records.raw import PREDICTOR, RawSurveys
from cube.records.report import Report
from cube.records.years import years

FILL: Final = -9999.0  # numbers from here down often stand for no data


@dataclass(frozen=True)
class SurveyTable:
    """Surveys of a region and what grew there.

    `surveys`: index 0..n-1, columns survey, longitude, latitude (degrees), x, y (m of the grid), year, area_m2 (NaN:
    unknown), place, habitat; of GeoPlant also patch_id and series_id, of tables each predictor (`predictors_of`).
    `occurrences`: survey (index into surveys), name, cover (percent; NaN: not estimated).
    """

    surveys: pd.DataFrame
    occurrences: pd.DataFrame
    report: Report


def read_surveys(
    config: Config, source: SurveyConfig, species: SpeciesTable | None, region: Region | None, title: str, key: str
) -> SurveyTable:
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
        raw = read_plots(config, source.plots, key, report)
    surveys = _surveys(raw, region, report)
    if surveys.empty:
        if raw.surveys.empty:
            raise TableError(f"{raw.path}: no survey is left: the table has no rows.")
        cause = ""
        if region is not None:
            places = positions(raw.surveys, raw.path, Report(""), raw.crs)
            cause = f"; {where_they_lie(places['longitude'], places['latitude'], region)}"
        raise TableError(f"{raw.path}: no survey is left: {'; '.join(report.reasons())}{cause}.")
    occurrences = _occurrences(raw, SpeciesNames(config, species, source.geoplant is not None), surveys, report)
    report.check()
    report.totals = {"surveys": len(surveys), "occurrences": len(occurrences), "species": int(occurrences["name"].nunique())}
    return SurveyTable(surveys.drop(columns="key"), occurrences, report)


def _number(raw: RawSurveys, table: pd.DataFrame, name: str, report: Report) -> pd.Series:
    if name not in table:
        return pd.Series(np.nan, index=table.index)
    label = raw.labels.get(name, name)
    numbers = parse_numbers(table[name], f"{raw.path}: column '{label}'", report, label)
    _note_no_number(raw, table, name, numbers, report)
    return numbers


def _note_no_number(raw: RawSurveys, table: pd.DataFrame, name: str, numbers: pd.Series, report: Report) -> None:
    bad = table[name].notna() & numbers.isna()
    report.note(f"rows with a {raw.labels.get(name, name)} that is not a number", list(table.loc[bad, "survey"]))


def predictors_of(surveys: pd.DataFrame) -> list[str]:
    """The columns of a table of surveys that are predictors, in the order in which the configuration names them."""
    return [name for name in map(str, surveys) if name.startswith(PREDICTOR)]


def _predictor(raw: RawSurveys, first: pd.DataFrame, name: str, report: Report) -> pd.Series:
    """Values of a predictor, NaN where there are none. Raises `TableError` for a column without any number."""
    values = _number(raw, first, name, report)
    valid = np.isfinite(values) & ~values.isin(raw.nodata)
    label = raw.labels[name]
    if not valid.any():
        raise TableError(
            f"{raw.path}: column '{label}' holds no number, and columns.predictors names it; name another column, or correct"
            " predictors_nodata."
        )
    report.note(f"surveys without a value of the predictor '{label}'", list(first.loc[~valid, "survey"].astype(str)))
    low = valid & (values <= FILL)
    report.note(
        f"surveys whose predictor '{label}' is {FILL:g} or lower; if that means no data, name the number in predictors_nodata",
        list(first.loc[low, "survey"].astype(str)),
    )
    return values.where(valid)


def _refuse_hectares(raw: RawSurveys, first: pd.DataFrame, area: pd.Series) -> None:
    """Refuse sizes of plots that are hectares by their column's name or their cells, or no numbers at all."""
    areas = first["area_m2"].dropna() if "area_m2" in first else pd.Series(dtype=object)
    label = raw.labels.get("area_m2", "area_m2")
    hectares = re.search(r"(^|[\W_])(ha|hectares?)($|[\W_])", label, re.IGNORECASE) is not None
    if len(areas) and (hectares or area[areas.index].isna().all()):
        cause = "holds hectares by its name" if hectares else f"holds no number (the first cell is '{areas.iloc[0]}')"
        raise TableError(
            f"{raw.path}: column '{label}' {cause}; area_m2 takes square metres as numbers, 10,000 to a hectare: convert it, or"
            " remove area_m2 from the columns."
        )


def _surveys(raw: RawSurveys, region: Region | None, report: Report) -> pd.DataFrame:
    first = raw.surveys.drop_duplicates("survey")
    report.count("surveys", len(first))
    out = pd.DataFrame({"key": first["survey"], "survey": first["survey"].astype(str)})
    labels = (raw.labels.get("longitude", "longitude"), raw.labels.get("latitude", "latitude"))
    out[["longitude", "latitude"]] = positions(first, raw.path, report, raw.crs, region, labels)
    for name in ("longitude", "latitude"):
        _note_no_number(raw, first, name, out[name], report)
    out["year"] = years(first["year"], out["survey"], report) if "year" in first else np.nan
    area = _number(raw, first, "area_m2", report)
    _refuse_hectares(raw, first, area)
    usable = np.isfinite(area) & (area > 0)
    if "area_m2" in first:
        report.note("surveys without a usable area, taken as the median", list(out.loc[~usable, "survey"]))
    out["area_m2"] = area.where(usable)
    out["habitat"] = first["habitat"].astype("string") if "habitat" in first else pd.Series(pd.NA, index=first.index)
    has_place = ~without_place(out, "survey", "surveys", report)
    out["x"], out["y"] = np.nan, np.nan
    grid = EUROPE if region is None else region.grid
    x, y = grid.project(out.loc[has_place, "longitude"].to_numpy(), out.loc[has_place, "latitude"].to_numpy())
    out.loc[has_place, "x"], out.loc[has_place, "y"] = x, y
    inside = has_place.copy()
    if region is not None:
        inside &= pd.Series(region.contains(out["x"].to_numpy(), out["y"].to_numpy()), index=out.index)
        outside = out[has_place & ~inside]
        report.leave_out(
            "surveys",
            "surveys outside the region",
            [f"{r.survey} at {r.longitude:g} E {r.latitude:g} N" for r in outside.itertuples()],
        )
    if raw.places:
        place = first["place"].astype("string").fillna("survey " + out["survey"])
    else:
        # Without a column for it, surveys in one 50 m cell are of one place.
        cell = np.floor(out[["x", "y"]].fillna(0).to_numpy() / CELL).astype(int)
        place = pd.Series([f"{a}/{b}" for a, b in cell], index=out.index)
    out["place"] = place
    for name in ("patch_id", "series_id"):
        if name in first:
            out[name] = first[name]
    for name in predictors_of(first):
        out[name] = _predictor(raw, first, name, report)
    report.use("surveys", int(inside.sum()))
    return out[inside].reset_index(drop=True)


def _occurrences(raw: RawSurveys, names: SpeciesNames, surveys: pd.DataFrame, report: Report) -> pd.DataFrame:
    rows, account = raw.occurrences, "rows of occurrences"
    if account not in report.tallies:
        report.count(account, len(rows))
    out = pd.DataFrame({"key": rows["survey"], "name": names.of_rows(rows, report)})
    out["cover"] = rows["cover"].astype(float) if "cover" in rows else np.nan
    orphan = ~out["key"].isin(set(raw.surveys["survey"]))
    _refuse_unmatched(raw, out.loc[orphan, "key"], len(out))
    report.leave_out(
        account, "occurrences that match no survey", list(out.loc[orphan, "key"].drop_duplicates()), int(orphan.sum())
    )
    out = out[~orphan]
    none = out["cover"] <= 0
    report.leave_out(
        account,
        "occurrences with a cover of zero or less",
        [f"{a}: {b}" for a, b in out.loc[none, ["key", "name"]].itertuples(index=False)],
    )
    out = out[~none]
    nameless = out["name"].isna()
    report.leave_out(account, "occurrences without the name of a species", [], int(nameless.sum()))
    out = out[~nameless]
    position = pd.Series(surveys.index, index=surveys["key"])
    out = out.assign(survey=out["key"].map(position))
    has_no_survey = out["survey"].isna()
    report.leave_out(account, "occurrences of surveys that are left out", [], int(has_no_survey.sum()))
    out = out[~has_no_survey].astype({"survey": np.int64})
    report.use(account, len(out))
    is_repeat = out.duplicated(["survey", "name"])
    report.note("rows of a species that its survey has already, covers summed", [], int(is_repeat.sum()))
    # A species may stand in several layers of one survey: once for presence, its covers summed.
    return out.groupby(["survey", "name"], sort=True)["cover"].sum(min_count=1).reset_index()


def _refuse_unmatched(raw: RawSurveys, orphans: pd.Series, rows: int) -> None:
    """Refuse occurrences too many of which match no survey, with the likely cause."""
    if len(orphans) <= raw.max_unmatched * rows:
        return
    ids = set(raw.surveys["survey"].astype(str))
    orphan_id, survey_id = str(orphans.iloc[0]), str(next(iter(raw.surveys["survey"]), ""))

    def alike(change: Callable[[str], str]) -> bool:
        changed_ids = {change(i) for i in ids}
        return sum(change(str(i)) in changed_ids for i in orphans) > 0.5 * len(orphans)

    if alike(lambda i: i.lstrip("0")):
        cause = "they differ in leading zeros; write the ids alike in both tables"
    elif alike(lambda i: i.removesuffix(".0")):
        cause = "some were saved as decimals; write the ids alike in both tables"
    elif alike(str.casefold):
        cause = "they differ in capitals; write the ids alike in both tables"
    else:
        cause = f"check the column of ids (columns.survey) in both tables, or allow more ({raw.key})"
    raise TableError(
        f"{raw.path}: {len(orphans):,} of {rows:,} occurrences match no survey (such as '{orphan_id}', where surveys are such as"
        f" '{survey_id}'): {cause}."
    )


def species_list(occurrences: pd.DataFrame, min_records: int) -> list[str]:
    """Species in at least `min_records` surveys, by name."""
    counts = occurrences.groupby("name")["survey"].nunique()
    return sorted(str(name) for name in counts[counts >= min_records].index)
