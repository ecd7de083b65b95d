"""A small region of Australia from layers with names that no code knows, through the whole cascade, to a server."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
import yaml
from pyproj import Transformer

import floracube as front
from cube.grid import Grid, Region
from cube.storage.store import open_cube
from inference.cascade.model import load_model
from tests.support.embeddings import write_zarr_zones
from tests.support.rasters import Array, write_bands
from tests.system.conftest import ROOT, floracube

pytestmark = pytest.mark.slow

REGION = Region(1440, -4030, 1450, -4020, 10, Grid.of("EPSG:3577"))  # New South Wales
WINDOW = {"west_km": 1440, "south_km": -4030, "east_km": 1450, "north_km": -4020}
NAMES = ("thicket_height", "bedrock_kind", "verdure_cycle", "frost_tally", "ground_imprint")
SPECIES = ("Alba prima", "Bella secunda", "Carex tertia", "Dianthus quartus", "Erica quinta", "Festuca sexta")

write_raster = partial(write_bands, crs=REGION.grid.code)


def smooth(rng: np.random.Generator, size: int) -> Array:
    """(rows, cols) of waves between 0 and 1, some kilometres long, at `size` metres a pixel."""
    rows, cols = REGION.shape(size)
    y, x = np.mgrid[0:rows, 0:cols] * size / 1000
    waves = sum(np.sin((x * np.cos(a) + y * np.sin(a)) * k + p) for a, k, p in rng.uniform(0.5, 3, (4, 3)))
    return np.asarray((waves - waves.min()) / np.ptp(waves), np.float32)


def write_sources(folder: Path) -> list[dict[str, Any]]:
    rng = np.random.default_rng(5)
    height = smooth(rng, 10) * 30
    write_raster(folder / "chm.tif", np.rint(height / 0.2).astype(np.uint8), REGION.transform(10), nodata=255)
    with rasterio.open(folder / "chm.tif", "r+") as file:
        file.scales, file.units = (0.2,), ("m",)
    rock = 1 + np.digitize(smooth(rng, 50), (0.4, 0.6)).astype(np.int16) * 3  # 1, 4, 7
    write_raster(folder / "rock.tif", rock, REGION.transform(50))
    (folder / "rock.csv").write_text("value,name,colour\n1,granite,#aa0000\n4,limestone,#00aa00\n7,red sandstone,#0000aa\n")
    peak = smooth(rng, 50)
    (folder / "green").mkdir()
    for month in range(1, 13):
        write_raster(folder / f"green/{month:02d}.tif", peak * np.float32(np.sin(month / 4) ** 2), REGION.transform(50))
    write_raster(
        folder / "frost.tif",
        np.stack([smooth(rng, 1000) * 90, smooth(rng, 1000) * 9]),
        REGION.transform(1000),
        ("Frost days", "Late frosts"),
    )
    climate = np.stack([8 + 3 * smooth(rng, 1000), 700 + 40 * smooth(rng, 1000), 500 + 300 * smooth(rng, 1000)])
    write_raster(folder / "wc.tif", climate, REGION.transform(1000), ("bio_1", "bio_4", "bio_12"))
    # Classes of 10 m, in a layer that has the name of a method of torch's modules.
    cover = np.repeat(np.repeat(np.digitize(smooth(rng, 50), (0.5,)), 5, 0), 5, 1).astype(np.uint8)
    write_raster(folder / "cover.tif", cover, REGION.transform(10))
    traces = write_embedding(folder, rng)
    drivers = [height[2::5, 2::5] / 30, rock == 4, rock == 7, peak, cover[2::5, 2::5], traces]
    write_surveys(folder, rng, drivers)
    return [
        {"layer": "thicket_height", "raster": "chm.tif", "long_name": "Height of the thicket"},
        {"layer": "bedrock_kind", "raster": "rock.tif", "kind": "class", "names": "rock.csv", "license": "CC0-1.0"},
        {"layer": "verdure_cycle", "raster": "green/{month}.tif", "units": "1", "derive": ["amplitude"]},
        {"layer": "frost_tally", "raster": "frost.tif", "units": "d"},
        {"layer": "train", "raster": "cover.tif", "kind": "class", "names": {0: "closed", 1: "open"}},
        {"layer": "ground_imprint", "embedding": "tessera", "path": "tiles.zarr", "year": 2024},
        {"layer": "bioclim", "raster": "wc.tif", "bands": ["bio1", "bio4", "bio12"]},
    ]


def write_embedding(folder: Path, rng: np.random.Generator) -> Array:
    """TESSERA over the region, in its UTM zone; returns the driver (rows, cols) behind it, 0 to 1, at 50 m."""
    to_grid = Transformer.from_crs(32655, REGION.grid.epsg, always_xy=True)
    west, south, east, north = zone_bounds(to_grid)
    weights = rng.normal(size=(2, 128, 1, 1))

    def vectors(x: Array, y: Array) -> Array:
        driver = trace(*to_grid.transform(x, y))
        return np.tanh(weights[0] * (driver - 0.5) + 0.3 * weights[1])

    cols, rows = round((east - west) / 10), round((north - south) / 10)
    write_zarr_zones(folder / "tiles.zarr", (2023, 2024), {55: (west, north, rows, cols)}, vectors)
    y, x = REGION.coordinates(50)
    return trace(x[None, :], y[:, None])


def trace(x: Array, y: Array) -> Array:
    """A pattern of 0 to 1, about a kilometre wide, by metres of the grid."""
    return np.asarray(0.5 + 0.5 * np.sin(x / 400) * np.sin(y / 300))


def zone_bounds(to_grid: Transformer) -> tuple[float, ...]:
    """The region's box in the UTM zone, on whole 10 m; northings are below zero there."""
    box = to_grid.transform_bounds(*REGION.bounds, direction="INVERSE")
    low, high = (np.floor(np.array(box[:2]) / 10) * 10 - 100, np.ceil(np.array(box[2:]) / 10) * 10 + 100)
    return (*map(float, low), *map(float, high))


def write_surveys(folder: Path, rng: np.random.Generator, drivers: list[Array]) -> None:
    """300 plots; each species follows one driver."""
    rows, cols = rng.integers(0, 200, (2, 300))
    lon, lat = REGION.grid.unproject(REGION.bounds[0] + cols * 50.0 + 25, REGION.bounds[3] - rows * 50.0 - 25)
    lines, listed = ["plot,lon,lat,year,area"], ["plot,species"]
    for i in range(300):
        lines.append(f"{i},{lon[i]:.6f},{lat[i]:.6f},2015,100")
        for name, driver in zip(SPECIES, drivers, strict=True):
            if rng.random() < 0.05 + 0.8 * float(driver[rows[i], cols[i]]):
                listed.append(f"{i},{name}")
    (folder / "plots.csv").write_text("\n".join(lines) + "\n")
    (folder / "species.csv").write_text("\n".join(listed) + "\n")


def configuration(folder: Path, sources: list[dict[str, Any]]) -> Path:
    path = folder / "config.yaml"
    columns = {"survey": "plot", "longitude": "lon", "latitude": "lat", "year": "year", "area_m2": "area", "species": "species"}
    path.write_text(
        yaml.safe_dump(
            {
                "title": "Layers of any name",
                "cube": "cube.zarr",
                "grid": {"crs": REGION.grid.code},
                "region": WINDOW,
                "unit_km": 10,
                "sources": sources,
                "license": "CC0-1.0",
                "attribution": "Nobody",
                "surveys": {"table": "plots.csv", "occurrences": "species.csv", "columns": columns},
                "network": {"d": 16, "hidden": 32, "width": 8, "dilations": [1]},
                "train": {"members": 2, "epochs": 250, "threads": 1},
                "evaluate": {"block_km": 1, "options": {"bootstraps": 20, "trees": 20}},
            },
            sort_keys=False,
        )
    )
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("named")
    config = configuration(folder, write_sources(folder))
    for command in ("build", "train", "predict"):
        floracube(command, str(config))
    return config


def test_no_code_knows_these_names() -> None:
    for name in NAMES:
        found = subprocess.run(
            ["git", "grep", "-l", name, "--", "cube", "inference", "server", "demo", "floracube.py"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.stdout == ""


def test_the_model_names_each_channel_after_its_layer_and_learned_from_it(made: Path) -> None:
    spec = load_model(made.parent / "model").ensemble.spec
    assert set(spec.modalities) == {"thicket_height", "train", "verdure_cycle", "table_50m", "table_1km", "survey"}
    assert spec.channels("thicket_height") == ("thicket_height",)
    assert spec.channels("train") == ("train.closed", "train.open")
    imprint = {f"ground_imprint.{i:03d}" for i in range(128)}
    assert imprint < set(spec.table_50m_names)
    assert set(spec.table_50m_names) - imprint == {
        "bedrock_kind.granite",
        "bedrock_kind.limestone",
        "bedrock_kind.red_sandstone",
        "verdure_cycle_amplitude",
    }
    assert set(spec.table_1km_names) == {
        "frost_tally.frost_days",
        "frost_tally.late_frosts",
        "bioclim.bio1",
        "bioclim.bio4",
        "bioclim.bio12",
    }
    assert (spec.inputs["verdure_cycle"].steps, spec.inputs["verdure_cycle"].period) == (12, 12)
    rows = json.loads(floracube("evaluate", str(made), "--json").stdout)
    aucs = [value for row in rows if str(row["method"]) == "floracube" for key, value in row.items() if "AUC" in key]
    assert aucs, rows[0]
    assert aucs[0] > 0.65


def test_maps_follow_the_driver_of_their_species(made: Path) -> None:
    opened = front.open(str(made.parent / "cube.zarr"))
    limestone = opened.inputs["bedrock_kind"].values == 4
    bella = opened.species["Bella secunda"].values
    assert np.nanmean(bella[limestone]) > 2 * np.nanmean(bella[~limestone])
    y, x = REGION.coordinates(50)
    traced, festuca = trace(x[None, :], y[:, None]), opened.species["Festuca sexta"].values
    assert np.nanmean(festuca[traced > 0.7]) > 1.3 * np.nanmean(festuca[traced < 0.3])


def test_info_check_server_and_export_show_them_with_title_units_bands_and_classes(made: Path, tmp_path: Path) -> None:
    from fastapi.testclient import TestClient

    from server.main import create_app

    url = str(made.parent / "cube.zarr")
    told = json.loads(floracube("info", url, "--json").stdout)["inputs"]
    assert (told["thicket_height"]["title"], told["thicket_height"]["units"]) == ("Height of the thicket", "m")
    assert told["verdure_cycle_amplitude"]["title"] == "Verdure cycle, amplitude of the year"
    assert told["frost_tally"]["bands"] == ["frost_days", "late_frosts"]
    assert set(NAMES) < set(told)
    assert floracube("check", url, "--values", check=False).returncode in (0, None)
    with TestClient(create_app([url])) as client:
        layers = {x["id"]: x for x in client.get("/layers", params={"limit": 1000}).json()["layers"]}
        assert layers["inputs.thicket_height"]["units"] == "m"
        assert layers["inputs.verdure_cycle_amplitude"]["title"].startswith("Verdure cycle, amplitude")
        assert layers["inputs.frost_tally.late-frosts"]["units"] == "d"
        assert layers["inputs.bedrock_kind"]["license"] == "CC0-1.0"
        legend = client.get("/layers/inputs.bedrock_kind/legend.json").json()
        item = client.get("/stac/items/inputs.1km").json()["properties"]
        assert item["cube:variables"]["frost_tally"]["unit"] == "d"
        assert [row["label"] for row in legend["classes"]] == ["granite", "limestone", "red sandstone"]
    floracube("export", url, "inputs.frost_tally", str(tmp_path / "frost.tif"))
    with rasterio.open(tmp_path / "frost.tif") as file:
        assert file.descriptions == ("frost_days", "late_frosts")


def test_xarray_alone_sees_units_and_bands(made: Path) -> None:
    group = xr.open_zarr(str(made.parent / "cube.zarr"), group="inputs/1km")
    assert group["frost_tally"].attrs["units"] == "d"
    assert group["frost_tally_band"].values.tolist() == ["frost_days", "late_frosts"]
    finer = xr.open_zarr(str(made.parent / "cube.zarr"), group="inputs/50m")["ground_imprint"]
    assert finer.attrs["units"] == "1"
    assert finer["ground_imprint_band"].values.tolist() == [f"{i:03d}" for i in range(128)]
    assert abs(float(finer[5].mean())) < 1  # decoded by the scale that the array has
    assert group["bioclim_variable"].values.tolist() == ["bio1", "bio4", "bio12"]


def test_a_cube_whose_layer_is_in_other_units_is_refused(made: Path, tmp_path: Path) -> None:
    document = yaml.safe_load(made.read_text())
    document["sources"][0] |= {"units": "ft", "scale": 3.280839895}
    document["cube"], document["model"] = str(tmp_path / "feet.zarr"), str(made.parent / "model")
    config = made.parent / "feet.yaml"
    config.write_text(yaml.safe_dump(document))
    floracube("build", str(config))
    ended = floracube("predict", str(config), check=False)
    assert ended.returncode == 2
    words = " ".join(ended.stderr.split())
    assert "the layer thicket_height is not what the model" in words
    assert "its units: ft, where the model learned from m" in words
    assert open_cube(str(tmp_path / "feet.zarr")).layers()["thicket_height"].units == "ft"
