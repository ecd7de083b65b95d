"""Presence-only records come in one form from tables, GeoPlant and Darwin Core, a chunk at a time; the rest is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from cube.config import Config, load_config
from cube.errors import ConfigError, TableError
from cube.grid import project
from cube.records.presence_only import RecordStream, read_records
from cube.records.surveys import read_surveys
from tests.support.geoplant import write_table

CONFIG: dict[str, Any] = {
    "title": "t", "cube": "c.zarr", "unit_km": 10, "sources": [],
    "region": {"west_km": 4700, "south_km": 2850, "east_km": 4900, "north_km": 2950},
}  # fmt: skip
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
            rows[["x", "y"]].to_numpy().T, project(rows["longitude"].to_numpy(), rows["latitude"].to_numpy())
        )
        np.testing.assert_array_equal(rows["year"], [2020, np.nan])
        assert stream.report.kept == {"records": 2}
        assert stream.report.remarks == {
            "records without a species, skipped": (1, ["c"]),
            "records less certain than 1000 m, skipped": (1, ["b"]),
            "records without a position in degrees, skipped": (1, ["d"]),
            "records outside the region, skipped": (1, ["e"]),
        }


def geoplant(root: Path) -> Path:
    write_table(root / "gp/PresenceOnlyOccurrences/PO_metadata_train.csv",
                {"surveyId": [11, 12, 13], "lon": [16.6, 16.7, 2.3], "lat": [49.2, 49.3, 48.8], "year": [2017, 2018, 2019],
                 "geoUncertaintyInM": [5.0, 50.0, 5.0], "speciesId": [1.0, 2.0, 1.0]})  # fmt: skip
    write_table(root / "gp/PresenceAbsenceSurveys/PA_metadata_train.csv",
                {"lon": [16.6, 16.6, 16.7], "lat": [49.2, 49.2, 49.3], "year": [2017, 2017, 2018],
                 "areaInM2": [100.0, 100.0, -np.inf], "speciesId": [1.0, 2.0, 9.0], "surveyId": [5, 5, 6]})  # fmt: skip
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
    assert last["name"].iloc[-1] == "Carex höstii"
    assert last["record"].iloc[-1] == "60001"
