"""Regions outside Europe on a projection of their own: built, trained, predicted, checked, served, exported and read alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
import yaml
from fastapi.testclient import TestClient
from pyproj import CRS, Transformer
from rasterio.io import MemoryFile

import floracube as front
from cube.errors import CubeError
from cube.grid import Grid, Region
from cube.storage.store import create_cube
from server.main import create_app
from tests.support.rasters import write_bands
from tests.system.conftest import floracube

pytestmark = pytest.mark.slow

# New South Wales in GDA94 Australian Albers, the Canterbury Plains in NZTM, whose first axis is the northing.
REGIONS = {
    code: Region(*window, 10, Grid.of(code))
    for code, window in {
        "EPSG:3577": (1440, -4030, 1450, -4020),
        "EPSG:2193": (1530, 5180, 1540, 5190),
    }.items()
}
SPECIES = ("Acacia prima", "Brachyscome secunda", "Cassinia tertia")


@dataclass(frozen=True)
class Made:
    config: Path
    region: Region
    dry: np.ndarray  # (200, 200) 0 in the west to 1 in the east

    @property
    def url(self) -> str:
        return str(self.config.parent / "cube.zarr")

    def degrees(self, row: float, col: float) -> tuple[float, float]:
        """Longitude and latitude of a cell's centre, by pyproj."""
        west, _, _, north = self.region.bounds
        back = Transformer.from_crs(self.region.grid.code, "EPSG:4326", always_xy=True)
        lon, lat = back.transform(west + (col + 0.5) * 50, north - (row + 0.5) * 50)
        return float(lon), float(lat)


@pytest.fixture(scope="module", params=sorted(REGIONS))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder, region = tmp_path_factory.mktemp("grid"), REGIONS[request.param]
    west, south, east, north = region.bounds
    dry = np.broadcast_to(np.linspace(0, 1, 200, dtype=np.float32), (200, 200))
    write_bands(folder / "dry.tif", dry, region.transform(50), crs=region.grid.code)
    # Longitude itself, on a grid of degrees: what reprojection must bring to each cell.
    left, bottom, right, top = region.degrees
    side = 0.001
    lon = left - 0.02 + side * (np.arange(int((right - left + 0.04) / side)) + 0.5)
    rows = int((top - bottom + 0.04) / side)
    place = rasterio.Affine(side, 0, left - 0.02, 0, -side, top + 0.02)
    write_bands(folder / "lon.tif", np.broadcast_to(lon, (rows, len(lon))).astype(np.float32), place, crs="EPSG:4326")
    rng = np.random.default_rng(3)
    made = Made(folder / "config.yaml", region, dry)
    plots, listed = ["plot,lon,lat,year,area"], ["plot,species"]
    for i, (row, col) in enumerate(rng.integers(0, 200, (200, 2))):
        x, y = made.degrees(float(row), float(col))
        plots.append(f"{i},{x:.7f},{y:.7f},2015,100")
        for name, chance in zip(SPECIES, (dry[row, col], 1 - dry[row, col], 0.4), strict=True):
            if rng.random() < 0.05 + 0.9 * chance:
                listed.append(f"{i},{name}")
    (folder / "plots.csv").write_text("\n".join(plots) + "\n")
    (folder / "species.csv").write_text("\n".join(listed) + "\n")
    columns = {"survey": "plot", "longitude": "lon", "latitude": "lat", "year": "year", "area_m2": "area", "species": "species"}
    made.config.write_text(
        yaml.safe_dump(
            {
                "title": "Another grid",
                "cube": "cube.zarr",
                "grid": {"crs": region.grid.code},
                "unit_km": 10,
                "region": {
                    "west_km": west // 1000,
                    "south_km": south // 1000,
                    "east_km": east // 1000,
                    "north_km": north // 1000,
                },
                "license": "CC0-1.0",
                "attribution": "Nobody",
                "sources": [
                    {"layer": "dryness", "raster": "dry.tif", "units": "1", "resolution": "50m"},
                    {"layer": "meridian", "raster": "lon.tif", "units": "degree", "resolution": "50m"},
                ],
                "surveys": {"table": "plots.csv", "occurrences": "species.csv", "columns": columns},
                "network": {"d": 16, "hidden": 32, "width": 8, "dilations": [1]},
                "train": {"members": 2, "least_steps": 150, "epochs": 1, "threads": 1},
                "evaluate": {"block_km": 1, "options": {"bootstraps": 20, "trees": 20}},
            },
            sort_keys=False,
        )
    )
    for command in ("build", "train", "predict"):
        floracube(command, str(made.config))
    return made


def test_cells_lie_where_pyproj_says(made: Made) -> None:
    opened = front.open(made.url)
    lon, lat = made.degrees(17, 120)
    cell = opened.at(lon, lat)
    assert (float(cell.x), float(cell.y)) == (made.region.bounds[0] + 6025, made.region.bounds[3] - 875)
    stored = opened.inputs["meridian"].values
    rows, cols = np.mgrid[0:200:40, 0:200:40]
    truth = [[made.degrees(r, c)[0] for c in cols[0]] for r in rows[:, 0]]
    np.testing.assert_allclose(stored[rows, cols], truth, atol=2e-5)  # float32 of 170 degrees


def test_maps_follow_their_driver_and_every_promise_holds(made: Made) -> None:
    opened = front.open(made.url)
    wet = opened.species[SPECIES[1]].values
    assert np.nanmean(wet[made.dry < 0.3]) > 2 * np.nanmean(wet[made.dry > 0.7])
    assert json.loads(floracube("info", made.url, "--json").stdout)["crs"] == made.region.grid.code
    assert floracube("check", made.url, "--values", check=False).returncode in (0, None)


def test_other_tools_read_the_projection(made: Made, tmp_path: Path) -> None:
    wanted = CRS(made.region.grid.code)
    group = xr.open_zarr(made.url, group="inputs/50m")
    assert CRS.from_wkt(group["spatial_ref"].attrs["crs_wkt"]) == wanted
    assert CRS(group.attrs["proj:code"]) == wanted
    floracube("export", made.url, "inputs.dryness", str(tmp_path / "dry.tif"))
    with rasterio.open(tmp_path / "dry.tif") as file:
        assert file.crs.to_epsg() == made.region.grid.epsg
        assert tuple(file.bounds) == tuple(map(float, made.region.bounds))
        np.testing.assert_allclose(file.read(1), made.dry, atol=1e-6)


def test_the_server_maps_it_there(made: Made) -> None:
    epsg, own = made.region.grid.epsg, f"FloracubeGrid{made.region.grid.epsg}"
    lon, lat = made.degrees(100, 150)
    with TestClient(create_app([made.url])) as client:
        assert client.get(f"/point/{lon},{lat}").json()["cell"].startswith("50mE")
        value = client.get(f"/layers/inputs.dryness/point/{lon},{lat}").json()["values"]
        assert value == [pytest.approx(made.dry[100, 150], abs=1e-4)]
        assert client.get("/layers/inputs.dryness/info").json()["crs"].endswith(f"EPSG/0/{epsg}")
        assert client.get("/stac/items/inputs.50m").json()["properties"]["proj:code"] == made.region.grid.code
        # 12: a pixel is a cell. Counted from 20,000 km west and north.
        east, north = (made.region.bounds[0] + 5000, made.region.bounds[3] - 5000)
        col, row = (east + 20_000_000) // 12_800, (20_000_000 - north) // 12_800
        answer = client.get(f"/layers/inputs.dryness/tiles/{own}/12/{col}/{row}.tif")
        with MemoryFile(answer.content) as memory, memory.open() as file:
            assert file.crs.to_epsg() == epsg
            left, top = (int(v) for v in file.transform @ (0, 0))
            into, down = (made.region.bounds[0] - left) // 50, (top - made.region.bounds[3]) // 50
            seen = file.read(1)[max(down, 0) : down + 200, max(into, 0) : into + 200]
            truth = made.dry[max(-down, 0) : 256 - down, max(-into, 0) : 256 - into]
            np.testing.assert_allclose(seen, truth, atol=1e-4)
        assert client.get(f"/layers/inputs.dryness/tiles/{own}/12/{col}/{row}.png").status_code == 200
        limits = client.get(f"/layers/inputs.dryness/tiles/{own}").json()["tileMatrixSetLimits"][12]
        assert limits["minTileCol"] <= col <= limits["maxTileCol"]
        assert limits["minTileRow"] <= row <= limits["maxTileRow"]
        capabilities = client.get("/layers/inputs.dryness/WMTSCapabilities.xml").text
        assert f"urn:ogc:def:crs:EPSG::{epsg}" in capabilities
        assert "EuropeanETRS89" not in capabilities
        ring = [made.degrees(*at) for at in ((50, 50), (50, 149), (149, 149), (149, 50), (50, 50))]
        area = client.post("/area", json={"type": "Polygon", "coordinates": [ring]}).json()
        assert area["cells"] == pytest.approx(99 * 99, rel=0.02)


def test_a_cube_of_another_grid_is_refused(made: Made) -> None:
    other = replace(made.region, grid=Grid.of("EPSG:9473"))  # the same window on another datum
    with pytest.raises(CubeError, match=f"of {made.region.grid.code} and units .* of EPSG:9473 and 10 km"):
        create_cube(made.url, other, "Another grid")
