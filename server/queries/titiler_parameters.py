"""titiler's query parameters with bounds: what would take gigabytes, or reach a file or a host, is refused before it is tried."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Query, Request
from titiler.core.dependencies import HistogramParams, TileParams

from server.dependencies import COMMON_PARAMETERS
from server.errors import WrongRequestError

_MOST_BINS: Final = 1000
_MOST_PARTS: Final = 10  # `cover_scale`: in how many a pixel is cut to see how much of it a polygon covers
_MOST_PIXELS: Final = 2048  # a side of the picture of a palette
# Anything else that GDAL and PROJ take for a reference system may name a file, a grid or an address, which they open.
_CODE: Final = re.compile(r"(EPSG|OGC|ESRI):[A-Za-z0-9]{1,10}", re.IGNORECASE)
_INTEGER: Final = re.compile(r"\d{1,9}", re.ASCII)
_NUMBER: Final = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?\s*", re.IGNORECASE | re.ASCII)
_NAMES: Final = COMMON_PARAMETERS | {"release", "version", "layer_id"}  # parameters that are no numbers even where they look so


@dataclass
class Tile(TileParams):
    """titiler's parameters of a tile, and ours."""

    above: Annotated[str | None, Query(description="Only what exceeds this value, hatched, to lie over other layers.")] = None

    def __post_init__(self) -> None:
        if self.above is not None:
            raise WrongRequestError("above is drawn alone, as PNG or WebP; leave out titiler's other parameters.")


class Histogram(HistogramParams):
    """titiler's histogram, with as many bins as fit into an answer."""

    def __post_init__(self) -> None:
        if self.bins and "," not in str(self.bins) and int(self.bins) not in range(1, _MOST_BINS + 1):
            raise WrongRequestError(f"A histogram has 1 to {_MOST_BINS} bins; ask for as many.")
        super().__post_init__()  # type: ignore[no-untyped-call]


def possible(request: Request) -> None:
    """Raise `WrongRequestError` for a reference system that is not named by its code, and a number of no use in an image."""
    _require_at_most(_MOST_PARTS, request, "cover_scale")
    for name, value in (*request.query_params.multi_items(), *request.path_params.items()):
        if name.lower().endswith("crs") and _CODE.fullmatch(value) is None:
            raise WrongRequestError(f"{name[:20]} takes a code such as EPSG:3857.")
        numbers = [float(part) for part in value.split(",") if name not in _NAMES and _NUMBER.fullmatch(part)]
        if not all(abs(number) < 1e30 for number in numbers):  # single precision holds no more
            raise WrongRequestError(f"{name[:20]} has a number that is too large; give one below 1e30 in size.")


def small_picture(request: Request) -> None:
    """Raise `WrongRequestError` for a picture of a palette that would take gigabytes: titiler draws any size."""
    _require_at_most(_MOST_PIXELS, request, "width", "height")


def _require_at_most(largest: int, request: Request, *names: str) -> None:
    for name in names:
        value = request.query_params.get(name)
        if value is not None and not (_INTEGER.fullmatch(value) and 1 <= int(value) <= largest):
            raise WrongRequestError(f"{name} is a whole number from 1 to {largest} here; ask for as many.")
