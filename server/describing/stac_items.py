"""STAC items of a cube: a version of a product, or the inputs of one grid, with its Zarr groups, its look and its map links."""

from __future__ import annotations

import dataclasses
import datetime
import re
from typing import Any, Final

import numpy as np

from cube import grid
from cube.grid import Region
from cube.storage import releases
from server.drawing.zooms import zooms
from server.reading.layers import MapLayer
from server.reading.snapshot import Snapshot

STAC: Final = "1.1.0"
DATACUBE: Final = "https://stac-extensions.github.io/datacube/v2.2.0/schema.json"
PROJECTION: Final = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
RENDER: Final = "https://stac-extensions.github.io/render/v2.0.0/schema.json"
WEB_MAP_LINKS: Final = "https://stac-extensions.github.io/web-map-links/v1.2.0/schema.json"
ZARR: Final = "application/vnd.zarr; version=3"
MAX_LAYERS: Final = 100  # with links of their own in an item; the catalogue of layers names the others
MAX_LABELS: Final = 1000  # of a dimension that are written out
Document = dict[str, Any]


def groups_of(snapshot: Snapshot) -> dict[str, tuple[str, ...]]:
    """Items by id, each with its Zarr groups from the finest level on: `indicators.v1` has `products/indicators/v1/0`, ..."""
    cube = snapshot.reader.cube
    found: dict[str, tuple[str, ...]] = {}
    for product, version in sorted(snapshot.products.items()):
        base = releases.group_of(product, version, None)
        if product == "composition":
            found[f"{product}.{version}"] = (base,)
            continue
        held = set(cube.groups(base))
        levels: list[str] = []
        while str(len(levels)) in held:
            levels.append(f"{base}/{len(levels)}")
        if levels:
            found[f"{product}.{version}"] = tuple(levels)
    for resolution in grid.RESOLUTIONS:
        if cube.has(f"inputs/{resolution}"):
            coarser = sorted(cube.groups(f"inputs/overviews/{resolution}"), key=lambda name: (len(name), name))
            found[f"inputs.{resolution}"] = (
                f"inputs/{resolution}", *(f"inputs/overviews/{resolution}/{name}" for name in coarser if name.isdigit()),
            )  # fmt: skip
    return found


def resolution_of(item_id: str) -> int:
    """Metres of a pixel of an item's finest level."""
    product, _, name = item_id.partition(".")
    return grid.RESOLUTIONS[name] if product == "inputs" else grid.CELL


def title_of(item_id: str) -> str:
    """`Indicators v1`, `Inputs 50m`."""
    product, _, name = item_id.partition(".")
    return f"{product.capitalize()} {name}"


def projection(region: Region, resolution: int, level: int = 0) -> Document:
    """Fields of the projection extension."""
    t = region.transform(resolution, level)
    return {
        "proj:code": region.grid.code,
        "proj:bbox": list(region.grown_bounds),
        "proj:shape": list(region.shape(resolution, level)),
        "proj:transform": [t.a, t.b, t.c, t.d, t.e, t.f],
    }


def times(snapshot: Snapshot, group: str) -> tuple[str, str] | None:
    """First and last moment (RFC 3339) that a group is about: of its quarters or months, or its reference year."""
    node = snapshot.reader.cube.group(group)
    labels = [str(x) for dim in ("quarter", "climate_month") if dim in node for x in np.asarray(node[dim][:])]  # type: ignore[index]
    years = [int(match[0]) for label in labels if (match := re.match(r"\d{4}", label))]
    reference = str(node.attrs.get("reference_year", ""))
    if reference.isdigit():
        years.append(int(reference))
    return (f"{min(years)}-01-01T00:00:00Z", f"{max(years)}-12-31T23:59:59Z") if years else None


def made(snapshot: Snapshot) -> str:
    """When the release was made: all that is known of the time of what does not tell its own. Without a release, now."""
    return (snapshot.created or datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")).replace("+00:00", "Z")


def item(snapshot: Snapshot, item_id: str, collection: str, base: str) -> Document:
    """The item `item_id` (a key of `groups_of`); URLs begin with `base`."""
    groups, resolution = groups_of(snapshot)[item_id], resolution_of(item_id)
    product = item_id.split(".")[0]
    region = snapshot.reader.cube.region
    # Inputs may reach further than what a release maps.
    seen = dataclasses.replace(snapshot, region=region) if product == "inputs" else snapshot
    span = times(snapshot, groups[0])
    layers = [own for own in snapshot.catalogue.find(product=product) if own.paths[0].startswith(f"{groups[0]}/")]
    linked = layers[:MAX_LAYERS]
    title = title_of(item_id)
    properties = {
        "datetime": None if span else made(snapshot),
        **({"start_datetime": span[0], "end_datetime": span[1]} if span else {}),
        "title": title,
        "description": _description(snapshot, groups[0], product),
        **projection(region, resolution),
        "gsd": resolution,
        **datacube(snapshot, groups[0], resolution),
        **({"renders": {own.id: render(snapshot, own) for own in linked}} if linked else {}),
    }
    return {
        "type": "Feature",
        "stac_version": STAC,
        "stac_extensions": [DATACUBE, PROJECTION, *([RENDER, WEB_MAP_LINKS] if linked else [])],
        "id": item_id,
        "collection": collection,
        "geometry": {"type": "Polygon", "coordinates": [seen.outline]},
        "bbox": list(seen.bounds),
        "properties": properties,
        "assets": {
            "data" if level == 0 else f"overview{level}": {
                "href": f"{base}/cube/{group}",
                "type": ZARR,
                "title": f"{title}, pixels of {resolution * 2**level} m",
                "roles": ["data"] if level == 0 else ["overview"],
                **projection(region, resolution, level),
            }
            for level, group in enumerate(groups)
        },
        "links": [
            {"rel": "self", "href": f"{base}/stac/items/{item_id}", "type": "application/geo+json"},
            {"rel": "root", "href": f"{base}/stac", "type": "application/json"},
            {"rel": "parent", "href": f"{base}/stac/collection", "type": "application/json"},
            {"rel": "collection", "href": f"{base}/stac/collection", "type": "application/json"},
            *_map_links(snapshot, linked, product, base),
        ],
    }


def _description(snapshot: Snapshot, group: str, product: str) -> str:
    attributes = snapshot.reader.cube.group(group).attrs
    said = [str(attributes[key]) for key in ("note", "attribution", "references") if attributes.get(key)]
    return " ".join(said) or f"The {product} of release {snapshot.release}."


def datacube(snapshot: Snapshot, group: str, resolution: int) -> Document:
    """Dimensions and variables of a group, as the datacube extension tells them."""
    node, region = snapshot.reader.cube.group(group), snapshot.reader.cube.region
    dimensions: Document = {}
    variables: Document = {}
    for name, array in sorted(node.arrays()):
        dims = [str(d) for d in array.metadata.dimension_names or ()]  # type: ignore[union-attr]
        if dims == [name] or not dims:
            continue  # coordinates, and the grid mapping
        variables[name] = {
            "dimensions": dims,
            "type": "data" if dims[-2:] == ["y", "x"] else "auxiliary",
            "description": str(array.attrs.get("long_name", name)),
            **({"unit": array.attrs["units"]} if "units" in array.attrs else {}),
        }
        for dim in dims:
            dimensions.setdefault(dim, _dimension(node, dim, array.shape[dims.index(dim)], region, resolution))
    return {"cube:dimensions": dimensions, "cube:variables": variables}


def _dimension(node: Any, dim: str, size: int, region: Region, resolution: int) -> Document:
    if dim in ("x", "y"):
        west, south, east, north = region.grown_bounds
        extent = [west, east] if dim == "x" else [south, north]
        step = resolution if dim == "x" else -resolution
        return {"type": "spatial", "axis": dim, "extent": extent, "step": step, "reference_system": region.grid.epsg}
    if dim in node and size <= MAX_LABELS:
        labels = np.asarray(node[dim][:])
        return {"type": dim, "values": [v.item() if isinstance(v, np.number) else str(v) for v in labels]}
    return {"type": dim, "extent": [0, size - 1], "description": f"Index; labels are in the coordinate '{dim}' of the group."}


def render(snapshot: Snapshot, layer: MapLayer) -> Document:
    """How a layer is drawn, as the render extension tells it."""
    least, most = zooms(snapshot, layer)
    shown: Document = {"title": layer.title, "assets": ["data"], "minmax_zoom": [least, most],
                       "resampling": "nearest" if layer.kind == "class" else "bilinear"}  # fmt: skip
    if layer.kind == "class":
        return {**shown, "colormap": {str(entry.value): entry.colour for entry in layer.classes}}
    return {**shown, "colormap_name": layer.palette, "rescale": [list(snapshot.range_of(layer))]}


def _map_links(snapshot: Snapshot, layers: list[MapLayer], product: str, base: str) -> list[Document]:
    """Tiles, TileJSON and WMTS of the layers (web-map-links extension), and the catalogue that names all of them."""
    links: list[Document] = []
    for layer in layers:
        own = f"{base}/layers/{layer.id}"
        links += [
            {"rel": "xyz", "href": f"{own}/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png?v={snapshot.token}", "type": "image/png",
             "title": layer.title, "render": layer.id},
            {"rel": "tilejson", "href": f"{own}/WebMercatorQuad/tilejson.json", "type": "application/json", "title": layer.title},
        ]  # fmt: skip
    if product in ("indicators", "habitats") and layers:
        links.append({"rel": "wmts", "href": f"{base}/wmts", "type": "application/xml", "wmts:layer": [own.id for own in layers]})
    return [*links, {"rel": "related", "href": f"{base}/layers?product={product}", "type": "application/json",
                     "title": "All layers of this product"}]  # fmt: skip
