"""Colours: 256-entry tables of palettes, and distinct colours for classes.

The palettes are titiler's, whose tables rio-tiler carries, and batlow and vik, which are not among those.
"""

from __future__ import annotations

import colorsys
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cube.layers.display import ANCHORS
from cube.layers.layer import COLOUR

COLOURS: Final = 255  # of a continuous layer; the first entry is no data
# Linear interpolation between the anchors stays within 2 (batlow) and 6 (vik) of 255 of Crameri's full tables.
_ANCHORS: Final = {name: ANCHORS[name] for name in ("batlow", "vik")}
# What a layer may ask for by meaning rather than by name.
_ALIASES: Final = {"species": "viridis", "gray": "gray", "grey": "gray", "none": "viridis"}


def _tables() -> dict[str, Path]:
    # The files alone: importing rio-tiler to read them brings xarray and GDAL along, two seconds of every start.
    package = find_spec("rio_tiler")
    assert package is not None
    assert package.submodule_search_locations is not None
    folder = Path(package.submodule_search_locations[0]) / "cmap_data"
    return {file.stem: file for file in sorted(folder.glob("*.npy"))}


_TABLES: Final = _tables()
NAMES: Final = tuple(sorted({*_ANCHORS, *_TABLES, "species"}))
OF_LAYERS: Final = (*ANCHORS, "species")  # what a layer may name: QGIS and printed legends have these, too


def _bytes(colour: str) -> tuple[int, int, int]:
    return int(colour[0:2], 16), int(colour[2:4], 16), int(colour[4:6], 16)


@lru_cache(maxsize=64)
def table(name: str) -> NDArray[np.uint8]:
    """(256, 3) red, green, blue of the palette `name`; raises `KeyError` for an unknown one (see `NAMES`)."""
    name = _ALIASES.get(name, name)
    if name in _ANCHORS:
        anchors = np.array([_bytes(c) for c in _ANCHORS[name].split()], float)
        at = np.rint(np.linspace(0, 255, len(anchors)))
        columns = [np.interp(np.arange(256), at, anchors[:, band]) for band in range(3)]
        return np.asarray(np.rint(np.stack(columns, axis=1)), dtype=np.uint8)
    return np.ascontiguousarray(np.load(_TABLES[name])[:, :3])


@lru_cache(maxsize=64)
def continuous_colours(palette: str) -> NDArray[np.uint8]:
    """(256, 4) RGBA: transparent, then the palette in `COLOURS` equal steps of the display range."""
    out = np.zeros((COLOURS + 1, 4), np.uint8)
    out[1:, :3] = table(palette)[np.rint(np.linspace(0, 255, COLOURS)).astype(int)]
    out[1:, 3] = 255
    return out


def class_colour(value: int) -> str:
    """A distinct `#rrggbb` for a class without a colour of its own: hues a golden angle apart, two tones."""
    hue = (value * 0.61803398875) % 1.0
    red, green, blue = colorsys.hls_to_rgb(hue, 0.45 if value % 2 else 0.62, 0.5)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def valid_colour(colour: str, value: int) -> str:
    """`colour` if it reads `#rrggbb`, else the distinct colour of `value`."""
    return colour.lower() if COLOUR.fullmatch(colour) else class_colour(value)


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green, blue (0-255) of `#rrggbb`."""
    return _bytes(colour.lstrip("#"))


def hexadecimal(colour: NDArray[np.uint8]) -> str:
    """`#rrggbb` of three bytes."""
    return "#" + "".join(f"{int(v):02x}" for v in colour[:3])
