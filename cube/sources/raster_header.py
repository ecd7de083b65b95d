"""What the files of a source say of themselves: names, types, units, scale and no data of the bands that are read.

Only headers are read here, and of a raster of classes that nobody has named some numbers. What a layer is made of them is in
`cube.sources.source_layer`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from rasterio.io import DatasetReader

from cube.config import Config, Source
from cube.errors import SourceError
from cube.layers import Layer
from cube.sources.band_names import find_bands, name_of_band, refuse_alpha, require_bands, value_bands
from cube.sources.class_names import names_in_file
from cube.sources.georeference import crs_of
from cube.sources.opening import open_raster, raster_exists
from cube.sources.raster_grid import RasterGrid
from cube.sources.templates import SeriesFiles

METRES_A_DEGREE: Final = 111_320.0
LOOKED_AT: Final = 300  # pixels along a side, of a raster whose class numbers are listed
NUMBERS: Final = 12  # class numbers that a sentence lists


def read_header(config: Config, source: Source, where: str, series: SeriesFiles | None) -> RasterHeader:
    """That of the first file that is there; of files for each band the units of each, and one type only if all have it.

    `where` is the place of the source in the configuration. Raises `SourceError` for a file that cannot be read.
    """
    raster = source.raster
    assert raster is not None
    if series is not None:
        return _of_each([_of_paths(config, source, where, [path]) for path in series.first_of_bands])
    if isinstance(raster, dict):
        return _of_each([_of_paths(config, source, where, [path]) for path in raster.values()])
    return _of_paths(config, source, where, [raster] if isinstance(raster, str) else list(raster))


def _of_each(headers: list[RasterHeader]) -> RasterHeader:
    """The header of the first of files that hold a band each, with the units of all."""
    first = headers[0]
    if len(headers) == 1:
        return first
    number_forms = {(header.dtype, header.scale, header.offset, header.nodata) for header in headers}
    units = tuple(header.units[0] for header in headers)
    return replace(first, units=units, dtype=first.dtype if len(number_forms) == 1 else "float64")


def _of_paths(config: Config, source: Source, where: str, file_paths: list[str]) -> RasterHeader:
    """The header of the first of `file_paths` paths that is there."""
    paths = [config.source_path(path) for path in file_paths]
    path = next((path for path in paths if raster_exists(path, f"{where}.raster")), None)
    if path is None:
        raise SourceError(f"{paths[0]}: there is no such file; check {where}.raster.")
    with open_raster(path, f"{where}.raster", RasterGrid.of_place(config.whole_region())) as dataset:
        return RasterHeader.read(dataset, source, f"{where}.raster")


@dataclass(frozen=True)
class RasterHeader:
    """What a file says of the bands that are read: their names (empty: none), types, scale, offset, no data and units."""

    names: tuple[str, ...]
    dtype: str
    scale: float
    offset: float
    nodata: float | None
    units: tuple[str, ...]
    colours: Mapping[int, str]  # #rrggbb by class number
    pixel: float  # metres
    numbers: tuple[int, ...] = ()  # some of a raster of classes that nobody has named
    classes: Mapping[int, tuple[str, str]] = field(default_factory=dict)  # (name, colour) by number, of a file that names them

    @classmethod
    def read(cls, dataset: DatasetReader, source: Source, where: str) -> RasterHeader:
        """The header of the bands that a source reads, in its order; `where` is its key. Raises `SourceError`."""
        band_numbers = _band_numbers(dataset, source, where)
        refuse_alpha(dataset, where, band_numbers)
        first = (band_numbers or [1])[0]
        same = len({(dataset.scales[b - 1], dataset.offsets[b - 1], dataset.dtypes[b - 1]) for b in band_numbers}) == 1
        try:
            table = dataset.colormap(first)
        except ValueError:
            table = {}
        return cls(
            tuple(name_of_band(dataset, band) for band in band_numbers),
            dataset.dtypes[first - 1] if same else "float64",
            float(dataset.scales[first - 1]),
            float(dataset.offsets[first - 1]),
            dataset.nodatavals[first - 1],
            tuple(dataset.units[band - 1] or "" for band in band_numbers),
            {value: f"#{r:02x}{g:02x}{b:02x}" for value, (r, g, b, _) in table.items()},
            pixel_metres(dataset),
            _numbers_of(dataset, first) if source.kind == "class" and source.names is None else (),
            _classes_of(dataset, first, source),
        )


def pixel_metres(dataset: DatasetReader) -> float:
    """Side of a pixel of a raster that has a CRS, in metres."""
    crs = crs_of(dataset)
    metres = METRES_A_DEGREE if crs.is_geographic else crs.linear_units_factor[1]
    return float(abs(dataset.transform.determinant) ** 0.5 * metres)


def _classes_of(dataset: DatasetReader, band: int, source: Source) -> dict[int, tuple[str, str]]:
    """The classes that a file of whole numbers names, where the configuration neither names nor renumbers them."""
    if source.names is not None or source.classes or source.kind not in (None, "class"):
        return {}
    if not np.issubdtype(np.dtype(dataset.dtypes[band - 1]), np.integer):
        return {}
    nodata = dataset.nodatavals[band - 1]
    return {value: row for value, row in names_in_file(dataset, band).items() if value != nodata}


def _numbers_of(dataset: DatasetReader, band: int) -> tuple[int, ...]:
    """The numbers of a band at points of a coarse grid, in order, the first `NUMBERS` of them."""
    shape = tuple(min(length, LOOKED_AT) for length in dataset.shape)
    values = dataset.read(band, out_shape=shape, masked=True).compressed()
    return tuple(int(value) for value in np.unique(values[np.isfinite(values)])[:NUMBERS])


def _band_numbers(dataset: DatasetReader, source: Source, where: str) -> list[int]:
    """The bands (from 1) that a source reads: by number, by name, or all.

    Raises `SourceError` for a band that is not there.
    """
    if source.band_numbers is not None:
        require_bands(dataset, where, source.band_numbers)
        return list(source.band_numbers)
    names = source.band_names
    if source.period or source.kind == "series":
        return list(dataset.indexes)
    bands = value_bands(dataset)
    nameless = not any(name_of_band(dataset, band) for band in bands)
    if names is None or source.has_file_by_band or (nameless and len(names) == len(bands)):
        return bands
    # By the rule that finds them when they are read: titles and units must be of the same bands as the values.
    axis = f"{source.layer}_band"
    return list(find_bands(dataset, where, Layer(source.layer, "", "float32", math.nan, "", "", (axis,), {axis: names}), names))
