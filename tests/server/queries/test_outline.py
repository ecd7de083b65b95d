"""Outlines of areas: what is one, what is not and why, and that its cells are those whose centres lie in it."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from cube import grid
from cube.grid import Region
from server.queries import outline
from server.queries.outline import OutlineError

REGION = Region(4803, 2892, 4828, 2910, 10)
SQUARE = [[16.7, 49.0], [16.8, 49.0], [16.8, 49.1], [16.7, 49.1], [16.7, 49.0]]


def polygon(*rings: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def test_polygons_multipolygons_and_features_are_the_same_area() -> None:
    plain = outline.parse(polygon(SQUARE))
    for other in (
        {"type": "MultiPolygon", "coordinates": [[SQUARE]]},
        {"type": "Feature", "geometry": polygon(SQUARE), "properties": None},
        polygon([[*position, 200.0] for position in SQUARE]),
    ):
        assert outline.parse(other).equals(plain)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (None, "must be a GeoJSON"),
        ([], "must be a GeoJSON"),
        ("Polygon", "must be a GeoJSON"),
        (7, "must be a GeoJSON"),
        ({"type": "Point", "coordinates": [16, 49]}, "must be a GeoJSON"),
        ({"type": "Feature", "geometry": None}, "must be a GeoJSON"),
        ({"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": polygon(SQUARE)}, 3]}, "must be a GeoJSON"),
        ({"type": "Polygon"}, "'coordinates' not found"),
        (polygon(), "empty"),
        ({"type": "MultiPolygon", "coordinates": []}, "empty"),
        ({"type": "MultiPolygon", "coordinates": [[]]}, "empty"),
        ({"type": "Polygon", "coordinates": "round"}, "must be array"),
        (polygon([]), "empty"),
        (polygon(SQUARE[:3]), "closed"),
        (polygon([*SQUARE[:2], SQUARE[0]]), "too few points"),
        (polygon([1, 2, 3, 4]), "must be array"),
        (polygon([["16", "49"]] * 4), "must be number"),
        (polygon([[True, False]] * 4), "must be number"),
        (polygon([[None, 1.0]] * 4), "must be number"),
        (polygon([[16.0]] * 4), "two or three coordinates"),
        (polygon([[10**400, 1]] * 4), "number overflow"),
        (polygon([[1.0, 2.0], [3.0], [4.0, 5.0], [1.0, 2.0]]), "two or three coordinates"),
        (polygon([[math.nan, 49.0], *SQUARE[1:]]), "finite"),
        (polygon([[math.inf, 49.0], *SQUARE[1:]]), "finite"),
        (polygon([[4_700_000, 2_900_000]] * 4), "degrees"),
        (polygon([[49.0, 116.7]] * 4), "degrees"),
        (polygon(SQUARE[:4]), "closed"),
        (polygon([[16.7, 49.0]] * 4), "not a valid|empty"),
        (polygon([[16.7, 49.0], [16.8, 49.1], [16.8, 49.0], [16.7, 49.1], [16.7, 49.0]]), "self-intersection at longitude"),
        (polygon([[179.0, 49.0], [-179.0, 49.0], [-179.0, 50.0], [179.0, 50.0], [179.0, 49.0]]), "antimeridian"),
        (polygon(SQUARE, [[20.0, 20.0], [21.0, 20.0], [21.0, 21.0], [20.0, 20.0]]), "hole"),
        (polygon([[16.0, 49.0]] * 100_001), "100000 positions"),
        (polygon(*[SQUARE] * 10_001), "10000 rings"),
    ],
)
def test_what_is_no_area_is_told_why(document: Any, reason: str) -> None:
    with pytest.raises(OutlineError, match=reason):
        outline.parse(document)


def test_area_on_the_ellipsoid_is_that_of_the_square_on_the_grid() -> None:
    x, y = np.array([4_810_000.0, 4_820_000, 4_820_000, 4_810_000]), np.array([2_895_000.0, 2_895_000, 2_905_000, 2_905_000])
    lon, lat = grid.EUROPE.unproject(x, y)
    ring = [[float(a), float(b)] for a, b in zip(lon, lat, strict=True)]
    shape = outline.parse(polygon([*ring, ring[0]]))
    assert outline.square_kilometres(shape) == pytest.approx(100.0, rel=2e-4)
    assert outline.on_grid(shape, REGION).area / 1e6 == pytest.approx(100.0, rel=2e-4)


def test_the_area_of_long_edges_is_that_of_lines_straight_in_degrees() -> None:
    """The base of a triangle runs along a parallel; its area is the integral of its width over the zones of the ellipsoid."""
    shape = outline.parse(polygon([[0, 45], [20, 45], [10, 55], [0, 45]]))
    a, e2 = 6_378_137.0, 0.00669437999014
    lat = 45 + (np.arange(100_000) + 0.5) * 1e-4
    width = np.radians(20 * (55 - lat) / 10)
    zones = width * np.radians(1e-4) * np.cos(np.radians(lat)) * a**2 * (1 - e2) / (1 - e2 * np.sin(np.radians(lat)) ** 2) ** 2
    assert outline.square_kilometres(shape) == pytest.approx(zones.sum() / 1e6, rel=1e-5)


def test_a_world_is_cut_to_the_region_and_what_lies_elsewhere_is_empty() -> None:
    world = outline.parse(polygon([[-180, -90], [0, -90], [180, -90], [180, 90], [0, 90], [-180, 90], [-180, -90]]))
    west, south, east, north = REGION.bounds
    assert outline.on_grid(world, REGION).area == pytest.approx((east - west) * (north - south), rel=1e-9)
    assert outline.on_grid(outline.parse(polygon([[-60, -10], [-59, -10], [-59, -9], [-60, -10]])), REGION).is_empty


def test_what_is_made_to_be_slow_is_refused_before_it_is() -> None:
    comb = [[25.0 if i % 4 in (1, 2) else -10.0, float(lat)] for i, lat in enumerate(np.linspace(36, 70, 20_001))]
    started = time.process_time()
    shape = outline.parse(polygon([*comb, [-11.0, 70.0], [-11.0, 36.0], comb[0]]))
    with pytest.raises(OutlineError, match="too long"):
        outline.on_grid(shape, Region(2600, 1400, 6000, 5000, 40))
    # Slanted teeth: every edge's box meets every other's.
    teeth = [[16 + i * 1e-8 + (0.5 if i % 4 in (1, 2) else 0.0), 49.0 + (i % 4 in (1, 2))] for i in range(50_000)]
    with pytest.raises(OutlineError, match="too intricate"):
        outline.parse(polygon([*teeth, [17.5, 48.5], [15.0, 48.5], teeth[0]]))
    assert time.process_time() - started < 8  # seconds; GEOS alone takes minutes


@pytest.mark.parametrize("seed", range(3))
def test_cutting_keeps_the_area_and_the_cells_that_geos_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, 40))
    reach = rng.uniform(0.5, 14.0, 40)
    star = np.stack([16.75 + 0.02 * reach * np.cos(angle), 49.02 + 0.014 * reach * np.sin(angle)], axis=1)
    hole = star[::2] * 0.15 + np.array([16.75, 49.02]) * 0.85
    shape = shapely.Polygon(star, [hole])
    if not shapely.is_valid(shape):
        shape = shapely.Polygon(star)
    found = outline.on_grid(shape, REGION)

    def project(positions: Any) -> Any:
        return np.stack(grid.EUROPE.project(positions[:, 0], positions[:, 1]), axis=1)

    truth = shapely.intersection(shapely.transform(shapely.segmentize(shape, 0.1), project), shapely.box(*REGION.bounds))
    assert found.area == pytest.approx(truth.area, rel=1e-9)
    west, _, _, north = REGION.bounds
    cells = outline.centres_within(found, (west, north, 50.0), 360, 500)
    x, y = np.meshgrid(west + 25.0 + 50 * np.arange(500), north - 25.0 - 50 * np.arange(360))
    near_edge = shapely.distance(truth.boundary, shapely.points(x, y)) < 1e-3
    assert (cells == shapely.contains_xy(truth, x, y))[~near_edge].all()
    assert cells.any()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=12))
def test_cells_are_those_whose_centre_lies_in_the_shape(points: list[tuple[float, float]]) -> None:
    shape = shapely.MultiPoint([(x * 5000 + 7, y * 4000 + 3) for x, y in points]).convex_hull
    if shape.area < 1:
        return
    found = outline.centres_within(shape, (0.0, 4000.0, 50.0), 80, 100)
    x, y = np.meshgrid(25.0 + 50 * np.arange(100), 3975.0 - 50 * np.arange(80))
    near_edge = shapely.distance(shape.boundary, shapely.points(x, y)) < 1e-3  # on an edge either is right
    assert (found == shapely.contains_xy(shape, x, y))[~near_edge].all()
