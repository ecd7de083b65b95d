"""What is understood of the sources and tables of a configuration, before any work; nothing is written.

Values are read at points of a coarse grid over the region, as the file has them, so that a continent takes seconds; shares are
shares of these points. What a build would refuse stands in the row of its source, and the other rows are shown all the same.
How the answer is written for a person is in `cube.engine.inspect_text` and `cube.engine.inspect_page`.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray

from cube.config import Config, Source
from cube.engine.inspect_points import values_at_points, vectors_at_points
from cube.errors import ConfigError, FloracubeError
from cube.grid import Region
from cube.layers import Layer
from cube.layers.display import anchors
from cube.layers.inputs import BELIEVED, plausible_ranges
from cube.records.names import species_report
from cube.records.presence_only import RecordStream
from cube.records.report import Report
from cube.records.surveys import read_surveys, species_list
from cube.records.traits import read_traits
from cube.sources import georeference
from cube.sources.embeddings import EmbeddingReader
from cube.sources.open import open_source, refuse_shared_names
from cube.sources.raster_grid import RasterGrid
from cube.sources.raster_header import pixel_metres
from cube.sources.rasters import RasterReader
from cube.sources.stac import Scene, SceneReader
from cube.sources.surface import SurfaceReader

METRIC: Final = ("metre", "meter", "m", "degree", "unknown")  # units of a CRS that need no word
EASTERNMOST: Final = 181.0  # degrees; a pixel may reach over the date line
BINS: Final = 24  # of a histogram

Floats = NDArray[np.float32]
Places = dict[str, NDArray[np.float64]]  # (points, 2) metres east and north, by the table they are of


@dataclass(frozen=True)
class BandRow:
    """One band of a layer: what its values span at the points, what they could, and the share of points that have one.

    `histogram` counts the points in equal steps from `low` to `high`.
    """

    name: str
    units: str
    low: float | None
    high: float | None
    plausible: tuple[float, float] | None
    covered: float
    histogram: tuple[int, ...] = ()

    @property
    def implausible(self) -> bool:
        """Whether a value lies beyond the plausible range."""
        if self.low is None or self.high is None or self.plausible is None:
            return False
        return self.low < self.plausible[0] or self.high > self.plausible[1]


@dataclass
class SourceRow:
    """What is understood of one source; `problem` is why a build would refuse it, empty where it would not."""

    source: str
    layer: str
    file: str = ""
    files: int = 0
    crs: str = ""
    pixel_m: float | None = None
    kind: str = ""
    resolution: str = ""
    bands: list[BandRow] = field(default_factory=list)
    derived: list[str] = field(default_factory=list)
    covered: float | None = None
    scenes: str = ""  # how many the catalogue has for the region, and of which days; their pixels are not read
    units: int = 0  # of the region, with a point
    units_without_data: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # of the file's form, which is read all the same
    problem: str = ""
    picture: Floats | None = None  # (rows, columns) of the first band at the points, for a thumbnail
    palette: tuple[str, ...] | dict[int, str] = ()  # colours from low to high, or by class


@dataclass(frozen=True)
class Understood:
    """The rows of all sources, and the reports of the tables; a table that cannot be read is one of `problems`."""

    title: str
    region: Region
    sources: list[SourceRow]
    tables: list[Report]
    problems: list[str]
    places: Places

    def document(self) -> dict[str, Any]:
        """As JSON, without pictures and places."""
        page_only = ("picture", "palette")
        return {
            "title": self.title,
            "sources": [{key: value for key, value in asdict(row).items() if key not in page_only} for row in self.sources],
            "tables": [report.document() for report in self.tables],
            "problems": self.problems,
        }


def inspect_config(config: Config) -> Understood:
    """Open every source and table of a configuration. Raises nothing for what it finds wrong: that is its answer."""
    region = config.whole_region()
    layers: list[Layer] = []
    rows = [_row(config, source, f"sources[{i}]", region, layers) for i, source in enumerate(config.sources)]
    names = [layer.name for layer in layers]
    for row in rows:
        if names.count(row.layer) > 1 and not row.problem:
            row.problem = f"{config.path}: sources: the layer {row.layer} is given twice; keep one."
    problems = [row.problem for row in rows if row.problem]
    try:
        refuse_shared_names(config, layers)
    except ConfigError as error:
        problems.append(str(error))
    reports, places, counts = list[Report](), Places(), Counter[str]()
    for describe in (_surveys, _records):
        try:
            reports += describe(config, region, places, counts)
        except FloracubeError as error:
            problems.append(str(error))
    if counts:
        reports.append(species_report(counts, config.species.min_records))
    return Understood(config.title, region, rows, reports, problems, places)


def _surveys(config: Config, region: Region, places: Places, counts: Counter[str]) -> list[Report]:
    if config.surveys is None:
        return []
    table = read_surveys(config, config.surveys, config.species.table, region, "surveys", "surveys")
    names = species_list(table.occurrences, config.species.min_records)
    places["surveys"] = table.surveys[["x", "y"]].to_numpy(np.float64)
    counts.update({str(name): int(count) for name, count in table.occurrences.groupby("name")["survey"].nunique().items()})
    return [table.report, read_traits(config, config.species.traits, names)[1]]


def _records(config: Config, region: Region, places: Places, counts: Counter[str]) -> list[Report]:
    if config.records is None:
        return []
    stream = RecordStream(config, config.records, region)
    survey_species, places_of_rows = set(counts), list[NDArray[np.float64]]()
    for rows in stream:
        counts.update(map(str, rows["name"]))
        places_of_rows.append(rows[["x", "y"]].to_numpy(np.float64))
    places["records"] = np.concatenate(places_of_rows) if places_of_rows else np.empty((0, 2))
    if survey_species:
        stream.report.note("species of records that no survey has", sorted(map(str, set(counts) - survey_species)))
    return [stream.report]


def _row(config: Config, source: Source, where: str, region: Region, layers: list[Layer]) -> SourceRow:
    """The row of one source; the layers that it fills are added to `layers`."""
    row = SourceRow(where, source.layer)
    try:
        reader: Any = open_source(config, source, where, region)
        source_layers: Sequence[Layer] = reader.layers
        layers += source_layers
        row.derived = [layer.name for layer in source_layers[1:]]
        if isinstance(reader, SurfaceReader):
            reader = reader.inner
        if isinstance(reader, RasterReader):
            row.file = reader.local_files[0] if reader.local_files else str(reader.files[0].path)
            row.files = max(len(reader.local_files), 1)
            _describe(row, row.file)
            values, target, notes = values_at_points(reader, region)
            row.notes += notes
            _fill(row, reader.layer, values, target, region)
        elif isinstance(reader, EmbeddingReader):
            row.file = config.source_path(str(source.path))
            _fill(row, reader.layer, *vectors_at_points(reader, region), region)
        elif isinstance(reader, SceneReader):
            row.file = reader.catalogue.url
            _fill_scenes(row, reader.catalogue.scenes, source_layers[0], region)
    except FloracubeError as error:
        row.problem = str(error)
        if isinstance(source.raster, str) and not row.crs:
            row.file = config.source_path(source.raster)
            _describe(row, row.file)
    return row


def _describe(row: SourceRow, path: str) -> None:
    """CRS, pixel and form of a file, as far as it can be opened at all."""
    try:
        with warnings.catch_warnings(), rasterio.open(path) as dataset:
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            crs = georeference.crs_of(dataset)
            row.crs = str(crs or "no CRS")
            if crs is None:
                return
            unit = crs.units_factor[0] if crs.is_geographic else crs.linear_units
            row.crs += "" if unit in METRIC else f" in {unit}"
            row.pixel_m = pixel_metres(dataset)
            if dataset.transform.e > 0:
                row.notes.append("its rows run from south to north, and are read so")
            if crs.is_geographic and georeference.extent(dataset)[2] > EASTERNMOST:
                row.notes.append("its longitudes count beyond 180 degrees east, and are read so")
    except (rasterio.errors.RasterioError, OSError):
        return


def _fill(row: SourceRow, layer: Layer, values: Floats, target: RasterGrid, region: Region) -> None:
    """Bands, coverage and picture of the `values` (bands, rows, columns) at points."""
    row.kind, row.resolution = ("series" if layer.period else layer.kind), layer.resolution
    valid = np.isfinite(values)
    row.covered = float(valid.mean())
    row.bands = list(_bands(layer, values, valid))
    row.picture, row.palette = values[0], {v: colour for v, _, colour in layer.flags} or anchors(layer.palette)
    step, _, west, _, _, north = target.transform[:6]
    x, y = west + (np.arange(target.shape[1]) + 0.5) * step, north - (np.arange(target.shape[0]) + 0.5) * step
    for unit in region.units():
        left, bottom, right, top = unit.bounds
        across, down = (x >= left) & (x < right), (y >= bottom) & (y < top)
        row.units += bool(across.any() and down.any())
        if across.any() and down.any() and not valid[:, down][..., across].any():
            row.units_without_data.append(unit.name)


def _fill_scenes(row: SourceRow, scenes: Sequence[Scene] | None, layer: Layer, region: Region) -> None:
    """Scenes of a catalogue by unit; an API (no scenes) would be asked once for each unit, which is left to the build."""
    row.kind, row.resolution = ("series" if layer.period else layer.kind), layer.resolution
    if scenes is None:
        row.scenes = "scenes of an API, searched unit by unit while building"
        return
    days = sorted(scene.moment.date() for scene in scenes)
    row.scenes = f"{len(scenes)} scene{'s' if len(scenes) > 1 else ''}, {days[0]} to {days[-1]}"
    row.units_without_data = [u.name for u in region.units() if not any(scene.touches(u.bounds) for scene in scenes)]
    row.units = sum(1 for _ in region.units())


def _bands(layer: Layer, values: Floats, valid: NDArray[np.bool_]) -> Iterator[BandRow]:
    """One row for each label of the first axis, all steps of a series together."""
    labels = layer.labels[layer.dims[0]] if layer.dims else (layer.name,)
    ranges = plausible_ranges(layer)
    each = len(values) // len(labels) or 1
    for i, label in enumerate(labels):
        band = slice(i * each, (i + 1) * each)
        present = values[band][valid[band]]
        units = layer.band(label).units if layer.dims else layer.units
        plausible = ranges[i] if np.isfinite(ranges[i]).all() and not layer.flags and ranges[i] != BELIEVED else None
        covered = float(valid[band].mean()) if valid[band].size else 0.0
        if not len(present):
            yield BandRow(label, units, None, None, plausible, covered)
            continue
        low, high = float(present.min()), float(present.max())
        steps = np.histogram(present, BINS, (low, high) if low < high else (low - 0.5, low + 0.5))[0]
        yield BandRow(label, units, low, high, plausible, covered, tuple(steps.tolist()))
