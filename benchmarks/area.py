"""`/area` of squares, and `/point`, on a store some milliseconds away: requests, seconds and memory, cold and warm.

    python -m benchmarks.area                                              # 100 x 100 km, 20 ms
    python -m benchmarks.area --species 10000 --side-km 300 --delay 0.03   # as large as a country

The cube of 320 x 320 km has every product; one unit and one square of each level are written, and all others are the same
files by other names. The largest probabilities of the species are spread evenly over the orders of magnitude from 0.001 to 0.9.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import shapely
import zarr.storage
from numpy.typing import NDArray
from starlette.testclient import TestClient
from zarr.storage import WrapperStore

from benchmarks.command import parser_of, write_rows
from cube import grid, layers
from cube.grid import Region
from cube.layers import Layer
from cube.pyramids.facts import all_facts, make_facts, measured, write_square
from cube.pyramids.squares import Square
from cube.storage import backends, releases
from cube.storage.documents import Documents
from cube.storage.leaves import SPECIES_PER_SHARD, add_labels
from cube.storage.store import CubeStore, create_cube, open_cube
from server.main import create_app
from server.queries.area import describe
from server.reading.io import ChunkCache
from server.reading.snapshot import ServedCube

REGION: Final = Region(4500, 2800, 4820, 3120, 20)
SIDE: Final = REGION.unit_km * 1000 // grid.CELL
INDICATORS: Final = 15
CLASSES: Final = 60
LEVELS: Final = ("level3", "level2", "level1")


class Distant(WrapperStore[zarr.storage.LocalStore]):
    """A store whose every answer takes `delay` seconds, and that knows when each began and ended."""

    delay = 0.02
    spans: ClassVar[list[tuple[float, float]]] = []

    async def get(self, *arguments: Any, **options: Any) -> Any:
        """As the store behind it, later."""
        start = time.perf_counter()
        await asyncio.sleep(Distant.delay)
        answer = await super().get(*arguments, **options)
        Distant.spans.append((start, time.perf_counter()))
        return answer


def in_turn() -> int:
    """How many requests waited for one another: the longest chain of them."""
    count, last_end = 0, 0.0
    for start, end in sorted(Distant.spans, key=lambda span: span[1]):
        if start >= last_end:
            count, last_end = count + 1, end
    return count


def make(url: str, species: int) -> CubeStore:
    """The cube at `url`, with a release of all products."""
    cube = create_cube(url, REGION, "Areas")
    names = np.asarray([f"Planta {i:05d}" for i in range(species)], object)
    table = {"species_id": np.arange(species, dtype=np.int32), "scientific_name": names}
    for product in ("species", "composition"):
        releases.ensure_table(cube, product, "v1", table)
    level_of = [LEVELS[min(i // (CLASSES // 3), 2)] for i in range(CLASSES)]
    habitats = {"code": [f"H{i}" for i in range(CLASSES)], "name": [f"Habitat {i}" for i in range(CLASSES)], "level": level_of}
    releases.ensure_table(cube, "habitats", "v1", {name: np.asarray(v, object) for name, v in habitats.items()})
    scale = (np.geomspace(0.9, 0.001, species) / 250).astype(np.float32)
    occurrence = layers.occurrence("", 100.0)
    indicators = [
        layers.indicator(f"indicator_{i}", "", f"Indicator {i}", "1", 0.01, 650.0, "viridis") for i in range(INDICATORS)
    ]
    classes = [layers.habitat_level(name, "", (), name) for name in LEVELS]
    certain = layers.habitat_probability("")
    top = (
        Layer("top3_class", "", "uint16", 65535, "Best three", "1", ("habitat_rank",), kind="class"),
        Layer("top3_probability", "", "uint8", 255, "Their probability", "1", ("habitat_rank",), scale=1 / 250),
    )
    for level in range(REGION.levels() + 1):
        group = releases.group_of("species", "v1", level)
        leaf = cube.ensure_group(group, [occurrence.at(group)], level=level, labels={"species": names})
        add_labels(leaf, "scale", scale, "species")
        field = np.stack([_field(seed) for seed in range(4)])
        for first in range(0, species, SPECIES_PER_SHARD):
            species_rows = np.arange(first, min(first + SPECIES_PER_SHARD, species))
            values = np.stack([np.roll(field[s % 4], 7 * int(s), axis=s % 2) for s in species_rows])
            _write(cube, f"{group}/occurrence", values, slice(first, species_rows[-1] + 1))
        group = releases.group_of("indicators", "v1", level)
        cube.ensure_group(group, [layer.at(group) for layer in indicators], level=level)
        for layer in indicators:
            _write(cube, f"{group}/{layer.name}", np.stack([field[0], field[0] // 2, field[0]]).astype(np.uint16) * 100)
        group = releases.group_of("habitats", "v1", level)
        maps = [layer.at(group) for layer in (*classes, certain, *(() if level else top))]
        cube.ensure_group(group, maps, level=level, labels={"habitat_rank": np.arange(1, 4)})
        for i, layer in enumerate(classes):
            _write(cube, f"{group}/{layer.name}", (field[1] // 13 + 20 * i).astype(np.uint16))
        _write(cube, f"{group}/probability", np.minimum(field[2], 250))
    group = releases.group_of("composition", "v1")
    cube.ensure_group(group, [layer.at(group) for layer in layers.COMPOSITION], labels={"rank": np.arange(1, 65)})
    species_order = np.broadcast_to(np.arange(64, dtype=np.uint16)[:, None, None], (64, SIDE, SIDE))
    _write(cube, f"{group}/species_id", species_order)
    _write(cube, f"{group}/set_size", np.full((SIDE, SIDE), 30, np.uint16))
    versions = dict.fromkeys(releases.PRODUCTS, "v1")
    make_facts(cube, "predict/v1", versions)
    facts = all_facts(cube, versions)
    measured(cube, facts, next(REGION.units())).write()
    _share(cube, [f"{layer.path}/0" for layer in facts])
    for level in range(1, REGION.levels() + 1):
        write_square(cube, facts, Square(REGION, level, 0, 0))
        _share(cube, [layer.array(level) for layer in facts])
    releases.write_release(cube, "r1", versions, {})
    releases.publish(cube, "r1")
    return cube


def _field(seed: int) -> NDArray[np.uint8]:
    """(SIDE, SIDE) stored values 0 to 250: hills and fine noise."""
    rng, along = np.random.default_rng(seed), np.arange(SIDE) / SIDE * 2 * np.pi
    hills = np.sin(along[:, None] * rng.integers(1, 5)) * np.sin(along * rng.integers(1, 5)) + rng.normal(0, 0.05, (SIDE, SIDE))
    return np.clip(np.rint(125 + 110 * hills), 0, 250).astype(np.uint8)


def _write(cube: CubeStore, path: str, values: NDArray[Any], lead: slice | None = None) -> None:
    """Write the first square of an array and give its shards the names of all others."""
    square = (..., slice(0, SIDE), slice(0, SIDE))
    cube.write(path, square if lead is None else (lead, *square), values)
    _share(cube, [path])


def _share(cube: CubeStore, paths: list[str]) -> None:
    for path in paths:
        array, folder = cube.array(path), Path(cube.url) / path / "c"
        rows, cols = (-(-n // side) for n, side in zip(array.shape[-2:], array.shards[-2:], strict=True))
        for shard in [file for file in folder.rglob("0") if file.is_file() and file.parent.name == "0"]:
            for row, col in np.ndindex(rows, cols):
                target = shard.parent.parent / str(row) / str(col)
                target.parent.mkdir(exist_ok=True)
                if not target.exists():
                    os.link(shard, target)


def area(side_km: int) -> shapely.Geometry:
    """A square in degrees, across the units."""
    west, south, side = (4_567_300, 2_871_900, 1000 * side_km) if side_km <= 200 else (4_503_300, 2_803_900, 1000 * side_km)
    edge = np.linspace(0, side, 50)
    x = np.concatenate([west + edge, np.full(50, west + side), west + edge[::-1], np.full(50, west)])
    y = np.concatenate([np.full(50, south), south + edge, np.full(50, south + side), south + edge[::-1]])
    return shapely.Polygon(np.stack(grid.EUROPE.unproject(x, y), axis=1))


def ask_area(served_cube: ServedCube, side_km: int, threshold: float) -> dict[str, Any]:
    """One answer: its requests, seconds, processor seconds and the memory that it took at most, MB."""
    Path("/proc/self/clear_refs").write_text("5")
    memory_before, start, processor_start = _memory("VmRSS"), time.perf_counter(), time.process_time()
    Distant.spans.clear()
    report = describe(served_cube.snapshot(), area(side_km), "Area", threshold)
    return {
        "requests": len(Distant.spans),
        "seconds": time.perf_counter() - start,
        "processor": time.process_time() - processor_start,
        "mb": (_memory("VmHWM") - memory_before) / 1024,
        "edge_m": report.cell_m,
        "listed": len(report.species),
    }


def _ask_point(url: str) -> dict[str, Any]:
    """`/point` of a server that has read nothing of the point: requests, and how many of them wait for one another."""
    client = TestClient(create_app([url]))
    client.get("/about.json")
    west, south, east, north = area(100).bounds
    Distant.spans.clear()
    start = time.perf_counter()
    answer = client.get(f"/point/{(west + east) / 2},{(south + north) / 2}").raise_for_status()
    assert answer.json()["indicators"]
    return {"requests": len(Distant.spans), "seconds": time.perf_counter() - start, "in_turn": in_turn()}


def _memory(what: str) -> int:
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))


def main() -> None:
    """Print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--species", type=int, nargs="+", default=[2000, 10_000])
    parser.add_argument("--side-km", type=int, default=100, help="of the square, 300 at most")
    parser.add_argument("--delay", type=float, default=0.02, help="seconds that each answer of the store takes")
    arguments = parser.parse_args()
    Distant.delay = arguments.delay
    rows = []
    for species in arguments.species:
        with tempfile.TemporaryDirectory() as folder:
            make(f"{folder}/cube.zarr", species)
            rows += [{"species": species, **row} for row in _rows(f"{folder}/cube.zarr", arguments.side_km)]
    print(f"/area of {arguments.side_km} x {arguments.side_km} km, store {1000 * arguments.delay:g} ms away")
    print("species  least  state  requests  seconds  processor  MB  cells of the edge  listed")
    for row in rows:
        if "least" not in row:
            print(f"{row['species']:>7}  /point  {row['requests']} requests, {row['in_turn']} in turn, {row['seconds']:.2f} s")
            continue
        print(
            f"{row['species']:>7}  {row['least']:>5}  {row['state']:<5}  {row['requests']:>8}  {row['seconds']:>7.2f}"
            f"  {row['processor']:>9.2f}  {row['mb']:>4.0f}  {row['edge_m']:>15} m  {row['listed']:>6}"
        )
    write_rows(arguments.json, rows)


def _rows(url: str, side_km: int) -> list[dict[str, Any]]:
    near, read_document, codecs, rows = backends.zarr_store, Documents._read, backends.with_rust_codecs, []
    backends.with_rust_codecs = lambda array, url: array  # which know no other stores
    backends.zarr_store = lambda url, read_only: Distant(near(url, read_only))
    Documents._read = lambda self, name: (time.sleep(Distant.delay), read_document(self, name))[1]
    try:
        for threshold in (0.05, 0.0):
            served_cube = ServedCube(open_cube(url).url, ChunkCache())
            rows += [
                {"least": threshold, "state": state, **ask_area(served_cube, side_km, threshold)} for state in ("cold", "warm")
            ]
        rows.append(_ask_point(url))
    finally:
        backends.zarr_store, Documents._read, backends.with_rust_codecs = near, read_document, codecs
    return rows


if __name__ == "__main__":
    main()
