"""Darwin Core terms in our words: positions, years, plot areas and species of events and occurrences.

Units and vocabularies: Darwin Core quick reference guide, https://dwc.tdwg.org/terms/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pandas as pd

from cube.errors import TableError
from cube.records.darwincore.archive import KEY, UNDECODABLE, DataFile, open_archive
from cube.records.raw import RawSurveys
from cube.records.tables import PIECE, Report

SQUARE_METRES: Final = {
    **dict.fromkeys(("m2", "m²", "m^2", "sqm", "square metre", "square metres", "square meter", "square meters"), 1.0),
    **dict.fromkeys(("ha", "hectare", "hectares"), 10_000.0),
    **dict.fromkeys(("a", "are", "ares"), 100.0),
    **dict.fromkeys(("km2", "km²", "km^2", "square kilometre", "square kilometres", "square kilometer"), 1e6),
    **dict.fromkeys(("cm2", "cm²", "cm^2", "square centimetre", "square centimetres", "square centimeter"), 1e-4),
}
NOT_OF_NATURE: Final = ("fossilspecimen", "livingspecimen")  # dead long ago, or planted in a garden
PLACE_TERMS: Final = ("decimalLongitude", "decimalLatitude", "coordinateUncertaintyInMeters", "year", "eventDate")
NAME_TERMS: Final = ("species", "acceptedNameUsage", "acceptedScientificName", "genus", "specificEpithet", "scientificName")
STATUS_TERMS: Final = ("occurrenceStatus", "basisOfRecord")
PLOT_TERMS: Final = ("sampleSizeValue", "sampleSizeUnit", "locationID", "habitat")
COVER_TERMS: Final = ("organismQuantity", "organismQuantityType")

_BINOMIAL: Final = re.compile(r"(×?\s?[A-ZÀ-Þ][\w-]+)\s+(×\s?)?([a-zß-ÿ][a-zß-ÿ-]+)(?![\w.])")


def binomial(name: str) -> str | None:
    """Genus and epithet of a scientific name, without authors and ranks below species; None above species.

    `binomial("Fagus sylvatica L.") == "Fagus sylvatica"`, `binomial("Mentha × piperita L.") == "Mentha × piperita"`,
    `binomial("Fagus L.") is None`, `binomial("Carex sp.") is None`.
    """
    match = _BINOMIAL.match(name.strip())
    if match is None:
        return None
    cross = "× " if match[2] else ""
    return f"{match[1]} {cross}{match[3]}"


def _names(rows: pd.DataFrame) -> pd.Series:
    """Binomials: of what GBIF or the publisher accepts, else of genus and epithet, else of the name as it was written."""
    parts = rows["genus"] + " " + rows["specificEpithet"]
    chosen = rows["species"]
    for other in (rows["acceptedNameUsage"], rows["acceptedScientificName"], parts, rows["scientificName"]):
        chosen = chosen.where(chosen.notna(), other)
    # A piece of rows holds far fewer names than rows.
    return chosen.map({name: binomial(name) for name in chosen.dropna().unique()})


def _positions(rows: pd.DataFrame) -> pd.DataFrame:
    """longitude, latitude (degrees), uncertainty_m, year; NaN where not given or no number."""
    out = pd.DataFrame(index=rows.index)
    for ours, theirs in (("longitude", "decimalLongitude"), ("latitude", "decimalLatitude"),
                         ("uncertainty_m", "coordinateUncertaintyInMeters"), ("year", "year")):  # fmt: skip
        out[ours] = pd.to_numeric(rows[theirs], errors="coerce").astype(float)
    # ISO 8601: a day, a month, a year or an interval of them; the year that it began in.
    dated = rows["eventDate"].astype("string").str.extract(r"^\s*(\d{4})(?!\d)")[0]
    out["year"] = out["year"].fillna(pd.to_numeric(dated, errors="coerce").astype(float))
    return out


def _seen(rows: pd.DataFrame, report: Report) -> pd.Series:
    """Which rows are a plant that grew there; the others are noted."""
    status = rows["occurrenceStatus"].astype("string").str.lower().str.strip()
    basis = rows["basisOfRecord"].astype("string").str.lower().str.replace(r"[^a-z]", "", regex=True)
    absent, kept_elsewhere = (status == "absent").fillna(False), basis.isin(NOT_OF_NATURE).fillna(False)
    report.note("occurrences that say absent, skipped", list(rows.loc[absent, KEY]))
    report.note("fossils and living collections, skipped", list(rows.loc[kept_elsewhere & ~absent, KEY]))
    return ~(absent | kept_elsewhere).astype(bool)


def _named(rows: pd.DataFrame, report: Report) -> pd.Series:
    names = _names(rows)
    unnamed = rows[names.isna()]
    told = unnamed["scientificName"].fillna("")
    report.note("occurrences without the name of a species, skipped",
                [f"{k} {n}".strip() for k, n in zip(unnamed[KEY], told, strict=True)])  # fmt: skip
    broken = names.astype("string").str.contains(UNDECODABLE).fillna(False)
    report.note("names with letters that the archive's encoding does not know", list(names[broken]))
    return names


def _areas(rows: pd.DataFrame, report: Report) -> pd.Series:
    """Plot areas in square metres, NaN where the unit is no area."""
    size = pd.to_numeric(rows["sampleSizeValue"], errors="coerce").astype(float)
    unit = rows["sampleSizeUnit"].astype("string").str.lower().str.strip()
    factor = unit.map(SQUARE_METRES).astype(float)
    report.note("sample sizes in a unit that is no area", list(unit[size.notna() & unit.notna() & factor.isna()]))
    return size * factor


def _core_and_occurrences(path: str) -> tuple[DataFile, DataFile, bool]:
    """(core, occurrences, whether the core is one of events)."""
    core, extensions = open_archive(path).files()
    if core.kind == "Occurrence":
        return core, core, False
    occurrences = next((e for e in extensions if e.kind == "Occurrence"), None)
    if core.kind != "Event" or occurrences is None:
        kinds = ", ".join([core.kind, *(e.kind for e in extensions)])
        raise TableError(f"{path}: holds {kinds}; expected a core of Occurrence, or of Event with an extension of Occurrence.")
    return core, occurrences, True


def _require(file: DataFile, path: str, terms: Sequence[str]) -> None:
    for term in terms:
        if term not in file.terms:
            raise TableError(f"{path}: its {file.kind} data have no {term}; export the archive with it.")


def raw_surveys(path: str, report: Report) -> RawSurveys:
    """Events as surveys, with what was seen in them; occurrences of a plain archive are joined by their eventID.

    Raises `TableError` for an archive without positions, or whose occurrences name no event.
    """
    core, occurrences, of_events = _core_and_occurrences(path)
    _require(core, path, ("decimalLongitude", "decimalLatitude"))
    if not of_events:
        _require(core, path, ("eventID",))
    heads, rows = [], []
    for part in core.stream((*PLACE_TERMS, *PLOT_TERMS, "eventID"), report):
        surveys = _positions(part)
        surveys["survey"] = part[KEY] if of_events else part["eventID"]
        surveys["area_m2"] = _areas(part, report)
        surveys["place"], surveys["habitat"] = part["locationID"], part["habitat"]
        nameless = surveys["survey"].isna()
        report.note("rows without an event, skipped", list(part.loc[nameless, KEY]))
        heads.append(surveys[~nameless].drop_duplicates("survey"))
    for part in occurrences.stream((*NAME_TERMS, *STATUS_TERMS, *COVER_TERMS, "eventID"), report):
        part = part[_seen(part, report)]
        kind = part["organismQuantityType"].astype("string").str.lower()
        percent = kind.str.contains("%|percent|cover").fillna(False)
        cover = pd.to_numeric(part["organismQuantity"], errors="coerce").where(percent).astype(float)
        survey = part[KEY] if of_events else part["eventID"]
        rows.append(pd.DataFrame({"survey": survey, "name": _named(part, report), "cover": cover}).dropna(subset="survey"))
    surveys = pd.concat(heads, ignore_index=True).drop_duplicates("survey", ignore_index=True)
    labels = {"longitude": "decimalLongitude", "latitude": "decimalLatitude", "area_m2": "sampleSizeValue"}
    return RawSurveys(path, surveys, pd.concat(rows, ignore_index=True), labels, bool(surveys["place"].notna().any()))


def stream_records(path: str, report: Report, piece: int = PIECE) -> Iterator[pd.DataFrame]:
    """Presence-only records: record, name, longitude, latitude, year, uncertainty_m, `piece` rows at a time.

    Events, where occurrences have their position from them, are kept in memory; occurrences never are.
    """
    core, occurrences, of_events = _core_and_occurrences(path)
    _require(core, path, ("decimalLongitude", "decimalLatitude"))
    events: pd.DataFrame | None = None
    if of_events:
        parts = [_positions(part).set_index(part[KEY]) for part in core.stream(PLACE_TERMS, report, piece)]
        events = pd.concat(parts)
        events = events[~events.index.duplicated()]
    for part in occurrences.stream((*NAME_TERMS, *STATUS_TERMS, *PLACE_TERMS, "occurrenceID"), report, piece):
        part = part[_seen(part, report)]
        out = _positions(part)
        if events is not None:
            # An occurrence may say better than its event where it was.
            own = out[["longitude", "latitude"]].notna().all(axis=1)
            of_event = events.reindex(part[KEY]).set_axis(out.index)
            out[["longitude", "latitude", "uncertainty_m"]] = out[["longitude", "latitude", "uncertainty_m"]].where(
                own, of_event[["longitude", "latitude", "uncertainty_m"]], axis=0
            )
            out["year"] = out["year"].fillna(of_event["year"])
        out["record"] = part["occurrenceID"].where(part["occurrenceID"].notna(), part[KEY])
        out["name"] = _named(part, report)
        yield out[out["name"].notna()].replace({np.inf: np.nan, -np.inf: np.nan}).reset_index(drop=True)
