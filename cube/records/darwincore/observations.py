"""Darwin Core terms in our words: names, positions, years and covers of events and occurrences.

Units and vocabularies: Darwin Core quick reference guide, https://dwc.tdwg.org/terms/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import pandas as pd

from cube.records.covers import SCALES, read_percent
from cube.records.darwincore.source import Source, accepted_names, open_source
from cube.records.darwincore.table import KEY, UNDECODABLE
from cube.records.darwincore.vocabulary import STATUS_TERMS, is_percent, not_a_presence, square_metres, word
from cube.records.numbers import parse_numbers, uncertainties
from cube.records.report import Report
from cube.records.scientific import binomial
from cube.records.tables import PIECE, keep_where
from cube.records.years import years

PLACE_TERMS: Final = (
    "decimalLongitude",
    "decimalLatitude",
    "coordinateUncertaintyInMeters",
    "year",
    "eventDate",
    "geodeticDatum",
)
NAME_TERMS: Final = ("species", "acceptedNameUsage", "acceptedScientificName", "genus", "specificEpithet", "scientificName")
PLOT_TERMS: Final = ("sampleSizeValue", "sampleSizeUnit", "locationID", "habitat", "eventID", "parentEventID")
COVER_TERMS: Final = ("organismQuantity", "organismQuantityType")
RECORDS: Final = "records"  # the account of a report that records are counted under

_WGS84: Final = re.compile(
    r"wgs ?_?(19)?84|epsg:? ?(4326|4258|4979)|etrs ?(19)?89|crs:?84|world geodetic system 1984|unknown|not recorded",
    re.IGNORECASE,
)


def species_names(rows: pd.DataFrame) -> pd.Series:
    """Binomials: of what GBIF or the publisher accepts, else of genus and epithet, else of the name as it was written."""
    parts = rows["genus"] + " " + rows["specificEpithet"]
    names = rows["species"]
    for further_names in (rows["acceptedNameUsage"], rows["acceptedScientificName"], parts, rows["scientificName"]):
        names = names.where(names.notna(), further_names)
    # A piece of rows holds far fewer names than rows.
    return names.map({name: binomial(name) for name in names.dropna().unique()})


def positions(rows: pd.DataFrame, report: Report) -> pd.DataFrame:
    """longitude, latitude (degrees), uncertainty_m, year; NaN where not given or unusable. `rows`: `PLACE_TERMS`, key."""
    out = pd.DataFrame(index=rows.index)
    for column, term in (("longitude", "decimalLongitude"), ("latitude", "decimalLatitude")):
        out[column] = parse_numbers(rows[term], term, report, term, small=True)
    out["uncertainty_m"] = uncertainties(rows["coordinateUncertaintyInMeters"], rows[KEY], report)
    out["year"] = years(rows["year"], rows[KEY], report)
    unknown = out["year"].isna()
    out.loc[unknown, "year"] = years(rows.loc[unknown, "eventDate"], rows.loc[unknown, KEY], report)
    different = rows["geodeticDatum"].dropna().unique()
    other_datums = [
        datum for datum in different if not _WGS84.search(str(datum)) and str(datum).lower() not in ("unknown", "not recorded")
    ]
    in_other_datum = rows["geodeticDatum"].isin(other_datums) & out["longitude"].notna()
    report.note("positions in another geodetic datum, taken as WGS 84", list(rows.loc[in_other_datum, "geodeticDatum"]))
    return out


def use_presences(rows: pd.DataFrame, report: Report, account: str) -> pd.DataFrame:
    """The rows that are a plant that grew there; the others are left out of `account`, with their reason."""
    reasons = not_a_presence(rows)
    for reason in dict.fromkeys(reasons[reasons != ""]):
        report.leave_out(account, reason, list(rows.loc[reasons == reason, KEY]))
    return rows[reasons == ""]


def use_named(rows: pd.DataFrame, report: Report, account: str) -> pd.DataFrame:
    """The rows with the name of a species, in a column `name`; the others are left out of `account`."""
    names = species_names(rows)
    unnamed = rows[names.isna()]
    name_texts = unnamed["scientificName"].fillna("")
    report.leave_out(
        account,
        "occurrences without the name of a species",
        [f"{k} {n}".strip() for k, n in zip(unnamed[KEY], name_texts, strict=True)],
    )
    is_undecodable = names.astype("string").str.contains(UNDECODABLE).fillna(False)
    report.note("names with letters that the archive's encoding does not know", list(names[is_undecodable]))
    return rows.assign(name=names)[names.notna()]


def areas(rows: pd.DataFrame, report: Report) -> pd.Series:
    """Plot areas in square metres, NaN where the unit is no area."""
    size = parse_numbers(rows["sampleSizeValue"], "sampleSizeValue", report, "sampleSizeValue")
    unit = rows["sampleSizeUnit"]
    factor = unit.map({u: square_metres(u) for u in unit.dropna().unique()}).astype(float)
    report.note("sample sizes in a unit that is no area", list(unit[size.notna() & unit.notna() & factor.isna()]))
    report.note("sample sizes without a unit, area taken as unknown", list(rows.loc[size.notna() & unit.isna(), KEY]))
    return size * factor


def covers(rows: pd.DataFrame, report: Report) -> pd.Series:
    """Covers in percent, of percents and of codes of a scale that the type names; NaN for other quantities, which are noted."""
    kind, quantity = rows["organismQuantityType"].fillna("no type"), rows["organismQuantity"]
    out = pd.Series(np.nan, index=rows.index)
    for name in kind[quantity.notna()].unique():
        quantities = quantity[quantity.notna() & (kind == name)]
        scale = next((SCALES[s] for s in SCALES if word(s) in word(name)), None)
        if scale is not None:
            out[quantities.index] = quantities.str.lower().map(scale).astype(float)
        elif is_percent(name):
            numbers = parse_numbers(quantities, "organismQuantity", report, "organismQuantity", small=True)
            percents = {text: read_percent(text) for text in quantities[numbers.isna()].unique()}
            out[quantities.index] = numbers.where(numbers.notna(), quantities.map(percents).astype(float))
        n_unreadable = int(out[quantities.index].isna().sum())
        report.note(f"quantities of {name}, which are no percent: cover taken as unknown", [], n_unreadable)
    return out


def with_names(part: pd.DataFrame, names: pd.Series | None) -> pd.DataFrame:
    """Occurrences with the scientific name of their identification, where they have none and a package keeps names apart."""
    if names is None:
        return part
    name = part["scientificName"]
    return part.assign(scientificName=name.where(name.notna(), part["occurrenceID"].map(names)))


def stream_records(
    path: str, report: Report, piece: int = PIECE, where: Mapping[str, tuple[str, ...]] | None = None
) -> Iterator[pd.DataFrame]:
    """Presence-only records: record, name, longitude, latitude, year, uncertainty_m, `piece` rows at a time.

    `where` keeps the rows whose terms have one of the values. Rows are counted and left out under the account `RECORDS` of
    `report`; those of a chunk are still to be used or left out. Events, where occurrences have their position from them,
    are kept in memory; occurrences never are.
    """
    where = where or {}
    source = open_source(path)
    source.require(source.places, ("decimalLongitude", "decimalLatitude"))
    source.require(source.occurrences, tuple(where))
    names = accepted_names(source, report)
    places = None if source.events is None else event_places(source, report, piece)
    terms = dict.fromkeys((*NAME_TERMS, *STATUS_TERMS, *PLACE_TERMS, "occurrenceID", *where))
    for part in source.occurrences.stream(tuple(terms), report, RECORDS, piece):
        part = keep_where(with_names(part, names), where, part[KEY], report, RECORDS)
        part = use_named(use_presences(part, report, RECORDS), report, RECORDS)
        out = positions(part, report)
        if places is not None:
            # An occurrence may say better than its event where it was.
            in_degrees = out[["longitude", "latitude"]].notna().all(axis=1)
            of_event = places.reindex(part[KEY]).set_axis(out.index)
            position_columns = ["longitude", "latitude", "uncertainty_m"]
            out[position_columns] = out[position_columns].where(in_degrees, of_event[position_columns], axis=0)
            out["year"] = out["year"].fillna(of_event["year"])
        out["record"] = part["occurrenceID"].where(part["occurrenceID"].notna(), part[KEY])
        out["name"] = part["name"]
        yield out.replace({np.inf: np.nan, -np.inf: np.nan}).reset_index(drop=True)


def event_places(source: Source, report: Report, piece: int = PIECE) -> pd.DataFrame:
    """longitude, latitude, uncertainty_m and year by event; what an event does not say is that of the nearest above it."""
    assert source.events is not None
    parts = []
    for part in source.events.stream((*PLACE_TERMS, "parentEventID"), report, None, piece):
        parts.append(positions(part, report).assign(event=part[KEY], parent=part["parentEventID"]))
    events = pd.concat(parts).dropna(subset="event").drop_duplicates("event").set_index("event")
    return from_above(events, events["parent"])


def from_above(events: pd.DataFrame, parent: pd.Series) -> pd.DataFrame:
    """`events` (by event) with positions, years and what else is missing filled from their parents, and theirs in turn."""
    out = events
    above = parent
    for _ in range(20):  # deep enough for any nesting, and an end where events are their own ancestors
        above = above.where(above.isin(events.index))
        if above.isna().all():
            break
        event_values = events.reindex(above).set_axis(out.index)
        has_place = out[["longitude", "latitude"]].notna().all(axis=1)
        together = ["longitude", "latitude", "uncertainty_m"]
        complete = out.fillna(event_values)
        complete[together] = out[together].where(has_place, event_values[together], axis=0)
        out = complete
        above = above.map(parent)
    return out
