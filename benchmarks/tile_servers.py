"""The servers that the tile benchmarks ask, each as a factory that uvicorn starts in a process of its own.

BENCH_CUBE is the URL of the cube. Every server runs with one worker and as its makers ship it.
"""

from __future__ import annotations

import os
from typing import Any

GROUP = "products/habitats/v1"


def floracube() -> Any:
    """We, and one route more: what empties the cache of decoded chunks."""
    from cachetools import LRUCache

    from server.main import create_app

    app = create_app([os.environ["BENCH_CUBE"]])
    for cube in app.state.cubes.values():
        cube.tiles = LRUCache(0, getsizeof=len)  # the peers draw every tile, so ours does too

    @app.post("/forget", include_in_schema=False)
    def forget() -> dict[str, int]:
        app.state.chunks.clear()
        return {"bytes": app.state.chunks.used_bytes}

    return app


def titiler() -> Any:
    """titiler.xarray's own application; for a store on S3 the same with its own fsspec reader, since the other asks Amazon."""
    if "://" not in os.environ["BENCH_CUBE"]:
        from titiler.xarray.main import app

        return app
    from fastapi import FastAPI
    from titiler.xarray.factory import TilerFactory
    from titiler.xarray.io import FsReader

    app = FastAPI()
    app.include_router(TilerFactory(reader=FsReader).router)
    return app


def xpublish() -> Any:
    """xpublish-tiles on the finest level: it has no other, since it serves one Dataset."""
    import xarray
    import xpublish
    from xpublish_tiles.xpublish.tiles.plugin import TilesPlugin

    store: Any = f"{os.environ['BENCH_CUBE']}/{GROUP}/0"
    if "://" in store:  # it reads from an event loop of its own, where an fsspec store of another loop fails
        import obstore
        from zarr.storage import ObjectStore

        store = ObjectStore(obstore.store.from_url(store, client_options={"allow_http": True}), read_only=True)
    data = xarray.open_zarr(store, chunks=None, decode_coords="all", consolidated=True)
    data.attrs["_xpublish_id"] = "bench"
    return xpublish.SingleDatasetRest(data, plugins={"tiles": TilesPlugin()}).app


def group_reader() -> Any:
    """rio-tiler's reader of GeoZarr on a store that is opened once: the multiscales convention tells it the level."""
    import zarr
    from fastapi import FastAPI, Response
    from rio_tiler.colormap import cmap
    from rio_tiler.experimental.zarr import GroupReader

    store: Any = f"{os.environ['BENCH_CUBE']}/{GROUP}"
    if "://" in store:
        import obstore
        from zarr.storage import ObjectStore

        store = ObjectStore(obstore.store.from_url(store, client_options={"allow_http": True}), read_only=True)
    reader = GroupReader(input=zarr.open_group(store, mode="r"))
    app, palette = FastAPI(), cmap.get("viridis")

    @app.get("/tiles/{z}/{x}/{y}.png")
    def tile(z: int, x: int, y: int) -> Response:
        image = reader.tile(x, y, z, variables="probability", tilesize=256, nodata=255)
        image.rescale(in_range=((0, 250),))
        return Response(image.render(img_format="PNG", colormap=palette), media_type="image/png")

    return app


def path(server: str, cube: str, z: int, x: int, y: int, level: int) -> str:
    """The address of a tile on each server; `level` is the pyramid level that fits its zoom."""
    if server == "floracube":
        return f"/layers/habitats.probability/tiles/WebMercatorQuad/{z}/{x}/{y}.png?rescale=0,1"
    if server.startswith("rio-tiler"):
        return f"/tiles/{z}/{x}/{y}.png"
    if server.startswith("xpublish-tiles"):
        return (
            f"/tiles/WebMercatorQuad/{z}/{y}/{x}?variables=probability&style=raster/viridis&colorscalerange=0,1"
            "&width=256&height=256&f=image/png"
        )
    group = f"{GROUP}/{level if server.endswith('by hand') else 0}"
    return (
        f"/tiles/WebMercatorQuad/{z}/{x}/{y}.png?url={cube}&group={group}&variable=probability&rescale=0,1&colormap_name=viridis"
    )
