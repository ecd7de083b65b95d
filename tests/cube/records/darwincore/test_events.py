"""Sampling events are surveys where the data say that their lists are complete; absences follow, and every row is counted."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cube.records.darwincore import raw_surveys, stream_records
from cube.records.darwincore.events import EVENTS, OCCURRENCES
from cube.records.report import Report
from tests.support.darwincore import archive, section

ECO = "http://rs.tdwg.org/eco/terms/"
EVENT = ["parentEventID", "decimalLongitude", "decimalLatitude", "eventDate", "sampleSizeValue", "sampleSizeUnit", "locationID"]
SEEN = ["scientificName", "occurrenceStatus", "individualCount", "organismQuantity", "organismQuantityType"]
HUMBOLDT = [ECO + "isTaxonomicScopeFullyReported", ECO + "targetTaxonomicScope", ECO + "isAbsenceReported"]


def lines(*rows: str) -> bytes:
    return ("\n".join(["header", *(row.replace(" | ", "\t") for row in rows)]) + "\n").encode()


def event_core(folder: Path, events: bytes, seen: bytes, humboldt: bytes | None = None) -> str:
    sections = [section("core", "Event", ["event.txt"], EVENT), section("extension", "Occurrence", ["occ.txt"], SEEN)]
    files = {"event.txt": events, "occ.txt": seen}
    if humboldt is not None:
        sections.append(section("extension", "", ["humboldt.txt"], HUMBOLDT, row_type=ECO + "Event"))
        files["humboldt.txt"] = humboldt
    return archive(folder, sections, files)


EVENTS_OF_PLOTS = lines(
    "site |  | 16.60 | 49.20 | 2015 | 10000 | m2 | site",
    "a | site |  |  | 2015-06-01 | 0,25 | hectare | pa",
    "b | site | 16.61 | 49.21 |  | 100 | Square Metre | pb",
    "c | site | 16.62 | 49.22 | 2016 |  |  | pc",
    "a | site | 16.60 | 49.20 | 2015 | 1 | m2 | pa",
)
SEEN_IN_PLOTS = lines(
    "a | Fagus sylvatica L. | present | 3 | 40 | % cover",
    "a | Abies alba Mill. | ABSENT |  |  | ",
    "a | Acer campestre | present | 0 |  | ",
    "b | Abies alba Mill. | notDetected |  |  | ",
    "b | Fagus sylvatica L. |  |  | 2a | Braun-Blanquet cover scale",
    "b | Picea abies | doubtful |  |  | ",
    "c | Carex sp. | present |  |  | ",
)


def test_nested_events_give_their_position_and_are_no_surveys(tmp_path: Path) -> None:
    report = Report("surveys")
    raw = raw_surveys(event_core(tmp_path, EVENTS_OF_PLOTS, SEEN_IN_PLOTS), report)
    assert list(raw.surveys["survey"]) == ["a", "b", "c"]
    np.testing.assert_array_equal(raw.surveys["longitude"], [16.60, 16.61, 16.62])
    np.testing.assert_array_equal(raw.surveys["year"], [2015, 2015, 2016])
    np.testing.assert_array_equal(raw.surveys["area_m2"], [2500, 100, np.nan])  # not that of the site
    assert list(raw.occurrences["name"]) == ["Fagus sylvatica", "Fagus sylvatica"]
    np.testing.assert_array_equal(raw.occurrences["cover"], [40, 10])  # 2a is 5 to 15 %
    events, occurrences = report.tallies[EVENTS], report.tallies[OCCURRENCES]
    assert (events.read, events.used) == (5, 3)
    assert events.left_out == {"events given twice, first used": 1, "events that only group others": 1}
    assert (occurrences.read, occurrences.used) == (7, 2)
    assert occurrences.left_out == {
        "occurrences that say absent": 2,
        "occurrences with a count or quantity of zero": 1,
        "occurrences with a status that is neither present nor absent": 1,
        "occurrences without the name of a species": 1,
    }
    report.check()
    assert report.remarks["surveys that do not state whether their list is complete, taken as complete"][0] == 3


def test_lists_that_are_stated_incomplete_or_of_another_scope_are_no_surveys(tmp_path: Path) -> None:
    events = lines(*(f"{name} |  | 16.6 | 49.2 | 2015 | 1 | m2 | " for name in "abcdef"))
    seen = lines(*(f"{name} | Fagus sylvatica | present |  |  | " for name in "abcdef"))
    humboldt = lines(
        "a | true | Plantae | ",
        "b | TRUE | Tracheophyta | true",
        "c | false | Plantae | ",
        "d | true | Orchidaceae | ",
        "f | t |  | false",
    )
    report = Report("surveys")
    raw = raw_surveys(event_core(tmp_path, events, seen, humboldt), report)
    report.check()
    assert list(raw.surveys["survey"]) == ["a", "b", "f"]
    assert list(raw.occurrences["survey"]) == ["a", "b", "f"]
    assert report.tallies[EVENTS].left_out == {
        "events that state an incomplete list": 1,
        "events whose list is complete for orchidaceae alone": 1,
        "events that state nothing of their list, where others state a complete one": 1,
    }


def test_surveys_of_one_narrow_scope_are_surveys_of_it(tmp_path: Path) -> None:
    events = lines(*(f"{name} | top | 16.6 | 49.2 | 2015 | 1 | m2 | " for name in "ab"), "top |  |  |  |  |  |  | ")
    seen = lines("a | Orchis mascula | present |  |  | ")
    humboldt = lines("top | true | Orchidaceae | ", "top | true | Liliaceae | ")
    raw = raw_surveys(event_core(tmp_path, events, seen, humboldt), Report("surveys"))
    assert list(raw.surveys["survey"]) == ["a", "b"]  # b is an empty list, which is stated complete


def test_events_that_are_their_own_ancestors_end(tmp_path: Path) -> None:
    events = lines("a | b |  |  | 2015 | 1 | m2 | ", "b | a | 16.6 | 49.2 |  | 1 | m2 | ")
    seen = lines("a | Orchis mascula | present |  |  | ", "b | Orchis mascula | present |  |  | ")
    raw = raw_surveys(event_core(tmp_path, events, seen), Report("surveys"))
    np.testing.assert_array_equal(raw.surveys["longitude"], [16.6, 16.6])
    np.testing.assert_array_equal(raw.surveys["year"], [2015, 2015])


def test_occurrences_of_a_plain_archive_are_surveys_by_their_event(tmp_path: Path) -> None:
    terms = ["eventID", "scientificName", "decimalLongitude", "decimalLatitude", "year", "occurrenceStatus"]
    rows = lines(
        "1 | e1 | Fagus sylvatica | 16.6 | 49.2 | 2015 | PRESENT",
        "2 | e1 | Abies alba | 16.6 | 49.2 | 2015 | PRESENT",
        "3 | e2 | Abies alba | 16.7 | 49.2 | 2015 | ABSENT",
        "4 |  | Abies alba | 16.7 | 49.2 | 2015 | PRESENT",
    )
    path = archive(tmp_path, [section("core", "Occurrence", ["o.txt"], terms)], {"o.txt": rows})
    report = Report("surveys")
    raw = raw_surveys(path, report)
    report.check()
    assert list(raw.surveys["survey"]) == ["e1", "e2"]
    assert list(raw.occurrences["survey"]) == ["e1", "e1"]
    assert report.tallies[OCCURRENCES].left_out == {"occurrences without an event": 1, "occurrences that say absent": 1}


DATA = Path(os.environ.get("FLORACUBE_DATA", "/nowhere")) / "formats"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="FLORACUBE_DATA names no folder of real files")


@needs_data
def test_a_real_archive_of_releves_is_read_as_pandas_reads_it() -> None:
    report = Report("surveys")
    raw = raw_surveys(str(DATA / "dwca/turnhout-ponds.zip"), report)
    report.check()
    assert len(raw.surveys) == 247
    assert raw.surveys["area_m2"].notna().sum() > 200
    assert len(raw.occurrences) == 1553 - report.tallies[OCCURRENCES].left_out["occurrences without the name of a species"]
    assert "surveys that do not state whether their list is complete, taken as complete" not in report.remarks  # a relevé is


@needs_data
def test_real_event_tables_without_a_description_are_read_as_pandas_reads_them() -> None:
    report = Report("surveys")
    raw = raw_surveys(str(DATA / "dwca/formica-wp1-vegetation"), report)
    report.check()
    truth = pd.read_csv(DATA / "dwca/formica-wp1-vegetation/occurrence.csv")
    species = truth[truth["taxonRank"].isin(["species", "subspecies"])]
    assert Counter(raw.occurrences["survey"]) <= Counter(truth["eventID"])
    assert abs(len(raw.occurrences) - len(species)) <= 4  # ranks and names differ in four rows
    assert (raw.surveys["area_m2"] == 9).all()
    first = raw.occurrences.groupby("survey")["cover"].sum()["FORMICA_VEG:PLOT:BEHIT1P1"]
    assert first == species.loc[species["eventID"] == "FORMICA_VEG:PLOT:BEHIT1P1", "organismQuantity"].sum()


@needs_data
def test_real_data_packages_are_read_in_both_spellings() -> None:
    for name, surveys, present in (("broke-west-fish", 125, 135), ("NEON-fish", 24, 585)):
        report = Report("surveys")
        raw = raw_surveys(str(DATA / "dwc-dp" / name), report)
        report.check()
        assert (len(raw.surveys), len(raw.occurrences)) == (surveys, present)
        records = Report("records")
        rows = pd.concat(stream_records(str(DATA / "dwc-dp" / name), records))
        truth = pd.read_csv(DATA / "dwc-dp" / name / "occurrence.tsv", sep="\t")
        assert len(truth) == records.tallies["records"].read
        assert len(rows) == present
        assert rows["longitude"].notna().all()


def test_percents_of_an_archive_are_read_as_those_of_tables(tmp_path: Path) -> None:
    (tmp_path / "event.csv").write_text("eventID,decimalLongitude,decimalLatitude\n1,16.6,49.2\n")
    names = ["Abies alba", "Carex nigra", "Fagus sylvatica", "Poa annua"]
    cells = ['"12,5"', "<1", "40 %", ">75"]
    rows = "".join(f"1,{name},{cell},% cover\n" for name, cell in zip(names, cells, strict=True))
    head = "eventID,scientificName,organismQuantity,organismQuantityType\n"
    (tmp_path / "occurrence.csv").write_text(head + rows)
    report = Report("surveys")
    raw = raw_surveys(str(tmp_path), report)
    np.testing.assert_array_equal(raw.occurrences["cover"], [12.5, 0.5, 40, np.nan])
    assert report.remarks["quantities of % cover, which are no percent: cover taken as unknown"] == (1, [])
