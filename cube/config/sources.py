"""What a configuration says of its sources: which layer, where its values come from, how they are read."""

from __future__ import annotations

import datetime
import difflib
import math
import re
from typing import Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from cube.config.strict import Strict
from cube.layers import Layer, derived_layers, inputs

STAC_LAYERS: Final = ("sentinel2", "landsat")
NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
TERMS: Final = ("license", "attribution", "references", "reference_years")
OF_EMBEDDINGS: Final = {"layer", "embedding", "path", "year", "resolution", "long_name", "valid_range", "min_coverage", *TERMS}
OF_SCENES: Final = {"layer", "stac", "derive", "min_coverage", *TERMS}
OF_OWN_LAYERS: Final = ("resolution", "kind", "units", "long_name", "names", "period", "valid_range")


class StacSearch(Strict):
    """Scenes of a STAC API, or of a catalogue: the path or URL of a catalog.json, a collection.json or an item collection."""

    catalog: str = Field(description="URL of a STAC API, or path or URL of a catalogue")
    collection: str | None = Field(None, description="left out: sentinel-2-l2a for sentinel2, landsat-c2-l2 for landsat")
    start: datetime.date = Field(description="first day, YYYY-MM-DD")
    end: datetime.date = Field(description="last day, YYYY-MM-DD")
    months: tuple[int, ...] = Field(tuple(range(1, 13)), description="months of every year that are read")
    assets: dict[str, str] = Field({}, description="band, or 'quality' for SCL or QA_PIXEL, to asset where its name is unusual")
    max_cloud_cover: float = Field(80.0, description="percent of the scene")
    offset: int | None = Field(
        None, description="added to the digital numbers of Sentinel-2 scenes that do not say it: 0 or 1000; left out: refuse them"
    )
    gaps: Literal["report", "accept"] = Field(
        "report", description="of a unit without a scene in one of the months: an error in the report, or no data"
    )

    @field_validator("months")
    @classmethod
    def _are_months(cls, months: tuple[int, ...]) -> tuple[int, ...]:
        if not months or any(month not in range(1, 13) for month in months):
            raise ValueError("months are numbers from 1 to 12, at least one")
        return months

    @model_validator(mode="after")
    def _in_order(self) -> StacSearch:
        if self.start > self.end:
            raise ValueError(f"start {self.start} lies after end {self.end}")
        return self


class Source(Strict):
    """One input layer and where its values come from."""

    layer: str = Field(description="a preset (docs/reference/layers.md), or any name: lower case letters, digits and '_'")
    published: str | None = Field(
        None, description="row of cube.sources.published_rasters: scale, no data, licence come from there"
    )
    raster: str | dict[str, str] | tuple[str, ...] | None = Field(
        None, description="a path, a template over labels or tiles, a folder (with published), a list of tiles, or label -> path"
    )
    bands: tuple[int, ...] | tuple[str, ...] | None = Field(
        None,
        description="which bands: their names, some of a preset's are enough; or their numbers in the file, in the layer's order,"
        " counted from 1; left out, all, and the names in the file decide",
    )
    resolution: Literal["10m", "50m", "1km"] | None = Field(
        None, description="of a layer that is no preset: what it is kept at; left out, by the pixel of the file"
    )
    kind: Literal["continuous", "class", "series"] | None = Field(
        None, description="of a layer that is no preset: measurements, classes, or a series of them"
    )
    units: str | dict[str, str] | None = Field(
        None, description="of a layer that is no preset, as UDUNITS spells them, `1` for none; or band -> units"
    )
    long_name: str | None = Field(None, description="of a layer that is no preset: its title")
    names: str | dict[int, str] | None = Field(
        None,
        description="of a class layer that is no preset: number -> name, or a table with the columns value, name, colour; unset:"
        " as the file's attribute table or category names say",
    )
    period: int | None = Field(None, ge=1, description="of a series that is no preset: how many steps make a year")
    valid_range: tuple[float, float] | None = Field(
        None, description="of a layer that is no preset: lowest and highest value that can be, in its units"
    )
    classes: dict[int, int | str | None] = Field(
        {}, description="of a class layer: number in the file -> number or name of the layer's class, null for no data"
    )
    stac: StacSearch | None = Field(None, description="scenes, for the layers sentinel2 and landsat")
    embedding: Literal["tessera", "alphaearth"] | None = Field(
        None, description="geospatial embeddings as published: what `path` holds of a `year`"
    )
    path: str | None = Field(None, description="of embeddings: a folder of their tiles, or TESSERA's Zarr store")
    year: int | None = Field(None, description="of embeddings: the year that they are of")
    coastline: str | None = Field(
        None, description="land polygons (GeoJSON, shapefile, GeoPackage); surface is water outside of them"
    )
    stored: bool = Field(False, description="the raster holds the layer's stored values, not its units")
    scale: float = Field(1.0, description="the layer's units = number in the file x scale + offset")
    offset: float = Field(0.0, description="see scale")
    nodata: tuple[float, ...] = Field((), description="raw numbers that mean no data, besides the file's own")
    resampling: Literal["auto", "average", "bilinear", "nearest", "mode"] = Field(
        "auto",
        description="auto: exact mean where the file is finer than the grid, bilinear where it is coarser, majority for classes",
    )
    min_coverage: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share of the region that each band must have values in, or the build ends with 1; left out: any value",
    )
    absent: float | None = Field(None, description="value of a band without data where another band has some")
    derive: tuple[str, ...] = Field((), description=f"layers computed from this one: {derived_layers.NAMES}")
    license: str = Field("", description="terms of the file; a published row brings its own")
    attribution: str = Field("", description="who is to be named")
    references: str = Field("", description="where the data are described")
    reference_years: str = Field("", description="the years that the data are of, such as 1981-2010")

    @field_validator("bands")
    @classmethod
    def _are_bands(cls, value: tuple[int, ...] | tuple[str, ...] | None) -> tuple[int, ...] | tuple[str, ...] | None:
        if value is not None and (
            not value or len(set(value)) < len(value) or any(isinstance(band, int) and band < 1 for band in value)
        ):
            raise ValueError("'bands' are names, or numbers counted from 1, each of them once, in the layer's order")
        return value

    @field_validator("derive")
    @classmethod
    def _can_be_derived(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            derived_layers.refuse_unknown(name)
        if len(set(names)) < len(names):
            raise ValueError(f"'derive' names '{max(names, key=names.count)}' twice; name each layer once")
        return names

    @field_validator("valid_range")
    @classmethod
    def _is_a_range(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not (math.isfinite(value[0]) and math.isfinite(value[1]) and value[0] < value[1]):
            raise ValueError(f"'valid_range' is {value[0]:g} to {value[1]:g}; give the lowest value, then the highest")
        return value

    @field_validator("units", mode="before")
    @classmethod
    def _one_is_a_unit(cls, value: Any) -> Any:
        return "1" if value == 1 else value

    @property
    def band_numbers(self) -> tuple[int, ...] | None:
        """`bands` where they are numbers."""
        return tuple(band for band in self.bands or () if isinstance(band, int)) or None

    @property
    def band_names(self) -> tuple[str, ...] | None:
        """`bands` where they are names."""
        return tuple(band for band in self.bands or () if isinstance(band, str)) or None

    @property
    def has_file_by_band(self) -> bool:
        """Whether `raster` names a file for each band."""
        return isinstance(self.raster, dict)

    @field_validator("raster", mode="after")
    @classmethod
    def _some_tile(cls, value: Any) -> Any:
        if value is not None and not value:
            raise ValueError("'raster' is empty; give a path, a template, or tiles")
        return value

    @model_validator(mode="after")
    def _one_origin(self) -> Source:
        preset = inputs.INPUTS.get(self.layer)
        alone = self.layer == "surface" and self.coastline is not None and self.stac is None
        if [self.raster, self.stac, self.embedding].count(None) != 2 and not alone:
            raise ValueError("give either 'raster', 'stac' or 'embedding'")
        self._embedded()
        if self.stac is not None and self.layer not in STAC_LAYERS:
            raise ValueError(f"'stac' is for the layer {' or '.join(STAC_LAYERS)}")
        if self.coastline is not None and self.layer != "surface":
            raise ValueError("'coastline' belongs to the layer surface")
        if self.stac is not None and (strange := self.model_fields_set - OF_SCENES):
            raise ValueError(f"'{min(strange)}' says nothing of scenes, which describe themselves; leave it out")
        if self.derive and self.raster is None and self.stac is None:
            raise ValueError("'derive' belongs to layers of rasters or scenes; leave it out, or give 'raster'")
        if preset is None:
            self._own_name()
        else:
            origins = [name for name in OF_OWN_LAYERS if getattr(self, name) is not None]
            if origins:
                raise ValueError(
                    f"'{origins[0]}' belongs to layers of your own; {self.layer} is a preset, whose meaning is fixed"
                )
            refuse_misfits(self, preset)
        if self.scale == 0 or not math.isfinite(self.scale) or not math.isfinite(self.offset):
            raise ValueError(
                f"'scale' is {self.scale:g} and 'offset' {self.offset:g}; give the factor that turns the file's numbers"
                " into the layer's units"
            )
        if self.published is not None and self.stored:
            raise ValueError("'stored' is for rasters that hold the layer's own numbers, not for published ones")
        return self

    def _embedded(self) -> None:
        """Refuse embeddings without place or year, and other keys of them."""
        if self.embedding is None:
            if self.path is not None or self.year is not None:
                raise ValueError("'path' and 'year' belong to embeddings; name theirs by 'embedding'")
            return
        if self.path is None or self.year is None:
            raise ValueError(
                f"'embedding' needs 'path' and 'year', such as `{{embedding: {self.embedding}, path: tiles, year: 2024}}`"
            )
        if self.layer in inputs.INPUTS:
            raise ValueError(f"'embedding' fills a layer of your own, and {self.layer} is a preset; choose another name")
        if strange := self.model_fields_set - OF_EMBEDDINGS:
            raise ValueError(f"'{min(strange)}' is no key of embeddings; leave it out")

    def _own_name(self) -> None:
        """Refuse what a layer that is no preset cannot have."""
        if not NAME.fullmatch(self.layer):
            raise ValueError(
                f"'{self.layer}' is no name of a layer; begin with a letter and use lower case letters, digits and '_'"
            )
        close = difflib.get_close_matches(self.layer, inputs.INPUTS, n=1, cutoff=0.8)
        if close and self.embedding is None and all(getattr(self, name) is None for name in OF_OWN_LAYERS):
            raise ValueError(f"'{self.layer}' is no preset; did you mean {close[0]}? A layer of your own needs 'units' or 'kind'")
        if self.published is not None or self.stored:
            raise ValueError(
                f"'{'published' if self.published else 'stored'}' belongs to presets, and '{self.layer}' is none;"
                f" presets are {', '.join(sorted(inputs.INPUTS))}"
            )


def refuse_misfits(source: Source, layer: Layer) -> None:
    """Raise `ValueError` for a key of a source that its layer cannot have; without the place, which the caller knows."""
    if source.classes and not layer.flags:
        legends = ", ".join(name for name, row in inputs.INPUTS.items() if row.flags)
        raise ValueError(f"'classes' belongs to the layers with a legend: {legends}, or `kind: class` with `names`")
    classes = {number for number, _, _ in layer.flags} | {name for _, name, _ in layer.flags} | {None}
    if strange := [meaning for meaning in source.classes.values() if meaning not in classes]:
        legend = ", ".join(f"{number} {name}" for number, name, _ in layer.flags)
        raise ValueError(f"'classes' gives {strange[0]!r}, which is no class of {layer.name}; its classes are {legend}")
    if layer.kind == "class" and source.resampling in ("average", "bilinear"):
        raise ValueError(f"'resampling: {source.resampling}' would invent classes; {layer.name} takes mode or nearest")
    if layer.kind == "class" and (source.scale != 1 or source.offset != 0):
        raise ValueError(f"'scale' and 'offset' would change the classes of {layer.name}; say what its numbers mean by 'classes'")
