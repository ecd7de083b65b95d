"""What `inspect` shows of sound and of damaged inputs: each flaw in its row, the other rows all the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cube.config import load_config
from cube.engine.inspect_config import Understood, inspect_config
from cube.grid import EUROPE, Region
from tests.support.rasters import Array, write_bands
from tests.system.conftest import floracube

REGION = Region(4700, 2850, 4720, 2860, 10)
WINDOW = {"west_km": 4700, "south_km": 2850, "east_km": 4720, "north_km": 2860}
COLUMNS = {"survey": "plot", "longitude": "lon", "latitude": "lat", "species": "species"}


def write(folder: Path, name: str, values: Array, size: int = 1000, **options: Any) -> None:
    write_bands(folder / name, values, REGION.transform(size), **options)


def plain(folder: Path, bands: int = 1, size: int = 1000) -> Array:
    rows, cols = REGION.shape(size)
    return np.random.default_rng(0).uniform(100, 900, (bands, rows, cols)).astype(np.float32)


def sound(folder: Path) -> dict[str, Any]:
    """A configuration without a flaw; its files are in `folder`."""
    write(folder, "dem.tif", plain(folder))
    write(folder, "frost.tif", plain(folder, 2), names=("days", "nights"))
    rng = np.random.default_rng(1)
    lon, lat = EUROPE.unproject(4_700_000 + rng.uniform(0, 20_000, 20), 2_850_000 + rng.uniform(0, 10_000, 20))
    plots = [f"{i},{a:.6f},{b:.6f}" for i, (a, b) in enumerate(zip(lon, lat, strict=True))]
    (folder / "plots.csv").write_text("\n".join(["plot,lon,lat", *plots]) + "\n")
    (folder / "species.csv").write_text("\n".join(["plot,species", *(f"{i},Poa annua" for i in range(20))]) + "\n")
    return {
        "title": "t", "cube": "c.zarr", "region": WINDOW, "unit_km": 10,
        "sources": [{"layer": "srtm", "raster": "dem.tif"}, {"layer": "frost", "raster": "frost.tif", "units": "d"}],
        "surveys": {"table": "plots.csv", "occurrences": "species.csv", "columns": dict(COLUMNS)},
    }  # fmt: skip


def told(folder: Path, document: dict[str, Any]) -> Understood:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    before = sorted(folder.iterdir())
    found = inspect_config(load_config(path))
    assert sorted(folder.iterdir()) == before
    return found


def test_sound_inputs_show_what_they_are(tmp_path: Path) -> None:
    found = told(tmp_path, sound(tmp_path))
    assert (found.problems, found.notes()) == ([], [])
    srtm, frost = found.sources
    assert (srtm.kind, srtm.resolution, srtm.crs, srtm.pixel_m, srtm.covered) == ("continuous", "1km", "EPSG:3035", 1000, 1)
    assert [(band.name, band.units) for band in frost.bands] == [("days", "d"), ("nights", "d")]
    assert srtm.bands[0].low == pytest.approx(100, abs=10)
    assert srtm.bands[0].plausible == (-500, 6000)
    assert "20 surveys" in found.text()
    assert json.loads(json.dumps(found.document()))["sources"][0]["layer"] == "srtm"


def half(folder: Path, document: dict[str, Any]) -> None:
    write(folder, "dem.tif", plain(folder)[..., :10])


def no_crs(folder: Path, document: dict[str, Any]) -> None:
    write(folder, "dem.tif", plain(folder), crs=None)


def empty_band(folder: Path, document: dict[str, Any]) -> None:
    values = plain(folder, 2)
    values[1] = np.nan
    write(folder, "frost.tif", values, names=("days", "nights"))


def in_feet_times_ten(folder: Path, document: dict[str, Any]) -> None:
    write(folder, "dem.tif", plain(folder) * 33)


def few_wrong(folder: Path, document: dict[str, Any]) -> None:
    document["sources"][1]["valid_range"] = [0, 890]


def without_a_file(folder: Path, document: dict[str, Any]) -> None:
    (folder / "dem.tif").unlink()


def class_without_a_name(folder: Path, document: dict[str, Any]) -> None:
    write(folder, "rock.tif", np.rint(plain(folder) / 300).astype(np.uint8))
    document["sources"].append({"layer": "rock", "raster": "rock.tif", "names": {1: "chalk", 2: "marl"}})


def without_units(folder: Path, document: dict[str, Any]) -> None:
    del document["sources"][1]["units"]


def elsewhere(folder: Path, document: dict[str, Any]) -> None:
    write_bands(folder / "dem.tif", plain(folder), Region(3000, 2000, 3020, 2010, 10).transform(1000))


def twice(folder: Path, document: dict[str, Any]) -> None:
    document["sources"].append({"layer": "srtm", "raster": "dem.tif"})


def not_a_raster(folder: Path, document: dict[str, Any]) -> None:
    (folder / "dem.tif").write_text("no raster")


def swapped(folder: Path, document: dict[str, Any]) -> None:
    document["surveys"]["columns"] |= {"longitude": "lat", "latitude": "lon"}


def ids_that_do_not_join(folder: Path, document: dict[str, Any]) -> None:
    (folder / "species.csv").write_text("plot,species\nA1,Poa annua\nA2,Poa annua\n")


def no_such_column(folder: Path, document: dict[str, Any]) -> None:
    document["surveys"]["columns"]["species"] = "taxon"


def a_genus(folder: Path, document: dict[str, Any]) -> None:
    with (folder / "species.csv").open("a") as file:
        file.write("3,Carex sp.\n")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (half, ["sources[0]: 1 units have no value"]),
        (no_crs, ["dem.tif: the raster has no CRS"]),
        (empty_band, ["no value anywhere in the region in nights"]),
        (in_feet_times_ten, ["lie outside [-500, 6000] m of the layer srtm"]),
        (few_wrong, ["lie outside [0, 890] d of the layer frost"]),
        (without_a_file, ["dem.tif: there is no such file"]),
        (class_without_a_name, ["no class of the layer rock"]),
        (without_units, ["in which units", "add `units: m`"]),
        (elsewhere, ["dem.tif"]),
        (twice, ["the layer srtm is given twice"]),
        (not_a_raster, ["dem.tif: cannot be read as a raster"]),
        (swapped, ["seem swapped"]),
        (ids_that_do_not_join, ["occurrences"]),
        (no_such_column, ["taxon"]),
        (a_genus, ["a name that is of no species"]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_each_flaw_is_shown_and_the_rest_is_told_all_the_same(tmp_path: Path, damage: Any, words: list[str]) -> None:
    document = sound(tmp_path)
    damage(tmp_path, document)
    found = told(tmp_path, document)
    everything = "\n".join([found.text(), *found.notes(), *found.problems])
    for word in words:
        assert word in everything
    assert any(row.covered == 1 for row in found.sources)


def test_the_command_ends_with_2_where_a_build_would_refuse(tmp_path: Path) -> None:
    document = sound(tmp_path)
    told(tmp_path, document)
    assert not floracube("inspect", str(tmp_path / "config.yaml")).returncode
    without_units(tmp_path, document)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(document))
    ended = floracube("inspect", str(tmp_path / "config.yaml"), "--json", check=False)
    assert ended.returncode == 2
    assert "in which units" in json.loads(ended.stdout)["problems"][0]


def test_layers_that_stand_in_the_way_of_each_other_are_refused_before_a_build(tmp_path: Path) -> None:
    document = sound(tmp_path)
    document["sources"].append({"layer": "frost_band", "raster": "dem.tif", "units": "m"})
    assert any(
        "the layer frost_band has the name of an axis of the layer frost" in text for text in told(tmp_path, document).problems
    )
    document = sound(tmp_path)
    document["sources"] = [
        {"layer": "elevation", "raster": "dem.tif", "derive": ["slope"]},
        {"layer": "slope", "raster": "dem.tif", "scale": 0.01},
    ]
    assert any("the layer slope is given twice" in text for text in told(tmp_path, document).problems)


def test_a_usual_number_for_no_data_among_predictors_of_the_table_is_told(tmp_path: Path) -> None:
    document = sound(tmp_path)
    lines = (tmp_path / "plots.csv").read_text().splitlines()
    cells = ["temp", "-9999", *(str(i) for i in range(19))]
    (tmp_path / "plots.csv").write_text("\n".join(f"{a},{b}" for a, b in zip(lines, cells, strict=True)) + "\n")
    document["surveys"]["columns"]["predictors"] = ["temp"]
    assert "1 surveys whose predictor 'temp' is -9999 or lower" in told(tmp_path, document).text()
    document["surveys"]["columns"]["predictors_nodata"] = [-9999]
    assert "-9999 or lower" not in told(tmp_path, document).text()
