"""Tables: what cannot be used is skipped, counted and named; what is missing is one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cube.config import Config, load_config
from cube.errors import TableError
from cube.records.surveys import read_surveys, species_list
from cube.records.tables import read_table
from cube.records.traits import read_traits

COLUMNS = {
    "survey": "id",
    "longitude": "lon",
    "latitude": "lat",
    "area_m2": "area",
    "year": "year",
    "species": "name",
    "cover": "cover",
}
PLOTS = """id,lon,lat,area,year
1,16.60,49.20,16,2001
2,16.61,49.21,NA,2002
3,16.62,49.22,-inf,2003
4,16.63,58.14,16,2004
5,,49.2,16,2005
6,16.64,49.23,0,two
"""
SPECIES = """id,name,cover
1,Fagus sylvatica,40
1,Fagus sylvatica,5
1,Abies  alba ,1
2,Fagus sylvatica,0
3,Abies alba,10
4,Abies alba,10
9,Abies alba,10
"""


def config_of(folder: Path, plots: str = PLOTS, species: str | None = SPECIES, **columns: Any) -> Config:
    (folder / "plots.csv").write_text(plots)
    surveys: dict[str, Any] = {"table": "plots.csv", "columns": {**COLUMNS, **columns}}
    if species is not None:
        (folder / "species.csv").write_text(species)
        surveys["occurrences"] = "species.csv"
    document = {
        "title": "t",
        "cube": "c.zarr",
        "region": {"west_km": 4700, "south_km": 2850, "east_km": 4900, "north_km": 2950},
        "unit_km": 10,
        "sources": [],
        "surveys": surveys,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(document))
    return load_config(folder / "config.yaml")


def read(config: Config) -> Any:
    assert config.surveys is not None
    return read_surveys(config, config.surveys, None, config.whole_region(), "surveys", "surveys")


def test_surveys_that_cannot_be_used_are_counted_and_named(tmp_path: Path) -> None:
    table = read(config_of(tmp_path))
    assert list(table.surveys["survey"]) == ["1", "2", "3", "6"]
    remarks = table.report.remarks
    outside = next(v for k, v in remarks.items() if "outside the region" in k)
    assert outside == (1, ["4 at 16.63 E 58.14 N"])
    assert next(v for k, v in remarks.items() if "without a position" in k) == (1, ["5"])
    assert next(v for k, v in remarks.items() if "usable area" in k) == (3, ["2", "3", "6"])
    assert np.isnan(table.surveys["area_m2"].to_numpy()[1:]).all()
    assert next(v for k, v in remarks.items() if "not a number" in k) == (1, ["6"])


def test_areas_in_hectares_are_refused(tmp_path: Path) -> None:
    table = "id,lon,lat,area_ha,year\n1,16.6,49.2,0.04,2001\n2,16.7,49.2,0.01,2001\n"
    with pytest.raises(TableError, match="column 'area_ha' holds hectares by its name; area_m2 takes square metres as numbers"):
        read(config_of(tmp_path, table, area_m2="area_ha"))
    with pytest.raises(TableError, match=r"column 'area' holds no number \(the first cell is '0\.04 ha'\); area_m2 takes"):
        read(config_of(tmp_path, table.replace("_ha", "").replace("0.04", "0.04 ha").replace("0.01", "100 m2")))


def test_years_of_surveys_are_read_by_the_rule_of_records(tmp_path: Path) -> None:
    values = ["2015-06-01", "1990/2000", "15", "0000-00-00", "1.6.2015", "9999"]
    plots = "id,lon,lat,area,year\n" + "".join(f"{i},16.6,49.2,16,{value}\n" for i, value in enumerate(values))
    table = read(config_of(tmp_path, plots=plots, species="id,name,cover\n0,Abies alba,1\n"))
    np.testing.assert_array_equal(table.surveys["year"], [2015, 1995, np.nan, np.nan, 2015, np.nan])
    assert next(v for k, v in table.report.remarks.items() if "years outside 1700" in k) == (3, ["2", "3", "5"])
    assert next(v for k, v in table.report.remarks.items() if "dated to their middle" in k) == (1, ["1"])


def test_occurrences_are_joined_summed_and_cleaned(tmp_path: Path) -> None:
    table = read(config_of(tmp_path))
    rows = {(int(r.survey), r.name): r.cover for r in table.occurrences.itertuples(index=False)}
    assert rows == {(0, "Abies alba"): 1, (0, "Fagus sylvatica"): 45, (2, "Abies alba"): 10}
    assert next(v for k, v in table.report.remarks.items() if "zero or less" in k)[0] == 1
    assert species_list(table.occurrences, 2) == ["Abies alba"]


def test_a_table_without_a_needed_column_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"plots\.csv: there is no column 'longitude'"):
        read(config_of(tmp_path, longitude="longitude"))
    with pytest.raises(TableError, match="there is no such table"):
        read_table(str(tmp_path / "nowhere.csv"))


def test_when_no_survey_is_left_the_reasons_are_said(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="outside the region"):
        read(config_of(tmp_path, plots="id,lon,lat,area,year\n4,16.63,58.14,16,2004\n"))


def test_latin1_bom_and_semicolons_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("id;name\n1;Carex höstii\n".encode("latin-1"))
    (tmp_path / "b.csv").write_bytes("\ufeffid,name\n1,Carex höstii\n".encode())
    for name in ("a.csv", "b.csv"):
        table = read_table(str(tmp_path / name), ["id", "name"])
        assert list(table["name"]) == ["Carex höstii"]


def test_traits_match_exactly_and_categories_are_reduced(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    (tmp_path / "red.csv").write_text("taxon,status,land\nAbies alba,CR(PE),CZ\nAbies alba,LC,AT\nFagus silvatica,EN,CZ\n")
    (tmp_path / "ias.csv").write_text("name,kingdom\nFagus sylvatica,Plantae\nAbies alba,Animalia\n")
    from cube.config import Trait

    traits = [
        Trait(table="red.csv", name="taxon", where={"land": "CZ"}, columns={"iucn": "status"}),
        Trait(table="ias.csv", name="name", where={"kingdom": "Plantae"}, flag="invasive"),
    ]
    columns, report = read_traits(config, traits, ["Abies alba", "Fagus sylvatica"])
    assert list(columns["iucn"]) == ["CR", ""]
    assert list(columns["invasive"]) == [False, True]
    assert report.remarks["species that red.csv does not know"] == (1, ["Fagus sylvatica"])


def test_the_real_czech_surveys_lose_only_the_wrong_latitude(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLORACUBE_DATA", str(real_data))
    config = load_config(Path(__file__).parents[3] / "examples" / "moravia.yaml")
    table = read(config)
    assert len(table.surveys) == 3906
    outside = next(v for k, v in table.report.remarks.items() if "outside the region" in k)
    assert outside[0] == 3
    assert all("58.14" in row for row in outside[1])
    assert len(species_list(table.occurrences, 100)) == 252  # without 'Crataegus species' and such
