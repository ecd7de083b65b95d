"""A small synthetic cube with every product, its pyramids by plain averaging and majority, and the server on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from starlette.testclient import TestClient

from benchmarks.page import LAUNCH, serve
from cube import layers
from cube.grid import COARSE, FINE, Region
from cube.layers import Layer
from cube.layers.inputs import INPUTS
from cube.storage import releases
from cube.storage.store import CubeStore, create_cube, open_cube
from server.main import create_app
from server.reading import io
from tests.server.page_visit import CHROMIUM, Visit
from tests.support.shared_data import made_once
from tests.support.written_facts import write_facts

# 25 x 18 km, grown to 30 x 20 km: 3 x 2 units of 10 km, with an empty rim inside the arrays.
REGION = Region(4803, 2892, 4828, 2910, 10)
SPECIES = (
    "Fagus sylvatica",
    "Picea abies",
    "Quercus robur",
    "Carex alba",
    "Adonis vernalis",
    "Ambrosia artemisiifolia",
)
VERNACULAR = ("European beech", "Norway spruce", "Pedunculate oak", "White sedge", "Pheasant's eye", "Common ragweed")
SCALES = (0.83 / 250, 0.61 / 250, 0.4 / 250, 0.12 / 250, 0.0009 / 250, 0.02 / 250)
HABITATS = (
    ("T17", "Beech forest", "level3", "T", "#2b8a3e"),
    ("T31", "Spruce forest", "level3", "T", "#1b4f72"),
    ("R22", "Hay meadow", "level3", "R", "#e9c46a"),
    ("T", "Forests", "level1", "", "#2f6b3a"),
    ("R", "Grasslands", "level1", "", "#f2d16b"),
)
Array = NDArray[Any]


@pytest.fixture(autouse=True)
def one_input_period(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs are read anew each minute of the clock: a test that counts reads must not depend on when it starts."""
    monkeypatch.setattr(io, "input_period", lambda: 0)


def smooth(seed: int, shape: tuple[int, int], length: float = 40.0) -> NDArray[np.float64]:
    """A field (rows, columns) between 0 and 1: a few dozen waves of about `length` cells, deterministic by seed."""
    rng = np.random.default_rng(seed)
    angle, phase = rng.uniform(0, 2 * np.pi, (2, 24))
    wave = length * 2 ** rng.uniform(-1.5, 2, 24)
    # sin(a + b) = sin a cos b + cos a sin b: the sum of waves over the plane is a product of two thin matrices.
    down = 2 * np.pi * np.arange(shape[0])[:, None] * np.sin(angle) / wave + phase
    along = 2 * np.pi * np.arange(shape[1])[:, None] * np.cos(angle) / wave
    weight = np.sqrt(wave)
    field = (weight * np.sin(down)) @ np.cos(along).T + (weight * np.cos(down)) @ np.sin(along).T
    low, high = np.quantile(field, (0.02, 0.98))
    return np.clip((field - low) / (high - low), 0, 1)


def halve_mean(values: Array, fill: float) -> Array:
    """Stored values (..., rows, columns) at the next level: mean of the valid ones of four."""
    rows, cols = values.shape[-2:]
    padded = np.full((*values.shape[:-2], rows + rows % 2, cols + cols % 2), np.nan)
    padded[..., :rows, :cols] = np.where(values == fill, np.nan, values)
    blocks = padded.reshape(*values.shape[:-2], padded.shape[-2] // 2, 2, padded.shape[-1] // 2, 2)
    seen = np.isfinite(blocks).sum(axis=(-3, -1))
    total = np.nansum(blocks, axis=(-3, -1))
    return np.where(seen > 0, np.rint(total / np.maximum(seen, 1)), fill).astype(values.dtype)


def halve_majority(values: Array, fill: float) -> Array:
    """Classes (rows, columns) at the next level: the most frequent valid one of four, the smallest on a tie."""
    rows, cols = values.shape
    padded = np.full((rows + rows % 2, cols + cols % 2), fill, values.dtype)
    padded[:rows, :cols] = values
    four = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2).swapaxes(1, 2).reshape(-1, 4)
    counts = (four[:, :, None] == four[:, None, :]).sum(axis=2)
    counts[four == fill] = 0
    best = four[np.arange(len(four)), (counts * 100_000 - four.astype(int)).argmax(axis=1)]
    return best.reshape(padded.shape[0] // 2, padded.shape[1] // 2)


def _pyramid(
    cube: CubeStore,
    product: str,
    version: str,
    parts: list[tuple[Layer, Array]],
    labels: dict[str, Array] | None = None,
    first: tuple[Layer, ...] = (),
) -> None:
    """Write `parts` at every level; `first` are layers that only level 0 has, left empty."""
    values = [v for _, v in parts]
    for level in range(REGION.levels() + 1):
        group = releases.group_of(product, version, level)
        own = [layer.at(group) for layer in (*(layer for layer, _ in parts), *(() if level else first))]
        cube.ensure_group(group, own, level=level, labels=labels)
        for i, (layer, _) in enumerate(parts):
            cube.array(f"{group}/{layer.name}")[...] = values[i]
            halve = halve_majority if layer.kind == "class" else halve_mean
            values[i] = halve(values[i], layer.fill)


def _inside() -> Array:
    y, x = REGION.coordinates()
    inside = REGION.contains(*np.meshgrid(x, y))
    rows, cols = np.indices(inside.shape)
    lake = (rows - 230) ** 2 + (cols - 350) ** 2 < 30**2
    return inside & ~lake


def _write_species(cube: CubeStore, inside: Array, version: str) -> Array:
    stored = np.stack([np.rint(250 * smooth(s, inside.shape)) for s in range(len(SPECIES))])
    stored = np.where(inside, stored, 255).astype(np.uint8)
    group = releases.group_of("species", version)
    _pyramid(cube, "species", version, [(layers.occurrence(group, 100.0), stored)], {"species": np.array(SPECIES, dtype=object)})
    for level in range(REGION.levels() + 1):
        at = cube.group(releases.group_of("species", version, level))
        scale = at.create_array("scale", shape=(len(SPECIES),), dtype="float32", dimension_names=("species",))
        scale[:] = np.array(SCALES, np.float32)
        zarr.consolidate_metadata(cube.root.store, path=at.path)
    return stored


def _write_composition(cube: CubeStore, stored: Array, inside: Array, version: str) -> None:
    group = releases.group_of("composition", version)
    cube.ensure_group(group, [layer.at(group) for layer in layers.COMPOSITION], labels={"rank": np.arange(1, layers.RANKS + 1)})
    probability = np.where(inside, stored, 0) * np.array(SCALES)[:, None, None]
    order = np.argsort(-probability, axis=0, kind="stable")
    ids = np.full((layers.RANKS, *inside.shape), layers.NO_SPECIES, np.uint16)
    shares = np.full(ids.shape, 255, np.uint8)
    ids[: len(SPECIES)] = np.where(inside, order, layers.NO_SPECIES)
    ranked = np.rint(np.take_along_axis(probability, order, axis=0) * 250)
    shares[: len(SPECIES)] = np.where(inside, ranked, 255)
    cube.array(f"{group}/species_id")[...] = ids
    cube.array(f"{group}/probability")[...] = shares
    cube.array(f"{group}/set_size")[...] = np.where(inside, 3, 65535)


def write_indicators(cube: CubeStore, inside: Array, version: str, factor: float = 1.0) -> None:
    """A version of the indicators: richness between 0 and 40 `factor` with bounds."""
    richness = 40 * factor * smooth(50, inside.shape)
    bounds = np.stack([richness, 0.8 * richness, 1.2 * richness])
    layer = layers.indicator("richness", "", "Expected richness of vascular plants", "1", 0.01, 600.0, "viridis")
    stored = layer.encode(np.where(inside, bounds, np.nan))
    _pyramid(cube, "indicators", version, [(layer, stored)])


def _write_habitats(cube: CubeStore, inside: Array, version: str) -> None:
    field = smooth(70, inside.shape)
    level3 = np.where(inside, np.digitize(field, (0.35, 0.7)), 65535).astype(np.uint16)
    level1 = np.where(inside, np.where(level3 == 2, 4, 3), 65535).astype(np.uint16)

    def flags(level: str) -> tuple[tuple[int, str, str], ...]:
        return tuple((i, name, colour) for i, (_, name, own, _, colour) in enumerate(HABITATS) if own == level)

    probability, entropy = layers.habitat_probability(""), layers.habitat_entropy("")
    group = releases.group_of("habitats", version)
    dims = ("habitat_rank",)
    top = (
        Layer("top3_class", group, "uint16", 65535, "Three most probable habitats", "1", dims, kind="class"),
        Layer("top3_probability", group, "uint8", 255, "Their probabilities", "1", dims, scale=1 / 250),
    )
    _pyramid(
        cube,
        "habitats",
        version,
        [
            (layers.habitat_level("level3", "", flags("level3"), "EUNIS level 3"), level3),
            (layers.habitat_level("level1", "", flags("level1"), "EUNIS level 1"), level1),
            (probability, probability.encode(np.where(inside, 0.4 + 0.5 * field, np.nan))),
            (entropy, entropy.encode(np.where(inside, 0.8 - 0.5 * field, np.nan))),
        ],
        {"habitat_rank": np.arange(1, 4)},
        top,
    )
    classes = np.stack([level3, (level3 + 1) % 3, (level3 + 2) % 3])
    cube.array(f"{group}/top3_class")[...] = np.where(inside, classes, 65535)
    shares = np.stack([np.full(inside.shape, v) for v in (150, 60, 40)])
    cube.array(f"{group}/top3_probability")[...] = np.where(inside, shares, 255)


def _write_inputs(cube: CubeStore, inside: Array) -> None:
    fine = {name: INPUTS[name] for name in ("elevation", "surface", "soil")}
    cube.ensure_group("inputs/50m", list(fine.values()))
    shape = REGION.shape()
    elevation = 200 + 900 * smooth(90, shape, 150.0)
    cube.array("inputs/50m/elevation")[...] = fine["elevation"].encode(elevation)
    y, x = REGION.coordinates()
    region = REGION.contains(*np.meshgrid(x, y))
    cube.array("inputs/50m/surface")[...] = np.where(region, np.where(inside, 0, 1), 255)
    soil = np.stack([100 + 300 * smooth(100 + i, shape) for i in range(9)])
    cube.array("inputs/50m/soil")[...] = fine["soil"].encode(soil)
    cube.ensure_group("inputs/1km", [INPUTS["bioclim"], INPUTS["climate"]], resolution=COARSE)
    # As many degrees as months have gone by, in each of four variables.
    months = np.arange(228, dtype=np.float64)[:, None, None] * np.ones(REGION.shape(COARSE))
    cube.array("inputs/1km/climate")[...] = INPUTS["climate"].encode(np.stack([months + 250] * 4))
    climate = np.stack([10 * smooth(200 + i, REGION.shape(COARSE), 10.0) for i in range(19)])
    climate[:, :2, :] = np.nan
    cube.array("inputs/1km/bioclim")[...] = climate
    cube.ensure_group("inputs/10m", [INPUTS["sentinel2"]], resolution=FINE)
    scene = np.stack([0.3 * smooth(300 + i, REGION.shape(FINE), 60.0) for i in range(4)])
    stored = INPUTS["sentinel2"].encode(scene)
    cube.array("inputs/10m/sentinel2")[...] = stored
    for level in range(1, REGION.levels() + 1):
        stored = halve_mean(stored, INPUTS["sentinel2"].fill)
        layer = INPUTS["sentinel2"].at(f"inputs/overviews/10m/{level}")
        cube.ensure_group(layer.group, [layer], resolution=FINE, level=level)
        cube.array(layer.path)[...] = stored


def write_tables(cube: CubeStore, version: str) -> None:
    """The tables of a version of species, composition and habitats."""
    count = len(SPECIES)
    species = {
        "species_id": np.arange(count, dtype=np.int32),
        "scientific_name": np.array(SPECIES, dtype=object),
        "vernacular_name": np.array(VERNACULAR, dtype=object),
        "iucn": np.array(["LC", "LC", "LC", "", "VU", ""], dtype=object),
        "invasive": np.arange(count) == 5,
        "protected": np.arange(count) == 4,
    }
    for product in ("species", "composition"):
        releases.ensure_table(cube, product, version, species)
    names = ("code", "name", "level", "parent", "colour")
    columns = zip(*HABITATS, strict=True)
    releases.ensure_table(
        cube, "habitats", version, {n: np.array(values, dtype=object) for n, values in zip(names, columns, strict=True)}
    )


def build_cube(path: Path) -> CubeStore:
    """Write the whole synthetic cube at `path` and publish its release r1."""
    cube = create_cube(str(path), REGION, "Synthetic")
    inside = _inside()
    stored = _write_species(cube, inside, "v1")
    _write_composition(cube, stored, inside, "v1")
    write_indicators(cube, inside, "v1")
    _write_habitats(cube, inside, "v1")
    _write_inputs(cube, inside)
    write_tables(cube, "v1")
    write_facts(cube, dict.fromkeys(releases.PRODUCTS, "v1"))
    releases.write_release(cube, "r1", dict.fromkeys(releases.PRODUCTS, "v1"), {})
    releases.publish(cube, "r1")
    return cube


@pytest.fixture(scope="session")
def cube(tmp_path_factory: pytest.TempPathFactory) -> CubeStore:
    """The synthetic cube; tests leave it as it is."""
    folder = made_once(tmp_path_factory, "synthetic", lambda place: build_cube(place / "synthetic.zarr"))
    return open_cube(str(folder / "synthetic.zarr"))


@pytest.fixture(scope="session")
def client(cube: CubeStore) -> TestClient:
    """The server on the synthetic cube."""
    return TestClient(create_app([cube.url]))


@pytest.fixture(scope="session")
def address(cube: CubeStore) -> Iterator[str]:
    """`http://127.0.0.1:port` of the server as it really runs, a process of its own, on the synthetic cube."""
    with serve(cube.url) as url:
        yield url.removesuffix("/")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One headless Chromium with software WebGL; its pages share a cache, as a reader's do."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=LAUNCH)
        # Playwright evaluates strings in the page, which the page's own policy forbids; one test goes without.
        yield browser.new_context(bypass_csp=True)
        browser.close()


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Visit]:
    """A fresh page of the module's server; it must end without a console error and without a request to another machine."""
    visit = Visit(browser, address)
    yield visit
    visit.page.close()
    assert visit.strangers() == set()
    assert visit.complaints == []
