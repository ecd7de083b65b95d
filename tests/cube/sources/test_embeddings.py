"""Embeddings in their published layouts: means of vectors, never of bytes; every tile and zone; holes, and no half vectors."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml
from pyproj import Transformer

from cube.config import Source
from cube.config.document import load_config
from cube.engine.inspect_config import inspect_config
from cube.errors import SourceError
from cube.grid import EUROPE, Grid, Region
from cube.sources.embeddings import EmbeddingReader
from cube.sources.open import open_source
from tests.support.embeddings import Array, quantised, write_cog, write_numpy_tile, write_zarr_zones

# Of EPSG:32633 itself: 50 m cells hold 25 whole pixels, so that a mean is a mean.
UTM = Grid.of("EPSG:32633")
REGION = Region(590, 5460, 600, 5470, 10, UTM)
UNIT = next(REGION.units())
WEST, SOUTH, EAST, NORTH = UNIT.bounds
BANDS = np.arange(128, dtype=np.float64)[:, None, None]


def field(x: Array, y: Array) -> Array:
    """(128, ...) smooth values of -3 to 3."""
    return 3 * np.sin((x - WEST) / 1300 + BANDS) * np.cos((y - SOUTH) / 1700 + BANDS / 7)


def means(pixels: Array) -> Array:
    """(bands, rows, columns) pixels of 10 m to means of 5 x 5."""
    bands, rows, cols = pixels.shape
    return pixels.reshape(bands, rows // 5, 5, cols // 5, 5).mean(axis=(2, 4))


@cache
def means_of_the_unit() -> Array:
    """What TESSERA gives for each cell of the unit: the mean of bytes times scales, two kilometres at a time."""
    out = np.empty((128, 200, 200), np.float32)
    for top in range(0, 200, 40):
        x, y = np.meshgrid(WEST + 10 * (np.arange(1000) + 0.5), NORTH - 50 * top - 10 * (np.arange(200) + 0.5))
        values, scale = quantised(field(x, y))
        out[:, top : top + 40] = means(values * scale)
    return out


def opened(folder: Path, embedding: str, path: str, region: Region = REGION, **keys: object) -> EmbeddingReader:
    west, south, east, north = (edge // 1000 for edge in region.bounds)
    config = folder / "config.yaml"
    config.write_text(
        f"title: E\ncube: c.zarr\ngrid: {{crs: {region.grid.code}}}\nunit_km: 10\nsources: []\nregion: {{west_km: {west},"
        f" south_km: {south}, east_km: {east}, north_km: {north}}}\n"
    )
    source = Source.model_validate({"layer": "imprint", "embedding": embedding, "path": path, "year": 2024, **keys})
    reader = open_source(load_config(config), source, "sources[0]", region)
    assert isinstance(reader, EmbeddingReader)
    return reader


def values_of(reader: EmbeddingReader, region: Region = REGION) -> Array:
    return reader.layer.decode(reader.read(region, next(region.units()))["imprint"])


TILE_CORNER = 16.3, 49.3  # of four tiles, within the unit


def numpy_tiles(root: Path) -> tuple[int, int]:
    """The four tiles at a corner, a kilometre of each: (column, row) of that corner among the cells of the unit."""
    x, y = (float(v) for v in UTM.project(*TILE_CORNER))
    box = x - 1000, y - 1000, x + 1000, y + 1000
    for lon in (-0.05, 0.05):
        for lat in (-0.05, 0.05):
            write_numpy_tile(root, 2024, TILE_CORNER[0] + lon, TILE_CORNER[1] + lat, field, (3.7, 6.2), box)
    return int((x - WEST) // 50), int((NORTH - y) // 50)


def test_numpy_tiles_give_means_of_vectors_whatever_the_corner_of_their_mask(tmp_path: Path) -> None:
    col, row = numpy_tiles(tmp_path / "t")
    reader = opened(tmp_path, "tessera", "t")
    seen, truth = values_of(reader), means_of_the_unit()
    near = (slice(None), slice(row - 18, row + 18), slice(col - 18, col + 18))
    assert seen.shape == (128, 200, 200)
    assert np.isfinite(seen[near]).all()
    # Pixels that two tiles have count once; what is left is half a step of the stored byte.
    assert np.abs(seen - truth)[near].max() <= 0.5001 * reader.layer.scale
    assert reader.layer.scale == pytest.approx(3 / 127, rel=0.01)
    assert (reader.source.license, reader.source.reference_years) == ("CC0-1.0", "2024")


def test_inspect_shows_the_components_of_embeddings_and_where_there_are_none(tmp_path: Path) -> None:
    numpy_tiles(tmp_path / "t")
    reader = opened(tmp_path, "tessera", "t")
    document = yaml.safe_load((tmp_path / "config.yaml").read_text())
    document["sources"] = [{"layer": "imprint", "embedding": "tessera", "path": "t", "year": 2024}]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(document))
    (row,) = inspect_config(load_config(tmp_path / "config.yaml")).sources
    stored = reader.layer.decode(reader.read(REGION, next(REGION.units()))["imprint"])[:, 10::20, 10::20]
    assert (row.problem, len(row.bands), row.resolution, row.units_without_data) == ("", 128, "50m", [])
    assert row.covered == pytest.approx(float(np.isfinite(stored).mean()))
    for band, values in zip(row.bands, stored, strict=True):
        assert band.low == pytest.approx(np.nanmin(values), abs=reader.layer.scale)
        assert band.high == pytest.approx(np.nanmax(values), abs=reader.layer.scale)


def test_a_missing_tile_and_pixels_without_a_scale_are_holes_of_whole_vectors(tmp_path: Path) -> None:
    col, row = numpy_tiles(tmp_path / "t")
    tiles = sorted((tmp_path / "t/global_0.1_degree_representation/2024").iterdir())
    shutil.rmtree(tiles[0])  # the south-western one
    scales = np.load(tiles[-1] / f"{tiles[-1].name}_scales.npy")
    scales[::2] = np.nan  # every cell of the north-eastern one keeps some of its pixels
    np.save(tiles[-1] / f"{tiles[-1].name}_scales.npy", scales)
    seen = values_of(opened(tmp_path, "tessera", "t"))
    missing = np.isnan(seen)
    assert (missing == missing[:1]).all()
    assert missing[0, row + 4 : row + 18, col - 18 : col - 4].all()
    assert not missing[0, row - 18 : row - 4, col - 18 : col + 18].any()


def test_the_zarr_store_gives_the_same_and_its_sentinels_are_holes(tmp_path: Path) -> None:
    water, later = np.zeros((2, 300, 300), bool)
    water[100:200, 100:200], later[200:250, 100:200] = True, True
    corner = WEST + 2_000, NORTH - 3_000
    write_zarr_zones(tmp_path / "s.zarr", (2023, 2024), {33: (*corner, 300, 300)}, field, water, later)
    reader = opened(tmp_path, "tessera", "s.zarr")
    seen, truth = values_of(reader), means_of_the_unit()
    missing = np.isnan(seen)
    assert (missing == missing[:1]).all()
    expected = np.ones((200, 200), bool)
    expected[60:120, 40:100] = False
    expected[80:110, 60:80] = True
    np.testing.assert_array_equal(missing[0], expected)
    assert np.abs(seen - truth)[:, ~expected].max() <= 0.5001 * reader.layer.scale
    with pytest.raises(SourceError, match="has no embeddings of 2022 in the region"):
        opened(tmp_path, "tessera", "s.zarr", year=2022)


def test_southern_zones_count_northings_below_zero(tmp_path: Path) -> None:
    region = Region(590, 6450, 600, 6460, 10, Grid.of("EPSG:32733"))
    west, _, _, north = region.bounds
    write_zarr_zones(
        tmp_path / "s.zarr", (2024,), {33: (west, north - 10_000_000, 200, 200)}, lambda x, y: field(x, y + 10_000_000)
    )
    seen = values_of(opened(tmp_path, "tessera", "s.zarr", region), region)
    x, y = np.meshgrid(west + 10 * (np.arange(200) + 0.5), north - 10 * (np.arange(200) + 0.5))
    values, scale = quantised(field(x, y))
    assert np.abs(seen[:, :40, :40] - means(values * scale.astype(np.float64))).max() < 0.013
    assert np.isnan(seen[:, 40:]).all()


def unit_bytes(rng: np.random.Generator, rows: int, cols: int) -> tuple[Array, Array]:
    """(bytes, vectors) of AlphaEarth: smooth vectors of length 1 by its published quantisation."""
    vectors = rng.normal(size=(64, 1, 1)) + 0.7 * rng.normal(size=(64, rows, cols))
    vectors /= np.linalg.norm(vectors, axis=0)
    stored = np.clip(np.rint(np.sign(vectors) * np.sqrt(np.abs(vectors)) * 127.5), -127, 127).astype(np.int8)
    read = np.sign(stored) * (stored.astype(np.float64) / 127.5) ** 2
    return stored, read


def test_alphaearth_is_averaged_as_vectors_and_has_length_one_again(tmp_path: Path) -> None:
    stored, read = unit_bytes(np.random.default_rng(1), 200, 200)
    stored[:, :100, :50] = -128
    read[:, :100, :50] = np.nan
    halves = tmp_path / "aef/2024/33N"
    for part, name in ((slice(0, 100), "x-0000000000"), (slice(100, 200), "x-0000008192")):  # rows count from the south
        write_cog(halves / f"{name}-0000000000.tiff", 32633, (WEST, SOUTH + 10 * part.start), stored[:, part])
    whole = values_of(opened(tmp_path, "alphaearth", "aef"))
    assert np.isnan(whole[:, :160]).all()
    assert np.isnan(whole[..., 40:]).all()
    seen = whole[:, 160:, :40]  # the south-western corner of the unit
    mean = means(read[:, ::-1])
    truth = mean / np.linalg.norm(mean, axis=0)
    hole = np.isnan(truth)
    assert hole[0].sum() == 20 * 10
    np.testing.assert_array_equal(np.isnan(seen), hole)
    assert np.nanmax(np.abs(seen - truth)) <= 0.5001 / 127
    assert np.nanmax(np.abs(np.linalg.norm(np.where(hole, np.nan, seen), axis=0) - 1)) < 0.02
    of_bytes = means(stored[:, ::-1].astype(np.float64))
    assert np.nanmax(np.abs(np.sign(of_bytes) * (of_bytes / 127.5) ** 2 - truth)) > 0.02  # the mean of bytes is another vector


def test_a_region_across_zones_takes_the_files_of_both(tmp_path: Path) -> None:
    x, y = (float(v) / 1000 for v in EUROPE.project(12.0, 48.3))  # between the zones 32 and 33
    region = Region(int(x) // 10 * 10, int(y) // 10 * 10, int(x) // 10 * 10 + 10, int(y) // 10 * 10 + 10, 10)
    west, _, east, _ = region.degrees
    for zone, byte, edges in ((32, 100, (west, 12.0)), (33, -100, (12.0, east))):
        to_utm = Transformer.from_crs(4326, 32600 + zone, always_xy=True)
        left, bottom, right, top = to_utm.transform_bounds(edges[0], 48.29, edges[1], 48.31)
        values = np.zeros((64, int((top - bottom) / 10), int((right - left) / 10)), np.int8)
        values[0], values[5] = 100, byte
        write_cog(tmp_path / f"aef/2024/{zone}N/a-0-0.tiff", 32600 + zone, (left, bottom), values)
    seen = values_of(opened(tmp_path, "alphaearth", "aef", region), region)
    xs, ys = np.meshgrid(region.bounds[0] + 50 * (np.arange(200) + 0.5), region.bounds[3] - 50 * (np.arange(200) + 0.5))
    lon, lat = EUROPE.unproject(xs, ys)
    inside = (lat > 48.292) & (lat < 48.308)
    assert inside.any()
    for side, sign in ((lon < 11.995, 1), (lon > 12.005, -1)):
        assert (inside & side).any()
        np.testing.assert_allclose(seen[5][inside & side], sign * np.sqrt(0.5), atol=0.005)
    assert np.isfinite(seen[:, inside]).all()  # also on the line between them


def test_what_is_not_there_or_not_said_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no tile of TESSERA of 2024 lies in the region"):
        opened(tmp_path, "tessera", "nowhere")
    with pytest.raises(SourceError, match="no file of AlphaEarth of 2024 reaches into the region"):
        opened(tmp_path, "alphaearth", "nowhere")
    for keys, words in (
        ({"path": "t"}, "needs 'path' and 'year'"),
        ({"path": "t", "year": 2024, "scale": 2}, "'scale' is no key of embeddings"),
        ({"path": "t", "year": 2024, "raster": "a.tif"}, "either 'raster', 'stac' or 'embedding'"),
        ({"path": "t", "year": 2024, "layer": "soil"}, "soil is a preset"),
    ):
        with pytest.raises(ValueError, match=words):
            Source.model_validate({"layer": "imprint", "embedding": "tessera", **keys})
    with pytest.raises(ValueError, match="belong to embeddings"):
        Source.model_validate({"layer": "imprint", "raster": "a.tif", "year": 2024})
