"""Tables of surveys as `RawSurveys`: long or wide, ids as text, presences and absences told apart, covers in percent."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Sequence
from typing import Final

import pandas as pd

from cube.config import Config, Plots
from cube.errors import TableError
from cube.records import formats
from cube.records.covers import parse_covers
from cube.records.names import Synonyms
from cube.records.numbers import NAMES, parse_presence, tells_absence
from cube.records.raw import PREDICTOR, RawSurveys
from cube.records.report import MAX_NAMES, Report
from cube.records.scientific import scientific_name
from cube.records.tables import MISSING, header, read_table

NEARLY_ALL: Final = 0.9  # share of all pairs of survey and species that only a table with absences has


def read_plots(config: Config, plots: Plots, key: str, report: Report) -> RawSurveys:
    """Surveys and occurrences of the tables that `plots` names; `key` is its place in the configuration, for messages.

    Rows without a survey's id, absences and empty cells are left out and counted in `report`. Raises `TableError` where a
    column is missing, cells are neither presence nor cover, or where absences seem to be listed and no column says which.
    """
    c = plots.columns
    path = config.source_path(plots.table)
    labels = _labels(config, plots, key)
    has_species_table = plots.occurrences is not None
    species_path = config.source_path(plots.occurrences or plots.table)
    row_account = f"rows of {posixpath.basename(path)}"
    table = read_table(
        path, [*labels.values()], encoding=plots.encoding, report=report if has_species_table else None, account=row_account
    )
    surveys = pd.DataFrame({k: table[v] for k, v in labels.items()})
    surveys["survey"] = survey_ids(surveys["survey"])
    if has_species_table:
        blank = surveys["survey"].isna()
        report.leave_out(row_account, "rows without a survey id", [f"row {i + 1}" for i in surveys.index[blank]])
        twice = ~blank & surveys.duplicated("survey")
        report.leave_out(row_account, "surveys given twice, first kept", list(surveys.loc[twice, "survey"]))
        report.use(row_account, int((~blank & ~twice).sum()))
    surveys = surveys[surveys["survey"].notna()]
    by_place = surveys.drop_duplicates(["survey", "longitude", "latitude"])
    report.note(
        "surveys given at several positions, first kept", list(by_place.loc[by_place.duplicated("survey"), "survey"].unique())
    )
    for name in surveys.columns.difference(["survey", "longitude", "latitude"]):
        by_value = surveys.drop_duplicates(["survey", name])
        several = by_value.loc[by_value.duplicated("survey"), "survey"].unique()
        report.note(f"surveys with several values of '{labels[name]}', first kept", list(several))
    surveys = surveys.drop_duplicates("survey").reset_index(drop=True)
    occurrences = read_occurrences(config, plots, list(labels.values()), key, report)
    _reconcile(surveys, occurrences, path, species_path, report)
    return RawSurveys(
        path,
        surveys,
        occurrences,
        labels,
        c.place is not None,
        c.crs,
        plots.max_unmatched,
        f"{key}.max_unmatched",
        c.predictors_nodata,
    )


def read_occurrences(config: Config, plots: Plots, plot_columns: Sequence[str], key: str, report: Report) -> pd.DataFrame:
    """survey, name or species_id, and cover in percent where the tables have it: what grew in each survey.

    `plot_columns` are columns of the table that are no species. All rows of text are counted in `report` under "rows of
    occurrences"; those that are not returned are left out there with their reason. Errors as `read_plots`.
    """
    read_layout = _wide if plots.layout == "wide" else _long
    return read_layout(config, plots, config.source_path(plots.occurrences or plots.table), plot_columns, key, report)


def survey_ids(column: pd.Series) -> pd.Series:
    """Ids as text, composed and without blanks around them; missing where nothing is left."""
    clean = {v: re.sub(r"\s+", " ", unicodedata.normalize("NFC", str(v))).strip() for v in column.dropna().unique()}
    texts = column.map(clean)
    return texts.mask(texts.isin(MISSING)).astype(object)


def _labels(config: Config, plots: Plots, key: str) -> dict[str, str]:
    """Our names of what a survey has -> the table's columns; positions from the geometry where no column is named."""
    c = plots.columns
    longitude, latitude = c.longitude, c.latitude
    if longitude is None and latitude is None:
        has_points = set(formats.GEOMETRY) <= set(header(config.source_path(plots.table), plots.encoding))
        longitude, latitude = formats.GEOMETRY if has_points else (None, None)
    if longitude is None or latitude is None:
        raise TableError(f"{config.path}: {key}.columns: give 'longitude' and 'latitude' (degrees, or with crs:).")
    columns = c.model_dump(include={"survey", "year", "area_m2", "place", "habitat"}, exclude_none=True)
    columns |= {"longitude": longitude, "latitude": latitude} | {PREDICTOR + name: name for name in c.predictors}
    return columns


def _long(config: Config, plots: Plots, path: str, plot_columns: Sequence[str], key: str, report: Report) -> pd.DataFrame:
    """survey, name or species_id, and cover of a table with a row a survey and species."""
    c = plots.columns
    name_column = c.species or c.species_id
    if name_column is None:
        raise TableError(f"{config.path}: {key}.columns: give 'species' (a name) or 'species_id' (a number).")
    columns = {"survey": c.survey, ("name" if c.species else "species_id"): name_column}
    columns |= {k: v for k, v in (("cover", c.cover), ("presence", c.presence)) if v is not None}
    account = "rows of occurrences"
    hints = [n for n in header(path, plots.encoding) if n not in {*columns.values(), *plot_columns}] if c.presence is None else []
    name_like = [n for n in hints if _normal(n) in NAMES]
    rows = read_table(path, [*columns.values(), *name_like], encoding=plots.encoding, report=report, account=account)
    where = f"{path}: column '{{}}'"
    for column in name_like:
        if tells_absence(column, rows[column]):
            raise TableError(
                f"{where.format(column)} tells presence from absence, and absences would be read as presences; name it in"
                f" {key}.columns (presence: {column}), or remove it from the table."
            )
    out = pd.DataFrame({k: rows[v] for k, v in columns.items()}, copy=False)
    del rows
    out["survey"] = survey_ids(out["survey"])
    if c.presence is None and c.cover is None:
        _refuse_full(out, path, plots, hints, key)
    if c.cover is not None:
        out["cover"] = parse_covers(out["cover"], plots.cover_scale, where.format(c.cover), report, f"{key}.cover_scale")
    if c.presence is not None:
        present = _presence(out["presence"], where.format(c.presence))
        _leave_out(report, account, "rows without presence or absence", out[present.isna()])
        _leave_out(report, account, "absences", out[present == 0], examples=False)
        out = out.drop(columns="presence")[present == 1]
    blank = out["survey"].isna()
    _leave_out(report, account, "rows of occurrences without a survey id", out[blank])
    return (out[~blank] if blank.any() else out).reset_index(drop=True)


def _normal(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _presence(column: pd.Series, where: str) -> pd.Series:
    present = parse_presence(column, where)
    strange = column[present.isna() & column.notna()]
    if len(strange):
        raise TableError(
            f"{where}: '{strange.iloc[0]}' is neither presence nor absence; write 1 and 0, TRUE and FALSE, or present and absent."
        )
    return present


def _refuse_full(rows: pd.DataFrame, path: str, plots: Plots, hints: Sequence[str], key: str) -> None:
    """Refuse a table in which all species stand at all surveys: it lists absences, too."""
    name = "name" if "name" in rows else "species_id"
    pairs = rows[["survey", name]].dropna().drop_duplicates()
    surveys, species = pairs["survey"].nunique(), pairs[name].nunique()
    if min(surveys, species) < 2 or len(pairs) < NEARLY_ALL * surveys * species:
        return
    more = read_table(path, hints, encoding=plots.encoding, report=Report("")) if hints else pd.DataFrame()
    telling = [column for column in hints if tells_absence(column, more[column], any_name=True)]
    if telling or (surveys >= 10 and species >= 5 and len(pairs) == surveys * species):
        example = f"presence: {telling[0]}" if telling else "presence: ..., or cover: ..."
        raise TableError(
            f"{path}: nearly all of {species} species stand at all {surveys} surveys, as where absences are listed, too; name the"
            f" column that tells them apart in {key}.columns ({example})."
        )


def _wide(config: Config, plots: Plots, path: str, plot_columns: Sequence[str], key: str, report: Report) -> pd.DataFrame:
    """survey, name and cover (where cells are covers) of a table with a row a survey and a column a species."""
    c = plots.columns
    present = header(path, plots.encoding)
    columns = _species_columns(config, plots, path, present, {c.survey, *plot_columns}, key)
    table = read_table(path, [c.survey, *columns], encoding=plots.encoding, report=Report(""))
    table = table.rename(columns={c.survey: "survey"})
    table["survey"] = survey_ids(table["survey"])
    account = "cells of surveys and species"
    report.count(account, len(table) * len(columns))
    blank = table["survey"].isna()
    rows = [f"row {i + 1}" for i in table.index[blank]]
    report.leave_out(account, "cells of rows without a survey id", rows, int(blank.sum()) * len(columns))
    long = table[~blank].melt("survey", columns, "name", "cell")
    where = f"{path}: species columns"
    empty = long["cell"].isna() | (long["cell"].astype("string").str.strip() == "").fillna(False)
    if _cells_are_covers(long.loc[~empty, "cell"], plots, where, key):
        long["cover"] = parse_covers(long["cell"], plots.cover_scale, where, report, f"{key}.cover_scale")
        absent = empty | (long["cover"] <= 0)
    else:
        absent = empty | (_presence(long["cell"], where) == 0)
    report.leave_out(account, "absences (0 or empty)", [], int(absent.sum()))
    out = long[~absent].drop(columns="cell").reset_index(drop=True)
    report.use(account, len(out))
    report.count("rows of occurrences", len(out))
    return out


def _cells_are_covers(cells: pd.Series, plots: Plots, where: str, key: str) -> bool:
    if plots.cells is not None or plots.cover_scale is not None:
        return plots.cells != "presence"
    unique = cells.drop_duplicates()
    presence = parse_presence(unique, where)
    numbers = pd.to_numeric(unique.astype("string"), errors="coerce")
    if presence.notna().all() and (numbers.isna() | numbers.isin([0, 1])).all():
        return False
    odd_value = unique[presence.isna() | ~(numbers.isna() | numbers.isin([0, 1]))].iloc[0]
    raise TableError(
        f"{where}: hold '{odd_value}', more than presence and absence; say what the cells are ({key}.cells: cover, with"
        f" cover_scale: for codes, or {key}.cells: presence, where any number above 0 is one)."
    )


def _species_columns(
    config: Config, plots: Plots, path: str, present: Sequence[str], plot_columns: set[str], key: str
) -> list[str]:
    """The species' columns of a wide table: a range, a list, or all that are neither named nor excluded."""
    selection = plots.species_columns
    other_columns = {*plots.not_species, *plot_columns}
    absent = [n for n in plots.not_species if n not in present]
    if isinstance(selection, tuple):
        absent += [n for n in selection if n not in present]
    ends = selection.split(":") if isinstance(selection, str) else []
    absent += [n for n in ends if n and n not in present]
    if absent:
        raise TableError(f"{path}: there is no column '{absent[0]}', which {key} names; correct the name.")
    if isinstance(selection, tuple):
        return [n for n in selection if n not in plots.not_species]
    if ends:
        first = present.index(ends[0]) if ends[0] else 0
        last = present.index(ends[-1]) if ends[-1] else len(present) - 1
        return [n for n in present[first : last + 1] if n not in other_columns]
    species_columns = [n for n in present if n not in other_columns and n not in formats.GEOMETRY]
    synonyms = Synonyms.read(config)
    for column in species_columns:
        if not synonyms.knows(column) and scientific_name(column).kind in ("code", "above"):
            raise TableError(
                f"{path}: column '{column}' is no name of a species; exclude it ({key}.not_species: [{column}]), or give the"
                f" species' columns ({key}.species_columns: First:Last)."
            )
    return species_columns


def _reconcile(surveys: pd.DataFrame, occurrences: pd.DataFrame, path: str, species_path: str, report: Report) -> None:
    """Read `1.0` as `1` where all ids of one of the two tables were saved as decimals and the other's were not."""
    if path == species_path:
        return
    survey_names, with_species = set(surveys["survey"]), set(occurrences["survey"])
    for frame, name, own_ids, other_ids in (
        (surveys, path, survey_names, with_species),
        (occurrences, species_path, with_species, survey_names),
    ):
        if own_ids & other_ids or not own_ids or not all(re.fullmatch(r"\d+\.0", i) for i in own_ids):
            continue
        without_fraction = frame["survey"].str.removesuffix(".0")
        if set(without_fraction) & other_ids:
            report.note(f"ids of {posixpath.basename(name)} saved as decimals, read as whole numbers", list(frame["survey"]))
            frame["survey"] = without_fraction


def _leave_out(report: Report, account: str, reason: str, rows: pd.DataFrame, examples: bool = True) -> None:
    """Leave out `rows`, whose index counts the rows of the table from 0."""
    report.leave_out(account, reason, [f"row {i + 1}" for i in rows.index[: MAX_NAMES if examples else 0]], len(rows))
