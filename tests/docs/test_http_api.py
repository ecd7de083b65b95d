"""The page of the HTTP API names every route of the server, titiler's among them, and every parameter."""

from __future__ import annotations

import re

from docs.make import http_api


def test_every_route_and_every_parameter_is_on_the_page() -> None:
    document, page = http_api.document(), http_api.page()
    sections = dict(re.findall(r"^### `([A-Z]+ [^`]+)`\n(.*?)(?=^##|\Z)", page, re.M | re.S))
    wanted = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert sections.keys() == wanted
    assert {"GET /layers/{layer_id}/info", "POST /layers/{layer_id}/statistics", "GET /tileMatrixSets", "GET /wmts"} <= wanted
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for parameter in operation.get("parameters", []):
                if parameter["in"] in ("path", "query"):
                    assert f"| `{parameter['name']}`" in sections[f"{method.upper()} {path}"]
