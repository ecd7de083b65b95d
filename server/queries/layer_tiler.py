"""titiler over the cube: its factories, with a layer of the catalogue where titiler has the URL of a dataset.

Imported with the first request to one of these routes (`server.front`), since titiler brings GDAL and xarray along. Map tiles
are drawn by `server.drawing`, at many times the speed; here are the routes that GIS programs and notebooks know from titiler.
Addresses name a layer, never a file or a host.
"""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, cast
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from morecantile import tms
from pydantic import AfterValidator
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rio_tiler.colormap import cmap
from rio_tiler.errors import PointOutsideBounds, RioTilerError
from rio_tiler.types import ColorMapType
from starlette.datastructures import MutableHeaders, State
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from titiler.core.dependencies import (
    BidxExprParams,
    ImageRenderingParams,
    create_colormap_dependency,
)
from titiler.core.errors import DEFAULT_STATUS_CODES
from titiler.core.factory import AlgorithmFactory, BaseFactory, ColorMapFactory, TilerFactory, TMSFactory
from titiler.core.models.mapbox import TileJSON
from titiler.core.models.OGC import TileSet, TileSetList
from titiler.core.resources.enums import ImageType
from titiler.core.utils import create_html_response

from cube.grid import EUROPE
from server import palettes
from server.dependencies import OTHER_CUBE, LayerParameter, ReleaseParameter, cube_of, refuse_unknown, root_of, unchanged
from server.describing import tilesets
from server.describing.links import absolute_validators, base_url
from server.describing.problem import COMMON
from server.drawing.tms import known_name, own_grid, own_name
from server.errors import ErrorGuard, NotFoundError, WrongRequestError, add_handlers, error_answer
from server.queries.layer_reader import LayerInput, LayerReader
from server.queries.titiler_parameters import Histogram, Tile, possible, small_picture

LAYER: Final = "/layers/{layer_id}"
_UNFIT: Final = "titiler cannot answer that: its parameters do not fit the layer or each other."
_DATA: Final = frozenset({"npy", "tif", "tiff"})
# What rio-tiler and GDAL refuse, and what titiler and rio-tiler run into with parameters that do not fit.
_REFUSALS: Final = (RioTilerError, RasterioError, CPLE_BaseError)
_MISFITS: Final = (ValueError, TypeError, AssertionError, ArithmeticError, LookupError)
log = logging.getLogger("floracube.server")


class _UnchangedError(Exception):
    """The client holds the answer already; carries the validators."""


def layer_input(
    request: Request,
    layer_id: LayerParameter,
    release: ReleaseParameter = None,
    v: Annotated[
        str | None, Query(max_length=140, description="A release or, for an answer that never changes, its token.")
    ] = None,
    version: Annotated[str | None, Query(max_length=100, description="A published version of the layer's product.")] = None,
    time: Annotated[str | None, Query(max_length=20, description="Of a series of inputs: 2019Q3, 2018-07.")] = None,
) -> LayerInput:
    """What stands where titiler has `url`; a client that holds the answer is told so before anything is read."""
    cube = cube_of(request)
    snapshot = cube.of_address(v, version, layer_id.partition(".")[0]) if release is None else cube.by_name(release)
    chosen_layer = LayerInput(snapshot, snapshot.layer(layer_id, time))
    if request.method == "GET":
        headers = request.state.validators = absolute_validators(snapshot, request)
        if unchanged(request, headers) is not None:
            raise _UnchangedError(headers)
    return chosen_layer


if TYPE_CHECKING:
    TileMatrixSetName = str
else:  # as titiler writes it into its own routes
    TileMatrixSetName = Annotated[str, Path(description="Identifier of a tile matrix set."), AfterValidator(known_name)]
LayerInputParameter = Annotated[LayerInput, Depends(layer_input)]
Bands = Annotated[BidxExprParams, Depends(BidxExprParams)]
Colours: Final = cmap.register(
    {
        name: {i: (int(r), int(g), int(b), 255) for i, (r, g, b) in enumerate(palettes.table(name))}
        for name in palettes.NAMES
        if name not in cmap.list()
    }
)
ColoursParameter = Annotated[ColorMapType | None, Depends(create_colormap_dependency(Colours))]


def _styled_by_us(request: Request) -> bool:
    """Whether an image gets its layer's own colours: a picture of the values themselves."""
    form = request.path_params.get("format") or request.query_params.get("tile_format")
    return "algorithm" not in request.query_params and form not in _DATA


def _colours(request: Request, layer_input: LayerInputParameter, bands: Bands, params: ColoursParameter) -> Any:
    if params is not None and not isinstance(params, dict | list):
        raise WrongRequestError("colormap takes an object of values and colours, or a list of intervals and colours, as JSON.")
    one_band = ";" not in bands.expression.strip("; ") if bands.expression else len(bands.indexes or ()) < 2
    if params is not None or not one_band or not _styled_by_us(request):
        return params
    if layer_input.layer.kind == "class":
        return None if bands.expression else {c.value: (*palettes.rgb(c.colour), 255) for c in layer_input.layer.classes}
    return Colours.get(layer_input.layer.palette)


def _rendering(
    request: Request,
    layer_input: LayerInputParameter,
    bands: Bands,
    params: Annotated[ImageRenderingParams, Depends(ImageRenderingParams)],
) -> ImageRenderingParams:
    if params.rescale is None and _styled_by_us(request):
        if bands.expression:
            raise WrongRequestError("An expression has no range of its own; say with rescale=low,high how to draw it.")
        if layer_input.layer.kind == "continuous":
            drawn_bands = [layer_input.bands[number - 1] for number in layer_input.numbers(bands.indexes, None)]
            # titiler makes pairs of its strings.
            params.rescale = [layer_input.snapshot.range_of(band) for band in drawn_bands]  # type: ignore[misc]
    return params


class _Linked(BaseFactory):
    """titiler's factories, whose links say what the client must call us, behind a proxy or not, and which cube is meant."""

    def url_for(self, request: Request, name: str, **path_params: Any) -> str:
        if "layer_id" in request.path_params:
            path_params = {"layer_id": request.path_params["layer_id"], **path_params}
        return f"{base_url(request)}{root_of(request)}{self.router.url_path_for(name, **path_params)}"


class TileMatrixSets(_Linked, TMSFactory):
    """`/tileMatrixSets`."""


class Algorithms(_Linked, AlgorithmFactory):
    """`/algorithms`."""


class ColorMaps(_Linked, ColorMapFactory):
    """`/colorMaps`."""


class LayerTiler(_Linked, TilerFactory):
    """titiler's TilerFactory of the layers of a cube.

    Its tiles are drawn by `server.tileroute` wherever that can; what a layer says of itself (release, licence, legend)
    stands in its TileJSON and its tile sets.
    """

    _OR_HTML: ClassVar[dict[int | str, dict[str, Any]]] = {200: {"content": {"application/json": {}, "text/html": {}}}}

    def tilesets(self) -> None:
        """OGC API Tiles: the tile sets of a layer, one for each tile matrix set."""

        @self.router.get(
            "/tiles",
            response_model=TileSetList,
            operation_id="getTileSetList",
            summary="The tile sets of a layer",
            responses=self._OR_HTML,
        )
        def tileset_list(
            request: Request, layer_input: LayerInputParameter, f: Literal["html", "json"] | None = None
        ) -> Response:
            documents = [self._tileset(request, layer_input, name) for name in self.supported_tms.list()]
            return self._formatted(request, {"tilesets": documents}, f, "tilesets", "Tilesets")

        @self.router.get(
            "/tiles/{tileMatrixSetId}",
            response_model=TileSet,
            operation_id="getTileSet",
            summary="One tile set of a layer: limits and addresses",
            responses=self._OR_HTML,
        )
        def tileset(
            request: Request,
            tileMatrixSetId: TileMatrixSetName,
            layer_input: LayerInputParameter,
            f: Literal["html", "json"] | None = None,
        ) -> Response:
            document = self._tileset(request, layer_input, tileMatrixSetId)
            document["tileMatrixSetLimits"] = tilesets.matrix_limits(layer_input.snapshot, layer_input.layer, tileMatrixSetId)
            return self._formatted(request, document, f, "tileset", tileMatrixSetId)

    def _tileset(self, request: Request, layer_input: LayerInput, name: str) -> dict[str, Any]:
        query = urlencode([(key, value) for key, value in request.query_params.multi_items() if key not in ("f", "v")])
        links = {
            "self": self.url_for(request, "tileset", tileMatrixSetId=name),
            "map": self.url_for(request, "map_viewer", tileMatrixSetId=name),
            "definition": f"{base_url(request)}/tileMatrixSets/{name}",
            "tiles": self.url_for(request, "tile", tileMatrixSetId=name, z="{z}", x="{x}", y="{y}"),
        }
        return tilesets.tileset(layer_input.snapshot, layer_input.layer, name, links, query)

    def _formatted(self, request: Request, document: dict[str, Any], form: str | None, template: str, title: str) -> Response:
        if form == "html" or (form is None and "text/html" in request.headers.get("accept", "")):
            return create_html_response(request, document, template, self.templates, title)
        return JSONResponse(document)  # titiler's model would write {z} of the templates as %7Bz%7D

    def tilejson(self) -> None:
        """TileJSON 3.0, for MapLibre, Leaflet and GDAL; it takes what its tiles take."""
        of_tiles = (
            self.tile_dependency,
            self.layer_dependency,
            self.dataset_dependency,
            self.process_dependency,
            self.colormap_dependency,
            self.render_dependency,
        )

        @self.router.get(
            "/{tileMatrixSetId}/tilejson.json",
            response_model=TileJSON,
            operation_id="getTileJSON",
            summary="TileJSON of a layer",
            dependencies=[Depends(dependency) for dependency in of_tiles],
            response_model_exclude_none=True,
        )
        def tilejson(
            request: Request,
            tileMatrixSetId: TileMatrixSetName,
            layer_input: LayerInputParameter,
            tilesize: Annotated[int | None, Query(gt=0, description="Tilesize in pixels: 256 if left out.")] = None,
            tile_format: Annotated[ImageType, Query(description="Format of the tiles.")] = ImageType.png,
            minzoom: Annotated[int | None, Query(description="Overwrite default minzoom.")] = None,
            maxzoom: Annotated[int | None, Query(description="Overwrite default maxzoom.")] = None,
        ) -> Any:
            """Where the tiles are, at which zooms, and what must be said beside them; further parameters go to the tiles."""
            left_out = {"tile_format", "minzoom", "maxzoom", "v", "release", "version", "time"}
            query = [("v", layer_input.snapshot.token)]
            query += [(key, value) for key, value in request.query_params.multi_items() if key not in left_out]
            places = {"tileMatrixSetId": tileMatrixSetId, "z": "{z}", "x": "{x}", "y": "{y}", "format": tile_format.value}
            tiles = self.url_for(request, "tile", layer_id=layer_input.layer.id, **places)
            document = {
                **tilesets.tilejson(layer_input.snapshot, layer_input.layer, tileMatrixSetId),
                "legend": f"{base_url(request)}{root_of(request)}{LAYER.format(layer_id=layer_input.layer.id)}/legend.png",
                "tiles": [f"{tiles}?{urlencode(query)}"],
            }
            zooms = {"minzoom": minzoom, "maxzoom": maxzoom}
            return {**document, **{key: value for key, value in zooms.items() if value is not None}}


def build(state: State, description: str) -> FastAPI:
    """titiler's application over the cubes of the server whose `state` it shares, the first one below `""`."""
    grids = {EUROPE, *(cube.snapshot().region.grid for cube in state.cubes.values())}
    sets = tms.register({own_name(grid): own_grid(grid) for grid in grids})
    tiler = LayerTiler(
        reader=LayerReader,
        path_dependency=layer_input,
        colormap_dependency=_colours,
        render_dependency=cast(Any, _rendering),
        tile_dependency=Tile,
        histogram_dependency=Histogram,
        router=APIRouter(prefix=LAYER),
        supported_tms=sets,
        name="layer",
    )
    pictures = APIRouter(dependencies=[Depends(small_picture)])
    common_factories = (TileMatrixSets(supported_tms=sets), Algorithms(), ColorMaps(supported_colormaps=Colours, router=pictures))
    for route in tiler.router.routes:
        if isinstance(route, APIRoute) and route.name == "tile":
            route.responses[204] = {"description": "Nothing is mapped there."}
    app = FastAPI(title="floracube", description=description, dependencies=[Depends(possible), Depends(refuse_unknown)])
    app.state = state
    app.include_router(tiler.router, tags=["layers, as titiler"], responses=COMMON)
    app.include_router(tiler.router, prefix=OTHER_CUBE, include_in_schema=False)
    for factory in common_factories:
        app.include_router(factory.router, tags=["tile matrix sets, palettes, algorithms"], responses=COMMON)
    app.add_middleware(ErrorGuard)
    app.add_middleware(_Validators)
    add_handlers(app)
    app.add_exception_handler(_UnchangedError, _not_modified)
    for kind in (*_REFUSALS, *_MISFITS):
        app.add_exception_handler(kind, _refused)
    return app


class _Validators:
    """Writes the validators that `layer_input` found into an answer: titiler's routes make their own `Response`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope.setdefault("state", {})

        async def completed(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                MutableHeaders(raw=message["headers"]).update(state.get("validators", {}))
            await send(message)

        await self._app(scope, receive, completed)


async def _not_modified(request: Request, error: Exception) -> Response:
    return Response(status_code=304, headers=error.args[0])


async def _refused(request: Request, error: Exception) -> JSONResponse:
    """What rio-tiler, GDAL and titiler refuse, with titiler's status; some raise plain errors for parameters that do not fit."""
    if isinstance(error, RioTilerError):
        status = next((DEFAULT_STATUS_CODES[kind] for kind in type(error).__mro__ if kind in DEFAULT_STATUS_CODES), 400)
        if isinstance(error, PointOutsideBounds) or status == 404:
            return error_answer(404, NotFoundError.name, str(error))
        return error_answer(400, WrongRequestError.name, str(error))
    if not isinstance(error, _REFUSALS) and _is_ours(error):
        raise error
    log.warning("%s: %s: %s", request.url.path, type(error).__name__, error)
    return error_answer(400, WrongRequestError.name, _UNFIT)


def _is_ours(error: Exception) -> bool:
    """Whether this project's own code raised it: a mistake of the server, whatever the parameters are."""
    rooms = [frame.f_globals.get("__name__", "").partition(".")[0] for frame, _ in traceback.walk_tb(error.__traceback__)]
    return next((room for room in reversed(rooms) if room in ("server", "cube", "titiler", "rio_tiler")), "") in (
        "server",
        "cube",
    )
