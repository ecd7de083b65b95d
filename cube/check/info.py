"""What is in a cube and how complete it is, as a document and as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.filesize import decimal

from cube.grid import RESOLUTIONS
from cube.pyramids.squares import tree
from cube.storage import backends, releases
from cube.storage.progress import Progress, input_stages, progress, version_stage, versions
from cube.storage.store import CubeStore, open_cube


def describe(url: str) -> dict[str, Any]:
    """Region, inputs with their units and overviews done, products with their versions, releases; as the receipts say.

    `bytes` are those on the disk, None where the cube is no local folder (asking a bucket takes minutes). Raises
    `CubeError` without a cube.
    """
    cube = open_cube(url)
    units, listing = list(cube.region.units()), cube.versions("ledger")
    documents = {name: releases.read_document(cube, name) for name in cube.list_json("releases")}
    return {
        "url": cube.url,
        "title": cube.attributes.get("title"),
        "format": cube.attributes["format"],
        "crs": cube.region.grid.code,
        "region_km": list(cube.attributes["region_km"]),
        "unit_km": cube.region.unit_km,
        "shape": list(cube.region.shape()),
        "units": len(units),
        "levels": cube.region.levels(),
        "squares": len(tree(cube.region, units)),
        "inputs": _inputs(cube, listing),
        "products": _products(cube, listing, documents),
        "releases": list(documents),
        "made": documents,
        "current": releases.current(cube)["name"],
    }


def _state(now: Progress) -> dict[str, Any]:
    complete = not now.missing
    overviews = complete and now.squares_done == len(now.squares)
    return {
        "units_done": now.units_done,
        "complete": complete,
        "squares_done": now.squares_done,
        "overviews_complete": overviews,
    }


def _inputs(cube: CubeStore, listing: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    out = {}
    layers = cube.layers()
    for stage in input_stages(cube):
        state = _state(progress(cube, stage, listing))
        for layer in (layers[name] for name in stage.layers if name in layers):
            bands = list(layer.labels[layer.dims[0]]) if layer.dims else []
            stages = {
                "title": layer.long_name,
                "resolution": layer.resolution,
                "kind": layer.kind,
                "units": layer.units,
                "bands": bands,
                "stage": stage.path,
            }
            out[layer.name] = {**stages, **state, "bytes": _bytes(cube, layer.path)}
    return {name: out[name] for name in layers if name in out}


def _products(cube: CubeStore, listing: Mapping[str, str], documents: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    products_by_release = {release: (document or {}).get("products", {}) for release, document in documents.items()}
    out: dict[str, dict[str, dict[str, Any]]] = {}
    by_product = versions(cube)
    every = {version for names in by_product.values() for version in names}
    progress_by_version = {version: progress(cube, version_stage(cube, version), listing) for version in every}
    for product, names in by_product.items():
        for version in names:
            state = _state(progress_by_version[version])
            if product == "composition":
                state["overviews_complete"] = None  # has no levels
            out.setdefault(product, {})[version] = {
                "units": len(progress_by_version[version].units),
                **state,
                "bytes": _bytes(cube, f"products/{product}/{version}"),
                "releases": [
                    release for release, by_product in products_by_release.items() if by_product.get(product) == version
                ],
            }
    return out


def _bytes(cube: CubeStore, path: str) -> int | None:
    folder = backends.local_path(cube.url)
    if folder is None:
        return None
    return sum(file.stat().st_size for file in (folder / path).rglob("*") if file.is_file())


def _size(count: int | None) -> str:
    """Bytes with their unit; nothing where they are not known."""
    return "" if count is None else decimal(count)


def _progress(row: dict[str, Any], units: int) -> str:
    if not row["complete"]:
        return f"{row['units_done']} of {units} units"
    return "complete" if row["overviews_complete"] is not False else "complete, overviews are not"


def text(document: dict[str, Any]) -> str:
    """The document for a person."""
    w, s, e, n = document["region_km"]
    lines = [
        f"{document['title']}: {document['url']}",
        f"  E {w} to {e} km, N {s} to {n} km ({document['crs']}), {document['shape'][0]} x {document['shape'][1]} cells of 50 m,"
        f" {document['units']} units of {document['unit_km']} km, {document['levels']} levels of overviews",
        "  inputs:",
    ]
    order = sorted(document["inputs"].items(), key=lambda item: list(RESOLUTIONS).index(item[1]["resolution"]))
    for name, row in order:
        lines.append(f"    {name:<16} {row['resolution']:>4}  {_size(row['bytes']):>8}  {_progress(row, document['units'])}")
    lines.append("  products:" if document["products"] else "  products: none yet")
    for product, rows in document["products"].items():
        for version, row in rows.items():
            release_text = f", in release {', '.join(row['releases'])}" if row["releases"] else ", in no release"
            lines.append(f"    {product:<12} {version:<8} {_size(row['bytes']):>8}  {_progress(row, row['units'])}{release_text}")
    for name, release in document["made"].items():
        names = release.get("products", {})
        versions_text = ", ".join(f"{product} {names[product]}" for product in releases.PRODUCTS if product in names)
        lines.append(f"    release {name}: {versions_text} (made {release.get('created', 'at an unknown time')})")
    lines.append(f"  releases: {', '.join(document['releases']) or 'none'}; readers follow {document['current'] or 'none'}")
    return "\n".join(lines)
