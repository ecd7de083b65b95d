"""What training begins with: surveys of GeoPlant joined to the predictors of a cube, or to those that GeoPlant gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cube.config import Config, load_config
from cube.errors import ConfigError, ModelError, SourceError, TableError
from cube.grid import EUROPE, Region
from cube.layers.inputs import INPUTS
from cube.storage.leaves import set_attributes
from cube.storage.ledger import Ledger
from cube.storage.progress import LAYERS, MADE_FROM
from cube.storage.store import CubeStore, create_cube, resolution_of
from inference.data.dataset import load_dataset
from inference.data.sampling import sample
from inference.evaluation.baselines.table import table_of
from tests.support.geoplant import write_cube, write_table

REGION = Region(4700, 2850, 4710, 2860, 10)
IDS = np.array([212, 7, 3018575, 42])


@pytest.fixture
def cube(tmp_path: Path) -> CubeStore:
    """Elevation, slope and a Landsat series; the last survey stands in a lake."""
    cube = create_cube(str(tmp_path / "c.zarr"), REGION, "t")
    for name in ("elevation", "slope", "landsat", "surface"):
        layer = INPUTS[name]
        cube.ensure_group(layer.group, [layer], resolution_of(layer))
        array = cube.array(layer.path)
        array[:] = np.full(array.shape, 40 if name != "surface" else 0, layer.dtype)
        set_attributes(array, {MADE_FROM: "sources", LAYERS: name})
        Ledger(cube, f"inputs/{name}", "sources").sign(next(REGION.units()), 0.0)
    cube.array("inputs/50m/surface")[:, 150:] = 1
    return cube


@pytest.mark.parametrize("wrong", ["never built", "built from another configuration"])
def test_inputs_that_are_incomplete_where_surveys_stand_are_refused(tmp_path: Path, cube: CubeStore, wrong: str) -> None:
    unit = next(REGION.units())
    if wrong == "never built":
        Ledger(cube, "inputs/landsat", "sources").withdraw(unit.name)
    else:
        Ledger(cube, "inputs/landsat", "other sources").sign(unit, 0.0)
    with pytest.raises(SourceError, match=f"the input landsat lacks 1 of 1 units .{unit.name}.*floracube build"):
        load_dataset(config_of(tmp_path), cube)


def config_of(folder: Path, **surveys: str) -> Config:
    lon, lat = EUROPE.unproject(4_700_000 + np.array([1_000.0, 2_000, 3_000, 8_000]), np.full(4, 2_855_000.0))
    columns = {
        "surveyId": np.repeat(IDS, 2),
        "lon": np.repeat(lon, 2),
        "lat": np.repeat(lat, 2),
        "year": 2018,
        "areaInM2": 100.0,
        "speciesId": [1.0, 2.0] * 4,
        "country": np.repeat(["A", "B", "A", "B"], 2),
    }
    write_table(folder / "gp/PresenceAbsenceSurveys/PA_metadata_train.csv", columns)
    write_table(folder / "gp/EnvironmentalValues/Elevation/PA-train-elevation.csv", {"surveyId": IDS, "Elevation": IDS % 1000})
    for number in IDS[:2]:
        write_cube(folder / "gp", 2024, "landsat", int(number), np.full((6, 4, 21), 127.0))
    document = {
        "title": "t",
        "cube": "c.zarr",
        "unit_km": 10,
        "sources": [],
        "species": {"min_records": 2},
        "region": {"west_km": 4700, "south_km": 2850, "east_km": 4710, "north_km": 2860},
        "surveys": {"geoplant": "gp", **surveys},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(document))
    return load_config(folder / "config.yaml")


def test_surveys_of_geoplant_learn_from_the_cube(tmp_path: Path, cube: CubeStore) -> None:
    data = load_dataset(config_of(tmp_path), cube)
    assert data.predictors.table_50m_names == ("elevation", "slope")
    assert "table_50m" in data.predictors.values
    np.testing.assert_allclose(data.predictors.values["table_50m"], np.tile([10.0, 0.4], (3, 1)), rtol=1e-6)
    assert data.surveys.species == ("species 1", "species 2")
    assert data.surveys.presence.all()


def test_surveys_of_geoplant_learn_from_its_files_and_what_they_lack_is_told(tmp_path: Path, cube: CubeStore) -> None:
    data = load_dataset(config_of(tmp_path, predictors="files"), cube)
    assert list(data.table.surveys["survey"]) == ["212", "7", "3018575"]  # the lake is left out of both
    # Only what the cube has too: a model is to predict from it.
    assert data.predictors.table_50m_names == ("elevation",)
    assert "table_50m" in data.predictors.values
    assert data.predictors.values["table_50m"][:, 0].tolist() == [212, 7, 575]
    assert "landsat" in data.predictors.values
    np.testing.assert_allclose(data.predictors.values["landsat"][:2], 0.5)
    assert np.isnan(data.predictors.values["landsat"][2]).all()
    assert data.reports[-1].remarks == {"places without a Landsat series": (1, ["3018575"])}


def test_groups_are_read_from_the_column_that_is_named(tmp_path: Path, cube: CubeStore) -> None:
    given = config_of(tmp_path)
    asked = given.model_copy(update={"evaluate": given.evaluate.model_copy(update={"groups": "country"})})
    of_geoplant = load_dataset(asked, cube)
    country = dict(zip(map(str, IDS), "ABAB", strict=True))
    assert list(of_geoplant.groups) == [country[s] for s in of_geoplant.table.surveys["survey"]]
    columns = {"survey": "id", "longitude": "lon", "latitude": "lat", "species": "name"}
    given = _tables(tmp_path, ["Poa annua"] * 4, columns)
    head, *lines = (tmp_path / "plots.csv").read_text().splitlines()
    (tmp_path / "plots.csv").write_text("\n".join([f"{head},land", *(f"{line}," for line in lines)]) + "\n")
    asked = given.model_copy(update={"evaluate": given.evaluate.model_copy(update={"groups": "land"})})
    assert list(load_dataset(asked, cube).groups) == ["", "", "", ""]
    wrong = given.model_copy(update={"evaluate": given.evaluate.model_copy(update={"groups": "nation"})})
    with pytest.raises(TableError, match="there is no column 'nation'"):
        load_dataset(wrong, cube)


def _with_predictors(folder: Path, **surveys: Any) -> Config:
    """Four surveys whose table has predictors, one of them without a number, one with a value that means no data."""
    columns = {"survey": "id", "longitude": "lon", "latitude": "lat", "species": "name", **surveys}
    given = _tables(folder, ["Poa annua"] * 4, columns)
    head, *lines = (folder / "plots.csv").read_text().splitlines()
    more = ["7.5,32767,a", "6,3,a", ",4,a", "high,5,a"]
    (folder / "plots.csv").write_text("\n".join([f"{head},pH,height,word", *map(",".join, zip(lines, more, strict=True))]) + "\n")
    return given


@pytest.mark.parametrize("alone", [False, True])
def test_predictors_are_read_from_the_columns_of_the_surveys_table(tmp_path: Path, cube: CubeStore, alone: bool) -> None:
    given = _with_predictors(tmp_path, predictors=["pH", "height"], predictors_nodata=[32767])
    if alone:
        cube = create_cube(str(tmp_path / "surface.zarr"), REGION, "t")
        layer = INPUTS["surface"]
        cube.ensure_group(layer.group, [layer], resolution_of(layer))
        cube.array(layer.path)[:] = 0
    data = load_dataset(given, cube)
    layers = () if alone else ("elevation", "slope")
    assert data.predictors.table_50m_names == (*layers, "table.pH", "table.height")
    assert "table_50m" in data.predictors.values
    np.testing.assert_array_equal(data.predictors.values["table_50m"][:, -2:], [[7.5, np.nan], [6, 3], [np.nan, 4], [np.nan, 5]])
    assert data.table.report.remarks["surveys without a value of the predictor 'height'"] == (1, ["s0"])
    assert table_of(data.predictors).shape[1] == 2, "a peer reads the same columns, here those that are not constant"
    with pytest.raises(ModelError, match=r"^The model reads pH, height from the surveys' table, .*; to make maps, give rasters"):
        sample(cube, data.recipe, data.surveys.x, data.surveys.y, 1)


def test_predictors_of_a_table_that_cannot_be_read_are_named(tmp_path: Path, cube: CubeStore) -> None:
    with pytest.raises(TableError, match="there is no column 'depth'"):
        load_dataset(_with_predictors(tmp_path, predictors=["depth"]), cube)
    with pytest.raises(TableError, match=r"plots.csv: column 'word' holds no number.*; name another column"):
        load_dataset(_with_predictors(tmp_path, predictors=["word"]), cube)
    for wrong, words in (
        ({"predictors": ["pH", "pH"]}, "names a column twice"),
        ({"predictors_nodata": [1]}, "belongs to 'predictors'"),
    ):
        with pytest.raises(ConfigError, match=words):
            _with_predictors(tmp_path, **wrong)
    given = _with_predictors(tmp_path, predictors=["pH"])
    document = yaml.safe_load((tmp_path / "config.yaml").read_text())
    document["records"] = {"table": "r.csv", "columns": {"longitude": "lon", "latitude": "lat", "species": "name"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError, match=r"columns that records do not have; set train\.likelihood to surveys_only"):
        load_dataset(load_config(given.path), cube)


def test_records_alone_give_a_dataset_whose_surveys_have_no_rows(tmp_path: Path, cube: CubeStore) -> None:
    given = _tables(tmp_path, ["Poa annua"] * 4, {"survey": "id", "longitude": "lon", "latitude": "lat", "species": "name"})
    lines = (tmp_path / "plots.csv").read_text().splitlines()[1:]
    (tmp_path / "records.csv").write_text("lon,lat,name\n" + "".join(f"{line.split(',', 1)[1]},Poa annua\n" for line in lines))
    document = yaml.safe_load((tmp_path / "config.yaml").read_text())
    del document["surveys"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError, match="neither surveys nor records"):
        load_dataset(load_config(tmp_path / "config.yaml"), cube)
    document["records"] = {"table": "records.csv", "columns": {"longitude": "lon", "latitude": "lat", "species": "name"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(document))
    data = load_dataset(load_config(tmp_path / "config.yaml"), cube)
    assert data.surveys.presence.shape == (0, 1)
    assert len(data.records) == 4
    assert len(data.records.background) > 100
    assert given.surveys is not None


def test_a_species_in_every_survey_and_a_survey_without_species_are_named(tmp_path: Path, cube: CubeStore) -> None:
    columns = {"survey": "id", "longitude": "lon", "latitude": "lat", "species": "name"}
    config = _tables(tmp_path, ["Poa annua", "Poa annua", "Poa annua", "Poa annua"], columns)
    report = load_dataset(config, cube).table.report
    assert report.remarks["species in every survey: where they are absent is not learned, their maps are near 1"] == (
        1,
        ["Poa annua"],
    )
    config = _tables(tmp_path, ["Poa annua", "Poa annua", "", "Carex alba"], columns)
    report = load_dataset(config, cube).table.report
    assert report.remarks["surveys without any species: they count as absences of all"] == (1, ["s2"])
    rare = "surveys whose species are all too rare to be modelled: they count as absences of the others"
    assert report.remarks[rare] == (1, ["s3"])
    assert not any("every survey" in reason for reason in report.remarks)


def test_too_few_records_name_the_commonest_species(tmp_path: Path, cube: CubeStore) -> None:
    columns = {"survey": "id", "longitude": "lon", "latitude": "lat", "species": "name"}
    config = _tables(tmp_path, ["Poa annua", "Carex alba", "", "Bromus erectus"], columns)
    with pytest.raises(TableError, match=r"the commonest \(.*\) has 1; set species\.min_records to 1 or less"):
        load_dataset(config, cube)
    config = _tables(tmp_path, ["", "", "", ""], columns)
    with pytest.raises(TableError, match=r"no species was found at the 4 surveys of the region; the ids of surveys"):
        load_dataset(config, cube)


def test_surveys_that_all_lie_on_water_say_so(tmp_path: Path, cube: CubeStore) -> None:
    cube.array("inputs/50m/surface")[:] = 1
    columns = {"survey": "id", "longitude": "lon", "latitude": "lat", "species": "name"}
    with pytest.raises(TableError, match=r"no survey is left: 4 surveys on permanent water, skipped \(s0"):
        load_dataset(_tables(tmp_path, ["Poa annua"] * 4, columns), cube)


def _tables(folder: Path, names: list[str], columns: dict[str, Any]) -> Config:
    """Four surveys, each with the species of `names` at its place ("": none)."""
    x = 4_700_000 + np.array([1_000.0, 2_000, 3_000, 4_000])
    lon, lat = EUROPE.unproject(x, np.full(4, 2_855_000.0))
    plots = "".join(f"s{i},{a:.5f},{b:.5f}\n" for i, (a, b) in enumerate(zip(lon, lat, strict=True)))
    (folder / "plots.csv").write_text("id,lon,lat\n" + plots)
    (folder / "species.csv").write_text("id,name\n" + "".join(f"s{i},{name}\n" for i, name in enumerate(names) if name))
    document = {
        "title": "t",
        "cube": "c.zarr",
        "unit_km": 10,
        "sources": [],
        "species": {"min_records": 2},
        "region": {"west_km": 4700, "south_km": 2850, "east_km": 4710, "north_km": 2860},
        "surveys": {"table": "plots.csv", "occurrences": "species.csv", "columns": columns},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(document))
    return load_config(folder / "config.yaml")
