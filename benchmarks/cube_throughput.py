"""How fast Sentinel-2 scenes become a composite: ours compared with odc-stac, stackstac and gdalwarp.

All of them read the same generated scenes (UTM, tiled and deflated, SCL at 20 m) in the same run, by turns, and all but
gdalwarp mask by SCL and take the same median. `odc-stac` and `stackstac` bring every band of every scene to the grid, as
they are used; the ways `in UTM` load the scenes' own pixels, as ours does, and resample the one median as ours does: what
lies between them and the ones before is what warping once instead of sixty times saves, what remains to ours is its
reader, which copies pixels where the libraries warp. gdalwarp only brings the bands of every scene to the grid, a
process a band. `records()` is what `benchmarks/cube.py` prints as a part of its table.

    python -m benchmarks.cube --only throughput --json throughput.json
"""

from __future__ import annotations

import resource
import shutil
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.warp import transform_bounds
from scipy.ndimage import gaussian_filter

from cube import grid
from cube.config import StacSearch
from cube.grid import FINE, Region
from cube.layers.inputs import SENTINEL2_BANDS
from cube.sources import sentinel2
from cube.sources.composite import clear_median
from cube.sources.processing import BOA_OFFSET
from cube.sources.raster_grid import RasterGrid
from cube.sources.stac import open_catalogue

UTM = 32633
CLOUD = 0.4  # of each scene, in heaps: every scene has clear pixels, so that nobody is spared one


def write_scenes(folder: Path, region: Region, scenes: int, seed: int = 0) -> str:
    """Write scenes that cover the region, in the format of real ones, and return the path of their catalogue."""
    rng = np.random.default_rng(seed)
    west, south, east, north = transform_bounds(grid.EUROPE.epsg, UTM, *region.grown_bounds)
    west, north = np.floor(west / 20) * 20 - 400, np.ceil(north / 20) * 20 + 400
    side = -(-int(max(east - west, north - south) + 400) // 20) * 2
    transform = Affine(10, 0, west, 0, -10, north)
    relief = gaussian_filter(rng.standard_normal((side, side)), 4) * 6
    root = pystac.Catalog("benchmark", "generated scenes")
    extent = pystac.Extent(pystac.SpatialExtent([[-20, 30, 60, 75]]), pystac.TemporalExtent([[None, None]]))
    collection = pystac.Collection("sentinel-2-l2a", "generated scenes", extent)
    root.add_child(collection)
    box = list(transform_bounds(UTM, 4326, west, north - side * 10, west + side * 10, north))
    ring = [[box[i], box[j]] for i, j in ((0, 1), (2, 1), (2, 3), (0, 3), (0, 1))]
    for n in range(scenes):
        moment = datetime(2021, 6, 1, tzinfo=UTC) + timedelta(days=5 * n)
        properties = {
            "s2:processing_baseline": "05.09",
            "proj:epsg": UTM,
            "proj:code": f"EPSG:{UTM}",
            "eo:cloud_cover": 100 * CLOUD,
        }
        item = pystac.Item(f"scene{n:03d}", {"type": "Polygon", "coordinates": [ring]}, box, moment, properties)
        cloud = gaussian_filter(rng.standard_normal((side // 2, side // 2)), 30)
        layers = {"scl": np.where(cloud < np.quantile(cloud, CLOUD), 9, 4)}
        for k, band in enumerate(SENTINEL2_BANDS):
            layers[band] = 1000 + 900 * (k + 1) + 300 * relief + rng.integers(0, 80, (side, side))
        for name, values in layers.items():
            path = folder / f"{item.id}-{name}.tif"
            scl = name == "scl"
            with rasterio.open(
                path,
                "w",
                driver="GTiff",
                height=values.shape[0],
                width=values.shape[1],
                count=1,
                dtype="uint8" if scl else "uint16",
                crs=f"EPSG:{UTM}",
                nodata=0,
                tiled=True,
                blockxsize=512,
                blockysize=512,
                transform=Affine(20, 0, west, 0, -20, north) if scl else transform,
                compress="deflate",
                predictor=2,
                zlevel=6,
            ) as target:
                target.write(np.clip(values, 1, None).astype("uint8" if scl else "uint16"), 1)
            item.add_asset(name, pystac.Asset(str(path), media_type=pystac.MediaType.COG, roles=["data"]))
        collection.add_item(item)
    root.normalize_and_save(str(folder), pystac.CatalogType.ABSOLUTE_PUBLISHED)
    return str(folder / "catalog.json")


def _clear_median(values: np.ndarray, scl: np.ndarray, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """What our own composite does with a stack, for one that others have read: (scene, band, y, x) and (scene, y, x)."""
    clear = np.isin(scl, sentinel2.CLEAR) & (values != 0).all(axis=1)
    np.clip(values, BOA_OFFSET + 1, 65534, out=values)
    values -= np.uint16(BOA_OFFSET)
    return clear_median(values, clear, threads)


def _median_of(values: np.ndarray, scl: np.ndarray, threads: int) -> np.ndarray:
    median, _ = _clear_median(values, scl, threads)
    return np.where(np.isnan(median), 65535, np.rint(np.nan_to_num(median))).astype(np.uint16)


def _ways(catalog: str, region: Region, threads: int, folder: Path) -> dict[str, Callable[[], Any]]:
    import odc.stac
    import stackstac
    from odc.geo.geobox import GeoBox

    # odc-stac shows its warps arrays without a place where nothing is to be warped.
    warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)
    unit = next(region.units())
    search = StacSearch.model_validate({"catalog": catalog, "start": "2021-01-01", "end": "2031-12-31"})
    scenes = open_catalogue(catalog, search, sentinel2.SENTINEL2, region).touching(unit)
    items = sorted(pystac.Catalog.from_file(catalog).get_items(recursive=True), key=lambda item: item.id)
    bands = [*SENTINEL2_BANDS, "scl"]
    box = GeoBox.from_bbox(unit.bounds, crs=f"EPSG:{grid.EUROPE.epsg}", resolution=FINE)

    def our_way() -> Any:
        return sentinel2.composite(scenes, unit)[0]

    def odc_stac() -> Any:
        data = odc.stac.load(items, bands, geobox=box, groupby="id", resampling="nearest", pool=threads, dtype="uint16", nodata=0)
        return _median_of(np.stack([data[b].values for b in SENTINEL2_BANDS], 1), data["scl"].values, threads)

    def plain_stackstac() -> Any:
        stack = stackstac.stack(items, epsg=grid.EUROPE.epsg, bounds=unit.bounds, **plainly)
        values = stack.compute(scheduler="threads", num_workers=threads).values
        return _median_of(np.ascontiguousarray(values[:, :-1]), values[:, -1], threads)

    # The same window of the scenes' own pixels that ours reads, and the same way from there to the grid.
    pixels = sentinel2.stack.common_grid(scenes, "red", RasterGrid.of_place(unit, FINE))
    cells = RasterGrid.over(unit.bounds, FINE)
    window = pixels.around(cells, sentinel2.stack.MARGIN)
    utm_box = GeoBox.from_bbox(window.bounds, crs=f"EPSG:{UTM}", resolution=FINE)
    plainly = {
        "assets": bands,
        "resolution": FINE,
        "resampling": Resampling.nearest,
        "dtype": np.dtype("uint16"),
        "fill_value": np.uint16(0),
        "rescale": False,
        "xy_coords": "center",
        "errors_as_nodata": (),
        "properties": False,
        "band_coords": False,
        "chunksize": 4096,
    }

    def laid(values: np.ndarray, scl: np.ndarray) -> Any:
        return sentinel2._resampled(*_clear_median(values, scl, threads), window, cells)[0]

    def odc_in_utm() -> Any:
        data = odc.stac.load(
            items, bands, geobox=utm_box, groupby="id", resampling="nearest", pool=threads, dtype="uint16", nodata=0
        )
        return laid(np.stack([data[b].values for b in SENTINEL2_BANDS], 1), data["scl"].values)

    def stackstac_in_utm() -> Any:
        stack = stackstac.stack(items, epsg=UTM, bounds=window.bounds, **plainly)
        values = stack.compute(scheduler="threads", num_workers=threads).values
        return laid(np.ascontiguousarray(values[:, :-1]), values[:, -1])

    ways: dict[str, Callable[[], Any]] = {
        "floracube": our_way,
        "odc-stac": odc_stac,
        "stackstac": plain_stackstac,
        "odc-stac in UTM": odc_in_utm,
        "stackstac in UTM": stackstac_in_utm,
    }
    binary = shutil.which("gdalwarp")
    if binary:

        def warp(item: pystac.Item) -> None:
            for band in bands:
                grid_of = f"-t_srs EPSG:{grid.EUROPE.epsg} -tr {FINE} {FINE} -te".split() + [str(edge) for edge in unit.bounds]
                files = [item.assets[band].href, str(folder / f"{item.id}-{band}.tif")]
                subprocess.run([binary, "-q", "-overwrite", *grid_of, "-r", "near", *files], check=True)

        def gdalwarp() -> Any:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(warp, items))
            return None

        ways["gdalwarp"] = gdalwarp
    return ways


def _cpu() -> float:
    """CPU seconds of this process and its children so far."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def records(unit_km: int = 10, scenes: int = 12, repeats: int = 5, seed: int = 0) -> list[dict[str, Any]]:
    """Flat records {way, scenes, unit_km, seconds, cpu_seconds, megapixels_per_second, ratio_to_odc_stac}, medians of `repeats`.

    A megapixel is one of one band of one scene on the target grid. The ratio is the median of those of the single
    rounds, in which the ways follow each other, so that what else the machine does weighs on all of them.
    """
    region = Region(4700, 2850, 4700 + unit_km, 2850 + unit_km, unit_km)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "warped").mkdir()
        catalog = write_scenes(folder, region, scenes, seed)
        ways = _ways(catalog, region, sentinel2.stack.threads(), folder / "warped")
        timings: dict[str, list[float]] = {way: [] for way in ways}
        processor_seconds: dict[str, list[float]] = {way: [] for way in ways}
        results = {way: run() for way, run in ways.items()}  # warms the page cache, and shows that all give the same picture
        for way in set(results) - {"floracube", "gdalwarp"}:
            difference = np.abs(results[way].astype(int) - results["floracube"].astype(int))[:, 50:-50, 50:-50]
            assert np.median(difference) < 100, f"{way} gives another composite"
        for turn in range(repeats):
            for way in list(ways)[turn % len(ways) :] + list(ways)[: turn % len(ways)]:
                start, cpu_before = time.perf_counter(), _cpu()
                ways[way]()
                timings[way].append(time.perf_counter() - start)
                processor_seconds[way].append(_cpu() - cpu_before)
    pixels = scenes * len(SENTINEL2_BANDS) * (unit_km * 1000 // FINE) ** 2 / 1e6
    return [
        {
            "way": way,
            "scenes": scenes,
            "unit_km": unit_km,
            "seconds": round(statistics.median(times), 3),
            "cpu_seconds": round(statistics.median(processor_seconds[way]), 3),
            "megapixels_per_second": round(pixels / statistics.median(times), 1),
            "ratio_to_odc_stac": round(statistics.median(o / t for o, t in zip(timings["odc-stac"], times, strict=True)), 2),
        }
        for way, times in timings.items()
    ]
