"""What a configuration says of its sources: which layer, where its values come from, how they are read."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from cube import inputs
from cube.config.strict import Strict


class StacSearch(Strict):
    """Sentinel-2 scenes of a STAC catalogue (a path or URL of catalog.json, or an API)."""

    catalog: str
    collection: str = "sentinel-2-l2a"
    start: str = Field(description="first day, YYYY-MM-DD")
    end: str = Field(description="last day, YYYY-MM-DD")
    months: tuple[int, ...] = tuple(range(1, 13))
    assets: dict[str, str] = {"red": "red", "green": "green", "blue": "blue", "nir": "nir"}
    scl: str = "scl"
    max_cloud_cover: float = 80.0

    @field_validator("start", "end", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> str:
        return str(value)  # YAML reads an unquoted day as a date


class Source(Strict):
    """One input layer and where its values come from."""

    layer: str
    raster: str | dict[str, str] | None = None
    bands: tuple[int, ...] | None = None
    stac: StacSearch | None = None
    stored: bool = Field(False, description="the raster holds the layer's stored values, not its units")
    scale: float = 1.0
    offset: float = 0.0
    resampling: Literal["auto", "average", "bilinear", "nearest", "mode"] = "auto"
    absent: float | None = Field(None, description="value of a band without data where another band has some")
    derive: tuple[Literal["relief", "slope", "northness", "eastness"], ...] = ()
    license: str = ""
    attribution: str = ""
    reference_years: str = ""

    @model_validator(mode="after")
    def _one_origin(self) -> Source:
        if (self.raster is None) == (self.stac is None):
            raise ValueError("give either 'raster' or 'stac'")
        if self.layer not in inputs.INPUTS:
            raise ValueError(f"'{self.layer}' is not an input layer; known are {', '.join(sorted(inputs.INPUTS))}")
        if self.stac is not None and self.layer != "sentinel2":
            raise ValueError("'stac' is for the layer sentinel2")
        if self.derive and self.layer != "elevation":
            raise ValueError("'derive' belongs to the layer elevation")
        return self
