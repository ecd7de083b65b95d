"""Repeated tiles through nginx as deploy/proxy configures it, compared with the server alone; and a release published meanwhile.

    python -m benchmarks.proxy                      # rates and the publish, about a minute; needs nginx and wrk
    python -m benchmarks.proxy --seconds 3 --json proxy.json

The cube has one value everywhere, another in the release that is published under load, so a picture tells its release. Exit
code 1 if a tile asked for by the address of a release is not that release's: no stale tile may ever come out of the cache.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import tile_cube
from benchmarks.command import parser_of, write_rows
from benchmarks.ports import answering, free_port
from benchmarks.tile_load import Answer, load
from benchmarks.tiles import spots
from inference.evaluation.tables import Table
from tests.support.proxy import NGINX, proxied

ROOT = Path(__file__).resolve().parents[1]
FIRST, SECOND = 50, 200  # stored values of both versions
ADDRESSES = 200


def colours(png: bytes) -> set[int]:
    """Palette entries in a tile, but for 0, no data."""
    return set(np.unique(np.asarray(Image.open(io.BytesIO(png)))).tolist()) - {0}


def addresses(url: str, region: Any) -> list[str]:
    """Paths of tiles as the catalogue of the moment hands them out, with their release."""
    with urllib.request.urlopen(f"{url}/layers/habitats.probability/WebMercatorQuad/tilejson.json") as answer:
        template = json.load(answer)["tiles"][0].removeprefix(url)
    tiles = [(z, x, y) for z in (8, 9, 10, 11, 12) for x, y in spots(region, z, ADDRESSES // 5)]
    return [template.format(z=z, x=x, y=y) for z, x, y in tiles]


def rate(url: str, paths: list[str], seconds: float, folder: Path) -> float:
    """Requests a second of wrk over the paths, one after another on 16 connections."""
    script = folder / "paths.lua"
    path_list = ",".join(json.dumps(path) for path in paths)
    script.write_text(
        f"local paths = {{{path_list}}}\nlocal n = 0\n"
        "request = function() n = n % #paths + 1; return wrk.format('GET', paths[n]) end\n",
        encoding="utf-8",
    )
    process = subprocess.run(
        ["wrk", "-t1", "-c16", f"-d{seconds}s", "-s", str(script), url], capture_output=True, text=True, check=True
    )
    if "Non-2xx" in process.stdout:
        raise SystemExit(process.stdout)
    match = re.search(r"Requests/sec:\s+([\d.]+)", process.stdout)
    assert match is not None
    return float(match[1])


def publish_under_load(url: str, cube: Any, seconds: float) -> dict[str, Any]:
    """Ask for tiles by the addresses of both releases while the second one is published; who shows another release is stale."""
    old = addresses(url, cube.region)
    colour_of_release = {round(1 + FIRST / 250 * 254): "first", round(1 + SECOND / 250 * 254): "second"}
    release_of: dict[str, str] = dict.fromkeys(old, "first")
    counts = {"requests": 0, "stale": 0, "failed": 0}
    port = int(url.rpartition(":")[2])
    paths = list(old)

    def note(answer: Answer) -> None:
        counts["requests"] += 1
        if answer.status != 200:
            counts["failed"] += answer.status != 204
            return
        releases = {colour_of_release.get(colour) for colour in colours(answer.body)}
        counts["stale"] += releases != {release_of[answer.path]}

    first_seen = 0.0

    async def publish() -> None:
        nonlocal first_seen
        await asyncio.sleep(seconds / 3)
        await asyncio.to_thread(tile_cube.release, cube, "second", "v2")
        published_at = time.monotonic()
        while True:
            new = await asyncio.to_thread(addresses, url, cube.region)
            if new[0] != old[0]:
                break
            await asyncio.sleep(0.05)
        first_seen = time.monotonic() - published_at
        release_of.update(dict.fromkeys(new, "second"))
        paths.extend(new)

    async def both() -> None:
        await asyncio.gather(load(port, paths, 8, seconds, note), publish())

    asyncio.run(both())
    return {**counts, "new release handed out after s": first_seen}


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="of each of the runs, three each way, alternated")
    options = parser.parse_args()
    if NGINX is None or shutil.which("wrk") is None:
        raise SystemExit("this needs nginx and wrk (Debian: nginx-light, wrk)")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cube = tile_cube.create_cube(str(folder / "cube.zarr"), tile_cube.region_of(80, 20), "Proxy")
        tile_cube.constant(cube, "v1", FIRST)
        tile_cube.constant(cube, "v2", SECOND)
        tile_cube.release(cube, "first", "v1")
        port = free_port()
        direct = f"http://127.0.0.1:{port}"
        command = [sys.executable, str(ROOT / "floracube.py"), "serve", cube.url, "--port", str(port)]
        environment = {**os.environ, "FLORACUBE_FORWARDED": "1"}
        stack.enter_context(answering(command, f"{direct}/healthz", stderr=subprocess.DEVNULL, env=environment))
        front = stack.enter_context(proxied(f"127.0.0.1:{port}", folder / "nginx", rate="1000000r/s"))
        paths = addresses(front, cube.region)
        for path in paths:  # both caches are warm
            urllib.request.urlopen(front + path).read()
        rates: dict[str, list[float]] = {"server alone": [], "behind nginx": []}
        for _ in range(3):
            for name, url in (("server alone", direct), ("behind nginx", front)):
                rates[name].append(rate(url, paths, options.seconds, folder))
        outcome = publish_under_load(front, cube, 3 * options.seconds)
    alone, through_proxy = (statistics.median(values) for values in rates.values())
    rate_rows = [
        {"way": "server alone", "tiles_per_second": alone, "times": 1.0},
        {"way": "behind nginx", "tiles_per_second": through_proxy, "times": through_proxy / alone},
    ]
    print(Table("repeated tiles, one worker of the server, one of nginx, 16 connections", rate_rows).text())
    print("\n" + Table("a release published under load, asked through nginx", [outcome]).text())
    write_rows(options.json, [*rate_rows, {"way": "publish", **outcome}])
    return int(outcome["stale"] > 0 or outcome["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
