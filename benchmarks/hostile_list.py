"""What a server gets from those who mean harm: every parameter with each of a list of attacks, headers and areas that are none.

`benchmarks/hostile.py` sends them.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import quote

ATTACKS = (
    "../../../../etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "%252e%252e%252fetc%252fpasswd",
    "....//....//etc/passwd",
    "..\\..\\windows\\win.ini",
    "/etc/passwd",
    "file:///etc/passwd",
    "http://127.0.0.1:9/secret",
    "s3://bucket/secret",
    "//127.0.0.1/secret",
    "zarr.json%00.png",
    "%00",
    "%0d%0aSet-Cookie:%20a=b",
    "%ff%fe",
    "NaN",
    "-inf",
    "1e400",
    "-1",
    "99",
    "9" * 400,
    "0x10",
    "1,2",
    "'\"><script>alert(1)</script>",
    "{{7*7}}",
    "${jndi:ldap://127.0.0.1/a}",
    "; cat /etc/passwd",
    "%E2%80%AE",
    "a" * 3000,
    "",
)
# Of parameters in a path; the first of each is what the other parameters have while one is attacked.
VALID_VALUES: dict[str, tuple[Any, ...]] = {
    "layer_id": ("indicators.richness", "habitats.level3", "species.fagus_sylvatica", "inputs.elevation", "inputs.bioclim.bio1"),
    "tms": ("WebMercatorQuad", "EuropeanETRS89_LAEAQuad", "WGS1984Quad", "UPSArcticWGS84Quad"),
    "tileMatrixSetId": ("WebMercatorQuad", "EuropeanETRS89_LAEAQuad", "FloracubeGrid", "CDB1GlobalGrid"),
    "lon": (16.77, 16.6, 17.2),
    "lat": (49.02, 48.9),
    "z": (11, 7, 0),
    "x": (1119, 0),
    "y": (702, 0),
    "format": ("png", "npy", "tif"),
    "minx": (16.7,),
    "miny": (49.0,),
    "maxx": (16.8, 16.7),
    "maxy": (49.05,),
    "width": (60, 1),
    "height": (40,),
    "algorithmId": ("hillshade",),
    "colorMapId": ("magma",),
    "item_id": ("indicators.v1", "species.v1", "inputs.10m"),
    "name": ("zarr.json", "products/species/v1/0/zarr.json", "products/species/v1/0/occurrence/c/0/0/0", "current.json"),
    "region": ("Austria",),
    "code": ("T1",),
}
HEADERS: tuple[dict[str, str], ...] = (
    {"Host": "[::1"},
    {"Host": 'evil"><script>'},
    {"X-Forwarded-Host": "evil", "X-Forwarded-Proto": "javascript"},
    {"Range": "bytes=0-"},
    {"Range": "bytes=-0"},
    {"Range": "bytes=99999999999999999999-"},
    {"Range": "bytes=5-1"},
    {"Range": "bytes=" + ",".join(f"{i}-{i}" for i in range(500))},
    {"Range": "chunks=1-2"},
    {"If-None-Match": "*" * 4000},
    {"If-None-Match": '"' + "a" * 4000},
    {"If-Range": "yesterday"},
    {"Accept": "*/*;q=nan,text/html;q=\x7f"},
    {"Accept-Encoding": "gzip;q=1e9, br, *"},
    {"Content-Type": "text/html"},
    {"Authorization": "Basic " + "A" * 4000},
)


@cache
def document(base: str) -> dict[str, Any]:
    """The OpenAPI document of a server, asked for once: before the attack.

    The first to ask waits until titiler is loaded, which on a busy machine takes longer than an answer may (503).
    """
    end = time.monotonic() + 600
    while True:
        try:
            with urllib.request.urlopen(f"{base}/openapi.json") as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            if error.code != 503 or time.monotonic() > end:
                raise
            time.sleep(1)


def hostile_requests(base: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(method, address, headers and body) of every parameter of every route with every attack."""
    valid = {name: str(values[0]) for name, values in VALID_VALUES.items()}
    example_names = {"/species/{name}": "Fagus sylvatica", "/regions/{name}": "Austria"}
    paths = document(base)["paths"]
    for path, methods in paths.items():
        for method, operation in methods.items():
            if method == "post":
                continue
            parameters = operation.get("parameters", [])
            parameter_values = valid | ({"name": example_names[path]} if path in example_names else {})
            parameter_values = {p["name"]: parameter_values[p["name"]] for p in parameters if p["in"] == "path"}
            plain = path.format(**parameter_values)
            for parameter in parameters:
                for attack in ATTACKS:
                    if parameter["in"] == "path":
                        attacked = {parameter["name"]: attack.replace("?", "%3F").replace("#", "%23")}
                        yield method, path.format(**parameter_values | attacked), {}
                    else:
                        yield method, f"{plain}?{parameter['name']}={attack if '%' in attack else quote(attack)}", {}
            for headers in HEADERS:
                yield method, plain, {"headers": headers}
    for body in bodies():
        yield "post", "/area", {"body": body, "headers": {"Content-Type": "application/geo+json"}}
    for headers in HEADERS:
        yield "post", "/area", {"body": b'{"region": "Austria"}', "headers": headers}


def bodies() -> Iterator[bytes | Iterator[bytes]]:
    """Areas that are none, or too much."""

    def polygon(*rings: Any) -> bytes:
        return json.dumps({"type": "Polygon", "coordinates": rings}).encode()

    yield b""
    yield b"\x00" * 1000
    yield b"[" * 1_000_000
    yield b'{"a":' * 200_000
    yield b'{"type":"Polygon","coordinates":[[[NaN,1],[1,2],[2,3],[NaN,1]]]}'
    yield b'{"type":"Polygon","coordinates":[[[1e999,1],[1,2],[2,3],[1e999,1]]]}'
    yield b'{"type":"Polygon","coordinates":[[[' + b"9" * 5000 + b",1],[1,2],[2,3],[1,1]]]}"
    yield polygon([[16, 49], [17, 50], [17, 49], [16, 50], [16, 49]])
    yield polygon([[179, 0], [-179, 0], [-179, 10], [179, 10], [179, 0]])
    yield polygon([[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]])
    yield polygon([[16, 49]] * 5)
    yield polygon(*[[] for _ in range(1000)])
    teeth = [[17.0 if i % 4 in (1, 2) else 16.0, 48.9 + i / 1e5] for i in range(20_000)]
    yield polygon([*teeth, [15.9, 49.2], [15.9, 48.8], teeth[0]])
    yield polygon([[16 + (i * 7919 % 1000) / 1e3, 49 + (i * 104729 % 1000) / 1e3] for i in range(30_000)] + [[16, 49]])
    corners = [(16 + i % 70 / 70, 49 + i // 70 / 72) for i in range(5000)]
    holes = [[[x, y], [x + 0.001, y], [x, y + 0.001], [x, y]] for x, y in corners]
    yield polygon([[16, 49], [17, 49], [17, 50], [16, 50], [16, 49]], *holes)
    yield b'{"type":"Polygon","coordinates":[' + b" " * 10_000_000 + b"]}"
    yield json.dumps({"region": "../../etc/passwd"}).encode()
    yield json.dumps({"region": "A" * 100_000}).encode()
    yield json.dumps({"region": ["Austria"], "kind": {"a": 1}}).encode()
    yield json.dumps({"type": "Feature", "geometry": {"type": "Point", "coordinates": [0, 0]}}).encode()
    yield (b" " * 1_000_000 for _ in range(10))  # ten megabytes that do not say how many they are
