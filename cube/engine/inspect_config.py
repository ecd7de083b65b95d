"""What was understood of the sources and tables of a configuration, before any work; nothing is written.

Values are read at points of a coarse grid over the region, as the file has them, so that a continent takes seconds; shares are
shares of these points. What a build would refuse stands in the row of its source, and the other rows are told all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT

from cube.config import Config, Source
from cube.errors import ConfigError, FloracubeError
from cube.grid import COARSE, Region
from cube.layers import Layer
from cube.layers.plausible import plausible_ranges
from cube.records.presence_only import RecordStream
from cube.records.report import Report
from cube.records.surveys import read_surveys, species_list
from cube.records.traits import read_traits
from cube.sources.coverage import percent
from cube.sources.open import open_source, refuse_shared_names
from cube.sources.opening import open_raster
from cube.sources.pixels import Account, numbers_of
from cube.sources.raster_grid import RasterGrid
from cube.sources.raster_header import METRES_A_DEGREE
from cube.sources.rasters import RasterReader
from cube.sources.surface import SurfaceReader

POINTS: Final = 200  # along the longer side of the region
NAMED: Final = 3  # units, or bands, that a line names

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class BandRow:
    """One band of a layer: what its values span at the points, what they could, and the share of points that have one."""

    name: str
    units: str
    low: float | None
    high: float | None
    plausible: tuple[float, float] | None
    covered: float


@dataclass
class SourceRow:
    """What was understood of one source; `problem` is why a build would refuse it, empty where it would not."""

    source: str
    layer: str
    file: str = ""
    files: int = 0
    crs: str = ""
    pixel_m: float | None = None
    kind: str = ""
    resolution: str = ""
    bands: list[BandRow] = field(default_factory=list)
    covered: float | None = None
    units_without_data: list[str] = field(default_factory=list)
    problem: str = ""

    def line(self) -> str:
        """One line for a person."""
        if not self.bands:
            return f"{self.layer:22} {self.file or self.source}  {self.crs}"
        low = [band.low for band in self.bands if band.low is not None]
        high = [band.high for band in self.bands if band.high is not None]
        units = ", ".join(dict.fromkeys(band.units for band in self.bands))
        span = f"{min(low):.6g} to {max(high):.6g} {units}" if low and high else "no value"
        pixel = f"{self.pixel_m:,.0f} m" if self.pixel_m else "?"
        more = f" (+{self.files - 1} files)" if self.files > 1 else ""
        covered = percent(self.covered) if self.covered is not None else "?"
        return (
            f"{self.layer:22} {self.resolution:>4} {self.kind}, {len(self.bands)} band(s), {span}, {covered} of the region;"
            f" {self.file}{more}, {self.crs}, pixels of {pixel}"
        )

    def remarks(self) -> Iterator[str]:
        """What a person should look at: bands without values or beyond their plausible range, units without data."""
        if self.problem:
            yield self.problem
        empty = [band.name for band in self.bands if band.low is None]
        if empty:
            yield f"{self.source}: no value anywhere in the region in {_some(empty)}; check the extent, the CRS and no data."
        for band in self.bands:
            if band.low is not None and band.high is not None and band.plausible is not None:
                low, high = band.plausible
                if band.low < low or band.high > high:
                    yield (
                        f"{self.source}: {band.name} spans {band.low:.6g} to {band.high:.6g}, and {low:.6g} to {high:.6g}"
                        f" {band.units} is plausible; check scale, offset, units and no data."
                    )
        if self.units_without_data and not empty:
            count = len(self.units_without_data)
            yield f"{self.source}: {count} units have no value at any point ({_some(self.units_without_data)})."


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


@dataclass(frozen=True)
class Understood:
    """The rows of all sources, and the reports of the tables; a table that cannot be read is one of `problems`."""

    title: str
    sources: list[SourceRow]
    tables: list[Report]
    problems: list[str]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        tables = [report.document() for report in self.tables]
        return {
            "title": self.title,
            "sources": [asdict(row) for row in self.sources],
            "tables": tables,
            "problems": self.problems,
        }

    def text(self) -> str:
        """As lines for a person."""
        lines = [self.title, *(row.line() for row in self.sources)]
        for report in self.tables:
            lines += report.lines()
        return "\n".join(lines)

    def notes(self) -> list[str]:
        """What should be looked at but refuses nothing."""
        return [remark for row in self.sources for remark in row.remarks() if remark != row.problem]


def inspect_config(config: Config) -> Understood:
    """Open every source and table of a configuration. Raises nothing for what it finds wrong: that is its answer."""
    region = config.whole_region()
    layers: list[Layer] = []
    rows = [_row(config, source, f"sources[{i}]", region, layers) for i, source in enumerate(config.sources)]
    names = [layer.name for layer in layers]
    for row in rows:
        if names.count(row.layer) > 1 and not row.problem:
            row.problem = f"{config.path}: sources: the layer {row.layer} is given twice; keep one."
    reports: list[Report] = []
    problems = [row.problem for row in rows if row.problem]
    try:
        refuse_shared_names(config, layers)
    except ConfigError as error:
        problems.append(str(error))
    for read in (_surveys, _records):
        try:
            reports += read(config, region)
        except FloracubeError as error:
            problems.append(str(error))
    return Understood(config.title, rows, reports, problems)


def _surveys(config: Config, region: Region) -> list[Report]:
    if config.surveys is None:
        return []
    table = read_surveys(config, config.surveys, config.species.table, region, "surveys", "surveys")
    names = species_list(table.occurrences, config.species.min_records)
    table.report.kept[f"species with {config.species.min_records} records or more"] = len(names)
    return [table.report, read_traits(config, config.species.traits, names)[1]]


def _records(config: Config, region: Region) -> list[Report]:
    if config.records is None:
        return []
    stream = RecordStream(config, config.records, region)
    for _ in stream:
        pass
    return [stream.report]


def _row(config: Config, source: Source, where: str, region: Region, layers: list[Layer]) -> SourceRow:
    """The row of one source; the layers that it fills are added to `layers`."""
    row = SourceRow(where, source.layer)
    try:
        reader: Any = open_source(config, source, where, region)
        layers += reader.layers
        if isinstance(reader, SurfaceReader):
            reader = reader.inner
        if isinstance(reader, RasterReader):
            row.file, row.files = reader.seen[0] if reader.seen else str(reader.files[0].path), max(len(reader.seen), 1)
            _describe(row, row.file)
            _values(row, reader, region)
        elif source.stac is not None:
            row.file = source.stac.catalog
    except FloracubeError as error:
        row.problem = str(error)
        if isinstance(source.raster, str) and not row.crs:
            row.file = config.source_path(source.raster)
            _describe(row, row.file)
    return row


def _describe(row: SourceRow, path: str) -> None:
    """CRS and pixel of a file, as far as it can be opened at all."""
    try:
        with rasterio.open(path) as dataset:
            row.crs = str(dataset.crs or "no CRS")
            metres = METRES_A_DEGREE if dataset.crs and dataset.crs.is_geographic else 1.0
            row.pixel_m = float(abs(dataset.transform.determinant) ** 0.5 * metres)
    except (rasterio.errors.RasterioError, OSError):
        return


def _values(row: SourceRow, reader: RasterReader, region: Region) -> None:
    """Fill in bands, ranges and coverage from the values at points over the region."""
    layer = reader.layer
    row.kind, row.resolution = ("series" if layer.period else layer.kind), layer.resolution
    west, south, east, north = region.bounds
    step = max(COARSE, (max(east - west, north - south) // POINTS + COARSE - 1) // COARSE * COARSE)
    rows, cols = -(-(north - south) // step), -(-(east - west) // step)
    scale, offset = (numbers.astype(np.float32) for numbers in reader.units_of_numbers)
    target = RasterGrid(rasterio.Affine(step, 0, west, 0, -step, north), (rows, cols), region.grid.code)
    parts, first = [], 0
    for file, spec, _ in reader.specs():
        found = np.full((spec.layers, rows, cols), np.nan, np.float32)
        for path in file.paths(region.degrees):
            if path in reader.seen or len(reader.seen) == 0:
                values = _at_points(path, reader, spec.bands, target)
                found = np.where(np.isnan(found), values if len(values) == len(found) else values[:1], found)
        bands = slice(first, first + len(found))
        first = bands.stop
        parts.append(found * scale[bands, None, None] + offset[bands, None, None])
    values = np.concatenate(parts)
    known = np.isfinite(values)
    row.covered = float(known.mean())
    row.bands = list(_bands(layer, values, known))
    x, y = west + (np.arange(cols) + 0.5) * step, north - (np.arange(rows) + 0.5) * step
    for unit in region.units():
        left, bottom, right, top = unit.bounds
        across, down = (x >= left) & (x < right), (y >= bottom) & (y < top)
        if across.any() and down.any() and not known[:, down][..., across].any():
            row.units_without_data.append(unit.name)


def _at_points(path: str, reader: RasterReader, bands: Sequence[int], target: RasterGrid) -> Floats:
    """(bands, rows, columns) numbers of a file at the nearest pixel, NaN where there is no data, refused ones as they are."""
    with open_raster(path, reader.where) as dataset:
        # Outside of a file without a number for no data a virtual raster is 0: there an alpha band says so.
        opaque = dataset.nodata is None and ColorInterp.alpha not in dataset.colorinterp
        points = WarpedVRT(dataset, crs=target.crs, transform=target.transform, height=target.shape[0], width=target.shape[1],
                           resampling=Resampling.nearest, add_alpha=opaque)  # fmt: skip
        with points:
            raw = points.read(list(bands), masked=True)
            if opaque:
                raw = np.ma.masked_where(np.broadcast_to(points.read(points.count) == 0, raw.shape), raw)
        scales, offsets = ([every[band - 1] for band in bands] for every in (dataset.scales, dataset.offsets))
        return numbers_of(raw, path, bands, reader.rules, scales, offsets, (), Account())[0]


def _bands(layer: Layer, values: Floats, known: NDArray[np.bool_]) -> Iterator[BandRow]:
    """One row for each label of the first axis, all steps of a series together."""
    labels = layer.labels[layer.dims[0]] if layer.dims else (layer.name,)
    ranges = plausible_ranges(layer)
    each = len(values) // len(labels) or 1
    for i, label in enumerate(labels):
        some = slice(i * each, (i + 1) * each)
        held = values[some][known[some]]
        units = layer.band(label).units if layer.dims else layer.units
        plausible = ranges[i] if np.isfinite(ranges[i]).all() and not layer.flags else None
        yield BandRow(
            label, units, float(held.min()) if len(held) else None, float(held.max()) if len(held) else None, plausible,
            float(known[some].mean()) if known[some].size else 0.0,
        )  # fmt: skip
