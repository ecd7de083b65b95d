"""What requests carry, checked: the cube, tiles, styles, and the HTTP validators of an answer."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import Depends, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.dependencies.models import Dependant
from starlette.types import Scope

from server import palettes
from server.drawing.tiles import MEDIA, Style, TileRequest
from server.drawing.tms import size_of
from server.drawing.zooms import zooms_of
from server.errors import InvalidParameterError, NotFoundError, WrongRequestError
from server.reading.layers import MapLayer
from server.reading.snapshot import ServedCube, Snapshot

KEY: Final = "api_key"  # query parameter of an access key
HEAD: Final = "floracube.head"  # in the scope of a HEAD: a route that reads much may leave out the body
OTHER_CUBE: Final = "/cubes/{cube}"  # before the paths of a cube that is not the first
COMMON_PARAMETERS: Final = frozenset({KEY, "v"})  # query parameters of every address
_IMMUTABLE: Final = "public, max-age=31536000, immutable"
# What does not name its release may change with the next one: a minute, then ask again.
_ONE_MINUTE: Final = "public, max-age=60, must-revalidate"

TmsParameter = Annotated[str, PathParameter(description="Tile matrix set, such as WebMercatorQuad.")]
LayerParameter = Annotated[str, PathParameter(description="Layer id, `product.name`.", max_length=200)]
LonParameter = Annotated[float, PathParameter(description="Longitude in degrees, WGS 84.")]
LatParameter = Annotated[float, PathParameter(description="Latitude in degrees, WGS 84.")]


def cube_of(request: Request) -> ServedCube:
    """The cube that an address is about: the first one, or the one below `/cubes/`; raises `NotFoundError`."""
    cubes: dict[str, ServedCube] = request.app.state.cubes
    name = request.path_params.get("cube", next(iter(cubes)))
    if name not in cubes:
        raise NotFoundError(f"There is no cube '{name[:80]}'; this server has {', '.join(cubes)}.")
    return cubes[name]


CubeOfAddress = Annotated[ServedCube, Depends(cube_of)]


def path_of(scope: Scope) -> str:
    """The path below the prefix under which the server stands, which ASGI's `path` begins with."""
    return str(scope["path"]).removeprefix(scope.get("root_path", "")) or "/"


def root_of(request: Request) -> str:
    """What the paths of the cube of an address begin with: nothing, or `/cubes/{name}`."""
    return OTHER_CUBE.format(**request.path_params) if "cube" in request.path_params else ""


RELEASE_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
ReleaseParameter = Annotated[
    str | None,
    Query(pattern=RELEASE_PATTERN, max_length=100, description="A release by name; left out, the one that readers follow."),
]


def requested(request: Request, release: ReleaseParameter = None) -> Snapshot:
    """The snapshot of `?release=` of the cube of an address; raises `NotFoundError` for what is not there."""
    cube = cube_of(request)
    return cube.snapshot() if release is None else cube.by_name(release)


RequestedSnapshot = Annotated[Snapshot, Depends(requested)]


def tile_request(tms: str, z: int, x: int, y: str, size: int | None = None) -> tuple[TileRequest, str]:
    """The tile and the image format of `y` = row, optional `@2x`, `.png` or `.webp`; raises for a tile that is not.

    `size`: pixels a side, those of the tile matrix set if left out.
    """
    match = re.fullmatch(r"(\d{1,9})(@2x)?(?:\.([a-z]+))?", y)
    form = "png" if match is None else match[3] or "png"
    if match is None or form not in MEDIA:
        raise NotFoundError("There is no such tile; name it {z}/{x}/{y}.png, {y}@2x.png or {y}.webp.")
    min_zoom, max_zoom = zooms_of(tms)
    if not min_zoom <= z <= max_zoom:
        raise WrongRequestError(f"Zoom {z} is outside {min_zoom} to {max_zoom} of {tms}; choose one of these.")
    (width, height, pixels), row = size_of(tms, z), int(match[1])
    if not (0 <= x < width and row < height):
        raise NotFoundError(f"Tile {z}/{x}/{row} is not in {tms}, which has {width} x {height} tiles there; count from 0.")
    return TileRequest(tms, z, x, row, 512 if match[2] else size or pixels), form


class StyleParameters:
    """Optional overrides of a continuous layer's palette and display range, or a hatch in their stead."""

    def __init__(self, colormap: str | None = None, rescale: str | None = None, above: str | None = None) -> None:
        """Names as in titiler: `colormap` is its `colormap_name`, `rescale` is `low,high` in the layer's units.

        `above`: a number in these units, beyond which cells are hatched and all others left clear.
        """
        self.colormap, self.rescale, self.above = colormap, rescale, above

    def check(self, layer: MapLayer) -> None:
        """Raise `WrongRequestError` for a style that the layer cannot take; reads nothing."""
        if layer.kind == "class" and (self.colormap, self.rescale, self.above) != (None, None, None):
            raise WrongRequestError(f"Layer '{layer.id}' shows classes; it takes no palette and no range.")
        if self.colormap is not None and self.colormap not in palettes.NAMES:
            raise WrongRequestError(f"There is no palette '{self.colormap}'; /colorMaps lists them.")
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
        return Style(self.colormap or layer.palette, *snapshot.range_of(layer))


@lru_cache(maxsize=1)
def rendering_revision() -> str:
    """A hash of the code of this server: what was drawn by other code may differ for the same release and request."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        if "page" not in file.parts:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:8]


def _query_names(dependant: Dependant) -> set[str]:
    return {field.alias for field in dependant.query_params}.union(*map(_query_names, dependant.dependencies))


async def refuse_unknown(request: Request) -> None:
    """Raise `InvalidParameterError` for a query parameter that the route does not have: a misspelt one must not pass."""
    names = request.query_params.keys() - COMMON_PARAMETERS
    if names and not request.url.path.endswith("/wmts"):  # OGC 06-121r9, 11.5.1: a service ignores those it does not know
        refuse_other_than(names, _query_names(request.scope["route"].dependant))


def refuse_other_than(names: Collection[str], allowed_names: Collection[str]) -> None:
    """Raise `InvalidParameterError` unless all `names` are among `allowed_names`."""
    for name in names:
        if name not in allowed_names:
            close = difflib.get_close_matches(name, allowed_names, 1)
            hint = f"did you mean {close[0]}?" if close else f"it takes {', '.join(sorted(allowed_names)) or 'none'}."
            raise InvalidParameterError(f"This address has no parameter '{name[:40]}'; {hint}")


def entity_tag(snapshot: Snapshot, request: Request) -> str:
    """Strong ETag of an answer: equal for equal release, request and code."""
    # Keys tell who asks, not what; the order of parameters means nothing.
    parameters = sorted((name, value) for name, value in request.query_params.multi_items() if name != KEY)
    path = request.url.path
    token = snapshot.reader.token_of("inputs/") if "/inputs." in path else snapshot.token
    text = json.dumps([rendering_revision(), token, path, parameters])
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:24]}"'


def validators(snapshot: Snapshot, request: Request) -> dict[str, str]:
    """ETag and Cache-Control; immutable where the request names the token of the release that answers it (`?v=`).

    Inputs belong to no release: they change when a unit is built again.
    """
    is_pinned = request.query_params.get("v") == snapshot.token and "/inputs." not in request.url.path
    return {"ETag": entity_tag(snapshot, request), "Cache-Control": _IMMUTABLE if is_pinned else _ONE_MINUTE}


def unchanged(request: Request, headers: dict[str, str]) -> Response | None:
    """304 if the client holds the answer already, before anything is read."""
    header = request.headers.get("if-none-match", "")
    tags = {tag.strip().removeprefix("W/") for tag in header.split(",")}
    return Response(status_code=304, headers=headers) if headers["ETag"] in tags or header == "*" else None


def json_answer(snapshot: Snapshot, request: Request, document: Any) -> Response:
    """A JSON answer with validators; NaN is refused, since browsers do not read it."""
    headers = validators(snapshot, request)
    if (not_modified := unchanged(request, headers)) is not None:
        return not_modified
    body = json.dumps(document, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return Response(body.encode(), media_type="application/json", headers=headers)
