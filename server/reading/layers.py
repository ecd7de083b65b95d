"""One layer as the map shows it: where its cells lie, how they become values, and how values become colours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from server import palettes


@dataclass(frozen=True, slots=True)
class HabitatClass:
    """One class of a map: stored value, code (may be empty), label and `#rrggbb`."""

    value: int
    code: str
    label: str
    colour: str


@dataclass(frozen=True)
class MapLayer:
    """One map of the catalogue. A stored value v stands for `v * scale + offset` in `units`; `fill` for no data."""

    id: str
    product: str
    title: str
    subtitle: str
    units: str
    kind: Literal["continuous", "class"]
    palette: str
    paths: tuple[str, ...]  # arrays of levels 0, 1, ...
    lead: tuple[int, ...]  # index of the axes before (y, x)
    resolution: int  # m, of level 0
    minus: tuple[int, ...] | None = None  # index of what is taken away from it: the layer is then a difference, such as a width
    scale: float = 1.0
    offset: float = 0.0
    fill: float = float("nan")
    range: tuple[float, float] | None = None  # in units; None: found from the data when first asked for
    range_of: str = ""  # id of the layer whose range is shared
    classes: tuple[HabitatClass, ...] = ()
    status: Mapping[str, Any] = field(default_factory=dict)
    attribution: str = ""
    license: str = ""
    note: str = ""
    interval: bool = False  # whether it is a face of an indicator that has bounds
    in_catalogue: bool = True  # in the catalogue; others are found by their id alone

    @property
    def series(self) -> str:
        """The id that this layer shares with those of other times; its own where it has no time."""
        return self.id.rpartition(".")[0] if len(self.lead) > 1 else self.id

    @cached_property
    def search_text(self) -> str:
        """What a search looks through, lower case."""
        return f"{self.title} {self.subtitle} {self.id}".lower()

    @cached_property
    def class_lookup(self) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
        """For classes: stored value -> row of the colours (0: transparent), and (rows, 4) RGBA."""
        size = max((c.value for c in self.classes), default=0) + 2
        index = np.zeros(size, np.uint16)
        colours = np.zeros((len(self.classes) + 1, 4), np.uint8)
        for row, entry in enumerate(self.classes, start=1):
            index[entry.value] = row
            colours[row] = (*palettes.rgb(entry.colour), 255)
        return index, colours
