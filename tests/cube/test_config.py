"""A configuration is checked whole, and every complaint is one sentence that names the file, the key and the fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pyproj import Transformer

from cube.config import load_config
from cube.errors import ConfigError

GOOD: dict[str, Any] = {
    "title": "test",
    "cube": "cube.zarr",
    "region": {"west_km": 4460, "south_km": 2820, "east_km": 4470, "north_km": 2830},
    "unit_km": 10,
    "sources": [{"layer": "elevation", "raster": "dem.tif", "derive": ["slope"]}],
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({**GOOD, **changes}))
    return path


def test_a_good_configuration_resolves_its_paths_from_its_own_folder(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, data="data"))
    assert config.cube_url == str(tmp_path / "cube.zarr")
    assert config.source_path("dem.tif") == str(tmp_path / "data" / "dem.tif")
    assert config.source_path("s3://bucket/dem.tif") == "s3://bucket/dem.tif"
    assert config.whole_region().unit_km == 10


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"titel": "x"}, ["titel", "not a key", "did you mean title?"]),
        ({"region": {"west_km": 1}}, ["region.south_km", "missing"]),
        ({"train": [1]}, ["train: must be a section with keys of its own (found '[1]')"]),
        ({"surveys": 3}, ["surveys: must be a section"]),
        ({"sources": "dem.tif"}, ["sources: must be a list (found 'dem.tif')"]),
        ({"unit_km": 15}, ["unit_km is 15", "10, 20, 40, 80"]),
        ({"sources": [{"layer": "elevasion", "raster": "x.tif"}]}, ["sources[0]", "elevasion", "elevation"]),
        ({"sources": [{"layer": "elevation", "raster": "x.tif", "derive": ["aspect"]}]}, ["derive", "aspect", "northness"]),
        ({"sources": [{"layer": "elevation"}]}, ["sources[0]", "raster", "stac"]),
        ({"sources": [{"layer": "elevation", "raster": "x.tif", "rezolution": 1}]}, ["sources[0].rezolution"]),
        (
            {"predict": {"region": {"west_km": 1000, "south_km": 2820, "east_km": 4470, "north_km": 2830}}},
            ["not inside"],
        ),
        ({"evaluate": {"min_records": "many"}}, ["evaluate.min_records", "many"]),
        (
            {
                "habitats": {
                    "plots": {"table": "t.csv", "columns": {"survey": "id", "species": "name", "cover": "c", "habitat": "h"}}
                }
            },
            ["habitats", "two tables", "occurrences"],
        ),
        ({"data": "${FLORACUBE_NOWHERE}"}, ["FLORACUBE_NOWHERE", "not set"]),
    ],
)
def test_a_wrong_key_or_value_is_one_sentence_with_its_place(tmp_path: Path, changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, **changes)).whole_region()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_missing_file_and_a_file_that_is_not_yaml_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_config(tmp_path / "nowhere.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("title: [unclosed\nregion: 1")
    with pytest.raises(ConfigError, match="line"):
        load_config(broken)


def test_a_variable_in_a_comment_need_not_be_set(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text("# set ${FLORACUBE_NOWHERE} first\n" + path.read_text())
    assert load_config(path).title == "test"


def test_a_region_that_is_none_names_the_file_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml: unit_km is 15; a unit is a square of"):
        load_config(write(tmp_path, unit_km=15))


def test_a_box_in_degrees_is_the_smallest_window_of_kilometres_that_holds_it(tmp_path: Path) -> None:
    west, south, east, north = box = (-3.4, 36.95, -3.2, 37.1)
    region = load_config(write(tmp_path, region={"bbox": list(box)})).whole_region()
    along = np.linspace(0, 1, 4001)
    sides = [(west + (east - west) * along, np.full_like(along, lat)) for lat in (south, north)]
    sides += [(np.full_like(along, lon), south + (north - south) * along) for lon in (west, east)]
    transformer = Transformer.from_crs("OGC:CRS84", "EPSG:3035", always_xy=True)
    x, y = np.concatenate([np.array(transformer.transform(*edge)) for edge in sides], axis=1)
    left, bottom, right, top = region.bounds
    assert 0 <= x.min() - left < 1000
    assert 0 <= right - x.max() < 1000
    assert 0 <= y.min() - bottom < 1000
    assert 0 <= top - y.max() < 1000


def test_a_box_in_degrees_of_another_grid_is_in_its_kilometres(tmp_path: Path) -> None:
    keys = {"grid": {"crs": "EPSG:2193"}, "region": {"bbox": [172.1, -43.6, 172.2, -43.5]}}
    region = load_config(write(tmp_path, **keys)).whole_region()
    x, y = Transformer.from_crs("OGC:CRS84", "EPSG:2193", always_xy=True).transform([172.1, 172.2], [-43.6, -43.5])
    assert region.grid.code == "EPSG:2193"
    assert region.contains(np.array(x), np.array(y)).all()
    assert (region.east_km - region.west_km, region.north_km - region.south_km) == (9, 12)


def test_a_box_beyond_180_degrees_is_the_one_of_negative_longitudes(tmp_path: Path) -> None:
    chatham = [
        load_config(write(tmp_path, grid={"crs": "EPSG:3793"}, region={"bbox": box})).whole_region()
        for box in ([183.0, -44.2, 183.8, -43.7], [-177.0, -44.2, -176.2, -43.7])
    ]
    assert chatham[0] == chatham[1]
    assert chatham[0].degrees == pytest.approx((-177.0, -44.2, -176.2, -43.7), abs=0.3)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"grid": {"crs": "EPSG:4326"}}, "grid.crs: expected the code of a projection in metres"),
        ({"grid": {"epsg": 3577}}, "grid.epsg: is not a key"),
        ({"grid": "EPSG:3577"}, "grid: "),
        ({"grid": {"crs": "EPSG:3857"}, "region": {"bbox": [8, 47, 9, 48]}}, "takes up 2.2. square kilometres of EPSG:3857"),
        ({"grid": {"crs": "EPSG:3577"}, "region": {"bbox": [8, 47, 9, 48]}}, "1.00 square kilometres of EPSG:3577"),
        ({"grid": {"crs": "EPSG:3832"}, "region": {"bbox": [179.9, -1, 180, 1]}}, "region: "),
        (
            {"grid": {"crs": "EPSG:2193"}, "region": {"bbox": [172.1, -43.6, 172.2, -43.5]}, "surveys": {"geoplant": "x"}},
            "grid.crs: files of GeoPlant lie in EPSG:3035",
        ),
    ],
)
def test_a_grid_that_does_not_fit_is_one_sentence(keys: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(write(tmp_path, **keys))


@pytest.mark.parametrize(
    ("window", "words"),
    [
        ({"bbox": [8, 47, 7, 48]}, ["region", "west below east"]),
        ({"bbox": [177, -19, 182, -16]}, ["region", "of each side: [177, -19, 180, -16] and [-180, -19, -178, -16]"]),
        (
            {"bbox": [177, -19, -178, -16]},
            ["region", "of each side: [177, -19, 180, -16] and [-180, -19, -178, -16]"],
        ),
        ({"bbox": [183, -19, 365, -16]}, ["region", "west below east"]),
        ({"bbox": [8, 47, 9]}, ["region", "[west, south, east, north]"]),
        ({"bbox": [8, 47, 9, 48], "west_km": 4000}, ["region", "either 'bbox'"]),
        ({"bbox": [100, 10, 101, 11]}, ["region", "outside the grid (EPSG:3035)", "`grid: {crs: ...}`"]),
        ({"bbox": [48.8, 16.5, 49.2, 17.1]}, ["region", "seem exchanged: write [16.5, 48.8, 17.1, 49.2]"]),
    ],
)
def test_a_wrong_box_in_degrees_is_one_sentence(window: dict[str, Any], words: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as told:
        load_config(write(tmp_path, region=window)).whole_region()
    for word in words:
        assert word in str(told.value)


def test_what_a_release_will_need_is_said_before_any_work(tmp_path: Path) -> None:
    assert "license and attribution of the maps are not said" in load_config(write(tmp_path)).missing_terms()
    only = load_config(write(tmp_path, license="CC0-1.0")).missing_terms()
    assert "attribution of the maps is not said" in only
    assert "`license:" not in only
    assert load_config(write(tmp_path, license="CC0-1.0", attribution="Me")).missing_terms() == ""
