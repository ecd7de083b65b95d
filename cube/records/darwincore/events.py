"""Sampling events as surveys: which of them are one, and what was seen in it."""

from __future__ import annotations

from typing import Final

import pandas as pd

from cube.errors import TableError
from cube.records.darwincore.observations import (
    COVER_TERMS,
    NAME_TERMS,
    PLACE_TERMS,
    PLOT_TERMS,
    areas,
    covers,
    from_above,
    positions,
    use_named,
    use_presences,
    with_names,
)
from cube.records.darwincore.source import (
    Source,
    Statement,
    accepted_names,
    common_scope,
    inherited,
    open_source,
    read_statements,
)
from cube.records.darwincore.table import KEY
from cube.records.darwincore.vocabulary import STATUS_TERMS
from cube.records.raw import RawSurveys
from cube.records.report import Report

EVENTS: Final = "events of the archive"
OCCURRENCES: Final = "occurrences of the archive"


def raw_surveys(path: str, report: Report) -> RawSurveys:
    """Events as surveys, with what was seen in them; occurrences of a plain archive are joined by their eventID.

    An event that only groups others is no survey, and neither is one that states an incomplete list, a list of another
    scope than the other surveys, or nothing where others state a complete list: what they do not name may have been there.
    Where no event states anything, the configuration does, which calls them surveys: they are taken as complete, and
    counted. Raises `TableError` for an archive without positions, or whose occurrences name no event.
    """
    source = open_source(path)
    source.require(source.places, ("decimalLongitude", "decimalLatitude"))
    if source.events is None:
        source.require(source.occurrences, ("eventID",))
    events = _events(source, report)
    rows, events_with_species = _occurrences(source, report)
    surveys = _surveys(source, events, events_with_species, report)
    if surveys.empty:
        raise TableError(
            f"{path}: no event is a survey ({', '.join(report.reasons())}); give an archive whose events state complete lists."
        )
    in_surveys = rows["survey"].isin(surveys["survey"])
    report.leave_out(OCCURRENCES, "occurrences of events that are no survey", list(rows.loc[~in_surveys, "survey"]))
    report.use(OCCURRENCES, int(in_surveys.sum()))
    report.use(EVENTS, len(surveys))
    labels = {"longitude": "decimalLongitude", "latitude": "decimalLatitude", "area_m2": "sampleSizeValue"}
    return RawSurveys(path, surveys, rows[in_surveys].reset_index(drop=True), labels, bool(surveys["place"].notna().any()))


def _events(source: Source, report: Report) -> pd.DataFrame:
    """Events, a row each: event (the index), parent, longitude, latitude, uncertainty_m, year, area_m2, place, habitat."""
    parts = []
    account = None if source.events is None else EVENTS
    for part in source.places.stream((*PLACE_TERMS, *PLOT_TERMS), report, account):
        event = part["eventID"] if source.events is None else part[KEY]
        nameless = event.isna()
        if account is not None:
            report.leave_out(account, "events without an id", list(part.index[nameless] + 1))
        part = part.assign(event=event)[~nameless]
        if account is None:
            part = part.drop_duplicates("event")
        rows = positions(part, report).assign(event=part["event"], parent=part["parentEventID"])
        parts.append(rows.assign(area_m2=areas(part, report), place=part["locationID"], habitat=part["habitat"]))
    events = pd.concat(parts, ignore_index=True)
    is_repeat = events.duplicated("event")
    if account is None:
        report.count(EVENTS, int((~is_repeat).sum()))
    else:
        report.leave_out(EVENTS, "events given twice, first used", list(events.loc[is_repeat, "event"]))
    events = events[~is_repeat].set_index("event")
    out = from_above(events, events["parent"])
    # The area of a plot is not that of the plots within it.
    return out.assign(parent=events["parent"], area_m2=events["area_m2"])


def _occurrences(source: Source, report: Report) -> tuple[pd.DataFrame, set[str]]:
    """(survey, name, cover of every presence, the events that have occurrences of any status)."""
    names = accepted_names(source, report)
    parts: list[pd.DataFrame] = []
    events_with_species: set[str] = set()
    terms = dict.fromkeys((*NAME_TERMS, *STATUS_TERMS, *COVER_TERMS, "eventID", "occurrenceID"))
    for part in source.occurrences.stream(tuple(terms), report, OCCURRENCES):
        part = with_names(part, names)
        part = part.assign(survey=part["eventID"] if source.events is None else part[KEY])
        has_no_survey = part["survey"].isna()
        report.leave_out(OCCURRENCES, "occurrences without an event", list(part.loc[has_no_survey, "occurrenceID"]))
        part = part[~has_no_survey]
        events_with_species |= set(part["survey"].unique())
        part = use_named(use_presences(part, report, OCCURRENCES), report, OCCURRENCES)
        parts.append(part[["survey", "name"]].assign(cover=covers(part, report)))
    return pd.concat(parts, ignore_index=True), events_with_species


def _surveys(source: Source, events: pd.DataFrame, events_with_species: set[str], report: Report) -> pd.DataFrame:
    """The events that are surveys; the others are left out with their reason."""
    parents = events["parent"].dropna()
    statements = inherited(read_statements(source, report), dict(events["parent"]))
    scope = common_scope(statements.values())
    above = set(parents)
    with_list = pd.Series(events.index.isin(list(events_with_species)), index=events.index)
    of_list = events["parent"].isin(list(events_with_species))
    reasons = pd.Series("", index=events.index, dtype=object)
    for event in events.index:
        statement = statements.get(event, Statement())
        if not with_list[event] and event in above:
            reasons[event] = "events that only group others"
        elif not with_list[event] and of_list[event] and not statement.complete:
            reasons[event] = "parts of a survey without occurrences of their own"
        elif statement.incomplete and not statement.complete:
            reasons[event] = "events that state an incomplete list"
        elif statement.complete and statement.scope != scope:
            reasons[event] = f"events whose list is complete for {_names(statement.scope)} alone"
        elif statements and event not in statements:
            reasons[event] = "events that state nothing of their list, where others state a complete one"
    for reason in dict.fromkeys(reasons[reasons != ""]):
        report.leave_out(EVENTS, reason, list(events.index[reasons == reason]))
    usable = events[reasons == ""]
    silent = list(usable.index) if not statements else []
    report.note("surveys that do not state whether their list is complete, taken as complete", silent)
    empty = [event for event in usable.index if not with_list[event]]
    report.note("surveys without any occurrence, taken as empty lists", empty)
    return usable.drop(columns=["parent", "uncertainty_m"]).rename_axis("survey").reset_index()


def _names(scope: frozenset[str]) -> str:
    first = sorted(scope)
    return ", ".join(first[:3]) + (", ..." if len(first) > 3 else "")
