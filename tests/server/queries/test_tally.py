"""Figures of an area equal a plain NumPy sum over its cells, whatever of it is read from facts."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import xarray as xr
from numpy.typing import NDArray

from cube.grid import Unit
from cube.layers import BOUNDS
from cube.storage.store import CubeStore, open_cube
from server.queries import edge, tally
from server.reading.chunk_batches import read_together
from server.reading.io import ChunkCache, Reader
from server.reading.shards import Shards
from server.reading.snapshot import ServedCube, Snapshot
from tests.server.conftest import REGION

MAPS = {"species": "occurrence", "indicators": "richness", "habitats": "level3"}


@pytest.fixture(scope="module")
def snapshot(cube: CubeStore) -> Snapshot:
    return ServedCube(cube.url, ChunkCache()).snapshot()


def polygons(count: int, seed: int) -> list[shapely.Geometry]:
    """Stars in and around the region, the last as large as all of it."""
    rng, (west, south, east, north) = np.random.default_rng(seed), REGION.bounds
    out = []
    for _ in range(count):
        angle = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 12)))
        reach = rng.uniform(0.1, 1, len(angle)) * rng.choice([800, 6000, 25_000])
        x, y = rng.uniform(west, east), rng.uniform(south, north)
        star = shapely.Polygon(np.stack([x + reach * np.cos(angle), y + reach * np.sin(angle)], axis=1))
        out.append(star.buffer(0).intersection(shapely.box(*REGION.bounds)))
    return [*(shape for shape in out if shape.geom_type == "Polygon" and shape.area > 0), shapely.box(*REGION.bounds)]


def stored(cube: CubeStore, product: str, level: int) -> NDArray[Any]:
    """(items, rows, columns) of the product's map."""
    data = xr.open_zarr(f"{cube.url}/products/{product}/v1/{level}", mask_and_scale=False)[MAPS[product]].values
    return data[None] if data.ndim == 2 else data


def within(shape: shapely.Geometry, level: int) -> NDArray[np.bool_]:
    y, x = REGION.coordinates(level=level)
    return np.asarray(shapely.contains_xy(shape, *np.meshgrid(x, y)))


def direct(cube: CubeStore, shape: shapely.Geometry, level: int, units: Any = ()) -> dict[str, NDArray[np.int64]]:
    """Cells, steps and counts of classes: whole `units` at level 0, all else at `level`, each cell weighted by its area."""
    fine, rest = within(shape, 0), within(shape, level)
    whole = np.zeros_like(fine)
    if level:
        for row, col in np.argwhere(units):
            where = slice(row * 200, (row + 1) * 200), slice(col * 200, (col + 1) * 200)
            assert fine[where].all()
            whole[where] = True
        middle = [
            np.minimum(np.arange(n) * 2**level + 2 ** (level - 1), m - 1) for n, m in zip(rest.shape, fine.shape, strict=True)
        ]
        rest &= ~whole[np.ix_(*middle)]
        fine = whole
    else:
        rest = np.zeros_like(fine)
    out: dict[str, Any] = {"area": fine.sum() + rest.sum() * 4**level}
    for product in MAPS:
        pairs = [(stored(cube, product, 0)[:, fine], 1), (stored(cube, product, level)[:, rest], 4**level)]
        fill = 255 if product == "species" else 65535
        if product == "habitats":
            out[product] = sum(np.bincount(v[v != fill], minlength=5) * w for v, w in pairs)
        else:
            out[f"{product} cells"] = sum((v != fill).sum(1) * w for v, w in pairs)
            out[product] = sum(np.where(v != fill, v, 0).sum(1, dtype=int) * w for v, w in pairs)
            out[f"{product} highest"] = np.stack([np.where(v != fill, v, 0).max(1, initial=0) for v, _ in pairs]).max(0)
    return out


def equal(found: tally.Tally, wanted: dict[str, Any]) -> None:
    assert found.cells == wanted["area"]
    for product in ("species", "indicators"):
        own = found.figures[product]
        for name, key in (("cells", f"{product} cells"), ("steps", product), ("highest", f"{product} highest")):
            assert own[name].tolist() == wanted[key].tolist(), (product, name)
    assert found.figures["habitats"]["level3"].tolist() == wanted["habitats"].tolist()


def test_an_area_is_the_sum_over_its_cells(snapshot: Snapshot, cube: CubeStore) -> None:
    assert snapshot.facts.present
    for shape in polygons(25, 1):
        found = tally.tally(snapshot, shape)
        if not found.edge.tiny:
            equal(found, direct(cube, shape, 0))
    assert found.figures["indicators"]["cells"][: len(BOUNDS)].min() > 0


@pytest.mark.parametrize("level", [1, 2])
def test_a_coarser_edge_is_weighted_by_the_cells_it_stands_for(
    snapshot: Snapshot, cube: CubeStore, monkeypatch: pytest.MonkeyPatch, level: int
) -> None:
    monkeypatch.setattr(tally, "CHUNKS", 0)
    monkeypatch.setattr(tally, "SQUARES", {1: 2, 2: 0}[level])
    seen = 0
    for shape in polygons(25, level):
        found = tally.tally(snapshot, shape)
        if not found.edge.tiny and found.edge.level == level:
            equal(found, direct(cube, shape, level, tally._units(snapshot, shape)[0]))
            seen += 1
    assert seen > 3


def test_whole_units_are_not_read_cell_by_cell(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    units: list[Unit] = list(REGION.units())
    shape = shapely.union_all([shapely.box(*unit.bounds) for unit in units[:2]]).buffer(30)
    read: list[tuple[int, ...]] = []

    def counted(reader: Reader, wanted: Any) -> Any:
        read.extend(number[-2:] for path, number in wanted if path.endswith("occurrence"))
        return read_together(reader, wanted)

    monkeypatch.setattr(edge, "read_together", counted)
    tally.tally(snapshot, shape)
    assert read
    assert set(read).isdisjoint({(0, 0), (0, 1)})


def test_species_below_the_threshold_are_not_read_at_the_edge(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    read: set[int] = set()

    def counted(reader: Reader, wanted: Any) -> Any:
        read.update(number[0] for path, number in wanted if path.endswith("occurrence"))
        return read_together(reader, wanted)

    monkeypatch.setattr(edge, "read_together", counted)
    shape = polygons(0, 0)[0].buffer(-3000)
    found = tally.tally(snapshot, shape, threshold=0.3)
    reach = found.figures["species"]["highest"] * snapshot.catalogue.species_scales >= 0.3
    assert set(np.flatnonzero(reach).tolist()) <= read == {0, 1, 2}  # three of the six have a scale that reaches 0.3


def test_chunks_of_an_area_are_decoded_one_after_the_other(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    decode = Shards.decode

    def counted(self: Shards, data: Any, key: str) -> Any:
        decoded.append(key)
        return decode(self, data, key)

    monkeypatch.setattr(Shards, "decode", counted)
    path = "products/species/v1/0/occurrence"
    chunks = read_together(snapshot.reader, [(path, (species, 0, 0)) for species in range(3)])
    for count in (1, 2, 3):
        assert next(chunks).size
        assert len(decoded) == count


def test_the_facts_of_all_products_are_asked_for_at_once(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = threading.Barrier(len(snapshot.facts.layouts), timeout=20)

    def together(reader: Reader, wanted: Any) -> Any:
        waiting.wait()  # until every product asks
        return read_together(reader, wanted)

    monkeypatch.setattr(tally, "read_together", together)
    tally.tally(snapshot, None)


def test_a_cube_without_facts_gives_the_same_sums(cube: CubeStore, snapshot: Snapshot, tmp_path: Path) -> None:
    shutil.copytree(cube.url, tmp_path / "c.zarr")
    for folder in (tmp_path / "c.zarr/products").glob("*/v1/facts"):
        shutil.rmtree(folder)
    older = ServedCube(open_cube(str(tmp_path / "c.zarr")).url, ChunkCache()).snapshot()
    assert not older.facts.present
    for shape in (*polygons(4, 9), None):
        one, two = tally.tally(older, shape), tally.tally(snapshot, shape)
        if shape is not None:
            assert one.cells == two.cells
        for product, own in two.figures.items():
            for name, values in own.items():
                assert one.figures[product][name].tolist() == values.tolist(), (product, name)
