"""What deploy/try.sh asks of a server that has just started: when it is ready, its first tile, a point, the page.

python deploy/try/check_server.py http://127.0.0.1:8000 [--key KEY] [--at-most READY TILE]
python deploy/try/check_server.py http://127.0.0.1:9090 --targets JOB ...    # of Prometheus: all of them must be reached
"""

from __future__ import annotations

import argparse
import json
import math
import time
import urllib.request
from contextlib import suppress
from typing import Any

HEADERS: dict[str, str] = {}  # of every request


def get(url: str) -> bytes:
    """The body of an answer of 200."""
    with urllib.request.urlopen(urllib.request.Request(url, headers=HEADERS), timeout=60) as answer:
        return bytes(answer.read())


def document(url: str) -> Any:
    """A JSON answer."""
    return json.loads(get(url))


def seconds_until_ready(base: str, patience: float = 120.0) -> float:
    """Seconds until `/readyz` is 200, from now. Raises `SystemExit` where it is not within `patience`."""
    began = time.monotonic()
    while time.monotonic() - began < patience:
        with suppress(OSError):
            get(f"{base}/readyz")
            return time.monotonic() - began
        time.sleep(0.02)
    raise SystemExit(f"{base}/readyz was not 200 within {patience:g} s")


def tile_address(base: str, about: dict[str, Any]) -> str:
    """The address of the tile at the centre of a layer, as its TileJSON gives it, on the server at `base`."""
    lon, lat, zoom = about["center"]
    n = 2 ** int(zoom)
    x, y = int((lon + 180) / 360 * n), int((1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * n)
    return f"{base}/{about['tiles'][0].format(z=int(zoom), x=x, y=y).split('/', 3)[3]}"


def ask(base: str, at_most: tuple[float, float]) -> str:
    """A line of what the server answered. Raises `SystemExit` for a wrong answer or one slower than `at_most` (s, s)."""
    ready = seconds_until_ready(base)
    about = document(f"{base}/layers/indicators.richness/WebMercatorQuad/tilejson.json")
    began = time.monotonic()
    tile = get(tile_address(base, about))
    first = time.monotonic() - began
    lon, lat, _ = about["center"]
    if not tile.startswith(b"\x89PNG") or not document(f"{base}/point/{lon},{lat}") or b"<html" not in get(f"{base}/"):
        raise SystemExit("the tile, the point or the page is not one")
    release = document(f"{base}/healthz")["release"]
    line = f"release {release}, ready after {ready:.1f} s, first tile after {first * 1000:.0f} ms ({len(tile)} bytes)"
    if ready > at_most[0] or first > at_most[1]:
        raise SystemExit(f"{line}: slower than {at_most[0]:g} s or {at_most[1] * 1000:g} ms")
    return line


def require_targets(base: str, jobs: list[str], patience: float = 90.0) -> None:
    """Raise `SystemExit` unless Prometheus reaches every target of each job within `patience` seconds."""
    ends = time.monotonic() + patience
    while True:
        states: dict[str, list[str]] = {}
        with suppress(OSError):
            for target in document(f"{base}/api/v1/targets")["data"]["activeTargets"]:
                states.setdefault(target["labels"]["job"], []).append(f"{target['health']} {target['lastError']}".strip())
        if all(set(states.get(job, [])) == {"up"} for job in jobs):
            return
        if time.monotonic() > ends:
            raise SystemExit(f"Prometheus does not reach all of {', '.join(jobs)}: {states}")
        time.sleep(2)


def main() -> None:
    """Ask, print a line, end with 1 where something is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("--at-most", nargs=2, type=float, default=(math.inf, math.inf), metavar=("READY", "TILE"))
    parser.add_argument("--key")
    parser.add_argument("--targets", nargs="+", metavar="JOB")
    options = parser.parse_args()
    if options.key:
        HEADERS["X-API-Key"] = options.key
    if options.targets:
        require_targets(options.base, options.targets)
    else:
        print(ask(options.base, tuple(options.at_most)))


if __name__ == "__main__":
    main()
