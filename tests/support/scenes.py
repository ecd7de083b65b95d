"""Local STAC catalogues for tests: scenes of any grid written as GeoTIFFs, one asset a band, with the items to find them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
from affine import Affine
from rasterio.warp import transform_bounds, transform_geom

from cube.config import StacSearch
from cube.grid import Region
from cube.sources.stac import Catalogue, CollectionRules, open_catalogue

Array = np.ndarray[Any, Any]
needs_stackstac = pytest.mark.skipif(find_spec("stackstac") is None, reason="scenes are stacked by stackstac")


class Scenes:
    """A catalogue that grows scene by scene and is saved at the end."""

    def __init__(self, folder: Path, collection: str) -> None:
        self.folder = folder
        # What every item says that says nothing else.
        self.properties: dict[str, Any] = {"s2:processing_baseline": "03.01"} if collection == "sentinel-2-l2a" else {}
        extent = pystac.Extent(pystac.SpatialExtent([[-20, 30, 60, 75]]), pystac.TemporalExtent([[None, None]]))
        self.root = pystac.Catalog("test", "test")
        self.collection = pystac.Collection(collection, "test", extent)
        self.root.add_child(self.collection)

    def add(
        self,
        name: str,
        day: str,
        crs: str,
        transform: Affine,
        bands: Mapping[str, Array],
        quality: tuple[str, Array, int],
        fill: int = 0,
        coarser: int = 1,
        **properties: Any,
    ) -> pystac.Item:
        """Write (y, x) bands and the quality band, which is `coarser` times as coarse and has `fill` for no data."""
        assets = {**{asset: (values, 1, 0) for asset, values in bands.items()}, quality[0]: (quality[1], coarser, fill)}
        for asset, (values, times, nodata) in assets.items():
            t = transform
            coarse = Affine(t.a * times, 0, t.c, 0, t.e * times, t.f)
            with rasterio.open(
                self.folder / f"{name}-{asset}.tif",
                "w",
                driver="GTiff",
                height=values.shape[0],
                width=values.shape[1],
                count=1,
                dtype="uint16",
                crs=crs,
                transform=coarse,
                nodata=nodata,
            ) as target:
                target.write(np.rint(values).astype(np.uint16), 1)
        height, width = next(iter(bands.values())).shape
        west, north = transform.c, transform.f
        east, south = west + width * transform.a, north + height * transform.e
        ring = [[west, north], [east, north], [east, south], [west, south], [west, north]]
        moment = datetime.datetime.fromisoformat(day).replace(tzinfo=datetime.UTC)
        item = pystac.Item(
            name,
            transform_geom(crs, "EPSG:4326", {"type": "Polygon", "coordinates": [ring]}),
            list(transform_bounds(crs, "EPSG:4326", west, south, east, north)),
            moment,
            self.properties | {"proj:code": crs, **properties},
        )
        for asset in assets:
            item.add_asset(asset, pystac.Asset(str(self.folder / f"{name}-{asset}.tif")))
        self.collection.add_item(item)
        return item

    def save(self) -> str:
        """Write catalog.json and return its path."""
        self.root.normalize_and_save(str(self.folder), pystac.CatalogType.ABSOLUTE_PUBLISHED)
        return str(self.folder / "catalog.json")


def open_scenes(path: str, rules: CollectionRules, region: Region, **search: Any) -> Catalogue:
    """The catalogue at `path` as a configuration would open it."""
    search_fields = {"catalog": path, "start": "1999-01-01", "end": "2025-12-31", **search}
    return open_catalogue(path, StacSearch.model_validate(search_fields), rules, region)
