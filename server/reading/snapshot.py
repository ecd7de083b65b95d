"""A cube as one request sees it: one release, its catalogue and open arrays; a new release replaces it whole."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import Any, Final

import numpy as np
from cachetools import LRUCache, TTLCache, cachedmethod
from numpy.typing import NDArray

from cube import grid, outlines
from cube.errors import CubeError
from cube.grid import Region
from cube.layers.display import display_range, sample_chunks
from cube.layers.ids import slug
from cube.storage import releases
from cube.storage.store import open_cube
from server import metrics
from server.errors import BusyError, NotFoundError
from server.reading import catalogue
from server.reading.catalogue import Catalogue
from server.reading.difference import less
from server.reading.facts import ReleaseFacts
from server.reading.io import ChunkCache, Reader
from server.reading.layers import MapLayer

POLL_SECONDS: Final = 1.0
_LONG_AGO: Final = 10.0  # seconds; an idle server's first visitor waits for the release itself
_SNAPSHOTS: Final = 4  # releases beside the current one that are kept open
_DOCUMENTS: Final = 256  # releases, or names of none, whose documents are remembered
_DOCUMENT_SECONDS: Final = 10.0
_OPENING: Final = 8  # requests that may wait for older releases to be opened: all others keep their threads
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
log = logging.getLogger("floracube.server")


@dataclass
class Snapshot:
    """One release of one cube, immutable but for what it remembers of ranges."""

    release: str
    token: str  # changes whenever the release does, whatever its name
    products: dict[str, str]
    catalogue: Catalogue
    reader: Reader
    region: Region  # what the products cover
    facts: ReleaseFacts
    document: Mapping[str, Any]  # of the release
    _ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    _empty: set[str] = field(default_factory=set)  # ids of layers whose sample held nothing

    @cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """(west, south, east, north) of the region in degrees, WGS 84."""
        return outlines.box(self.region)

    @cached_property
    def outline(self) -> list[list[float]]:
        """The edge of the region as a closed ring of [longitude, latitude], straight on the grid and so curved here."""
        return outlines.outline(self.region)

    @property
    def created(self) -> str:
        """When the release was made: ISO 8601, UTC; empty without one."""
        return str(self.document.get("created", ""))

    def layer(self, layer_id: str, time: str | None = None) -> MapLayer:
        """The layer of that id, or the one of its series at `time` (`2019Q3`, `2018-07`); raises `NotFoundError`."""
        layer = self.catalogue.by_id.get(layer_id)
        if time is not None:
            label = slug(time).replace("_", "-")
            series = layer_id if layer is None else layer.series
            layer = self.catalogue.by_id.get(f"{series}.{label}") if label else None
            if layer is None or len(layer.lead) < 2:
                raise NotFoundError(
                    f"Layer '{layer_id[:80]}' has no time '{time[:20]}' in release {self.release}; /layers lists its times."
                )
        elif layer is None and layer_id.startswith("inputs."):
            layer = next(
                (candidate for candidate in self.catalogue.layers if candidate.in_catalogue and candidate.series == layer_id),
                None,
            )
        if layer is None:
            raise NotFoundError(f"There is no layer '{layer_id[:80]}' in release {self.release}; see /layers.")
        return layer

    def range_of(self, layer: MapLayer) -> tuple[float, float]:
        """Display range of a continuous layer in its units: declared, or 2nd to 98th percentile of a sample."""
        if layer.range is not None:
            return layer.range
        if layer.range_of and layer.range_of != layer.id:
            return self.range_of(self.catalogue.by_id[layer.range_of])
        limits = self._ranges.get(layer.id)
        if limits is None:
            sample = self._sample(layer)
            if not sample.size:
                self._empty.add(layer.id)
            limits = display_range(sample, layer.product, layer.palette)
            if layer.minus is not None:  # from nothing: a width that hardly varies must not look as if it did
                limits = (0.0, limits[1])
            self._ranges[layer.id] = limits
        return limits

    def is_empty(self, layer: MapLayer) -> bool:
        """Whether a sample of a layer without a declared range holds no value, as bounds do where none were calibrated."""
        self.range_of(layer)
        return layer.id in self._empty

    def knows_range(self, layer: MapLayer) -> bool:
        """Whether `range_of` reads nothing."""
        return layer.range is not None or (layer.range_of or layer.id) in self._ranges

    def window(
        self, layer: MapLayer, path: str, step: int, rows: tuple[int, int], cols: tuple[int, int], cached_only: bool = False
    ) -> NDArray[Any]:
        """Stored values of a window of a layer in its array `path`; see `Reader.window` for the rest."""
        stored_values = self.reader.window(path, layer.lead, step, rows, cols, cached_only)
        if layer.minus is None:
            return stored_values
        return less(stored_values, self.reader.window(path, layer.minus, step, rows, cols, cached_only), layer.fill)

    def value(self, layer: MapLayer, row: int, col: int) -> float | None:
        """Value in units of a layer (classes: as stored) in a 50 m cell, from its finest level, or None where it has none."""
        factor = max(1, layer.resolution // grid.CELL)
        place = (row // factor, row // factor + 1), (col // factor, col // factor + 1)
        stored_values = self.window(layer, layer.paths[0], 1, *place)[0, 0]
        if stored_values == layer.fill or not np.isfinite(float(stored_values)):
            return None
        return float(f"{float(stored_values) * layer.scale + layer.offset:.6g}")

    def _sample(self, layer: MapLayer) -> NDArray[np.float64]:
        """Values in units of the coarsest level, at most a few chunks spread over it."""
        source = self.reader.source(layer.paths[-1])
        places = sample_chunks(source.shape, source.chunk)
        maps = self.reader.maps(layer.paths[-1], layer.lead, places)
        if layer.minus is not None:
            subtrahends = self.reader.maps(layer.paths[-1], layer.minus, places)
            pairs = zip(maps, subtrahends, strict=True)
            # A chunk without a value comes as nothing at all, and so does what is taken from it.
            maps = [less(minuend, two, layer.fill) if minuend.size and two.size else minuend[:0] for minuend, two in pairs]
        stored_values = np.concatenate([chunk.ravel() for chunk in maps])
        stored_values = stored_values[(stored_values != layer.fill) & np.isfinite(stored_values.astype(np.float64))]
        return np.asarray(stored_values.astype(np.float64) * layer.scale + layer.offset)


def token_of(release: Mapping[str, Any]) -> str:
    """Name of a release and a hash of its document: what an address names, so that its answer never changes."""
    document = json.dumps(release, sort_keys=True, default=str)
    return f"{release['name'] or 'inputs'}-{hashlib.sha256(document.encode()).hexdigest()[:8]}"


class ServedCube:
    """A cube that the server was started with, always at the release that its `current.json` names."""

    def __init__(self, url: str, cache: ChunkCache) -> None:
        """Open the cube; raises `CubeError` if there is none or its release is damaged."""
        self.url, self._cache = url, cache
        self.title = str(open_cube(url).attributes.get("title", "")) or "floracube"
        self._looking = threading.Lock()
        self._lock = threading.Lock()  # of the caches; never held while the store is read
        self._documents: TTLCache[Any, dict[str, Any] | None] = TTLCache(_DOCUMENTS, _DOCUMENT_SECONDS)
        self._names: TTLCache[Any, list[str]] = TTLCache(1, _DOCUMENT_SECONDS)
        self._snapshots: LRUCache[str, Snapshot] = LRUCache(_SNAPSHOTS)
        self._opening, self._waiting = threading.Lock(), threading.BoundedSemaphore(_OPENING)
        self._snapshot = self._read()
        self._last_check = time.monotonic()
        self.tiles = cache.tiles

    @property
    def last_snapshot(self) -> Snapshot:
        """The release that was current when last looked, without looking again."""
        return self._snapshot

    def ready(self, token: str | None, version: str | None, product: str) -> Snapshot | None:
        """What `of_address` would give, if that is known without a look at the store; None otherwise."""
        snapshot = self._snapshot
        if time.monotonic() - self._last_check > POLL_SECONDS:
            return None
        current = token is None or token in (snapshot.release, snapshot.token)
        return snapshot if current and version in (None, snapshot.products.get(product)) else None

    def snapshot(self) -> Snapshot:
        """The current release; looks for a new one at most once a second, and keeps the old one if that fails.

        A request never waits for a remote store to say that nothing is new, unless nobody has asked for long.
        """
        age = time.monotonic() - self._last_check
        if age > POLL_SECONDS and self._looking.acquire(blocking=False):
            if "://" not in self.url or age > _LONG_AGO:
                self._look()
            else:
                threading.Thread(target=self._look, name="floracube-release", daemon=True).start()
        return self._snapshot

    def probed(self, seconds: float) -> Snapshot:
        """The current release as `snapshot` gives it, where a look at the store may take so many `seconds` and no longer."""
        if time.monotonic() - self._last_check > POLL_SECONDS and self._looking.acquire(blocking=False):
            looking = threading.Thread(target=self._look, name="floracube-release", daemon=True)
            looking.start()
            looking.join(seconds)
        return self._snapshot

    def _look(self) -> None:
        try:
            self._snapshot = self._read(self._snapshot)
        except Exception as error:  # each kind of store fails in its own way; whatever it is, the old release is still good
            log.warning("%s: the current release cannot be read, serving %s: %s", self.url, self._snapshot.release, error)
        finally:
            self._last_check = time.monotonic()
            self._looking.release()

    def by_name(self, name: str) -> Snapshot:
        """The release `name`, whether readers follow it or not; raises `NotFoundError` where the cube has none of it."""
        current = self.snapshot()
        if name in (current.release, current.token):
            return current
        document = self._document(name) if _NAME.fullmatch(name) else None
        if document is None:
            raise NotFoundError(f"There is no release '{name[:80]}' in this cube; the current one is {current.release}.")
        return self._cached_snapshot(document)

    def of_address(self, token: str | None, version: str | None = None, product: str = "") -> Snapshot:
        """The release that a tile's address is about: the one that `token` (`?v=`) names if the cube has it, else the current.

        With `version`, the newest release that has this version of `product`; raises `NotFoundError` if none has.
        """
        if version is not None:
            return self._with_version(product, version)
        current = self.snapshot()
        if token is None or token in (current.release, current.token) or _NAME.fullmatch(token) is None:
            return current
        # A token may be of older code or of a release written anew: its name still says which one is meant.
        for name in dict.fromkeys((token.rsplit("-", 1)[0], token)):
            if name == current.release:
                return current
            document = self._document(name)
            if document is not None:
                return self._cached_snapshot(document)
        return current

    def _with_version(self, product: str, version: str) -> Snapshot:
        current = self.snapshot()
        if current.products.get(product) == version:
            return current
        # Only versions that a release names: what is not published may be half written.
        documents = [self._document(name) for name in self._release_names() if _NAME.fullmatch(name)]
        fitting = [document for document in documents if document is not None and document["products"].get(product) == version]
        if not fitting:
            raise NotFoundError(
                f"No release of this cube has version '{version[:80]}' of {product or 'this layer'}; leave out the version."
            )
        return self._cached_snapshot(max(fitting, key=lambda document: str(document.get("created", ""))))

    @cachedmethod(attrgetter("_names"), lock=attrgetter("_lock"))
    def _release_names(self) -> list[str]:
        """Names of all releases, listed at most every `_DOCUMENT_SECONDS`."""
        return self._snapshot.reader.cube.list_json("releases")

    @cachedmethod(attrgetter("_documents"), lock=attrgetter("_lock"))
    def _document(self, name: str) -> dict[str, Any] | None:
        """The document of the release `name`, None if there is none; it is believed for `_DOCUMENT_SECONDS`."""
        return releases.read_document(self._snapshot.reader.cube, name)

    def _cached_snapshot(self, document: dict[str, Any]) -> Snapshot:
        """The snapshot of a release that is not the current one: opening takes seconds, so one is opened at a time.

        Raises `BusyError` where too many requests wait for that already.
        """
        token = token_of(document)
        snapshot = self._open_snapshot(token)
        if snapshot is not None:
            return snapshot
        if not self._waiting.acquire(blocking=False):
            raise BusyError("The server is opening other releases; try again in a few seconds.")
        try:
            with self._opening:
                snapshot = self._open_snapshot(token)  # another request may have opened it meanwhile
                if snapshot is None:
                    snapshot = self._build(document, None)
                    with self._lock:
                        self._snapshots[token] = snapshot
            return snapshot
        finally:
            self._waiting.release()

    def _open_snapshot(self, token: str) -> Snapshot | None:
        with self._lock:
            return self._snapshots.get(token)

    def _read(self, previous: Snapshot | None = None) -> Snapshot:
        cube = open_cube(self.url) if previous is None else previous.reader.cube
        release = releases.current(cube)
        # A store that finds nothing for a moment looks like a cube before its first release, and none goes back to that.
        if release["name"] is None and previous is not None and previous.products:
            raise CubeError(f"{self.url}: {releases.CURRENT} is not there any more; see whether the store is mounted.")
        return self._build(release, previous)

    def _build(self, release: dict[str, Any], previous: Snapshot | None) -> Snapshot:
        name, token = str(release["name"] or "inputs"), token_of(release)
        if previous is not None and previous.token == token:
            return previous
        cube = open_cube(self.url)
        window = release.get("region_km")  # a release may cover less than the cube: training often reaches further
        region = cube.region.crop(*window) if window else cube.region
        reader = Reader(cube, token, self._cache)
        metrics.RELEASES.inc()
        products, facts = dict(release["products"]), ReleaseFacts(cube, dict(release["products"]))
        snapshot = Snapshot(
            name,
            token,
            products,
            catalogue.build(cube, release),
            reader,
            region,
            facts,
            release,
            facts.ranges(),
            facts.without_values(),
        )
        if cube.read_json("zarr.json") is None:  # what was not found was not found because the store went away
            raise CubeError(f"{self.url}: zarr.json is not there any more; see whether the store is mounted.")
        return snapshot
