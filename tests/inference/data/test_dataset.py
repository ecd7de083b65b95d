"""What training begins with: surveys of GeoPlant joined to the predictors of a cube, or to those that GeoPlant gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from cube.config import Config, load_config
from cube.grid import Region, unproject
from cube.inputs import INPUTS
from cube.storage.store import CubeStore, create_cube, resolution_of
from inference.data.dataset import load_dataset
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
    cube.array("inputs/50m/surface")[:, 150:] = 1
    return cube


def config_of(folder: Path, **surveys: str) -> Config:
    lon, lat = unproject(4_700_000 + np.array([1_000.0, 2_000, 3_000, 8_000]), np.full(4, 2_855_000.0))
    columns = {"surveyId": np.repeat(IDS, 2), "lon": np.repeat(lon, 2), "lat": np.repeat(lat, 2), "year": 2018,
               "areaInM2": 100.0, "speciesId": [1.0, 2.0] * 4}  # fmt: skip
    write_table(folder / "gp/PresenceAbsenceSurveys/PA_metadata_train.csv", columns)
    write_table(folder / "gp/EnvironmentalValues/Elevation/PA-train-elevation.csv", {"surveyId": IDS, "Elevation": IDS % 1000})
    for number in IDS[:2]:
        write_cube(folder / "gp", 2024, "landsat", int(number), np.full((6, 4, 21), 127.0))
    document = {
        "title": "t", "cube": "c.zarr", "unit_km": 10, "sources": [], "species": {"min_records": 2},
        "region": {"west_km": 4700, "south_km": 2850, "east_km": 4710, "north_km": 2860},
        "surveys": {"geoplant": "gp", **surveys},
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(document))
    return load_config(folder / "config.yaml")


def test_surveys_of_geoplant_learn_from_the_cube(tmp_path: Path, cube: CubeStore) -> None:
    data = load_dataset(config_of(tmp_path), cube)
    assert data.predictors.static_names == ("elevation", "slope")
    assert data.predictors.static is not None
    np.testing.assert_allclose(data.predictors.static, np.tile([10.0, 0.4], (3, 1)), rtol=1e-6)
    assert data.surveys.species == ("species 1", "species 2")
    assert data.surveys.presence.all()


def test_surveys_of_geoplant_learn_from_its_files_and_what_they_lack_is_told(tmp_path: Path, cube: CubeStore) -> None:
    data = load_dataset(config_of(tmp_path, predictors="files"), cube)
    assert list(data.table.surveys["survey"]) == ["212", "7", "3018575"]  # the lake is left out of both
    # Only what the cube has too: a model is to predict from it.
    assert data.predictors.static_names == ("elevation",)
    assert data.predictors.static is not None
    assert data.predictors.static[:, 0].tolist() == [212, 7, 575]
    assert data.predictors.landsat is not None
    np.testing.assert_allclose(data.predictors.landsat[:2], 0.5)
    assert np.isnan(data.predictors.landsat[2]).all()
    assert data.reports[-1].remarks == {"places without a Landsat series": (1, ["3018575"])}
