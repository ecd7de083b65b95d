"""The STAC catalogue: valid, walked by pystac, and its links and assets lead to what they name."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pystac
import pystac_client
import pytest
import xarray as xr
from pystac.extensions.datacube import DatacubeExtension
from pystac.extensions.mlm import MLMExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.render import RenderExtension
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from starlette.testclient import TestClient

from cube import layers
from cube.export import stac
from cube.export.stac import license_of
from cube.grid import Region
from cube.layers.inputs import INPUTS
from cube.storage import releases
from cube.storage.store import CubeStore, create_cube
from server.main import create_app
from server.operating.settings import Settings
from tests.support.stac_schemas import SCHEMAS

ITEMS = ["composition.v1", "habitats.v1", "indicators.v1", "species.v1", "inputs.10m", "inputs.50m", "inputs.1km"]


@pytest.fixture
def validator(monkeypatch: pytest.MonkeyPatch) -> JsonSchemaSTACValidator:
    """pystac's own validator, with our words for extensions in place of the schemas that it would fetch."""
    found = JsonSchemaSTACValidator()
    found.schema_cache |= SCHEMAS

    def refuse(self: Any, source: Any, *rest: Any, **more: Any) -> str:
        raise AssertionError(f"{source} would be fetched")

    monkeypatch.setattr(pystac.stac_io.DefaultStacIO, "read_text", refuse)
    return found


def test_every_document_is_valid(client: TestClient, validator: JsonSchemaSTACValidator) -> None:
    catalog = client.get("/stac")
    assert catalog.headers["content-type"] == "application/json"
    collection = client.get("/stac/collection").json()
    items = [client.get(urlsplit(link["href"]).path) for link in collection["links"] if link["rel"] == "item"]
    assert [item.json()["id"] for item in items] == ITEMS
    assert {item.headers["content-type"] for item in items} == {"application/geo+json"}
    for document in (catalog.json(), collection, *(item.json() for item in items)):
        tested = pystac.validation.validate_dict(document, validator=validator)
        assert set(document.get("stac_extensions", [])) <= set(tested)
    broken = items[0].json()
    broken["properties"]["cube:dimensions"]["x"].pop("axis")
    with pytest.raises(pystac.errors.STACValidationError):
        pystac.validation.validate_dict(broken, validator=validator)


def test_pystac_walks_it_and_extensions_read_what_they_own(address: str, cube: CubeStore) -> None:
    root = pystac.Catalog.from_file(f"{address}/stac")
    (collection,) = root.get_children()
    assert isinstance(collection, pystac.Collection)
    assert "species.occurrence" in DatacubeExtension.ext(collection).variables
    items = {item.id: item for item in root.get_items(recursive=True)}
    assert sorted(items) == sorted(ITEMS)
    species = items["species.v1"]
    shape = cube.array("products/species/v1/0/occurrence").shape
    assert ProjectionExtension.ext(species).code == "EPSG:3035"
    assert ProjectionExtension.ext(species).shape == list(shape[1:])
    own = DatacubeExtension.ext(species)
    assert own.variables["occurrence"].dimensions == ["species", "y", "x"]
    assert own.dimensions["species"].values == [str(n) for n in cube.array("products/species/v1/0/species")[:]]
    assert RenderExtension.ext(items["habitats.v1"]).renders["habitats.level3"].colormap["0"] == "#2b8a3e"
    rescale = RenderExtension.ext(items["indicators.v1"]).renders["indicators.richness"].rescale
    assert len(rescale[0]) == 2
    assert species.assets["data"].media_type == "application/vnd.zarr; version=3"


def test_the_catalogue_of_another_release_leads_to_its_own_documents(tmp_path: Path) -> None:
    cube = small_cube(tmp_path)
    releases.write_release(cube, "r8", {"indicators": "v7"}, {"reference_year": 2020})
    for release in ("r7", "r8"):
        stac.write(cube, release)
    releases.publish(cube, "r8")
    client = TestClient(create_app([cube.url]))
    found, queue = {}, ["http://testserver/stac?release=r7"]
    while queue:
        address = queue.pop()
        found[address] = client.get(address).json()
        links = [
            link for link in found[address]["links"] if link["rel"] in ("self", "root", "parent", "collection", "child", "item")
        ]
        queue += {link["href"] for link in links} - {*found, *queue}
    names = ("", "/collection", "/items/indicators.v7", "/items/inputs.50m")
    assert set(found) == {f"http://testserver/stac{name}?release=r7" for name in names}
    assert "Release r7 " in found["http://testserver/stac?release=r7"]["description"]
    item = found["http://testserver/stac/items/indicators.v7?release=r7"]
    (own,) = [link["href"] for link in item["links"] if link["rel"] == "tilejson"]
    assert "v=r7-" in client.get(own).json()["tiles"][0]


def test_no_link_of_an_item_is_broken(client: TestClient) -> None:
    for name in ITEMS:
        for link in client.get(f"/stac/items/{name}").json()["links"]:
            if link["rel"] in ("related", "wmts"):
                assert client.get(link["href"]).status_code == 200


def test_pystac_client_walks_it_too(address: str) -> None:
    with pytest.warns(pystac_client.warnings.NoConformsTo):
        opened = pystac_client.Client.open(f"{address}/stac")
    assert sorted(item.id for item in opened.get_items(recursive=True)) == sorted(ITEMS)


def test_assets_and_links_lead_to_what_they_name(address: str, cube: CubeStore) -> None:
    item = pystac.Item.from_file(f"{address}/stac/items/indicators.v1")
    for level, name in enumerate(("data", "overview1", "overview2")):
        asset = item.assets[name]
        served = xr.open_zarr(asset.href, consolidated=True)["richness"]
        assert list(served.shape[1:]) == asset.extra_fields["proj:shape"]
        held = xr.open_zarr(f"{cube.url}/products/indicators/v1/{level}")["richness"]
        np.testing.assert_array_equal(served[0, :5, :5], held[0, :5, :5])
    links = {link.rel: link for link in item.links}
    assert links["wmts"].extra_fields["wmts:layer"] == ["indicators.richness"]
    assert links["xyz"].extra_fields["render"] in item.properties["renders"]
    assert all(link.href.startswith(address) for link in item.links)


def test_links_are_those_by_which_the_client_reached_us(cube: CubeStore) -> None:
    client = TestClient(create_app([cube.url], Settings(forwarded=True, api_keys=("s3cret",))), headers={"X-API-Key": "s3cret"})
    proxied = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "maps.example.org", "X-Forwarded-Prefix": "/flora"}
    for path in ("/stac", "/stac/collection", "/stac/items/indicators.v1", "/cubes/synthetic/stac/collection"):
        document, base = client.get(path, headers=proxied).json(), "https://maps.example.org/flora"
        own = [*document["links"], *document.get("assets", {}).values()]
        assert {one["href"][: len(base) + 1] for one in own} == {f"{base}/"}
        for link in own:
            if link.get("rel") in ("self", "root", "parent", "child", "collection", "item"):
                assert client.get(link["href"].removeprefix(base)).status_code == 200
            if "rel" not in link:
                assert client.get(link["href"].removeprefix(base) + "/zarr.json").status_code == 200
        assert client.get(path, headers={"X-API-Key": ""}).status_code == 401


def test_what_publishing_wrote_is_served(tmp_path: Path) -> None:
    cube = small_cube(tmp_path)
    stac.write(cube, "r7")
    written = cube.read_json("stac/r7/collection.json")
    cube.write_json("stac/r7/collection.json", {**written, "description": "As written."})
    client = TestClient(create_app([cube.url]))
    assert client.get("/stac/collection").json()["description"] == "As written."
    assert client.get("/cube/stac/r7/items/indicators.v7.json").json() == cube.read_json("stac/r7/items/indicators.v7.json")


def test_an_item_that_is_not_there_is_not_found(client: TestClient) -> None:
    for name in ("birds.v1", "indicators.v2", "..%2f..", "inputs.5m"):
        assert client.get(f"/stac/items/{name}").status_code == 404


def small_cube(tmp_path: Path) -> CubeStore:
    cube = create_cube(str(tmp_path / "small.zarr"), Region(4800, 2900, 4810, 2910, 10), "Małe, świat & <co>")
    group = releases.group_of("indicators", "v7")
    layer = layers.indicator("richness", group, "Richness", "1", 0.01, 600.0, "viridis")
    cube.ensure_group(group, [layer], attributes={"reference_year": 2019})
    cube.array(f"{group}/richness")[...] = 100
    cube.ensure_group("inputs/50m", [INPUTS["elevation"]])
    provenance = {"model": "0f3a9c77d1e2b4", "reference_year": 2019, "reference_area_m2": 100.0}
    releases.write_release(cube, "r7", {"indicators": "v7"}, provenance)
    releases.publish(cube, "r7")
    return cube


def test_times_and_the_model_come_from_the_release(tmp_path: Path, validator: JsonSchemaSTACValidator) -> None:
    cube = small_cube(tmp_path)
    client = TestClient(create_app([cube.url]))
    item, collection = client.get("/stac/items/indicators.v7").json(), client.get("/stac/collection").json()
    assert item["properties"]["start_datetime"] == "2019-01-01T00:00:00Z"
    assert collection["extent"]["temporal"]["interval"] == [["2019-01-01T00:00:00Z", "2019-12-31T23:59:59Z"]]
    pystac.validation.validate_dict(item, validator=validator)
    pystac.validation.validate_dict(collection, validator=validator)
    assert [entry["name"] for entry in collection["mlm:input"]] == ["elevation"]
    model = MLMExtension.ext(pystac.Collection.from_dict(collection))
    assert model.mlm_name.startswith("floracube-0f3a9c77d1e2b4")
    assert model.hyperparameters.to_dict() == {"reference_year": 2019, "reference_area_m2": 100.0}


def test_a_license_that_is_no_identifier_is_other() -> None:
    found = [license_of(text) for text in ("CC0-1.0", "Free for research", None, "")]
    assert found == ["CC0-1.0", "other", "other", "other"]
