"""What is written behind the computing is what was computed last."""

from __future__ import annotations

from threading import Event
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
