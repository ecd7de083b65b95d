"""The page of input layers and published products, out of the tables of the code."""

from __future__ import annotations

from cube.layers import Layer
from cube.layers.inputs import INPUTS
from cube.sources.published_rasters import PRODUCTS

HEAD = """# Input layers

Presets: layers whose meaning is fixed. A source of any other name is a layer of your own, see
[rasters](../how-to/rasters.md#layers-of-your-own). A stored number v stands for `v x scale + offset` in the units. Bands are
named as in a template's `{variable}` or in the mapping of files. Models learn from a layer unless it is marked as no predictor.
"""

BY_BAND = "of each band"


def page() -> str:
    """Markdown of the whole page."""
    rows = ["| layer | what it is | units | stored as | bands | source |", "|---|---|---|---|---|---|"]
    for layer in INPUTS.values():
        scale = f", scale {layer.scale:g}" if layer.scale != 1 else ""
        bands = "; ".join(f"`{dim}` {_labels(layer, dim)}" for dim in layer.dims)
        name = layer.long_name + ("" if layer.predictor else " (no predictor)")
        numbers = f"{layer.resolution}, {layer.dtype}, fill {layer.fill}{scale}"
        rows.append(f"| `{layer.name}` | {name} | {layer.units or 'of each band'} | {numbers} | {bands} | {layer.references} |")
    products = ["| `published:` | what it is | fills | years | licence | where its numbers were looked up |", "|" + "---|" * 6]
    for name, row in PRODUCTS.items():
        layers = ", ".join(f"`{layer}`" for layer in row.layers)
        products.append(f"| `{name}` | {row.title} | {layers} | {row.reference_years} | {row.license} | {row.lookup} |")
    return "\n\n".join([HEAD, "\n".join(rows), "## Published products", "\n".join(products)]) + "\n"


def _labels(layer: Layer, dim: str) -> str:
    if dim == layer.dims[0] and layer.bands:
        return ", ".join(f"{band.name} ({band.long_name}, {band.units})" for band in layer.bands)
    labels = layer.labels[dim]
    return ", ".join(labels) if len(labels) <= 14 else f"{labels[0]} to {labels[-1]} ({len(labels)})"
