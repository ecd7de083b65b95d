"""Published rasters: one row a product, with the numbers that its publisher gives, so that no configuration repeats them.

A configuration names a row (`published: soilgrids-2.0`); scale, offset, no-data rules, licence and years then come
from here. Numbers are those of the distributed files; GeoPlant's copies of the same rasters keep them (raw CHELSA
integers, mapped units of SoilGrids), so the same row reads them, with another file name. Each row says where its
numbers were looked up. How files are found is in `cube.sources.templates`, how they are read in `cube.sources.rasters`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cube.errors import ConfigError
from cube.layers import legends
from cube.layers.inputs import BIOCLIM_VARIABLES, CLIMATE_VARIABLES, SOIL_VARIABLES
from cube.sources.pixels import PixelRules

KELVIN: Final = -273.15


@dataclass(frozen=True)
class Published:
    """One published product. A stored number v of band i stands for `v * scale[i] + offset[i]` in units of the layer."""

    title: str
    layers: tuple[str, ...]  # input layers that it can fill
    bands: tuple[str, ...]  # published names, in the order of the layer's first axis
    file: str  # name as distributed, a template (see `cube.sources.templates`)
    pixel: float  # m, about
    bytes: float  # a pixel and band, as distributed (compressed, rounded up)
    license: str
    attribution: str
    references: str
    reference_years: str
    lookup: str
    scale: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)
    nodata: tuple[float, ...] = ()
    valid: tuple[float, float] | None = None  # raw numbers outside of it mean no data
    recode: Mapping[int, int] = field(default_factory=dict)
    surface: Mapping[int, int] = field(default_factory=dict)  # class -> land, water, sealed
    classes: tuple[int, ...] = ()  # what fractions are made of
    tile: int | None = None  # degrees on a side of its tiles

    def rules(self, layer: str) -> PixelRules:
        """What its numbers mean for an input layer, before anything is resampled."""
        return PixelRules(self.nodata, None if layer == "surface" else self.valid, self._meanings(layer), raw=True)

    def _meanings(self, layer: str) -> dict[int, int | None]:
        """What each class number means (None: no data); empty for a product that is none of classes."""
        if layer == "surface":
            numbers = {*self.surface, *self.recode.values()}
            meanings: dict[int, int | None] = {number: self.surface.get(number) for number in numbers}
        else:
            # Of CORINE's fractions what has no class is a share of its own.
            unclassed = max(self.classes) + 1 if layer == "corine" else None
            meanings = {number: number if number in self.classes else unclassed for number in self.recode.values()}
            meanings |= {number: number for number in self.classes}
        return meanings | {code: meanings[number] for code, number in self.recode.items()}


_DEGREES = {1, 5, 6, 8, 9, 10, 11}  # bioclim that are temperatures, not differences: stored as K x 10
_MODIS = (
    "LC_Type1",
    "LC_Type2",
    "LC_Type3",
    "LC_Type4",
    "LC_Type5",
    "LC_Prop1_Assessment",
    "LC_Prop2_Assessment",
    "LC_Prop3_Assessment",
    "LC_Prop1",
    "LC_Prop2",
    "LC_Prop3",
    "QC",
    "LW",
)
_PRESSURES = (
    "Built1994",
    "Built2009",
    "croplands1992",
    "croplands2005",
    "Lights1994",
    "Lights2009",
    "NavWater1994",
    "NavWater2009",
    "Pasture1993",
    "Pasture2009",
    "Popdensity1990",
    "Popdensity2010",
    "Railways",
    "Roads",
)
_CHELSA = "Karger et al. 2017, doi:10.1038/sdata.2017.122; CHELSA 2.1, doi:10.16904/envidat.228.v2.1"
_COPERNICUS_DEM = (
    "© DLR e.V. 2010-2014 and © Airbus Defence and Space GmbH 2014-2018 provided under COPERNICUS by the European Union and ESA"
)
_VENTER = "Venter et al. 2016, doi:10.1038/sdata.2016.67; data doi:10.5061/dryad.052q5"

PUBLISHED: Final[Mapping[str, Published]] = {
    "chelsa-2.1-monthly": Published(
        "CHELSA 2.1 monthly time series",
        ("climate",),
        CLIMATE_VARIABLES,
        "CHELSA_{variable}_{month:02d}_{year}_V.2.1.tif",
        926,
        1.3,
        "CC0-1.0",
        "CHELSA, WSL",
        _CHELSA,
        "2000-2018",
        "CHELSA 2.1 technical specification: pr in kg m-2 month-1 / 100, tas* in K / 10, no offset",
        scale=(0.01, 0.1, 0.1, 0.1),
        nodata=(65535.0, -32768.0, -99999.0),
    ),
    "chelsa-2.1-bioclim": Published(
        "CHELSA 2.1 bioclim 1981-2010",
        ("bioclim",),
        BIOCLIM_VARIABLES,
        "CHELSA_{variable}_1981-2010_V.2.1.tif",
        926,
        1.3,
        "CC0-1.0",
        "CHELSA, WSL",
        _CHELSA,
        "1981-2010",
        "chelsa-climate.org/bioclim: scale 0.1 for all, offset -273.15 for bio1, 5, 6, 8, 9, 10 and 11",
        scale=(0.1,),
        offset=tuple(KELVIN if i in _DEGREES else 0.0 for i in range(1, 20)),
        nodata=(65535.0, -32768.0, -99999.0),
    ),
    "copernicus-dem-glo-30": Published(
        "Copernicus DEM GLO-30",
        ("elevation",),
        ("DEM",),
        "Copernicus_DSM_COG_10_{north}_00_{east}_00_DEM/Copernicus_DSM_COG_10_{north}_00_{east}_00_DEM.tif",
        30,
        3.0,
        "Copernicus DEM licence (free, with attribution)",
        _COPERNICUS_DEM,
        "doi:10.5270/ESA-c5d3d65",
        "2011-2015",
        "copernicus-dem-30m.s3.amazonaws.com/readme.html: 1 degree tiles, float32 m above EGM2008, no tiles on the open sea",
        nodata=(-32767.0, -9999.0),
        valid=(-500.0, 9000.0),
        tile=1,
    ),
    "copernicus-dem-glo-90": Published(
        "Copernicus DEM GLO-90",
        ("elevation",),
        ("DEM",),
        "Copernicus_DSM_COG_30_{north}_00_{east}_00_DEM/Copernicus_DSM_COG_30_{north}_00_{east}_00_DEM.tif",
        90,
        3.0,
        "Copernicus DEM licence (free, with attribution)",
        _COPERNICUS_DEM,
        "doi:10.5270/ESA-c5d3d65",
        "2011-2015",
        "copernicus-dem-90m.s3.amazonaws.com/readme.html",
        nodata=(-32767.0, -9999.0),
        valid=(-500.0, 9000.0),
        tile=1,
    ),
    "aster-gdem-3": Published(
        "ASTER Global Digital Elevation Model v3",
        ("elevation",),
        ("dem",),
        "ASTGTMV003_{north}{east}_dem.tif",
        30,
        1.5,
        "No restriction on use or redistribution (NASA LP DAAC)",
        "NASA/METI/AIST/Japan Spacesystems and U.S./Japan ASTER Science Team",
        "doi:10.5067/ASTER/ASTGTM.003",
        "2000-2013",
        "ASTER GDEM user guide v3: int16 m above EGM96, -9999 no data, 0 at sea, 1 degree tiles",
        nodata=(-9999.0,),
        valid=(-500.0, 9000.0),
        tile=1,
    ),
    "soilgrids-2.0": Published(
        "SoilGrids 2.0, mean at 5-15 cm, in mapped units",
        ("soil",),
        SOIL_VARIABLES,
        "{band}_5-15cm_mean.vrt",
        250,
        1.2,
        "CC-BY-4.0",
        "ISRIC - World Soil Information",
        "Poggio et al. 2021, doi:10.5194/soil-7-217-2021",
        "1960-2020",
        "docs.isric.org/globaldata/soilgrids: int16, -32768 no data, Goode homolosine",
        nodata=(-32768.0,),
        valid=(0.0, 32767.0),
    ),
    "modis-mcd12q1-6.1": Published(
        "MODIS land cover type MCD12Q1 v6.1",
        ("landcover", "igbp", "surface"),
        _MODIS,
        "{band}.tif",
        463,
        0.3,
        "No restriction on use (NASA LP DAAC)",
        "NASA LP DAAC",
        "Friedl and Sulla-Menashe 2022, doi:10.5067/MODIS/MCD12Q1.061",
        "2001-2022",
        "MCD12 user guide v6.1, table 1: uint8, 255 in all bands; LC_Type1 1-17, Assessment 0-100, QC 0-10, LW 1 water 2 land",
        nodata=(255.0,),
        surface=legends.IGBP_SURFACE,
    ),
    "corine-2018": Published(
        "CORINE Land Cover 2018",
        ("corine", "corine_class", "surface"),
        ("CLC2018",),
        "U2018_CLC2018_V2020_20u1.tif",
        100,
        0.2,
        "Copernicus Land Monitoring Service: free, with attribution",
        "European Union's Copernicus Land Monitoring Service information",
        "doi:10.2909/960998c1-1870-4e82-8051-6485205ebbac",
        "2018",
        "legend of the raster download: 1-44, 48 no data, 49 and 50 unclassified land and water, -128 outside",
        nodata=(-128.0, 0.0, 128.0, 255.0),
        recode={**legends.CORINE_CODES, 990: 49, 995: 50, 999: 48},
        surface=legends.CORINE_SURFACE,
        classes=tuple(value for value, _, _ in legends.CORINE_FLAGS),
    ),
    "human-footprint": Published(
        "Human footprint 1993 and 2009",
        ("footprint",),
        ("HFP1993", "HFP2009"),
        "{band}.tif",
        1000,
        2.0,
        "CC0-1.0",
        "Venter et al.",
        _VENTER,
        "1993, 2009",
        "Venter et al. 2016: 0 to 50, Mollweide 1 km; the _int files use 128 for no data",
        nodata=(128.0, -9999.0),
        valid=(0.0, 50.0),
    ),
    "human-footprint-detail": Published(
        "Pressures of the human footprint",
        ("footprint_detail",),
        _PRESSURES,
        "{band}.tif",
        1000,
        0.5,
        "CC0-1.0",
        "Venter et al.",
        _VENTER,
        "1990-2010",
        "Venter et al. 2016, table 2: scores 0 to 10; no data is 127, 255, 2147483647, -9999 or below 0, by file",
        nodata=(127.0, 255.0, -9999.0, 2147483647.0),
        valid=(0.0, 10.0),
    ),
    "esa-worldcover-2021": Published(
        "ESA WorldCover 10 m 2021 v200",
        ("surface",),
        ("Map",),
        "ESA_WorldCover_10m_2021_v200_{north}{east}_Map.tif",
        8,
        0.1,
        "CC-BY-4.0",
        "© ESA WorldCover project / Contains modified Copernicus Sentinel data (2021) processed by ESA WorldCover consortium",
        "Zanaga et al. 2022, doi:10.5281/zenodo.7254221",
        "2021",
        "worldcover2021.esa.int/download: 3 degree tiles, 0 no data",
        nodata=(0.0,),
        surface=legends.WORLDCOVER_SURFACE,
        tile=3,
    ),
}


def published(name: str, layer: str) -> Published:
    """The row `name` for an input layer; raises `ConfigError` with the close names, or the rows that fill the layer."""
    row = PUBLISHED.get(name)
    if row is None:
        close = difflib.get_close_matches(name, PUBLISHED, n=3, cutoff=0.4) or sorted(PUBLISHED)
        raise ConfigError(f"'{name}' is no published product that is known; close are {', '.join(close)}")
    if layer not in row.layers:
        fitting = [other for other, r in PUBLISHED.items() if layer in r.layers]
        instead = f"; for {layer} there is {', '.join(fitting)}" if fitting else ""
        raise ConfigError(f"'{name}' fills {', '.join(row.layers)}, not the layer {layer}{instead}")
    return row
