"""A release as a static STAC catalogue: a collection for the cube, an item for each version of a product and each grid of inputs.

`publish` writes it below `stac/<release>/` of the cube, with links and assets relative to each other: it is the same on a disk,
in a bucket and behind a server, which adds how its layers are drawn (`server.describing.stac`). STAC 1.1, by pystac.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pystac
from pystac.extensions.datacube import DatacubeExtension, Dimension, Variable
from pystac.extensions.projection import ProjectionExtension
from pystac.layout import TemplateLayoutStrategy

from cube import grid, outlines
from cube.grid import Region
from cube.layers.ids import slug
from cube.storage import releases
from cube.storage.store import CubeStore, dims_of

ZARR: Final = "application/vnd.zarr; version=3"
MLM: Final = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
MAX_LABELS: Final = 1000  # of a dimension that are written out
_LAYOUT: Final = TemplateLayoutStrategy(catalog_template="", collection_template="", item_template="items")
Document = dict[str, Any]
Release = Mapping[str, Any]
Span = tuple[datetime.datetime, datetime.datetime]


def write(cube: CubeStore, name: str) -> None:
    """Write the catalogue of the release `name` into the cube."""
    for file, document in documents(cube, releases.require(cube, name)).items():
        cube.write_json(f"stac/{name}/{file}", document)


def documents(cube: CubeStore, release: Release) -> dict[str, Document]:
    """`catalog.json`, `collection.json` and `items/<id>.json` of a release; hrefs lead from `stac/<release>/` of the cube."""
    title = str(cube.attributes.get("title", "")) or "floracube"
    identifier = slug(title) or "cube"
    catalog = pystac.Catalog(f"{identifier}-catalog", f"Release {release['name'] or 'inputs'} of the cube '{title}'.", title)
    groups = groups_of(cube, release)
    collection = _collection(cube, release, identifier, title, groups)
    catalog.add_child(collection, title=title)
    for item_id, levels in groups.items():
        collection.add_item(_item(cube, release, item_id, levels), title=title_of(item_id))
    catalog.normalize_hrefs("/stac", strategy=_LAYOUT)
    catalog.catalog_type = pystac.CatalogType.SELF_CONTAINED
    objects: list[pystac.STACObject] = [catalog, collection, *collection.get_items()]
    return {
        str(stac_object.get_self_href()).removeprefix("/stac/"): stac_object.to_dict(include_self_link=False)
        for stac_object in objects
    }


def groups_of(cube: CubeStore, release: Release) -> dict[str, tuple[str, ...]]:
    """Items by id, each with its Zarr groups from the finest level on: `indicators.v1` has `products/indicators/v1/0`, ..."""
    groups: dict[str, tuple[str, ...]] = {}
    for product, version in sorted(release["products"].items()):
        base = releases.group_of(product, version, None)
        levels = sorted((name for name in cube.groups(base) if name.isdigit()), key=int) if product != "composition" else []
        groups[f"{product}.{version}"] = tuple(f"{base}/{level}" for level in levels) or (base,)
    for resolution in grid.RESOLUTIONS:
        if cube.has(f"inputs/{resolution}"):
            above = f"inputs/overviews/{resolution}"
            coarser = sorted((name for name in cube.groups(above) if name.isdigit()), key=int)
            groups[f"inputs.{resolution}"] = (f"inputs/{resolution}", *(f"{above}/{name}" for name in coarser))
    return groups


def title_of(item_id: str) -> str:
    """`Indicators v1`, `Inputs 50m`."""
    product, _, name = item_id.partition(".")
    return f"{product.capitalize()} {name}"


def _resolution(item_id: str) -> int:
    """Metres of a pixel of an item's finest level."""
    product, _, name = item_id.partition(".")
    return grid.RESOLUTIONS[name] if product == "inputs" else grid.CELL


def _mapped(cube: CubeStore, release: Release) -> Region:
    window = release.get("region_km")
    return cube.region.crop(*window) if window else cube.region


def _collection(
    cube: CubeStore, release: Release, identifier: str, title: str, groups: Mapping[str, tuple[str, ...]]
) -> pystac.Collection:
    attributes = cube.root.attrs
    spans = [span for levels in groups.values() if (span := _times(cube, levels[0])) is not None] or [(_created(release),) * 2]
    description = " ".join(str(attributes[key]) for key in ("note", "attribution") if attributes.get(key))
    interval = [min(start for start, _ in spans), max(end for _, end in spans)]
    box = list(outlines.box(_mapped(cube, release)))
    collection = pystac.Collection(
        identifier,
        description or f"Plant species, indicators and habitats of the cube '{title}'.",
        pystac.Extent(pystac.SpatialExtent([box]), pystac.TemporalExtent([interval])),
        title,
        license=license_of(attributes.get("license")),
        keywords=["biodiversity", "plants", "species distribution model", "habitats"],
    )
    model = _model(cube, release)
    collection.extra_fields |= model
    collection.stac_extensions += [MLM] if model else []
    dimensions: dict[str, Dimension] = {}
    variables: dict[str, Variable] = {}
    for item_id, levels in groups.items():
        of_item, dimension_names = _datacube(cube, levels[0], _resolution(item_id))
        dimensions |= of_item
        variables |= {f"{item_id.split('.')[0]}.{name}": variable for name, variable in dimension_names.items()}
    for axis in ("x", "y"):
        if axis in dimensions:
            dimensions[axis].properties.pop("step")  # each item has its own
    DatacubeExtension.ext(collection, add_if_missing=True).apply(dimensions, variables)
    collection.add_asset("zarr", pystac.Asset("../..", "The whole store", media_type=ZARR, roles=["data"]))
    ProjectionExtension.ext(collection.assets["zarr"], add_if_missing=True).apply(**_projection(cube.region, grid.CELL))
    return collection


def license_of(text: Any) -> str:
    """An SPDX identifier as STAC wants it, `other` for anything else."""
    return str(text) if text and re.fullmatch(r"[\w.+-]+", str(text)) else "other"


def _item(cube: CubeStore, release: Release, item_id: str, groups: tuple[str, ...]) -> pystac.Item:
    product, resolution, span = item_id.split(".")[0], _resolution(item_id), _times(cube, groups[0])
    # Inputs may reach further than what a release maps.
    region = cube.region if product == "inputs" else _mapped(cube, release)
    attributes = cube.group(groups[0]).attrs
    text = " ".join(str(attributes[key]) for key in ("note", "attribution", "references") if attributes.get(key))
    item = pystac.Item(
        item_id,
        {"type": "Polygon", "coordinates": [outlines.outline(region)]},
        list(outlines.box(region)),
        None if span else _created(release),
        {"title": title_of(item_id), "gsd": resolution},
        *(span or ()),
    )
    item.common_metadata.description = text or f"The {product} of release {release['name']}."
    ProjectionExtension.ext(item, add_if_missing=True).apply(**_projection(cube.region, resolution))
    DatacubeExtension.ext(item, add_if_missing=True).apply(*_datacube(cube, groups[0], resolution))
    for level, group in enumerate(groups):
        title, role = f"{title_of(item_id)}, pixels of {resolution * 2**level} m", "overview" if level else "data"
        asset = pystac.Asset(f"../../../{group}", title, media_type=ZARR, roles=[role])
        item.add_asset(f"overview{level}" if level else "data", asset)
        ProjectionExtension.ext(asset).apply(**_projection(cube.region, resolution, level))
    return item


def _projection(region: Region, resolution: int, level: int = 0) -> dict[str, Any]:
    return {
        "code": region.grid.code,
        "bbox": list(region.grown_bounds),
        "shape": list(region.shape(resolution, level)),
        "transform": list(region.transform(resolution, level))[:6],
    }


def _times(cube: CubeStore, group: str) -> Span | None:
    """First and last moment that a group is about: of its quarters or months, or its reference year."""
    node = cube.group(group)
    labels = [str(x) for dim in ("quarter", "climate_month") if dim in node for x in np.asarray(node[dim][:])]  # type: ignore[index]
    years = [
        int(match[0]) for label in [*labels, str(node.attrs.get("reference_year", ""))] if (match := re.match(r"\d{4}", label))
    ]
    if not years:
        return None
    utc = datetime.UTC
    return datetime.datetime(min(years), 1, 1, tzinfo=utc), datetime.datetime(max(years), 12, 31, 23, 59, 59, tzinfo=utc)


def _created(release: Release) -> datetime.datetime:
    """When the release was made: all that is known of the time of what does not tell its own. Without a release, now."""
    created = release.get("created")
    return datetime.datetime.fromisoformat(created) if created else datetime.datetime.now(datetime.UTC)


def _datacube(cube: CubeStore, group: str, resolution: int) -> tuple[dict[str, Dimension], dict[str, Variable]]:
    """Dimensions and variables of a group, as the datacube extension tells them."""
    node = cube.group(group)
    dimensions: dict[str, Dimension] = {}
    variables: dict[str, Variable] = {}
    for name, array in sorted(node.arrays()):
        dims = list(dims_of(array))
        if dims == [name] or not dims:
            continue  # coordinates, and the grid mapping
        variables[name] = Variable(
            {
                "dimensions": dims,
                "type": "data" if dims[-2:] == ["y", "x"] else "auxiliary",
                "description": str(array.attrs.get("long_name", name)),
                **({"unit": array.attrs["units"]} if "units" in array.attrs else {}),
            }
        )
        for dim, size in zip(dims, array.shape, strict=True):
            dimensions.setdefault(dim, Dimension.from_dict(_dimension(node, dim, size, cube.region, resolution)))
    return dimensions, variables


def _dimension(node: Any, dim: str, size: int, region: Region, resolution: int) -> Document:
    if dim in ("x", "y"):
        west, south, east, north = region.grown_bounds
        extent, step = ([west, east], resolution) if dim == "x" else ([south, north], -resolution)
        return {"type": "spatial", "axis": dim, "extent": extent, "step": step, "reference_system": region.grid.epsg}
    if dim in node and size <= MAX_LABELS:
        labels = np.asarray(node[dim][:])
        return {"type": dim, "values": [v.item() if isinstance(v, np.number) else str(v) for v in labels]}
    return {"type": dim, "extent": [0, size - 1], "description": f"Index; labels are in the coordinate '{dim}' of the group."}


def _model(cube: CubeStore, release: Release) -> Document:
    """The fields of the mlm extension for the model that the release names; none where it names none.

    The checkpoint itself is no part of a cube, so there is no asset of it.
    """
    digest = str(release.get("model") or "")
    if not digest:
        return {}
    groups = [cube.group(f"inputs/{resolution}") for resolution in grid.RESOLUTIONS if cube.has(f"inputs/{resolution}")]
    arrays = [(name, array) for group in groups for name, array in sorted(group.arrays()) if dims_of(array)[-2:] == ("y", "x")]
    version = release["products"].get("species")
    species = 0 if version is None else cube.array(f"{releases.group_of('species', version)}/species").size
    hyperparameters = {
        key: release[key] for key in ("reference_year", "reference_area_m2", "code") if release.get(key) is not None
    }
    return {
        "mlm:name": f"floracube-{slug(digest)[:16].replace('_', '-').strip('-')}-sdm",
        "mlm:architecture": "Fully convolutional multimodal species distribution model",
        "mlm:framework": "PyTorch",
        "mlm:tasks": ["classification"],
        "mlm:pretrained": False,
        "mlm:pretrained_source": None,
        "mlm:input": [
            {
                "name": name,
                "bands": [],
                "input": {"shape": [*array.shape[:-2], -1, -1], "dim_order": list(dims_of(array)), "data_type": str(array.dtype)},
            }
            for name, array in arrays
        ],
        "mlm:output": [
            {
                "name": "occurrence",
                "tasks": ["classification"],
                "classification:classes": [],
                "result": {"shape": [species, -1, -1], "dim_order": ["species", "y", "x"], "data_type": "float32"},
            }
        ],
        **({"mlm:hyperparameters": hyperparameters} if hyperparameters else {}),
    }
