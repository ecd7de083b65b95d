"""What is to be made: the stages of a build with their layers, their groups, and what they will take in bytes and objects.

`build` executes the stages of a plan; `plan` and `problems` tell what they take. `plan` opens neither file nor network, except
for the header of a layer that is no preset: a product is known by its published row, a series of scenes by its orbit, the
layout of the cube by making its empty groups in memory. `problems` reads the headers of local files and the receipts of the
cube. Where a number is an assumption it is a named constant here that says where it comes from.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any, Final

import fsspec
import numpy as np
from rich.filesize import decimal

from cube.config import Config, Source
from cube.errors import ConfigError, CubeError
from cube.grid import FINE, Region
from cube.layers import Layer
from cube.layers.inputs import INPUTS, input_layer
from cube.pyramids.levels import make_levels
from cube.pyramids.pyramid import Pyramid
from cube.pyramids.squares import tree
from cube.sources import derivation
from cube.sources.coverage import MINIMUM
from cube.sources.raster_files import files_of, local_problems
from cube.sources.reader import Reader, inputs_of
from cube.sources.source_layer import derived_layers, published_row, source_layer
from cube.storage.leaves import TERMS, layer_attributes, set_attributes
from cube.storage.ledger import Ledger
from cube.storage.progress import LAYERS, MADE_FROM, input_stages
from cube.storage.store import CubeStore, create_cube, open_cube, resolution_of

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
COMPRESSION: Final[Mapping[str, float]] = {
    "sentinel2": 0.64,
    "sentinel2_count": 0.06,
    "landsat": 0.52,
    "surface": 0.04,
    "elevation": 0.74,
    "slope": 0.81,
    "northness": 0.86,
    "eastness": 0.87,
    "wetness": 0.86,
    "soil": 0.42,
    "landcover": 0.04,
    "igbp": 0.04,
    "corine_class": 0.04,
    "footprint": 0.25,
    "footprint_detail": 0.25,
    "climate": 0.53,
    "corine": 0.1,
}
PACKED_ELSE: Final = 1.0  # float32 as it is


@dataclass(frozen=True)
class StagePlan:
    """One stage: the layers that one source fills, and what they are made from."""

    source: Source | None  # None where nothing was asked for
    layers: tuple[Layer, ...]  # the first one names the stage
    inputs: str | None = None  # hash of what the values depend on; None while no file is opened

    @classmethod
    def of_reader(cls, reader: Reader) -> StagePlan:
        """That of a source whose files are open."""
        return cls(reader.source, reader.layers, inputs_of(reader))

    @classmethod
    def of_source(cls, config: Config, source: Source, where: str) -> StagePlan:
        """That of a source as far as its name tells; of a layer that is no preset the header of a file is read."""
        source_layers = tuple(map(input_layer, FILLS[source.layer])) if source.stac else (source_layer(config, source, where),)
        return cls(source, (*source_layers, *derived_layers(source, source_layers[0], f"{config.path}: {where}")))

    @property
    def name(self) -> str:
        """The first layer."""
        return self.layers[0].name

    @property
    def path(self) -> str:
        """The stage in the ledger."""
        return f"inputs/{self.name}"

    @property
    def min_coverage(self) -> float | None:
        """Share of the region that each band must have values in; None: any value at all."""
        return self.source.min_coverage if self.source is not None else None

    def pyramids(self) -> tuple[Pyramid, ...]:
        """One pyramid for each resolution among the layers."""
        by_resolution: dict[str, list[Layer]] = {}
        for layer in self.layers:
            by_resolution.setdefault(layer.resolution, []).append(layer)
        return tuple(Pyramid.of_inputs(resolution, layers) for resolution, layers in by_resolution.items())


def make_groups(cube: CubeStore, stages: Sequence[StagePlan]) -> None:
    """Make the groups and arrays of every layer and of its overviews; the values of arrays that are there are left as they are.

    Attributes become those of the layer, of its source and, on the first layer of a stage, what it is to be made from now,
    which `cube.storage.progress` reads: whatever another configuration or an older version left there goes.
    """
    groups: dict[str, list[Layer]] = {}
    for stage in stages:
        for layer in stage.layers:
            groups.setdefault(layer.group, []).append(layer)
    for path, layers in groups.items():
        cube.ensure_group(path, layers, resolution_of(layers[0]), consolidate=False)
    for stage in stages:
        for layer in stage.layers:
            attributes = layer_attributes(cube.region, layer, resolution_of(layer)) | _terms(stage.source, layer)
            attributes |= {MADE_FROM: None, LAYERS: None, MINIMUM: None}
            if layer is stage.layers[0]:
                # What `check` is to ask for later; of what is derived nothing is asked.
                attributes[MINIMUM] = stage.min_coverage
                if stage.inputs is not None:
                    attributes |= {MADE_FROM: stage.inputs, LAYERS: " ".join(layer.name for layer in stage.layers)}
            set_attributes(cube.array(layer.path), attributes)
    for path, layers in groups.items():
        cube.ensure_group(path, [], resolution_of(layers[0]))
        make_levels(cube, Pyramid.of_inputs(layers[0].resolution, layers))


def _terms(source: Source | None, layer: Layer) -> dict[str, str | None]:
    """What a source says of its licence and origin, None for what it does not say; references may be the layer's."""
    terms = {key: getattr(source, key, None) or None for key in TERMS}
    return terms | {"references": terms["references"] or layer.references or None}


@dataclass(frozen=True)
class Row:
    """One layer (of `units` with work to do), or the total; `objects` are files or keys of the store."""

    layer: str
    units: int
    bytes_in: float
    bytes_out: float
    objects: int


@dataclass(frozen=True)
class Plan:
    """What a run will take. Units wholly at sea, as far as a share of land says, have a receipt and a surface, no more."""

    title: str
    units: int
    sea_units: int
    rows: tuple[Row, ...]

    @property
    def total(self) -> Row:
        """The sums over the rows."""
        sums = {name: sum(getattr(row, name) for row in self.rows) for name in ("bytes_in", "bytes_out", "objects")}
        return Row("total", self.units, **sums)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "total": asdict(self.total)}

    def text(self) -> str:
        """As a table."""
        lines = [f"{self.title}: {self.units:,} units" + (f", {self.sea_units:,} of them at sea" if self.sea_units else "")]
        width = max(18, *(len(row.layer) + 2 for row in self.rows))
        lines.append(f"{'layer':{width}}{'units':>9}{'read':>11}{'written':>11}{'objects':>11}")
        for row in (*self.rows, self.total):
            sizes = f"{decimal(round(row.bytes_in)):>11}{decimal(round(row.bytes_out)):>11}{row.objects:>11,}"
            lines.append(f"{row.layer:{width}}{row.units:>9,}{sizes}")
        return "\n".join(lines)


def plan(config: Config, land: float = 1.0) -> Plan:
    """What building `config` takes, where a share `land` (0 to 1) of the units is not all sea.

    Raises `ConfigError` for a source whose names do not fit, as the build would. Counts every shard of a unit with land:
    a real build writes none for a layer that has no data anywhere in a unit.
    """
    if not 0 < land <= 1:
        raise ConfigError(f"{config.path}: the share of land is {land:g}; give a number above 0 and at most 1.")
    region = config.whole_region()
    units = len(list(region.units()))
    sea = units - max(1, round(units * land))
    stages = [StagePlan.of_source(config, source, f"sources[{i}]") for i, source in enumerate(config.sources)]
    if not any(source.layer == "surface" for source in config.sources):
        stages.append(StagePlan(None, (INPUTS["surface"],)))
    names = {layer.name for stage in stages for layer in stage.layers}

    def layer_of(path: str, document: Mapping[str, Any]) -> str | None:
        name = path.split("/")[-2]
        layer = name if name in names else name.removesuffix("_sum").removesuffix("_count")
        is_map = document.get("node_type") == "array" and document.get("dimension_names") != [name]
        return layer if is_map and layer in names else None

    layout = Layout.from_groups(region, lambda cube: make_groups(cube, stages), layer_of)
    rows = []
    for i, stage in enumerate(stages):
        worked_units = units if stage.name == "surface" else units - sea
        input_bytes = _bytes_read(config, stage.source, f"sources[{i}]", region)
        for layer in stage.layers:
            objects = layout.metadata(layer.name) + round(layout.shards(layer.name) * worked_units / units)
            output_bytes = layout.raw_bytes(layer.name) * COMPRESSION.get(layer.name, PACKED_ELSE)
            first = layer is stage.layers[0]
            receipts = units + layout.squares if first else 0
            share = worked_units / units
            rows.append(
                Row(layer.name, worked_units, input_bytes * share if first else 0.0, output_bytes * share, objects + receipts)
            )
    rows.append(Row("(groups, axes)", 0, 0.0, float(layout.other_bytes), layout.other_objects))
    return Plan(config.title, units, sea, tuple(rows))


def problems(config: Config) -> tuple[list[str], list[str]]:
    """(what is wrong with the files of a configuration, what a build finds missing or built already), sentences.

    Of files on this machine headers are read, of a cube receipts.
    """
    region = config.whole_region()
    wrong, notes = [], []
    for i, source in enumerate(config.sources):
        if source.raster is not None:
            of_source, absent = local_problems(config, source, f"sources[{i}].raster", region)
            wrong += of_source
            notes += absent
    return wrong, [*notes, *_built_notes(config, region)]


def _built_notes(config: Config, region: Region) -> Iterator[str]:
    """How many units of each stage the cube has, or why that cannot be told."""
    try:
        cube = open_cube(config.cube_url)
    except CubeError as error:
        yield f"All units are counted as to be built: {error}"
        return
    stages = {stage.path: stage for stage in input_stages(cube)}
    for path in (f"inputs/{source.layer}" for source in config.sources):
        if path in stages:
            ready = Ledger(cube, path, stages[path].inputs).index().fingerprints
            names = [unit.name for unit in region.units()]
            open_units = sum(name not in ready for name in names)
            yield (
                f"{path}: {len(names) - open_units:,} of {len(names):,} units are in the cube, {open_units:,} would be built (all"
                " of them if the source has changed)."
            )


def _bytes_read(config: Config, source: Source | None, where: str, region: Region) -> float:
    """Bytes that are read of a source for the whole region."""
    if source is None or (source.raster, source.stac, source.embedding) == (None, None, None):  # a coastline alone
        return 0.0
    area = float(math.prod(region.shape(FINE))) * FINE**2
    if source.stac is not None:
        return area / PIXEL[source.layer] ** 2 * scenes_of_a_place(source) * SCENE_BYTES[source.layer]
    if source.embedding is not None:
        return area / FINE**2 * len(source_layer(config, source, where).bands)
    layer = source_layer(config, source, where)
    try:
        row = published_row(source, layer)
        files = files_of(config, source, where, layer, row)
    except ConfigError as error:
        raise ConfigError(f"{config.path}: {where}: {error}.") from None
    bands = sum(len(source.band_numbers or file.bands) for file in files)
    # Of an unpublished raster nothing is known but what it fills: a pixel a cell, of the layer's own type.
    pixel = row.pixel if row else float(resolution_of(layer))
    size = row.bytes if row else float(np.dtype(layer.dtype).itemsize)
    halo = derivation.halo(layer, source.derive)
    side = region.unit_km * 1000 / resolution_of(layer)
    halo_factor = ((side + 2 * halo) / side) ** 2
    return area / pixel**2 * halo_factor * bands * size


def scenes_of_a_place(source: Source) -> float:
    """Scenes that a place is seen in, between the days and in the months of a search and below its cloud cover."""
    search = source.stac
    assert search is not None
    first, last = (date.fromisoformat(str(day)) for day in (search.start, search.end))
    days = sum((first + timedelta(n)).month in search.months for n in range((last - first).days + 1))
    return days / DAYS[source.layer] * OVERLAP * min(1.0, search.max_cloud_cover / 100)


class Layout:
    """The objects and arrays of an empty cube: made in memory, so that they are counted as they are written."""

    def __init__(self, squares: int, arrays: Mapping[str, list[dict[str, Any]]], other_sizes: list[int]) -> None:
        """See `of`."""
        self.squares = squares  # receipts of overviews, of one stage
        self._arrays = arrays  # by row: level 0, overviews, sums for the levels above
        self.other_objects, self.other_bytes = len(other_sizes), sum(other_sizes)

    @classmethod
    def from_groups(
        cls, region: Region, make: Callable[[CubeStore], None], row_of: Callable[[str, Mapping[str, Any]], str | None]
    ) -> Layout:
        """Make groups in memory and look at what is there; `row_of` says of an array (path, metadata) to which row it belongs."""
        url = f"memory://floracube-plan-{uuid.uuid4().hex}"
        store, root = fsspec.core.url_to_fs(url)
        try:
            make(create_cube(url, region, "plan"))
            arrays: dict[str, list[dict[str, Any]]] = {}
            other_sizes: list[int] = []
            for path in store.find(root):
                document = json.loads(store.cat_file(path)) if path.endswith("zarr.json") else {}
                row = row_of(path, document)
                if row is None:
                    other_sizes.append(store.size(path))
                else:
                    arrays.setdefault(row, []).append(document)
        finally:
            if store.exists(root):
                store.rm(root, recursive=True)
        return cls(len(tree(region, tuple(region.units()))), arrays, other_sizes)

    def metadata(self, row: str) -> int:
        """Documents that describe the arrays of a row."""
        return len(self._arrays[row])

    def shards(self, row: str) -> int:
        """Shards of a row, its overviews and sums, if all hold data."""
        return sum(
            math.prod(-(-n // side) for n, side in zip(a["shape"], a["chunk_grid"]["configuration"]["chunk_shape"], strict=True))
            for a in self._arrays[row]
        )

    def raw_bytes(self, row: str) -> float:
        """Bytes of a row, its overviews and sums, before they are packed."""
        return float(sum(math.prod(a["shape"]) * np.dtype(a["data_type"]).itemsize for a in self._arrays[row]))
