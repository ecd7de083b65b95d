"""Presence-only records come in one form from tables, GeoPlant and Darwin Core, a chunk at a time; the rest is named."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from cube.config import Config, load_config
from cube.errors import ConfigError, TableError
from cube.grid import EUROPE
from cube.records.presence_only import RecordStream, read_records
from cube.records.surveys import read_surveys
from tests.support.geoplant import write_table

CONFIG: dict[str, Any] = {
    "title": "t",
    "cube": "c.zarr",
    "unit_km": 10,
    "sources": [],
    "region": {"west_km": 4700, "south_km": 2850, "east_km": 4900, "north_km": 2950},
}
COLUMNS = {"longitude": "lon", "latitude": "lat", "species": "taxon", "year": "y", "uncertainty_m": "precision", "record": "key"}
TABLE = {
    "key": ["a", "b", "c", "d", "e", "f"],
    "taxon": ["Fagus  sylvatica", "Abies alba", None, "Abies alba", "Abies alba", "Abies alba"],
    "lon": [16.6, 16.6, 16.6, None, 2.3, 16.7],
    "lat": [49.2, 49.2, 49.2, 49.2, 48.8, 49.21],
    "y": [2020, 2021, 2020, 2020, 2020, "unknown"],
    "precision": [10, 5000, 10, 10, 10, None],
}


def config_of(folder: Path, **parts: Any) -> Config:
    (folder / "config.yaml").write_text(yaml.safe_dump({**CONFIG, **parts}))
    return load_config(folder / "config.yaml")


@pytest.mark.parametrize("kind", ["csv", "parquet", "semicolon"])
def test_a_table_with_a_column_mapping_is_streamed(tmp_path: Path, kind: str) -> None:
    frame = pd.DataFrame(TABLE).astype({"y": "string"})
    name = "po.parquet" if kind == "parquet" else "po.csv"
    if kind == "parquet":
        frame.to_parquet(tmp_path / name)
    else:
        write_table(tmp_path / name, TABLE, ";" if kind == "semicolon" else ",")
    stream = read_records(config_of(tmp_path, records={"table": name, "columns": COLUMNS, "max_uncertainty_m": 1000}), piece=2)
    for _ in range(2):  # every pass begins anew, and so does its report
        rows = pd.concat(stream, ignore_index=True)
        assert list(rows["record"]) == ["a", "f"]
        assert list(rows["name"]) == ["Fagus sylvatica", "Abies alba"]
        np.testing.assert_allclose(
            rows[["x", "y"]].to_numpy().T, EUROPE.project(rows["longitude"].to_numpy(), rows["latitude"].to_numpy())
        )
        np.testing.assert_array_equal(rows["year"], [2020, np.nan])
        assert stream.report.totals == {"records": 2}
        assert stream.report.remarks == {
            "records without a species, skipped": (1, ["c"]),
            "records less certain than 1000 m, skipped": (1, ["b"]),
            "records without a position in degrees, skipped": (1, ["d"]),
            "records outside the region, skipped": (1, ["e"]),
            "records without a stated uncertainty, used": (1, ["f"]),
            "years that are not a number or a date, taken as unknown": (1, ["f"]),
        }
        tally = stream.report.tallies["records"]
        assert (tally.read, tally.used, sum(tally.left_out.values())) == (6, 2, 4)


def geoplant(root: Path) -> Path:
    write_table(
        root / "gp/PresenceOnlyOccurrences/PO_metadata_train.csv",
        {
            "surveyId": [11, 12, 13],
            "lon": [16.6, 16.7, 2.3],
            "lat": [49.2, 49.3, 48.8],
            "year": [2017, 2018, 2019],
            "geoUncertaintyInM": [5.0, 50.0, 5.0],
            "speciesId": [1.0, 2.0, 1.0],
        },
    )
    write_table(
        root / "gp/PresenceAbsenceSurveys/PA_metadata_train.csv",
        {
            "lon": [16.6, 16.6, 16.7],
            "lat": [49.2, 49.2, 49.3],
            "year": [2017, 2017, 2018],
            "areaInM2": [100.0, 100.0, -np.inf],
            "speciesId": [1.0, 2.0, 9.0],
            "surveyId": [5, 5, 6],
        },
    )
    write_table(root / "names.csv", {"speciesId": [1, 2], "scientificName": ["Fagus sylvatica", "Abies alba"]})
    return root


def test_records_and_surveys_of_geoplant_keep_the_ids_of_their_files(tmp_path: Path) -> None:
    species = {"table": {"table": "names.csv", "id": "speciesId", "name": "scientificName"}}
    config = config_of(geoplant(tmp_path), records={"geoplant": "gp"}, surveys={"geoplant": "gp"}, species=species)
    stream = read_records(config)
    rows = pd.concat(stream, ignore_index=True)
    assert list(rows["name"]) == ["Fagus sylvatica", "Abies alba"]
    assert list(rows["patch_id"]) == [11, 12]
    assert stream.report.remarks["records outside the region, skipped"] == (1, ["13"])
    assert config.surveys is not None
    table = read_surveys(config, config.surveys, config.species.table, config.whole_region(), "surveys", "surveys")
    assert list(table.surveys["survey"]) == ["5", "6"]
    assert list(table.surveys["patch_id"]) == [5, 6]
    np.testing.assert_array_equal(table.surveys["area_m2"], [100, np.nan])
    assert list(table.occurrences["name"]) == ["Abies alba", "Fagus sylvatica"]
    assert table.report.remarks["occurrences of a species id without a name, skipped"] == (1, ["9"])
    assert table.report.remarks["surveys without a usable area, taken as the median"] == (1, ["6"])


def test_species_of_geoplant_without_names_are_called_by_their_numbers(tmp_path: Path) -> None:
    config = config_of(geoplant(tmp_path), records={"geoplant": "gp"})
    assert list(pd.concat(read_records(config))["name"]) == ["species 1", "species 2"]


def test_numbers_of_a_plain_table_need_names(tmp_path: Path) -> None:
    write_table(tmp_path / "po.csv", {"lon": [16.6], "lat": [49.2], "id": [1]})
    columns = {"longitude": "lon", "latitude": "lat", "species_id": "id"}
    with pytest.raises(TableError, match=r"species\.table is missing"):
        list(read_records(config_of(tmp_path, records={"table": "po.csv", "columns": columns})))


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"records": {"table": "a.csv"}}, "records: 'table' needs 'columns'"),
        ({"records": {"geoplant": "a", "darwin_core": "b"}}, "give one of 'table', 'geoplant' and 'darwin_core'"),
        ({"surveys": {}}, "surveys: give one of 'table', 'geoplant' and 'darwin_core'"),
        ({"surveys": {"darwin_core": "a.zip", "splits": ["test"]}}, "'splits' belongs to 'geoplant'"),
        ({"surveys": {"geoplant": "a", "splits": ["tset"]}}, r"surveys\.splits\[0\]"),
        ({"surveys": {"geoplant": "a", "occurrences": "b.csv"}}, "'occurrences' belongs to 'table'"),
        ({"surveys": {"darwin_core": "a", "predictors": "files"}}, "'predictors: files' belongs to 'geoplant'"),
        ({"records": {"geoplant": "a", "columns": {"longitude": "x", "latitude": "y", "species": "s"}}}, "'columns' belongs to"),
        ({"records": {"table": "a", "columns": {"longitude": "x", "latitude": "y"}}}, r"records\.columns: give 'species'"),
        ({"surveys": {"table": "a", "columns": {"survey": "id", "lonn": "x"}}}, r"surveys\.columns\.lonn: is not a key"),
    ],
)
def test_a_wrong_origin_is_one_sentence_with_its_place(tmp_path: Path, parts: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        config_of(tmp_path, **parts)
    assert "\n" not in str(caught.value)


def test_a_table_without_a_column_or_damaged_is_one_sentence(tmp_path: Path) -> None:
    config = config_of(tmp_path, records={"table": "po.csv", "columns": COLUMNS})
    with pytest.raises(TableError, match=r"po\.csv: there is no such table"):
        list(read_records(config))
    write_table(tmp_path / "po.csv", {k: v for k, v in TABLE.items() if k != "taxon"})
    with pytest.raises(TableError, match=r"po\.csv: there is no column 'taxon'"):
        list(read_records(config))
    (tmp_path / "po.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(TableError, match=r"po\.parquet: cannot be read as a table"):
        list(read_records(config_of(tmp_path, records={"table": "po.parquet", "columns": COLUMNS})))
    with pytest.raises(ConfigError, match="records is missing"):
        read_records(config_of(tmp_path))


def test_rows_with_other_cells_than_the_header_are_skipped_and_named(tmp_path: Path) -> None:
    rows = ["taxon,lon,lat", "Abies alba,16.6,49.2", "Abies alba, Mill.,16.6,49.2", "Abies alba,16.6", '"Abies\nalba",16.6,49.2']
    (tmp_path / "po.csv").write_text("\n".join(rows) + "\n")
    columns = {"longitude": "lon", "latitude": "lat", "species": "taxon"}
    stream = read_records(config_of(tmp_path, records={"table": "po.csv", "columns": columns}))
    assert list(pd.concat(stream)["name"]) == ["Abies alba", "Abies alba"]
    assert stream.report.remarks == {
        "rows with 4 cells where the header has 3, skipped": (1, ["row 2 of po.csv"]),
        "rows with 2 cells where the header has 3, skipped": (1, ["row 3 of po.csv"]),
    }


def test_latin1_is_found_out_wherever_it_begins(tmp_path: Path) -> None:
    rows = ["taxon,lon,lat"] + ["Abies alba,16.6,49.2"] * 60_000 + ["Carex höstii,16.6,49.2"]
    (tmp_path / "po.csv").write_bytes("\n".join(rows).encode("latin-1"))
    columns = {"longitude": "lon", "latitude": "lat", "species": "taxon"}
    config = config_of(tmp_path, records={"table": "po.csv", "columns": columns})
    *_, last = RecordStream(config, config.records, None, 10_000) if config.records else []
    assert last["name"].iloc[-1] == "Carex hoestii"
    assert last["record"].iloc[-1] == "60001"


GBIF = [
    "gbifID",
    "species",
    "decimalLatitude",
    "decimalLongitude",
    "coordinateUncertaintyInMeters",
    "eventDate",
    "basisOfRecord",
    "occurrenceStatus",
    "individualCount",
    "kingdom",
    "locality",
    "mediaType",
]
SIMPLE = {
    "longitude": "decimalLongitude",
    "latitude": "decimalLatitude",
    "species": "species",
    "year": "eventDate",
    "uncertainty_m": "coordinateUncertaintyInMeters",
    "record": "gbifID",
}
DAMAGE = st.sampled_from(["", '"', 'a"b', '"Wald', 'Wald"', '""', '"a" b', "x;y,z", "é", "'"])
UNCERTAINTY = st.sampled_from(["", "10", "250,0", "250 m", "0", "-5", "unknown", "1e9", "5000"])
DATES = st.sampled_from(["", "2015", "2015-06-01", "1990/2000", "15", "0000-00-00", "2015-06-01/2015-07-15", "9999"])
STATUSES = st.sampled_from(["PRESENT", "present", "", "ABSENT", "absent", "Doubtful"])
BASES = st.sampled_from(["HUMAN_OBSERVATION", "PRESERVED_SPECIMEN", "FOSSIL_SPECIMEN", "LIVING_SPECIMEN", "LivingSpecimen", ""])


@pytest.fixture(scope="module")
def download(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("gbif")
    return config_of(folder, records={"table": "0001.csv", "columns": SIMPLE, "max_uncertainty_m": 1000})


ROW = st.tuples(UNCERTAINTY, DATES, BASES, STATUSES, st.sampled_from(["", "0", "3"]), DAMAGE)


@settings(max_examples=10, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=30), ending=st.sampled_from(["\n", "\r\n"]))
def test_a_download_of_gbif_loses_no_row_without_a_reason(download: Config, rows: list[tuple[str, ...]], ending: str) -> None:
    cells = [
        [str(i), "Fagus sylvatica", "49.2", "16.6", u, d, b, s, n, "Plantae", w, ""] for i, (u, d, b, s, n, w) in enumerate(rows)
    ]
    text = ending.join("\t".join(row) for row in [GBIF, *cells]) + ending
    path = download.path.parent / "0001.csv"
    path.write_bytes(text.encode())
    truth = pd.read_csv(path, sep="\t", quoting=csv.QUOTE_NONE, dtype=str, keep_default_na=False)
    assert len(truth) == len(rows)
    stream = read_records(download)
    chunks = list(stream)
    tally = stream.report.tallies["records"]
    assert tally.read == len(rows) == tally.used + sum(tally.left_out.values())
    status = truth["occurrenceStatus"].str.lower()
    grew = ~status.isin(["absent", "doubtful"]) & (truth["individualCount"] != "0")
    grew &= ~truth["basisOfRecord"].str.lower().str.replace("_", "").isin(["fossilspecimen", "livingspecimen"])
    grew &= ~truth["coordinateUncertaintyInMeters"].isin(["1e9", "5000"])
    got = pd.concat(chunks) if chunks else pd.DataFrame({"record": [], "year": []})
    assert list(got["record"]) == list(truth.loc[grew, "gbifID"])
    year = {"2015": 2015, "2015-06-01": 2015, "2015-06-01/2015-07-15": 2015, "1990/2000": 1995}
    np.testing.assert_array_equal(got["year"].to_numpy(float), truth.loc[grew, "eventDate"].map(year).to_numpy(float))
    document = stream.report.document()["rows"]["records"]
    assert document["read"] == document["used"] + sum(document["left_out"].values())


def test_rows_are_chosen_by_their_columns(tmp_path: Path) -> None:
    write_table(
        tmp_path / "po.csv",
        {
            "lon": [16.6] * 5,
            "lat": [49.2] * 5,
            "taxon": ["Fagus sylvatica"] * 5,
            "Kingdom": ["Plantae", "plantae", "Animalia", None, "Fungi"],
            "key": [6, 6, 1, 6, 5],
        },
    )
    columns = {"longitude": "lon", "latitude": "lat", "species": "taxon"}

    def read(where: dict[str, Any]) -> tuple[int, dict[str, int]]:
        stream = read_records(config_of(tmp_path, records={"table": "po.csv", "columns": columns, "where": where}))
        return sum(map(len, stream)), stream.report.tallies["records"].left_out

    assert read({"Kingdom": "Plantae"}) == (2, {"records where Kingdom is not Plantae": 3})
    assert read({"Kingdom": ["Plantae", "Fungi"]}) == (3, {"records where Kingdom is not Plantae or Fungi": 2})
    assert read({"key": 6, "Kingdom": "Plantae"})[0] == 2
    with pytest.raises(TableError, match="there is no column 'phylum'"):
        read({"phylum": "Tracheophyta"})


def test_records_without_an_uncertainty_are_counted_and_may_be_given_one(tmp_path: Path) -> None:
    write_table(
        tmp_path / "po.csv", {"lon": [16.6] * 3, "lat": [49.2] * 3, "taxon": ["Fagus sylvatica"] * 3, "u": ["100", "", "unknown"]}
    )
    columns = {"longitude": "lon", "latitude": "lat", "species": "taxon", "uncertainty_m": "u"}
    records = {"table": "po.csv", "columns": columns, "max_uncertainty_m": 500}
    stream = read_records(config_of(tmp_path, records=records))
    assert len(pd.concat(stream)) == 3
    assert stream.report.remarks["records without a stated uncertainty, used"][0] == 2
    stream = read_records(config_of(tmp_path, records={**records, "assumed_uncertainty_m": 1000}))
    assert len(pd.concat(stream)) == 1
    assert stream.report.remarks["records without a stated uncertainty, taken as 1000 m"][0] == 2
    assert stream.report.tallies["records"].left_out == {"records less certain than 500 m": 2}


@pytest.mark.parametrize(
    ("column", "cells", "used"),
    [
        ("Presence", ["1", "absent", "FALSE", "TRUE", "", "0,0"], ["1", "4", "5"]),
        ("pa", ["1.0", "0.0", "F", "T", "2", "no"], ["1", "4", "5"]),
        ("occurrences", ["3", "0", "1", "1", "1", "1"], ["1", "3", "4", "5", "6"]),
        ("abundance", ["a", "f", "o", "r", "d", "0"], ["1", "2", "3", "4", "5"]),  # DAFOR: frequent is no FALSE
    ],
)
def test_words_for_absence_in_a_column_of_presence_are_no_records(
    tmp_path: Path, column: str, cells: list[str], used: list[str]
) -> None:
    rows = "".join(f'16.6,49.2,Abies alba,"{cell}"\n' for cell in cells)
    (tmp_path / "po.csv").write_text(f"lon,lat,taxon,{column}\n{rows}")
    columns = {"longitude": "lon", "latitude": "lat", "species": "taxon"}
    stream = read_records(config_of(tmp_path, records={"table": "po.csv", "columns": columns}))
    assert list(pd.concat(stream)["record"]) == used
    assert stream.report.tallies["records"].read == len(cells)


def test_zeros_of_a_column_of_presence_are_no_records(tmp_path: Path) -> None:
    write_table(
        tmp_path / "po.csv", {"lon": [16.6] * 3, "lat": [49.2] * 3, "taxon": ["Fagus sylvatica"] * 3, "Presence": [1, 0, 1]}
    )
    columns = {"longitude": "lon", "latitude": "lat", "species": "taxon"}
    stream = read_records(config_of(tmp_path, records={"table": "po.csv", "columns": columns}))
    assert list(pd.concat(stream)["record"]) == ["1", "3"]
    assert stream.report.tallies["records"].left_out == {"occurrences with a count or quantity of zero": 1}


def test_records_in_cells_are_at_their_centres_and_carry_their_squares(tmp_path: Path) -> None:
    codes = ["10kmE481N290", "1kmE4812N2905", "33UXQ15", "Brno", None]
    write_table(tmp_path / "cube.csv", {"cell": codes, "species": ["Fagus sylvatica"] * 5, "year": [2015] * 5})
    columns = {"cells": "cell", "species": "species", "year": "year"}
    stream = read_records(config_of(tmp_path, records={"table": "cube.csv", "columns": columns}))
    rows = pd.concat(stream, ignore_index=True)
    assert list(rows["square_m"]) == [10_000, 1_000, 10_000]
    assert list(rows["square_crs"]) == ["EPSG:3035", "EPSG:3035", "EPSG:32633"]
    np.testing.assert_allclose(rows.loc[:1, ["x", "y"]], [[4_815_000, 2_905_000], [4_812_500, 2_905_500]])
    x, y = Transformer.from_crs(32633, 3035, always_xy=True).transform(615_000, 5_455_000)
    np.testing.assert_allclose(rows.loc[2, ["x", "y"]].to_numpy(float), [x, y], atol=1e-6)
    left_out = {"records whose cell is no EEA or MGRS code and no square of up to 100 km": 2}
    assert stream.report.tallies["records"].left_out == left_out


@pytest.mark.parametrize("size", [10_000, "side"])
def test_squares_of_an_atlas_are_given_by_their_corners(tmp_path: Path, size: float | str) -> None:
    write_table(
        tmp_path / "atlas.csv",
        {"e": [610_000, 620_000], "n": [5_450_000, 5_450_000], "side": [10_000, -1], "species": ["Fagus sylvatica"] * 2},
    )
    cells = {"west": "e", "south": "n", "size_m": size}
    columns = {"cells": cells, "species": "species", "crs": "EPSG:32633"}
    rows = pd.concat(read_records(config_of(tmp_path, records={"table": "atlas.csv", "columns": columns})), ignore_index=True)
    assert len(rows) == (2 if size == 10_000 else 1)
    x, y = Transformer.from_crs(32633, 3035, always_xy=True).transform(615_000, 5_455_000)
    np.testing.assert_allclose(rows.loc[0, ["x", "y"]].to_numpy(float), [x, y], atol=1e-6)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"species": "s", "longitude": "x"}, "give 'longitude' and 'latitude', or 'cells'"),
        ({"species": "s", "longitude": "x", "latitude": "y", "cells": "c"}, "give 'longitude' and 'latitude', or 'cells'"),
        ({"species": "s"}, "give 'longitude' and 'latitude', or 'cells'"),
        ({"species": "s", "cells": "c", "crs": "EPSG:3035"}, "'crs' belongs to"),
    ],
)
def test_a_record_lies_at_a_point_or_in_a_cell(tmp_path: Path, columns: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config_of(tmp_path, records={"table": "a.csv", "columns": columns})


def test_projected_coordinates_of_records_are_read_in_their_system(tmp_path: Path) -> None:
    write_table(tmp_path / "po.csv", {"x": [600_000], "y": [5_450_000], "species": ["Fagus sylvatica"]})
    columns = {"longitude": "x", "latitude": "y", "crs": "EPSG:32633", "species": "species"}
    rows = pd.concat(read_records(config_of(tmp_path, records={"table": "po.csv", "columns": columns})))
    x, y = Transformer.from_crs(32633, 3035, always_xy=True).transform(600_000, 5_450_000)
    np.testing.assert_allclose(rows[["x", "y"]].to_numpy()[0], [x, y], atol=0.01)


@pytest.mark.parametrize("grid", ["eea", "mgrs"])
def test_a_real_occurrence_cube_is_read_whole(tmp_path: Path, real_data: Path, grid: str) -> None:
    path = real_data / "formats/gbif-cubes" / f"denmark_mammals_cube_{grid}.csv"
    columns = {
        "cells": f"{grid}cellcode",
        "species": "species",
        "year": "year",
        "uncertainty_m": "mincoordinateuncertaintyinmeters",
    }
    region = {"west_km": 3900, "south_km": 3400, "east_km": 4700, "north_km": 3900}
    stream = read_records(config_of(tmp_path, region=region, records={"table": str(path), "columns": columns}))
    rows = pd.concat(stream, ignore_index=True)
    truth = pd.read_csv(path, sep="\t")
    tally = stream.report.tallies["records"]
    assert tally.read == len(truth) == len(rows) + sum(tally.left_out.values())
    assert len(rows) > 0.97 * len(truth)
    assert set(rows["name"]) <= set(truth["species"])
    assert (rows["square_m"] == 1_000).all()
    if grid == "eea":
        corner = truth[f"{grid}cellcode"].str.extract(r"1kmE(\d+)N(\d+)").astype(float) * 1000 + 500
        inside = corner[0].between(3_900_000, 4_700_000) & corner[1].between(3_400_000, 3_900_000)
        np.testing.assert_allclose(rows["x"], corner.loc[inside & truth["species"].notna(), 0])


@pytest.mark.parametrize(("longitude", "latitude", "words"), [(49.2, 16.6, "seem swapped"), (616000, 5451000, "are not degrees")])
def test_positions_of_an_archive_that_are_swapped_or_projected_are_refused(
    tmp_path: Path, longitude: float, latitude: float, words: str
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/event.csv").write_text(f"eventID,decimalLongitude,decimalLatitude\n1,{longitude},{latitude}\n")
    (tmp_path / "a/occurrence.csv").write_text("eventID,occurrenceID,scientificName\n1,1,Abies alba\n")
    with pytest.raises(TableError, match=f"columns 'decimalLongitude' and 'decimalLatitude' {words}"):
        list(read_records(config_of(tmp_path, records={"darwin_core": "a"})))


def test_records_of_the_chatham_islands_are_the_same_with_longitudes_of_0_to_360(tmp_path: Path) -> None:
    """Those of the mainland lie outside the region, whichever way its longitudes count."""
    place = {"grid": {"crs": "EPSG:3793"}, "region": {"bbox": [-177.0, -44.2, -176.2, -43.7]}}
    found = []
    for turn in (0, 360):
        table = TABLE | {
            "taxon": ["Olearia traversiorum"] * 6,
            "lon": [turn - 176.5, turn - 176.4, turn - 176.3, None, 172.6, 999.0],
        }
        write_table(tmp_path / "po.csv", table | {"lat": [-43.9, -44.0, -43.95, -44, -43.5, -44]})
        stream = read_records(config_of(tmp_path, records={"table": "po.csv", "columns": COLUMNS}, **place))
        found.append(pd.concat(stream, ignore_index=True))
        assert list(found[-1]["record"]) == ["a", "b", "c"]
        noted = stream.report.remarks.get("values of lon beyond 180 degrees, taken once around the globe", (0, []))
        assert noted[0] == (3 if turn else 0)
        assert stream.report.tallies["records"].left_out == {
            "records without a position in degrees": 1,
            "records beyond 360 degrees of longitude or 90 of latitude": 1,
            "records outside the region": 1,
        }
    pd.testing.assert_frame_equal(*found)
