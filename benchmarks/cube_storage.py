"""What a cube costs to keep: bytes a cell and objects a unit by layer.

Measured on the layers of a cube as they lie on disk: of the generated landscape with embeddings of it, 64 and 128 bands
made of its Sentinel-2 and terrain (built here, or `--cube` for any other local one). `benchmarks/cube.py` prints it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cube.grid import CELL, FINE, bounds_in, transformer
from cube.storage.store import CubeStore, open_cube

Row = dict[str, Any]
Array = np.ndarray[Any, Any]


def demo_cube(folder: Path, size_km: int) -> Path:
    """The inputs of a generated landscape and embeddings of it, built by the pipeline itself."""
    from demo.journey import prepare
    from demo.landscape import LandscapeSpec

    config = prepare(folder, LandscapeSpec(size_km=size_km), lambda text: None)
    _build(config)
    document = yaml.safe_load(config.read_text())
    document["sources"] += embeddings(folder, open_cube(str(folder / "cube.zarr")))
    config.write_text(yaml.safe_dump(document))
    _build(config)
    return folder / "cube.zarr"


def _build(config: Path) -> None:
    from cube.config import load_config
    from cube.engine.build import build

    failures = build(load_config(config))
    assert not failures, failures


def embeddings(folder: Path, cube: CubeStore) -> list[dict[str, Any]]:
    """Sources of embeddings in both published layouts: a random network of Sentinel-2's pixels and the terrain, as UTM pixels."""
    from benchmarks.landscape_embedding import stored_bytes, unit_vectors
    from tests.support.embeddings import write_cog, write_zarr_zones

    region, layers = cube.region, cube.layers()
    pixels = [layers["sentinel2"].decode(cube.array("inputs/10m/sentinel2")[:])]
    for name in ("elevation", "slope", "northness", "eastness"):
        cells = layers[name].decode(cube.array(f"inputs/50m/{name}")[:])
        pixels.append(cells.repeat(CELL // FINE, 0).repeat(CELL // FINE, 1)[None])
    drivers = np.concatenate(pixels)
    reference = drivers.reshape(len(drivers), -1)[:, ::97].T
    left, _, _, top = region.grown_bounds
    zone = int((region.degrees[0] + 180) // 6) + 1
    west, south, east, north = bounds_in(32600 + zone, region.bounds, region.grid.code)
    west, south, cols, rows = west // 10 * 10, south // 10 * 10, int((east - west) // 10) + 2, int((north - south) // 10) + 2

    def vectors(x: Array, y: Array, bands: int) -> Array:
        out = np.empty((bands, *x.shape), np.float32)
        for i in range(0, len(x), 64):
            easting, northing = transformer(32600 + zone, region.grid.code).transform(x[i : i + 64], y[i : i + 64])
            row, col = ((top - northing) // FINE).astype(int), ((easting - left) // FINE).astype(int)
            drivers_here = drivers[:, row.clip(0, drivers.shape[1] - 1), col.clip(0, drivers.shape[2] - 1)]
            image_vectors = unit_vectors(drivers_here.reshape(len(drivers_here), -1).T, reference, 0, bands)
            out[:, i : i + 64] = image_vectors.T.reshape(bands, *drivers_here.shape[1:])
        return out

    x, y = np.meshgrid(west + 10 * (np.arange(cols) + 0.5), south + 10 * (np.arange(rows) + 0.5))
    path = folder / f"alphaearth/2020/{zone}N/part.tiff"
    write_cog(path, 32600 + zone, (west, south), stored_bytes(vectors(x, y, 64)))
    zones = {zone: (west, south + 10 * rows, rows, cols)}
    write_zarr_zones(folder / "tessera.zarr", (2020,), zones, lambda x, y: vectors(x, y, 128))
    alphaearth = {"embedding": "alphaearth", "path": "alphaearth", "year": 2020}
    return [
        {"layer": "alphaearth", **alphaearth},
        {"layer": "alphaearth_10m", "resolution": "10m", **alphaearth},
        {"layer": "tessera", "embedding": "tessera", "path": "tessera.zarr", "year": 2020},
    ]


def bytes_records(cube: Path) -> list[Row]:
    """One row a layer: bytes stored for each cell of 50 m, share of the bytes of its type, shards a unit and their mean size.

    Overviews are one row for all levels of a group (`inputs/overviews/50m`, `species/overviews`).
    """
    store = open_cube(str(cube))
    units = len(list(store.region.units()))
    cells = units * (store.region.unit_km * 1000 // CELL) ** 2
    layer_rows: dict[str, Row] = {}
    for meta in sorted(cube.rglob("zarr.json")):
        document = json.loads(meta.read_text())
        shape = document.get("shape", [])
        if len(shape) < 2 or document["dimension_names"][-2:] != ["y", "x"]:
            continue
        path = str(meta.parent.relative_to(cube))
        shards = [p.stat().st_size for p in (meta.parent / "c").rglob("*") if p.is_file()]
        array = store.array(path)
        row = layer_rows.setdefault(
            _row_name(path),
            {"layer": _row_name(path), "dtype": str(array.dtype), "bands": 0, "stored": 0, "raw": 0, "shards": 0},
        )
        row["bands"] += int(np.prod(shape[:-2]))
        row["stored"] += sum(shards)
        row["raw"] += int(np.prod(shape)) * array.dtype.itemsize
        row["shards"] += len(shards)
    rows = []
    for row in layer_rows.values():
        total_bytes, raw, shards = row.pop("stored"), row.pop("raw"), row.pop("shards")
        row |= {"bytes_per_cell": round(total_bytes / cells, 4), "share_of_raw": round(total_bytes / raw, 3)}
        rows.append(
            row | {"objects_per_unit": round(shards / units, 2), "mean_object_kb": round(total_bytes / max(shards, 1) / 1e3, 1)}
        )
    total = sum(row["bytes_per_cell"] for row in rows)
    objects = sum(row["objects_per_unit"] for row in rows)
    return [
        *rows,
        {
            "layer": "total",
            "dtype": "",
            "bands": sum(r["bands"] for r in rows),
            "bytes_per_cell": round(total, 4),
            "share_of_raw": None,
            "objects_per_unit": round(objects, 2),
            "mean_object_kb": round(total * cells / units / max(objects, 1e-9) / 1e3, 1),
        },
    ]


def _row_name(path: str) -> str:
    parts = path.split("/")
    if "overviews" in parts:
        return "/".join(parts[: parts.index("overviews") + 2])
    if parts[0] == "products":
        level = next((p for p in parts[3:-1] if p.isdigit()), "0")
        return f"{parts[1]}/{parts[-1]}" if level == "0" else f"{parts[1]}/overviews"
    return "/".join(parts[1:])
