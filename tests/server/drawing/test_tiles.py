"""A tile is GDAL's warp of the same pyramid level, pixel by pixel: at every zoom, at edges and across shards."""

from __future__ import annotations

import io
from typing import Any

import morecantile
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.transform import from_bounds
from rasterio.vrt import WarpedVRT
from starlette.testclient import TestClient

from cube.storage.store import CubeStore
from server.drawing.tiles import TileRequest, choose_level, class_tile, read_cells, value_tile
from server.drawing.tms import tile_matrix_set
from server.drawing.warp import is_outside, warp_grid
from server.reading.io import ChunkCache
from server.reading.layers import MapLayer
from server.reading.snapshot import ServedCube, Snapshot

CENTRE = (16.77, 49.02)  # degrees, near the middle of the synthetic region


@pytest.fixture(scope="module")
def snapshot(cube: CubeStore) -> Snapshot:
    return ServedCube(cube.url, ChunkCache()).snapshot()


def gdal_warp(snapshot: Snapshot, layer: MapLayer, request: TileRequest, defaults: bool = False) -> NDArray[Any]:
    """Stored values (size, size) of the level that we choose, warped by GDAL with positions to 0.01 pixel.

    Unless `defaults`, GDAL is told the scale of the tile: left alone, it derives one from what it cuts out of the
    source for each piece of its work, so that at a source's edge one tile is resampled in several ways.
    """
    warp = warp_grid(request.tms, request.z, request.x, request.y, request.size, 3035)
    level = choose_level(layer, warp.pixel)
    array = snapshot.reader.array(level.path)
    stored = np.asarray(array[layer.lead])[level.step // 2 :: level.step, level.step // 2 :: level.step]
    continuous = layer.kind == "continuous"
    stored = stored.astype(np.float32) if continuous else stored
    matrix_set = morecantile.tms.get(request.tms)
    west, south, east, north = matrix_set.xy_bounds(morecantile.Tile(request.x, request.y, request.z))
    edge_west, _, _, edge_north = snapshot.reader.cube.region.grown_bounds
    transform = rasterio.Affine(level.pixel, 0, edge_west, 0, -level.pixel, edge_north)
    options = {} if defaults or not continuous else scale_of(snapshot, layer, request)
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            height=stored.shape[0],
            width=stored.shape[1],
            count=1,
            dtype=stored.dtype,
            crs="EPSG:3035",
            transform=transform,
            nodata=layer.fill,
        ) as file:
            file.write(stored, 1)
        with (
            memory.open() as file,
            WarpedVRT(
                file,
                crs=matrix_set.rasterio_crs,
                tolerance=0.01,
                transform=from_bounds(west, south, east, north, request.size, request.size),
                width=request.size,
                height=request.size,
                resampling=Resampling.bilinear if continuous else Resampling.nearest,
                **options,
            ) as vrt,
        ):
            return vrt.read(1)


def scale_of(snapshot: Snapshot, layer: MapLayer, request: TileRequest) -> dict[str, str]:
    """GDAL's warp options for the number of tile pixels by source pixel."""
    cells = read_cells(snapshot, layer, request)
    radius = (1.0, 1.0) if cells is None else cells.radius
    return {"XSCALE": str(1 / radius[1]), "YSCALE": str(1 / radius[0])}


def ours(snapshot: Snapshot, layer: MapLayer, request: TileRequest) -> NDArray[Any]:
    cells = read_cells(snapshot, layer, request)
    if cells is None:
        empty = 0 if layer.kind == "class" else np.nan
        return np.full((request.size, request.size), empty)
    return class_tile(layer, cells) if layer.kind == "class" else value_tile(layer, cells)


def tile_over(place: tuple[float, float], zoom: int) -> TileRequest:
    tile = morecantile.tms.get("WebMercatorQuad").tile(*place, zoom)
    return TileRequest("WebMercatorQuad", zoom, tile.x, tile.y)


def tiles_at(zoom: int, tms: str = "WebMercatorQuad", size: int = 256) -> list[TileRequest]:
    """Tiles in the middle and over the corners of the region."""
    matrix_set = morecantile.tms.get(tms)
    places = [CENTRE, (16.59, 49.105), (16.945, 48.93), (16.94, 49.09)]
    found = {matrix_set.tile(lon, lat, zoom) for lon, lat in places}
    return [TileRequest(tms, zoom, t.x, t.y, size) for t in sorted(found)]


def assert_equals_gdal(snapshot: Snapshot, layer: MapLayer, request: TileRequest, defaults: bool = False) -> bool:
    """Whether the tile had data; fails where it differs from GDAL's."""
    truth, mine = gdal_warp(snapshot, layer, request, defaults), ours(snapshot, layer, request)
    if layer.kind == "class":
        lookup, _ = layer.class_lookup
        classes = lookup[np.minimum(truth, len(lookup) - 1)]
        same = float((classes == mine).mean())
        assert same >= 0.99, f"{layer.id} {request}: same class on {same:.4f}"
        return bool(mine.any())
    valid = np.isfinite(truth) & (truth != layer.fill)
    agree = float((valid == np.isfinite(mine)).mean())
    assert agree >= 0.99, f"{layer.id} {request}: no data agrees on {agree:.4f}"
    both = valid & np.isfinite(mine)
    if not both.any():
        return False
    low, high = snapshot.range_of(layer)
    step = (high - low) / 254
    difference = float(np.abs(truth[both] * layer.scale + layer.offset - mine[both]).mean()) / step
    assert difference < 1, f"{layer.id} {request}: mean absolute difference {difference:.3f} steps"
    return True


@pytest.mark.parametrize("zoom", range(5, 18))
@pytest.mark.parametrize(
    "layer_id",
    [
        "habitats.level3",
        "indicators.richness",
        "species.fagus_sylvatica",
        "species.adonis_vernalis",
        "inputs.bioclim.bio1",
        "inputs.sentinel2.red",
    ],
)
def test_tile_equals_gdal_warp_at_every_zoom_and_at_edges(snapshot: Snapshot, layer_id: str, zoom: int) -> None:
    layer = snapshot.layer(layer_id)
    drawn = [assert_equals_gdal(snapshot, layer, request) for request in tiles_at(zoom)]
    assert any(drawn)


@pytest.mark.parametrize("tms", ["EuropeanETRS89_LAEAQuad", "WorldCRS84Quad", "UTM31WGS84Quad"])
@pytest.mark.parametrize("layer_id", ["habitats.level3", "indicators.richness"])
def test_tile_equals_gdal_warp_in_other_tile_matrix_sets(snapshot: Snapshot, layer_id: str, tms: str) -> None:
    for zoom in (8, 11, 13):
        for request in tiles_at(zoom, tms):
            assert_equals_gdal(snapshot, snapshot.layer(layer_id), request)


@pytest.mark.parametrize(
    ("zoom", "layer_id"),
    [
        *((zoom, "indicators.richness") for zoom in range(11, 18)),
        *((zoom, "inputs.sentinel2.red") for zoom in range(12, 18)),
    ],
)
def test_tile_inside_the_data_equals_gdal_warp_left_to_its_defaults(snapshot: Snapshot, layer_id: str, zoom: int) -> None:
    request = tile_over((16.72, 49.03), zoom)
    assert assert_equals_gdal(snapshot, snapshot.layer(layer_id), request, defaults=True)


def test_large_tile_equals_gdal_warp(snapshot: Snapshot) -> None:
    for layer_id in ("habitats.level3", "indicators.richness"):
        assert assert_equals_gdal(snapshot, snapshot.layer(layer_id), tiles_at(11, size=512)[0])


def test_every_level_is_read_and_none_is_coarser_than_the_screen(snapshot: Snapshot) -> None:
    layer = snapshot.layer("indicators.richness")
    seen = set()
    for zoom in range(5, 16):
        tile = tile_over(CENTRE, zoom)
        pixel = warp_grid(tile.tms, zoom, tile.x, tile.y, tile.size, 3035).pixel
        level = choose_level(layer, pixel)
        seen.add(level.path.split("/")[-2])
        assert level.pixel <= max(pixel * 1.01, layer.resolution)
    assert seen == {str(i) for i in range(len(layer.paths))}


def picture(client: TestClient, layer_id: str, zoom: int, suffix: str = ".png") -> NDArray[np.uint8]:
    tile = morecantile.tms.get("WebMercatorQuad").tile(*CENTRE, zoom)
    answer = client.get(f"/layers/{layer_id}/tiles/WebMercatorQuad/{zoom}/{tile.x}/{tile.y}{suffix}")
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))


def test_png_holds_the_class_colours_of_the_legend_and_nothing_else(client: TestClient) -> None:
    image = picture(client, "habitats.level3", 11)
    legend = client.get("/layers/habitats.level3/legend.json").json()
    allowed = {entry["colour"] for entry in legend["classes"]}
    opaque = np.unique(image[image[..., 3] == 255][:, :3], axis=0)
    assert {"#{:02x}{:02x}{:02x}".format(*colour) for colour in opaque} == allowed


def test_png_shows_the_palette_in_proportion_to_the_value(client: TestClient, snapshot: Snapshot) -> None:
    layer = snapshot.layer("species.picea_abies")
    request = tile_over(CENTRE, 12)
    values = ours(snapshot, layer, request)
    image = picture(client, layer.id, 12)
    np.testing.assert_array_equal(image[..., 3] == 255, np.isfinite(values))
    legend = client.get(f"/layers/{layer.id}/legend.json").json()
    stops = np.array([value for value, _ in legend["stops"]])
    colours = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for _, c in legend["stops"]])
    seen = np.isfinite(values)
    expected = np.stack([np.interp(values[seen], stops, colours[:, band]) for band in range(3)], axis=1)
    # Eleven stops of a curved path: linear interpolation between them misses by a few of 255.
    assert np.abs(image[seen][:, :3] - expected).max() <= 6


def test_zero_is_drawn_and_no_data_is_not(client: TestClient, snapshot: Snapshot) -> None:
    layer = snapshot.layer("species.fagus_sylvatica")
    request = tile_over(CENTRE, 12)
    values, image = ours(snapshot, layer, request), picture(client, layer.id, 12)
    zero = values == 0
    assert zero.any()
    assert np.isnan(values).any()
    assert (image[zero][:, 3] == 255).all()
    assert (image[np.isnan(values)][:, 3] == 0).all()


def test_large_and_webp_tiles_have_their_size_and_format(client: TestClient) -> None:
    assert picture(client, "indicators.richness", 11, "@2x.png").shape == (512, 512, 4)
    assert picture(client, "indicators.richness", 11, ".webp").shape == (256, 256, 4)


def test_layers_without_overviews_are_drawn_at_low_zoom(client: TestClient) -> None:
    layer = client.get("/layers/inputs.elevation").json()
    assert (picture(client, "inputs.elevation", layer["minzoom"])[..., 3] == 255).any()


def indices(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_tiles_of_our_own_grid_are_the_cells_themselves(client: TestClient, snapshot: Snapshot) -> None:
    """At zoom 10 a pixel is a 50 m cell, at zoom 9 a cell of level 1; nothing is moved and nothing resampled."""
    west, _, _, north = snapshot.reader.cube.region.grown_bounds
    layer = snapshot.layer("habitats.level3")
    lookup, _ = layer.class_lookup
    for zoom in (10, 9):
        pixel = 50 * 2 ** (10 - zoom)
        x, y = (4_815_000 - 900_000) // (256 * pixel), (5_500_000 - 2_900_000) // (256 * pixel)
        answer = client.get(f"/layers/{layer.id}/tiles/FloracubeGrid/{zoom}/{x}/{y}.png")
        assert answer.status_code == 200
        level = np.pad(np.asarray(snapshot.reader.array(layer.paths[10 - zoom])[:]), 256, constant_values=65535)
        row = (north - 5_500_000) // pixel + y * 256 + 256
        col = (900_000 - west) // pixel + x * 256 + 256
        cells = level[row : row + 256, col : col + 256]
        assert len(np.unique(cells)) > 2
        np.testing.assert_array_equal(indices(answer.content), lookup[np.minimum(cells, len(lookup) - 1)])


def test_webp_shows_the_very_pixels_of_the_png(client: TestClient) -> None:
    for layer in ("habitats.level3", "indicators.richness"):
        np.testing.assert_array_equal(picture(client, layer, 11, ".webp"), picture(client, layer, 11))


def test_inputs_are_drawn_from_their_overviews(client: TestClient, snapshot: Snapshot) -> None:
    layer = snapshot.layer("inputs.sentinel2.red")
    assert [path.split("/")[-2] for path in layer.paths[1:]] == ["1", "2"]
    zoom = client.get(f"/layers/{layer.id}").json()["minzoom"]
    assert (picture(client, layer.id, zoom)[..., 3] == 255).any()


def test_a_series_is_asked_for_by_time(client: TestClient, snapshot: Snapshot) -> None:
    """The synthetic climate is as many degrees above 250 as months have gone by since January 2000."""
    request = tile_over(CENTRE, 10)
    address = f"tiles/WebMercatorQuad/10/{request.x}/{request.y}.png"

    def shown(layer: str, **parameters: str) -> NDArray[np.uint8]:
        answer = client.get(f"/layers/{layer}/{address}", params={"rescale": "250,504", **parameters})
        assert answer.status_code == 200, answer.text
        return np.setdiff1d(indices(answer.content), [0])

    assert list(shown("inputs.climate.tas", time="2000-01")) == [1]
    assert list(shown("inputs.climate.tas", time="2018-12")) == [228]
    assert list(shown("inputs.climate.tas.2018-12", time="2001-03")) == [15]
    assert list(shown("inputs.climate.tas")) == list(shown("inputs.climate.tas.2018-07"))
    for layer, time in (("inputs.climate.tas", "1999-01"), ("inputs.elevation", "2000-01"), ("inputs.climate.tas", "../..")):
        assert client.get(f"/layers/{layer}/{address}", params={"time": time}).status_code == 404


def test_a_tile_far_outside_is_told_without_projecting_it(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.drawing.tiles.warp_grid", lambda *_: pytest.fail("projected"))
    for place in ((-100.0, 40.0), (140.0, -30.0), (16.77, -49.0)):
        assert read_cells(snapshot, snapshot.layer("indicators.richness"), tile_over(place, 9)) is None


def test_no_tile_with_data_is_taken_for_one_outside(snapshot: Snapshot) -> None:
    """Every tile of a zoom: what `is_outside` says no to has no pixel in the region."""
    bounds = snapshot.reader.cube.region.grown_bounds
    for tms in ("WebMercatorQuad", "EuropeanETRS89_LAEAQuad", "WorldCRS84Quad", "FloracubeGrid", "UTM31WGS84Quad"):
        centre = tile_matrix_set(tms).tile(*CENTRE, 8)
        for x in range(max(0, centre.x - 3), centre.x + 4):
            for y in range(max(0, centre.y - 3), centre.y + 4):
                if is_outside(tms, 8, x, y, bounds, 3035):
                    grid_of = warp_grid(tms, 8, x, y, 256, 3035)
                    inside = (grid_of.x > bounds[0]) & (grid_of.x < bounds[2]) & (grid_of.y > bounds[1]) & (grid_of.y < bounds[3])
                    assert not inside.any()
