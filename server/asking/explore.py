"""titiler over the cube: the application that titiler.core's TilerFactory makes of `server.asking.layer_reader`.

Imported with the first request to `/titiler` (`server.main`), since titiler brings GDAL and xarray along. Maps are drawn by
`server.drawing`, at many times the speed; here are the routes that GIS programs and notebooks know from titiler: values of a
point, statistics of an area, previews, algorithms. Addresses name a layer of the catalogue, never a file or a host.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, cast

from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import JSONResponse
from morecantile import tms
from rasterio.errors import RasterioError
from rio_tiler.colormap import cmap
from rio_tiler.errors import PointOutsideBounds, RioTilerError, TileOutsideBounds
from rio_tiler.types import RIOResampling, WarpResampling
from titiler.core.dependencies import (
    CoverScaleParams,
    DefaultDependency,
    HistogramParams,
    ImageRenderingParams,
    create_colormap_dependency,
)
from titiler.core.factory import TilerFactory

from cube import grid
from server.asking.layer_reader import Chosen, LayerReader
from server.asking.requested import release_of
from server.describing.links import base_url
from server.drawing import palettes
from server.drawing.tms import OWN, own_grid
from server.errors import ErrorGuard, NotFoundError, WrongRequestError, add_handlers, error_answer
from server.reading.snapshot import ServedCube, Snapshot

_MOST_BINS: Final = 1000
# Anything else that GDAL and PROJ take for a reference system may name a file, a grid or an address, which they open.
_CODE: Final = re.compile(r"(EPSG|OGC|ESRI):[A-Za-z0-9]{1,10}", re.IGNORECASE)
_UNFIT: Final = "titiler cannot answer that: its parameters do not fit the layer or each other."
_DATA: Final = frozenset({"npy", "tif", "tiff"})
log = logging.getLogger("floracube.server")


@dataclass
class _Resampling(DefaultDependency):
    """titiler's own parameters of a dataset, without those that change what its values mean."""

    resampling_method: Annotated[RIOResampling | None, Query(alias="resampling")] = None
    reproject_method: Annotated[WarpResampling | None, Query(alias="reproject")] = None


class _Histogram(HistogramParams):
    """titiler's histogram, with as many bins as fit into an answer."""

    def __post_init__(self) -> None:
        if self.bins and "," not in str(self.bins) and int(self.bins) not in range(1, _MOST_BINS + 1):
            raise WrongRequestError(f"A histogram has 1 to {_MOST_BINS} bins.")
        super().__post_init__()  # type: ignore[no-untyped-call]


def _cover_scale(cover_scale: Annotated[int, Query(ge=1, le=10)] = 10) -> int:
    return cover_scale


def _only_codes(request: Request) -> None:
    """Raise `WrongRequestError` for a reference system that is not named by its code."""
    for name, value in request.query_params.multi_items():
        if name.lower().endswith("crs") and _CODE.fullmatch(value) is None:
            raise WrongRequestError(f"{name[:20]} takes a code such as EPSG:{grid.EPSG}.")


def _styled_by_us(request: Request) -> bool:
    """Whether an image gets its layer's own colours: a picture of the values themselves."""
    return "algorithm" not in request.query_params and request.path_params.get("format") not in _DATA


class _Factory(TilerFactory):
    """titiler's factory, whose links say what the client must call us, behind a proxy or not."""

    def url_for(self, request: Request, name: str, **path_params: Any) -> str:
        return f"{base_url(request)}{self.router_prefix}{self.router.url_path_for(name, **path_params)}"


def build(cube: ServedCube, prefix: str) -> FastAPI:
    """titiler's application over one cube, to be mounted at `prefix`."""
    ours: dict[str, Any] = {name: _palette(name) for name in palettes.NAMES if name not in cmap.list()}
    asked_colours = create_colormap_dependency(cmap.register(ours))

    def chosen(layer: Annotated[str, Query(max_length=200, description="Layer id, such as indicators.richness: see /layers.")],
               snapshot: Snapshot = Depends(release_of(cube))) -> Chosen:  # fmt: skip  # noqa: B008
        return Chosen(snapshot, snapshot.layer(layer))

    def colours(request: Request, own: Chosen = Depends(chosen), asked: Any = Depends(asked_colours)) -> Any:  # noqa: B008
        if asked is not None or not _styled_by_us(request):
            return asked
        if own.layer.kind == "class":
            return {c.value: (*palettes.rgb(c.colour), 255) for c in own.layer.classes}
        return _palette(own.layer.palette)

    def rendering(request: Request, own: Chosen = Depends(chosen),  # noqa: B008
                  asked: ImageRenderingParams = Depends(ImageRenderingParams)) -> Any:  # fmt: skip  # noqa: B008
        if own.layer.kind == "continuous" and asked.rescale is None and _styled_by_us(request):
            asked.rescale = [own.snapshot.range_of(own.layer)]  # type: ignore[list-item]  # what titiler makes of its strings
        return asked

    factory = _Factory(
        reader=LayerReader, path_dependency=chosen, layer_dependency=DefaultDependency, dataset_dependency=_Resampling,
        colormap_dependency=colours, render_dependency=cast(Any, rendering), histogram_dependency=_Histogram,
        router_prefix=prefix, supported_tms=tms.register({OWN: own_grid()}), add_viewer=False, name="titiler",
    )  # fmt: skip
    app = FastAPI(title="floracube through titiler", dependencies=[Depends(_only_codes)],
                  description="titiler.core's routes over the layers of the cube, each named by `layer=`.")  # fmt: skip
    app.dependency_overrides[CoverScaleParams] = _cover_scale
    app.include_router(factory.router)
    app.add_middleware(ErrorGuard)
    add_handlers(app)
    for kind in (RioTilerError, RasterioError, ValueError, TypeError, AssertionError):
        app.add_exception_handler(kind, _refused)
    return app


def _palette(name: str) -> dict[int, tuple[int, int, int, int]]:
    return {i: (int(r), int(g), int(b), 255) for i, (r, g, b) in enumerate(palettes.table(name))}


async def _refused(request: Request, error: Exception) -> JSONResponse:
    """What rio-tiler, GDAL and titiler refuse: they raise plain errors for parameters that do not fit one another."""
    if isinstance(error, TileOutsideBounds | PointOutsideBounds):
        return error_answer(404, NotFoundError.name, str(error))
    log.warning("%s: %s: %s", request.url.path, type(error).__name__, error)
    return error_answer(400, WrongRequestError.name, _UNFIT)
