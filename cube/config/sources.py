"""What a configuration says of its sources: which layer, where its values come from, how they are read."""

from __future__ import annotations

import datetime
import math
from typing import Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from cube.config.strict import Strict
from cube.layers import inputs

STAC_LAYERS: Final = ("sentinel2", "landsat")


class StacSearch(Strict):
    """Scenes of a STAC API, or of a catalogue: the path or URL of a catalog.json, a collection.json or an item collection."""

    catalog: str = Field(description="URL of a STAC API, or path or URL of a catalogue")
    collection: str | None = Field(None, description="None: sentinel-2-l2a for sentinel2, landsat-c2-l2 for landsat")
    start: datetime.date = Field(description="first day, YYYY-MM-DD")
    end: datetime.date = Field(description="last day, YYYY-MM-DD")
    months: tuple[int, ...] = Field(tuple(range(1, 13)), description="months of every year that are read")
    assets: dict[str, str] = Field({}, description="band, or 'quality' for SCL or QA_PIXEL, to asset where its name is unusual")
    max_cloud_cover: float = Field(80.0, description="percent of the scene")
    offset: int | None = Field(
        None, description="added to the digital numbers of Sentinel-2 scenes that do not say it: 0 or 1000; None: refuse them"
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

    layer: str = Field(description="name of the input layer, a row of the data model")
    published: str | None = Field(None, description="row of cube.sources.published: scale, no data, licence come from there")
    raster: str | dict[str, str] | tuple[str, ...] | None = Field(
        None, description="a path, a template over labels or tiles, a folder (with published), a list of tiles, or label -> path"
    )
    bands: tuple[int, ...] | None = Field(
        None, description="bands of the file, in the layer's order, counted from 1; left out, their names decide"
    )
    classes: dict[int, int | str | None] = Field(
        {}, description="of a class layer: number in the file -> number or name of the layer's class, null for no data"
    )
    stac: StacSearch | None = Field(None, description="scenes, for the layers sentinel2 and landsat")
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
        description="share of the region that each band must have values in, or the build ends with 1; None: any value at all",
    )
    absent: float | None = Field(None, description="value of a band without data where another band has some")
    derive: tuple[Literal["relief", "slope", "northness", "eastness", "wetness"], ...] = Field(
        (), description="layers computed from an elevation"
    )
    license: str = Field("", description="terms of the file; a published row brings its own")
    attribution: str = Field("", description="who is to be named")
    references: str = Field("", description="where the data are described")
    reference_years: str = Field("", description="the years that the data are of, such as 1981-2010")

    @field_validator("bands")
    @classmethod
    def _are_bands(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and (not value or min(value) < 1 or len(set(value)) < len(value)):
            raise ValueError("'bands' are numbers counted from 1, each of them once, in the layer's order")
        return value

    @field_validator("raster", mode="after")
    @classmethod
    def _some_tile(cls, value: Any) -> Any:
        if value is not None and not value:
            raise ValueError("'raster' is empty; give a path, a template, or tiles")
        return value

    @model_validator(mode="after")
    def _one_origin(self) -> Source:
        if self.layer not in inputs.INPUTS:
            raise ValueError(f"'{self.layer}' is not an input layer; known are {', '.join(sorted(inputs.INPUTS))}")
        alone = self.layer == "surface" and self.coastline is not None and self.stac is None
        if (self.raster is None) == (self.stac is None) and not alone:
            raise ValueError("give either 'raster' or 'stac'")
        if self.stac is not None and self.layer not in STAC_LAYERS:
            raise ValueError(f"'stac' is for the layer {' or '.join(STAC_LAYERS)}")
        if self.coastline is not None and self.layer != "surface":
            raise ValueError("'coastline' belongs to the layer surface")
        if self.derive and self.layer != "elevation":
            raise ValueError("'derive' belongs to the layer elevation")
        layer = inputs.INPUTS[self.layer]
        if self.classes and not layer.flags:
            legends = ", ".join(name for name, row in inputs.INPUTS.items() if row.flags)
            raise ValueError(f"'classes' belongs to the layers with a legend: {legends}")
        known = {number for number, _, _ in layer.flags} | {name for _, name, _ in layer.flags} | {None}
        if strange := [meaning for meaning in self.classes.values() if meaning not in known]:
            legend = ", ".join(f"{number} {name}" for number, name, _ in layer.flags)
            raise ValueError(f"'classes' gives {strange[0]!r}, which is no class of {self.layer}; its classes are {legend}")
        if layer.kind == "class" and self.resampling in ("average", "bilinear"):
            raise ValueError(f"'resampling: {self.resampling}' would invent classes; {self.layer} takes mode or nearest")
        if layer.kind == "class" and (self.scale != 1 or self.offset != 0):
            raise ValueError(
                f"'scale' and 'offset' would change the classes of {self.layer}; say what its numbers mean by 'classes'"
            )
        if self.scale == 0 or not math.isfinite(self.scale) or not math.isfinite(self.offset):
            raise ValueError(
                f"'scale' is {self.scale:g} and 'offset' {self.offset:g}; give the factor that turns the file's numbers"
                " into the layer's units"
            )
        if self.published is not None and self.stored:
            raise ValueError("'stored' is for rasters that hold the layer's own numbers, not for published ones")
        return self
