"""What the build engine knows of a source: which layers it fills, what its values depend on, and how a unit is read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from cube.config import Source
from cube.grid import Region, Unit
from cube.layers import Layer


class Reader(Protocol):
    """A source made ready: checked, small, and picklable, so that it travels to the workers as it is."""

    @property
    def source(self) -> Source | None:
        """The part of the configuration that it was made from; None where nothing was asked for."""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer that it fills; the first one names its stage in the ledger."""

    def depends_on(self) -> tuple[Any, ...]:
        """What the values depend on, as something whose `repr` is stable; a change makes units be built again."""

    def read(self, region: Region, unit: Unit) -> Mapping[str, NDArray[Any]]:
        """Stored values of every layer on one whole unit, (leading axes, rows, columns) at the layer's own resolution.

        Raises `SourceError` naming what cannot be read.
        """


@runtime_checkable
class ManyScenes(Protocol):
    """A reader that holds more than one unit needs, and can give up the rest before it travels to a worker."""

    def near(self, unit: Unit) -> Reader:
        """The same reader for `unit` alone."""


def file_states(paths: Iterable[str]) -> list[tuple[str, int, int]]:
    """(path, bytes, modification time in ns) of those `paths` that are local files."""
    return [(p, os.stat(p).st_size, os.stat(p).st_mtime_ns) for p in paths if os.path.exists(p)]
