"""Maps of an external model as indicators of a cube: written unit by unit, with receipts, overviews and a release.

`check`, the server and QGIS treat them as they treat the indicators that `predict` writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cube import reader
from cube.engine.workers import Workers
from cube.errors import CubeError
from cube.grid import CELL, Region, Unit
from cube.layers import BOUNDS, INDICATOR_STEPS, Layer, indicator
from cube.layers.inputs import SURFACE
from cube.layers.legends import LAND
from cube.pyramids.facts import UnitFacts, all_facts, make_facts
from cube.pyramids.levels import make_levels
from cube.pyramids.overviews import Overviews, build_overviews
from cube.pyramids.pyramid import Pyramid
from cube.pyramids.ranges import write_ranges
from cube.sources.coverage import inside
from cube.storage import lock, releases
from cube.storage.identity import digest
from cube.storage.leaves import set_attributes
from cube.storage.ledger import Ledger, checksum
from cube.storage.progress import MADE_FROM, REGION_KM, require_complete, version_stage
from cube.storage.store import CubeStore, layer_of, open_cube

Maps = Mapping[str, NDArray[Any] | xr.DataArray]
Model = Callable[[xr.Dataset], Maps]


@dataclass(frozen=True)
class IndicatorSpec:
    """A map that a model of yours makes: `name` (lower case, `_`), title, units, values from 0 to `top`, palette."""

    name: str
    long_name: str
    units: str
    top: float
    palette: str = "viridis"
    references: str = ""

    def __post_init__(self) -> None:
        """Refuse what no address of a layer could be made of, and a range without values."""
        if not (self.name.isidentifier() and self.name.islower()):
            raise CubeError(f"'{self.name}' is no name of a layer: lower-case letters, digits and '_', such as 'deadwood'.")
        if not self.top > 0:
            raise CubeError(f"{self.name}: top is {self.top}; it is the largest value of the map and above 0.")

    def layer(self, order: int) -> Layer:
        """The row of the table of layers."""
        return indicator(
            self.name, "", self.long_name, self.units, self.top / INDICATOR_STEPS, self.top, self.palette, self.references, order
        )


def write_indicators(url: str, version: str, layers: Sequence[IndicatorSpec], model: Model, made_by: str) -> list[str]:
    """Write version `version` of the indicators: those of the release that readers follow, and maps of `model` beside them.

    `model` gets the inputs of one unit, a lazy Dataset of (y, x) on the 50 m grid, and gives for each name of `layers` an
    array (y, x) in its units, or (3, y, x): estimate, lower and upper bound; NaN where it says nothing. Cells that are no land
    stay empty whatever it gives, values are clipped to 0 and `top`. `made_by` names the model and its state (a version, a hash
    of its weights): it stands in the release, and the same words let an interrupted run resume, as long as
    readers follow the same products. Writes the release `version`, which nobody follows before `floracube publish URL VERSION`;
    returns the names of the units written now.
    Raises `CubeError` for a version or a name that is taken, an array of another shape, or a name that is missing, and
    `SourceError` where an input is not complete.
    """
    cube = open_cube(url, writable=True)
    reader_cube = reader.Cube(cube)
    base = reader_cube.release
    region = version_stage(cube, base["products"].get("species", version)).region
    units = tuple(region.units())
    made_from = require_complete(cube, cube.layers(), units)
    # With the inputs and the products beside it: units made before and after a change of these would not fit together.
    model_hash = digest([made_by, [vars(layer) for layer in layers], base["products"], made_from])
    stage = f"predict/{version}"
    _refuse(cube, version, model_hash)
    with lock.hold(cube, stage):
        base_layers = _inherited(cube, base)
        new = [layer.layer(len(base_layers) + i) for i, layer in enumerate(layers)]
        if duplicates := {layer.name for layer in base_layers} & {layer.name for layer in new}:
            raise CubeError(f"{url}: there is an indicator '{min(duplicates)}' already; choose another name.")
        pyramid = Pyramid.of_product("indicators", version, [*base_layers, *new])
        _make(cube, pyramid, model_hash, base, region)
        make_facts(cube, stage, {"indicators": version})
        facts = all_facts(cube, {"indicators": version})
        ledger = Ledger(cube, stage, model_hash)
        missing = ledger.missing(units)
        for unit in missing:
            start = time.perf_counter()
            stored_values = _unit(reader_cube, base, unit, region, base_layers, new, model)
            sizes, unit_facts = dict[str, int](), UnitFacts(cube, facts, unit)
            for name, values in stored_values.items():
                sizes |= cube.write_unit(f"{pyramid.source}/{name}", unit, values)
                unit_facts.see(f"{pyramid.source}/{name}", values)
            checksums = {f"indicators {name}": checksum(values) for name, values in stored_values.items()}
            checks, more = unit_facts.write()
            ledger.sign(unit, start, {"cells": unit.cells**2}, checksums | checks, sizes | more)
        ledger.compact()
        above = Overviews(stage, (pyramid,), units, ledger.index().fingerprints, facts)
        for step in build_overviews(cube.url, cube.region, [above], Workers()):
            if step.error:
                raise CubeError(f"{url}: overview {step.square.name} cannot be built ({step.error}); run this again.")
        if require_complete(cube, cube.layers(), units) != made_from:
            raise CubeError(f"{url}: inputs were built anew meanwhile; write the indicators as another version.")
        write_ranges(cube, {"indicators": version})
        shared_fields = {k: v for k, v in base.items() if k not in ("name", "products", "parents", "created", "made_from")}
        origin = {
            "region_km": [edge // 1000 for edge in region.bounds],
            **shared_fields,
            "inputs": model_hash,
            "made_from": {**base.get("made_from", {}), "indicators": {"model": made_by, "inputs": model_hash}},
        }
        releases.write_release(cube, version, {**base["products"], "indicators": version}, origin)
    return [unit.name for unit in missing]


def _refuse(cube: CubeStore, version: str, model_hash: str) -> None:
    """Raise `CubeError` where `version` is another's: its groups would be written over."""
    if not version.replace("-", "").replace("_", "").replace(".", "").isalnum() or version.startswith("."):
        raise CubeError(f"'{version}' is no name of a version: letters, digits, '-', '_' and '.', such as 'deadwood-1'.")
    products = [p for p in releases.PRODUCTS if cube.has(f"products/{p}/{version}")]
    if products and (
        products != ["indicators"] or cube.group(f"products/indicators/{version}").attrs.get("floracube_inputs") != model_hash
    ):
        raise CubeError(f"{cube.url}: there is a version '{version}' of {', '.join(products)} already; choose another name.")


def _inherited(cube: CubeStore, base: Mapping[str, Any]) -> list[Layer]:
    """The indicators that readers see now, as they say of themselves; none before a first release."""
    version = base["products"].get("indicators")
    if version is None:
        return []
    maps = [layer_of(array) for _, array in cube.group(releases.group_of("indicators", version)).arrays() if array.ndim == 3]
    out = [
        indicator(m.name, m.group, m.long_name, m.units, m.scale, INDICATOR_STEPS * m.scale, m.palette, m.references, m.order)
        for m in maps
    ]
    return sorted(out, key=lambda layer: (layer.order, layer.name))


def _make(cube: CubeStore, pyramid: Pyramid, model_hash: str, base: Mapping[str, Any], region: Region) -> None:
    """The groups of all levels; terms, year and area of the plot are those of the indicators that are there."""
    attributes: dict[str, Any] = {
        MADE_FROM: model_hash,
        REGION_KM: [edge // 1000 for edge in region.bounds],
        "reference_area_m2": base.get("reference_area_m2", 100.0),
    }
    attributes |= {"reference_year": base["reference_year"]} if "reference_year" in base else {}
    attributes |= {key: cube.root.attrs[key] for key in ("license", "attribution", "note") if key in cube.root.attrs}
    set_attributes(cube.root.require_group(pyramid.base), attributes)
    layers = [layer.at(pyramid.source) for layer in pyramid.layers]
    cube.ensure_group(pyramid.source, layers, CELL, 0, {"bound": np.asarray(BOUNDS, object)}, attributes)
    make_levels(cube, pyramid)


def _unit(
    reader_cube: reader.Cube,
    base: Mapping[str, Any],
    unit: Unit,
    region: Region,
    base_layers: Sequence[Layer],
    new: Sequence[Layer],
    model: Model,
) -> dict[str, NDArray[Any]]:
    """Stored values (3, rows, columns) of every layer of one unit."""
    cube = reader_cube.store
    window = cube.region.square(unit)
    rows, cols = window.slices
    stored_values = {}
    for layer in base_layers:
        path = releases.group_of("indicators", str(base["products"]["indicators"]))
        stored_values[layer.name] = cube.read_window(f"{path}/{layer.name}", window)
    land = (cube.read_window(SURFACE, window) == LAND) & inside(region, unit, CELL)
    maps = model(reader_cube.inputs.isel(y=rows, x=cols)) if land.any() else {}
    for layer in new:
        values = np.full((3, *land.shape), np.nan, np.float32)
        if land.any():
            if layer.name not in maps:
                raise CubeError(
                    f"the model gave {', '.join(map(str, maps)) or 'nothing'} for unit {unit.name}, not '{layer.name}';"
                    " return an array for each."
                )
            model_values = np.asarray(maps[layer.name], np.float32)
            if model_values.shape not in (land.shape, values.shape):
                raise CubeError(
                    f"the model gave '{layer.name}' of the shape {model_values.shape} for unit {unit.name}; expected"
                    f" {land.shape}, or {values.shape} with the bounds."
                )
            values[: 1 if model_values.ndim == 2 else 3] = model_values
        top = INDICATOR_STEPS * layer.scale
        valid = land & np.isfinite(values[0])
        has_bounds = valid & np.isfinite(values[1:]).all(axis=0)
        values = np.where(np.stack([valid, has_bounds, has_bounds]), np.clip(values, 0, top), np.nan)
        values[1], values[2] = np.fmin(values[1], values[0]), np.fmax(values[2], values[0])
        values[1:, ~has_bounds] = np.nan
        stored_values[layer.name] = layer.encode(values)
    return stored_values
