"""A cube of the size that servers meet, made in seconds: 2,000 species with traits, 12 releases, every level, holes, receipts.

Few shards are written. Those of the first 192 species stand for all others and for all versions by hard links: what tells
two species apart is their scale, what tells two versions apart is their table, whose rows stand elsewhere. Tests read it;
`linked_copy` gives one to publish in, and to write to (files are replaced, never changed in place).
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.engine.build import UnitTask, build_unit
from cube.engine.plan import StagePlan, make_groups
from cube.engine.workers import Workers
from cube.grid import Region, Unit, Window
from cube.layers.inputs import INPUTS
from cube.pyramids.coarsen import rounded_mean, valid_sums
from cube.pyramids.overviews import Overviews, build_overviews
from cube.pyramids.pyramid import build_square
from cube.pyramids.squares import tree
from cube.records.traits import FLAG_TRAITS, NUMBER_TRAITS, TEXT_TRAITS
from cube.storage import progress, releases
from cube.storage.leaves import consolidate_if_changed, ensure_column
from cube.storage.ledger import Ledger, checksum
from cube.storage.store import CubeStore, create_cube, open_cube
from inference.cascade import products
from inference.cascade.indicators import INDICATORS
from tests.support.good_cube import HABITATS, INPUTS_HASH, PARENT, Invented

Array = NDArray[Any]
REGION: Final = Region(4803, 2892, 4828, 2910, 10)  # 25 x 18 km in 3 x 2 units, two levels of overviews
SPECIES: Final = 2_000
BLOCK: Final = 192  # species a shard
HOLE: Final = 5  # of the units: sea, no shard of it is stored
COMMON_SPECIES: Final = "Fagus sylvatica"  # asked for by name in tests of every cube
CLASHING: Final = ("Salix fragilis", "Salix × fragilis", "Salix x fragilis")
GENERA: Final = ("Carex", "Festuca", "Hieracium", "Alchemilla", "Rubus", "Salix", "Viola", "Campanula", "Trifolium", "Centaurea")
# Each version has all products; of the twelve releases two have other species tables (v2, v3), two others another indicator map.
VERSIONS: Final = ("v1", "v2", "v3")
RELEASES: Final = ("v1", "v1", "v1", "v2", "v1", "v1", "v1", "v1", "v1", "v1", "v3", "v1")
INPUT_LAYERS: Final = (("surface",), ("elevation", "slope"), ("bioclim",), ("sentinel2",))


def species_names(version: str) -> list[str]:
    """Names of a version by row: v2 and v3 have the rows of v1 in another order, and a species that v1 does not know."""
    names = [*CLASHING, COMMON_SPECIES, *(f"{GENERA[i % 10]} planta-{i:04d}" for i in range(SPECIES - len(CLASHING) - 1))]
    shift = {"v1": 0, "v2": 100, "v3": 700}[version]
    names = [*names[shift:], *names[:shift]]
    return names if version == "v1" else [*names[:-1], f"Nova specialis-{version}"]


def steps(version: str) -> NDArray[np.float32]:
    """Probability of one stored step by row: between 0.02 and 1 at the highest step, another one for each species."""
    rows = np.arange(SPECIES, dtype=np.float32)
    return np.asarray((0.02 + 0.98 * (rows * 7919 % SPECIES) / SPECIES) / 250 / (VERSIONS.index(version) + 1), np.float32)


def traits(version: str) -> dict[str, Array]:
    """The species table of a version."""
    rows = np.arange(SPECIES)
    names = species_names(version)
    out: dict[str, Array] = {"species_id": rows.astype(np.int32), "scientific_name": np.asarray(names, object)}
    out |= {name: np.full(SPECIES, "", object) for name in TEXT_TRAITS}
    out["vernacular_name"] = np.asarray([f"plant number {name.rsplit('-', 1)[-1]}" for name in names], object)
    out["iucn"] = np.asarray([("LC", "LC", "VU", "EN", "", "CR", "NT", "LC")[row % 8] for row in rows], object)
    out["family"] = np.asarray([f"Family {row % 40}" for row in rows], object)
    out |= {name: rows % (7 + i) == 0 for i, name in enumerate(FLAG_TRAITS)}
    out |= {name: (rows % 9 + 1).astype(np.float32) for name in NUMBER_TRAITS}
    out["sensitive_km"] = np.zeros(SPECIES, np.float32)
    return out


def make_large_cube(url: str) -> CubeStore:
    """Make it in the folder `url`; release r12 is the one that readers follow."""
    cube = create_cube(url, REGION, "A cube of the size that servers meet")
    cube.root.attrs.update({"license": "CC-BY-4.0", "attribution": "Nobody", "note": "Invented."})
    units = tuple(REGION.units())
    _inputs(cube, units)
    _Links(cube, "v1", units).write()
    for version in VERSIONS[1:]:
        _link_version(cube, version)
    bounds = [edge // 1000 for edge in REGION.bounds]
    for number, version in enumerate(RELEASES, start=1):
        attributes = {"region_km": bounds, "reference_area_m2": 100.0, "number": number}
        releases.write_release(cube, f"r{number:02d}", dict.fromkeys(releases.PRODUCTS, version), attributes)
        releases.publish(cube, f"r{number:02d}")
    return open_cube(url)


def linked_copy(cube: CubeStore, folder: Path) -> CubeStore:
    """A copy to publish in and to write to, in which shards are hard links: in a blink, and no more room on the disk."""
    place = folder / "copy.zarr"
    _linked_tree(Path(cube.url), place)
    return open_cube(str(place), writable=True)


def _inputs(cube: CubeStore, units: tuple[Unit, ...]) -> None:
    readers = [Invented(tuple(INPUTS[name] for name in names)) for names in INPUT_LAYERS]
    plans = [StagePlan.of_reader(reader) for reader in readers]
    make_groups(cube, plans)
    for plan, reader in zip(plans, readers, strict=True):
        for unit in units:
            build_unit(UnitTask(cube.url, plan.path, plan.inputs, reader, REGION, unit, False))
        ledger = Ledger(cube, plan.path, plan.inputs)
        above = Overviews(plan.path, plan.pyramids(), units, ledger.index().fingerprints)
        assert all(step.is_built for step in build_overviews(cube.url, REGION, [above], Workers()))


def _groups(cube: CubeStore, version: str) -> products.Classes:
    """Make arrays, coordinates and tables of a version, without values; the classes of its habitats."""
    attributes = {progress.MADE_FROM: INPUTS_HASH, "reference_year": 2018, "license": "CC-BY-4.0", "attribution": "Nobody"}
    area = {**attributes, "reference_area_m2": 100.0}
    names = species_names(version)
    for product in ("species", "composition"):
        releases.ensure_table(cube, product, version, traits(version))
    columns = ("code", "name", "level", "parent", "colour")
    table = zip(columns, zip(*HABITATS, strict=True), strict=True)
    releases.ensure_table(cube, "habitats", version, {name: np.asarray(values, object) for name, values in table})
    flags = {
        level: tuple((i, f"{code} {name}", colour) for i, (code, name, at, _, colour) in enumerate(HABITATS) if at == level)
        for level in ("level3", "level2", "level1")
    }
    products.make_species(cube, version, names, steps(version), 100.0, attributes)
    products.make_composition(cube, version, area)
    products.make_indicators(cube, version, INDICATORS, area)
    products.make_habitats(cube, version, flags, "EUNIS", attributes)
    return flags


class _Links:
    """The shards of one version, and the receipts of its units and squares."""

    def __init__(self, cube: CubeStore, version: str, units: tuple[Unit, ...]) -> None:
        self.cube, self.version, self.units = cube, version, units
        self.occurrence = np.full((BLOCK, *REGION.shape()), 255, np.uint8)  # of the first block of species

    def write(self) -> None:
        """All levels of all products."""
        flags = _groups(self.cube, self.version)
        ledger = Ledger(self.cube, f"predict/{self.version}", INPUTS_HASH)
        for number, unit in enumerate(self.units):
            start, sizes, checksums = time.perf_counter(), {}, {}
            for name, values in self._maps(unit, number).items():
                product, variable = name.split("/")
                path = f"{releases.group_of(product, self.version)}/{variable}"
                if product == "species":
                    self.occurrence[:, *REGION.square(unit).slices] = values
                    sizes |= self._all_blocks(path, REGION.square(unit), values)
                else:
                    sizes |= self.cube.write_unit(path, unit, values)
                    checksums[f"{product} {variable}"] = checksum(values)
            ledger.sign(unit, start, {"cells": 1, "clipped": 0}, checksums, sizes)
        self._overviews(dict(ledger.index().fingerprints), flags)

    def _overviews(self, fingerprints: dict[str, str], flags: products.Classes) -> None:
        """Every level above, each square with the receipt that the engine would leave."""
        versions = {"indicators": self.version, "habitats": self.version}
        above = products.pyramids(versions, 100.0, INDICATORS, flags)
        for square in tree(REGION, self.units):
            start = time.perf_counter()
            coarse = rounded_mean(*valid_sums(self.occurrence, 255, 2**square.level), np.uint8, 255)
            path = f"{releases.group_of('species', self.version, square.level)}/occurrence"
            sizes = self._all_blocks(path, square.window(), coarse[:, *square.window().slices])
            for pyramid in above:
                sizes |= build_square(self.cube, pyramid, square).sizes
            inputs = progress.square_inputs(square, {*fingerprints, *square.children()}, fingerprints)
            Ledger(self.cube, f"predict/{self.version}/overviews", inputs).sign(square, start, {}, {}, sizes)
            fingerprints[square.name] = str(inputs)

    def _maps(self, unit: Unit, number: int) -> dict[str, Array]:
        """Stored values (..., rows, columns) by `product/name`: waves of some kilometres, nothing where no land is."""
        side = unit.cells
        rows, cols = REGION.square(unit).slices
        surface = np.asarray(self.cube.array("inputs/50m/surface")[rows, cols])
        land = (surface == 0) if number != HOLE else np.zeros_like(surface, bool)
        # Of each species waves along a direction that turns with its row: sin(a + b) of two thin matrices.
        angle = np.arange(BLOCK, dtype=np.float32)[:, None] * np.float32(2 * np.pi / BLOCK)
        along = np.arange(side, dtype=np.float32) / 40
        a, b = np.cos(angle) * (along + 5 * unit.col) + 9 * angle, np.sin(angle) * (along - 5 * unit.row)
        wave = np.sin(b)[:, :, None] * np.cos(a)[:, None, :] + np.cos(b)[:, :, None] * np.sin(a)[:, None, :]
        field = 0.5 + 0.5 * wave
        occurrence = np.where(land, np.rint(250 * field), 255).astype(np.uint8)
        scaled = np.rint(occurrence[::3] * (steps(self.version)[:BLOCK:3, None, None] * 250)).astype(np.int16)
        order = np.argsort(-scaled, axis=0, kind="stable")
        maps: dict[str, Array] = {
            "species/occurrence": occurrence,
            "composition/species_id": np.where(land, order * 3, 65535).astype(np.uint16),
            "composition/probability": np.where(land, np.take_along_axis(scaled, order, 0), 255).astype(np.uint8),
            "composition/set_size": np.where(land, 9, 65535).astype(np.uint16),
        }
        for i, entry in enumerate(INDICATORS):
            three = np.stack([100 + 900 * field[i], 50 + 800 * field[i], 200 + 1000 * field[i]])
            maps[f"indicators/{entry.name}"] = np.where(land, three, 65535).astype(np.uint16)
        level3 = np.digitize(field[7], (0.35, 0.7))
        parents = np.array([PARENT.get(i, i) for i in range(len(HABITATS))])
        for name, values in (("level3", level3), ("level2", parents[level3]), ("level1", parents[parents[level3]])):
            maps[f"habitats/{name}"] = np.where(land, values, 65535).astype(np.uint16)
        maps["habitats/probability"] = np.where(land, 130 + 70 * field[8], 255).astype(np.uint8)
        maps["habitats/entropy"] = np.where(land, 120 - 70 * field[8], 255).astype(np.uint8)
        ranks = np.stack([level3, (level3 + 1) % 3, (level3 + 2) % 3])
        maps["habitats/top3_class"] = np.where(land, ranks, 65535).astype(np.uint16)
        shares = np.stack([np.full(land.shape, share) for share in (150, 60, 40)])
        maps["habitats/top3_probability"] = np.where(land, shares, 255).astype(np.uint8)
        return maps

    def _all_blocks(self, path: str, window: Window, values: Array) -> dict[str, int]:
        """Write the shard of the first block of species and link it to the places of all others; bytes by key."""
        ((key, size),) = self.cube.write(path, (slice(0, BLOCK), *window.slices), values).items()
        root, sizes = Path(self.cube.url), {}
        for block in range(-(-SPECIES // BLOCK)):
            other_key = key.replace("/c/0/", f"/c/{block}/", 1)
            sizes[other_key] = size
            if block and size:
                (root / other_key).parent.mkdir(parents=True, exist_ok=True)
                os.link(root / key, root / other_key)
        return sizes


def _link_version(cube: CubeStore, version: str) -> None:
    """A version with the shards and metadata of v1 under a table of its own."""
    root = Path(cube.url)
    for product in releases.PRODUCTS:
        _linked_tree(root / f"products/{product}/v1", root / f"products/{product}/{version}")
    for product in ("species", "composition"):
        releases.ensure_table(cube, product, version, traits(version))
    for level in range(REGION.levels() + 1):
        group = cube.group(releases.group_of("species", version, level))
        group["species"][...] = np.asarray(species_names(version), object)  # type: ignore[index]
        ensure_column(group, "scale", steps(version), "species", dict(group["scale"].attrs))
        consolidate_if_changed(cube.root.store, group.path)
    units = tuple(REGION.units())
    ledger = Ledger(cube, f"predict/{version}", INPUTS_HASH)
    for name, receipt in list(cube.read_folder("ledger/predict/v1")):
        ledger.leave(name, _relinked(root, receipt, version))
    fingerprints = dict(ledger.index().fingerprints)
    for square in tree(REGION, units):
        receipt = _relinked(root, cube.read_json(f"ledger/predict/v1/overviews/{square.name}.json"), version)
        fingerprints[square.name] = str(progress.square_inputs(square, {*fingerprints, *square.children()}, fingerprints))
        receipt["inputs"] = fingerprints[square.name]
        Ledger(cube, receipt["stage"], receipt["inputs"]).leave(square.name, receipt)


def _relinked(root: Path, receipt: dict[str, Any], version: str) -> dict[str, Any]:
    """The receipt of v1 as one of `version`, whose maps of indicators are those of other indicators of v1."""
    new_names = {entry.name: INDICATORS[i - VERSIONS.index(version)].name for i, entry in enumerate(INDICATORS)}
    sizes, checksums = {}, {}
    for key in receipt["sizes"]:
        source, new_key = key, key.replace("/v1/", f"/{version}/")
        if "/indicators/" in key:
            _, _, _, level, variable, *_ = key.split("/")
            source = key.replace(f"/{level}/{variable}/", f"/{level}/{new_names[variable]}/")
        sizes[new_key] = receipt["sizes"][source]
        if source != key and sizes[new_key]:
            (root / new_key).unlink()
            os.link(root / source, root / new_key)
    for key in receipt["checksums"]:
        product, variable = key.split()
        checksums[key] = receipt["checksums"][f"{product} {new_names[variable]}" if product == "indicators" else key]
    stage = receipt["stage"].replace("/v1", f"/{version}")
    return {**receipt, "stage": stage, "checksums": checksums, "sizes": sizes}


def _linked_tree(source: Path, target: Path) -> None:
    """Copy a folder; shards, which are only ever replaced as a whole, are hard links."""

    def copy(file: str, place: str) -> None:
        in_place = os.path.basename(file) == "zarr.json" or "/table/" in file or "/species/c" in file or "/scale/c" in file
        shutil.copyfile(file, place) if in_place else os.link(file, place)

    shutil.copytree(source, target, copy_function=copy)
