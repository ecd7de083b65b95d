"""How a continuous layer is shown where nobody says otherwise: its palette and the range of values that it spans.

The map page, QGIS and printed legends agree because they all ask here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.layers.layer import PROBABILITY_STEPS, Layer

SAMPLE_CHUNKS: Final = 9  # of the coarsest level, from which a range is found

# Colours at equal steps; between them both QGIS and we go in straight lines. viridis, cividis, magma, inferno, plasma
# (Smith, van der Walt, Nunez, Firing 2015, CC0; doi 10.1371/journal.pone.0199239) and twilight (Bechtold 2018, CC0) stay
# within 7 of 255 of the full tables; batlow and vik are Crameri's (Scientific colour maps 8, doi 10.5281/zenodo.1243862, MIT).
ANCHORS: Final = {
    "viridis": "440154 471163 482071 462d7c 433b83 3e4888 39558b 33608d 2e6b8e 2a768e 26808e 228a8d 1f958b 1e9f88 23a982"
    " 2fb37b 40bd72 55c666 70ce56 8bd546 a7db33 c5df21 e1e318 fde724",
    "cividis": "00224d 002a60 003170 1c386e 2c406d 39486c 46506b 50586c 5a5f6d 64676f 6e6f72 777776 817f78 8b8778 968f77"
    " a19874 aca171 b7aa6d c4b468 cfbd61 dbc759 e8d14e f4db40 fde737",
    "magma": "000003 050417 100c2f 1e1049 2f1062 420f74 55137d 661a80 772181 892881 9a2d7f ac337b be3976 d0416f e04b66"
    " ed595f f56c5b fa805e fd9768 feac75 fec085 fdd497 fce8aa fbfcbf",
    "inferno": "000003 050418 120a32 220b4c 350960 480b6a 5b116e 6d186e 7e1e6c 902468 a12b61 b23259 c23b4f d14643 de5337"
    " e9622a f2741c f8870d fb9d06 fbb116 f9c72f f4dc4f f1f079 fcfea4",
    "plasma": "0c0786 270592 3b039a 4e02a1 5f00a6 7000a8 8204a7 920fa2 a01b9b ae2791 ba3487 c5407d d04d73 d95969 e26660"
    " ea7356 f0814d f68f43 faa039 fdb030 fdc128 fbd324 f6e525 eff821",
    "twilight": "e1d8e2 cfd4d9 b0c4cd 92b3c6 789dc1 6887be 606db8 5e54ae 5c399d 552182 45135d 351040 361138 4c1342 691a4c"
    " 842550 9b384f ad4f50 bc6b59 c5866a cba185 d3baa9 dccecc e1d8e1",
    "gray": "000000 ffffff",
    "batlow": "011959 0c2f5d 114160 154f62 1e5d62 2f675c 447052 5b7745 747e38 8f862d ad8c2d ca923c e39754 f59f74 fdaa97"
    " fdb5b8 fcc0d8 faccfa",
    "vik": "001261 022a70 03417f 08598f 2575a1 5194b6 80b2ca b0cfde dee6e9 eedbd0 e4bea8 d7a081 cc855d c06b3a af4c18"
    " 8f2b06 731406 590008",
}
_ALIASES: Final = {"species": "viridis", "none": "viridis", "grey": "gray"}  # what a layer may ask for by meaning


def anchors(palette: str) -> tuple[str, ...]:
    """`#rrggbb` at equal steps from low to high of the palette of a layer; viridis for an unknown name."""
    return tuple(f"#{colour}" for colour in ANCHORS.get(_ALIASES.get(palette, palette), ANCHORS["viridis"]).split())


def nice_ceiling(value: float) -> float:
    """The smallest of 1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10 times a power of ten that is not below `value` (> 0)."""
    power = 10.0 ** math.floor(math.log10(value))
    for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8):
        if step * power >= value * (1 - 1e-6):
            return round(step * power, 12)
    return round(10 * power, 12)


def sample_chunks(shape: tuple[int, ...], chunk: tuple[int, ...]) -> list[tuple[int, int]]:
    """(row, column) of a few chunks of (rows, columns) each, spread over an array of `shape`; all where they are few."""
    down, across = (-(-n // size) for n, size in zip(shape[-2:], chunk[-2:], strict=True))
    chunk_numbers = sorted({int(i) for i in np.linspace(0, down * across - 1, min(SAMPLE_CHUNKS, down * across))})
    return [divmod(i, across) for i in chunk_numbers]


def display_range(values: NDArray[Any], product: str, palette: str) -> tuple[float, float]:
    """Round ends, in the units of `values` (no gaps among them), that hold their middle 96 %.

    Indicators that reach near zero start at zero; the two arms of vik meet there.
    """
    if values.size == 0:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, (2, 98)))
    if high <= low:
        high = low + (abs(low) or 1.0)
    if product == "indicators" and 0 <= low < high / 2:
        low, high = 0.0, nice_ceiling(high)
    else:
        step = nice_ceiling((high - low) / 20)
        low, high = round(float(np.floor(low / step)) * step, 9), round(float(np.ceil(high / step)) * step, 9)
    return (-max(abs(low), abs(high)), max(abs(low), abs(high))) if palette == "vik" else (low, high)


def species_range(ceiling: float) -> tuple[float, float]:
    """Of the probability of a species whose largest stored value is `ceiling`: from zero, so that rare ones are seen."""
    return 0.0, min(1.0, nice_ceiling(ceiling)) if ceiling > 0 else 1.0


def range_of(layer: Layer, product: str, sample: Callable[[], NDArray[Any]]) -> tuple[float, float]:
    """Low and high of the colours of a layer of `product` in units; `sample` gives values of it (no gaps) where they decide."""
    if product == "species":
        return species_range(layer.scale * PROBABILITY_STEPS)
    return (0.0, 1.0) if product == "habitats" else display_range(sample(), product, layer.palette)
