"""What is written behind the computing is what was computed last."""

from __future__ import annotations

from threading import Event, Lock
from types import SimpleNamespace
from typing import Any

import numpy as np

from cube.grid import Region
from cube.storage.ledger import checksum
from inference.cascade.clock import Clock
from inference.cascade.writing import Writer


def test_a_map_that_is_made_again_is_written_after_the_first_one() -> None:
    """As where the memory of a GPU was full; a bucket takes two maps at once."""
    region, written, later = Region(4700, 2850, 4710, 2860, 10), list[int](), Event()

    def write(path: str, selection: Any, values: np.ndarray, array: Any) -> dict[str, int]:
        if values[0, 0] == 1:
            later.wait(0.5)
        written.append(int(values[0, 0]))
        return {path: 1}

    nothing = SimpleNamespace(store=None, arrays=dict)
    cube: Any = SimpleNamespace(url="s3://b/c", root=nothing, region=region, write=write, group=lambda _: nothing, array=str)
    first, second = (np.full((200, 200), value, np.uint8) for value in (1, 2))
    with Writer(cube, next(iter(region.units())), Clock()) as writer:
        writer.put("species 0", "products/species/v1/0/occurrence", first)
        writer.put("species 0", "products/species/v1/0/occurrence", second)
        later.set()
    assert written == [1, 2]
    assert writer.checksums == {"species 0": checksum(second)}


def test_small_maps_go_to_a_bucket_at_once_and_blocks_of_species_two_by_two() -> None:
    """Each waits for an answer; a block of species takes memory meanwhile."""
    region, most, running, lock = Region(4700, 2850, 4710, 2860, 10), dict[str, int](), dict[str, int](), Lock()

    def write(path: str, selection: Any, values: np.ndarray, array: Any) -> dict[str, int]:
        with lock:
            running[path] = running.get(path, 0) + 1
            most[path] = max(most.get(path, 0), running[path])
        Event().wait(0.2)
        with lock:
            running[path] -= 1
        return {path: 1}

    nothing = SimpleNamespace(store=None, arrays=dict)
    cube: Any = SimpleNamespace(url="s3://b/c", root=nothing, region=region, write=write, group=lambda _: nothing, array=str)
    values = np.ones((200, 200), np.uint8)
    with Writer(cube, next(iter(region.units())), Clock()) as writer:
        for i in range(6):
            writer.put(f"species {i}", "products/species/v1/0/occurrence", values[None], slice(i, i + 1))
        for i in range(6):
            writer.put(f"indicators {i}", "products/indicators/v1/0/richness", values)
    assert most["products/species/v1/0/occurrence"] <= 2 < most["products/indicators/v1/0/richness"]
