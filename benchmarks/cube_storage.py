"""What a cube costs to keep: bytes a cell and objects a unit by layer, and what its checksums add.

`bytes` measures the layers of a cube as they lie on disk: of the generated landscape with embeddings of it, 64 and 128 bands
made of its Sentinel-2 and terrain (built here, or `--cube` for any other local one). `checksums` writes and reads maps of
species of realistic texture in a local folder with and without the CRC-32C of each chunk, by turns, with and without Rust codecs.
`benchmarks/cube.py` prints each as a part of its table.

    python -m benchmarks.cube --only checksums --json checksums.json
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import yaml
from scipy.ndimage import gaussian_filter

from cube.grid import CELL, FINE, Region, bounds_in, transformer
from cube.layers import occurrence
from cube.storage.store import CubeStore, create_cube, open_cube

Row = dict[str, Any]
Array = np.ndarray[Any, Any]
Timing = tuple[float, float, float, int]  # seconds to write and to read a unit, and to read a tile; bytes
STORE_REGION = Region(4420, 2620, 4460, 2660, 40)  # one unit of 40 km, as Europe has them
SPECIES = 128  # one shard
TILES = 30
WAYS = ("plain", "zarrs")


# Bytes and objects.


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


# Checksums.


def maps_of_species(seed: int = 0) -> np.ndarray:
    """(species, y, x) uint8: smooth gradients shared by the species, a grain of their own, most of the land near zero."""
    rng = np.random.default_rng(seed)
    side = STORE_REGION.unit_km * 1000 // CELL
    gradients = np.stack([gaussian_filter(rng.standard_normal((side, side)), s) * s for s in (3, 6, 12, 24, 48, 48)])
    scores = np.einsum("sk,kyx->syx", rng.normal(size=(SPECIES, len(gradients))), gradients)
    scores += 0.15 * rng.standard_normal(scores.shape) - rng.uniform(1, 4, (SPECIES, 1, 1))
    return np.rint(250 / (1 + np.exp(-2 * scores))).astype(np.uint8)


def _time_store(url: str, values: np.ndarray, checksums: bool = True) -> Timing:
    """Seconds to write a unit of a new cube, to read it whole, and to read a map tile (400 x 400 cells of a species); bytes."""
    cube = create_cube(url, STORE_REGION, "benchmark")
    names = np.asarray([f"Planta {i}" for i in range(SPECIES)], object)
    cube.ensure_group("products/species/v1/0", [occurrence("", 100)], labels={"species": names})
    path, unit = "products/species/v1/0/occurrence", next(STORE_REGION.units())
    if not checksums:
        _without_checksums(cube, path)
    start = time.perf_counter()
    cube.write_unit(path, unit, values)
    wrote = time.perf_counter()
    read_values = cube.read_window(path, STORE_REGION.square(unit))
    read_end = time.perf_counter()
    assert (read_values == values).all()
    array = cube.array(path)
    began = time.perf_counter()
    for i in range(TILES):
        assert array[i, 400:800, :400].shape == (400, 400)
    tile = (time.perf_counter() - began) / TILES
    return wrote - start, read_end - wrote, tile, sum(cube.sizes(f"{path}/c").values())


def _medians(timings: list[Timing]) -> list[float]:
    """Medians of all but the first."""
    return [statistics.median(column) for column in zip(*timings[1:], strict=True)]


def checksums_records(repeats: int = 5) -> list[Row]:
    """One row a way: bytes and medians of seconds to write and read a unit with a CRC-32C a chunk, and what that adds in %."""
    values = maps_of_species()
    rows = []
    with patch.dict(os.environ), tempfile.TemporaryDirectory() as folder:
        for way in WAYS:
            os.environ["FLORACUBE_IO"] = way
            timings: dict[bool, list[Timing]] = {True: [], False: []}
            for turn in range(repeats + 1):  # the first warms up and is forgotten
                for checksums in timings:
                    url = f"{folder}/{way}-{checksums}-{turn}.zarr"
                    timings[checksums].append(_time_store(url, values, checksums))
                    shutil.rmtree(url)
            write, read_seconds, tile, size = _medians(timings[True])
            more = [
                100 * (with_checksums / without - 1)
                for with_checksums, without in zip((write, read_seconds, tile, size), _medians(timings[False]), strict=True)
            ]
            rows.append(
                {
                    "way": way,
                    "mb": round(size / 1e6, 2),
                    "write_s": round(write, 3),
                    "read_s": round(read_seconds, 3),
                    "tile_ms": round(tile * 1000, 2),
                    "more_bytes_percent": round(more[3], 4),
                    "more_write_percent": round(more[0], 1),
                    "more_read_percent": round(more[1], 1),
                    "more_tile_percent": round(more[2], 1),
                }
            )
    return rows


def _without_checksums(cube: CubeStore, path: str) -> None:
    """Let an empty array be as cubes of earlier versions have it."""
    document = cube.read_json(f"{path}/zarr.json")
    settings = document["codecs"][0]["configuration"]
    settings["codecs"] = [codec for codec in settings["codecs"] if codec["name"] != "crc32c"]
    cube.write_json(f"{path}/zarr.json", document)
