"""Legends of published land cover: codes, names, official colours, and what each class says of the surface.

The layers that carry them are rows of `cube.layers.inputs`; the products that use them of `cube.sources.published_rasters`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LAND: Final = 0
WATER: Final = 1
SEALED: Final = 2

Flags = tuple[tuple[int, str, str], ...]  # value, meaning, #rrggbb

SURFACE: Final[Flags] = (
    (LAND, "land", "#d9d7c5"),
    (WATER, "permanent water", "#5b8fb9"),
    (SEALED, "sealed", "#8a8a8a"),
)

# Raster value, CLC code, name, colour: the legend that comes with the raster download
# (CLC2018_CLC2018_V2018_20_QGIS.txt; European Environment Agency).
CORINE: Final[tuple[tuple[int, int, str, str], ...]] = (
    (1, 111, "Continuous urban fabric", "#e6004d"),
    (2, 112, "Discontinuous urban fabric", "#ff0000"),
    (3, 121, "Industrial or commercial units", "#cc4df2"),
    (4, 122, "Road and rail networks and associated land", "#cc0000"),
    (5, 123, "Port areas", "#e6cccc"),
    (6, 124, "Airports", "#e6cce6"),
    (7, 131, "Mineral extraction sites", "#a600cc"),
    (8, 132, "Dump sites", "#a64d00"),
    (9, 133, "Construction sites", "#ff4dff"),
    (10, 141, "Green urban areas", "#ffa6ff"),
    (11, 142, "Sport and leisure facilities", "#ffe6ff"),
    (12, 211, "Non-irrigated arable land", "#ffffa8"),
    (13, 212, "Permanently irrigated land", "#ffff00"),
    (14, 213, "Rice fields", "#e6e600"),
    (15, 221, "Vineyards", "#e68000"),
    (16, 222, "Fruit trees and berry plantations", "#f2a64d"),
    (17, 223, "Olive groves", "#e6a600"),
    (18, 231, "Pastures", "#e6e64d"),
    (19, 241, "Annual crops associated with permanent crops", "#ffe6a6"),
    (20, 242, "Complex cultivation patterns", "#ffe64d"),
    (21, 243, "Land principally occupied by agriculture with significant areas of natural vegetation", "#e6cc4d"),
    (22, 244, "Agro-forestry areas", "#f2cca6"),
    (23, 311, "Broad-leaved forest", "#80ff00"),
    (24, 312, "Coniferous forest", "#00a600"),
    (25, 313, "Mixed forest", "#4dff00"),
    (26, 321, "Natural grasslands", "#ccf24d"),
    (27, 322, "Moors and heathland", "#a6ff80"),
    (28, 323, "Sclerophyllous vegetation", "#a6e64d"),
    (29, 324, "Transitional woodland-shrub", "#a6f200"),
    (30, 331, "Beaches dunes sands", "#e6e6e6"),
    (31, 332, "Bare rocks", "#cccccc"),
    (32, 333, "Sparsely vegetated areas", "#ccffcc"),
    (33, 334, "Burnt areas", "#000000"),
    (34, 335, "Glaciers and perpetual snow", "#a6e6cc"),
    (35, 411, "Inland marshes", "#a6a6ff"),
    (36, 412, "Peat bogs", "#4d4dff"),
    (37, 421, "Salt marshes", "#ccccff"),
    (38, 422, "Salines", "#e6e6ff"),
    (39, 423, "Intertidal flats", "#a6a6e6"),
    (40, 511, "Water courses", "#00ccf2"),
    (41, 512, "Water bodies", "#80f2e6"),
    (42, 521, "Coastal lagoons", "#00ffa6"),
    (43, 522, "Estuaries", "#a6ffe6"),
    (44, 523, "Sea and ocean", "#e6f2ff"),
)
CORINE_FLAGS: Final[Flags] = tuple((value, name, colour) for value, _, name, colour in CORINE)
CORINE_CODES: Final[Mapping[int, int]] = {code: value for value, code, _, _ in CORINE}  # 111 -> 1, ..., 523 -> 44

CORINE_RECODED: Final[Mapping[int, int]] = {**CORINE_CODES, 990: 49, 995: 50, 999: 48}

# International Geosphere-Biosphere Programme classes of MCD12Q1 LC_Type1, colours of the Earth Engine catalogue.
IGBP: Final[Flags] = (
    (1, "Evergreen needleleaf forests", "#05450a"),
    (2, "Evergreen broadleaf forests", "#086a10"),
    (3, "Deciduous needleleaf forests", "#54a708"),
    (4, "Deciduous broadleaf forests", "#78d203"),
    (5, "Mixed forests", "#009900"),
    (6, "Closed shrublands", "#c6b044"),
    (7, "Open shrublands", "#dcd159"),
    (8, "Woody savannas", "#dade48"),
    (9, "Savannas", "#fbff13"),
    (10, "Grasslands", "#b6ff05"),
    (11, "Permanent wetlands", "#27ff87"),
    (12, "Croplands", "#c24f44"),
    (13, "Urban and built-up lands", "#a5a5a5"),
    (14, "Cropland and natural vegetation mosaics", "#ff6d4c"),
    (15, "Permanent snow and ice", "#69fff8"),
    (16, "Barren", "#f9ffa4"),
    (17, "Water bodies", "#1c0dff"),
)

# What may carry plants. A class that is mixed by definition (gardens among houses, salt works, intertidal flats,
# marshes) stays land; sealed is what is paved or built over for most of its area by the class's own definition.
CORINE_SURFACE: Final[Mapping[int, int]] = {
    **{value: LAND for value, _, _, _ in CORINE},
    # Over 80 % sealed (111), industry, roads and railways, ports, airports: 121, 122, 123, 124.
    **dict.fromkeys((CORINE_CODES[c] for c in (111, 121, 122, 123, 124)), SEALED),
    # Water courses, water bodies, lagoons, estuaries, sea.
    **dict.fromkeys((CORINE_CODES[c] for c in (511, 512, 521, 522, 523)), WATER),
    50: WATER,  # "unclassified water bodies" of the raster
    49: LAND,  # "unclassified land surface"
}
IGBP_SURFACE: Final[Mapping[int, int]] = {**{value: LAND for value, _, _ in IGBP}, 13: SEALED, 17: WATER}
# ESA WorldCover: 10 tree cover, 20 shrubland, 30 grassland, 40 cropland, 50 built-up, 60 bare or sparse vegetation,
# 70 snow and ice, 80 permanent water, 90 herbaceous wetland, 95 mangroves, 100 moss and lichen (user manual v2.0).
WORLDCOVER_SURFACE: Final[Mapping[int, int]] = {
    **dict.fromkeys((10, 20, 30, 40, 60, 70, 90, 95, 100), LAND),
    50: SEALED,
    80: WATER,
}
