"""What requests carry, checked: tiles, styles, and the HTTP validators of an answer.

titiler.core's own dependencies take dataset URLs, bands and expressions; here no parameter may name a file or a host,
so only morecantile's tile matrix sets are shared with it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import Annotated, Any, Final

import morecantile
from fastapi import Path, Query, Request, Response

from server import palettes
from server.errors import NotFoundError, WrongRequestError
from server.layers import MapLayer
from server.snapshot import Snapshot
from server.tiles import MEDIA, Style, TileRequest, style_of

MAX_ZOOM: Final = 24
TMS_NAMES: Final = tuple(sorted(morecantile.tms.list()))
# A tile without a version may change with the next release: a minute, then ask again.
_FOREVER: Final = "public, max-age=31536000, immutable"
_BRIEFLY: Final = "public, max-age=60"

TmsParameter = Annotated[str, Path(description="Tile matrix set, such as WebMercatorQuad.")]
LayerParameter = Annotated[str, Path(description="Layer id, `product.name`.", max_length=200)]


def tile_matrix_set(tms: str) -> morecantile.TileMatrixSet:
    """The tile matrix set of that name; raises `NotFoundError`."""
    if tms not in TMS_NAMES:
        raise NotFoundError(f"There is no tile matrix set '{tms[:80]}'; known are {', '.join(TMS_NAMES)}.")
    return morecantile.tms.get(tms)


def tile_request(tms: str, z: int, x: int, y: str) -> tuple[TileRequest, str]:
    """The tile and the image format of `y` = row, optional `@2x`, `.png` or `.webp`; raises for a tile that is not."""
    match = re.fullmatch(r"(\d{1,9})(@2x)?\.([a-z]+)", y)
    if match is None or match[3] not in MEDIA:
        raise NotFoundError("A tile is named {z}/{x}/{y}.png, {y}@2x.png or {y}.webp.")
    matrix_set = tile_matrix_set(tms)
    top = min(MAX_ZOOM, matrix_set.maxzoom)
    if not 0 <= z <= top:
        raise WrongRequestError(f"Zoom {z} is outside 0 to {top} of {tms}.")
    matrix, row = matrix_set.matrix(z), int(match[1])
    if not (0 <= x < matrix.matrixWidth and row < matrix.matrixHeight):
        raise NotFoundError(
            f"Tile {z}/{x}/{row} is not in {tms}, which has {matrix.matrixWidth} x {matrix.matrixHeight} tiles there."
        )
    return TileRequest(tms, z, x, row, 512 if match[2] else 256), match[3]


class StyleParameters:
    """Optional overrides of a continuous layer's palette and display range."""

    def __init__(
        self,
        colormap: Annotated[str | None, Query(max_length=40, description="Another palette.")] = None,
        rescale: Annotated[str | None, Query(max_length=60, description="`low,high` in the layer's units.")] = None,
    ) -> None:
        """Names as in titiler: `colormap` for its colormap_name, `rescale`."""
        self.colormap, self.rescale = colormap, rescale

    def style(self, snapshot: Snapshot, layer: MapLayer) -> Style | None:
        """The style asked for, None for the layer's own; raises `WrongRequestError`."""
        if self.colormap is None and self.rescale is None:
            return None
        if layer.kind == "class":
            raise WrongRequestError(f"Layer '{layer.id}' shows classes; it takes no palette and no range.")
        if self.colormap is not None and self.colormap not in palettes.NAMES:
            raise WrongRequestError(f"There is no palette '{self.colormap}'; known are {', '.join(palettes.NAMES)}.")
        own = style_of(snapshot, layer)
        low, high = own.low, own.high
        if self.rescale is not None:
            try:
                low, high = (float(part) for part in self.rescale.split(","))
            except ValueError:
                raise WrongRequestError("rescale takes two numbers, low,high.") from None
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise WrongRequestError("rescale takes two finite numbers, the lower first.")
        return Style(self.colormap or own.palette, low, high)


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
