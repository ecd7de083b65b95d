"""Real scenes as a catalogue: cells compared with GDAL's average warp of the masked pixels, Slovenia and a Belgian year."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.transform import array_bounds
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from cube.config import Source
from cube.grid import Region, Unit
from cube.layers.inputs import INPUTS, QUARTERS
from cube.sources import landsat, sentinel2, stack
from cube.sources.raster_grid import RasterGrid
from tests.support.scenes import Array, Scenes, needs_stackstac, open_scenes

pytestmark = needs_stackstac
BANDS = ("red", "green", "blue", "nir")
DAYS = ("2015-07-11", "2015-07-31", "2015-08-20", "2015-08-30", "2015-09-09")
CLOUDY = ("2015-07-31", "2015-08-20")
SLOVENIA = Region(4670, 2530, 4680, 2540, 10)
BELGIUM = Region(3990, 3060, 4000, 3070, 10)


def gdal_average(values: Array, crs: Any, transform: Affine, unit: Unit, by_way_of: int | None = None) -> Array:
    """GDAL's average warp of (band, y, x), 0 no data, onto the unit's 50 m cells; NaN: none.

    In one step GDAL averages over the rectangle between two opposite corners of a cell, which is the cell only where
    the source is not rotated against it. `by_way_of` pixels of so many metres, nearest, which nest in the cells and are
    then averaged, it is exact; a cell that is covered in part is then NaN.
    """
    west, south, east, north = transform_bounds(crs, "EPSG:3035", *array_bounds(*values.shape[1:], transform))
    across, down = (np.array([west - 50, east + 100]) - unit.west) // 50, (unit.north - np.array([north + 50, south - 100])) // 50
    left, right, top, bottom = (int(np.clip(cell, 0, unit.cells)) for cell in (*across, *down))
    size = by_way_of or 50
    times = 50 // size
    target = Affine(size, 0, unit.west + left * 50, 0, -size, unit.north - top * 50)
    kind = {"count": len(values), "dtype": "float32", "crs": crs, "transform": transform, "nodata": 0}
    resampling = Resampling.nearest if by_way_of else Resampling.average
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", height=values.shape[1], width=values.shape[2], **kind) as file:
            file.write(values.astype(np.float32))
        where = {"transform": target, "width": (right - left) * times, "height": (bottom - top) * times}
        with memory.open() as held, WarpedVRT(held, crs="EPSG:3035", tolerance=0.001, resampling=resampling, **where) as warped:
            found = warped.read()
    found = np.where(found == 0, np.nan, found)
    out = np.full((len(values), unit.cells, unit.cells), np.nan)
    out[:, top:bottom, left:right] = found.reshape(len(values), bottom - top, times, right - left, times).mean(axis=(2, 4))
    return out


def cells(fine: Array) -> tuple[Array, Array]:
    """Exact means of 5 x 5 pixels (65535 no data), and which cells have all 25."""
    values = np.where(fine == 65535, np.nan, fine.astype(float))
    parts = values.reshape(len(fine), fine.shape[1] // 5, 5, fine.shape[2] // 5, 5)
    whole = np.isfinite(parts[0]).all(axis=(1, 3))
    return np.where(whole, parts.mean(axis=(2, 4)), np.nan), whole


def compare(ours: Array, theirs: Array, whole: Array, step: float) -> tuple[float, float]:
    """(mean relative difference, greatest difference in reflectance) over whole cells; `step` is a number's reflectance."""
    apart = np.abs(ours - theirs)[:, whole]
    return float((apart / theirs[:, whole]).mean()), float(apart.max() * step)


@pytest.fixture(scope="module")
def slovenia(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], dict[str, Any]]:
    """Catalogues `masked` (SCL from the cloud mask) and `bare` (all clear); per day (numbers, cloud, crs, transform)."""
    times = [text[:10] for text in json.loads((real_data / "slovenia/timestamps.json").read_text())]
    clouds = np.load(real_data / "slovenia/mask/CLM.npy")[..., 0]
    paths, scenes = {}, {}
    for kind in ("masked", "bare"):
        made = Scenes(tmp_path_factory.mktemp(kind), "sentinel-2-l2a")
        for day in DAYS:
            with rasterio.open(real_data / f"slovenia/derived/S2L1C_{day}.tif") as file:
                numbers = np.clip(np.rint(file.read([4, 3, 2, 8]) * 10_000), 1, 65_534)
                scenes[day] = (numbers, clouds[times.index(day)] > 0, file.crs, file.transform)
            scl = np.where(scenes[day][1] & (kind == "masked"), 9, 4)
            made.add(day, day, "EPSG:32633", scenes[day][3], dict(zip(BANDS, numbers, strict=True)), ("scl", scl, 0))
        paths[kind] = Path(made.save())
    return paths, scenes


def test_the_slovenian_composite_is_of_cloud_free_pixels_only(slovenia: Any) -> None:
    paths, scenes = slovenia
    unit = next(SLOVENIA.units())
    found = open_scenes(str(paths["masked"]), sentinel2.SENTINEL2, SLOVENIA).touching(unit)
    median, count = sentinel2.composite(found, unit)
    assert all(scenes[day][1].all() for day in CLOUDY)
    assert set(np.unique(count)) == {0, 3}
    clear = np.stack([scenes[day][0] for day in DAYS if day not in CLOUDY])
    theirs = gdal_average(np.median(clear, axis=0), scenes[DAYS[0]][2], scenes[DAYS[0]][3], unit)
    ours, whole = cells(median)
    assert whole.sum() > 350
    relative, greatest = compare(ours, theirs, whole, 1e-4)
    print(f"composite: mean relative {relative:.4f}, greatest {greatest:.4f}")
    assert relative <= 0.01
    assert greatest <= 0.01


@pytest.mark.parametrize("day", DAYS)
def test_each_slovenian_scene_is_gdals_average(slovenia: Any, day: str) -> None:
    paths, scenes = slovenia
    unit = next(SLOVENIA.units())
    found = open_scenes(str(paths["bare"]), sentinel2.SENTINEL2, SLOVENIA, start=day, end=day).touching(unit)
    assert [scene.id for scene in found] == [day]
    numbers, _, crs, transform = scenes[day]
    ours, whole = cells(sentinel2.composite(found, unit)[0])
    assert whole.sum() > 350
    relative, greatest = compare(ours, gdal_average(numbers, crs, transform, unit), whole, 1e-4)
    print(f"{day}: mean relative {relative:.4f}, greatest {greatest:.4f}")
    assert relative <= 0.01
    assert greatest <= 0.01


def test_part_of_a_real_scene_under_a_real_cloud(slovenia: Any, real_data: Path, tmp_path: Path) -> None:
    """The cloud mask of a day that is cloudy in part, over a clear scene whose covered pixels are made white."""
    _, scenes = slovenia
    clouds = np.load(real_data / "slovenia/mask/CLM.npy")[..., 0] > 0
    partly = clouds[np.argmin(np.abs(clouds.mean(axis=(1, 2)) - 0.5))]
    assert 0.3 < partly.mean() < 0.7
    numbers, _, crs, transform = scenes[DAYS[0]]
    unit = next(SLOVENIA.units())
    made = Scenes(tmp_path, "sentinel-2-l2a")
    white = np.where(partly, 15_000, numbers)
    made.add("s", DAYS[0], "EPSG:32633", transform, dict(zip(BANDS, white, strict=True)), ("scl", np.where(partly, 9, 4), 0))
    ours, whole = cells(sentinel2.composite(open_scenes(made.save(), sentinel2.SENTINEL2, SLOVENIA).touching(unit), unit)[0])
    theirs = gdal_average(np.where(partly, 0, numbers), crs, transform, unit)
    assert whole.sum() > 100
    relative, greatest = compare(ours, theirs, whole, 1e-4)
    print(f"under a cloud: mean relative {relative:.4f}, greatest {greatest:.4f}")
    assert relative <= 0.01
    assert greatest <= 0.01


@pytest.fixture(scope="module")
def belgium(real_data: Path) -> tuple[Mapping[str, Array], list[datetime.date], Affine]:
    """The year as it is in the file: 12 months of six bands (month, y, x), 65535 no data, their days, the transform."""
    names = {"red": "B04", "green": "B03", "blue": "B02", "nir08": "B08", "swir16": "B11", "swir22": "B12"}
    bands = {}
    for asset, name in names.items():
        with rasterio.open(f"netcdf:{real_data}/belgium/worldcereal_preprocessed_inputs.nc:S2-L2A-{name}") as file:
            bands[asset] = file.read()
            days = [
                datetime.date(1990, 1, 1) + datetime.timedelta(int(tags["NETCDF_DIM_t"])) for tags in map(file.tags, file.indexes)
            ]
            transform = file.transform
    return bands, days, transform


@pytest.mark.slow
def test_twelve_belgian_months_become_quarters(belgium: Any, tmp_path: Path) -> None:
    bands, days, transform = belgium
    assert (days[0], days[-1]) == (datetime.date(2020, 11, 1), datetime.date(2021, 10, 1))
    made = Scenes(tmp_path, "landsat-c2-l2")
    numbers: dict[str, list[Array]] = {}
    for month, day in enumerate(days):
        known = np.all([values[month] != 65535 for values in bands.values()], axis=0)
        if not known.any():
            continue  # the file has no winter: two of its months are empty
        # A year earlier, since the layer ends with 2020; reflectance as Collection 2 would have written it.
        moved = day.replace(year=day.year - 1)
        scaled = {a: np.rint((v[month] * 1e-4 + 0.2) / 2.75e-5) for a, v in bands.items()}
        made.add(f"{moved}", f"{moved}", "EPSG:32631", transform, scaled, ("qa_pixel", np.where(known, 21824, 22280), 1), fill=1)
        name = landsat.quarter_of(datetime.datetime.combine(moved, datetime.time()))
        numbers.setdefault(name, []).append(np.where(known, np.stack(list(scaled.values())), np.nan))
    assert set(numbers) == {"2019Q4", "2020Q1", "2020Q2", "2020Q3", "2020Q4"}
    unit = next(BELGIUM.units())
    found = open_scenes(made.save(), landsat.LANDSAT, BELGIUM)
    scenes = found.touching(unit)
    pixels = stack.common_grid(scenes, "red", RasterGrid.of_place(unit, 50))
    source = Source(layer="landsat", stac=found.search)
    stored = landsat.LandsatReader(source, found.search, found).read(BELGIUM, unit)["landsat"]
    for name, months in numbers.items():
        median = np.nanmedian(np.stack(months), axis=0)
        crs = rasterio.crs.CRS.from_epsg(32631)
        some = [scene for scene in scenes if landsat.quarter_of(scene.moment) == name]
        ours = landsat.quarter(some, unit, pixels)
        covered = gdal_average(np.isfinite(median[:1]) + 1.0, crs, transform, unit)[0]
        inner = np.isfinite(covered) & (covered == 2) & np.isfinite(ours[0])
        # A cell in from the edge of the file, where GDAL's cell and ours are covered in part.
        inner[1:-1, 1:-1] &= inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
        one_step, two_steps = (
            gdal_average(np.nan_to_num(median), crs, transform, unit, way) * 2.75e-5 - 0.2 for way in (None, 2)
        )
        inner &= np.isfinite(two_steps).all(axis=0)
        assert inner.sum() > 250
        near, far = compare(ours, two_steps, inner, 1.0), compare(ours, one_step, inner, 1.0)
        gdals = compare(two_steps, one_step, inner, 1.0)
        print(f"{name}, {len(months)} months, {inner.sum()} cells, mean relative and greatest difference: to two steps {near},")
        print(f"    to one step {far}, between the two {gdals}")
        assert near[0] <= 0.01
        assert near[1] <= 0.01
        assert far[0] <= 0.01
        # Turned by five degrees against our cells, GDAL's one step is itself further from the mean than we are from either.
        assert far[1] <= gdals[1] + 0.002
        layer = INPUTS["landsat"]
        kept = stored[:, QUARTERS.index(name)]
        assert np.abs(kept * layer.scale - np.clip(ours, 0, 1))[:, inner].max() <= layer.scale / 2 + 1e-6
    assert (np.delete(stored, [QUARTERS.index(name) for name in numbers], axis=1) == 255).all()
