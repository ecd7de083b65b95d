"""Rasters of any CRS onto the grid: their no-data rules first, then means and majorities by area downwards, bilinear upwards.

What a pixel means is in `cube.sources.pixels`, where a raster lies in `cube.sources.georeference`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import rasterio
import rasterio.errors
import rasterio.windows
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from cube.errors import SourceError
from cube.layers.inputs import Range
from cube.sources import areas, georeference, opening, resample
from cube.sources.band_names import require_bands
from cube.sources.opening import open_raster
from cube.sources.pixels import AS_FILED, Account, Bools, Floats, PixelRules, numbers_of
from cube.sources.raster_grid import RasterGrid
from cube.sources.resample import Piece

BAND_BLOCK: Final = 21  # bounds the memory of 84 or 228 bands
BLOCK_PIXELS: Final = 2**21  # of a block and band, and this that of a unit of 80 km out of 10 m pixels: see `working_bytes`
BLOCK_VALUES: Final = 2**24  # of all its bands together; a cell counts as CELL_VALUES
CELL_VALUES: Final = 4  # a cell's sums in float64 take so many times as much as a pixel
VALUE_BYTES: Final = 16  # of a pixel and band: as filed with its mask, as a number, and what the rules copy
FINER: Final = 1.001  # pixels a cell: an equal grid is interpolated, which leaves it as it is
ONE_SIZE: Final = 1.5  # tiles whose pixels differ by less are of one raster, and join by one method without a seam
Method = Callable[[RasterGrid, Sequence[Piece]], Floats]
METHODS: Final[dict[str, Method]] = {
    "average": areas.mean,
    "bilinear": resample.bilinear,
    "mode": areas.majority,
    "nearest": resample.nearest,
}
MARGIN: Final = 2  # pixels around a window, for the neighbours of bilinear
SAMPLES, SAMPLE = 4, 256  # squares a side, pixels a side of each: what is looked at of a large raster before work starts


def check_raster(path: str, where: str, bands: int, region: RasterGrid, tile: bool = False) -> None:
    """Refuse, before any work, a raster with fewer than `bands` bands or, unless it is a
    `tile` of one, that lies outside of the region.
    """
    with open_raster(path, where, region) as dataset:
        if dataset.count < bands:
            raise SourceError(
                f"{path}: has {dataset.count} bands, {where} needs {bands}; give a file with all of them, or one for each label."
            )
        if not tile and not georeference.touches(dataset, region):
            raise SourceError(
                f"{path}: does not touch the region ({georeference.place(dataset, region)}); check {where}, the CRS of the"
                " file and the region's kilometres."
            )


def check_numbers(dataset: DatasetReader, where: str, bands: Sequence[int], raw: bool = False) -> None:
    """Refuse bands of complex numbers and, unless they stay unused (`raw`), a scale or offset that leaves no value."""
    for band in bands:
        if dataset.dtypes[band - 1].startswith("complex"):
            raise SourceError(f"{dataset.name}: band {band} holds complex numbers; write the real ones into a file ({where}).")
        scale, offset = dataset.scales[band - 1], dataset.offsets[band - 1]
        if not raw and (scale == 0 or not np.isfinite(scale) or not np.isfinite(offset)):
            raise SourceError(
                f"{dataset.name}: says that band {band} has the scale {scale:g} and the offset {offset:g}, which leave no value;"
                f" write the right ones, for example with {georeference.edit_command(dataset, '-scale 1 -offset 0')} ({where})."
            )


@dataclass(frozen=True)
class ResampleSpec:
    """Which bands of a raster become what, and how: `where` names the configuration's key that asks for it.

    `bands` count from 1, `classes` have a majority and no mean. `absent` stands for a band without data where another of
    the bands has some (a land cover class that does not occur). With `shares` the one band's classes become the share of
    each. `ranges` bound the numbers of each band (times the file's own scale); what lies outside of them becomes no data
    and is counted.
    """

    where: str
    bands: Sequence[int]
    classes: bool = False
    resampling: str = "auto"
    absent: float | None = None
    rules: PixelRules = AS_FILED
    shares: Sequence[int] | None = None
    ranges: Sequence[Range] = ()

    @property
    def layers(self) -> int:
        """How many bands come out."""
        return len(self.shares or self.bands)

    def parts(self) -> Iterator[ResampleSpec]:
        """The same for a few bands at a time; what fills one band from the others must see them together."""
        step = len(self.bands) if self.absent is not None else BAND_BLOCK
        for first in range(0, len(self.bands), step):
            part = slice(first, first + step)
            yield replace(self, bands=self.bands[part], ranges=self.ranges[part])

    def method(self, finer: bool) -> Method:
        """How pixels that are `finer` than the cells, or not, become cells."""
        if self.resampling != "auto":
            return METHODS[self.resampling]
        return METHODS[("mode" if finer else "nearest") if self.classes else ("average" if finer else "bilinear")]


def read_raster(path: str | Sequence[str], target: RasterGrid, spec: ResampleSpec, account: Account | None = None) -> Floats:
    """Bands of a raster, or of the tiles of one, on the cells of `target` (north-up).

    Returns (bands, rows, columns) float32 in the raster's own numbers times its band scale (unless `rules.raw`), NaN
    where it has none. A continuous source finer than the target is averaged over the area of its valid pixels, a
    coarser one is interpolated bilinearly; classes are taken by majority or nearest. Rules, ranges and `absent` come
    before everything; `account` gets what was refused. Longitudes may count from 0 to 360.
    """
    paths = [path] if isinstance(path, str) else list(path)
    account = Account() if account is None else account
    out = np.full((spec.layers, *target.shape), np.nan, np.float32)
    with ExitStack() as stack:
        datasets = [stack.enter_context(open_raster(p, spec.where)) for p in paths]
        for dataset in datasets:
            require_bands(dataset, spec.where, spec.bands)
        for top, left, block in _blocks(target, datasets, max(len(part.bands) for part in spec.parts())):
            values, is_refused = _block(datasets, block, spec, account)
            out[:, top : top + block.shape[0], left : left + block.shape[1]] = values
            if is_refused is not None:
                account.refuse(top, left, is_refused, target.shape)
    return out


def area_of_cell(dataset: DatasetReader, target: RasterGrid) -> float:
    """Pixels of a raster in the middle cell of a target."""
    down, across = georeference.grid_of(dataset).pixels_a_cell(target)
    return down * across


def _block_side(area: float, bands: int) -> int:
    """Cells along a block whose cells have an `area` in pixels."""
    return max(1, math.isqrt(int(min(BLOCK_PIXELS / max(area, 1.0), BLOCK_VALUES / (bands * (area + CELL_VALUES))))))


def working_bytes(target: RasterGrid, area: float, spec: ResampleSpec) -> int:
    """Memory that reading takes at most beside its result, where a cell of the target has an `area` in pixels."""
    bands = max(len(part.bands) for part in spec.parts())
    side = _block_side(area, bands)
    cells = min(side**2, target.pixels)
    pixels = (math.sqrt(cells * area) + 2 * MARGIN + 2) ** 2
    values = bands * (pixels + CELL_VALUES * cells) * VALUE_BYTES
    blocks = min(-(-target.shape[0] // side) * -(-target.shape[1] // side), areas.CACHED)
    classes = areas.SUM_BLOCK * 8 if spec.classes or spec.shares else 0
    return round(values + blocks * areas.overlap_bytes(cells, area) + classes)


def _blocks(target: RasterGrid, datasets: Sequence[DatasetReader], bands: int) -> Iterator[tuple[int, int, RasterGrid]]:
    """(first row, first column, block) over the target, none larger than memory is planned for."""
    side = _block_side(max(area_of_cell(dataset, target) for dataset in datasets), bands)
    for top in range(0, target.shape[0], side):
        for left in range(0, target.shape[1], side):
            shape = min(side, target.shape[0] - top), min(side, target.shape[1] - left)
            yield top, left, target.window(top, left, *shape)


def look_at(dataset: DatasetReader, region: RasterGrid, spec: ResampleSpec, account: Account) -> None:
    """Account for the pixels of a raster in a region, or for a sample of them where they are many."""
    for copy in georeference.copies(dataset):
        window = copy.inside(region, MARGIN)
        if window is None:
            continue
        for sample in _samples(window):
            for part in spec.parts():
                _numbers(dataset, sample, part, account)


def _samples(window: rasterio.windows.Window) -> Iterator[rasterio.windows.Window]:
    if window.width * window.height <= SAMPLE**2 * SAMPLES**2:
        yield window
        return
    for i in range(SAMPLES):
        for j in range(SAMPLES):
            top = window.row_off + round(i * max(0, window.height - SAMPLE) / (SAMPLES - 1))
            left = window.col_off + round(j * max(0, window.width - SAMPLE) / (SAMPLES - 1))
            yield rasterio.windows.Window(left, top, min(SAMPLE, window.width), min(SAMPLE, window.height))


def _block(
    datasets: Sequence[DatasetReader], target: RasterGrid, spec: ResampleSpec, account: Account
) -> tuple[Floats, Bools | None]:
    """Values of a block of the target, and which of them are missing because a pixel was refused (None: no pixel was)."""
    parts, missing, is_refused = [], [], False
    for part in spec.parts():
        pieces, part_refused = _pieces(datasets, target, part, account)
        if not pieces:
            return np.full((spec.layers, *target.shape), np.nan, np.float32), None
        parts.append(_resampled(target, pieces, part))
        missing.append(np.zeros(parts[-1].shape, np.bool_))
        if any(bad.any() for bad in part_refused):
            is_refused = True
            # What the cells would be if the refused pixels counted: where only then there is a value, it was refused.
            counts = [
                Piece(np.where(bad, np.float32(1), piece.values), piece.grid)
                for piece, bad in zip(pieces, part_refused, strict=True)
            ]
            missing[-1] = np.isnan(parts[-1]) & ~np.isnan(_resampled(target, counts, part))
    return np.concatenate(parts), np.concatenate(missing) if is_refused else None


def _resampled(target: RasterGrid, pieces: Sequence[Piece], spec: ResampleSpec) -> Floats:
    """Values of the target; of tiles with pixels of several sizes each by its own method, the finer ones first."""
    if spec.shares:
        return areas.shares(target, pieces, spec.shares)
    spans = [max(piece.grid.pixels_a_cell(target)) for piece in pieces]
    if max(spans) < ONE_SIZE * min(spans):
        spans = [spans[0]] * len(spans)
    out: Floats | None = None
    for finer in (True, False):
        alike = [piece for piece, span in zip(pieces, spans, strict=True) if (span > FINER) == finer]
        if alike:
            values = spec.method(finer)(target, alike)
            out = values if out is None else np.where(np.isnan(out), values, out)
    assert out is not None
    return out


def _pieces(
    datasets: Sequence[DatasetReader], target: RasterGrid, spec: ResampleSpec, account: Account
) -> tuple[list[Piece], list[Bools]]:
    """The pixels of each dataset around the target, by rules, and which of them were refused; none where there are none."""
    pieces, refused_pieces = [], []
    for dataset in datasets:
        for copy in georeference.copies(dataset):
            window = copy.inside(target, MARGIN)
            if window is None:
                continue
            numbers, bad = _numbers(dataset, window, spec, account)
            if spec.absent is not None:
                any_band = np.isfinite(numbers).any(axis=0)
                numbers = np.where(np.isnan(numbers) & any_band & ~bad, np.float32(spec.absent), numbers)
            pixels = copy.window(window.row_off, window.col_off, window.height, window.width)
            pieces.append(Piece(numbers, pixels))
            refused_pieces.append(bad)
    return pieces, refused_pieces


def _numbers(
    dataset: DatasetReader, window: rasterio.windows.Window, spec: ResampleSpec, account: Account
) -> tuple[Floats, Bools]:
    bands = list(spec.bands)
    check_numbers(dataset, spec.where, bands, spec.rules.raw)
    try:
        with rasterio.Env(**opening.GDAL):
            values = _masked(dataset, bands, window)
    except rasterio.errors.RasterioError as error:
        raise opening.unreadable(dataset, spec.where, error) from None
    scales, offsets = ([numbers[band - 1] for band in bands] for numbers in (dataset.scales, dataset.offsets))
    return numbers_of(values, dataset.name, bands, spec.rules, scales, offsets, spec.ranges, account)


def _masked(dataset: DatasetReader, bands: list[int], window: rasterio.windows.Window) -> np.ma.MaskedArray[Any, Any]:
    """Bands of a window; masked is what any of no-data value, mask and alpha band says, of which GDAL heeds one alone."""
    values = dataset.read(bands, window=window, masked=True)
    nodata_numbers = [dataset.nodatavals[band - 1] for band in bands]
    if all(number is None for number in nodata_numbers):
        return values
    missing = np.ma.getmaskarray(values)
    for n, number in enumerate(nodata_numbers):
        if number is not None:
            missing[n] |= values.data[n] == number
    if ColorInterp.alpha in dataset.colorinterp:
        missing |= dataset.read(dataset.colorinterp.index(ColorInterp.alpha) + 1, window=window) == 0
    return np.ma.masked_array(values.data, missing)
