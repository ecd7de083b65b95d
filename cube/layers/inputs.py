"""The inputs of a cube: one row a layer, in the order in which a reader lists them.

A row here is the only place where an input's dtype, scale, offset, fill, units and bands are said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cube.errors import CubeError
from cube.layers import Band, Layer, legends

SENTINEL2_BANDS: Final = ("red", "green", "blue", "nir")
LANDSAT_BANDS: Final = ("red", "green", "blue", "nir", "swir1", "swir2")
QUARTERS: Final = tuple(f"{year}Q{quarter}" for year in range(2000, 2021) for quarter in range(1, 5))
CLIMATE_MONTHS: Final = tuple(f"{year}-{month:02d}" for year in range(2000, 2019) for month in range(1, 13))
TERRAIN_STATISTICS: Final = ("mean", "minimum", "maximum", "standard_deviation")
MODIS_BANDS: Final = (
    *(f"lc_type{i}" for i in range(1, 6)),
    *(f"lc_prop{i}_assessment" for i in range(1, 4)),
    *(f"lc_prop{i}" for i in range(1, 4)),
    "qc",
    "lw",
)
FOOTPRINT_VARIABLES: Final = ("hfp1993", "hfp2009")
FOOTPRINT_PRESSURES: Final = (
    "built1994",
    "built2009",
    "croplands1992",
    "croplands2005",
    "lights1994",
    "lights2009",
    "navwater1994",
    "navwater2009",
    "pasture1993",
    "pasture2009",
    "popdensity1990",
    "popdensity2010",
    "railways",
    "roads",
)
CORINE_CLASSES: Final = tuple(f"clc{i:02d}" for i in range(1, 46))  # 1 to 44 as the raster's legend, 45 without class

CLIMATE: Final = (
    Band("pr", "Precipitation of the month", "mm month-1", "lwe_precipitation_rate"),
    Band("tas", "Air temperature, mean of the month", "K", "air_temperature"),
    Band("tasmax", "Daily maximum temperature, mean of the month", "K", "air_temperature"),
    Band("tasmin", "Daily minimum temperature, mean of the month", "K", "air_temperature"),
)
_PRECIPITATION: Final = ("mm", "lwe_thickness_of_precipitation_amount")
_TEMPERATURE: Final = ("degC", "air_temperature")
# O'Donnell and Ignizio 2012 (USGS Data Series 691). Differences of temperatures are in K: degC would shift them in a conversion.
BIOCLIM: Final = (
    Band("bio1", "Annual mean temperature", *_TEMPERATURE),
    Band("bio2", "Mean diurnal range of temperature", "K"),
    Band("bio3", "Isothermality (bio2 / bio7)", "%"),
    Band("bio4", "Temperature seasonality (standard deviation x 100)", "0.01 K"),
    Band("bio5", "Highest temperature of the warmest month", *_TEMPERATURE),
    Band("bio6", "Lowest temperature of the coldest month", *_TEMPERATURE),
    Band("bio7", "Annual range of temperature", "K"),
    Band("bio8", "Mean temperature of the wettest quarter", *_TEMPERATURE),
    Band("bio9", "Mean temperature of the driest quarter", *_TEMPERATURE),
    Band("bio10", "Mean temperature of the warmest quarter", *_TEMPERATURE),
    Band("bio11", "Mean temperature of the coldest quarter", *_TEMPERATURE),
    Band("bio12", "Annual precipitation", *_PRECIPITATION),
    Band("bio13", "Precipitation of the wettest month", *_PRECIPITATION),
    Band("bio14", "Precipitation of the driest month", *_PRECIPITATION),
    Band("bio15", "Precipitation seasonality (coefficient of variation)", "%"),
    Band("bio16", "Precipitation of the wettest quarter", *_PRECIPITATION),
    Band("bio17", "Precipitation of the driest quarter", *_PRECIPITATION),
    Band("bio18", "Precipitation of the warmest quarter", *_PRECIPITATION),
    Band("bio19", "Precipitation of the coldest quarter", *_PRECIPITATION),
)
# SoilGrids 2.0's mapped units (Poggio et al. 2021, doi:10.5194/soil-7-217-2021, table 1 and the data's own description).
SOIL: Final = (
    Band("bdod", "Bulk density of the soil", "cg cm-3"),
    Band("cec", "Cation exchange capacity of the soil", "mmol kg-1"),  # of charge
    Band("cfvo", "Coarse fragments in the soil", "cm3 dm-3"),
    Band("clay", "Clay in the soil", "g kg-1"),
    Band("sand", "Sand in the soil", "g kg-1"),
    Band("silt", "Silt in the soil", "g kg-1"),
    Band("nitrogen", "Nitrogen in the soil", "cg kg-1"),
    Band("phh2o", "pH of the soil x 10", "0.1"),
    Band("soc", "Organic carbon in the soil", "dg kg-1"),
)
CLIMATE_VARIABLES: Final = tuple(band.name for band in CLIMATE)
BIOCLIM_VARIABLES: Final = tuple(band.name for band in BIOCLIM)
SOIL_VARIABLES: Final = tuple(band.name for band in SOIL)

INPUTS: Final[Mapping[str, Layer]] = {
    layer.name: layer
    for layer in (
        Layer(
            "sentinel2",
            "inputs/10m",
            "uint16",
            65535,
            "Sentinel-2 surface reflectance, cloud-free median",
            "1",
            ("sentinel2_band",),
            {"sentinel2_band": SENTINEL2_BANDS},
            1e-4,
            0.0,
            (0.0, 1.6),
            palette="gray",
            standard_name="surface_bidirectional_reflectance",
            references="Copernicus Sentinel-2 Level-2A",
        ),
        Layer(
            "sentinel2_count",
            "inputs/10m",
            "uint8",
            255,
            "Clear Sentinel-2 scenes behind the median",
            "1",
            valid_range=(0.0, 254.0),
            palette="batlow",
            predictor=False,
            references="Copernicus Sentinel-2 Level-2A",
        ),
        # EcoDataCube, from which GeoPlant took its series, keeps GLAD ARD-2 reflectance (1 to 40,000) in 8 bits with 255 for
        # no data; a statement of the step was not found. GeoPlant's published numbers reach 254 (blue, over snow), so that
        # is taken for reflectance 1; the global successor has 250 steps (Consoli et al. 2024, 0.004), 1.6 % apart.
        # Quarters are EcoDataCube's seasons: `cube.sources.landsat`.
        Layer(
            "landsat",
            "inputs/50m",
            "uint8",
            255,
            "Landsat quarterly surface reflectance 2000-2020",
            "1",
            ("landsat_band", "quarter"),
            {"landsat_band": LANDSAT_BANDS, "quarter": QUARTERS},
            1 / 254,
            0.0,
            (0.0, 1.0),
            standard_name="surface_bidirectional_reflectance",
            palette="gray",
            period=4,
            references="GeoPlant (Picek et al. 2024); EcoDataCube (Witjes et al. 2023, doi:10.7717/peerj.15478)",
        ),
        Layer(
            "surface",
            "inputs/50m",
            "uint8",
            255,
            "Surface: what may carry plants",
            "1",
            kind="class",
            palette="flags",
            flags=legends.SURFACE,
            predictor=False,
        ),
        Layer(
            "elevation",
            "inputs/50m",
            "int16",
            -32768,
            "Elevation above sea level",
            "m",
            standard_name="surface_altitude",
            scale=0.25,
            valid_range=(-500.0, 6000.0),
            palette="batlow",
        ),
        Layer(
            "slope",
            "inputs/50m",
            "uint16",
            65535,
            "Slope of the terrain",
            "degree",
            standard_name="ground_slope_angle",
            scale=0.01,
            valid_range=(0.0, 90.0),
            palette="batlow",
        ),
        Layer(
            "northness",
            "inputs/50m",
            "int16",
            -32768,
            "Cosine of aspect times sine of slope",
            "1",
            scale=1e-4,
            valid_range=(-1.0, 1.0),
            palette="vik",
        ),
        Layer(
            "eastness",
            "inputs/50m",
            "int16",
            -32768,
            "Sine of aspect times sine of slope",
            "1",
            scale=1e-4,
            valid_range=(-1.0, 1.0),
            palette="vik",
        ),
        Layer(
            "wetness",
            "inputs/50m",
            "int16",
            -32768,
            "Topographic wetness index ln(a / tan slope), a in m2 per m",
            "1",
            scale=1e-3,
            valid_range=(-5.0, 21.0),
            palette="batlow",
            references="Beven and Kirkby 1979, doi:10.1080/02626667909491834",
        ),
        Layer(
            "soil",
            "inputs/50m",
            "int16",
            -32768,
            "Soil properties at 5-15 cm",
            "",
            ("soil_variable",),
            {"soil_variable": SOIL_VARIABLES},
            bands=SOIL,
            references="SoilGrids 2.0 (Poggio et al. 2021)",
        ),
        Layer(
            "landcover",
            "inputs/50m",
            "uint8",
            255,
            "MODIS MCD12Q1 land cover",
            "1",
            ("modis_band",),
            {"modis_band": MODIS_BANDS},
            kind="class",
            palette="categories",
            references="MCD12Q1 v6.1 (Friedl and Sulla-Menashe 2022)",
        ),
        Layer(
            "igbp",
            "inputs/50m",
            "uint8",
            255,
            "Land cover, IGBP classes (MCD12Q1 LC_Type1)",
            "1",
            kind="class",
            palette="flags",
            flags=legends.IGBP,
            predictor=False,
            references="MCD12Q1 v6.1, doi:10.5067/MODIS/MCD12Q1.061",
        ),
        Layer(
            "corine_class",
            "inputs/50m",
            "uint8",
            255,
            "CORINE land cover class of the cell",
            "1",
            kind="class",
            palette="flags",
            flags=legends.CORINE_FLAGS,
            predictor=False,
            references="CORINE Land Cover 2018, doi:10.2909/960998c1-1870-4e82-8051-6485205ebbac",
        ),
        Layer(
            "footprint",
            "inputs/50m",
            "uint8",
            255,
            "Human footprint",
            "1",
            ("footprint_variable",),
            {"footprint_variable": FOOTPRINT_VARIABLES},
            0.25,
            0.0,
            (0.0, 50.0),
            references="Venter et al. 2016",
        ),
        Layer(
            "footprint_detail",
            "inputs/50m",
            "uint8",
            255,
            "Pressure scores of the human footprint",
            "1",
            ("footprint_pressure",),
            {"footprint_pressure": FOOTPRINT_PRESSURES},
            0.05,
            0.0,
            (0.0, 10.0),
            references="Venter et al. 2016, doi:10.1038/sdata.2016.67",
        ),
        Layer(
            "climate",
            "inputs/1km",
            "uint16",
            65535,
            "Monthly climate 2000-2018",
            "",
            ("climate_variable", "climate_month"),
            {"climate_variable": CLIMATE_VARIABLES, "climate_month": CLIMATE_MONTHS},
            0.1,
            bands=CLIMATE,
            period=12,
            references="CHELSA 2.1 (Karger et al. 2017)",
        ),
        Layer(
            "bioclim",
            "inputs/1km",
            "float32",
            float("nan"),
            "Bioclimatic variables",
            "",
            ("bioclim_variable",),
            {"bioclim_variable": BIOCLIM_VARIABLES},
            bands=BIOCLIM,
            references="O'Donnell and Ignizio 2012",
        ),
        Layer(
            "effort",
            "inputs/1km",
            "float32",
            float("nan"),
            "Presence-only records per square kilometre, smoothed",
            "km-2",
            palette="magma",
            predictor=False,
        ),
        Layer(
            "terrain",
            "inputs/1km",
            "float32",
            float("nan"),
            "Elevation statistics of coarse terrain",
            "m",
            ("terrain_statistic",),
            {"terrain_statistic": TERRAIN_STATISTICS},
            palette="batlow",
        ),
        Layer(
            "srtm",
            "inputs/1km",
            "float32",
            float("nan"),
            "Mean elevation (SRTM)",
            "m",
            palette="batlow",
            standard_name="surface_altitude",
        ),
        Layer(
            "corine",
            "inputs/1km",
            "float32",
            float("nan"),
            "Fraction of CORINE land cover classes",
            "1",
            ("clc_class",),
            {"clc_class": CORINE_CLASSES},
            valid_range=(0.0, 1.0),
            standard_name="area_fraction",
            references="CORINE Land Cover 2018",
        ),
    )
}


SURFACE: Final = INPUTS["surface"].path  # says which cells are predicted


def input_layer(name: str) -> Layer:
    """The row of the table for the input `name`; raises `CubeError` naming the known ones."""
    try:
        return INPUTS[name]
    except KeyError:
        raise CubeError(f"'{name}' is not an input layer; known are {', '.join(sorted(INPUTS))}.") from None
