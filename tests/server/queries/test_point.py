"""A point is one read a layer, exact, and says where its list of species ends."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from starlette.testclient import TestClient

from cube import grid
from cube.storage import releases
from cube.storage.store import CubeStore, open_cube
from server.main import create_app
from server.queries.point import PointReport, traits_of
from server.reading import catalogue, chunk_batches, io, shards

CENTRE = (16.77, 49.02)


def report(client: TestClient, **parameters: Any) -> PointReport:
    answer = client.get("/point/{},{}".format(*CENTRE), params=parameters)
    assert answer.status_code == 200, answer.text
    return PointReport(**answer.json())


def test_a_point_is_two_rounds_of_requests_and_none_when_asked_again(cube: CubeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    client = TestClient(create_app([cube.url]))
    rounds: list[Counter[str]] = []
    metadata: list[str] = []
    node = CubeStore.node

    def counted(store: Any, wanted: Sequence[tuple[str, Any]]) -> list[bytes | None]:
        rounds.append(Counter(key.split("/c/")[0] for key, _ in wanted))
        return shards.fetch(store, wanted)

    def opened(self: CubeStore, path: str) -> Any:
        metadata.append(path)
        return node(self, path)

    monkeypatch.setattr(chunk_batches, "fetch", counted)
    monkeypatch.setattr(CubeStore, "node", opened)
    monkeypatch.setattr(io.Reader, "_read", lambda *_: pytest.fail("read by itself"))
    report(client)
    indices, chunks = rounds
    base = "products/composition/v1"
    assert {key: n for key, n in chunks.items() if key.startswith(base)} == {
        f"{base}/species_id": 1,
        f"{base}/probability": 1,
        f"{base}/set_size": 1,
    }
    assert set(indices) == set(chunks)
    assert not any(key.startswith("products/species") for key in chunks)
    assert cube.array(f"{base}/species_id").chunks == (64, 50, 50)
    # Metadata: each group that has arrays is read once, the arrays with it. In a row with the two rounds: below 12.
    assert len(metadata) + len(rounds) < 12
    rounds.clear()
    report(client)
    assert not rounds


def test_every_number_is_that_of_xarray_at_the_cell(client: TestClient, cube: CubeStore) -> None:
    own = report(client, threshold=0)
    x, y = (float(v) for v in grid.EUROPE.project(*CENTRE))

    def at(product: str, level: str = "/0") -> xr.Dataset:
        return xr.open_zarr(f"{cube.url}/products/{product}/v1{level}").sel(x=x, y=y, method="nearest").load()

    composition = at("composition", "")
    names = [str(n) for n in cube.array("products/species/v1/table/scientific_name")[:]]
    ids = composition["species_id"].values
    known = ids[np.isfinite(ids)].astype(int)
    assert [s.name for s in own.species] == [names[i] for i in known]
    shares = composition["probability"].values[: len(known)]
    assert [s.probability for s in own.species] == pytest.approx(list(shares), abs=1e-4)
    assert own.set_size == composition["set_size"].item() == sum(s.in_set for s in own.species)
    assert [s.in_set for s in own.species] == [True] * 3 + [False] * 3
    richness = at("indicators")["richness"].values
    (shown,) = own.indicators
    assert (shown.estimate, shown.lower, shown.upper) == pytest.approx(tuple(richness), rel=1e-5)
    habitats = at("habitats")
    assert own.habitat_probability == pytest.approx(habitats["probability"].item(), rel=1e-5)
    assert own.habitat_entropy == pytest.approx(habitats["entropy"].item(), rel=1e-5)
    codes = [str(c) for c in cube.array("products/habitats/v1/table/code")[:]]
    assert [h.code for h in own.habitat_top3] == [codes[int(c)] for c in habitats["top3_class"].values]
    assert [h.probability for h in own.habitat_top3] == pytest.approx(list(habitats["top3_probability"].values), abs=1e-4)


def test_a_list_that_the_cube_cuts_off_says_so(client: TestClient, cube: CubeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert report(client, threshold=0).complete  # six species, all ranked
    more = {"scientific_name": np.array([f"Planta {i}" for i in range(100)], object)}
    monkeypatch.setattr(CubeStore, "read_table", lambda store, path: more if "species" in path else {})
    monkeypatch.setattr(catalogue, "_species", lambda *_: iter(()))
    server = create_app([cube.url])
    # Of a hundred species 64 are ranked; the others are no more probable than the last, which has none here.
    assert report(TestClient(server), threshold=0.01).complete
    assert not report(TestClient(server), threshold=0).complete


def test_traits_are_the_other_columns_without_the_empty_ones() -> None:
    table = {
        "scientific_name": np.array(["Fagus sylvatica"], object),
        "iucn": np.array(["LC"], object),
        "light": np.array([3.25]),
        "moisture": np.array([np.nan]),
        "growth_form": np.array(["tree"], object),
        "family": np.array([""], object),
        "gbif": np.array([2882316], np.int32),
        "evergreen": np.array([False]),
    }
    assert traits_of(table, 0) == {"light": 3.25, "growth_form": "tree", "gbif": 2882316, "evergreen": False}


def test_an_earlier_release_answers_by_name(client: TestClient, cube: CubeStore) -> None:
    releases.write_release(cube, "indicators-only", {"indicators": "v1"}, {})
    own = report(client, release="indicators-only")
    assert own.release == "indicators-only"
    assert own.species == own.habitats == []
    assert not own.complete
    assert own.indicators == report(client).indicators
    assert report(client).release == "r1"
    for name, status in (("absent", 404), ("../current", 422), ("a" * 200, 422)):
        assert client.get("/point/{},{}".format(*CENTRE), params={"release": name}).status_code == status


def test_an_earlier_release_answers_with_its_own_tables(cube: CubeStore, tmp_path: Path) -> None:
    shutil.copytree(cube.url, tmp_path / "c.zarr")
    copy = open_cube(str(tmp_path / "c.zarr"), writable=True)
    for product in ("species", "composition", "habitats"):
        shutil.copytree(tmp_path / f"c.zarr/products/{product}/v1", tmp_path / f"c.zarr/products/{product}/v2")
        table = copy.read_table(releases.table_path(product, "v1"))
        name = "name" if product == "habitats" else "scientific_name"
        releases.ensure_table(copy, product, "v2", {**table, name: np.array([f"other {v}" for v in table[name]], object)})
    client = TestClient(create_app([copy.url]))
    place = "/point/{},{}".format(*CENTRE)
    before = client.get(place, params={"threshold": 0, "release": "r1"})
    releases.write_release(copy, "r2", dict.fromkeys(("species", "composition", "habitats"), "v2") | {"indicators": "v1"}, {})
    releases.publish(copy, "r2")
    client = TestClient(create_app([copy.url]))
    assert client.get(place).json()["release"] == "r2"
    assert client.get(place).json()["species"][0]["name"].startswith("other ")
    after = client.get(place, params={"threshold": 0, "release": "r1"})
    assert after.json() == before.json()
    assert after.headers["etag"] == before.headers["etag"]


def test_every_band_of_an_input_is_shown_with_its_value_and_no_series(client: TestClient, cube: CubeStore) -> None:
    inputs = report(client).inputs
    x, y = grid.EUROPE.project(*CENTRE)
    for group, layer in (("50m", "soil"), ("1km", "bioclim")):
        place = xr.open_zarr(f"{cube.url}/inputs/{group}", chunks=None)[layer].sel(x=x, y=y, method="nearest")
        found = {name.partition(".")[2]: value for name, value in inputs.items() if name.partition(".")[0] == layer}
        assert found == pytest.approx(dict(zip(place[f"{layer}_variable"].values, place.values.tolist(), strict=True)), rel=1e-5)
    assert not [name for name in inputs if name.startswith(("climate", "sentinel2"))]
