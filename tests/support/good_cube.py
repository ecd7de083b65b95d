"""A very small cube that keeps every promise: made by the engine, the pyramids and the product groups themselves.

Only values are invented. Tests that damage it work on a copy.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cube.engine.build import UnitTask, build_unit
from cube.engine.plan import StagePlan, make_groups
from cube.engine.workers import Workers
from cube.grid import Region, Unit
from cube.layers import COMPOSITION, Layer
from cube.layers.inputs import INPUTS
from cube.pyramids.facts import Facts, all_facts, make_facts, measured
from cube.pyramids.overviews import Overviews, build_overviews
from cube.pyramids.pyramid import Pyramid
from cube.storage import model_card, releases
from cube.storage.ledger import Ledger, checksum
from cube.storage.store import CubeStore, create_cube, open_cube, resolution_of
from inference.cascade import products
from inference.cascade.indicators import INDICATORS

Array = NDArray[Any]
REGION = Region(4803, 2894, 4815, 2900, 10)  # 12 x 6 km in 2 units, one level of overviews
SPECIES = ("Fagus sylvatica", "Picea abies", "Adonis vernalis", "Carex alba")
SENSITIVE_KM = (0, 0, 1, 0)
STEPS = np.array([0.8, 0.6, 0.01, 0.3], np.float32) / 250
HABITATS = (  # code, name, level, parent, colour; a value of a map is the row
    ("T17", "Beech forest", "level3", "T1", "#2b8a3e"),
    ("T1A", "Oak forest", "level3", "T1", "#1b4f72"),
    ("R22", "Hay meadow", "level3", "R2", "#e9c46a"),
    ("T1", "Broadleaved forests", "level2", "T", "#2f6b3a"),
    ("R2", "Mesic grasslands", "level2", "R", "#f2d16b"),
    ("T", "Forests", "level1", "", "#2f6b3b"),
    ("R", "Grasslands", "level1", "", "#f2d16c"),
)
PARENT = {0: 3, 1: 3, 2: 4, 3: 5, 4: 6}
LAYERS = (("surface",), ("elevation", "slope"), ("footprint",), ("bioclim",), ("sentinel2",))
VERSION = "v1"
INPUTS_HASH = "0123456789abcdef"


@dataclass(frozen=True)
class Invented:
    """A reader of random values: `surface` follows the region, everything else has gaps."""

    ALGORITHM: ClassVar[int] = 1

    layers: tuple[Layer, ...]
    source: None = None

    def depends_on(self) -> Mapping[str, Any]:
        return {"invented": self.layers[0].name}

    def memory(self, unit: Unit) -> int:
        return 8 * unit.cells**2

    def read(self, region: Region, unit: Unit) -> Mapping[str, Array]:
        out: dict[str, Array] = {}
        for layer in self.layers:
            rng = np.random.default_rng([unit.row, unit.col, len(layer.name)])
            resolution = resolution_of(layer)
            side = unit.km * 1000 // resolution
            lead = tuple(len(layer.labels[dim]) for dim in layer.dims)
            # Patches of 5 x 5 pixels: shards of noise would only cost time.
            values = rng.integers(0, 200, (*lead, side // 5, side // 5)).repeat(5, -2).repeat(5, -1).astype(layer.dtype)
            values[..., :7, :9] = layer.fill
            if layer.name == "surface":
                x = unit.west + (np.arange(side) + 0.5) * resolution
                y = unit.north - (np.arange(side) + 0.5) * resolution
                inside = region.contains(x[None, :], y[:, None])
                values = np.where(inside, np.minimum(values // 80, 2), 255).astype(np.uint8)
            out[layer.name] = values
        return out


def make_good_cube(url: str) -> CubeStore:
    """Make it at `url`: five inputs of three resolutions, all products, their pyramids, receipts and one release."""
    cube = create_cube(url, REGION, "A cube that keeps its promises")
    cube.root.attrs.update({"license": "CC-BY-4.0", "attribution": "Nobody", "note": "Invented."})
    readers = [Invented(tuple(INPUTS[name] for name in names)) for names in LAYERS]
    plans = [StagePlan.of_reader(reader) for reader in readers]
    make_groups(cube, plans)
    units = tuple(REGION.units())
    for plan, reader in zip(plans, readers, strict=True):
        for unit in units:
            build_unit(UnitTask(cube.url, plan.path, plan.inputs, reader, REGION, unit, False))
        _climb(cube, plan.path, plan.pyramids(), plan.inputs)
    _products(cube, units)
    return cube


def _climb(cube: CubeStore, stage: str, pyramids: tuple[Pyramid, ...], inputs: str | None, facts: tuple[Facts, ...] = ()) -> None:
    fingerprints = Ledger(cube, stage, inputs).index().fingerprints
    above = Overviews(stage, pyramids, tuple(REGION.units()), fingerprints, facts)
    steps = list(build_overviews(cube.url, REGION, [above], Workers()))
    assert steps
    assert all(step.is_built for step in steps)


def _products(cube: CubeStore, units: tuple[Unit, ...]) -> None:
    attributes = {"floracube_inputs": INPUTS_HASH, "reference_year": 2018, "license": "CC-BY-4.0", "attribution": "Nobody"}
    area = {**attributes, "reference_area_m2": 100.0}
    columns = {
        "species_id": np.arange(4, dtype=np.int32),
        "scientific_name": np.asarray(SPECIES, object),
        "sensitive_km": np.asarray(SENSITIVE_KM, np.float32),
    }
    for product in ("species", "composition"):
        releases.ensure_table(cube, product, VERSION, columns)
    table = zip(*HABITATS, strict=True)
    names = ("code", "name", "level", "parent", "colour")
    releases.ensure_table(cube, "habitats", VERSION, {n: np.asarray(v, object) for n, v in zip(names, table, strict=True)})
    flags = {
        level: tuple((i, f"{c} {n}", colour) for i, (c, n, at, _, colour) in enumerate(HABITATS) if at == level)
        for level in ("level3", "level2", "level1")
    }
    indicators = INDICATORS[:2]
    products.make_species(cube, VERSION, SPECIES, STEPS, 100.0, attributes)
    entries = [{"name": name, "surveys": 9, "records": 0, "held_out": None, "responses": None} for name in SPECIES]
    model_card.write_model(cube, VERSION, {"model": "0123", "species": len(SPECIES), "responses": []}, entries)
    products.make_composition(cube, VERSION, area)
    products.make_indicators(cube, VERSION, indicators, area)
    products.make_habitats(cube, VERSION, flags, "EUNIS", attributes)
    stage, versions = f"predict/{VERSION}", dict.fromkeys(releases.PRODUCTS, VERSION)
    make_facts(cube, stage, versions)
    facts = all_facts(cube, versions)
    ledger = Ledger(cube, stage, INPUTS_HASH)
    for unit in units:
        start = time.perf_counter()
        checksum_by_name, sizes = _predict(cube, unit, [i.name for i in indicators])
        checksums, more = measured(cube, facts, unit).write()
        checksum_by_name, sizes = checksum_by_name | checksums, sizes | more
        ledger.sign(unit, start, {"cells": 1, "clipped": 0}, checksum_by_name, sizes)
    _climb(cube, stage, products.pyramids(versions, 100.0, indicators, flags), INPUTS_HASH, facts)
    bounds = [edge // 1000 for edge in REGION.bounds]
    releases.write_release(cube, "first", versions, {"region_km": bounds, "reference_area_m2": 100.0})
    releases.publish(cube, "first")


def _predict(cube: CubeStore, unit: Unit, indicators: list[str]) -> tuple[dict[str, int], dict[str, int]]:
    """Write every product of one unit, consistent among themselves; its checksums, and the bytes of its shards."""
    rng = np.random.default_rng([unit.row, unit.col])
    rows, cols = cube.region.square(unit).slices
    land = np.asarray(cube.array("inputs/50m/surface")[rows, cols]) == 0
    side = unit.cells
    stored = rng.integers(0, 251, (4, side // 10, side // 10)).repeat(10, 1).repeat(10, 2).astype(np.uint8)
    squares = rng.integers(0, 251, (side // 20, side // 20)).repeat(20, 0).repeat(20, 1).astype(np.uint8)
    stored[2] = squares  # the sensitive species: one value a square of 1 km
    stored[:, ~land] = 255
    checksums: dict[str, int] = {}
    sizes: dict[str, int] = {}

    def write(path: str, key: str, values: Array) -> None:
        sizes.update(cube.write_unit(path, unit, values))
        checksums[key] = checksum(values)

    write(f"products/species/{VERSION}/0/occurrence", "species 0", stored)
    chance = COMPOSITION[1].encode(np.where(stored == 255, np.nan, stored * STEPS[:, None, None])).astype(np.int64)
    order = np.argsort(np.where(land, -chance, 0), axis=0, kind="stable")
    ids = np.full((64, side, side), 65535, np.uint16)
    ids[:4] = np.where(land, order, 65535)
    ranked = np.full((64, side, side), 255, np.uint8)
    ranked[:4] = np.where(land, np.take_along_axis(chance, order, 0), 255)
    composition = f"products/composition/{VERSION}"
    write(f"{composition}/species_id", "composition species_id", ids)
    write(f"{composition}/probability", "composition probability", ranked)
    write(f"{composition}/set_size", "composition set_size", np.where(land, 2, 65535).astype(np.uint16))
    for name in indicators:
        three = np.stack([np.full((side, side), v) for v in (200, 100, 300)]) + rng.integers(0, 50, (side, side))
        write(f"products/indicators/{VERSION}/0/{name}", f"indicators {name}", np.where(land, three, 65535).astype(np.uint16))
    top = np.stack([rng.permuted(np.arange(3)) for _ in range(side * side)]).T.reshape(3, side, side)
    fine = top[0]
    middle = np.vectorize(PARENT.get)(fine)
    maps = {"level3": fine, "level2": middle, "level1": np.vectorize(PARENT.get)(middle)}
    for name, values in maps.items():
        write(f"products/habitats/{VERSION}/0/{name}", f"habitats {name}", np.where(land, values, 65535).astype(np.uint16))
    sure = rng.integers(130, 200, (side, side))
    three_p = np.stack([sure, np.full((side, side), 30), np.full((side, side), 10)])
    for name, values, fill, dtype in (
        ("probability", sure, 255, np.uint8),
        ("entropy", np.full((side, side), 100), 255, np.uint8),
        ("top3_class", top, 65535, np.uint16),
        ("top3_probability", three_p, 255, np.uint8),
    ):
        write(f"products/habitats/{VERSION}/0/{name}", f"habitats {name}", np.where(land, values, fill).astype(dtype))
    return checksums, sizes


def copy_of(cube: CubeStore, folder: Path) -> CubeStore:
    """A copy of a local cube, open for writing."""
    shutil.copytree(cube.url, folder / "copy.zarr")
    return open_cube(str(folder / "copy.zarr"), writable=True)
