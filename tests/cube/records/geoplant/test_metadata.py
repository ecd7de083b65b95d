"""Tables of records are streamed: every year's columns, their traps, and memory that does not grow with the table."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest

from cube.errors import TableError
from cube.records.geoplant.dataset import GeoPlant, read_rows
from cube.records.geoplant.layout import find_layout
from cube.records.geoplant.metadata import raw_surveys, stream_metadata
from cube.records.report import Report

PA = """lon,lat,year,geoUncertaintyInM,areaInM2,region,country,speciesId,surveyId
9.5,56.1,2020,10.0,79.0,CONTINENTAL,Denmark,6310.0,212
9.5,56.1,2020,10.0,79.0,CONTINENTAL,Denmark,11140.0,212
18.6,42.5,2018,0.0,-inf,MEDITERRANEAN,Montenegro,11140.0,7
5.4,48.1,2017,1.0,,CONTINENTAL,France,,34
5.4,48.1,2017,1.0,4,CONTINENTAL,France,12.0,
"""


def surveys_folder(root: Path, **tables: str) -> Path:
    folder = root / "PresenceAbsenceSurveys"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text)
    return root


def test_the_traps_of_a_table_are_met(tmp_path: Path) -> None:
    report = Report("surveys")
    raw = raw_surveys(find_layout(surveys_folder(tmp_path, PA_metadata_train=PA)), ("train",), report)
    assert list(raw.surveys["survey"]) == [212, 7, 34]
    assert list(raw.surveys["patch_id"]) == [212, 7, 34]
    assert np.isneginf(raw.surveys["area_m2"].iloc[1])  # left to whoever weighs areas
    assert {(int(r.survey), int(r.species_id)) for r in raw.occurrences.itertuples()} == {(212, 6310), (212, 11140), (7, 11140)}
    assert report.remarks["rows without an id, skipped"] == (1, ["PA_metadata_train.csv row 5"])
    assert report.remarks["rows without a species, kept as surveys alone"] == (1, ["34"])


def test_test_surveys_get_their_species_from_the_labels_and_overlapping_tables_count_once(tmp_path: Path) -> None:
    head = "lon,lat,year,areaInM2,surveyId\n"
    surveys_folder(
        tmp_path,
        PA_metadata_train=PA,
        PA_metadata_test_iid=head + "1,45,2020,10,2\n",
        PA_metadata_test_ood=head + "2,46,2020,10,3\n",
        PA_metadata_test_glc25=head + "1,45,2020,10,2\n2,46.5,2020,10,3\n",
        test_labels_iid="surveyId,speciesIds\n2,11 10\n",
        test_labels_ood="surveyId,speciesIds\n3,\n",
    )
    report = Report("surveys")
    layout = find_layout(tmp_path)
    raw = raw_surveys(layout, ("test",), report)
    assert sorted(raw.surveys["survey"]) == [2, 3]
    assert sorted(zip(raw.occurrences["survey"], raw.occurrences["species_id"], strict=True)) == [(2, 10), (2, 11)]
    assert report.remarks["surveys given twice at different positions, first kept"] == (1, ["3"])
    assert sorted(raw_surveys(layout, ("test_iid",), report).surveys["survey"]) == [2]
    assert len(raw_surveys(layout, ("train",), report).surveys) == 3


def test_a_column_subset_says_the_split_where_the_name_does_not(tmp_path: Path) -> None:
    text = "lon,lat,areaInM2,speciesId,surveyId,subset\n1,45,10,1.0,2,train\n1,46,10,1.0,3,test\n"
    (tmp_path / "metadata.csv").write_text(text)
    (tmp_path / "metadata_habitats.csv").write_text(text)
    layout = find_layout(tmp_path)
    assert list(raw_surveys(layout, ("test",), Report("s")).surveys["survey"]) == [3]
    with pytest.raises(TableError, match="has no table of presence-only records"):
        next(stream_metadata(layout, "PO"))


def test_what_a_table_lacks_is_one_sentence(tmp_path: Path) -> None:
    surveys_folder(tmp_path, PA_metadata_train=PA.replace("lon,", "longitude,"))
    with pytest.raises(TableError, match=r"PA_metadata_train\.csv: there is no column 'lon'"):
        raw_surveys(find_layout(tmp_path), ("train",), Report("s"))
    surveys_folder(tmp_path, PA_metadata_train=PA.replace("surveyId", "plot"))
    with pytest.raises(TableError, match="neither a column surveyId nor glcID"):
        raw_surveys(find_layout(tmp_path), ("train",), Report("s"))
    with pytest.raises(TableError, match=r"presence-absence surveys for test_ood \(there are train\)"):
        raw_surveys(find_layout(tmp_path), ("test_ood",), Report("s"))


ROWS = 300_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GeoPlant folder of 300,000 presence-only records and their soil values, as CSV."""
    root = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(0)
    ids = rng.permutation(ROWS) + 3_000_000
    columns = {
        "surveyId": ids,
        "publisher": np.repeat("Observations of a rather long name", ROWS),
        "year": 2020,
        "month": 6,
        "day": 17,
        "lat": rng.uniform(40, 60, ROWS).round(5),
        "lon": rng.uniform(0, 20, ROWS).round(5),
        "geoUncertaintyInM": 10.0,
        "taxonRank": "SPECIES",
        "date": "2020-06-17",
        "dayOfYear": 169,
        "speciesId": rng.integers(1, 10_000, ROWS),
    }
    values = {"surveyId": ids, "Soilgrid-clay": ids % 1000}
    for name, table in (
        ("PresenceOnlyOccurrences/PO_metadata_train", columns),
        ("EnvironmentalValues/SoilGrids/PO-train-soilgrids", values),
    ):
        path = root / f"{name}.csv"
        path.parent.mkdir(parents=True)
        pyarrow.csv.write_csv(pyarrow.Table.from_pandas(pd.DataFrame(table)), path)
    return root


def peak_of(layout_root: Path, piece: int, limit: int | None = None) -> int:
    tracemalloc.start()
    rows, arrow = 0, 0
    for chunk in stream_metadata(find_layout(layout_root), "PO", piece=piece):
        rows += len(chunk)
        arrow = max(arrow, pyarrow.total_allocated_bytes())
        if limit is not None and rows >= limit:
            break
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == ROWS if limit is None else rows >= limit
    return peak + arrow


@pytest.mark.slow
def test_memory_of_a_stream_is_that_of_a_piece_and_not_of_the_table(large: Path) -> None:
    whole, part = peak_of(large, 20_000), peak_of(large, 20_000, 60_000)
    assert whole < 1.15 * part  # five times the rows, the same memory: so it stays for 5 million
    assert whole < 60e6
    # The whole table would grow with its rows: 5 million of them to many times that.
    table = pd.read_csv(large / "PresenceOnlyOccurrences/PO_metadata_train.csv")
    assert table.memory_usage(deep=True).sum() * 5e6 / ROWS > 10 * whole


def test_a_parquet_table_streams_the_same_rows(large: Path, tmp_path: Path) -> None:
    source = large / "PresenceOnlyOccurrences/PO_metadata_train.csv"
    target = tmp_path / "PresenceOnlyOccurrences/PO_metadata_train.parquet"
    target.parent.mkdir()
    pyarrow.parquet.write_table(pyarrow.Table.from_pandas(pd.read_csv(source, nrows=30_000)), target)
    a = pd.concat(stream_metadata(find_layout(tmp_path), "PO", piece=7_000), ignore_index=True)
    b = pd.concat(stream_metadata(find_layout(large), "PO"), ignore_index=True)[:30_000]
    pd.testing.assert_frame_equal(a, b)


def test_values_are_found_by_id_without_the_table_in_memory(large: Path) -> None:
    path = large / "EnvironmentalValues/SoilGrids/PO-train-soilgrids.csv"
    ids = np.random.default_rng(1).integers(3_000_000, 3_000_000 + ROWS, 2_000)
    tracemalloc.start()
    values, known = read_rows(path, ids, ["Soilgrid-silt", "Soilgrid-clay"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert known.all()
    np.testing.assert_array_equal(values[:, 1], ids % 1000)
    assert np.isnan(values[:, 0]).all()
    assert peak < 3e6
    values, known = read_rows(path, np.array([1, 3_000_007, 3_000_007]), ["Soilgrid-clay"])
    np.testing.assert_array_equal(values[:, 0], [np.nan, 7, 7])
    np.testing.assert_array_equal(known, [False, True, True])
    geoplant = GeoPlant(large)
    np.testing.assert_array_equal(geoplant.values("soil", ["Soilgrid-clay"], ids, "PO")[0][:, 0], ids % 1000)
