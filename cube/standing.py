"""How far a cube has come: which stage wrote which layers, and which of its units and squares have a receipt.

Receipts are believed here; whether they are right is asked by `cube.check`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from cube.grid import Region, Unit
from cube.inputs import INPUTS
from cube.pyramids.squares import tree
from cube.storage import releases
from cube.storage.store import CubeStore


@dataclass(frozen=True)
class Stage:
    """One stage of the ledger, such as `inputs/elevation` or `predict/v1`."""

    cube: CubeStore
    path: str

    @cached_property
    def done(self) -> list[str]:
        """Names of the units with a receipt."""
        return self.cube.list_json(f"ledger/{self.path}")

    @cached_property
    def squares_done(self) -> list[str]:
        """Names of the squares of overviews with a receipt."""
        return self.cube.list_json(f"ledger/{self.path}/overviews")

    @cached_property
    def layers(self) -> list[str]:
        """The layers that an input stage writes, as its first receipt counts them; empty without one."""
        first = self.cube.read_json(f"ledger/{self.path}/{self.done[0]}.json") if self.done else None
        return [name.removesuffix(" valid") for name in (first or {}).get("counts", {}) if name.endswith(" valid")]


def input_stages(cube: CubeStore) -> list[Stage]:
    """Every stage of the inputs that has receipts."""
    return [Stage(cube, f"inputs/{name}") for name in cube.stages("inputs")]


def stages_by_layer(cube: CubeStore) -> dict[str, Stage]:
    """The stage that writes each input layer of the cube; layers without a receipt are not there."""
    return {layer: stage for stage in input_stages(cube) for layer in stage.layers}


def versions(cube: CubeStore) -> dict[str, list[str]]:
    """Versions of each product that has some."""
    held = {product: cube.groups(f"products/{product}") for product in releases.PRODUCTS}
    return {product: names for product, names in held.items() if names}


def predicted_region(cube: CubeStore, version: str) -> Region:
    """The region that `version` was predicted for, as a release that names it says; all of the cube without one."""
    for name in cube.list_json("releases"):
        release = cube.read_json(f"releases/{name}.json") or {}
        if version in release.get("products", {}).values() and "region_km" in release:
            west, south, east, north = release["region_km"]
            return Region(west, south, east, north, cube.region.unit_km)
    return cube.region


def expected(cube: CubeStore, region: Region) -> tuple[list[Unit], list[str]]:
    """(units of `region`, names of the squares above them) that a finished stage has receipts of."""
    units = list(region.units())
    return units, [square.name for square in tree(cube.region, units)]


def held_inputs(cube: CubeStore) -> list[str]:
    """Names of the input layers that are in the cube, in the order of the table."""
    return [layer.name for layer in INPUTS.values() if cube.has(layer.path)]
