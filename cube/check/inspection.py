"""A cube as it lies in its store, for whoever checks it: leaf groups, the raw metadata of their arrays, values of one unit.

Metadata is read from each node's own document and not from what was consolidated, except of what was checked before and has not
changed since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.metadata import ArrayV3Metadata
from zarr.storage import StorePath

from cube.check.receipts import StageReceipts, StoredSizes
from cube.grid import CELL, RESOLUTIONS, Unit
from cube.layers import (
    COMPOSITION,
    INDICATOR_STEPS,
    PROBABILITY_STEPS,
    Layer,
    habitat_entropy,
    habitat_level,
    habitat_probability,
    indicator,
    occurrence,
)
from cube.layers.inputs import INPUTS
from cube.storage import releases
from cube.storage.leaves import SPECIES_PER_SHARD
from cube.storage.progress import Progress, Stage, input_stages, progress, version_stage
from cube.storage.store import CubeStore, layer_of, resolution_of

Document = Mapping[str, Any]

Array = NDArray[Any]


@dataclass(frozen=True)
class Leaf:
    """A group that holds maps of one resolution and level."""

    path: str
    product: str  # `inputs`, or a product
    resolution: int  # metres, of level 0
    level: int
    document: Document  # the group's own zarr.json
    arrays: Mapping[str, Document]
    from_consolidated: bool = False  # arrays are as the group has consolidated them, since nothing of it changed

    @property
    def attributes(self) -> Document:
        """The group's attributes."""
        return dict(self.document.get("attributes", {}))

    def maps(self) -> Iterator[tuple[str, Document]]:
        """(name, document) of the arrays over (y, x)."""
        for name, document in self.arrays.items():
            if dims(document)[-2:] == ("y", "x"):
                yield name, document

    def expected(self, name: str) -> Layer | None:
        """How the table of layers says that a map is stored; None for one that it does not know.

        Indicators and habitat classes are made by other rooms: of them the cube knows the form and not the names.
        """
        array = self.arrays[name]
        attrs = array.get("attributes", {})
        if self.product == "inputs":
            return self._input(name)
        if self.product == "species":
            area = float(attrs.get("reference_area_m2", self.attributes.get("reference_area_m2", 0.0)))
            return occurrence(self.path, area) if name == "occurrence" else None
        if self.product == "composition":
            return next((layer.at(self.path) for layer in COMPOSITION if layer.name == name), None)
        if self.product == "indicators":
            map_layer = as_layer(self, name)
            return indicator(
                name,
                self.path,
                map_layer.long_name,
                map_layer.units,
                map_layer.scale,
                INDICATOR_STEPS * map_layer.scale,
                "viridis",
            )
        certainty_layers = {"probability": habitat_probability(self.path), "entropy": habitat_entropy(self.path)}
        if name in certainty_layers:
            return certainty_layers[name]
        if name == "top3_class":
            return Layer(name, self.path, "uint16", 65535, "", "1", ("habitat_rank",), kind="class")
        if name == "top3_probability":
            return Layer(name, self.path, "uint8", 255, "", "1", ("habitat_rank",), {}, 1 / PROBABILITY_STEPS)
        return habitat_level(name, self.path, (), "")

    def _input(self, name: str) -> Layer:
        """A preset, of the bands that are there; a layer of another name is as it says itself."""
        layer, preset = as_layer(self, name), INPUTS.get(name)
        if preset is None:
            return layer
        lengths = dict(zip(layer.dims, self.arrays[name]["shape"], strict=False))
        labels = {dim: names for dim, names in preset.labels.items() if len(names) == lengths.get(dim)}
        bands = preset.bands if len(labels) == len(preset.labels) else layer.bands
        return replace(preset.at(self.path), labels=labels, bands=bands)


def dims(document: Document) -> tuple[str, ...]:
    """Dimension names of an array."""
    return tuple(str(name) for name in document.get("dimension_names") or ())


def as_layer(leaf: Leaf, name: str) -> Layer:
    """A map as a layer, from what it says of itself; for reading it and what is made from it."""
    array = leaf.arrays[name]
    attributes = array.get("attributes", {})
    return Layer.from_metadata(f"{leaf.path}/{name}", str(array["data_type"]), array["fill_value"], dims(array), attributes)


@dataclass(frozen=True)
class Inspection:
    """A cube with all of its leaf groups, read once."""

    cube: CubeStore
    release: str | None = None  # ask of what this release names alone: other versions may be in the making
    verified: Mapping[str, str] = field(default_factory=dict)  # stages whose receipts an earlier check read: their states then

    @cached_property
    def layers(self) -> dict[str, Layer]:
        """The input layers that are there."""
        return self.cube.layers()

    @cached_property
    def stages(self) -> list[Stage]:
        """Every stage of the inputs, and of every version that is asked of."""
        version_names = sorted({version for product in releases.PRODUCTS for version in self.versions(product)})
        return input_stages(self.cube) + [version_stage(self.cube, version) for version in version_names]

    @property
    def progress(self) -> list[Progress]:
        """How far each of the stages is: as the receipts themselves say, unless it is as an earlier check verified it."""
        return self._progress_and_receipts[0]

    @property
    def receipts(self) -> dict[str, StageReceipts]:
        """What is found in the receipts of each stage that is not as an earlier check verified it, by its path."""
        return self._progress_and_receipts[1]

    @property
    def changed_stages(self) -> list[Progress]:
        """Those of `progress` whose receipts were read."""
        return [progress for progress in self.progress if progress.stage.path in self.receipts]

    @cached_property
    def _progress_and_receipts(self) -> tuple[list[Progress], dict[str, StageReceipts]]:
        """Both from one reading of the receipts."""
        listing, verified = self.cube.versions("ledger"), self.verified
        by_memo = {stage.path: progress(self.cube, stage, listing) for stage in self.stages if stage.path in verified}
        unchanged = {path: now for path, now in by_memo.items() if now.state == verified[path]}
        sizes = StoredSizes(self.cube, not any(path.startswith("inputs/") for path in unchanged))
        receipts = {stage.path: StageReceipts(stage, sizes) for stage in self.stages if stage.path not in unchanged}
        all_progress = [
            unchanged.get(stage.path) or progress(self.cube, stage, listing, receipts[stage.path].look) for stage in self.stages
        ]
        return all_progress, receipts

    @cached_property
    def products(self) -> dict[str, str]:
        """Version by product of the release that is asked of, else of the one that readers follow."""
        if self.release is None:
            return dict(releases.current(self.cube)["products"])
        return dict((releases.read_document(self.cube, self.release) or {}).get("products", {}))

    def table(self, product: str, version: str) -> dict[str, Any]:
        """The table of a version; `{}` where it has none, which the rule on tables reports."""
        path = releases.table_path(product, version)
        return self.cube.read_table(path) if self.cube.has(path) else {}

    @cached_property
    def leaves(self) -> list[Leaf]:
        """Every leaf group with maps: inputs, their overviews, every level of every version of every product."""
        return [self._leaf(*place) for place in self._places()]

    def _places(self) -> Iterator[tuple[str, str, int, int]]:
        """(path, product, resolution, level) of the leaf groups that are there."""
        for name, resolution in RESOLUTIONS.items():
            if self.cube.has(f"inputs/{name}"):
                yield f"inputs/{name}", "inputs", resolution, 0
            for level in self.levels(f"inputs/overviews/{name}"):
                yield f"inputs/overviews/{name}/{level}", "inputs", resolution, level
        for product in releases.PRODUCTS:
            for version in self.versions(product):
                base = f"products/{product}/{version}"
                if product == "composition":
                    yield base, product, CELL, 0
                    continue
                for level in self.levels(base):
                    yield f"{base}/{level}", product, CELL, level

    def versions(self, product: str) -> list[str]:
        """Versions of a product that are there."""
        versions = self.cube.groups(f"products/{product}")
        return versions if self.release is None else [name for name in versions if name == self.products.get(product)]

    def levels(self, base: str) -> list[int]:
        """Pyramid levels that are there below `base`."""
        return sorted(int(name) for name in self.cube.groups(base) if name.isdigit())

    def leaf(self, path: str) -> Leaf | None:
        """The leaf group at `path`."""
        return next((leaf for leaf in self.leaves if leaf.path == path), None)

    def _leaf(self, path: str, product: str, resolution: int, level: int) -> Leaf:
        document = self.node(path)
        consolidated_nodes = (document.get("consolidated_metadata") or {}).get("metadata")
        trust_consolidated = consolidated_nodes is not None and not self._is_changed(path)
        nodes = dict(consolidated_nodes or {}) if trust_consolidated else self._nodes(path)
        arrays = {name: node for name, node in nodes.items() if node.get("node_type") == "array" and "/" not in name}
        return Leaf(path, product, resolution, level, document, arrays, trust_consolidated)

    def _nodes(self, path: str) -> dict[str, Document]:
        """The metadata documents of the nodes directly below a group."""
        names = self.cube.folders(path)
        documents = self.cube.metadata([f"{path}/{name}" for name in names])
        return {name: document or {} for name, document in zip(names, documents, strict=True)}

    def _is_changed(self, path: str) -> bool:
        """Whether a stage that writes into the leaf group at `path` is not as it was verified."""
        if not self.verified:
            return True
        paths = {progress.stage.path for progress in self.changed_stages}
        if path.startswith("inputs/"):
            return any(stage.startswith("inputs/") for stage in paths)
        return f"predict/{path.split('/')[2]}" in paths

    def values(self, leaf: Leaf, name: str) -> NDArray[Any]:
        """The stored values of a whole array of a leaf group, such as the labels of an axis."""
        path = f"{leaf.path}/{name}"
        array = zarr.AsyncArray(ArrayV3Metadata.from_dict(dict(leaf.arrays[name])), StorePath(self.cube.root.store, path))
        return np.asarray(zarr.Array(array)[:])

    def node(self, path: str) -> Document:
        """The metadata document of a group or array; `{}` where there is none."""
        return dict(self.cube.metadata([path])[0] or {})


def read(inspection: Inspection, path: str, unit: Unit, lead: slice | None = None) -> Array:
    """Stored values of one unit, at the resolution of the array."""
    array = inspection.cube.array(path)
    rows, cols = inspection.cube.region.square(unit, resolution_of(layer_of(array))).slices
    return np.asarray(array[..., rows, cols] if lead is None else array[lead, ..., rows, cols])


def blocks(inspection: Inspection, leaf: Leaf, name: str, unit: Unit) -> Iterator[Array]:
    """Stored values of a unit in blocks of its first axis: ten thousand species at once would fill any memory."""
    rows, cols = inspection.cube.region.square(unit, leaf.resolution).slices
    array = inspection.cube.array(f"{leaf.path}/{name}")
    if array.ndim == 2:
        yield np.asarray(array[rows, cols])
        return
    for start in range(0, array.shape[0], SPECIES_PER_SHARD):
        yield np.asarray(array[start : start + SPECIES_PER_SHARD, ..., rows, cols])


def write_again(fix: str, stage: str, unit: str) -> str:
    """How to have one unit or square written anew: a file of its own stands above what a block of receipts says."""
    return f"write {{}} to ledger/{stage}/{unit}.json and {fix}"
