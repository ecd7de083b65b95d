"""Invented districts of a landscape: named regions for reports, in longitude and latitude as GeoJSON has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.grid import EUROPE
from demo.domain import Domain

NAMES: Final = ("Oberwald", "Mittelau", "Unterfeld")
FILE: Final = "regions.geojson"


def districts(domain: Domain) -> dict[str, Any]:
    """A FeatureCollection that divides the region from north to south by two winding borders; together they fill it."""
    west, south, side = domain.west_km * 1000.0, domain.south_km * 1000.0, domain.size_km * 1000.0
    x = np.linspace(west, west + side, 201)
    wind = 0.06 * side * np.sin((x - west) / side * 2 * np.pi)
    borders = [np.full_like(x, south + side), south + 0.66 * side + wind, south + 0.33 * side - wind, np.full_like(x, south)]
    features = []
    for name, above, below in zip(NAMES, borders[:-1], borders[1:], strict=True):
        ring = _ring(x, above, below)
        features.append({"type": "Feature", "properties": {"name": name}, "geometry": {"type": "Polygon", "coordinates": [ring]}})
    return {"type": "FeatureCollection", "features": features}


def _ring(x: NDArray[np.float64], above: NDArray[np.float64], below: NDArray[np.float64]) -> list[list[float]]:
    """Closed ring of degrees, counter-clockwise."""
    lon, lat = EUROPE.unproject(np.concatenate([x, x[::-1], x[:1]]), np.concatenate([below, above[::-1], below[:1]]))
    return [[round(float(a), 7), round(float(b), 7)] for a, b in zip(lon, lat, strict=True)]


def write_regions(domain: Domain, folder: Path) -> Path:
    """Write `regions.geojson` into `folder`; returns its path."""
    path = folder / FILE
    path.write_text(json.dumps(districts(domain)) + "\n", encoding="utf-8")
    return path
