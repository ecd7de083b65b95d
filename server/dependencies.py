"""What requests carry, checked: tiles, styles, and the HTTP validators of an answer.

titiler.core's own dependencies take dataset URLs, bands and expressions; here no parameter may name a file or a host,
so only morecantile's tile matrix sets are shared with it.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any, Final

from fastapi import Path, Request, Response

from server.drawing import palettes
from server.drawing.tiles import MEDIA, Style, TileRequest, style_of
from server.drawing.tms import NAMES as tms_names  # noqa: N811  a constant under the name that it has had here
from server.drawing.tms import size_of, tile_matrix_set
from server.errors import NotFoundError, WrongRequestError
from server.reading.layers import MapLayer
from server.reading.snapshot import Snapshot

MAX_ZOOM: Final = 24
TMS_NAMES: Final = tms_names
_FOREVER: Final = "public, max-age=31536000, immutable"
# What does not name its release may change with the next one: a minute, then ask again.
_BRIEFLY: Final = "public, max-age=60, must-revalidate"

TmsParameter = Annotated[str, Path(description="Tile matrix set, such as WebMercatorQuad.")]
LayerParameter = Annotated[str, Path(description="Layer id, `product.name`.", max_length=200)]
LonParameter = Annotated[float, Path(description="Longitude in degrees, WGS 84.")]
LatParameter = Annotated[float, Path(description="Latitude in degrees, WGS 84.")]


def tile_request(tms: str, z: int, x: int, y: str) -> tuple[TileRequest, str]:
    """The tile and the image format of `y` = row, optional `@2x`, `.png` or `.webp`; raises for a tile that is not."""
    match = re.fullmatch(r"(\d{1,9})(@2x)?\.([a-z]+)", y)
    if match is None or match[3] not in MEDIA:
        raise NotFoundError("A tile is named {z}/{x}/{y}.png, {y}@2x.png or {y}.webp.")
    matrix_set = tile_matrix_set(tms)
    top = min(MAX_ZOOM, matrix_set.maxzoom)
    if not 0 <= z <= top:
        raise WrongRequestError(f"Zoom {z} is outside 0 to {top} of {tms}.")
    (width, height), row = size_of(tms, z), int(match[1])
    if not (0 <= x < width and row < height):
        raise NotFoundError(f"Tile {z}/{x}/{row} is not in {tms}, which has {width} x {height} tiles there.")
    return TileRequest(tms, z, x, row, 512 if match[2] else 256), match[3]


class StyleParameters:
    """Optional overrides of a continuous layer's palette and display range, or a hatch in their stead."""

    def __init__(self, colormap: str | None = None, rescale: str | None = None, above: str | None = None) -> None:
        """Names as in titiler: `colormap` for its colormap_name, `rescale` as `low,high` in the layer's units.

        `above`: a number in these units, beyond which cells are hatched and all others left clear.
        """
        self.colormap, self.rescale, self.above = colormap, rescale, above

    def check(self, layer: MapLayer) -> None:
        """Raise `WrongRequestError` for a style that the layer cannot take; reads nothing."""
        if self.colormap is None and self.rescale is None and self.above is None:
            return
        if layer.kind == "class":
            raise WrongRequestError(f"Layer '{layer.id}' shows classes; it takes no palette and no range.")
        if self.colormap is not None and self.colormap not in palettes.NAMES:
            raise WrongRequestError(f"There is no palette '{self.colormap}'; known are {', '.join(palettes.NAMES)}.")
        if self.rescale is not None:
            self._ends()
        if self.above is not None:
            self._above()

    def _above(self) -> float:
        try:
            above = float(str(self.above))
        except ValueError:
            raise WrongRequestError("above takes one number, in the layer's units.") from None
        if not abs(above) < 1e30:  # single precision holds no more
            raise WrongRequestError("above takes one finite number.")
        return above

    def _ends(self) -> tuple[float, float]:
        try:
            low, high = (float(part) for part in str(self.rescale).split(","))
        except ValueError:
            raise WrongRequestError("rescale takes two numbers, low,high.") from None
        # Beyond this, single precision knows no steps between them.
        if not (abs(low) < 1e30 and abs(high) < 1e30 and (high - low) > 1e-30):
            raise WrongRequestError("rescale takes two finite numbers, the lower first.")
        return low, high

    def style(self, snapshot: Snapshot, layer: MapLayer) -> Style | None:
        """The layer's own style with what is asked for in its stead, None for classes; `check` comes first."""
        if layer.kind == "class":
            return None
        if self.above is not None:
            return Style(layer.palette, 0.0, 1.0, self._above())
        if self.rescale is not None:
            return Style(self.colormap or layer.palette, *self._ends())
        own = style_of(snapshot, layer)
        return Style(self.colormap or own.palette, own.low, own.high)


def entity_tag(snapshot: Snapshot, request: Request) -> str:
    """Strong ETag of an answer: equal for equal release and request."""
    asked = f"{snapshot.token} {request.url.path}?{request.url.query}"
    return f'"{hashlib.sha256(asked.encode()).hexdigest()[:24]}"'


def validators(snapshot: Snapshot, request: Request) -> dict[str, str]:
    """ETag and Cache-Control; immutable where the request names the release that answers it (`?v=`)."""
    named = request.query_params.get("v") in (snapshot.token, snapshot.release)
    return {"ETag": entity_tag(snapshot, request), "Cache-Control": _FOREVER if named else _BRIEFLY}


def unchanged(request: Request, headers: dict[str, str]) -> Response | None:
    """304 if the client holds the answer already, before anything is read."""
    held = request.headers.get("if-none-match", "")
    tags = {tag.strip().removeprefix("W/") for tag in held.split(",")}
    return Response(status_code=304, headers=headers) if headers["ETag"] in tags or held == "*" else None


def json_answer(snapshot: Snapshot, request: Request, document: Any) -> Response:
    """A JSON answer with validators; NaN is refused, since browsers do not read it."""
    headers = validators(snapshot, request)
    if (cached := unchanged(request, headers)) is not None:
        return cached
    body = json.dumps(document, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return Response(body.encode(), media_type="application/json", headers=headers)
