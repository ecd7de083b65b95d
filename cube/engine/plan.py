"""What a build will take: units, bytes read, bytes written, objects and hours, by layer, from the configuration alone.

Nothing is opened, neither file nor network: a product is known by its published row, a series of scenes by its orbit, the
layout of the cube by making its empty groups in memory. Where a number is an assumption it is a named constant here that
says where it comes from.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any, Final, cast

import fsspec
import numpy as np

from cube.config import Config, Source
from cube.engine.build import make_groups
from cube.errors import ConfigError
from cube.grid import Region
from cube.inputs import INPUTS, input_layer
from cube.layers import Layer
from cube.pyramids.squares import tree
from cube.sources import terrain
from cube.sources.published import published
from cube.sources.rasters import files_of
from cube.sources.reader import Reader
from cube.storage.store import create_cube, resolution_of

# Scenes. Two Sentinel-2 satellites pass every 5 days (ESA mission guide), two Landsats for most of 2000-2020 every 8 days
# (USGS); overlaps of orbits and tiles show central Europe half as often again. As many scenes in each tenth of cloud cover.
DAYS: Final = {"sentinel2": 5.0, "landsat": 8.0}
OVERLAP: Final = 1.5
PIXEL: Final = {"sentinel2": 10.0, "landsat": 30.0}  # m
# Bytes a pixel of a scene: four bands of 1.9 (a 10 m band of 120 million pixels is some 230 MB), SCL of 0.2 at 20 m; six
# bands of 1.4 (85 MB of 60 million pixels) and QA_PIXEL.
SCENE_BYTES: Final = {"sentinel2": 4 * 1.9 + 0.2 / 4, "landsat": 6 * 1.4 + 0.1}
FILLS: Final = {"sentinel2": ("sentinel2", "sentinel2_count"), "landsat": ("landsat",)}

# Bytes as stored over bytes of the type: measured on the generated landscape of `floracube demo --size-km 10`, zstd level 3.
PACKED: Final[Mapping[str, float]] = {
    "sentinel2": 0.64, "sentinel2_count": 0.06, "landsat": 0.52, "surface": 0.04, "elevation": 0.74, "relief": 0.68,
    "slope": 0.81, "northness": 0.86, "eastness": 0.87, "aspect": 0.95, "wetness": 0.86, "soil": 0.42, "landcover": 0.04,
    "igbp": 0.04, "corine_class": 0.04, "footprint": 0.25, "footprint_detail": 0.25, "climate": 0.53, "corine": 0.1,
}  # fmt: skip
PACKED_ELSE: Final = 1.0  # float32 as it is

# A worker is one core. Rates of work were measured on one core of a 2-core machine with the same landscape: seven scenes of
# a unit of 10 km in 3.1 s, its 504 Landsat bands of 30 m in 7.0 s; and wetness of a unit of 40 km and its halo in 2.6 s.
SCENE_RATE: Final = {"sentinel2": 2e6, "landsat": 2e6}  # pixels of scenes a second
RASTER_RATE: Final = 2.5e6  # cells and bands a second
WETNESS_RATE: Final = 4e5  # cells a second, those of the halo included
OPENING: Final = 0.01  # s a file and unit, local or kept open; a first request to a bucket takes ten times as long
# Assumed: what one connection to object storage of the same region carries.
READ_RATE: Final = 40e6  # bytes a second and worker
WRITE_RATE: Final = 40e6


@dataclass(frozen=True)
class Row:
    """One layer (of `units` with work to do), or the total; `objects` are files or keys of the store, `hours` by the clock."""

    layer: str
    units: int
    bytes_in: float
    bytes_out: float
    objects: int
    hours: float


@dataclass(frozen=True)
class Plan:
    """What a build will take. Units wholly at sea, as far as a share of land says, have a receipt and a surface, no more."""

    title: str
    units: int
    sea_units: int
    workers: int
    rows: tuple[Row, ...]
    total: Row

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def text(self) -> str:
        """As a table."""
        lines = [f"{self.title}: {self.units:,} units" + (f", {self.sea_units:,} of them at sea" if self.sea_units else "")]
        lines.append(f"{'layer':18}{'units':>9}{'read':>11}{'written':>11}{'objects':>11}{'hours':>11}")
        for row in (*self.rows, self.total):
            lines.append(f"{row.layer:18}{row.units:>9,}{_size(row.bytes_in):>11}{_size(row.bytes_out):>11}{row.objects:>11,}"
                         f"{row.hours:>11,.2f}")  # fmt: skip
        lines.append(f"hours by the clock with {self.workers} worker{'s' if self.workers > 1 else ''} of one core each")
        return "\n".join(lines)


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1000
    raise AssertionError


@dataclass(frozen=True)
class _Planned:
    """A source as far as its name tells: the reader's place in making the groups."""

    source: Source | None
    layers: tuple[Layer, ...]


def _planned(source: Source) -> _Planned:
    names = FILLS[source.layer] if source.stac else (source.layer, *source.derive)
    return _Planned(source, tuple(input_layer(name) for name in names))


def plan(config: Config, workers: int = 1, land: float = 1.0) -> Plan:
    """What building `config` takes with `workers` processes, where a share `land` (0 to 1) of the units is not all sea.

    Raises `ConfigError` for a source whose names do not fit, as the build would. Counts every shard of a unit with land:
    a real build writes none for a layer that has no data anywhere in a unit.
    """
    if not 0 < land <= 1:
        raise ConfigError(f"{config.path}: the share of land is {land:g}; give a number above 0 and at most 1.")
    region = config.whole_region()
    units = len(list(region.units()))
    wet = units - max(1, round(units * land))
    planned = [_planned(source) for source in config.sources]
    if not any(source.layer == "surface" for source in config.sources):
        planned.append(_Planned(None, (INPUTS["surface"],)))
    layout = _Layout.of(region, planned)
    rows = []
    for i, one in enumerate(planned):
        everywhere = one.layers[0].name == "surface"
        share = 1.0 if everywhere else (units - wet) / units
        read, seconds = _reading(config, one.source, f"sources[{i}]", region)
        stage_objects = units + layout.squares
        for layer in one.layers:
            first = layer is one.layers[0]
            written = layout.bytes_of(layer) * share
            objects = layout.metadata(layer) + round(layout.shards(layer) * share) + (stage_objects if first else 0)
            work = ((seconds + read / READ_RATE) * share if first else 0) + written / WRITE_RATE
            rows.append(Row(layer.name, units if everywhere else units - wet, read * share if first else 0.0, written, objects,
                            work / 3600 / workers))  # fmt: skip
    rows.append(Row("(groups, axes)", 0, 0.0, float(layout.other_bytes), layout.other_objects, 0.0))
    sums = {name: sum(getattr(row, name) for row in rows) for name in ("bytes_in", "bytes_out", "objects", "hours")}
    return Plan(config.title, units, wet, workers, tuple(rows), Row("total", units, **sums))


def _reading(config: Config, source: Source | None, where: str, region: Region) -> tuple[float, float]:
    """(bytes, seconds of one core besides waiting) to read a source for the whole region."""
    if source is None:
        return 0.0, 0.0
    west, south, east, north = region.grown_bounds
    area = float((east - west) * (north - south))
    if source.stac is not None:
        pixels = area / PIXEL[source.layer] ** 2 * scenes_of_a_place(source)
        return pixels * SCENE_BYTES[source.layer], pixels / SCENE_RATE[source.layer]
    layer = input_layer(source.layer)
    if source.raster is None:  # a coastline alone
        return 0.0, area / resolution_of(layer) ** 2 / RASTER_RATE
    try:
        row = published(source.published, layer.name) if source.published else None
        files = files_of(config, source, layer, row)
    except ConfigError as error:
        raise ConfigError(f"{config.path}: {where}: {error}.") from None
    bands = sum(len(source.bands or file.bands) for file in files)
    # Of an unpublished raster nothing is known but what it fills: a pixel a cell, of the layer's own type.
    pixel = row.pixel if row else float(resolution_of(layer))
    size = row.bytes if row else float(np.dtype(layer.dtype).itemsize)
    halo = terrain.halo(source.derive) if source.derive else 0
    side = region.unit_km * 1000 / resolution_of(layer)
    widened = ((side + 2 * halo) / side) ** 2
    cells = area / resolution_of(layer) ** 2 * widened
    seconds = cells * bands / RASTER_RATE + len(files) * OPENING * len(list(region.units()))
    if "wetness" in source.derive:
        seconds += cells / WETNESS_RATE
    return area / pixel**2 * widened * bands * size, seconds


def scenes_of_a_place(source: Source) -> float:
    """Scenes that a place is seen in, between the days and in the months of a search and below its cloud cover."""
    search = source.stac
    assert search is not None
    first, last = (date.fromisoformat(str(day)) for day in (search.start, search.end))
    days = sum((first + timedelta(n)).month in search.months for n in range((last - first).days + 1))
    return days / DAYS[source.layer] * OVERLAP * min(1.0, search.max_cloud_cover / 100)


class _Layout:
    """The objects and arrays of an empty cube: made in memory, so that they are counted as they are written."""

    def __init__(self, squares: int, arrays: Mapping[str, list[dict[str, Any]]], other: list[int]) -> None:
        self.squares = squares  # receipts of overviews, of one stage
        self._arrays = arrays  # by layer: level 0, overviews, kept sums
        self.other_objects, self.other_bytes = len(other), sum(other)

    @classmethod
    def of(cls, region: Region, planned: Sequence[_Planned]) -> _Layout:
        """Make the cube's groups in memory and look at what is there."""
        url = f"memory://floracube-plan-{uuid.uuid4().hex}"
        try:
            make_groups(create_cube(url, region, "plan"), cast("Sequence[Reader]", planned))
            store, root = fsspec.core.url_to_fs(url)
            arrays: dict[str, list[dict[str, Any]]] = {}
            other: list[int] = []
            names = {layer.name for one in planned for layer in one.layers}
            for path in store.find(root):
                said = json.loads(store.cat_file(path)) if path.endswith("zarr.json") else {}
                name = path.split("/")[-2]
                layer = name if name in names else name.removesuffix("_sum").removesuffix("_count")
                if said.get("node_type") == "array" and layer in names and not _is_axis(said, name):
                    arrays.setdefault(layer, []).append(said)
                else:
                    other.append(store.size(path))
        finally:
            memory, root = fsspec.core.url_to_fs(url)
            if memory.exists(root):
                memory.rm(root, recursive=True)
        return cls(len(tree(region, tuple(region.units()))), arrays, other)

    def metadata(self, layer: Layer) -> int:
        """Documents that describe the arrays of a layer."""
        return len(self._arrays[layer.name])

    def shards(self, layer: Layer) -> int:
        """Shards of a layer, its overviews and kept sums, if all hold data."""
        return sum(
            math.prod(-(-n // side) for n, side in zip(a["shape"], a["chunk_grid"]["configuration"]["chunk_shape"], strict=True))
            for a in self._arrays[layer.name]
        )

    def bytes_of(self, layer: Layer) -> float:
        """Bytes of a layer, its overviews and kept sums, packed."""
        raw = sum(math.prod(a["shape"]) * np.dtype(a["data_type"]).itemsize for a in self._arrays[layer.name])
        return raw * PACKED.get(layer.name, PACKED_ELSE)


def _is_axis(said: Mapping[str, Any], name: str) -> bool:
    return said.get("dimension_names") == [name]
