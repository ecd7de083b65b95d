"""A window of a layer as a COG: valid, exact, coloured, and bounded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from rio_cogeo.cogeo import cog_validate
from starlette.testclient import TestClient

from cube import grid
from cube.storage.store import CubeStore
from server import palettes
from server.queries import cog as module

BBOX = "16.71,48.99,16.83,49.05"


def opened(client: TestClient, tmp_path: Path, layer: str, query: str) -> rasterio.DatasetReader:
    answer = client.get(f"/layers/{layer}/cog?{query}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("image/tiff; application=geotiff")
    path = tmp_path / "window.tif"
    path.write_bytes(answer.content)
    valid, errors, _ = cog_validate(path, strict=True)
    assert valid, errors
    return rasterio.open(path)


@pytest.mark.parametrize(
    ("layer", "array", "level", "lead"),
    [
        ("species.fagus_sylvatica", "products/species/v1/0/occurrence", 0, (0,)),
        ("indicators.richness", "products/indicators/v1/1/richness", 1, (0,)),
        ("indicators.richness.upper", "products/indicators/v1/0/richness", 0, (2,)),
        ("habitats.level3", "products/habitats/v1/2/level3", 2, ()),
        ("inputs.elevation", "inputs/50m/elevation", 0, ()),
        ("inputs.bioclim.bio3", "inputs/1km/bioclim", 0, (2,)),
    ],
)
def test_values_are_those_of_the_cube(
    client: TestClient, cube: CubeStore, tmp_path: Path, layer: str, array: str, level: int, lead: tuple[int, ...]
) -> None:
    group, name = array.rsplit("/", 1)
    data = xr.open_zarr(f"{cube.url}/{group}").load()
    field = data[name][lead] if lead else data[name]
    if name == "occurrence":
        field = field * data["scale"][lead[0]]
    with opened(client, tmp_path, layer, f"bbox={BBOX}&level={level}") as source:
        assert source.crs.to_epsg() == 3035
        stored = source.read(1, masked=True)
        values = np.ma.filled(stored.astype("float64") * source.scales[0] + source.offsets[0], np.nan)
        t, (rows, cols) = source.transform, stored.shape
        x, y = t.c + t.a * (np.arange(cols) + 0.5), t.f + t.e * (np.arange(rows) + 0.5)
        truth = field.sel(x=x, y=y).values.astype("float64")
        np.testing.assert_allclose(values, truth, rtol=1e-5, atol=1e-6)
        west, south, east, north = (float(v) for v in BBOX.split(","))
        box_x, box_y = grid.EUROPE.project(np.array([west, west, east, east]), np.array([south, north, south, north]))
        assert source.bounds.left <= box_x.min()
        assert source.bounds.right >= box_x.max()
        assert source.bounds.bottom <= box_y.min()
        assert source.bounds.top >= box_y.max()


def test_classes_carry_their_colours(client: TestClient, tmp_path: Path) -> None:
    with opened(client, tmp_path, "habitats.level3", f"bbox={BBOX}") as source:
        assert source.colormap(1)[0] == (*palettes.rgb("#2b8a3e"), 255)


@pytest.mark.parametrize("layer", ["habitats.level3", "indicators.richness"])
def test_a_picture_shows_the_colours_of_the_map(client: TestClient, tmp_path: Path, layer: str) -> None:
    legend = client.get(f"/layers/{layer}/legend.json").json()
    with opened(client, tmp_path, layer, f"bbox={BBOX}&style=picture") as source:
        image = source.read()
        assert source.colorinterp[3] == rasterio.enums.ColorInterp.alpha
    shown = {tuple(int(v) for v in colour) for colour in image[:3, image[3] == 255].T}
    if layer == "habitats.level3":
        assert shown <= {palettes.rgb(entry["colour"]) for entry in legend["classes"]}
        return
    table = {tuple(int(v) for v in row) for row in palettes.table("viridis")}
    assert len(shown) > 50
    assert shown <= table
    with opened(client, tmp_path, layer, f"bbox={BBOX}&style=picture&colormap_name=magma&rescale=0,10") as source:
        assert not np.array_equal(source.read(), image)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("bbox=1,2,3", 422),
        ("bbox=nan,1,2,3", 422),
        ("bbox=16.8,49,16.7,50", 400),
        ("bbox=16,95,17,99", 400),
        ("bbox=2,48,3,49", 404),
        ("level=9", 404),
        ("level=-1", 422),
        ("style=neon", 422),
        ("colormap_name=magma", 400),
        ("style=picture&colormap_name=neon", 400),
        ("style=picture&rescale=2,1", 400),
        ("bbox=" + "1" * 2000, 422),
    ],
)
def test_a_wrong_window_is_told_so(client: TestClient, query: str, status: int) -> None:
    answer = client.get(f"/layers/indicators.richness/cog?{query}")
    assert answer.status_code == status
    assert isinstance(answer.json()["detail"], str)


def test_too_large_a_window_names_a_level_that_fits(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PIXELS", 70_000)
    answer = client.get("/layers/indicators.richness/cog")
    assert answer.status_code == 413
    assert "180,000 pixels" in answer.json()["detail"]
    assert "level=1" in answer.json()["detail"]
    assert client.get("/layers/indicators.richness/cog?level=1").status_code == 200


def test_a_part_of_the_file_is_sent_by_range_as_gdal_asks(client: TestClient) -> None:
    whole = client.get("/layers/indicators.richness/cog?level=1")
    part = client.get("/layers/indicators.richness/cog?level=1", headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"
    assert client.get("/layers/indicators.richness/cog?level=1", headers={"Range": "bytes=999999999-"}).status_code == 416


def test_the_window_of_the_world_is_the_whole_map(client: TestClient) -> None:
    whole = client.get("/layers/indicators.richness/cog?level=1")
    world = client.get("/layers/indicators.richness/cog?level=1&bbox=-180,-90,180,90")
    assert (world.status_code, world.content) == (200, whole.content)
