"""Scenes of a STAC API or catalogue: found, checked, and reduced to the little that reading their pixels needs.

What the layers make of them is said in `cube.sources.sentinel2` and `cube.sources.landsat`, how pixels are read in
`cube.sources.stack`.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

import fsspec
import numpy as np
import pystac
import pystac.stac_io
import pystac.utils
import pystac_client
import rasterio.errors
import rasterio.features
import rasterio.warp
from affine import Affine

from cube import grid
from cube.config import StacSearch
from cube.errors import ConfigError, SourceError
from cube.grid import Region, Unit

LONLAT: Final = "EPSG:4326"
SLACK: Final = 1_000  # m around a unit: footprints are drawn with straight edges, scenes are not
LATTICE: Final = 16  # squares a side in which a footprint and a unit are compared
PLANETARY_COMPUTER: Final = "planetarycomputer.microsoft.com"
_TROUBLES: Final = (OSError, pystac.STACError, pystac_client.exceptions.APIError, ValueError, KeyError)

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class Wanted:
    """What a layer takes out of a catalogue.

    `assets` gives, for the properties of an item, the names that each band's asset may have, `quality` being the band
    that tells clouds; `kept` are the properties that a reader asks for later.
    """

    collection: str
    assets: Callable[[Mapping[str, Any]], Mapping[str, tuple[str, ...]]]
    kept: tuple[str, ...] = ()
    accepts: Callable[[Mapping[str, Any]], bool] | None = None


@dataclass(frozen=True)
class Scene:
    """A scene as a worker needs it: small, and picklable without the catalogue that it hung in.

    `assets` maps bands to addresses; `outline` is its footprint as GeoJSON in EPSG:3035; `flaw` is the sentence that
    whoever wants to read it must hear.
    """

    id: str
    moment: datetime.datetime
    assets: Mapping[str, str]
    outline: Mapping[str, Any] | None
    epsg: int | None
    properties: Mapping[str, Any]
    flaw: str = ""

    def touches(self, bounds: Bounds) -> bool:
        """Whether the footprint, which may be slanted, reaches into (west, south, east, north), metres of EPSG:3035."""
        if self.outline is None:
            return True
        west, south, east, north = bounds
        west, south, east, north = west - SLACK, south - SLACK, east + SLACK, north + SLACK
        left, bottom, right, top = rasterio.features.bounds(self.outline)
        if left > east or right < west or bottom > north or top < south:
            return False
        squares = Affine((east - west) / LATTICE, 0, west, 0, (south - north) / LATTICE, north)
        met = rasterio.features.rasterize(
            [(self.outline, 1)], (LATTICE, LATTICE), transform=squares, all_touched=True, dtype="uint8"
        )
        return bool(met.any())


@dataclass(frozen=True)
class Catalogue:
    """Where scenes are looked up: the scenes of a static catalogue themselves, or an API that is asked for each unit."""

    url: str
    search: StacSearch
    wanted: Wanted
    scenes: tuple[Scene, ...] | None

    @property
    def collection(self) -> str:
        """Its identifier in the catalogue."""
        return self.search.collection or self.wanted.collection

    def touching(self, unit: Unit) -> list[Scene]:
        """Scenes whose footprint reaches into the unit, by date; raises `SourceError` for one that lacks an asset."""
        scenes = self._asked(unit) if self.scenes is None else self.scenes
        found = [scene for scene in scenes if scene.touches(unit.bounds)]
        for scene in found:
            if scene.flaw:
                raise SourceError(scene.flaw)
        return sorted(found, key=lambda scene: (scene.moment, scene.id))

    def near(self, unit: Unit) -> Catalogue:
        """The same with the scenes of one unit alone, so that the others need not travel with it."""
        if self.scenes is None:
            return self
        return replace(self, scenes=tuple(scene for scene in self.scenes if scene.touches(unit.bounds)))

    def _asked(self, unit: Unit) -> tuple[Scene, ...]:
        with _told(self.url):
            items = list(_search(self.url, self.search, self.collection, _lonlat_bounds(unit.bounds)))
        return _scenes(items, self.url, self.search, self.wanted, _lonlat_bounds(unit.bounds))


class _told:  # noqa: N801  a context manager reads as a word
    """Turns what goes wrong with a catalogue into a sentence, the cause kept: whether it passes by itself is told by that."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, _TROUBLES):
            raise SourceError(f"{self.url}: cannot be read as a STAC catalogue ({error}); check stac.catalog.") from error


class _AnyStore(pystac.stac_io.DefaultStacIO):
    """Documents of a catalogue on object stores, which pystac itself does not read."""

    def read_text_from_href(self, href: str) -> str:
        if "://" in href and not href.startswith(("http://", "https://", "file://")):
            with fsspec.open(href, "r", encoding="utf-8") as file:
                return str(file.read())
        return super().read_text_from_href(href)


def open_catalogue(url: str, search: StacSearch, wanted: Wanted, region: Region) -> Catalogue:
    """Find out what the catalogue is and whether it holds a usable scene for the region.

    Raises `SourceError` where it cannot be read, where no scene fits the search, or where every scene lacks an asset;
    `ConfigError` for an asset of a band that the layer does not have.
    """
    strange = set(search.assets) - set(wanted.assets({}))
    if strange:
        raise ConfigError(
            f"stac.assets: there is no band '{min(strange)}' in this layer; its bands are {', '.join(wanted.assets({}))}."
        )
    bounds = _lonlat_bounds(region.grown_bounds)
    collection = search.collection or wanted.collection
    with _told(url):
        static = _static_items(url)
        items = list(_search(url, search, collection, bounds, most=20)) if static is None else static
    scenes = _scenes(items, url, search, wanted, bounds)
    if not scenes:
        raise SourceError(
            f"{url}: no scene of '{collection}' between {search.start} and {search.end} in months {list(search.months)}"
            f" with at most {search.max_cloud_cover:g} % of cloud touches the region;"
            " widen stac.start, stac.end, stac.months or stac.max_cloud_cover."
        )
    if all(scene.flaw for scene in scenes):
        raise SourceError(scenes[0].flaw)
    return Catalogue(url, search, wanted, None if static is None else scenes)


def _static_items(url: str) -> list[pystac.Item] | None:
    """All items below a document, their assets' addresses made absolute; None where an API answers searches instead."""
    io = _AnyStore()
    document = io.read_json(url)
    if document.get("type") == "FeatureCollection":
        items = list(pystac.ItemCollection.from_dict(document).items)
        for item in items:
            for asset in item.assets.values():
                asset.href = pystac.utils.make_absolute_href(asset.href, url)
        return items
    if any("item-search" in standard for standard in document.get("conformsTo", ())):
        return None
    root = pystac.read_file(url, stac_io=io)
    if not isinstance(root, pystac.Catalog):
        raise ValueError(f"it is a STAC {document.get('type')}")
    items = list(root.get_items(recursive=True))
    for item in items:
        item.make_asset_hrefs_absolute()
    return items


@lru_cache(maxsize=8)
def _client(url: str) -> pystac_client.Client:
    return pystac_client.Client.open(url)


def _search(url: str, search: StacSearch, collection: str, bounds: Bounds, most: int | None = None) -> Iterable[pystac.Item]:
    client = _client(url)
    clear = {"eo:cloud_cover": {"lte": search.max_cloud_cover}} if client.conforms_to("QUERY") else None
    days = f"{search.start}/{search.end}"
    return client.search(collections=[collection], bbox=bounds, datetime=days, query=clear, max_items=most).items()


def _scenes(items: Iterable[pystac.Item], url: str, search: StacSearch, wanted: Wanted, bounds: Bounds) -> tuple[Scene, ...]:
    """Those items that fit the search, whoever filtered them before."""
    first = datetime.datetime.combine(search.start, datetime.time(), datetime.UTC)
    after = datetime.datetime.combine(search.end, datetime.time(), datetime.UTC) + datetime.timedelta(days=1)
    collection = search.collection or wanted.collection
    west, south, east, north = bounds
    found = []
    for item in items:
        moment = item.datetime or item.common_metadata.start_datetime
        if moment is None or item.collection_id not in (None, collection):
            continue
        moment = moment.replace(tzinfo=datetime.UTC) if moment.tzinfo is None else moment.astimezone(datetime.UTC)
        box = item.bbox
        if (
            first <= moment < after
            and moment.month in search.months
            and float(item.properties.get("eo:cloud_cover") or 0.0) <= search.max_cloud_cover
            and (wanted.accepts is None or wanted.accepts(item.properties))
            and (box is None or (box[0] <= east and box[-3 if len(box) == 6 else 2] >= west
                                 and box[1] <= north and box[4 if len(box) == 6 else 3] >= south))
        ):  # fmt: skip
            found.append(_scene(item, moment, url, search, wanted))
    return tuple(found)


def _scene(item: pystac.Item, moment: datetime.datetime, url: str, search: StacSearch, wanted: Wanted) -> Scene:
    assets, flaw = {}, ""
    for band, names in wanted.assets(item.properties).items():
        names = (search.assets[band],) if band in search.assets else names
        name = next((name for name in names if name in item.assets), None)
        if name is None:
            flaw = flaw or (
                f"{url}: scene {item.id} has no asset '{' or '.join(names)}' (it has {', '.join(sorted(item.assets))});"
                f" set stac.assets.{band} to its name."
            )
        else:
            assets[band] = _address(item.assets[name].href, url, item.collection_id)
    outline = item.geometry or _box(item.bbox)
    try:
        outline = outline and rasterio.warp.transform_geom(LONLAT, f"EPSG:{grid.EPSG}", outline)
    except rasterio.errors.RasterioError:
        outline = None  # a footprint that our projection does not know is not judged: the pixels will tell
    properties = {name: item.properties[name] for name in wanted.kept if name in item.properties}
    return Scene(item.id, moment, assets, outline, _epsg(item.properties), properties, flaw)


def _box(bbox: list[float] | None) -> dict[str, Any] | None:
    if bbox is None:
        return None
    half = len(bbox) // 2
    (west, south), (east, north) = bbox[:2], bbox[half : half + 2]
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _epsg(properties: Mapping[str, Any]) -> int | None:
    """Code of the scene's projection, in either spelling of the projection extension."""
    code = str(properties.get("proj:code") or properties.get("proj:epsg") or "").removeprefix("EPSG:")
    return int(code) if code.isdigit() else None


def _address(href: str, catalog: str, collection: str | None) -> str:
    """Where GDAL finds an asset; those of the Planetary Computer need a token, which GDAL fetches and renews by itself."""
    host = urlsplit(catalog).hostname or ""
    if host == PLANETARY_COMPUTER and href.startswith("https://") and collection:
        return f"/vsicurl?pc_url_signing=yes&pc_collection={collection}&url={href}"
    return href


def _lonlat_bounds(bounds: Bounds) -> Bounds:
    """(west, south, east, north) degrees around a rectangle of EPSG:3035, metres."""
    west, south, east, north = bounds
    along = np.linspace(0, 1, 11)
    x = np.concatenate([west + along * (east - west)] * 2 + [np.full(11, west), np.full(11, east)])
    y = np.concatenate([np.full(11, south), np.full(11, north)] + [south + along * (north - south)] * 2)
    lon, lat = grid.unproject(x, y)
    return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())
