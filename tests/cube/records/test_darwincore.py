"""Darwin Core archives of every make give surveys and records; what is not a plant that grew there is left out and named."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cube.errors import TableError
from cube.records.darwincore import raw_surveys, stream_records
from cube.records.report import Report
from cube.records.scientific import binomial
from tests.support.darwincore import archive, section

OCCURRENCE = [
    "scientificName",
    "decimalLongitude",
    "decimalLatitude",
    "coordinateUncertaintyInMeters",
    "eventDate",
    "basisOfRecord",
    "occurrenceStatus",
]
ROWS = [
    "1\tFagus sylvatica L.\t16.6\t49.2\t25\t2018-06-17\tHUMAN_OBSERVATION\tPRESENT",
    "2\tAbies alba Mill.\t16.7\t49.3\t\t2019-05/2019-06\tPRESERVED_SPECIMEN\t",
    "3\tFagus sylvatica L.\t16.6\t49.2\t25\t2018\tHUMAN_OBSERVATION\tabsent",
    "4\tCarex sp.\t16.6\t49.2\t25\t2018\tHUMAN_OBSERVATION\tpresent",
    "5\tGinkgo biloba L.\t16.6\t49.2\t25\t2018\tLIVING_SPECIMEN\tpresent",
    "6\tQuercus petraea subsp. petraea\t\t\t\tlong ago\tHumanObservation\tpresent",
    "7\tcut short",
]


def occurrences(rows: list[str] = ROWS, terms: list[str] = OCCURRENCE) -> bytes:
    return ("\n".join(["id\t" + "\t".join(terms), *rows]) + "\n").encode()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("inside", ["", "export/"])
def test_records_of_an_occurrence_core_are_streamed_and_cleaned(tmp_path: Path, zipped: bool, inside: str) -> None:
    where = tmp_path if zipped or not inside else tmp_path / inside
    where.mkdir(exist_ok=True)
    archive(
        where,
        [section("core", "Occurrence", ["occurrence.txt"], OCCURRENCE)],
        {"occurrence.txt": occurrences()},
        zipped=zipped,
        inside=inside,
    )
    report = Report("records")
    path = str(tmp_path / "a.zip") if zipped else str(tmp_path)
    chunks = list(stream_records(path, report, piece=3))
    assert len(chunks) == 3
    rows = pd.concat(chunks, ignore_index=True)
    assert list(rows["name"]) == ["Fagus sylvatica", "Abies alba", "Quercus petraea"]
    np.testing.assert_array_equal(rows["year"], [2018, 2019, np.nan])
    np.testing.assert_array_equal(rows["uncertainty_m"], [25, np.nan, np.nan])
    assert list(rows["record"]) == ["1", "2", "6"]
    assert report.remarks["occurrences that say absent, skipped"] == (1, ["3"])
    assert report.remarks["fossils and living collections, skipped"] == (1, ["5"])
    assert report.remarks["occurrences without the name of a species, skipped"] == (1, ["4 Carex sp."])
    assert report.remarks["rows with fewer cells than the file's columns, skipped"] == (1, ["occurrence.txt row 8"])


def test_odd_separators_quotes_encodings_defaults_and_several_files_are_read(tmp_path: Path) -> None:
    terms = ["genus", "specificEpithet", "decimalLongitude", "decimalLatitude", "locality"]
    head = "id;" + ";".join(terms) + "\r\n"
    first = head + '1;Carex;höstii;16,0;48;"a;b\r\nc"\r\n2;Carex;höstii;16.5;48.5;"say ""x"""\r\n'
    second = head + "3;Ábies;alba;16.5;48.5;x\r\n"
    core = section(
        "core",
        "Occurrence",
        ["a.csv", "parts/b.csv"],
        terms,
        separator=";",
        quote="&quot;",
        encoding="ISO-8859-1",
        defaults={"basisOfRecord": "HumanObservation", "year": "1999"},
    )
    archive(tmp_path, [core], {"a.csv": first.encode("latin-1"), "parts/b.csv": second.encode("latin-1")})
    rows = pd.concat(stream_records(str(tmp_path), Report("r")), ignore_index=True)
    assert list(rows["name"]) == ["Carex hoestii", "Carex hoestii", "Abies alba"]
    np.testing.assert_array_equal(rows["longitude"], [16.0, 16.5, 16.5])
    assert list(rows["year"]) == [1999] * 3


def test_a_wrong_encoding_is_noted_and_not_silent(tmp_path: Path) -> None:
    terms = ["scientificName", "decimalLongitude", "decimalLatitude"]
    rows = "id\tn\tx\ty\n1\tCarex h\xf6stii\t16\t48\n".encode("latin-1")
    archive(tmp_path, [section("core", "Occurrence", ["o.txt"], terms)], {"o.txt": rows})
    report = Report("r")
    list(stream_records(str(tmp_path), report))
    assert any("encoding" in reason or "name of a species" in reason for reason in report.remarks)


EVENT = ["decimalLongitude", "decimalLatitude", "eventDate", "sampleSizeValue", "sampleSizeUnit", "locationID"]
EVENTS = (
    b"id\tx\ty\td\tv\tu\tl\ne1\t16.6\t49.2\t2001-05-01\t16\tsquare metre\tp1\ne2\t16.6\t49.2\t2011\t0.01\tha\tp1\n"
    b"e3\t16.7\t49.3\t2011\t3\ttrap nights\tp2\n"
)
SEEN = ["scientificName", "occurrenceStatus", "organismQuantity", "organismQuantityType"]
SEEN_ROWS = (
    b"e\tn\ts\tq\tt\ne1\tFagus sylvatica L.\tpresent\t40\t% cover\ne1\tAbies alba\tabsent\t\t\ne2\tAbies alba\t\t3\tindividuals\n"
)


def events(folder: Path) -> str:
    sections = [section("core", "Event", ["event.txt"], EVENT), section("extension", "Occurrence", ["occ.txt"], SEEN)]
    return archive(folder, sections, {"event.txt": EVENTS, "occ.txt": SEEN_ROWS}, zipped=True)


def test_events_are_surveys_with_areas_in_square_metres(tmp_path: Path) -> None:
    report = Report("surveys")
    raw = raw_surveys(events(tmp_path), report)
    assert list(raw.surveys["survey"]) == ["e1", "e2", "e3"]
    np.testing.assert_allclose(raw.surveys["area_m2"], [16, 100, np.nan])
    assert list(raw.surveys["place"]) == ["p1", "p1", "p2"]
    assert raw.places
    rows = {(r.survey, r.name): r.cover for r in raw.occurrences.itertuples(index=False)}
    assert rows.keys() == {("e1", "Fagus sylvatica"), ("e2", "Abies alba")}
    assert rows["e1", "Fagus sylvatica"] == 40
    assert np.isnan(rows["e2", "Abies alba"])
    assert report.remarks["sample sizes in a unit that is no area"] == (1, ["trap nights"])


def test_records_take_their_position_from_their_event(tmp_path: Path) -> None:
    rows = pd.concat(stream_records(events(tmp_path), Report("r")), ignore_index=True)
    assert list(rows["longitude"]) == [16.6, 16.6]
    assert list(rows["year"]) == [2001, 2011]


@pytest.mark.parametrize(
    ("name", "binary"),
    [
        ("Fagus sylvatica L.", "Fagus sylvatica"),
        ("Fagus  sylvatica", "Fagus sylvatica"),
        ("Fagus L.", None),
        ("Fagus", None),
        ("Carex sp.", None),
        ("Mentha × piperita L.", "Mentha × piperita"),
        ("Mentha ×piperita", "Mentha × piperita"),
        ("Carex flacca subsp. serrulata (Biv.) Greuter", "Carex flacca"),
        ("Capsella bursa-pastoris (L.) Medik.", "Capsella bursa-pastoris"),
        ("×Festulolium loliaceum", "× Festulolium loliaceum"),
        ("Pinaceae", None),
        ("", None),
        ("Rosa cf. canina", None),
    ],
)
def test_names_are_cut_to_binomials(name: str, binary: str | None) -> None:
    assert binomial(name) == binary


def test_an_archive_that_is_none_says_what_is_missing(tmp_path: Path) -> None:
    def failing(words: str, name: str = "") -> None:
        with pytest.raises(TableError, match=words):
            list(stream_records(str(tmp_path / name), Report("r")))

    failing("there is no such archive", "nowhere.zip")
    failing(r"has no meta\.xml; a Darwin Core archive has one at its top")
    (tmp_path / "text.zip").write_text("hello")
    failing("is neither a folder nor a zip file", "text.zip")
    (tmp_path / "meta.xml").write_text("<archive><core")
    failing(r"its meta\.xml does not describe a core data file")
    (tmp_path / "meta.xml").write_text("<archive></archive>")
    failing(r"its meta\.xml does not describe a core data file")
    archive(tmp_path, [section("core", "Occurrence", ["gone.txt"], OCCURRENCE)], {})
    failing(r"meta\.xml names gone\.txt, which is not in the archive")
    archive(tmp_path, [section("core", "Occurrence", ["../secret.txt"], OCCURRENCE)], {})
    failing(r"names a file outside the archive \(\.\./secret\.txt\)")
    archive(tmp_path, [section("core", "Taxon", ["t.txt"], ["scientificName"])], {"t.txt": b""})
    failing("holds Taxon; expected a core of Occurrence, or of Event")
    archive(tmp_path, [section("core", "Occurrence", ["o.txt"], ["scientificName"])], {"o.txt": b""})
    failing("its Occurrence data have no decimalLongitude")
    archive(tmp_path, [section("core", "Occurrence", ["o.txt"], OCCURRENCE)], {"o.txt": occurrences()})
    with pytest.raises(TableError, match="its Occurrence data have no eventID"):
        raw_surveys(str(tmp_path), Report("r"))


def test_an_archive_is_streamed_out_of_its_zip_in_the_memory_of_a_piece(tmp_path: Path) -> None:
    rows = [f"{i}\tFagus sylvatica L.\t16.6\t49.2\t25\t2018-06-17\tHUMAN_OBSERVATION\tPRESENT" for i in range(4_000)]
    path = archive(tmp_path, [section("core", "Occurrence", ["o.txt"], OCCURRENCE)], {"o.txt": occurrences(rows)}, zipped=True)
    del rows
    peaks = []
    for limit in (1_000, 4_000):
        tracemalloc.start()
        count = 0
        for chunk in stream_records(path, Report("r"), piece=250):
            count += len(chunk)
            if count >= limit:
                break
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count == limit
    assert peaks[1] < 1.5 * peaks[0]


CELL = st.sampled_from(["", "2015", "2015-06-01", "1990/2000", "absent", "PRESENT", "Wald", "0", "250,0", "16.6", '"'])


@settings(max_examples=10, deadline=None)
@given(rows=st.lists(st.lists(CELL, min_size=0, max_size=8), min_size=1, max_size=20), quoted=st.booleans())
@example(rows=[["", "", "", '"', '"', '"'], []], quoted=True)  # a mark open at the end of the file takes a short row
def test_every_row_of_a_damaged_archive_is_used_or_left_out(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], quoted: bool
) -> None:
    folder = tmp_path_factory.mktemp("archive")
    lines = [f"{i}\tFagus sylvatica\t16.6\t" + "\t".join(row) for i, row in enumerate(rows)]
    core = section("core", "Occurrence", ["o.txt"], OCCURRENCE, quote="&quot;" if quoted else "")
    archive(folder, [core], {"o.txt": occurrences(lines)})
    report = Report("records")
    used = sum(map(len, stream_records(str(folder), report)))
    tally = report.tallies["records"]
    assert tally.read == len(rows)
    assert tally.read == used + sum(tally.left_out.values())


def test_terms_choose_the_records_of_an_archive(tmp_path: Path) -> None:
    terms = [*OCCURRENCE, "kingdom"]
    rows = [f"{row}\t{kingdom}" for row, kingdom in zip(ROWS[:2], ("Plantae", "Animalia"), strict=True)]
    path = archive(tmp_path, [section("core", "Occurrence", ["o.txt"], terms)], {"o.txt": occurrences(rows, terms)})
    report = Report("records")
    got = pd.concat(stream_records(path, report, where={"kingdom": ("plantae",)}))
    assert list(got["record"]) == ["1"]
    assert report.tallies["records"].left_out == {"records where kingdom is not plantae": 1}
    with pytest.raises(TableError, match="its Occurrence data have no phylum"):
        list(stream_records(path, Report("r"), where={"phylum": ("x",)}))
