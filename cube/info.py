"""What is in a cube and how complete it is, as a document and as text."""

from __future__ import annotations

from typing import Any

from cube import standing
from cube.grid import RESOLUTIONS
from cube.inputs import INPUTS
from cube.storage import backends, releases
from cube.storage.store import CubeStore, open_cube


def describe(url: str) -> dict[str, Any]:
    """Region, inputs with their units and overviews done, products with their versions, releases; as the receipts say.

    `bytes` are those on the disk, None where the cube is no local folder (asking a bucket takes minutes). Raises
    `CubeError` without a cube.
    """
    cube = open_cube(url)
    units, squares = standing.expected(cube, cube.region)
    return {
        "url": cube.url,
        "title": cube.attributes.get("title"),
        "format": cube.attributes["format"],
        "region_km": list(cube.attributes["region_km"]),
        "unit_km": cube.region.unit_km,
        "shape": list(cube.region.shape()),
        "units": len(units),
        "levels": cube.region.levels(),
        "squares": len(squares),
        "inputs": _inputs(cube, len(units), len(squares)),
        "products": _products(cube),
        "releases": cube.list_json("releases"),
        "made": {name: cube.read_json(f"releases/{name}.json") for name in cube.list_json("releases")},
        "current": releases.current(cube)["name"],
    }


def _state(stage: standing.Stage | None, units: int, squares: int) -> dict[str, Any]:
    done = len(stage.done) if stage else 0
    above = len(stage.squares_done) if stage else 0
    return {"units_done": done, "complete": done >= units, "squares_done": above,
            "overviews_complete": done >= units and above >= squares}  # fmt: skip


def _inputs(cube: CubeStore, units: int, squares: int) -> dict[str, dict[str, Any]]:
    stages = standing.stages_by_layer(cube)
    out = {}
    for name in standing.held_inputs(cube):
        layer = INPUTS[name]
        stage = stages.get(name)
        out[name] = {"resolution": layer.resolution, "stage": stage.path if stage else None,
                     **_state(stage, units, squares), "bytes": _bytes(cube, layer.path)}  # fmt: skip
    return out


def _products(cube: CubeStore) -> dict[str, dict[str, dict[str, Any]]]:
    named = {
        release: (cube.read_json(f"releases/{release}.json") or {}).get("products", {}) for release in cube.list_json("releases")
    }
    out: dict[str, dict[str, dict[str, Any]]] = {}
    for product, names in standing.versions(cube).items():
        for version in names:
            units, squares = standing.expected(cube, standing.predicted_region(cube, version))
            state = _state(standing.Stage(cube, f"predict/{version}"), len(units), len(squares))
            if product == "composition":
                state["overviews_complete"] = None  # has no levels
            out.setdefault(product, {})[version] = {
                "units": len(units), **state, "bytes": _bytes(cube, f"products/{product}/{version}"),
                "releases": [release for release, held in named.items() if held.get(product) == version],
            }  # fmt: skip
    return out


def _bytes(cube: CubeStore, path: str) -> int | None:
    folder = backends.local_path(cube.url)
    if folder is None:
        return None
    return sum(file.stat().st_size for file in (folder / path).rglob("*") if file.is_file())


def size_text(count: int | None) -> str:
    """Bytes with three figures and a unit, such as `1.25 GB`; nothing where they are not known."""
    if count is None:
        return ""
    size, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.3g} {units[0]}"


def _progress(row: dict[str, Any], units: int) -> str:
    if not row["complete"]:
        return f"{row['units_done']} of {units} units"
    return "complete" if row["overviews_complete"] is not False else "complete, overviews are not"


def text(document: dict[str, Any]) -> str:
    """The document for a person."""
    w, s, e, n = document["region_km"]
    lines = [
        f"{document['title']}: {document['url']}",
        f"  E {w}-{e} km, N {s}-{n} km (EPSG:3035), {document['shape'][0]} x {document['shape'][1]} cells of 50 m,"
        f" {document['units']} units of {document['unit_km']} km, {document['levels']} levels of overviews",
        "  inputs:",
    ]
    order = sorted(document["inputs"].items(), key=lambda item: list(RESOLUTIONS).index(item[1]["resolution"]))
    for name, row in order:
        lines.append(f"    {name:<16} {row['resolution']:>4}  {size_text(row['bytes']):>8}  {_progress(row, document['units'])}")
    lines.append("  products:" if document["products"] else "  products: none yet")
    for product, versions in document["products"].items():
        for version, row in versions.items():
            used = f", in release {', '.join(row['releases'])}" if row["releases"] else ", in no release"
            lines.append(f"    {product:<12} {version:<8} {size_text(row['bytes']):>8}  {_progress(row, row['units'])}{used}")
    for name, release in document["made"].items():
        names = release.get("products", {})
        held = ", ".join(f"{product} {names[product]}" for product in releases.PRODUCTS if product in names)
        lines.append(f"    release {name}: {held} (made {release.get('created', 'at an unknown time')})")
    lines.append(f"  releases: {', '.join(document['releases']) or 'none'}; readers follow {document['current'] or 'none'}")
    return "\n".join(lines)
