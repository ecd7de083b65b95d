"""Everything known of one 50 m cell: one read per array, thanks to the composition layer that ranks its species."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cube import grid, releases
from cube.layers import BOUNDS, NO_SPECIES
from server.catalogue import species_status, text
from server.errors import NotFoundError, WrongRequestError
from server.layers import MapLayer
from server.snapshot import Snapshot


def cell_of(snapshot: Snapshot, lon: float, lat: float) -> tuple[int, int, str]:
    """(row, column, EEA name) of the cell that holds a point in degrees, WGS 84.

    Raises `WrongRequestError` for what is no place on Earth and `NotFoundError` outside the cube's region.
    """
    if not (math.isfinite(lon) and math.isfinite(lat)):
        raise WrongRequestError("Longitude and latitude must be finite numbers in degrees.")
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        raise WrongRequestError("Longitude must lie in -180 to 180 and latitude in -90 to 90 degrees; longitude comes first.")
    region = snapshot.reader.cube.region
    x, y = grid.project(lon, lat)
    if not region.contains(x, y):
        raise NotFoundError(f"The point {lon}, {lat} (longitude, latitude) lies outside the cube.")
    row, col = region.index(x, y)
    return int(row), int(col), grid.eea_name(grid.CELL, float(x), float(y))


def describe(snapshot: Snapshot, lon: float, lat: float, threshold: float) -> dict[str, Any]:
    """Species above `threshold` (probability), indicators with bounds, habitats and scalar inputs of the cell."""
    row, col, name = cell_of(snapshot, lon, lat)
    return {
        "lon": lon,
        "lat": lat,
        "cell": name,
        "release": snapshot.release,
        "inside": True,
        **_species(snapshot, row, col, threshold),
        "indicators": _indicators(snapshot, row, col),
        **_habitats(snapshot, row, col),
        "inputs": _inputs(snapshot, row, col),
    }


def _value(snapshot: Snapshot, layer: MapLayer, row: int, col: int) -> float | None:
    """Value in units of a layer in one 50 m cell (the coarser cell that holds it), or None."""
    factor = max(1, layer.resolution // grid.CELL)
    stored = snapshot.reader.cell(layer.paths[0], row // factor, col // factor)[layer.lead]
    if stored == layer.fill or not np.isfinite(float(stored)):
        return None
    return float(f"{float(stored) * layer.scale + layer.offset:.6g}")


def _species(snapshot: Snapshot, row: int, col: int, threshold: float) -> dict[str, Any]:
    version = snapshot.products.get("composition")
    if version is None:
        return {"species": [], "set_size": None}
    base = releases.group_of("composition", version)
    reader, catalogue = snapshot.reader, snapshot.catalogue
    ids = reader.cell(f"{base}/species_id", row, col)
    stored = reader.cell(f"{base}/probability", row, col)
    step = float(reader.array(f"{base}/probability").attrs.get("scale_factor", 1 / 250))  # type: ignore[arg-type]
    size = int(reader.cell(f"{base}/set_size", row, col))
    table = catalogue.species
    found: list[dict[str, Any]] = []
    for index, value in zip(ids.tolist(), stored.tolist(), strict=True):
        probability = round(value * step, 4)
        if index == NO_SPECIES or value == 255 or probability < threshold:
            continue
        name = text(table, "scientific_name", index) or f"species {index}"
        layer = catalogue.species_by_name.get(name)
        found.append(
            {
                "name": name,
                "vernacular": text(table, "vernacular_name", index),
                "probability": probability,
                "id": None if layer is None else layer.id,
                **species_status(table, index),
            }
        )
    found.sort(key=lambda entry: -entry["probability"])
    return {"species": found, "set_size": None if size == NO_SPECIES else size}


def _indicators(snapshot: Snapshot, row: int, col: int) -> list[dict[str, Any]]:
    found = []
    for layer in snapshot.catalogue.find(product="indicators"):
        bounds = [snapshot.catalogue.by_id.get(f"{layer.id}{suffix}") for suffix in ("", ".lower", ".upper")]
        values = {
            bound: None if own is None else _value(snapshot, own, row, col) for bound, own in zip(BOUNDS, bounds, strict=True)
        }
        if values["estimate"] is not None:
            found.append({"id": layer.id, "title": layer.title, "units": layer.units, **values})
    return found


def _habitats(snapshot: Snapshot, row: int, col: int) -> dict[str, Any]:
    answer: dict[str, Any] = {"habitats": [], "habitat_probability": None, "habitat_entropy": None}
    for layer in snapshot.catalogue.find(product="habitats"):
        level = layer.id.removeprefix("habitats.")
        value = _value(snapshot, layer, row, col)
        if layer.kind != "class":
            if level in ("probability", "entropy"):
                answer[f"habitat_{level}"] = value
            continue
        for entry in layer.classes:
            if entry.value == value:
                answer["habitats"].append(
                    {"level": level, "value": entry.code or entry.value, "label": entry.label, "colour": entry.colour}
                )
    return {**answer, "habitat_top3": _top3(snapshot, row, col)}


def _top3(snapshot: Snapshot, row: int, col: int) -> list[dict[str, Any]]:
    version = snapshot.products.get("habitats")
    base = "" if version is None else releases.group_of("habitats", version)
    if not base or not snapshot.reader.cube.has(f"{base}/top3_class"):
        return []
    reader, table = snapshot.reader, snapshot.catalogue.habitats
    classes = reader.array(f"{base}/top3_class")
    shares = reader.array(f"{base}/top3_probability")
    step = float(shares.attrs.get("scale_factor", 1 / 250))  # type: ignore[arg-type]
    rows = len(table.get("name", ()))
    return [
        {
            "code": text(table, "code", value) if value < rows else "",
            "label": text(table, "name", value) if value < rows else f"class {value}",
            "probability": round(share * step, 4),
        }
        for value, share in zip(
            reader.cell(f"{base}/top3_class", row, col).tolist(),
            reader.cell(f"{base}/top3_probability", row, col).tolist(),
            strict=True,
        )
        if value != classes.fill_value and share != shares.fill_value
    ]


def _inputs(snapshot: Snapshot, row: int, col: int) -> dict[str, float]:
    found = {}
    for layer in snapshot.catalogue.find(product="inputs"):
        if not layer.lead and layer.resolution >= grid.CELL:
            value = _value(snapshot, layer, row, col)
            if value is not None:
                found[layer.id.removeprefix("inputs.")] = value
    return found
