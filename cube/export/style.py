"""The style that an exported layer gets: the colours and the range that the map page shows it in, whatever window is cut."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cube.errors import CubeError
from cube.export import qgis
from cube.export.selection import Selection, select
from cube.grid import Window
from cube.layers import display
from cube.storage.store import CubeStore

COLOURS = ("red", "green", "blue")


def style_of(cube: CubeStore, selection: Selection, layer_id: str) -> bytes | None:
    """The QGIS style of a file with the bands of `selection`; None for classes without a legend, which have no colours."""
    if selection.classes:
        return qgis.classes(selection.classes)
    if selection.layer.kind == "class":
        return None
    if set(COLOURS) <= set(selection.bands):
        positions = [selection.bands.index(colour) for colour in COLOURS]
        low, high = _range(cube, selection, layer_id, positions)
        return qgis.picture([band + 1 for band in positions], (low, high))
    return qgis.continuous(selection.layer.palette, _range(cube, selection, layer_id, [0]), selection.units[0])


def put_style(style: bytes | None, out: Path) -> str | None:
    """Lay `style` beside the GeoTIFF `out` and say where; a style that is not ours stays, one of ours goes with its layer."""
    place = out.with_suffix(".qml")
    if place.exists() and not place.read_bytes().startswith(qgis.MARK):
        return str(place)
    if style is None:
        place.unlink(missing_ok=True)
        return None
    place.write_bytes(style)
    return str(place)


def _range(cube: CubeStore, selection: Selection, layer_id: str, bands: list[int]) -> tuple[float, float]:
    """Low and high of the display in units, as `server.reading.snapshot` finds them: from a sample of the coarsest level."""
    product = layer_id.partition(".")[0]
    if product == "indicators" and layer_id.count(".") > 1:
        layer_id = layer_id.rpartition(".")[0]  # a bound is drawn in the range of the estimate

    def sample() -> NDArray[np.float64]:
        coarsest = _coarsest(cube, {} if selection.version is None else {product: selection.version}, layer_id)
        return np.concatenate([_values(coarsest, band) for band in bands])

    return display.range_of(selection.layer, product, sample)


def _coarsest(cube: CubeStore, versions: Mapping[str, str], layer_id: str) -> Selection:
    for level in range(cube.region.levels(), 0, -1):
        try:
            return select(cube, versions, layer_id, level)
        except CubeError:
            continue
    return select(cube, versions, layer_id)


def _values(selection: Selection, band: int) -> NDArray[np.float64]:
    """A sample, in units and without gaps, of one band."""
    band_selection = selection.band(band)
    height, width = band_selection.array.chunks[-2:]
    rows, cols = band_selection.array.shape[-2:]
    windows = [
        Window(r * height, c * width, min(height, rows - r * height), min(width, cols - c * width))
        for r, c in display.sample_chunks(band_selection.array.shape, band_selection.array.chunks)
    ]
    stored_values = np.concatenate([band_selection.read(window).ravel() for window in windows])
    valid = stored_values[(stored_values != band_selection.array.fill_value) & np.isfinite(stored_values.astype(np.float64))]
    return np.asarray(valid.astype(np.float64) * band_selection.layer.scale + band_selection.layer.offset)
