"""How sure a map is, and one layer's value in a cell: widths, hatches and readings against what xarray reads of the cube."""

from __future__ import annotations

import io
from typing import Any

import morecantile
import numpy as np
import pytest
import xarray as xr
from PIL import Image
from pyproj import Transformer
from starlette.testclient import TestClient

from cube import grid
from cube.storage.store import CubeStore

PLACES = [(16.77, 49.0), (16.70, 48.97), (16.85, 49.03), (16.795, 48.995)]  # the last one lies in the lake
AWAY = (16.4, 49.0)


@pytest.fixture(scope="module")
def richness(cube: CubeStore) -> xr.DataArray:
    opened = xr.open_zarr(cube.url, group="products/indicators/v1/0", consolidated=False)
    return opened["richness"].load()


def at(array: xr.DataArray, lon: float, lat: float) -> Any:
    x, y = Transformer.from_crs(4326, grid.EUROPE.epsg, always_xy=True).transform(lon, lat)
    return array.sel(x=x, y=y, method="nearest")


@pytest.mark.parametrize(("lon", "lat"), PLACES)
def test_a_reading_is_the_value_that_xarray_reads_of_the_cell(
    client: TestClient, richness: xr.DataArray, lon: float, lat: float
) -> None:
    cell = at(richness, lon, lat)
    truth = {
        "": cell.sel(bound="estimate"),
        ".lower": cell.sel(bound="lower"),
        ".upper": cell.sel(bound="upper"),
        ".width": cell.sel(bound="upper") - cell.sel(bound="lower"),
    }
    for face, value in truth.items():
        answer = client.get(f"/layers/indicators.richness{face}/cell/{lon},{lat}").json()
        assert answer["inside"]
        if np.isnan(value):
            assert answer["value"] is None
        else:
            assert answer["value"] == pytest.approx(float(value), abs=1e-4)


def test_a_class_is_read_by_its_name_and_outside_there_is_no_value(client: TestClient, cube: CubeStore) -> None:
    level3 = xr.open_zarr(cube.url, group="products/habitats/v1/0", consolidated=False, mask_and_scale=False)["level3"]
    row = int(at(level3, *PLACES[0]))
    answer = client.get(f"/layers/habitats.level3/cell/{PLACES[0][0]},{PLACES[0][1]}").json()
    assert answer["value"] == row
    assert answer["label"] == ("T17 Beech forest", "T31 Spruce forest", "R22 Hay meadow")[row]
    outside = client.get(f"/layers/habitats.level3/cell/{AWAY[0]},{AWAY[1]}")
    assert outside.status_code == 200
    assert (outside.json()["inside"], outside.json()["value"]) == (False, None)
    assert client.get("/layers/habitats.nothing/cell/16.77,49.0").status_code == 404


def pixels(client: TestClient, layer: str, tile: morecantile.Tile, query: str) -> np.ndarray:
    answer = client.get(f"/layers/{layer}/tiles/WebMercatorQuad/{tile.z}/{tile.x}/{tile.y}.png{query}")
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))


def under(array: xr.DataArray, tile: morecantile.Tile) -> np.ndarray:
    """Values of the cells under the pixels of a tile."""
    west, south, east, north = morecantile.tms.get("WebMercatorQuad").xy_bounds(tile)
    half = (east - west) / 512
    x, y = np.meshgrid(np.linspace(west + half, east - half, 256), np.linspace(north - half, south + half, 256))
    x, y = Transformer.from_crs(3857, grid.EUROPE.epsg, always_xy=True).transform(x, y)
    return array.sel(x=xr.DataArray(x), y=xr.DataArray(y), method="nearest").to_numpy()


def test_only_what_exceeds_the_value_is_hatched(client: TestClient, richness: xr.DataArray) -> None:
    tile = morecantile.tms.get("WebMercatorQuad").tile(16.77, 49.0, 12)
    alpha = pixels(client, "indicators.richness", tile, "?above=20")[..., 3]
    values = under(richness.sel(bound="estimate"), tile)
    assert 0.1 < np.nanmean(values > 20) < 0.9  # the tile has both
    # between two cells the tile interpolates, so cells near the value may fall either way
    assert (alpha[values > 22] > 0).all()
    assert (alpha[values < 18] == 0).all()
    assert set(np.unique(alpha)) == {0, 140, 190}  # clear, veil, line


def test_no_data_is_never_hatched(client: TestClient, richness: xr.DataArray) -> None:
    tile = morecantile.tms.get("WebMercatorQuad").tile(16.795, 48.995, 14)
    values = under(richness.sel(bound="estimate"), tile)
    assert np.isnan(values).mean() > 0.5
    alpha = pixels(client, "indicators.richness", tile, "?above=-1")[..., 3]
    lake = np.isnan(values)
    inner = lake[:-2, 1:-1] & lake[2:, 1:-1] & lake[1:-1, :-2] & lake[1:-1, 2:] & lake[1:-1, 1:-1]
    assert (alpha[1:-1, 1:-1][inner] == 0).all()


@pytest.mark.parametrize("above", ["high", "nan", "inf"])
def test_a_hatch_takes_one_finite_number(client: TestClient, above: str) -> None:
    answer = client.get(f"/layers/indicators.richness/tiles/WebMercatorQuad/11/1119/701.png?above={above}")
    assert answer.status_code == 400
    assert "above takes one" in answer.json()["detail"]


def test_a_width_is_drawn_but_not_listed_and_not_stored(client: TestClient) -> None:
    layer = client.get("/layers/indicators.richness.width").json()
    assert layer["range"][0] == 0
    assert layer["palette"] != client.get("/layers/indicators.richness").json()["palette"]
    assert "indicators.richness.width" not in [one["id"] for one in client.get("/layers?limit=1000").json()["layers"]]
    refused = client.get("/layers/indicators.richness.width/cog")
    assert refused.status_code == 400
    assert "two bounds" in refused.json()["detail"]


def test_a_width_tile_has_the_colours_of_the_differences(client: TestClient, richness: xr.DataArray) -> None:
    tile = morecantile.tms.get("WebMercatorQuad").tile(16.77, 49.0, 14)
    low, high = client.get("/layers/indicators.richness.width").json()["range"]
    shown = pixels(client, "indicators.richness.width", tile, "")[..., :3].astype(float)
    legend = client.get("/layers/indicators.richness.width/legend.json").json()["stops"]
    colours = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for _, colour in legend], float)
    width = under(richness.sel(bound="upper") - richness.sel(bound="lower"), tile)
    share = np.clip((width - low) / (high - low), 0, 1) * (len(legend) - 1)
    wanted = np.stack([np.interp(share, np.arange(len(legend)), colours[:, band]) for band in range(3)], axis=-1)
    assert np.nanmean(np.abs(shown - wanted)) < 6  # of 255: cells are interpolated, and the legend has 11 of 255 steps
