"""Land polygons: the share of a cell that is land, holes, both formats alike, and the real coast of Natural Earth."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from pyproj import CRS

from cube import grid
from cube.errors import SourceError
from cube.grid import Unit
from cube.sources.coastline import open_coastline

UNIT = Unit(10, 265, 380)
WEST, SOUTH, EAST, NORTH = UNIT.bounds


def ring(west: float, south: float, east: float, north: float) -> list[tuple[float, float]]:
    return [(west, south), (west, north), (east, north), (east, south), (west, south)]


LAND = ring(WEST - 5000, SOUTH - 5000, WEST + 5020, NORTH + 5000)  # to 20 m into column 100
LAKE = ring(WEST + 1000, SOUTH + 1000, WEST + 2000, SOUTH + 2000)


def geojson(path: Path, rings: list[list[tuple[float, float]]]) -> str:
    lonlat = [np.stack(grid.unproject(*np.array(r).T), axis=1).tolist() for r in rings]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [
        {"type": "Feature", "properties": {}, "geometry": {"type": "MultiPolygon", "coordinates": [lonlat]}},
        {"type": "Feature", "properties": {}, "geometry": None}]}))  # fmt: skip
    return str(path)


def shapefile(path: Path, rings: list[list[tuple[float, float]]]) -> str:
    """A polygon file by the ESRI description of 1998, in the grid's own projection."""
    points = [p for r in rings for p in r]
    starts = np.cumsum([0, *[len(r) for r in rings[:-1]]])
    body = struct.pack("<i4d2i", 5, 0, 0, 0, 0, len(rings), len(points)) + struct.pack(f"<{len(rings)}i", *starts)
    body += b"".join(struct.pack("<2d", *p) for p in points)
    record = struct.pack(">2i", 1, len(body) // 2) + body
    header = struct.pack(">7i", 9994, 0, 0, 0, 0, 0, (100 + len(record)) // 2) + struct.pack("<2i8d", 1000, 5, *[0.0] * 8)
    path.write_bytes(header + record)
    path.with_suffix(".prj").write_text(CRS.from_epsg(3035).to_wkt("WKT1_ESRI"))
    return str(path)


@pytest.mark.parametrize("kind", ["geojson", "shp"])
def test_a_cell_is_land_where_most_of_it_is_and_a_hole_is_water(tmp_path: Path, kind: str) -> None:
    write = geojson if kind == "geojson" else shapefile
    land = open_coastline(write(tmp_path / f"land.{kind}", [LAND, LAKE]), "x").land(UNIT)
    expected = np.zeros((200, 200), bool)
    expected[:, :100] = True  # column 100 is land on 20 of its 50 m: water
    expected[160:180, 20:40] = False
    np.testing.assert_array_equal(land, expected)


def test_a_long_edge_follows_the_parallel_that_it_was_drawn_along(tmp_path: Path) -> None:
    """A square of 4 degrees with four corners: its northern edge is the parallel, 200 m off the straight line between."""
    lon, lat = (float(v) for v in grid.unproject(float(WEST + 5000), float(SOUTH + 5000)))
    path = tmp_path / "land.geojson"
    square = [[lon - 2, lat - 2], [lon + 2, lat - 2], [lon + 2, lat], [lon - 2, lat], [lon - 2, lat - 2]]
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [square]}))
    land = open_coastline(str(path), "x").land(UNIT)
    x, y = np.meshgrid(WEST + 25 + 50 * np.arange(200.0), NORTH - 25 - 50 * np.arange(200.0))
    truth = grid.unproject(x, y)[1] < lat
    assert (land != truth).mean() < 0.005
    assert abs(land.sum() - truth.sum()) < 120


def test_the_real_coast_of_europe(real_data: Path) -> None:
    coast = open_coastline(str(real_data / "europe/naturalearth/ne_50m_admin_0_countries/ne_50m_admin_0_countries.shp"), "x")

    def share(lon: float, lat: float) -> float:
        x, y = (float(v) for v in grid.project(lon, lat))
        return float(coast.land(Unit(10, int((grid.NORTH - y) // 10_000), int((x - grid.WEST) // 10_000))).mean())

    assert share(15.0, 49.5) == 1.0  # Bohemia
    assert share(4.0, 56.0) == 0.0  # North Sea
    assert 0.02 < share(13.6, 45.65) < 0.98  # Trieste
    assert share(-3.7, 40.4) == 1.0  # Madrid


def test_what_is_no_land_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nowhere\.geojson: there is no such file; check sources\[0\]\.coastline"):
        open_coastline(str(tmp_path / "nowhere.geojson"), "sources[0].coastline")
    lines = tmp_path / "lines.geojson"
    lines.write_text(json.dumps({"type": "LineString", "coordinates": [[1, 2], [3, 4]]}))
    with pytest.raises(SourceError, match="areas of land, not lines"):
        open_coastline(str(lines), "x")
    lines.write_text("{")
    with pytest.raises(SourceError, match="cannot be read as land polygons"):
        open_coastline(str(lines), "y")
    with pytest.raises(SourceError, match=r"from \.geojson or \.shp"):
        open_coastline(str(tmp_path / "land.gpkg"), "x")
