"""How the maps of a version are shown where nobody says otherwise: ranges found from a sample of the coarsest level.

`products/<product>/<version>/facts/ranges.json`: by layer [low, high] in its units, null where the sample holds no value;
`<name>.width` is the width of an indicator's interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cube.layers import BOUNDS
from cube.layers.display import display_range, sample_chunks
from cube.pyramids.facts import read_facts
from cube.storage.releases import group_of
from cube.storage.store import CubeStore, layer_of


def document_path(product: str, version: str) -> str:
    """Path of the document of a version of the indicators or habitats."""
    return f"products/{product}/{version}/facts/ranges.json"


def write_ranges(cube: CubeStore, products: Mapping[str, str]) -> None:
    """Write the documents of those versions of `products` that have facts and none yet; their overviews are whole."""
    for product in ("indicators", "habitats"):
        version = products.get(product, "")
        if version and read_facts(cube, product, version) and cube.read_json(document_path(product, version)) is None:
            cube.write_json(document_path(product, version), _ranges(cube, product, version))


def _ranges(cube: CubeStore, product: str, version: str) -> dict[str, Any]:
    ranges: dict[str, Any] = {}
    for name, array in cube.group(group_of(product, version, cube.region.levels())).arrays():
        layer = layer_of(array) if array.ndim > 1 else None
        if layer is None or layer.kind == "class":
            continue
        stored_values = np.concatenate(
            [
                np.asarray(array[..., r * h : (r + 1) * h, c * w : (c + 1) * w]).reshape(array.shape[0] if layer.dims else 1, -1)
                for h, w in [array.chunks[-2:]]
                for r, c in sample_chunks(array.shape, array.chunks)
            ],
            axis=1,
        )
        values = np.where(stored_values == layer.fill, np.nan, stored_values * layer.scale + layer.offset)
        ranges[name] = _range(values[0], product, layer.palette)
        if layer.dims == ("bound",):
            # Of stored values, so that equal widths are equal.
            upper, lower = (stored_values[BOUNDS.index(bound)].astype(np.int64) for bound in ("upper", "lower"))
            width = np.where((upper == layer.fill) | (lower == layer.fill), np.nan, (upper - lower) * layer.scale)
            ranges[f"{name}.width"] = wide = _range(width, product, "magma")
            if wide:  # from nothing: a width that hardly varies must not look as if it did
                wide[0] = 0.0
    return ranges


def _range(values: Any, product: str, palette: str) -> list[float] | None:
    finite_values = values[np.isfinite(values)]
    return list(display_range(finite_values, product, palette)) if finite_values.size else None
