"""GeoPlant's tables of records, streamed: the columns of every year under our own names.

2023 numbers rows (`glcID`), patches and series apart, separated by semicolons; from 2024 on one `surveyId` stands for all
three. Ids and species are stored as floats in places, areas as -inf, and test tables have no species.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pandas as pd

from cube.errors import TableError
from cube.records.geoplant.layout import DataFolder, Layout
from cube.records.raw import RawSurveys
from cube.records.report import Report
from cube.records.tables import PIECE, header, require_columns, stream_table

# Ours <- the first of theirs that a table has.
COLUMNS: Final = {
    "survey": ("surveyId", "glcID"),
    "patch_id": ("patchID", "surveyId", "glcID"),
    "series_id": ("timeSerieID", "surveyId", "glcID"),
    "longitude": ("lon",),
    "latitude": ("lat",),
    "year": ("year",),
    "day_of_year": ("dayOfYear",),
    "area_m2": ("areaInM2",),
    "uncertainty_m": ("geoUncertaintyInM",),
    "species_id": ("speciesId",),
    "subset": ("subset",),
}
REQUIRED: Final = ("lon", "lat")


def metadata_tables(layout: Layout, observations: str, splits: Sequence[str] = ()) -> list[DataFolder]:
    """Tables of PA surveys or PO records that may hold rows of `splits` (all of them where none is given).

    Raises `TableError` where the folder has none.
    """
    tables = [t for t in layout.table("metadata") if (t.observations or _observations(str(t.path))) == observations]
    fitting = [t for t in tables if not splits or not t.split or _in_splits(t.split, splits)]
    if not fitting:
        kind = {"PA": "presence-absence surveys", "PO": "presence-only records"}[observations]
        names = sorted({t.split for t in tables})
        more = f" for {', '.join(splits)} (there are {', '.join(names)})" if names else ""
        raise TableError(f"{layout.folder}: has no table of {kind}{more}; fetch it or change the configuration.")
    return fitting


def _observations(path: str) -> str:
    """PA or PO of a table whose name does not say: only surveys have an area."""
    return "PA" if "areaInM2" in header(path) else "PO"


def _in_splits(split: str, splits: Sequence[str]) -> bool:
    return any(split == s or split.startswith(f"{s}_") for s in splits)


def stream_metadata(
    layout: Layout, observations: str, splits: Sequence[str] = (), report: Report | None = None, piece: int = PIECE
) -> Iterator[pd.DataFrame]:
    """Rows of the tables of `observations` (PA or PO), `piece` at a time, under the names of `COLUMNS`.

    survey, patch_id and series_id are int64, all else float64 (NaN where a table lacks the column or a row the value).
    Rows without an id are left out and noted in `report`.
    """
    for table in metadata_tables(layout, observations, splits):
        path = str(table.path)
        present = header(path)
        require_columns(path, present, REQUIRED)
        names = {column: next((t for t in aliases if t in present), None) for column, aliases in COLUMNS.items()}
        if names["survey"] is None:
            raise TableError(f"{path}: has neither a column surveyId nor glcID; it is no table of GeoPlant.")
        columns = sorted({t for t in names.values() if t})
        for rows in stream_table(path, columns, [t for t in columns if t != names["subset"]], piece, report):
            out = pd.DataFrame({k: rows[t] if t else np.nan for k, t in names.items() if k != "subset"}, index=rows.index)
            has_survey = out["survey"].notna()
            in_splits = rows[names["subset"]].astype(str).isin(splits) if names["subset"] and splits else has_survey | True
            if report is not None:
                account = f"rows of {table.path.name}"
                nameless = [f"{table.path.name} row {i + 1}" for i in out.index[~has_survey]]
                report.leave_out(account, "rows without an id", nameless)
                n_other_splits = int((has_survey & ~in_splits).sum())
                report.leave_out(account, f"rows of other splits than {', '.join(splits)}", [], n_other_splits)
                report.use(account, int((has_survey & in_splits).sum()))
            out = out[has_survey & in_splits].reset_index(drop=True)
            ids = ["survey", "patch_id", "series_id"]
            out[ids] = out[ids].fillna(-1).astype(np.int64)
            yield out


def raw_surveys(layout: Layout, splits: Sequence[str], report: Report) -> RawSurveys:
    """PA surveys of `splits` with their species. One row a survey is kept in memory, and two numbers an occurrence."""
    heads, occurrences = [], []
    for rows in stream_metadata(layout, "PA", splits, report):
        if rows["day_of_year"].notna().any():
            # 2023 numbers rows, not surveys: what was seen on one day in one patch is one survey.
            day = rows[["patch_id", "year", "day_of_year"]].fillna(0).astype(np.int64).astype(str)
            rows["survey"] = day["patch_id"] + "/" + day["year"] + "-" + day["day_of_year"]
        has_species = rows["species_id"].notna()
        report.note("rows without a species, kept as surveys alone", list(rows.loc[~has_species, "survey"]))
        occurrences.append(rows.loc[has_species, ["survey", "species_id"]].astype({"species_id": np.int32}))
        heads.append(rows.drop_duplicates("survey").drop(columns=["day_of_year", "species_id"]))
    surveys = pd.concat(heads, ignore_index=True)
    first = surveys.drop_duplicates("survey", ignore_index=True)
    _note_changes(surveys, first, report)
    occurrences += list(_labels(layout, splits))
    return RawSurveys(
        str(layout.folder),
        first,
        pd.concat(occurrences, ignore_index=True),
        {"area_m2": "areaInM2", "longitude": "lon", "latitude": "lat"},
    )


def _note_changes(surveys: pd.DataFrame, first: pd.DataFrame, report: Report) -> None:
    """Note surveys that stand in several places of the tables under one id but at different positions."""
    repeats = surveys[surveys.duplicated("survey")].merge(first, on="survey", suffixes=("", "_first"))
    has_other_place = (repeats["longitude"] != repeats["longitude_first"]) | (repeats["latitude"] != repeats["latitude_first"])
    report.note("surveys given twice at different positions, first kept", list(repeats.loc[has_other_place, "survey"].unique()))


def _labels(layout: Layout, splits: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Species of test surveys, where a later release gives them in tables of their own (`10 11 12` a survey)."""
    for table in layout.table("labels"):
        if splits and not _in_splits(table.split, splits):
            continue
        for rows in stream_table(str(table.path), ["surveyId", "speciesIds"], ["surveyId"]):
            labelled = rows[rows["speciesIds"].notna() & rows["surveyId"].notna()]
            lists = labelled["speciesIds"].astype(str).str.split()
            out = pd.DataFrame({"survey": labelled["surveyId"].astype(np.int64), "species_id": lists}).explode("species_id")
            yield out.astype({"species_id": np.int32}).reset_index(drop=True)
