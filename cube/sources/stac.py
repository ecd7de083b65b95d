"""Scenes of a STAC API or catalogue: found, checked, and reduced to the little that reading their pixels needs.

Each acquisition is one scene, however often a catalogue lists it. What the layers make of scenes is said in
`cube.sources.sentinel2` and `cube.sources.landsat`, how pixels are read in `cube.sources.stack`.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, Final, Self
from urllib.parse import urlsplit

import fsspec
import numpy as np
import pystac
import pystac.stac_io
import pystac.utils
import pystac_client
import shapely
import shapely.geometry

from cube.config import Config, Source, StacSearch
from cube.errors import ConfigError, SourceError
from cube.grid import Bounds, Grid, Region, Unit
from cube.sources import derivation
from cube.sources.opening import is_remote
from cube.sources.processing import moment_of, newness, tile_of
from cube.storage.identity import file_identities

SLACK: Final = 1_000  # m around a unit: footprints are drawn with straight edges, scenes are not
PLANETARY_COMPUTER: Final = "planetarycomputer.microsoft.com"
_TROUBLES: Final = (OSError, pystac.STACError, pystac_client.exceptions.APIError, ValueError, KeyError)

SAME_MOMENT: Final = datetime.timedelta(seconds=2)  # catalogues give the moments of two processings a millisecond apart


@dataclass(frozen=True)
class ItemMetadata:
    """What a catalogue says of a scene: `bands` are the fields of the assets that are read, but for clouds."""

    id: str
    moment: datetime.datetime
    properties: Mapping[str, Any]
    bands: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class CollectionRules:
    """What a layer takes out of a catalogue.

    `assets` gives, for the properties of an item, the names that each band's asset may have, `quality` being the band
    that tells clouds; `added_offset` what was added to the digital numbers of an item whose bands' assets have those fields, and
    raises ValueError where that is not said.
    """

    collection: str
    assets: Callable[[Mapping[str, Any]], Mapping[str, tuple[str, ...]]]
    added_offset: Callable[[ItemMetadata, StacSearch], int]
    accepts: Callable[[Mapping[str, Any]], bool] | None = None


@dataclass(frozen=True)
class Scene:
    """A scene as a worker needs it: small, and picklable without the catalogue that it hung in.

    `assets` maps bands to addresses; `outline` is its footprint in metres of the grid; `added_offset` is what is to be taken
    from its digital numbers; `flaw` is the sentence that whoever wants to read it must hear. Scenes of one `frame` (the
    satellite and its tile) and moment are processings of one acquisition, of which the highest `newness` counts.
    """

    id: str
    moment: datetime.datetime
    assets: Mapping[str, str]
    outline: shapely.Geometry | None
    epsg: int | None
    added_offset: int = 0
    flaw: str = ""
    frame: tuple[str, str] = ("", "")
    newness: tuple[Any, ...] = ()

    def touches(self, bounds: Bounds) -> bool:
        """Whether the footprint, which may be slanted, reaches into (west, south, east, north), metres."""
        west, south, east, north = bounds
        reach = shapely.box(west - SLACK, south - SLACK, east + SLACK, north + SLACK)
        return self.outline is None or bool(self.outline.intersects(reach))


@dataclass(frozen=True)
class Catalogue:
    """Where scenes are looked up: the scenes of a static catalogue themselves, or an API that is asked for each unit."""

    url: str
    search: StacSearch
    rules: CollectionRules
    scenes: tuple[Scene, ...] | None

    @property
    def collection(self) -> str:
        """Its identifier in the catalogue."""
        return self.search.collection or self.rules.collection

    def touching(self, unit: Unit) -> list[Scene]:
        """Scenes whose footprint reaches into the unit, by date; raises `SourceError` for one that lacks an asset."""
        scenes = self._search_unit(unit) if self.scenes is None else self.scenes
        scenes_of_unit = [scene for scene in scenes if scene.touches(unit.bounds)]
        for scene in scenes_of_unit:
            if scene.flaw:
                raise SourceError(scene.flaw)
        return sorted(scenes_of_unit, key=lambda scene: (scene.moment, scene.id))

    def depends_on(self) -> dict[str, Any]:
        """The search and its scenes with their local files; what is behind an address is taken to stay as it is."""
        search = self.search.model_dump(mode="json", exclude={"catalog", "gaps"})
        if self.scenes is None:
            return {"search": search, "catalogue": self.url}
        local = (path for scene in self.scenes for path in scene.assets.values() if not is_remote(path))
        contents = file_identities(local)
        scenes = [
            [scene.id, scene.added_offset, {band: contents.get(path) for band, path in scene.assets.items()}]
            for scene in self.scenes
        ]
        return {"search": search, "scenes": scenes}

    def near(self, unit: Unit) -> Catalogue:
        """The same with the scenes of one unit alone, so that the others need not travel with it."""
        if self.scenes is None:
            return self
        return replace(self, scenes=tuple(scene for scene in self.scenes if scene.touches(unit.bounds)))

    def _search_unit(self, unit: Unit) -> tuple[Scene, ...]:
        with _source_errors(self.url):
            items = list(_search(self.url, self.search, self.collection, unit.degrees))
        return _scenes(items, self.url, self.search, self.rules, unit)


@contextmanager
def _source_errors(url: str) -> Iterator[None]:
    """Turns what goes wrong with a catalogue into a sentence, the cause kept: whether it passes by itself is told by that."""
    try:
        yield
    except _TROUBLES as error:
        raise SourceError(f"{url}: cannot be read as a STAC catalogue ({error}); check stac.catalog.") from error


class _AnyStore(pystac.stac_io.DefaultStacIO):
    """Documents of a catalogue on object stores, which pystac itself does not read."""

    def read_text_from_href(self, href: str) -> str:
        if "://" in href and not href.startswith(("http://", "https://", "file://")):
            with fsspec.open(href, "r", encoding="utf-8") as file:
                return str(file.read())
        return super().read_text_from_href(href)


def open_catalogue(url: str, search: StacSearch, rules: CollectionRules, region: Region) -> Catalogue:
    """Find out what the catalogue is and whether it holds a usable scene for the region.

    Raises `SourceError` where it cannot be read, where no scene fits the search, or where every scene lacks an asset;
    `ConfigError` for an asset of a band that the layer does not have.
    """
    strange = set(search.assets) - set(rules.assets({}))
    if strange:
        raise ConfigError(
            f"stac.assets: there is no band '{min(strange)}' in this layer; its bands are {', '.join(rules.assets({}))}."
        )
    bounds = region.degrees
    collection = search.collection or rules.collection
    with _source_errors(url):
        static = _static_items(url)
        items = list(_search(url, search, collection, bounds, max_items=20)) if static is None else static
    scenes = _scenes(items, url, search, rules, region)
    if not scenes:
        raise SourceError(
            f"{url}: no scene of '{collection}' between {search.start} and {search.end} in months {list(search.months)}"
            f" with at most {search.max_cloud_cover:g} % of cloud touches the region;"
            " widen stac.start, stac.end, stac.months or stac.max_cloud_cover."
        )
    if all(scene.flaw for scene in scenes):
        raise SourceError(scenes[0].flaw)
    return Catalogue(url, search, rules, None if static is None else scenes)


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


def _search(url: str, search: StacSearch, collection: str, bounds: Bounds, max_items: int | None = None) -> Iterable[pystac.Item]:
    client = _client(url)
    clear = {"eo:cloud_cover": {"lte": search.max_cloud_cover}} if client.conforms_to("QUERY") else None
    days = f"{search.start}/{search.end}"
    return client.search(collections=[collection], bbox=bounds, datetime=days, query=clear, max_items=max_items).items()


def _scenes(
    items: Iterable[pystac.Item], url: str, search: StacSearch, rules: CollectionRules, place: Region | Unit
) -> tuple[Scene, ...]:
    """Those items that fit the search, whoever filtered them before."""
    first = datetime.datetime.combine(search.start, datetime.time(), datetime.UTC)
    end = datetime.datetime.combine(search.end, datetime.time(), datetime.UTC) + datetime.timedelta(days=1)
    collection, bounds = search.collection or rules.collection, shapely.box(*place.degrees)
    scenes = []
    for item in items:
        moment = moment_of(item.datetime or item.common_metadata.start_datetime)
        if moment is None or item.collection_id not in (None, collection):
            continue
        if (
            first <= moment < end
            and moment.month in search.months
            and float(item.properties.get("eo:cloud_cover") or 0.0) <= search.max_cloud_cover
            and (rules.accepts is None or rules.accepts(item.properties))
            and (item.bbox is None or shapely.box(*_flat(item.bbox)).intersects(bounds))
        ):
            scenes.append(_scene(item, moment, url, search, rules, place.grid))
    return one_per_acquisition(scenes)


def _scene(
    item: pystac.Item, moment: datetime.datetime, url: str, search: StacSearch, rules: CollectionRules, grid: Grid
) -> Scene:
    assets, flaw = {}, ""
    fields = []
    for band, names in rules.assets(item.properties).items():
        names = (search.assets[band],) if band in search.assets else names
        name = next((name for name in names if name in item.assets), None)
        if name is None:
            flaw = flaw or (
                f"{url}: scene {item.id} has no asset '{' or '.join(names)}' (it has {', '.join(sorted(item.assets))});"
                f" set stac.assets.{band} to its name."
            )
        else:
            assets[band] = _address(item.assets[name].href, url, item.collection_id)
            if band != "quality":
                fields.append(item.assets[name].extra_fields)
    item_metadata = ItemMetadata(item.id, moment, item.properties, tuple(fields))
    added_offset = 0
    try:
        added_offset = rules.added_offset(item_metadata, search)
    except ValueError as error:
        flaw = flaw or f"{url}: scene {item.id}: {error}."
    frame = (str(item.properties.get("platform", "")).lower().replace("_", "-"), tile_of(item.properties, item.id))
    outline, epsg = _outline(item, grid), _epsg(item.properties)
    return Scene(item.id, moment, assets, outline, epsg, added_offset, flaw, frame, newness(item.properties, item.id))


def _outline(item: pystac.Item, grid: Grid) -> shapely.Geometry | None:
    """The footprint of a scene in metres of the grid; None where it cannot be drawn there: then its pixels will tell."""
    if not (item.geometry or item.bbox):
        return None
    try:
        outline = shapely.geometry.shape(item.geometry) if item.geometry else shapely.box(*_flat(item.bbox or ()))
    except (ValueError, TypeError, LookupError, AttributeError):  # no GeoJSON
        return None
    outline_on_grid = shapely.transform(shapely.force_2d(outline), lambda points: np.stack(grid.project(*points.T), axis=1))
    has_no_projection = outline.is_empty or not np.isfinite(shapely.get_coordinates(outline_on_grid)).all()
    return None if has_no_projection else shapely.make_valid(outline_on_grid)


def _flat(bbox: Sequence[float]) -> tuple[float, float, float, float]:
    """(west, south, east, north) of a bounding box of two or three dimensions."""
    half = len(bbox) // 2
    return bbox[0], bbox[1], bbox[half], bbox[half + 1]


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


@dataclass(frozen=True)
class SceneReader:
    """What the readers of scenes have in common: where the scenes are from, and which of them a unit needs."""

    RULES: ClassVar[CollectionRules]

    source: Source
    search: StacSearch
    catalogue: Catalogue

    @classmethod
    def open(cls, config: Config, source: Source, region: Region) -> Self:
        """Find the scenes of a source; raises `SourceError` where there is none."""
        assert source.stac is not None
        url = config.source_path(source.stac.catalog)
        return cls(source, source.stac, open_catalogue(url, source.stac, cls.RULES, region))

    def depends_on(self) -> Mapping[str, Any]:
        """The search and the scenes that it found, and what is derived from them."""
        derive_settings = {"derive": (*self.source.derive, derivation.ALGORITHM)} if self.source.derive else {}
        return {**self.catalogue.depends_on(), **derive_settings}

    def near(self, unit: Unit) -> Self:
        """The same with the scenes of one unit alone."""
        return replace(self, catalogue=self.catalogue.near(unit))


def one_per_acquisition(scenes: Sequence[Scene]) -> tuple[Scene, ...]:
    """The newest processing of every acquisition, in the order of the first of each; usable ones before all others.

    Two scenes are of one acquisition where satellite, tile and moment (to `SAME_MOMENT`) agree and the smaller footprint
    lies in the other for the most part: a tile that two downlinks cut in two is two scenes.
    """
    selection: list[Scene] = []
    by_frame: dict[tuple[Any, ...], list[int]] = {}
    for scene in scenes:
        places = by_frame.setdefault((*scene.frame, scene.epsg), [])
        same = next((place for place in places if _one_acquisition(selection[place], scene)), None)
        if same is None:
            places.append(len(selection))
            selection.append(scene)
        elif (not scene.flaw, scene.newness) > (not selection[same].flaw, selection[same].newness):
            selection[same] = scene
    return tuple(selection)


def _one_acquisition(first: Scene, second: Scene) -> bool:
    if first.id == second.id:
        return True
    if abs(first.moment - second.moment) > SAME_MOMENT:
        return False
    if first.outline is None or second.outline is None:
        return True
    overlap_m2 = first.outline.intersection(second.outline).area
    return bool(overlap_m2 >= 0.5 * min(first.outline.area, second.outline.area))
