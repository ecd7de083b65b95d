"""Sources to inputs, unit by unit: each unit is read, harmonised and written whole, and leaves a receipt."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from cube.config import Config
from cube.errors import FloracubeError, SourceError
from cube.grid import Region, Unit
from cube.layers import Layer
from cube.ledger import Ledger, checksum, digest
from cube.sources.open import open_sources
from cube.sources.reader import Reader
from cube.store import CubeStore, create_cube, resolution_of

Progress = Callable[[int, int, str], None]  # units done, units in all, what


def _make_groups(cube: CubeStore, readers: Sequence[Reader]) -> None:
    groups: dict[str, list[Layer]] = {}
    for reader in readers:
        for layer in reader.layers:
            groups.setdefault(layer.group, []).append(layer)
    for path, layers in groups.items():
        cube.ensure_group(path, layers, resolution_of(layers[0]), consolidate=False)
    for reader in readers:
        if reader.source is None:
            continue
        about = {"license": reader.source.license, "attribution": reader.source.attribution,
                 "reference_years": reader.source.reference_years}  # fmt: skip
        for layer in reader.layers:
            cube.array(layer.path).attrs.update({k: v for k, v in about.items() if v})
    for path, layers in groups.items():
        cube.ensure_group(path, [], resolution_of(layers[0]))


def build(config: Config, progress: Progress | None = None) -> list[str]:
    """Build every input of the configuration; returns one sentence for each unit that failed (none: all is built).

    Units with a valid receipt are left alone, so a killed build goes on where it was.
    """
    region = config.whole_region()
    readers = open_sources(config, region)
    cube = create_cube(config.cube_url, region, config.title)
    cube.root.attrs.update({k: v for k, v in (("license", config.license), ("attribution", config.attribution),
                                              ("note", config.note)) if v})  # fmt: skip
    _make_groups(cube, readers)
    units = list(region.units())
    ledgers = [Ledger(cube, f"inputs/{r.layers[0].name}", digest(r.depends_on())) for r in readers]
    todo = [(reader, ledger, unit) for reader, ledger in zip(readers, ledgers, strict=True) for unit in ledger.missing(units)]
    failures: list[str] = []
    total = len(units) * len(readers)
    done = total - len(todo)
    for reader, ledger, unit in todo:
        name = reader.layers[0].name
        if progress:
            progress(done, total, f"{name} {unit.name}")
        try:
            _build_unit(cube, reader, ledger, region, unit)
        except FloracubeError as error:
            failures.append(f"{unit.name}: {error}")
        except (OSError, RuntimeError) as error:
            failures.append(f"{unit.name}: {name}: {error}")
        done += 1
    if progress:
        progress(done, total, "inputs")
    return failures


def _build_unit(cube: CubeStore, reader: Reader, ledger: Ledger, region: Region, unit: Unit) -> None:
    started = time.perf_counter()
    layers = {layer.name: layer for layer in reader.layers}
    sums, counts = {}, {}
    for name, values in reader.read(region, unit).items():
        layer = layers[name]
        cube.write_unit(layer.path, unit, values, resolution_of(layer))
        sums[name] = checksum(values)
        empty = np.isnan(values) if layer.dtype.startswith("float") else values == layer.fill
        counts[f"{name} valid"] = int(values.size - empty.sum())
    ledger.sign(unit, started, counts, sums)


def require_complete(cube: CubeStore, units: Sequence[Unit]) -> None:
    """Raise `SourceError` unless every input layer has a receipt for each of `units`."""
    for stage in cube.stages("inputs"):
        held = set(cube.list_json(f"ledger/inputs/{stage}"))
        lacking = [unit.name for unit in units if unit.name not in held]
        if lacking:
            raise SourceError(
                f"{cube.url}: the input {stage} lacks {len(lacking)} units ({', '.join(lacking[:3])}...);"
                " run `floracube build` until it ends well."
            )
