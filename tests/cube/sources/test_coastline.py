"""Land polygons: the share of a cell that is land, holes, all formats alike, and the real coast of Natural Earth."""

from __future__ import annotations

import json
from pathlib import Path

import fsspec
import numpy as np
import pyogrio  # type: ignore[import-untyped]
import pytest
import shapely
from pyproj import CRS

from cube import grid
from cube.errors import SourceError
from cube.grid import Unit
from cube.sources.coastline import on_grid, open_coastline

UNIT = Unit(10, 265, 380)
WEST, SOUTH, EAST, NORTH = UNIT.bounds


def ring(west: float, south: float, east: float, north: float) -> list[tuple[float, float]]:
    return [(west, south), (west, north), (east, north), (east, south), (west, south)]


LAND = ring(WEST - 5000, SOUTH - 5000, WEST + 5020, NORTH + 5000)  # to 20 m into column 100
LAKE = ring(WEST + 1000, SOUTH + 1000, WEST + 2000, SOUTH + 2000)


def geojson(path: Path, rings: list[list[tuple[float, float]]]) -> str:
    lonlat = [np.stack(grid.EUROPE.unproject(*np.array(r).T), axis=1).tolist() for r in rings]
    path.write_text(
        json.dumps(
            {
                "type": "FeatureCollection",
                "features": [
                    {"type": "Feature", "properties": {}, "geometry": {"type": "MultiPolygon", "coordinates": [lonlat]}},
                    {"type": "Feature", "properties": {}, "geometry": None},
                ],
            }
        )
    )
    return str(path)


def vector(path: Path, rings: list[list[tuple[float, float]]]) -> str:
    """A file by GDAL, in the grid's own projection, with a feature without geometry."""
    land = shapely.Polygon(rings[0], rings[1:])
    pyogrio.raw.write(
        path, shapely.to_wkb(np.array([land, None], object)), [np.arange(2)], ["id"], geometry_type="Polygon", crs="EPSG:3035"
    )
    return str(path)


@pytest.mark.parametrize("kind", ["geojson", "shp", "gpkg"])
def test_a_cell_is_land_where_most_of_it_is_and_a_hole_is_water(tmp_path: Path, kind: str) -> None:
    write = geojson if kind == "geojson" else vector
    land = open_coastline(write(tmp_path / f"land.{kind}", [LAND, LAKE]), "x").land(UNIT)
    expected = np.zeros((200, 200), bool)
    expected[:, :100] = True  # column 100 is land on 20 of its 50 m: water
    expected[160:180, 20:40] = False
    np.testing.assert_array_equal(land, expected)


def test_a_long_edge_follows_the_parallel_that_it_was_drawn_along(tmp_path: Path) -> None:
    """A square of 4 degrees with four corners: its northern edge is the parallel, 200 m off the straight line between."""
    lon, lat = (float(v) for v in grid.EUROPE.unproject(float(WEST + 5000), float(SOUTH + 5000)))
    path = tmp_path / "land.geojson"
    square = [[lon - 2, lat - 2], [lon + 2, lat - 2], [lon + 2, lat], [lon - 2, lat], [lon - 2, lat - 2]]
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [square]}))
    land = open_coastline(str(path), "x").land(UNIT)
    x, y = np.meshgrid(WEST + 25 + 50 * np.arange(200.0), NORTH - 25 - 50 * np.arange(200.0))
    truth = grid.EUROPE.unproject(x, y)[1] < lat
    assert (land != truth).mean() < 0.005
    assert abs(land.sum() - truth.sum()) < 120


def test_the_real_coast_of_europe(real_data: Path) -> None:
    coast = open_coastline(str(real_data / "europe/naturalearth/ne_50m_admin_0_countries/ne_50m_admin_0_countries.shp"), "x")

    def share(lon: float, lat: float) -> float:
        x, y = (float(v) for v in grid.EUROPE.project(lon, lat))
        return float(coast.land(Unit(10, int((grid.EUROPE.north - y) // 10_000), int((x - grid.EUROPE.west) // 10_000))).mean())

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
    (tmp_path / "land.gpkg").write_text("no geopackage")
    with pytest.raises(SourceError, match=r"land\.gpkg: cannot be read as land polygons"):
        open_coastline(str(tmp_path / "land.gpkg"), "x")
    Path(vector(tmp_path / "bare.shp", [LAND])).with_suffix(".prj").unlink()
    with pytest.raises(SourceError, match=r"bare\.shp: declares no coordinate reference system; assign one"):
        open_coastline(str(tmp_path / "bare.shp"), "x")


def test_a_shapefile_of_an_object_store_comes_with_the_files_beside_it(tmp_path: Path) -> None:
    vector(tmp_path / "land.shp", [LAND])
    memory = fsspec.filesystem("memory")
    for file in tmp_path.iterdir():
        memory.pipe_file(f"/coast/{file.name}", file.read_bytes())
    assert open_coastline("memory://coast/land.shp", "x").land(UNIT)[:, :100].all()
    with pytest.raises(SourceError, match="there is no such file"):
        open_coastline("memory://coast/other.shp", "x")


def test_points_beyond_the_projection_leave_the_polygon_and_take_no_hole_for_land() -> None:
    """The antipode of the grid's centre has no place on it: a shell around it is nowhere, its holes are no land."""
    antipode = shapely.box(-170.5, -52.5, -169.5, -51.5)
    shape = shapely.Polygon([(-170.0, -52.0)] * 4, [ring(9.0, 51.0, 10.0, 52.0)])
    assert not len(on_grid(np.array([shape], object), CRS("OGC:CRS84"), grid.EUROPE))
    assert all(np.isfinite(p.bounds).all() for p in on_grid(np.array([antipode], object), CRS("OGC:CRS84"), grid.EUROPE))
