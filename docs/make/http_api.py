"""The page of the HTTP API, out of the OpenAPI document that the server gives of itself."""

from __future__ import annotations

import tempfile
from typing import Any

from cube.grid import Region
from cube.storage.store import create_cube
from server.main import create_app

HEAD = """# HTTP API

What `floracube serve` answers, as the server describes itself at `/openapi.json` (to be tried out at `/docs`). A layer id is
`product.name`: `species.fagus_sylvatica`, `indicators.richness`, `habitats.level3`. Several cubes are served at once below
`/cubes/NAME`, with the same paths. An error is JSON with one sentence (`detail`); addresses that name their release
(`?v=`) may be kept for ever. Below each layer are titiler's routes, with its parameters:
[Coming from titiler](../how-to/coming-from-titiler.md) says what differs.
"""
TITLES = {
    "catalogue": "The catalogue",
    "tiles": "Tiles and maps",
    "queries": "Questions",
    "sheets": "Fact sheets",
    "layers, as titiler": "A layer, as titiler answers",
    "tile matrix sets, palettes, algorithms": "What layers have in common",
    "stac": "STAC",
    "store": "The Zarr store",
    "operations": "For who watches the server",
}


def document() -> dict[str, Any]:
    """The OpenAPI document of a server of one cube; nothing but its paths depends on what is in the cube."""
    with tempfile.TemporaryDirectory() as folder:
        create_cube(f"{folder}/cube.zarr", Region(4700, 2850, 4710, 2860, 10), "of the documentation")
        return create_app([f"{folder}/cube.zarr"]).openapi()


def page() -> str:
    """Markdown of the whole page."""
    operations: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            operations.setdefault((operation.get("tags") or ["other"])[0], []).append((method.upper(), path, operation))
    parts = [HEAD]
    for tag, tagged_operations in operations.items():
        parts.append(f"## {TITLES.get(tag, tag.capitalize())}")
        for method, path, operation in tagged_operations:
            parts += [f"### `{method} {path}`", operation.get("description") or operation.get("summary", "")]
            rows = [_row(parameter) for parameter in operation.get("parameters", []) if parameter["in"] in ("path", "query")]
            if rows:
                parts.append("| parameter | value | meaning |\n|---|---|---|\n" + "\n".join(rows))
            if "requestBody" in operation:
                kinds = ", ".join(f"`{kind}`" for kind in operation["requestBody"]["content"])
                parts.append(f"Body: {kinds}.")
    return "\n\n".join(parts) + "\n"


def _row(parameter: dict[str, Any]) -> str:
    schema = parameter.get("schema", {})
    kinds = [schema, *schema.get("anyOf", [])]
    values = [value for kind in kinds for value in kind.get("enum", [])]
    values_text = ", ".join(f"`{value}`" for value in values[:12]) or " or ".join(
        kind["type"] for kind in kinds if kind.get("type") not in (None, "null")
    )
    if schema.get("default") not in (None, ""):
        values_text += f", by default `{schema['default']}`"
    name = f"`{parameter['name']}`" + ("" if parameter["required"] or parameter["in"] == "query" else " (optional)")
    return f"| {name} | {values_text} | {parameter.get('description') or ''} |".replace("\n", " ")
