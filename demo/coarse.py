"""The sources beside the scenes: elevation, climate, soil, land cover, footprint, Landsat series, each on its own grid."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter

from demo import landuse as lu
from demo.bioclim import bioclim
from demo.climate import monthly_series, normals
from demo.landscape import Landscape
from demo.noise import Field, fractal, smoothstep, stream
from demo.rasters import covering, nearest, positions, sampled, side_by_side, utm, write
from demo.reflectance import BANDS, greenness, reflectance
from demo.scenes import view_on

WGS84: Final = "EPSG:4326"
SECOND: Final = 1 / 3600
MONTHS: Final = 228
QUARTERS: Final = 84
QUARTER_DAYS: Final = (20, 132, 213, 288)
# IGBP class (MCD12Q1 type 1) of each land cover; mixed forest and mosaics come from shares below.
IGBP: Final = (255, 17, 13, 13, 12, 10, 11, 4, 1, 7, 10, 16)


def write_elevation(landscape: Landscape, folder: Path) -> None:
    """dem.tif: float32 metres, one arc second, with the noise of a radar model."""
    target = covering(landscape.domain, WGS84, SECOND)
    height = sampled(landscape.terrain.elevation, positions(landscape.domain, target))
    noise = stream(landscape.spec.seed, "dem").normal(0, 0.6, height.shape)
    water = sampled(landscape.terrain.lake.astype(np.float32), positions(landscape.domain, target)) > 0.5
    height = (height + np.where(water, 0, noise)).astype(np.float32)
    write(folder / "dem.tif", target, np.round(height, 1), -9999.0)


def write_climate(landscape: Landscape, folder: Path) -> None:
    """pr, tas, tasmax, tasmin (228 months, uint16, value x 0.1 = mm or K) and bioclim.tif, 30 arc seconds."""
    target = covering(landscape.domain, WGS84, 30 * SECOND)
    at = positions(landscape.domain, target)
    height = sampled(uniform_filter(landscape.terrain.elevation, 18), at)
    rain = sampled(uniform_filter(landscape.climate.rain_factor, 18), at)
    series = monthly_series(height, rain, landscape.climate.anomaly)
    months = tuple(f"{2000 + m // 12}-{m % 12 + 1:02d}" for m in range(MONTHS))
    for k, name in enumerate(("pr", "tas", "tasmax", "tasmin")):
        raw = np.clip(np.round(series[k] * 10), 0, 65534).astype(np.uint16)
        write(folder / f"{name}.tif", target, raw, 65535, descriptions=months, scale=0.1)
    pr, tas, warm, cold = normals(height, rain)
    layers = bioclim(pr, tas - 273.15, warm - 273.15, cold - 273.15)
    names = tuple(f"bio{k}" for k in range(1, 20))
    write(folder / "bioclim.tif", target, layers, -9999.0, descriptions=names)


def write_soil(landscape: Landscape, folder: Path) -> None:
    """Nine SoilGrids layers (5-15 cm, mapped units, int16) at about 250 m: true soil, smoothed and predicted."""
    soil = landscape.soil
    target = covering(landscape.domain, WGS84, 0.0025)
    at = positions(landscape.domain, target)
    rng = stream(landscape.spec.seed, "soilgrids")
    silt = np.clip(100 - soil.clay - soil.sand, 2, 90)
    total = soil.clay + soil.sand + silt
    cec = 0.55 * soil.clay + 0.14 * soil.carbon + 3 * (soil.ph - 4)
    density = 1.48 - 0.0022 * soil.carbon - 0.004 * soil.stones
    layers = {  # field, mapped units per unit, relative error of the prediction
        "bdod": (np.clip(density, 0.3, 1.8), 100, 0.03),
        "cec": (cec * 10, 1, 0.08),
        "cfvo": (soil.stones * 10, 1, 0.12),
        "clay": (soil.clay / total * 1000, 1, 0.06),
        "sand": (soil.sand / total * 1000, 1, 0.06),
        "silt": (silt / total * 1000, 1, 0.06),
        "nitrogen": (soil.carbon / 12 * 100, 1, 0.08),
        "phh2o": (soil.ph * 10, 1, 0.03),
        "soc": (soil.carbon * 10, 1, 0.1),
    }
    water = sampled(uniform_filter((landscape.land.surface == 1).astype(np.float32), 5), at) > 0.5
    for name, (field, factor, error) in layers.items():
        smooth = sampled(gaussian_filter(field, 2.5), at) * factor
        wrong = fractal(target.shape, 12, rng, 2.0)
        values = np.round(smooth * (1 + error * wrong)).clip(-100, 32000).astype(np.int16)
        values[water] = -32768
        write(folder / f"{name}.tif", target, values, -32768)


def write_landcover(landscape: Landscape, folder: Path) -> None:
    """mcd12q1.tif: 13 bands uint8 as of MODIS MCD12Q1, about 463 m, the majority of what lies in a pixel."""
    target = covering(landscape.domain, WGS84, 463.3127 / 111_195)
    at = positions(landscape.domain, target)
    share = np.stack([sampled(uniform_filter(s, 9), at) for s in landscape.land.share])
    wood = share[lu.BROADLEAF] + share[lu.CONIFER]
    classes = np.array(IGBP)[share[1:].argmax(0) + 1]
    is_mixed = np.minimum(share[lu.BROADLEAF], share[lu.CONIFER]) > 0.3 * wood
    igbp = np.where(wood > 0.55, np.where(is_mixed, 5, classes), classes)
    igbp = np.where((wood <= 0.55) & (wood > 0.35) & (igbp != 17), 8, igbp)
    fields = share[lu.ARABLE] + share[lu.MEADOW]
    igbp = np.where((fields > 0.4) & (wood > 0.15) & (wood <= 0.35), 14, igbp)
    rng = stream(landscape.spec.seed, "modis")
    umd = np.where(igbp >= 16, np.where(igbp == 17, 0, 15), igbp)
    lai = np.select([igbp == 17, igbp == 12, igbp == 10, wood > 0.5], [0, 3, 1, 5], 4)
    bgc = np.select([igbp == 17, igbp == 1, igbp == 4, igbp == 10], [0, 1, 4, 6], 5)
    pft = np.select([igbp == 17, igbp == 1, igbp == 4, igbp == 12, igbp == 13], [0, 1, 4, 7, 9], 6)
    sure = (40 + 60 * share.max(0)).clip(0, 100)
    guess = [np.clip(sure + rng.normal(0, 5, sure.shape), 0, 100) for _ in range(3)]
    lccs1 = np.select([igbp == 17, igbp == 16, wood > 0.5], [3, 1, 14], 31)
    lccs2 = np.select([igbp == 17, igbp == 13, igbp == 12], [3, 9, 36], 20)
    lccs3 = np.select([igbp == 17, share[lu.MIRE] > 0.3, wood > 0.5], [3, 27, 10], 30)
    quality = np.zeros_like(igbp)
    water = np.where(igbp == 17, 1, 2)
    bands = [igbp, umd, lai, bgc, pft, *guess, lccs1, lccs2, lccs3, quality, water]
    names = [f"LC_Type{k}" for k in range(1, 6)]
    names += [f"LC_Prop{k}_Assessment" for k in range(1, 4)] + [f"LC_Prop{k}" for k in range(1, 4)]
    write(
        folder / "mcd12q1.tif",
        target,
        np.stack(bands).astype(np.uint8),
        255,
        descriptions=(*names, "QC", "LW"),
    )


def write_surface(landscape: Landscape, folder: Path) -> None:
    """surface.tif: uint8 at 10 m in UTM, 0 land, 1 permanent water, 2 sealed."""
    domain = landscape.domain
    target = covering(domain, utm(domain), 10)
    index = nearest(domain.fine_shape, positions(domain, target), lu.RATIO)
    code = np.zeros(len(lu.CLASSES), np.uint8)
    code[lu.WATER], code[lu.SEALED] = 1, 2
    surface = code[landscape.land.cover.ravel()[index]]
    write(folder / "surface.tif", target, surface, 255, tiled=True)


def write_footprint(landscape: Landscape, folder: Path) -> None:
    """hfp1993.tif and hfp2009.tif: human footprint 0..50, float32, 1 km, Mollweide."""
    target = covering(landscape.domain, "ESRI:54009", 1_000)
    at = positions(landscape.domain, target)
    share = landscape.land.share
    near = smoothstep(landscape.land.village_distance, 3_500, 100)
    pressure = 90 * (share[lu.SEALED] + 0.5 * share[lu.GARDEN]) + 11 * share[lu.ARABLE]
    pressure = pressure + 6 * share[lu.MEADOW] * landscape.land.management + 9 * near + 1
    mean: Field = sampled(uniform_filter(pressure, 20), at)
    noise = fractal(target.shape, 6, stream(landscape.spec.seed, "footprint"), 2.0)
    for year, growth in ((1993, 0.9), (2009, 1.0)):
        value = np.clip(growth * mean * (1 + 0.06 * noise), 0, 50).astype(np.float32)
        write(folder / f"hfp{year}.tif", target, value, -9999.0)


def _quantised(values: Field) -> NDArray[np.uint8]:
    """Reflectance 0..1 to 0..254, stretched as published: the square root keeps the dark bands apart."""
    stretched = np.sqrt(np.maximum(values, 0) / 0.7) * 254
    return np.asarray(np.clip(stretched, 0, 254).astype(np.uint8))


def write_landsat(landscape: Landscape, folder: Path) -> None:
    """Six files of 84 quarters (2000-2020), uint8, 30 m UTM: seasons, trends, droughts, gaps (255)."""
    domain, seed = landscape.domain, landscape.spec.seed
    target = covering(domain, utm(domain), 30)
    view, within = view_on(landscape, target)
    rng = stream(seed, "landsat")
    shape = target.shape
    trend = rng.normal(0.012, 0.02)
    years = rng.normal(0, 0.035, 21) + trend * np.linspace(-1, 1, 21)
    green = [greenness(view, day, 0, seed) for day in QUARTER_DAYS]
    noise = rng.normal(0, 1.0, shape).astype(np.float32)
    change = (0.12 * fractal(shape, 120, rng, 3.0)).astype(np.float32)
    gaps = []
    for quarter in range(QUARTERS):
        share = (0.16, 0.02, 0.015, 0.06)[quarter % 4] * rng.uniform(0.2, 1.8)
        field = fractal((shape[0] // 8 + 1, shape[1] // 8 + 1), 40, rng, 3.0)
        hole = np.kron(field > np.quantile(field, 1 - share), np.ones((8, 8), bool))
        gaps.append(hole[: shape[0], : shape[1]] | ~within)

    def write_band(band: str) -> None:
        leafless, leafy = (reflectance(view, band, np.full(shape, g, np.float32)) for g in (0, 1))
        stack = np.empty((QUARTERS, *shape), np.uint8)
        for quarter in range(QUARTERS):
            year = quarter // 4
            share_green = green[quarter % 4] * np.float32(1 + years[year])
            share_green = share_green * (1 + change * np.float32((year - 10) / 10))
            mixed_reflectance = leafless + share_green * (leafy - leafless)
            season_noise = np.roll(noise, (quarter * 37, quarter * 91), (0, 1))
            stack[quarter] = _quantised(mixed_reflectance + np.float32(0.0007) * season_noise)
            stack[quarter][gaps[quarter]] = 255
        write(folder / f"{band}.tif", target, stack, 255, interleave="band", tiled=True)

    side_by_side(write_band, BANDS)
