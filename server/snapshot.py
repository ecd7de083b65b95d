"""A cube as one request sees it: one release, its catalogue and open arrays; a new release replaces it whole."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from cube import grid, releases
from cube.errors import CubeError
from cube.grid import Region
from cube.store import open_cube
from server import catalogue
from server.catalogue import Catalogue
from server.errors import NotFoundError
from server.io import ChunkCache, Reader, selection
from server.layers import MapLayer, nice_ceiling

POLL_SECONDS: Final = 1.0
_SAMPLE_CHUNKS: Final = 9
_NAMED: Final = 4  # releases beside the current one that stay open
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
    _ranges: dict[str, tuple[float, float]] = field(default_factory=dict)

    @cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """(west, south, east, north) of the region in degrees, WGS 84."""
        transformer = Transformer.from_crs(grid.EPSG, 4326, always_xy=True)
        west, south, east, north = transformer.transform_bounds(*self.region.bounds, densify_pts=21)
        return round(west, 6), round(south, 6), round(east, 6), round(north, 6)

    @cached_property
    def outline(self) -> list[list[float]]:
        """The edge of the region as a closed ring of [longitude, latitude], straight in EPSG:3035 and so curved here."""
        west, south, east, north = self.region.bounds
        steps = np.linspace(0, 1, 21)[:-1]
        x = np.concatenate([west + (east - west) * steps, np.full(20, east), east - (east - west) * steps, np.full(20, west)])
        y = np.concatenate([np.full(20, south), south + (north - south) * steps, np.full(20, north),
                            north - (north - south) * steps])  # fmt: skip
        lon, lat = grid.unproject(x, y)
        ring = [[round(float(a), 6), round(float(b), 6)] for a, b in zip(lon, lat, strict=True)]
        return [*ring, ring[0]]

    def layer(self, layer_id: str) -> MapLayer:
        """The layer of that id; raises `NotFoundError`."""
        try:
            return self.catalogue.by_id[layer_id]
        except KeyError:
            raise NotFoundError(f"There is no layer '{layer_id[:80]}' in release {self.release}; see /layers.") from None

    def range_of(self, layer: MapLayer) -> tuple[float, float]:
        """Display range of a continuous layer in its units: declared, or 2nd to 98th percentile of a sample."""
        if layer.range is not None:
            return layer.range
        if layer.range_of and layer.range_of != layer.id:
            return self.range_of(self.catalogue.by_id[layer.range_of])
        found = self._ranges.get(layer.id)
        if found is None:
            found = _display_range(self._sample(layer), layer.product)
            if layer.palette == "vik":  # its two arms meet at zero
                found = (-max(map(abs, found)), max(map(abs, found)))
            self._ranges[layer.id] = found
        return found

    def _sample(self, layer: MapLayer) -> NDArray[np.float64]:
        """Values in units of the coarsest level, at most a few chunks spread over it."""
        array = self.reader.array(layer.paths[-1])
        height, width = array.chunks[-2:]
        spots = [(row, col) for row in range(0, array.shape[-2], height) for col in range(0, array.shape[-1], width)]
        chosen = {int(i) for i in np.linspace(0, len(spots) - 1, min(_SAMPLE_CHUNKS, len(spots)))}
        parts = [
            np.asarray(array[selection(layer.lead, slice(r, r + height), slice(c, c + width))]).ravel()
            for r, c in (spots[i] for i in sorted(chosen))
        ]
        stored = np.concatenate(parts)
        stored = stored[(stored != layer.fill) & np.isfinite(stored.astype(np.float64))]
        return np.asarray(stored.astype(np.float64) * layer.scale + layer.offset)


def _display_range(values: NDArray[np.float64], product: str) -> tuple[float, float]:
    """Round ends that hold the middle 96 % of `values`; indicators that reach near zero start at zero."""
    if values.size == 0:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, (2, 98)))
    if high <= low:
        high = low + (abs(low) or 1.0)
    if product == "indicators" and 0 <= low < high / 2:
        return 0.0, nice_ceiling(high)
    step = nice_ceiling((high - low) / 20)
    return round(float(np.floor(low / step)) * step, 9), round(float(np.ceil(high / step)) * step, 9)


class ServedCube:
    """A cube that the server was started with, always at the release that its `current.json` names."""

    def __init__(self, url: str, cache: ChunkCache) -> None:
        """Open the cube; raises `CubeError` if there is none or its release is damaged."""
        self.url, self._cache = url, cache
        self.title = str(open_cube(url).attributes.get("title", "")) or "floracube"
        self._lock = threading.Lock()
        self._checked = time.monotonic()
        self._snapshot = self._read()
        self._named: OrderedDict[str, Snapshot] = OrderedDict()

    def snapshot(self) -> Snapshot:
        """The current release; looks for a new one at most once a second, and keeps the old one if that fails."""
        if time.monotonic() - self._checked > POLL_SECONDS and self._lock.acquire(blocking=False):
            try:
                self._snapshot = self._read(self._snapshot)
            except (CubeError, OSError, KeyError, ValueError) as error:
                log.warning("%s: the current release cannot be read, serving %s: %s", self.url, self._snapshot.release,
                            error)  # fmt: skip
            finally:
                self._checked = time.monotonic()
                self._lock.release()
        return self._snapshot

    def named(self, name: str) -> Snapshot:
        """The release `name`, whether readers follow it or not; raises `NotFoundError` where the cube has none of it."""
        current = self.snapshot()
        if name in (current.release, current.token):
            return current
        release = current.reader.cube.read_json(f"releases/{name}.json")
        if release is None:
            raise NotFoundError(f"There is no release '{name[:80]}' in this cube; the current one is {current.release}.")
        found = self._build(dict(release), self._named.get(name))
        self._named[name] = found
        while len(self._named) > _NAMED:
            self._named.popitem(last=False)
        return found

    def _read(self, held: Snapshot | None = None) -> Snapshot:
        cube = open_cube(self.url) if held is None else held.reader.cube
        return self._build(releases.current(cube), held)

    def _build(self, release: dict[str, Any], held: Snapshot | None) -> Snapshot:
        document = json.dumps(release, sort_keys=True, default=str)
        name = str(release["name"] or "inputs")
        token = f"{name}-{hashlib.sha256(document.encode()).hexdigest()[:8]}"
        if held is not None and held.token == token:
            return held
        cube = open_cube(self.url)
        held_products = dict(release["products"])
        window = release.get("region_km")  # a release may cover less than the cube: training often reaches further
        region = cube.region.crop(*window) if window else cube.region
        return Snapshot(name, token, held_products, catalogue.build(cube, release), Reader(cube, token, self._cache), region)
