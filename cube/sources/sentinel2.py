"""Sentinel-2 Level-2A scenes of a STAC catalogue: cloud-masked by SCL, brought to one offset, median over the scenes."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pystac
import pystac_client
import rasterio.enums
import rasterio.errors
import stackstac
from numpy.typing import NDArray

from cube import grid
from cube.config import Config, Source, StacSearch
from cube.errors import SourceError
from cube.grid import FINE, Region, Unit
from cube.inputs import SENTINEL2_BANDS, input_layer
from cube.layers import Layer
from cube.sources.reader import file_states

# Scene classification of Level-2A (Sen2Cor): what a median may use. Left out are 0 no data, 1 saturated,
# 3 cloud shadow, 8 and 9 cloud, 10 thin cirrus.
CLEAR: Final = (2, 4, 5, 6, 7, 11)
BOA_OFFSET: Final = 1000  # added to all reflectances from processing baseline 04.00 on (ESA, 25 January 2022)
NO_DATA: Final = 0  # of the scenes
FILL: Final = 65535  # of the layer
ROWS_AT_ONCE: Final = 250  # bounds the memory of the median


def _day(text: str, where: str) -> datetime.datetime:
    try:
        return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)
    except ValueError:
        raise SourceError(f"{where}: '{text}' is not a day such as 2021-05-01.") from None


def find_scenes(search: StacSearch, catalog: str, region: Region) -> list[pystac.Item]:
    """Scenes of the search that touch the region, by date; raises `SourceError` if the catalogue is absent or has none."""
    start = _day(search.start, "stac.start")
    end = _day(search.end, "stac.end") + datetime.timedelta(days=1)
    west, south, east, north = _lonlat_bounds(region)
    try:
        items = _items(catalog, search, (west, south, east, north))
    except (OSError, pystac.STACError, pystac_client.exceptions.APIError, ValueError) as error:
        raise SourceError(f"{catalog}: cannot be read as a STAC catalogue ({error}); check stac.catalog.") from None
    scenes = [
        item
        for item in items
        if item.datetime is not None
        and start <= item.datetime.astimezone(datetime.UTC) < end
        and item.datetime.month in search.months
        and (item.collection_id in (None, search.collection))
        and float(item.properties.get("eo:cloud_cover", 0.0)) <= search.max_cloud_cover
        and item.bbox is not None
        and item.bbox[0] <= east and item.bbox[2] >= west and item.bbox[1] <= north and item.bbox[3] >= south
    ]  # fmt: skip
    if not scenes:
        raise SourceError(
            f"{catalog}: no scene of '{search.collection}' between {search.start} and {search.end} in months"
            f" {list(search.months)} touches the region; widen stac.start, stac.end or stac.months."
        )
    for item in scenes:
        for asset in (*search.assets.values(), search.scl):
            if asset not in item.assets:
                raise SourceError(
                    f"{catalog}: scene {item.id} has no asset '{asset}' (it has {', '.join(sorted(item.assets))});"
                    " set stac.assets and stac.scl to its names."
                )
    return sorted(scenes, key=lambda item: (item.datetime, item.id))


def _lonlat_bounds(region: Region) -> tuple[float, float, float, float]:
    west, south, east, north = region.grown_bounds
    lon, lat = grid.unproject(
        np.linspace(west, east, 11)[[*range(11), *range(11), *[0] * 11, *[10] * 11]],
        np.r_[[south] * 11, [north] * 11, np.linspace(south, north, 11), np.linspace(south, north, 11)].astype(float),
    )
    return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())


def _items(catalog: str, search: StacSearch, bbox: tuple[float, ...]) -> list[pystac.Item]:
    if catalog.startswith(("http://", "https://")):
        client = pystac_client.Client.open(catalog)
        if client.conforms_to("ITEM_SEARCH"):
            days = f"{search.start}/{search.end}"
            return list(client.search(collections=[search.collection], bbox=bbox, datetime=days).items())
    root = pystac.Catalog.from_file(catalog)
    items = list(root.get_items(recursive=True))
    for item in items:
        item.make_asset_hrefs_absolute()
    return items


def added_offset(item: pystac.Item) -> int:
    """What was added to the scene's digital numbers: 1000 from baseline 04.00 on unless the provider took it out."""
    if item.properties.get("earthsearch:boa_offset_applied"):
        return 0
    baseline = str(item.properties.get("s2:processing_baseline", item.properties.get("processing:version", "0")))
    try:
        return BOA_OFFSET if float(baseline.removeprefix("N").lstrip("0") or 0) >= 4.0 else 0
    except ValueError:
        return 0


def _stack(items: Sequence[pystac.Item], assets: list[str], unit: Unit) -> Any:
    return stackstac.stack(
        list(items),
        assets=assets,
        epsg=grid.EPSG,
        resolution=FINE,
        bounds=unit.bounds,
        # Nearest: a reflectance is not smoothed before its cloud is masked, a class has no mean.
        resampling=rasterio.enums.Resampling.nearest,
        dtype=np.dtype("uint16"),
        fill_value=np.uint16(NO_DATA),
        rescale=False,
        # The default puts coordinates on corners, which shifts every cell by half of its width.
        xy_coords="center",
        # The default turns a scene that cannot be found into a silent hole.
        errors_as_nodata=(),
        properties=False,
        band_coords=False,
        chunksize=2048,
    )


def composite(items: Sequence[pystac.Item], search: StacSearch, unit: Unit) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Median of the clear pixels of a unit's scenes.

    Returns (4 [red green blue nir], rows, columns) uint16 reflectance x 10,000 (65535 no data) and the count of
    clear scenes (rows, columns) uint8, both at 10 m. A pixel is masked in its own scene before anything is
    reduced. Raises `SourceError` naming the scene that cannot be read.
    """
    assets = [search.assets[band] for band in SENTINEL2_BANDS]
    try:
        stack = _stack(items, [*assets, search.scl], unit).compute(scheduler="threads", num_workers=2)
    except (RuntimeError, rasterio.errors.RasterioError) as error:
        raise SourceError(f"Sentinel-2 scenes of unit {unit.name}: {str(error).splitlines()[0]}") from error
    values: NDArray[np.uint16] = stack.values  # (scene, asset, y, x)
    # Scenes of one day are not merged: each has its own mask and its own offset.
    offsets = np.asarray([added_offset(item) for item in items], np.int32)[:, None, None, None]
    height, width = values.shape[-2:]
    out = np.full((len(SENTINEL2_BANDS), height, width), FILL, np.uint16)
    count = np.zeros((height, width), np.uint8)
    for top in range(0, height, ROWS_AT_ONCE):
        rows = slice(top, top + ROWS_AT_ONCE)
        bands = values[:, :-1, rows].astype(np.int32)
        clear = np.isin(values[:, -1, rows], CLEAR) & (bands != NO_DATA).all(axis=1)
        count[rows] = clear.sum(axis=0)
        reflectance = np.where(clear[:, None], bands - offsets, np.nan).astype(np.float32)
        median = _median(reflectance)
        # Below 1: a dark pixel after the offset; 0 would read as the scenes' no data elsewhere.
        out[:, rows] = np.where(np.isnan(median), FILL, np.clip(np.rint(median), 1, FILL - 1)).astype(np.uint16)
    return out, count


def _median(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median over the first axis without NaN: sorted once (NaN last), the middle one or two picked by count."""
    ordered = np.sort(values, axis=0)
    n = np.isfinite(ordered).sum(axis=0)
    low = np.clip((n - 1) // 2, 0, None)
    high = np.clip(n // 2, 0, ordered.shape[0] - 1)
    a = np.take_along_axis(ordered, low[None], axis=0)[0]
    b = np.take_along_axis(ordered, high[None], axis=0)[0]
    return np.where(n > 0, (a + b) / 2, np.nan).astype(np.float32)


@dataclass(frozen=True)
class Sentinel2Reader:
    """The layer sentinel2 out of the scenes of a catalogue."""

    source: Source
    search: StacSearch
    catalog: str
    scenes: tuple[pystac.Item, ...]

    @property
    def layers(self) -> tuple[Layer, ...]:
        """What a composite gives."""
        return (input_layer("sentinel2"),)

    def depends_on(self) -> tuple[Any, ...]:
        """The configuration, the catalogue and its scenes."""
        return (self.source.model_dump_json(), file_states([self.catalog]), [scene.id for scene in self.scenes])

    def read(self, region: Region, unit: Unit) -> dict[str, NDArray[Any]]:
        """Stored values of one unit."""
        median, _ = composite(self.scenes, self.search, unit)
        return {"sentinel2": median}


def open_sentinel2(config: Config, source: Source, region: Region) -> Sentinel2Reader:
    """Find the scenes of a source; raises `SourceError` where there is none."""
    assert source.stac is not None
    catalog = config.source_path(source.stac.catalog)
    return Sentinel2Reader(source, source.stac, catalog, tuple(find_scenes(source.stac, catalog, region)))
