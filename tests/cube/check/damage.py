"""Ways to damage a cube that break one promise and no other; whatever else would be wrong is put in order again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from cube.engine.workers import Workers
from cube.grid import Unit
from cube.layers import Layer
from cube.layers.inputs import INPUTS
from cube.pyramids.facts import Facts, all_facts, measured
from cube.pyramids.overviews import Overviews, build_overviews
from cube.pyramids.pyramid import Pyramid
from cube.storage import releases
from cube.storage.ledger import checksum, fingerprint, receipts
from cube.storage.store import CubeStore, resolution_of
from inference.cascade import products
from inference.cascade.indicators import INDICATORS
from tests.support.good_cube import HABITATS, LAYERS, REGION

Array = np.ndarray[Any, Any]
UNIT, SECOND = list(REGION.units())
SQUARE = "20kmE480N288"
FLAGS = {
    level: tuple((i, f"{c} {n}", colour) for i, (c, n, at, _, colour) in enumerate(HABITATS) if at == level)
    for level in ("level3", "level2", "level1")
}


def document(cube: CubeStore, path: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON document of the cube in place."""
    file = Path(cube.url) / path
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def metadata(cube: CubeStore, path: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the metadata of an array or group, and consolidate its group as if it had always been so."""
    document(cube, f"{path}/zarr.json".lstrip("/"), change)
    array = json.loads((Path(cube.url) / path / "zarr.json").read_text())["node_type"] == "array"
    if array:
        zarr.consolidate_metadata(cube.root.store, path=path.rsplit("/", 1)[0])


def attribute(cube: CubeStore, path: str, name: str, value: Any) -> None:
    """Set an attribute; None removes it."""

    def change(content: dict[str, Any]) -> None:
        attrs = content["attributes"]
        attrs.pop(name, None)
        if value is not None:
            attrs[name] = value

    metadata(cube, path, change)


def values(cube: CubeStore, stage: str, key: str, path: str, change: Callable[[Array], object], unit: Unit = UNIT) -> None:
    """Change stored values of a unit, sign its receipt for them, and build the overviews above it anew."""
    name = path.rsplit("/", 1)[1]
    resolution = resolution_of(INPUTS[name]) if path.startswith("inputs/") else 50
    rows, cols = cube.region.square(unit, resolution).slices
    array = cube.array(path)
    held = np.asarray(array[..., rows, cols])
    change(held)
    array[..., rows, cols] = held
    facts, _ = measured(cube, facts_of(cube, stage), unit).write()
    signed = {key: checksum(held), **facts}
    document(cube, f"ledger/{stage}/{unit.name}.json", lambda receipt: receipt["checksums"].update(signed))
    climb(cube, stage)


def facts_of(cube: CubeStore, stage: str) -> tuple[Facts, ...]:
    """The facts that are written with a stage of the good cube."""
    return all_facts(cube, dict.fromkeys(releases.PRODUCTS, "v1")) if stage.startswith("predict/") else ()


def climb(cube: CubeStore, stage: str) -> None:
    """Build what is stale of the overviews of a stage."""
    fingerprints = {name: fingerprint(receipt) for name, receipt in receipts(cube, stage)}
    above = Overviews(stage, pyramids(stage), tuple(REGION.units()), fingerprints, facts_of(cube, stage))
    assert all(step.error is None for step in build_overviews(cube.url, REGION, [above], Workers()))


def pyramids(stage: str) -> tuple[Pyramid, ...]:
    """The pyramids of a stage of the good cube."""
    if stage.startswith("predict/"):
        versions = dict.fromkeys(("species", "indicators", "habitats"), "v1")
        return products.pyramids(versions, 100.0, INDICATORS[:2], FLAGS)
    names = next(names for names in LAYERS if stage == f"inputs/{names[0]}")
    layers: list[Layer] = [INPUTS[name] for name in names]
    return (Pyramid.of_inputs(layers[0].resolution, layers),)


def measure(cube: CubeStore) -> None:
    """Let the receipts list the shards as they are now: other values may take another size."""
    for file in (Path(cube.url) / "ledger").rglob("*.json"):
        receipt = json.loads(file.read_text())
        shards = {key: Path(cube.url) / key for key in receipt.get("sizes", {})}
        receipt["sizes"] = {key: shard.stat().st_size if shard.exists() else 0 for key, shard in shards.items()}
        file.write_text(json.dumps(receipt))


def remove(cube: CubeStore, path: str) -> None:
    """Remove a file of the cube."""
    (Path(cube.url) / path).unlink()
