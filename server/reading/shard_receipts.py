"""Whether a shard that the store does not find was ever written: an absent one is "no data" only where a receipt says so.

A store that is away for a moment, or a shard that was lost, would otherwise be shown as a hole for as long as it is remembered.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cachetools import LRUCache

from cube.grid import Unit
from cube.pyramids.squares import Square
from cube.storage import backends, progress
from cube.storage.ledger import Ledger
from cube.storage.progress import Stage
from cube.storage.store import CubeStore
from server.errors import StoreError

_RECEIPTS: Final = 512  # remembered, of versions, which never change
_PRODUCT: Final = re.compile(r"products/[^/]+/(?P<version>[^/]+)(?:/facts)?(?:/(?P<level>\d+))?(?:/(?P<name>[^/]+))?")
_INPUT: Final = re.compile(r"inputs(?:/overviews)?/[^/]+(?:/(?P<level>\d+))?/(?P<name>[^/]+)")


@dataclass(frozen=True)
class _Place:
    """The receipt that speaks of a shard: the stage, its folder in the ledger, and the unit or square."""

    stage: Stage
    folder: str
    square: Unit | Square
    lasting: bool  # receipts of a version never change, those of inputs do


class WrittenShards:
    """The receipts of one cube, asked for shards that its store does not find."""

    def __init__(self, cube: CubeStore) -> None:
        """Nothing is read before the first question."""
        self._cube, self._lock = cube, threading.Lock()
        self._versions: dict[str, Stage] = {}
        self._inputs: dict[str, Stage] = {}
        self._sizes: LRUCache[tuple[str, str], Mapping[str, int]] = LRUCache(_RECEIPTS)

    def require_empty(self, path: str, shards: Sequence[tuple[int, ...]]) -> None:
        """Raise `StoreError` if one of the absent `shards` of the array at `path` should be there.

        A cube that says nothing of how it was made, or that lies on a web server, which has no receipts, is believed.
        """
        if backends.scheme(self._cube.url) in backends.WEB:
            return
        for shard in shards:
            place = self._place(path, shard)
            if place is None:
                continue
            sizes, key = self._sizes_of(place), "/".join((path, "c", *map(str, shard)))
            if sizes is None and place.lasting and _covers(place):
                raise StoreError(
                    f"{key} is not there, and {place.folder} has no receipt of {place.square.name}; see `floracube check`."
                )
            if sizes is not None and sizes.get(key, 0):
                raise StoreError(f"{key} is not there, though its receipt says that it was written; see `floracube check`.")

    def _place(self, path: str, shard: tuple[int, ...]) -> _Place | None:
        match = _PRODUCT.fullmatch(path) or _INPUT.fullmatch(path)
        if match is None:
            return None
        version = match.groupdict().get("version")
        stage = self._input(match["name"]) if version is None else self._version(version)
        if stage is None or stage.inputs is None:
            return None
        level = int(match["level"] or 0)
        if level:
            square = Square(self._cube.region, level, shard[-2], shard[-1])
            return _Place(stage, f"{stage.path}/overviews", square, version is not None)
        first = next(self._cube.region.units())
        unit = self._cube.region.unit(first.row + shard[-2], first.col + shard[-1])
        return _Place(stage, stage.path, unit, version is not None)

    def _input(self, name: str) -> Stage | None:
        """The stage of an input; None of an array that is no layer of ours.

        The receipts of inputs may be missing for good, so the store is asked first whether it is there at all.
        """
        if self._cube.read_json("zarr.json") is None:
            raise StoreError(f"{self._cube.url}: zarr.json is not there any more; see whether the store is mounted.")
        with self._lock:
            stage = self._inputs.get(name)
        if stage is None:
            stages = {layer: stage for stage in progress.input_stages(self._cube) for layer in stage.layers}
            if name not in stages:  # an array that is being read
                raise StoreError(f"the input {name} is not there any more; see whether the store is mounted.")
            stage = stages[name]
            with self._lock:
                self._inputs = stages
        return stage

    def _version(self, version: str) -> Stage:
        with self._lock:
            stage = self._versions.get(version)
        if stage is None:
            stage = progress.version_stage(self._cube, version)
            if not stage.layers:  # a version that is being read: what says nothing now may say more later
                raise StoreError(f"products of version {version} are not there any more; see whether the store is mounted.")
            with self._lock:
                self._versions[version] = stage
        return stage

    def _sizes_of(self, place: _Place) -> Mapping[str, int] | None:
        """Bytes of each shard by its key as the receipt counts them, None where there is no valid receipt."""
        key = place.folder, place.square.name
        with self._lock:
            sizes = self._sizes.get(key)
        if sizes is not None:
            return sizes
        # The squares of overviews carry hashes of what is below them: any is as good as the shards that it was left with.
        ledger = Ledger(self._cube, place.folder, place.stage.inputs)
        receipt: Mapping[str, Any] | None = (
            ledger.valid(place.square.name) if isinstance(place.square, Unit) else ledger.any(place.square.name)
        )
        if receipt is None:
            return None
        sizes = {name: int(size) for name, size in receipt.get("sizes", {}).items()}
        if place.lasting:
            with self._lock:
                self._sizes[key] = sizes
        return sizes


def _covers(place: _Place) -> bool:
    """Whether a finished version has a receipt there: in a part of the cube, units of the rest have none."""
    units = {place.square} if isinstance(place.square, Unit) else set(place.square.units())
    return not units.isdisjoint(place.stage.region.units())
