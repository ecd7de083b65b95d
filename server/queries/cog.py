"""A window of any layer as a Cloud Optimized GeoTIFF: its values with legend and scale, or the picture that the map shows.

Values are written by `cube.export.cog`; here are the limits, the picture, and the route.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

import numpy as np
from affine import Affine
from fastapi import APIRouter, Query, Request, Response

from cube.errors import CubeError
from cube.grid import Window
from cube.storage.local_files import temporary_folder
from server import palettes
from server.dependencies import LayerParameter, RequestedSnapshot, StyleParameters, unchanged, validators
from server.drawing.resample import steps
from server.drawing.tiles import Style
from server.errors import NotFoundError, RequestError, WrongRequestError
from server.queries.gate import HEAVY
from server.queries.ranges import part_of
from server.reading.layers import MapLayer
from server.reading.snapshot import Snapshot

if TYPE_CHECKING:
    from cube.export.selection import Selection

MAX_PIXELS: Final = 2048 * 2048  # of one window: 100 x 100 km at 50 m
MEDIA: Final = "image/tiff; application=geotiff; profile=cloud-optimized"
_NUMBER: Final = r"-?\d{1,3}(\.\d{1,15})?"
_BBOX: Final = rf"^{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}$"
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The file.", "content": {"image/tiff": {"schema": {"type": "string", "format": "binary"}}}},
    206: {"description": "The range of bytes asked for."},
    404: {"description": "No such layer or level, or a window outside the cube."},
    413: {"description": "More pixels than one file may hold."},
}


class WindowTooLargeError(RequestError):
    """A window of more pixels than one answer may hold (413)."""

    status: ClassVar[int] = 413
    name: ClassVar[str] = "window_too_large"


router: Final = APIRouter(tags=["tiles"])


@router.get("/layers/{layer_id}/cog", summary="A window of a layer as a COG", responses=_ANSWERS, response_class=Response)
async def window(
    request: Request,
    snapshot: RequestedSnapshot,
    layer_id: LayerParameter,
    bbox: Annotated[str | None, Query(pattern=_BBOX, max_length=100, description="West,south,east,north in degrees.")] = None,
    level: Annotated[int, Query(ge=0, le=20, description="Pyramid level: 0 is the finest, each further one half as fine.")] = 0,
    style: Annotated[Literal["values", "picture"], Query(description="Values with scale and legend, or colours.")] = "values",
    colormap_name: Annotated[str | None, Query(max_length=40, description="Another palette, of a picture.")] = None,
    rescale: Annotated[str | None, Query(max_length=60, description="Another range of a picture, `low,high`.")] = None,
) -> Response:
    """The pixels of the cube that the box touches, neither turned nor resampled, in its projection."""
    layer, style_parameters = snapshot.layer(layer_id), StyleParameters(colormap_name, rescale)
    style_parameters.check(layer)
    if style == "values" and (colormap_name or rescale):
        raise WrongRequestError("colormap_name and rescale are of a picture; ask for style=picture.")
    headers = validators(snapshot, request)
    headers["Content-Disposition"] = f'attachment; filename="{layer.id}.{level}.tif"'
    if (not_modified := unchanged(request, headers)) is not None:
        return not_modified
    box = None if bbox is None else tuple(float(part) for part in bbox.split(","))

    def write() -> bytes:  # a display range may have to be read first
        picture = style == "picture"
        return cog(snapshot, layer, box, level, picture, style_parameters.style(snapshot, layer) if picture else None)

    body = await HEAVY.run(write)
    status, first, end = part_of(request, len(body), headers)
    return Response(body[first:end], status, headers, MEDIA)


def cog(
    snapshot: Snapshot,
    layer: MapLayer,
    bbox: tuple[float, ...] | None,
    level: int,
    picture: bool = False,
    style: Style | None = None,
) -> bytes:
    """The file: values of the cube, or with `picture` the colours of the map (`style`: others than the layer's own).

    Raises `WrongRequestError` for an invalid box, `NotFoundError` outside the cube, `WindowTooLargeError`.
    """
    # Imported with the first window: GDAL and what is around it cost the start more than all else of the server.
    import rasterio

    from cube.export.cog import CACHE_BYTES, window_of, write_cog
    from cube.export.selection import Selection
    from cube.storage.store import layer_of

    if layer.minus is not None:
        raise WrongRequestError(f"Layer '{layer.id}' is drawn from two bounds and stored nowhere; ask for these.")
    if level >= len(layer.paths):
        raise NotFoundError(f"Layer '{layer.id}' has no pyramid level {level}; its coarsest is {len(layer.paths) - 1}.")
    if bbox is not None and not (-180 <= bbox[0] < bbox[2] <= 180 and -90 <= bbox[1] < bbox[3] <= 90):
        raise WrongRequestError("bbox must be west,south,east,north in degrees with west < east and south < north.")
    cube = snapshot.reader.cube
    array = snapshot.reader.array(layer.paths[level])
    version = snapshot.products.get(layer.product)
    layer_in_units = replace(layer_of(array), long_name=layer.title, scale=layer.scale, offset=layer.offset)
    selection = Selection(array, layer.lead, (layer.title,), (layer.units,), layer.resolution, level, layer_in_units, version)
    try:
        box = None if bbox is None else (bbox[0], bbox[1], bbox[2], bbox[3])
        window = window_of(cube, snapshot.region if version else cube.region, selection, box, layer.id)
    except CubeError:
        raise NotFoundError("The window lies outside the map; /layers gives its bounds.") from None
    pixels = window.height * window.width
    if pixels > MAX_PIXELS:
        coarser = next((n for n in range(level + 1, len(layer.paths)) if pixels / 4 ** (n - level) <= MAX_PIXELS), None)
        hint = "choose a smaller bbox" + (f" or level={coarser}" if coarser is not None else "")
        raise WindowTooLargeError(f"The window has {pixels:,} pixels; one file holds {MAX_PIXELS:,}: {hint}.")
    # Zarr would take what the store does not find for no data; the reader asks the receipts.
    snapshot.reader.require_written(layer.paths[level], layer.lead, *window.slices)
    with temporary_folder() as folder, rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
        if picture:
            _picture(snapshot, layer, selection, window, style or Style(layer.palette, *snapshot.range_of(layer)), folder)
        else:
            write_cog(cube, selection, window, layer.id, folder)
        return (folder / "cog.tif").read_bytes()


def _picture(snapshot: Snapshot, layer: MapLayer, selection: Selection, window: Window, style: Style, folder: Path) -> None:
    """Red, green, blue and alpha as `cog.tif` in `folder`."""
    import rasterio.shutil
    from rasterio.enums import ColorInterp

    (stored_values,) = selection.read(window)
    if layer.kind == "class":
        lookup, colours = layer.class_lookup
        index = lookup[np.minimum(stored_values.astype(np.int64), len(lookup) - 1)]
    else:
        values = stored_values.astype(np.float32)
        values[~np.isfinite(values) | (stored_values == stored_values.dtype.type(layer.fill))] = np.nan
        values = values * np.float32(layer.scale) + np.float32(layer.offset)
        index, colours = steps(values, style.low, style.high, palettes.COLOURS), palettes.continuous_colours(style.palette)
    transform = snapshot.reader.cube.region.transform(selection.resolution, selection.level) @ Affine.translation(
        window.col, window.row
    )
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": window.height,
        "width": window.width,
        "count": 4,
        "dtype": "uint8",
        "crs": snapshot.region.grid.code,
        "transform": transform,
        "tiled": True,
        "photometric": "RGB",
    }
    plain = folder / "plain.tif"
    with rasterio.open(plain, "w", **profile) as target:
        target.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
        target.write(np.moveaxis(colours[index], -1, 0))
        target.update_tags(TITLE=layer.title, LAYER=layer.id, license=layer.license, attribution=layer.attribution)
    resampling = "NEAREST" if layer.kind == "class" else "AVERAGE"
    rasterio.shutil.copy(plain, folder / "cog.tif", driver="COG", COMPRESS="DEFLATE", OVERVIEW_RESAMPLING=resampling)
