"""Rules on metadata and axes: groups and arrays say what this version writes for the same layers, made anew in memory.

So no rule of the layout is stated twice: what `cube.storage.leaves` writes is what is compared. Texts that a configuration
may choose (titles, terms, palettes) are not; see `meaning`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import MemoryStore

from cube.check.inspection import Document, Inspection, Leaf, dims
from cube.check.rules import Finding, rule
from cube.grid import CELL
from cube.layers import conventions
from cube.storage.leaves import make_leaf

REBUILD: Final = "remove the layer and build it again; if all say so, the cube was written by other code than this"
FREE_ATTRIBUTES: Final = frozenset({"long_name", "references", "floracube_palette", "floracube_order", "flag_colors"})
WKT: Final = frozenset({"crs_wkt", "spatial_ref"})  # texts that differ between versions of PROJ: `grid_mapping` reads them
NEUTRAL: Final = {"scale_factor": 1.0, "add_offset": 0.0}  # what is meant where an attribute is absent


class _Expected:
    """A leaf group as this version writes it for the maps that are there."""

    def __init__(self, inspection: Inspection, leaf: Leaf) -> None:
        """Make it in memory."""
        layers = [layer for name, _ in leaf.maps() if (layer := leaf.expected(name)) is not None]
        lengths = {dim: 1 for layer in layers for dim in layer.dims}
        for _, array in leaf.maps():
            lengths |= dict(zip(dims(array)[:-2], array["shape"], strict=False))
        labels = {dim: np.full(n, "", object) if dim == "species" else np.arange(n) for dim, n in lengths.items()}
        content: dict[str, Any] = {}
        store = MemoryStore(content)
        zarr.open_group(store, path=leaf.path, mode="w", zarr_format=3)
        region, size = inspection.cube.region, leaf.resolution
        self.group = make_leaf(store, region, leaf.path, layers, size, leaf.level, labels, {}, {}, consolidate=False)
        nodes = {name: content[f"{leaf.path}/{name}/zarr.json"].to_bytes() for name in self.group}
        self.arrays: dict[str, Document] = {name: json.loads(node) for name, node in nodes.items()}
        self.attributes: Document = json.loads(content[f"{leaf.path}/zarr.json"].to_bytes())["attributes"]
        # Labels whose values the layers themselves give, and the axes.
        self.valued_arrays = {"y", "x", *(dim for layer in layers for dim in layer.labels)} & set(self.arrays)

    def values(self, name: str) -> NDArray[Any]:
        """The coordinates or labels of an axis."""
        array = self.group[name]
        assert isinstance(array, zarr.Array)
        return np.asarray(array[:])


@rule
def region(inspection: Inspection) -> Iterator[Finding]:
    """The cube says which region of the grid it covers."""
    expected_attributes = conventions.spatial_attributes(inspection.cube.region, CELL)
    attributes = inspection.node("").get("attributes", {})
    yield from _differences(f"{inspection.cube.url} (root)", expected_attributes, attributes, "write the attribute anew")


@rule
def metadata(inspection: Inspection) -> Iterator[Finding]:
    """Groups, arrays and axes have the shape, type, chunks, codecs, attributes and labels that their layers are written with."""
    for leaf in inspection.leaves:
        expected = _Expected(inspection, leaf)
        yield from _differences(leaf.path, expected.attributes, leaf.attributes, REBUILD)
        for name, stored_document in leaf.arrays.items():
            path, expected_document = f"{leaf.path}/{name}", expected.arrays.get(name)
            if expected_document is None:
                if dims(stored_document)[-2:] == ("y", "x"):
                    yield Finding(path, "a layer that the table knows", "an unknown name", "remove it, or upgrade floracube")
                continue
            yield from _differences(path, _form(expected_document), _form(stored_document), REBUILD)
            written_as, found_as = (NEUTRAL | document.get("attributes", {}) for document in (expected_document, stored_document))
            yield from _differences(path, written_as, found_as, REBUILD)
        if not leaf.from_consolidated:
            yield from _axes(inspection, leaf, expected)


def _form(array: Document) -> dict[str, Any]:
    """What an array is, without its attributes; of its labels only what every writer gives them."""
    if len(array["shape"]) < 2:
        return {key: array[key] for key in ("dimension_names", "shape")} if array.get("dimension_names") else {}
    codecs = [(codec["name"], codec.get("configuration", {})) for codec in array["codecs"]]
    inner = dict(codecs).get("sharding_indexed", {})
    return {
        "shape": array["shape"],
        "data_type": array["data_type"],
        "dimension_names": list(dims(array)),
        "fill_value": array["fill_value"],
        "chunks": (inner.get("chunk_shape"), array["chunk_grid"]["configuration"]["chunk_shape"]),
        "codecs": [name for name, _ in codecs] + [codec["name"] for codec in inner.get("codecs", ())],
    }


def _differences(path: str, expected: Document, document: Document, fix: str) -> Iterator[Finding]:
    for key, value in expected.items():
        if key not in FREE_ATTRIBUTES | WKT and document.get(key) != value:
            yield Finding(f"{path}, {key}", short(value), short(document.get(key)), fix)


def _axes(inspection: Inspection, leaf: Leaf, expected: _Expected) -> Iterator[Finding]:
    """Where axes y and x are not the centres of the region's pixels, or another axis lacks its labels or has others."""
    for name in sorted(set(expected.arrays) - {array for array, _ in leaf.maps()} - {conventions.GRID_MAPPING}):
        path, expected_document = f"{leaf.path}/{name}", expected.arrays[name]
        document = leaf.arrays.get(name)
        if document is None:
            yield Finding(path, f"{expected_document['shape'][0]} labels", "nothing", REBUILD)
        elif (name in expected.valued_arrays or name == "species") and document["data_type"] != expected_document["data_type"]:
            yield Finding(path, f"data type {expected_document['data_type']}", short(document["data_type"]), REBUILD)
        elif name in expected.valued_arrays:
            values, stored_values = expected.values(name), inspection.values(leaf, name)
            if not np.array_equal(values, stored_values):
                yield Finding(path, _shortened(values), _shortened(stored_values), REBUILD)


def _shortened(values: Any) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values[:6].tolist())


def short(value: Any) -> str:
    """A value in a sentence."""
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
