"""What a cube of many units costs to look after, in requests: on a skeleton of 196 units behind a store like S3 that counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import floracube
from benchmarks import continent, tile_web
from cube.check import check, text
from cube.check.garbage import collect
from cube.check.info import describe
from cube.check.publishing import publish
from cube.grid import EUROPE, Region
from cube.layers import RANKS, occurrence
from cube.pyramids.pyramid import Pyramid, WrittenSums, build_square
from cube.pyramids.squares import tree
from cube.storage import releases
from cube.storage.progress import progress, version_stage
from cube.storage.store import open_cube
from tests.support import folder_s3

REGION = Region(4180, 2620, 4740, 3180, 40)
SPECIES = 500  # in three shards a unit
Spent = Callable[[Callable[[], Any]], dict[str, int]]


@pytest.fixture(scope="module")
def skeleton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Spent, Any]]:
    """The URL of the skeleton, what a call asks of its store, and a unit with maps."""
    folder = tmp_path_factory.mktemp("continent") / "bucket" / "continent.zarr"
    unit = continent.make(str(folder), REGION, SPECIES)
    with folder_s3.served(open_cube(str(folder)), 0.0) as store, folder_s3.in_this_process(store) as url:

        def spent(call: Callable[[], Any]) -> dict[str, int]:
            before = tile_web.counts(store.address)
            call()
            return {kind: count - before[kind] for kind, count in tile_web.counts(store.address).items()}

        continent.note_receipts(url)
        yield url, spent, unit


def requests(spent: dict[str, int]) -> int:
    return sum(spent[kind] for kind in ("GET", "HEAD", "LIST", "PUT", "DELETE"))


def test_a_cell_is_told_by_the_species_that_it_ranks(skeleton: tuple[str, Spent, Any]) -> None:
    url, spent, unit = skeleton
    lon, lat = EUROPE.unproject(unit.west + 5025, unit.north - 5025)
    cells: list[Any] = []
    cost = spent(lambda: cells.append(floracube.open(url).at(lon, lat).load()))
    (probability,) = [cell["species.probability"] for cell in cells]
    assert list(probability["species"].values) == [f"Planta species-{i:05d}" for i in range(RANKS)]
    np.testing.assert_allclose(probability.values, (250 - np.arange(RANKS)) / 250)
    # The document and the labels of a group, then the index of a shard for each layer and the chunk of the two that hold data.
    assert requests(cost) <= 50


def test_info_asks_for_a_memo_a_stage(skeleton: tuple[str, Spent, Any]) -> None:
    url, spent, _ = skeleton
    document: dict[str, Any] = {}
    cost = spent(lambda: document.update(describe(url)))
    assert all(row["complete"] and row["overviews_complete"] for row in document["inputs"].values())
    assert document["products"]["species"]["v1"]["complete"]
    assert requests(cost) <= 62
    assert cost["bytes"] < 600_000


def test_a_prediction_knows_what_is_done_from_two_memos(skeleton: tuple[str, Spent, Any]) -> None:
    url, spent, _ = skeleton
    cube = open_cube(url)
    stage = version_stage(cube, "v1")
    cost = spent(lambda: progress(cube, stage))
    assert requests(cost) <= 4


def test_a_check_lists_shards_and_reads_receipts_once(skeleton: tuple[str, Spent, Any]) -> None:
    url, spent, _ = skeleton
    document: dict[str, Any] = {}
    cost = spent(lambda: document.update(check(url)))
    assert document["kept"], text(document)
    assert cost["LIST"] <= 40  # one of the ledger, the inputs and each product; one more a group
    assert requests(cost) <= 570  # every receipt and every metadata document itself, once: what memos say is not asked


def test_publishing_reads_again_what_changed(skeleton: tuple[str, Spent, Any]) -> None:
    url, spent, _ = skeleton
    whole = spent(lambda: publish(url, "v1", everything=True))
    assert set(releases.verified_states(open_cube(url))) > {"inputs/surface", "predict/v1"}
    again = spent(lambda: publish(url, "v1"))
    assert requests(whole) <= 600
    assert requests(again) <= 130
    assert again["LIST"] <= 12


def test_gc_lists_versions(skeleton: tuple[str, Spent, Any]) -> None:
    url, spent, _ = skeleton
    cost = spent(lambda: collect(open_cube(url), dry_run=True))
    assert requests(cost) <= 14


def test_a_square_of_overviews_gets_every_shard_once(skeleton: tuple[str, Spent, Any]) -> None:
    url, spent, unit = skeleton
    cube = open_cube(url, writable=True)
    square = next(s for s in tree(cube.region, cube.region.units()) if unit in list(s.units()))
    pyramid = Pyramid.of_product("species", "v1", [occurrence("products/species/v1/0", 100.0)])
    built: list[WrittenSums] = []
    cost = spent(lambda: built.append(build_square(cube, pyramid, square)))
    blocks = 3  # of species, a shard each
    sizes = cube.sizes(pyramid.group(1))
    assert built[0].sizes == {f"{pyramid.group(1)}/{key}": size for key, size in sizes.items() if "occurrence/c/" in key}
    assert cost["HEAD"] == 0  # how much was written is known
    assert cost["of shards"] == 4 * blocks
    assert cost["PUT"] == blocks
    assert cost["GET"] <= cost["of shards"] + 2  # the metadata of two groups
