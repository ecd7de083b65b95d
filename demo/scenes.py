"""Sentinel-2 scenes of the landscape: clouds and their shadows, processing baselines, COGs, and the STAC catalogue."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pystac
from numpy.typing import NDArray
from pyproj import Transformer
from scipy.ndimage import gaussian_filter, shift, zoom

from demo import landuse as lu
from demo.landscape import Landscape
from demo.noise import Field, fractal, stream
from demo.rasters import Target, covering, inside, nearest, positions, sampled, side_by_side, utm, write
from demo.reflectance import View, greenness, reflectance

PIXEL: Final = 10.0
COMMON: Final = {"red": "B04", "green": "B03", "blue": "B02", "nir": "B08"}
DAYS: Final = (136, 168, 187, 204, 229, 258)  # mid May to mid September
YEARS: Final = (2021, 2022)
SCL_OF: Final = {lu.WATER: 6, lu.SEALED: 5, lu.ROCK: 5, lu.OUTSIDE: 0}
COLLECTION: Final = "sentinel-2-l2a"


def dates(count: int, seed: int) -> list[datetime]:
    """Dates of the scenes: spread over the months May to September of two years."""
    rng = stream(seed, "dates")
    days: list[datetime] = []
    for k in range(count):
        day = DAYS[k % len(DAYS)] + int(rng.integers(-5, 6)) + 3 * (k // len(DAYS))
        year = YEARS[(k + k // len(DAYS)) % 2]
        days.append(datetime(year, 1, 1, 10, 26, 31, tzinfo=UTC) + timedelta(days=min(day, 270) - 1))
    return sorted(days)


def view_on(landscape: Landscape, target: Target) -> tuple[View, NDArray[np.bool_]]:
    """The landscape as a sensor with the target's pixels meets it, and which pixels lie in the domain."""
    domain, land, terrain = landscape.domain, landscape.land, landscape.terrain
    at = positions(domain, target)
    within = inside(domain, at)
    index = nearest(domain.fine_shape, at, lu.RATIO)
    gy, gx = np.gradient(gaussian_filter(terrain.elevation, 1.0), 50.0)
    sun_y, sun_x, sun_z = -0.62 * 0.5, 0.35 * 0.5, 0.86  # from the south-south-east, 59 degrees high
    light = (sun_z + gy * -sun_y + gx * -sun_x) / np.sqrt(1 + gx**2 + gy**2) / sun_z
    light = 0.35 + 0.65 * np.clip(light, 0.15, 1.5)  # part of the light is diffuse, part is corrected
    cover = land.cover.ravel()[index]
    cover[~within] = lu.OUTSIDE
    moist = np.clip((landscape.site.values[2] - 4) / 4, 0, 1)
    view = View(
        cover,
        land.parcel.ravel()[index],
        land.intensity.ravel()[index],
        sampled((terrain.elevation - 450) / 1000, at),
        sampled(moist, at),
        sampled(light, at),
    )
    return view, within


def _clouds(shape: tuple[int, int], share: float, rng: np.random.Generator) -> tuple[Field, NDArray[np.bool_]]:
    """Cloud thickness 0..1 and shadow, at 10 m: heaps of a km or so, and veils over a few percent."""
    step = 8
    small = (shape[0] // step + 2, shape[1] // step + 2)
    heap = fractal(small, 45, rng, 2.9)
    thick = np.clip((heap - np.quantile(heap, 1 - share)) / 0.35, 0, 1)
    veil = fractal(small, 70, rng, 3.4)
    thin = 0.26 * np.clip((veil - np.quantile(veil, 0.965)) / 0.6, 0, 1)
    cast = shift(thick, (-9, -5), order=1) > 0.35
    depth = zoom(np.maximum(thick, thin), step, order=1)[: shape[0], : shape[1]]
    shadow = zoom(cast.astype(np.uint8), step, order=0)[: shape[0], : shape[1]].astype(bool)
    return np.asarray(depth, np.float32), shadow & (depth < 0.1)


def classify(view: View, green: Field, depth: Field, shadow: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Scene classification at 10 m: 0 none, 3 shadow, 4 plants, 5 bare, 6 water, 8, 9 cloud, 10 thin."""
    scl = np.where(green > 0.30, 4, 5).astype(np.uint8)
    for cover, code in SCL_OF.items():
        scl[view.cover == cover] = code
    scl[shadow] = 3
    scl[depth > 0.06] = 10
    scl[depth > 0.28] = 8
    scl[depth > 0.6] = 9
    scl[view.cover == lu.OUTSIDE] = 0
    return scl


@dataclass(frozen=True)
class _Acquisition:
    """A scene before it is written: arrays of one shape, at 10 m."""

    view: View
    texture: Field
    green: Field
    depth: Field
    shadow: NDArray[np.bool_]
    added_counts: int  # counts, by the processing baseline

    def write(self, place: Path, target: Target, band: str) -> None:
        """Write a band as counts, 0 outside, into the folder `place`."""
        band_reflectance = reflectance(self.view, band, self.green) * np.where(self.shadow, np.float32(0.42), np.float32(1))
        bright = np.float32(0.62 if band != "nir" else 0.66)
        band_reflectance += self.depth * (bright * (1 + 0.3 * self.texture) - band_reflectance)
        numbers = np.clip(band_reflectance, 0.0002, 1.4) * 10_000 + self.added_counts
        # Steps of 8 counts, finer than the sensor's noise, so that the files stay small.
        counts = (numbers * 0.125).astype(np.uint16) * np.uint16(8)
        counts[self.view.cover == lu.OUTSIDE] = 0
        write(place / f"{band}.tif", target, counts, 0, cog=True, resampling="average")


def _item(name: str, moment: datetime, target: Target, baseline: str, cloud: float, offset: float) -> pystac.Item:
    rows, cols = target.shape
    west, north = target.transform.c, target.transform.f
    east, south = west + cols * target.transform.a, north + rows * target.transform.e
    x = [west, east, east, west, west]
    y = [north, north, south, south, north]
    lon, lat = Transformer.from_crs(target.crs.to_wkt(), 4326, always_xy=True).transform(x, y)
    ring = [[round(float(a), 6), round(float(b), 6)] for a, b in zip(lon, lat, strict=True)]
    code = target.crs.to_epsg()
    item = pystac.Item(
        id=name,
        geometry={"type": "Polygon", "coordinates": [[list(point) for point in ring]]},
        bbox=[min(lon), min(lat), max(lon), max(lat)],
        datetime=moment,
        properties={
            "platform": "sentinel-2a",
            "constellation": "sentinel-2",
            "instruments": ["msi"],
            "eo:cloud_cover": round(cloud, 2),
            "s2:processing_baseline": baseline,
            "s2:nodata_pixel_percentage": 0.0,
            "proj:code": f"EPSG:{code}",
            "proj:epsg": code,
        },
        stac_extensions=[
            "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
            "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
            "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
        ],
    )
    for asset in (*COMMON, "scl"):
        step = 1 if asset != "scl" else 2
        t = target.transform
        band: dict[str, Any] = {"nodata": 0, "spatial_resolution": PIXEL * step}
        band |= {"data_type": "uint8"} if asset == "scl" else {"data_type": "uint16", "scale": 0.0001, "offset": offset}
        fields: dict[str, Any] = {
            "proj:shape": [rows // step, cols // step],
            "proj:transform": [t.a * step, 0.0, t.c, 0.0, t.e * step, t.f],
            "gsd": PIXEL * step,
            **({"eo:bands": [{"name": COMMON[asset], "common_name": asset}]} if asset in COMMON else {}),
            "raster:bands": [band],
        }
        item.add_asset(
            asset, pystac.Asset(f"./{asset}.tif", media_type=pystac.MediaType.COG, roles=["data"], extra_fields=fields)
        )
    return item


def _even(target: Target) -> Target:
    """The target with an even number of rows and columns, so that 20 m pixels nest in it."""
    rows, cols = (n + n % 2 for n in target.shape)
    return Target(target.crs, target.transform, (rows, cols))


def write_scenes(landscape: Landscape, folder: Path) -> None:
    """Write a self-contained STAC catalogue of scenes, catalog.json and all COGs, into `folder`."""
    spec = landscape.spec
    target = _even(covering(landscape.domain, utm(landscape.domain), 2 * PIXEL))
    rows, cols = target.shape
    t = target.transform
    target = Target(target.crs, t @ t.scale(0.5), (rows * 2, cols * 2))
    half = Target(target.crs, t, (rows, cols))
    view, _ = view_on(landscape, target)
    rng = stream(spec.seed, "scenes")
    texture = rng.standard_normal(target.shape, dtype=np.float32)
    texture = 0.6 * texture + 1.6 * gaussian_filter(texture, 1.2)
    wooded = (view.cover == lu.BROADLEAF) | (view.cover == lu.CONIFER)
    texture *= np.where(wooded, np.float32(0.055), np.float32(0.025))
    lit = replace(view, light=view.light * (1 + texture))
    moments = dates(spec.n_scenes, spec.seed)
    shares = [float(v) for v in rng.permutation(np.linspace(0.03, 0.22, len(moments)))]
    catalog = pystac.Catalog("landscape", "Sentinel-2-like scenes of a generated landscape.")
    items: list[pystac.Item] = []
    for k, (moment, share) in enumerate(zip(moments, shares, strict=True)):
        old = k < max(1, len(moments) // 5)
        baseline, offset = ("03.01", 0.0) if old else ("05.09", -0.1)
        day = moment.timetuple().tm_yday
        green = greenness(lit, day, moment.year, spec.seed)
        depth, shadow = _clouds(target.shape, share, rng)
        scl = classify(view, green, depth, shadow)
        name = f"S2A_{utm(landscape.domain)[-2:]}T_{moment:%Y%m%d}_{k}_L2A"
        place = folder / COLLECTION / name
        scene = _Acquisition(lit, texture, green, depth, shadow, 0 if old else 1_000)
        side_by_side(partial(scene.write, place, target), COMMON)
        write(place / "scl.tif", half, scl[::2, ::2], 0, cog=True, resampling="nearest")
        cloudy = np.isin(scl, (8, 9, 10)).mean() / max(float((view.cover != lu.OUTSIDE).mean()), 1e-9)
        items.append(_item(name, moment, target, baseline, 100 * float(cloudy), offset))
    boxes = np.array([item.bbox for item in items])
    box = [*boxes[:, :2].min(0).tolist(), *boxes[:, 2:].max(0).tolist()]
    extent = pystac.Extent(pystac.SpatialExtent([box]), pystac.TemporalExtent([[moments[0], moments[-1]]]))
    collection = pystac.Collection(
        COLLECTION,
        "Surface reflectance of a generated landscape, shaped as Sentinel-2 level 2A.",
        extent,
        license="CC0-1.0",
    )
    collection.add_items(items)
    catalog.add_child(collection)
    catalog.normalize_hrefs(str(folder))
    catalog.save(catalog_type=pystac.CatalogType.SELF_CONTAINED, dest_href=str(folder))
