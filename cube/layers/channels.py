"""What one number of a model's inputs is called for a person, and its units: `bioclim.bio12` is the annual precipitation, mm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cube.errors import CubeError
from cube.layers import legends
from cube.layers.inputs import CLIMATE, LANDSAT_BANDS, SENTINEL2_BANDS, input_layer

_SURVEY: Final[Mapping[str, tuple[str, str]]] = {
    "year": ("Year of the survey", ""),
}
_BANDS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "satellite": ("Sentinel-2 reflectance", SENTINEL2_BANDS),
    "landsat": ("Landsat reflectance, mean of quarters", LANDSAT_BANDS),
}
MODALITIES: Final[Mapping[str, str]] = {
    "satellite": "Satellite image (Sentinel-2)",
    "landsat": "Landsat series",
    "climate": "Climate series",
    "static": "Terrain, soil and land cover at 50 m",
    "coarse": "Climate and others at 1 km",
    "survey": "Year and area of the survey",
}


def channel_title(modality: str, channel: str) -> tuple[str, str]:
    """(title, units as CF writes them, empty for none) of a channel as models name it; of an unknown one, its own name.

    `modality` is a key of `MODALITIES`; `channel` such as `bioclim.bio1`, `soil.clay`, `satellite.3`, `landcover.igbp4`, `year`.
    """
    name, _, part = channel.partition(".")
    if modality in _BANDS and part.isdigit() and int(part) < len(_BANDS[modality][1]):
        title, bands = _BANDS[modality]
        return f"{title}: {bands[int(part)]}", ""
    if modality == "climate" and part.isdigit() and int(part) < len(CLIMATE):
        return CLIMATE[int(part)].long_name.replace("of the month", "of months"), CLIMATE[int(part)].units
    if modality == "survey":
        return _SURVEY.get(channel, (channel, ""))
    if name == "table":
        return f"{part} (surveys' table)", ""
    if name == "landcover" and part.startswith("igbp"):
        classes = {value: meaning for value, meaning, _ in legends.IGBP}
        return f"Land cover is {classes.get(int(part[4:]), part)}", ""
    if name == "corine" and part.startswith("clc"):
        names = {value: meaning for value, meaning, _ in legends.CORINE_FLAGS}
        return f"Share of {names.get(int(part[3:]), 'no class')} (CORINE)", ""
    try:
        layer = input_layer(name)
    except CubeError:
        return channel, ""
    band = layer.band(part) if part else None
    title, units = (layer.long_name, layer.units) if band is None else (band.long_name, band.units)
    return title, "" if units == "1" else units
