"""The cube as a STAC catalogue: one collection for the cube, one item for each version of a product and each grid of inputs.

Here are the routes, the catalogue and the collection; items are made in `server.describing.stac_items`. STAC 1.1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response

from cube.layers.ids import slug
from server.dependencies import RequestedSnapshot, cube_of, root_of
from server.describing.links import absolute_answer, base_url
from server.describing.stac_items import (
    DATACUBE,
    PROJECTION,
    STAC,
    ZARR,
    datacube,
    groups_of,
    item,
    made,
    projection,
    resolution_of,
    times,
    title_of,
)
from server.errors import NotFoundError
from server.reading.snapshot import Snapshot

MLM: Final = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
_JSON, _GEOJSON = "application/json", "application/geo+json"
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The item.", "content": {_GEOJSON: {"schema": {"type": "object"}}}},
    404: {"description": "No such item."},
}
Document = dict[str, Any]


router: Final = APIRouter(tags=["stac"])


def _answer(snapshot: Snapshot, request: Request, media: str, make: Callable[[str], Document]) -> Response:
    body = json.dumps(make(base_url(request) + root_of(request)), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return absolute_answer(snapshot, request, body.encode(), media)


@router.get("/stac", summary="The cube as a STAC catalogue", response_model=Document)
def of_cube(request: Request, snapshot: RequestedSnapshot) -> Response:
    """Its one child is the collection of the cube."""
    return _answer(snapshot, request, _JSON, lambda base: catalog(snapshot, cube_of(request).title, base))


@router.get("/stac/collection", summary="The cube as a STAC collection", response_model=Document)
def of_collection(request: Request, snapshot: RequestedSnapshot) -> Response:
    """Dimensions and variables of the whole cube, the model behind its products, and its items."""
    return _answer(snapshot, request, _JSON, lambda base: collection(snapshot, cube_of(request).title, base))


@router.get("/stac/items/{item_id}", summary="A version of a product, or inputs, as a STAC item", response_class=Response,
            responses=_ANSWERS)  # fmt: skip
def of_item(
    request: Request,
    snapshot: RequestedSnapshot,
    item_id: Annotated[str, Path(max_length=200, description="Such as indicators.v1 or inputs.50m.")],
) -> Response:
    """Assets are the Zarr groups of the store; links lead to tiles, TileJSON and WMTS of its layers."""
    if item_id not in groups_of(snapshot):
        raise NotFoundError(f"There is no item '{item_id[:80]}'; see /stac/collection.")
    return _answer(snapshot, request, _GEOJSON, lambda base: item(snapshot, item_id, identifier(cube_of(request).title), base))


def identifier(title: str) -> str:
    """The id of the cube's collection."""
    return slug(title) or "cube"


def link(rel: str, href: str, media: str = _JSON, **more: Any) -> Document:
    """A link of STAC."""
    return {"rel": rel, "href": href, "type": media, **more}


def catalog(snapshot: Snapshot, title: str, base: str) -> Document:
    """The root: a catalogue with the cube's collection."""
    return {
        "type": "Catalog",
        "stac_version": STAC,
        "id": f"{identifier(title)}-catalog",
        "title": title,
        "description": f"Release {snapshot.release} of the cube '{title}'.",
        "links": [
            link("self", f"{base}/stac"),
            link("root", f"{base}/stac"),
            link("child", f"{base}/stac/collection", title=title),
        ],
    }  # fmt: skip


def collection(snapshot: Snapshot, title: str, base: str) -> Document:
    """The cube: its extent, dimensions and variables, and the model of its release."""
    attributes = snapshot.reader.cube.root.attrs
    held = groups_of(snapshot)
    dimensions: Document = {}
    variables: Document = {}
    for item_id, groups in held.items():
        cube = datacube(snapshot, groups[0], resolution_of(item_id))
        dimensions |= cube["cube:dimensions"]
        variables |= {f"{item_id.split('.')[0]}.{name}": variable for name, variable in cube["cube:variables"].items()}
    for axis in ("x", "y"):
        dimensions.get(axis, {}).pop("step", None)  # each item has its own
    spans = [span for groups in held.values() if (span := times(snapshot, groups[0])) is not None] or [(made(snapshot),) * 2]
    interval = [min(start for start, _ in spans), max(end for _, end in spans)]
    described = " ".join(str(attributes[key]) for key in ("note", "attribution") if attributes.get(key))
    model = _model(snapshot)
    return {
        "type": "Collection",
        "stac_version": STAC,
        "stac_extensions": [DATACUBE, PROJECTION, *([MLM] if model else [])],
        "id": identifier(title),
        "title": title,
        "description": described or f"Plant species, indicators and habitats of the cube '{title}'.",
        "keywords": ["biodiversity", "plants", "species distribution model", "habitats"],
        "license": license_of(attributes.get("license")),
        "extent": {
            "spatial": {"bbox": [list(snapshot.bounds)]},
            "temporal": {"interval": [interval]},
        },
        "cube:dimensions": dimensions,
        "cube:variables": variables,
        "assets": {"zarr": {"href": f"{base}/cube", "type": ZARR, "title": "The whole store", "roles": ["data"],
                            **projection(snapshot.reader.cube.region, 50)}},
        **model,
        "links": [
            link("self", f"{base}/stac/collection"),
            link("root", f"{base}/stac"),
            link("parent", f"{base}/stac"),
            *(link("item", f"{base}/stac/items/{item_id}", _GEOJSON, title=title_of(item_id)) for item_id in held),
        ],
    }  # fmt: skip


def license_of(text: Any) -> str:
    """An SPDX identifier as STAC wants it, `other` for anything else."""
    return str(text) if text and re.fullmatch(r"[\w.+-]+", str(text)) else "other"


def _model(snapshot: Snapshot) -> Document:
    """The fields of the mlm extension for the model that the release names; none where it names none.

    The checkpoint itself is no part of a cube, so there is no asset of it.
    """
    release = snapshot.reader.cube.read_json(f"releases/{snapshot.release}.json") or {}
    digest = str(release.get("model") or "")
    if not digest:
        return {}
    inputs = []
    for layer in {path: own for own in snapshot.catalogue.find(product="inputs") for path in own.paths[:1]}.items():
        array = snapshot.reader.array(layer[0])
        dims = [str(d) for d in array.metadata.dimension_names or ()]  # type: ignore[union-attr]
        inputs.append({
            "name": layer[0].rsplit("/", 1)[-1], "bands": [],
            "input": {"shape": [*array.shape[:-2], -1, -1], "dim_order": dims, "data_type": str(array.dtype)},
        })  # fmt: skip
    species = len(snapshot.catalogue.find(product="species"))
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
        "mlm:input": inputs,
        "mlm:output": [{
            "name": "occurrence", "tasks": ["classification"], "classification:classes": [],
            "result": {"shape": [species, -1, -1], "dim_order": ["species", "y", "x"], "data_type": "float32"},
        }],
        **({"mlm:hyperparameters": hyperparameters} if hyperparameters else {}),
    }  # fmt: skip
