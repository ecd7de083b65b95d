"""What of a cube is complete: of each stage, which units and squares have a receipt of what the cube is to be made from now.

A stage says that in its arrays: an input by attributes of its first layer, which `build` sets before its first unit, a version
of the products by its groups. So a prediction on another machine can ask without the configuration, and a source that failed
everywhere or was never built lacks all of its units. Receipts are believed here; whether values are as they say is asked by
`cube.check`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cube.errors import SourceError
from cube.grid import Region, Unit
from cube.pyramids.squares import Square, tree
from cube.storage import releases, shapes
from cube.storage.identity import digest
from cube.storage.ledger import Ledger, Look, ReceiptIndex, summaries
from cube.storage.root import about_region, region_of
from cube.storage.store import CubeStore

MADE_FROM: Final = "floracube_inputs"  # hash of what the values depend on: of a stage's first layer, of a version's groups
LAYERS: Final = "floracube_layers"  # names of the layers of a stage, on its first one
REGION_KM: Final = "floracube_region_km"  # what a version is predicted for: west, south, east, north
_OF_VERSION: Final = {MADE_FROM: shapes.text(), REGION_KM: shapes.window()}


@dataclass(frozen=True)
class Stage:
    """One stage of the ledger, such as `inputs/elevation` or `predict/v1`."""

    path: str
    layers: tuple[str, ...]  # of an input; the products of a version
    inputs: str | None  # what a valid receipt carries; None: the cube does not say
    region: Region


@dataclass(frozen=True)
class Progress:
    """How far a stage is."""

    stage: Stage
    index: ReceiptIndex
    units: tuple[Unit, ...]  # all that the stage is to have
    squares: Mapping[str, str]  # state of each square above them: `valid`, `stale`, `missing`, or `waits` for what is below it
    state: str  # hash of what all receipts say

    @property
    def missing(self) -> list[str]:
        """Units without a valid receipt."""
        return [unit.name for unit in self.units if unit.name not in self.index.fingerprints]

    @property
    def units_done(self) -> int:
        """Units with a valid receipt."""
        return len(self.units) - len(self.missing)

    @property
    def squares_done(self) -> int:
        """Squares that are made from the units as they are."""
        return sum(state == "valid" for state in self.squares.values())


def progress(cube: CubeStore, stage: Stage, listing: Mapping[str, str] | None = None, look: Look | None = None) -> Progress:
    """Read the receipts of a stage and say which of its units and squares are there, valid, or missing.

    Who asks for many stages lists the documents of `ledger` once (`Documents.versions`) and gives them as `listing`.
    With `look` the receipts themselves are read (`summaries`).
    """
    units = tuple(stage.region.units())
    index = Ledger(cube, stage.path, stage.inputs).index(listing, look)
    squares_say = summaries(cube, f"{stage.path}/overviews", listing, look)
    above = {name: inputs for inputs, names, _ in squares_say for name in names}
    fingerprints, states = dict(index.fingerprints), {}
    squares = tree(cube.region, units)
    unit_and_square_names = {unit.name for unit in units} | {square.name for square in squares}
    for square in squares:
        expected_inputs = square_inputs(square, unit_and_square_names, fingerprints)
        if square.name not in above:
            states[square.name] = "missing"
        elif expected_inputs is None:
            states[square.name] = "waits"
        else:
            states[square.name] = "valid" if above[square.name] == expected_inputs else "stale"
            # What stands above is judged by what this one says, or one stale square would be told at every level.
            fingerprints[square.name] = above[square.name]
    state = digest([stage.inputs, sorted(index.fingerprints.items()), sorted(index.stale), sorted(above.items())])
    return Progress(stage, index, units, states, state)


def square_inputs(square: Square, names: Collection[str], fingerprints: Mapping[str, str]) -> str | None:
    """What a valid receipt of a square carries; None while something that it stands on is missing.

    `names` names the units and squares that the stage is to have, `fingerprints` those that are complete. That of a square
    holds those of all units below it: a changed unit makes every square above it anew.
    """
    below = [name for name in square.children() if name in names]
    if any(name not in fingerprints for name in below):
        return None
    return digest([[name, fingerprints[name]] for name in below])


def input_stages(cube: CubeStore, layers: Collection[str] | None = None) -> list[Stage]:
    """The stages of the inputs, or of those `layers` alone; a layer that no stage claims is one of which nothing is valid."""
    attributes: dict[str, Mapping[str, Any]] = {name: array.attrs.asdict() for name, array in cube.input_arrays().items()}
    by_stage = {
        name: tuple(str(group_attributes[LAYERS]).split())
        for name, group_attributes in attributes.items()
        if LAYERS in group_attributes
    }
    with_stage = {layer for names in by_stage.values() for layer in names}
    by_stage |= {name: (name,) for name in attributes if name not in with_stage}
    return [
        Stage(f"inputs/{name}", names, attributes[name].get(MADE_FROM) if LAYERS in attributes[name] else None, cube.region)
        for name, names in by_stage.items()
        if layers is None or set(names) & set(layers)
    ]


def versions(cube: CubeStore) -> dict[str, list[str]]:
    """Versions of each product that has some."""
    folders = {product: cube.folders(f"products/{product}") for product in releases.PRODUCTS}
    by_product = {
        product: [name for name in names if cube.has(f"products/{product}/{name}")] for product, names in folders.items()
    }
    return {product: names for product, names in by_product.items() if names}


def version_stage(cube: CubeStore, version: str) -> Stage:
    """The stage of a version of the products, as its groups say."""
    nodes = {product: cube.node(f"products/{product}/{version}") for product in releases.PRODUCTS}
    existing_nodes = {product: node for product, node in nodes.items() if node is not None}
    region, made_from = cube.region, list[str]()
    for product, node in existing_nodes.items():
        where = f"{cube.url}/products/{product}/{version}/zarr.json, attributes"
        about = shapes.require(where, node.attrs.asdict(), _OF_VERSION, "restore it, or predict another version")
        made_from += [about[MADE_FROM]] if MADE_FROM in about else []
        if REGION_KM in about:
            region = region_of(where, {**about_region(cube.region), "region_km": about[REGION_KM]})
    return Stage(f"predict/{version}", tuple(existing_nodes), made_from[-1] if made_from else None, region)


def stages(cube: CubeStore) -> Iterator[Stage]:
    """Every stage of the inputs and every version of the products."""
    yield from input_stages(cube)
    for version in sorted({name for names in versions(cube).values() for name in names}):
        yield version_stage(cube, version)


def require_complete(cube: CubeStore, layers: Collection[str], units: Sequence[Unit]) -> list[str]:
    """What those `layers` are made from, stage by stage; raises `SourceError` unless each has a valid receipt of all `units`."""
    made_from = []
    for stage in input_stages(cube, layers):
        if stage.inputs is None:
            raise SourceError(
                f"{cube.url}: no source of the last build makes the input {stage.layers[0]}, so its values may be old ones;"
                f" name it in 'sources' (or 'derive') of the configuration and run `floracube build`."
            )
        missing = Ledger(cube, stage.path, stage.inputs).missing(units)
        if missing:
            names = ", ".join(unit.name for unit in missing[:3]) + (", ..." if len(missing) > 3 else "")
            raise SourceError(
                f"{cube.url}: the input {stage.path.removeprefix('inputs/')} lacks {len(missing)} of {len(units)} units"
                f" ({names}); run `floracube build` until it ends well."
            )
        made_from.append(f"{stage.path}:{stage.inputs}")
    return made_from
