"""Legends: colours and what they stand for, as JSON and as a small picture."""

from __future__ import annotations

from typing import Any

import numpy as np

from server import palettes
from server.drawing.png import image, palette_png
from server.reading.layers import MapLayer
from server.reading.snapshot import Snapshot

STOPS = 11


def legend(snapshot: Snapshot, layer: MapLayer) -> dict[str, Any]:
    """Title, units and either 11 stops of the display range or the classes with their colours; `empty`: nothing is mapped."""
    head: dict[str, Any] = {"id": layer.id, "title": layer.title, "units": layer.units, "kind": layer.kind}
    if layer.kind == "class":
        classes = [{"value": c.value, "label": c.label, "code": c.code, "colour": c.colour} for c in layer.classes]
        return {**head, "classes": classes, "nodata": "transparent"}
    low, high = snapshot.range_of(layer)
    colours = palettes.table(layer.palette)
    stops = [
        [float(f"{low + (high - low) * part:.6g}"), palettes.hexadecimal(colours[round(part * 255)])]
        for part in np.linspace(0, 1, STOPS)
    ]
    if layer.product == "species" and layer.note:
        head["note"] = layer.note
    return {**head, "range": [low, high], "stops": stops, "nodata": "transparent", "empty": snapshot.is_empty(layer)}


def legend_png(layer: MapLayer) -> bytes:
    """A bar of the palette, low to high (256 x 16 pixels), or one 16-pixel square a class from top to bottom."""
    if layer.kind == "class":
        _, colours = layer.class_lookup
        squares = np.arange(1, max(2, len(colours))).clip(max=len(colours) - 1)
        index = np.repeat(np.repeat(squares[:, None], 16, axis=0), 16, axis=1)
        return image(index, colours, "png")
    table = palettes.table(layer.palette)
    opaque = np.concatenate([table, np.full((256, 1), 255, np.uint8)], axis=1)
    return palette_png(np.tile(np.arange(256, dtype=np.uint8), (16, 1)), opaque)
