"""What is in a cube and how complete it is, as a document and as text."""

from __future__ import annotations

from typing import Any

from cube import releases
from cube.inputs import INPUTS
from cube.store import CubeStore, open_cube


def describe(url: str) -> dict[str, Any]:
    """Region, inputs with their units done, products with their versions, releases. Raises `CubeError` without a cube."""
    cube = open_cube(url)
    units = list(cube.region.units())
    return {
        "url": cube.url,
        "title": cube.attributes.get("title"),
        "format": cube.attributes["format"],
        "region_km": list(cube.attributes["region_km"]),
        "unit_km": cube.region.unit_km,
        "shape": list(cube.region.shape()),
        "units": len(units),
        "inputs": _inputs(cube, len(units)),
        "products": {p: cube.groups(f"products/{p}") for p in releases.PRODUCTS if cube.has(f"products/{p}")},
        "releases": cube.list_json("releases"),
        "current": releases.current(cube)["name"],
    }


def _inputs(cube: CubeStore, units: int) -> dict[str, dict[str, Any]]:
    out = {}
    for layer in INPUTS.values():
        if cube.has(layer.path):
            done = len(cube.list_json(f"ledger/inputs/{layer.name}"))
            derived = done == 0 and layer.name in ("relief", "slope", "northness", "eastness")
            done = len(cube.list_json("ledger/inputs/elevation")) if derived else done
            out[layer.name] = {"resolution": layer.resolution, "units_done": done, "complete": done >= units}
    return out


def text(document: dict[str, Any]) -> str:
    """The document for a person."""
    w, s, e, n = document["region_km"]
    lines = [
        f"{document['title']}: {document['url']}",
        f"  E {w}-{e} km, N {s}-{n} km (EPSG:3035), {document['shape'][0]} x {document['shape'][1]} cells of 50 m,"
        f" {document['units']} units of {document['unit_km']} km",
        "  inputs:",
    ]
    for name, row in document["inputs"].items():
        state = "complete" if row["complete"] else f"{row['units_done']} of {document['units']} units"
        lines.append(f"    {name:<12} {row['resolution']:>4}  {state}")
    lines.append("  products:")
    lines += [f"    {name:<12} {', '.join(versions)}" for name, versions in document["products"].items()]
    lines.append(f"  releases: {', '.join(document['releases']) or 'none'}; readers follow {document['current'] or 'none'}")
    return "\n".join(lines)
