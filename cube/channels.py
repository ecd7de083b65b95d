"""What one number of a model's inputs is called for a person, and its units: `bioclim.bio12` is the annual precipitation, mm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cube import legends
from cube.errors import CubeError
from cube.inputs import CLIMATE_VARIABLES, LANDSAT_BANDS, SENTINEL2_BANDS, input_layer

# O'Donnell and Ignizio 2012 (USGS Data Series 691); temperatures in degree Celsius and precipitation in mm, as the layer says.
_BIOCLIM: Final[Mapping[str, tuple[str, str]]] = {
    "bio1": ("Annual mean temperature", "degC"),
    "bio2": ("Mean diurnal range of temperature", "degC"),
    "bio3": ("Isothermality (bio2 / bio7)", "%"),
    "bio4": ("Temperature seasonality (standard deviation x 100)", ""),
    "bio5": ("Highest temperature of the warmest month", "degC"),
    "bio6": ("Lowest temperature of the coldest month", "degC"),
    "bio7": ("Annual range of temperature", "degC"),
    "bio8": ("Mean temperature of the wettest quarter", "degC"),
    "bio9": ("Mean temperature of the driest quarter", "degC"),
    "bio10": ("Mean temperature of the warmest quarter", "degC"),
    "bio11": ("Mean temperature of the coldest quarter", "degC"),
    "bio12": ("Annual precipitation", "mm"),
    "bio13": ("Precipitation of the wettest month", "mm"),
    "bio14": ("Precipitation of the driest month", "mm"),
    "bio15": ("Precipitation seasonality (coefficient of variation)", "%"),
    "bio16": ("Precipitation of the wettest quarter", "mm"),
    "bio17": ("Precipitation of the driest quarter", "mm"),
    "bio18": ("Precipitation of the warmest quarter", "mm"),
    "bio19": ("Precipitation of the coldest quarter", "mm"),
}
# SoilGrids 2.0's mapped units (Poggio et al. 2021, doi:10.5194/soil-7-217-2021, table 1 and the data's own description).
_SOIL: Final[Mapping[str, tuple[str, str]]] = {
    "bdod": ("Bulk density of the soil", "cg cm-3"),
    "cec": ("Cation exchange capacity of the soil", "mmol(c) kg-1"),
    "cfvo": ("Coarse fragments in the soil", "cm3 dm-3"),
    "clay": ("Clay in the soil", "g kg-1"),
    "sand": ("Sand in the soil", "g kg-1"),
    "silt": ("Silt in the soil", "g kg-1"),
    "nitrogen": ("Nitrogen in the soil", "cg kg-1"),
    "phh2o": ("pH of the soil x 10", ""),
    "soc": ("Organic carbon in the soil", "dg kg-1"),
}
_CLIMATE: Final[Mapping[str, tuple[str, str]]] = {
    "pr": ("Precipitation, mean of months", "mm month-1"),
    "tas": ("Air temperature, mean of months", "K"),
    "tasmax": ("Daily maximum temperature, mean of months", "K"),
    "tasmin": ("Daily minimum temperature, mean of months", "K"),
}
_SURVEY: Final[Mapping[str, tuple[str, str]]] = {
    "year": ("Year of the survey", ""),
    "log_area": ("Natural logarithm of the plot's area over 100 m2", ""),
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
    if modality == "climate" and part.isdigit() and int(part) < len(CLIMATE_VARIABLES):
        return _CLIMATE[CLIMATE_VARIABLES[int(part)]]
    if modality == "survey":
        return _SURVEY.get(channel, (channel, ""))
    known = {"bioclim": _BIOCLIM, "soil": _SOIL}.get(name, {}).get(part)
    if known is not None:
        return known
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
    units = "" if layer.units == "1" else layer.units
    return (f"{layer.long_name}: {part.replace('_', ' ')}" if part else layer.long_name), units
