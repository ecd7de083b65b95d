"""Values of a source at points of a coarse grid over a region, as its files have them: what `inspect` shows of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import rasterio
import rasterio.errors
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT

from cube.grid import CELL, COARSE, Region
from cube.layers.inputs import INPUTS
from cube.sources import georeference
from cube.sources.coverage import percent
from cube.sources.embeddings import EmbeddingReader
from cube.sources.opening import open_raster, unreadable
from cube.sources.pixels import Account, numbers_of
from cube.sources.raster_grid import RasterGrid
from cube.sources.rasters import RasterReader

POINTS: Final = 200  # along the longer side of the region
VECTORS: Final = 12  # points of embeddings along it

Floats = NDArray[np.float32]


def _points(region: Region, most: int) -> RasterGrid:
    """Pixels of whole kilometres over the region, `most` of them along its longer side."""
    west, south, east, north = region.bounds
    step = max(COARSE, (max(east - west, north - south) // most + COARSE - 1) // COARSE * COARSE)
    rows, cols = -(-(north - south) // step), -(-(east - west) // step)
    return RasterGrid(rasterio.Affine(step, 0, west, 0, -step, north), (rows, cols), region.grid.code)


def values_at_points(reader: RasterReader, region: Region) -> tuple[Floats, RasterGrid, list[str]]:
    """((bands, rows, columns) values in the layer's units, the points, remarks on the files). Raises `SourceError`."""
    scale, offset = (numbers.astype(np.float32) for numbers in reader.units_of_numbers)
    target = _points(region, POINTS)
    parts, first = [], 0
    notes: dict[str, str] = {}
    for file, spec, _ in reader.specs():
        values_at = np.full((spec.layers, *target.shape), np.nan, np.float32)
        for path in file.paths(region.degrees):
            if path in reader.local_files or len(reader.local_files) == 0:
                with open_raster(path, reader.where) as dataset:
                    values = _at_points(dataset, reader, spec.bands, target)
                    notes = _remarks(dataset, reader, spec.bands, values) | notes
                values_at = np.where(np.isnan(values_at), values if len(values) == len(values_at) else values[:1], values_at)
        if spec.absent is not None:  # of a band without data where another has some, as a build reads it
            values_at = np.where(np.isnan(values_at) & ~np.isnan(values_at).all(axis=0), np.float32(spec.absent), values_at)
        bands = slice(first, first + len(values_at))
        first = bands.stop
        parts.append(values_at * scale[bands, None, None] + offset[bands, None, None])
    return np.concatenate(parts), target, list(notes.values())


def vectors_at_points(reader: EmbeddingReader, region: Region) -> tuple[Floats, RasterGrid]:
    """The same of embeddings, from one cell at each of a few points: their files are large."""
    target = _points(region, VECTORS)
    values = np.empty((len(reader.layer.bands), *target.shape), np.float32)
    step, _, west, _, _, north = target.transform[:6]
    for place in np.ndindex(target.shape):
        corner = rasterio.Affine(CELL, 0, west + (place[1] + 0.5) * step, 0, -CELL, north - (place[0] + 0.5) * step)
        values[:, *place] = reader.vectors(RasterGrid(corner, (1, 1), target.crs))[:, 0, 0]
    return values, target


def _at_points(dataset: DatasetReader, reader: RasterReader, bands: Sequence[int], target: RasterGrid) -> Floats:
    """(bands, rows, columns) numbers of a file at the nearest pixel, NaN where there is no data, refused ones as they are."""
    scales, offsets = ([every[band - 1] for band in bands] for every in (dataset.scales, dataset.offsets))
    # Outside of a file without a number for no data a virtual raster is 0: there an alpha band says so.
    opaque = dataset.nodata is None and ColorInterp.alpha not in dataset.colorinterp
    at_points = np.full((len(bands), *target.shape), np.nan, np.float32)
    for pixels in georeference.copies(dataset):
        points = WarpedVRT(
            dataset,
            src_crs=pixels.crs,
            src_transform=pixels.transform,
            crs=target.crs,
            transform=target.transform,
            height=target.shape[0],
            width=target.shape[1],
            resampling=Resampling.nearest,
            add_alpha=opaque,
        )
        with points:
            try:
                raw = points.read(list(bands), masked=True)
                if opaque:
                    raw = np.ma.masked_where(np.broadcast_to(points.read(points.count) == 0, raw.shape), raw)
            except rasterio.errors.RasterioError as error:
                raise unreadable(dataset, reader.where, error) from None
        values = numbers_of(raw, dataset.name, bands, reader.rules, scales, offsets, (), Account())[0]
        at_points = np.where(np.isnan(at_points), values, at_points)
    return at_points


def _remarks(dataset: DatasetReader, reader: RasterReader, bands: Sequence[int], values: Floats) -> dict[str, str]:
    """What a build reads without a word and may be meant otherwise: bytes of 255, and a class whose number means no data.

    Bytes of 255 are no data in many files, and a value in too many to refuse them.
    """
    out = {}
    share = float((values == 255).mean())
    undeclared = {(dataset.dtypes[n - 1], *dataset.mask_flag_enums[n - 1]) for n in bands} == {("uint8", MaskFlags.all_valid)}
    if share and undeclared and reader.rules.fills:
        out["255"] = (
            f"{percent(share)} of the points are 255, the largest number of its type, and none is declared as no data; if 255 is"
            " one, add `nodata: [255]`"
        )
    nodata = dataset.nodatavals[bands[0] - 1]
    hidden = [name for value, name, _ in reader.layer.flags if value == nodata]
    if hidden and reader.layer.name not in INPUTS:
        out["class"] = (
            f"it declares {nodata:g} as no data, so that no cell is of the class {hidden[0]}; if it is a class, write"
            f" {georeference.edit_command(dataset, '-unsetnodata' if dataset.driver == 'GTiff' else '-a_nodata none')}"
        )
    return out
