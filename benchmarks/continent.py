"""What a cube of a continent costs to open, to read and to look after: requests, processor seconds and memory.

    python -m benchmarks.continent                                   # Europe: 19,024 units, 10,000 species
    python -m benchmarks.continent --side-units 14 --species 500 --delay 0.03 --json continent.json

The skeleton has all metadata, tables and receipts, written by floracube's own functions; maps of species are filled in squares
of 2 x 2 units from the middle on, `--filled` of them. It lies in a folder (`disk`) and behind a server that answers like S3, late
by --delay (`s3`). Each row is a process of its own; its imports are in the seconds and in the memory.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr

from benchmarks import tile_web
from benchmarks.command import parser_of
from benchmarks.ports import free_port
from cube.engine.plan import StagePlan, make_groups
from cube.grid import Region, Unit
from cube.layers import RANKS, occurrence
from cube.layers.inputs import INPUTS
from cube.pyramids.pyramid import Pyramid, square_values
from cube.pyramids.squares import tree
from cube.storage import progress, releases
from cube.storage.ledger import COMPACT_FROM, Ledger, block_of, fingerprint
from cube.storage.store import CubeStore, create_cube, layer_of, open_cube, resolution_of
from cube.storage.whole_shards import OpenArrays
from inference.cascade import products
from inference.cascade.indicators import INDICATORS
from inference.evaluation.tables import Table, write_tables
from tests.support.good_cube import Invented

EUROPE: Final = Region(900, 860, 7460, 5500, 40)
INPUT_LAYERS: Final = (("surface",), ("elevation", "slope"), ("bioclim",), ("sentinel2", "sentinel2_count"), ("landsat",))
SHARD_SPECIES: Final = 192
LINKS: Final = 30_000  # to one file: ext4 has room for 65,000
MADE_FROM: Final = "0123456789abcdef"
CUBE_ATTRIBUTES: Final = {
    progress.MADE_FROM: MADE_FROM,
    "reference_year": 2018,
    "reference_area_m2": 100.0,
    "license": "CC0-1.0",
    "attribution": "Nobody",
}
VALUE: Final = (
    "m = floracube.open(url).species['Planta species-00007']\n"
    "assert m.sel(x=unit[0] + 5025, y=unit[1] - 5025, method='nearest').compute().notnull()"
)
# Of extras; others import these where they are installed: dask looks for a client, pandas and dask.array for faster ways.
EXTRAS: Final = ("bottleneck", "distributed", "numexpr", "scipy")
# What each row does, as a program: `url` is the cube's, `unit` (west, north) a corner of the filled unit in metres.
ACTIONS: Final[Mapping[str, str]] = {
    "import floracube, nothing else": "",
    "open": "floracube.open(url)",
    "open, one value of a species": VALUE,
    "open, one value of a species, no extra installed": f"import sys; sys.modules.update(dict.fromkeys({EXTRAS}))\n{VALUE}",
    "open, a species in 200 x 200 cells": (
        "m = floracube.open(url).species['Planta species-00007']\n"
        "assert m.sel(x=slice(unit[0], unit[0] + 1e4), y=slice(unit[1], unit[1] - 1e4)).compute().notnull().any()"
    ),
    "open, everything of one cell, not read": "floracube.open(url).at(*lonlat)",
    "open, everything of one cell, read": "assert floracube.open(url).at(*lonlat).load()['species.probability'].notnull().all()",
    "info": "from cube.check.info import describe; describe(url)",
    "check": "from cube.check import check, text; document = check(url); assert document['kept'], text(document)",
    "publish, all checked": "from cube.check.publishing import publish; assert publish(url, 'v1', everything=True)[0]",
    "publish, a new version on inputs that were checked": (
        "from cube.check.publishing import publish; from cube.storage.store import open_cube\n"
        "c, p = open_cube(url, writable=True), 'predict/v1'\n"
        "c.update_json('current.json', lambda d: {**d, 'verified': {k: v for k, v in d['verified'].items() if k != p}})\n"
        "assert publish(url, 'v1')[0]"
    ),
    "publish, nothing changed": "from cube.check.publishing import publish; assert publish(url, 'v1')[0]",
    "gc --dry-run": (
        "from cube.check.garbage import collect; from cube.storage.store import open_cube\ncollect(open_cube(url), dry_run=True)"
    ),
    "overviews, 192 species in a square of 2 x 2 units": "from benchmarks.continent import coarsen; coarsen(url, unit)",
    "resume of a prediction (index of receipts)": (
        "from cube.storage import progress; from cube.storage.store import open_cube\n"
        "c = open_cube(url); p = progress.progress(c, progress.version_stage(c, 'v1')); assert not p.missing, len(p.missing)"
    ),
}


def make(url: str, region: Region, species: int, squares_with_data: int = 1) -> Unit:
    """Write the skeleton at `url`, `squares_with_data` squares of 2 x 2 units with maps of species; returns a filled unit."""
    cube = create_cube(url, region, "Skeleton of a continent")
    cube.root.attrs.update({"license": "CC0-1.0", "attribution": "Nobody"})
    units = tuple(region.units())
    plans = [StagePlan.of_reader(Invented(tuple(INPUTS[name] for name in names))) for names in INPUT_LAYERS]
    make_groups(cube, plans)
    for plan in plans:
        _receipts(cube, plan.path, str(plan.inputs), units, [layer.path for layer in plan.layers], {})
    names = [f"Planta species-{i:05d}" for i in range(species)]
    columns: dict[str, Any] = {"species_id": np.arange(species, dtype=np.int32), "scientific_name": np.asarray(names, object)}
    for product in ("species", "composition"):
        releases.ensure_table(cube, product, "v1", columns)
    products.make_species(cube, "v1", names, np.full(species, 0.004, np.float32), 100.0, dict(CUBE_ATTRIBUTES))
    products.make_composition(cube, "v1", dict(CUBE_ATTRIBUTES))
    products.make_indicators(cube, "v1", INDICATORS, dict(CUBE_ATTRIBUTES))
    squares = [square for square in tree(region, units) if square.level == 1]
    middle = len(squares) // 2
    units_with_data = [unit for square in squares[middle : middle + squares_with_data] for unit in square.units()]
    maps = ["products/species/v1/0/occurrence", *(f"products/composition/v1/{name}" for name in ("species_id", "probability"))]
    maps += [f"products/indicators/v1/0/{entry.name}" for entry in INDICATORS]
    sizes = _fill(cube, maps[0], units_with_data) | _rank(cube, maps[1:3], units_with_data[0])
    _receipts(cube, "predict/v1", MADE_FROM, units, maps, sizes)
    releases.write_release(cube, "v1", dict.fromkeys(("species", "composition", "indicators"), "v1"), {})
    releases.publish(cube, "v1")
    return units_with_data[0]


def _receipts(
    cube: CubeStore, stage: str, inputs: str, units: Sequence[Unit], maps: Sequence[str], size_of_key: Mapping[str, int]
) -> None:
    """Receipts of all units of a stage and of all squares above them, as runs leave them; fill where `size_of_key` has none."""
    fingerprints: dict[str, str] = {}
    below, above = {}, {}
    arrays = {path: cube.array(path) for path in maps}
    for unit in units:
        sizes = {key: size_of_key.get(key, 0) for path, array in arrays.items() for key in _keys(cube, path, array, unit)}
        checksums = dict.fromkeys((key.rpartition("/c/")[0] for key in sizes), unit.row * 7919 + unit.col)
        below[unit.name] = {
            "unit": unit.name,
            "stage": stage,
            "inputs": inputs,
            "seconds": 1.0,
            "counts": {"cells": 640_000},
            "checksums": checksums,
            "sizes": sizes,
        }
        fingerprints[unit.name] = fingerprint(below[unit.name])
    squares = tree(cube.region, units)
    names = set(fingerprints) | {square.name for square in squares}
    for square in squares:
        fingerprints[square.name] = str(progress.square_inputs(square, names, fingerprints))
        above[square.name] = {
            "unit": square.name,
            "stage": f"{stage}/overviews",
            "inputs": fingerprints[square.name],
            "seconds": 1.0,
            "counts": {},
            "checksums": {},
            "sizes": {},
        }
    for folder, receipts in ((stage, below), (f"{stage}/overviews", above)):
        blocks: dict[str, dict[str, Any]] = {}
        for name, receipt in receipts.items():
            blocks.setdefault(block_of(name), {})[name] = receipt
        for block, members in blocks.items():  # few of a block stay files of their own, as `Ledger.compact` leaves them
            documents = {f"blocks/{block}": members} if len(members) >= COMPACT_FROM else members
            for name, document in documents.items():
                cube.write_json(f"ledger/{folder}/{name}.json", document)


def note_receipts(url: str) -> None:
    """Write the memos of all receipts as the store at `url` versions them, as its last run leaves them."""
    cube = open_cube(url, writable=True)
    for stage in progress.stages(cube):
        for path in (stage.path, f"{stage.path}/overviews"):
            Ledger(cube, path, None).update_memo()


def coarsen(url: str, corner: tuple[int, int]) -> None:
    """Compute the first shard of species in the square of level 1 above the unit whose (west, north) is `corner`."""
    cube, layer = open_cube(url), occurrence("products/species/v1/0", 100.0)
    above = next(
        square
        for square in tree(cube.region, cube.region.units())
        if any((unit.west, unit.north) == corner for unit in square.units())
    )
    next(square_values(OpenArrays(cube), Pyramid.of_product("species", "v1", [layer]), layer, above))


def _keys(cube: CubeStore, path: str, array: zarr.Array[Any], unit: Unit) -> Iterator[str]:
    """Keys of the shards of a unit."""
    square = cube.region.square(unit, resolution_of(layer_of(array)))
    corner = (square.row // square.height, square.col // square.width)
    lead = [-(-length // side) for length, side in zip(array.shape[:-2], (array.shards or array.chunks)[:-2], strict=True)]
    for index in np.ndindex(*lead):
        yield f"{path}/c/{'/'.join(map(str, (*index, *corner)))}"


def _fill(cube: CubeStore, path: str, units: Sequence[Unit]) -> dict[str, int]:
    """Smooth maps of the first shard of species in one unit, hard links to it for all others; bytes by key."""
    array, steps = cube.array(path), np.arange(units[0].cells, dtype=np.float32) / 60
    waves = np.sin(steps)[:, None] * np.cos(steps)[None, :] * np.linspace(0.2, 1, SHARD_SPECIES, dtype=np.float32)[:, None, None]
    values = np.rint(125 + 125 * waves).astype(np.uint8)[: array.shape[0]]
    sizes = cube.write(path, (slice(0, len(values)), *cube.region.square(units[0]).slices), values)
    ((key, size),) = sizes.items()
    source, root = Path(cube.url) / key, Path(cube.url)
    other_keys = (other_key for unit in units for other_key in _keys(cube, path, array, unit) if other_key != key)
    for count, other_key in enumerate(other_keys, 1):
        (root / other_key).parent.mkdir(parents=True, exist_ok=True)
        if count % LINKS:
            os.link(source, root / other_key)
        else:  # as many as one file may have
            source = Path(shutil.copy(source, root / other_key))
        sizes[other_key] = size
    return sizes


def _rank(cube: CubeStore, paths: Sequence[str], unit: Unit) -> dict[str, int]:
    """The first species as those that one unit ranks, in their order; bytes by key."""
    sizes: dict[str, int] = {}
    for path, values in zip(paths, (np.arange(RANKS, dtype=np.uint16), np.arange(250, 250 - RANKS, -1, np.uint8)), strict=True):
        sizes |= cube.write_unit(path, unit, np.broadcast_to(values[:, None, None], (RANKS, unit.cells, unit.cells)))
    return sizes


def measured(url: str, unit: Unit, environment: Mapping[str, str], address: str | None) -> Iterator[dict[str, Any]]:
    """A row an action: requests by kind (None on disk), processor seconds, peak memory in MB."""
    with tempfile.TemporaryDirectory() as bytecode:  # kept, as pip does: compiling what is imported takes seconds
        variables = {**os.environ, **environment, "PYTHONPYCACHEPREFIX": bytecode}
        variables.pop("PYTHONDONTWRITEBYTECODE", None)
        for program in (
            f"from benchmarks.continent import note_receipts; note_receipts({url!r})",
            "import distributed, floracube, cube.check.publishing\n"
            f"next(iter(floracube.open({url!r}).species.values()))[0, 0].compute()",
        ):
            subprocess.run([sys.executable, "-c", program], env=variables, check=True)
        yield from _rows(url, unit, variables, address)


def _rows(url: str, unit: Unit, environment: Mapping[str, str], address: str | None) -> Iterator[dict[str, Any]]:
    for name, action in ACTIONS.items():
        program = (
            f"import json, re, time, floracube\nurl, unit = {url!r}, ({unit.west}, {unit.north})\n"
            "from pyproj import Transformer\n"
            "lonlat = Transformer.from_crs(3035, 4326, always_xy=True).transform(unit[0] + 5025, unit[1] - 5025)\n"
            f"{action}\npeak = re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]\n"
            "print(json.dumps([time.process_time(), int(peak) / 1024]))"
        )
        counts_before, began = tile_web.counts(address) if address else {}, time.perf_counter()
        process = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
        seconds = time.perf_counter() - began
        if process.returncode:
            yield {"what": name, "processor s": "failed: " + process.stderr.strip().splitlines()[-1][:120]}
            continue
        counts_after, (processor, memory) = (
            tile_web.counts(address) if address else {},
            json.loads(process.stdout.splitlines()[-1]),
        )
        print(f"{name}: {seconds:.0f} s", file=sys.stderr, flush=True)
        yield {
            "what": name,
            "processor s": round(processor, 2),
            "wall s": round(seconds, 2),
            "memory MB": round(memory),
            **{kind: counts_after[kind] - counts_before[kind] for kind in counts_after},
        }


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--side-units", type=int, help="a square of so many units of 40 km instead of Europe")
    parser.add_argument("--species", type=int, default=10_000)
    parser.add_argument("--filled", type=int, default=1, help="squares of 2 x 2 units with maps of species")
    parser.add_argument("--delay", type=float, default=0.03, help="seconds by which an answer of the store comes late")
    args = parser.parse_args()
    side = (args.side_units or 0) * EUROPE.unit_km
    region = Region(4180, 2620, 4180 + side, 2620 + side, EUROPE.unit_km) if side else EUROPE
    with tempfile.TemporaryDirectory() as name:
        url, began = f"{name}/bucket/continent.zarr", time.process_time()
        unit = make(url, region, args.species, args.filled)
        units, seconds = len(list(region.units())), time.process_time() - began
        print(f"{units:,} units, {args.species:,} species, made in {seconds:.0f} s of processor", flush=True)
        tables = [Table("disk", list(measured(url, unit, {}, None)))]
        with tile_web.serve(Path(name), free_port(), args.delay) as address:
            rows = list(measured("s3://bucket/continent.zarr", unit, tile_web.s3_environment(address), address))
            tables.append(Table(f"s3, {args.delay:g} s away", rows))
        print("\n\n".join(table.text() for table in tables))
        if args.json:
            write_tables(args.json.parent, args.json.stem, tables)


if __name__ == "__main__":
    main()
