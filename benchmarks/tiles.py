"""Tile servers side by side on one cube: milliseconds a tile by zoom, requests a second, bytes.

    python -m benchmarks.tiles                      # 8000 x 8000 cells, all servers that are installed
    python -m benchmarks.tiles --s3                 # and once more from a store of S3's kind on loopback, 20 ms away
    python -m benchmarks.tiles --side-km 100 --unit-km 20 --repeats 2 --seconds 1 --servers floracube   # a short one

Contenders are asked in turn, tile by tile, so that whatever else the machine does meets all of them: read the ratios.
Only one peer finds the level that fits a zoom as we do, by the multiscales convention: that ratio comes first and is the one to
read. Those that read level 0 at every zoom say so in their name. States: `warm`, after each tile was asked for once already;
`cold`, that first time, and for us every time with an empty cache of decoded chunks. Ours draws each tile anew here, as the
peers do; as it is served, it keeps images that were drawn before and answers them several times as fast. The peers come with
`pip install 'floracube[bench]'`, rio-tiler with the server.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import statistics
import subprocess
import tempfile
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import morecantile

from benchmarks import tile_cube, tile_servers
from benchmarks.command import parser_of, write_rows
from benchmarks.ports import free_port, serving
from benchmarks.tile_load import Answer, Connection, load, percentile
from benchmarks.tile_tables import FLORACUBE, Row, tables

ROOT = Path(__file__).resolve().parents[1]
BY_HAND = "titiler.xarray, level by hand"
UNPICKED = "titiler.xarray, level 0"
CONNECTIONS = 8
# Server and which level it reads, what uvicorn starts, what must be installed. The one that finds levels by itself comes first.
SERVERS = {
    FLORACUBE: ("floracube", "morecantile"),
    "rio-tiler GroupReader, multiscales": ("group_reader", "rio-tiler"),
    BY_HAND: ("titiler", "titiler.xarray"),
    UNPICKED: ("titiler", "titiler.xarray"),
    "xpublish-tiles, level 0": ("xpublish", "xpublish-tiles"),
}


def version_of(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def start(name: str, cube: str, stack: ExitStack, environment: dict[str, str]) -> int:
    """Start a server and wait until it answers; returns its port."""
    port, silent = free_port(), {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    variables = {**environment, "BENCH_CUBE": cube}
    stack.enter_context(serving(f"benchmarks.tile_servers:{SERVERS[name][0]}", port, "healthz", variables, **silent))
    return port


def spots(region: Any, zoom: int, count: int) -> list[tuple[int, int]]:
    """Tiles of a zoom at random places of the inner part of the region."""
    import random

    from cube import grid

    rng = random.Random(zoom)
    west, south, east, north = region.bounds
    tiles: list[tuple[int, int]] = []
    for _ in range(count):
        x, y = west + (east - west) * rng.uniform(0.2, 0.8), south + (north - south) * rng.uniform(0.2, 0.8)
        lon, lat = grid.EUROPE.unproject(x, y)
        tile = morecantile.tms.get("WebMercatorQuad").tile(float(lon), float(lat), zoom)
        tiles.append((tile.x, tile.y))
    return tiles


def level_of(zoom: int, x: int, y: int, levels: int) -> int:
    """The pyramid level that we read for a tile: what a careful person would pick by hand."""
    import math

    from server.drawing.warp import warp_grid

    pixel = warp_grid("WebMercatorQuad", zoom, x, y, 256, 3035).pixel
    return min(levels, max(0, math.floor(math.log2(pixel * 1.01 / 50))))


async def by_zoom(ports: dict[str, int], cube: Any, url: str, zooms: list[int], repeats: int) -> list[Row]:
    """Median milliseconds of each server at each zoom, cold and warm, tile after tile and server after server."""
    connections = {name: Connection(port) for name, port in ports.items()}
    timings: dict[tuple[str, int, str], list[float]] = {}
    sizes: dict[tuple[str, int], list[int]] = {}

    async def ask(name: str, z: int, x: int, y: int, state: str) -> None:
        if name not in ports:
            return
        level = level_of(z, x, y, cube.region.levels())
        answer = await connections[name].get(tile_servers.path(name, url, z, x, y, level))
        if answer.status != 200:
            print(f"{name} is left out: status {answer.status} for {answer.path}: {answer.body[:200]!r}")
            del ports[name]
            return
        timings.setdefault((name, z, state), []).append(answer.seconds * 1e3)
        sizes.setdefault((name, z), []).append(len(answer.body))

    for name in list(ports):  # imports, compilation and the first opening are no tile's
        for z in (zooms[0], zooms[-1]):
            await ask(name, z, *spots(cube.region, z, repeats + 1)[-1], "start")
    for z in zooms:
        places = spots(cube.region, z, repeats)
        for x, y in places:
            for name in list(ports):
                if name == FLORACUBE:
                    await forget(ports[name])
                await ask(name, z, x, y, "cold")
        for x, y in places:
            if FLORACUBE in ports:  # emptied before each cold tile: each is to be warm again
                await ask(FLORACUBE, z, x, y, "again")
        for x, y in places:
            for name in list(ports):
                await ask(name, z, x, y, "warm")
    for connection in connections.values():
        connection.close()
    return [
        {"server": name, "zoom": z, "state": state, "ms": statistics.median(values), "bytes": statistics.mean(sizes[name, z])}
        for (name, z, state), values in timings.items()
        if state in ("cold", "warm") and name in ports
    ]


async def forget(port: int) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/forget", method="POST")
    await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=30).read())


def under_load(name: str, port: int, cube: Any, url: str, zooms: list[int], seconds: float) -> Row:
    """Requests a second and the spread of times over a mix of zooms."""
    levels = cube.region.levels()
    paths = [
        tile_servers.path(name, url, z, x, y, level_of(z, x, y, levels)) for z in zooms for x, y in spots(cube.region, z, 12)
    ]
    answers: list[Answer] = []
    asyncio.run(load(port, paths, CONNECTIONS, seconds, answers.append))
    times = [a.seconds * 1e3 for a in answers if a.status in (200, 204)]
    return {
        "server": name,
        "requests_per_second": len(times) / (max(a.start + a.seconds for a in answers) - min(a.start for a in answers)),
        "p50_ms": percentile(times, 0.5),
        "p99_ms": percentile(times, 0.99),
        "failed": len(answers) - len(times),
    }


def run(store: str, url: str, cube: Any, names: list[str], options: argparse.Namespace, environment: dict[str, str]) -> list[Row]:
    """All measures of one store."""
    ports: dict[str, int] = {}
    with ExitStack() as stack:
        for name in names:  # level 0 is asked of the same process
            ports[name] = ports.get(BY_HAND if name == UNPICKED else "") or start(name, url, stack, environment)
        rows = asyncio.run(by_zoom(ports, cube, url, options.zooms, options.repeats))
        if options.seconds > 0:
            rows += [under_load(name, port, cube, url, options.zooms, options.seconds) for name, port in ports.items()]
    return [{**row, "store": store} for row in rows]


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--side-km", type=int, default=400, help="20 cells of 50 m a km: 400 km are 8000 x 8000")
    parser.add_argument("--unit-km", type=int, default=40)
    parser.add_argument("--zooms", type=int, nargs="+", default=[11, 10, 9, 8, 7, 6, 5])
    parser.add_argument("--repeats", type=int, default=5, help="tiles a zoom")
    parser.add_argument("--seconds", type=float, default=6, help="of load; 0: none")
    parser.add_argument("--servers", nargs="+", default=list(SERVERS), choices=list(SERVERS))
    parser.add_argument("--s3", action="store_true", help="serve the cube as S3 does, too, each answer 20 ms late")
    options = parser.parse_args()
    missing = [name for name in options.servers if version_of(SERVERS[name][1]) is None]
    names = [name for name in options.servers if name not in missing]
    for name in missing:
        print(f"{name} is not installed here (pip install 'floracube[bench]'): left out.")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())).resolve() / "bench.zarr"
        cube = tile_cube.make(str(folder), options.side_km, options.unit_km)
        height, width = cube.region.shape()
        print(
            f"{height} x {width} cells, uint8, shards of {options.unit_km * 20} cells, levels 0 to {cube.region.levels()}; "
            + ", ".join(f"{n} {version_of(SERVERS[n][1])}" for n in names if n not in (FLORACUBE, BY_HAND))
        )
        rows = run("local folder", str(folder), cube, names, options, {})
        print(tables(rows, "local folder", options.zooms))
        if options.s3:
            from tests.support.folder_s3 import served

            store = stack.enter_context(served(cube, 0.02))
            options.repeats = min(options.repeats, 3)
            options.zooms = [z for z in options.zooms if z in (11, 8)] or options.zooms[:2]
            options.seconds = 0
            rows += run("S3, 20 ms away", store.url, cube, names, options, store.environment)
            print(tables(rows, "S3, 20 ms away", options.zooms))
    write_rows(options.json, rows)


if __name__ == "__main__":
    main()
