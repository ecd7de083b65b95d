"""What the build engine knows of a source: which layers it fills, what its values depend on, and how a unit is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cube.config import Source
from cube.grid import Region, Unit
from cube.layers import Layer
from cube.storage.identity import digest


class UnitValues(dict[str, NDArray[Any]]):
    """Stored values of a unit by layer, and which of them are not what the file held.

    `refused` marks by layer the values that are missing because a pixel was refused, `clipped` those that the layer's type
    could not store; both of the values' shape. `warnings` are sentences about pixels that were refused.
    """

    def __init__(self, values: Mapping[str, NDArray[Any]]) -> None:
        """`values` are (leading axes, rows, columns) by layer."""
        super().__init__(values)
        self.refused: dict[str, NDArray[np.bool_]] = {}
        self.clipped: dict[str, NDArray[np.bool_]] = {}
        self.warnings: tuple[str, ...] = ()


class Reader(Protocol):
    """A source made ready: checked, small, and picklable, so that it travels to the workers as it is."""

    ALGORITHM: ClassVar[int]  # raised with every change of the code that changes values: units are then built anew

    @property
    def source(self) -> Source | None:
        """The part of the configuration that it was made from; None where nothing was asked for."""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer that it fills; the first one names its stage in the ledger."""

    def depends_on(self) -> Mapping[str, Any]:
        """What the values depend on besides the algorithm and the layers, as plain values (`cube.storage.identity`).

        Terms, names and the place of a file change no value and do not belong here.
        """

    def memory(self, unit: Unit) -> int:
        """Bytes that reading `unit` takes at most, what it returns included; from shapes, without reading."""

    def read(self, region: Region, unit: Unit) -> Mapping[str, NDArray[Any]]:
        """Stored values of every layer on one whole unit, (leading axes, rows, columns) at the layer's own resolution.

        A `UnitValues` where some of them were refused or clipped.
        Raises `SourceError` naming what cannot be read.
        """


@runtime_checkable
class ManyScenes(Protocol):
    """A reader that holds more than one unit needs, and can give up the rest before it travels to a worker."""

    def near(self, unit: Unit) -> Reader:
        """The same reader for `unit` alone."""


@runtime_checkable
class Loadable(Protocol):
    """A reader that reads all of its source once, which only a build with units to do should wait for."""

    def loaded(self, region: Region) -> Reader:
        """The same reader with what it needs to read units. Raises `ConfigError` or `SourceError`."""


def inputs_of(reader: Reader) -> str:
    """Hash of all that the values of a reader's layers depend on: what a valid receipt of its units carries."""
    layer_forms = []
    for layer in reader.layers:
        labels = {dim: layer.labels.get(dim) for dim in layer.dims}
        layer_forms.append([layer.name, layer.dtype, layer.fill, layer.scale, layer.offset, labels])
    return digest({"reader": type(reader).__name__, "algorithm": reader.ALGORITHM, "stored": layer_forms, **reader.depends_on()})
