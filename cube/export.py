"""Any layer leaves the cube as a Cloud Optimized GeoTIFF, with values in units, colours for classes, and its attribution."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rio_cogeo.cogeo import cog_translate
from rio_cogeo.profiles import cog_profiles

from cube import grid, releases
from cube.errors import CubeError
from cube.inputs import INPUTS
from cube.store import CubeStore, open_cube


def slug(text: str) -> str:
    """A name as layer ids write it: `Fagus sylvatica L.` is `fagus_sylvatica_l`."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def locate(cube: CubeStore, layer_id: str) -> tuple[str, tuple[int, ...], str]:
    """(path of the array, index of its leading axes, title) of a layer such as `species.fagus_sylvatica`.

    Inputs with bands are named with one: `inputs.bioclim.bio1`. Indicators give their estimate unless a bound is named:
    `indicators.richness.upper`. Raises `CubeError` for what is not there.
    """
    product, _, rest = layer_id.partition(".")
    name, *bands = rest.split(".") if rest else [""]
    if product == "inputs" and name in INPUTS:
        path, known = INPUTS[name].path, INPUTS[name].dims
    elif product in releases.PRODUCTS:
        held = releases.current(cube)["products"]
        if product not in held:
            raise CubeError(f"{cube.url}: the current release has no {product}.")
        group = releases.group_of(product, held[product])
        if product == "species":
            names = [str(n) for n in np.asarray(cube.array(f"{group}/species")[:])]
            found = [i for i, n in enumerate(names) if slug(n) == name]
            if not found:
                raise CubeError(f"'{layer_id}' is not a layer: no species of the cube is called so.")
            return f"{group}/occurrence", (found[0],), names[found[0]]
        path, known = f"{group}/{name}", ("bound",) if product == "indicators" else ()
    else:
        raise CubeError(f"'{layer_id}' is not a layer id such as indicators.richness or species.fagus_sylvatica.")
    array = cube.array(path)
    title = str(array.attrs.get("long_name", name))
    if product == "indicators" and not bands:
        bands = ["estimate"]
    if len(bands) != len(known):
        raise CubeError(f"'{layer_id}': the layer {name} has the axes {', '.join(known) or 'none'}; name one of each.")
    index = []
    for dim, band in zip(known, bands, strict=True):
        labels = [str(x) for x in np.asarray(cube.array(f"{path.rsplit('/', 1)[0]}/{dim}")[:])]
        if band not in labels:
            raise CubeError(f"'{layer_id}': {dim} '{band}' is not there; known are {', '.join(labels[:20])}.")
        index.append(labels.index(band))
    return path, tuple(index), " ".join([title, *bands])


def export(url: str, layer_id: str, out: Path) -> None:
    """Write a layer as a COG at 50 m (inputs: their own resolution): classes as bytes or uint16 with a colour table.

    Continuous layers are float32 in units, NaN where there is no data. Raises `CubeError` for an unknown layer.
    """
    cube = open_cube(url)
    path, index, title = locate(cube, layer_id)
    array = cube.array(path)
    attrs = dict(array.attrs)
    stored = np.asarray(array[index])
    classes = attrs.get("floracube_kind") == "class"
    values, nodata = (stored, float(np.asarray(array.fill_value))) if classes else (_decoded(cube, path, index, stored), np.nan)
    resolution = (cube.region.grown_bounds[2] - cube.region.grown_bounds[0]) // stored.shape[1]
    profile: dict[str, Any] = {
        "driver": "GTiff", "height": values.shape[0], "width": values.shape[1], "count": 1, "dtype": values.dtype,
        "crs": CRS.from_epsg(grid.EPSG), "transform": cube.region.transform(resolution), "nodata": nodata,
    }  # fmt: skip
    with MemoryFile() as memory:
        with memory.open(**profile) as target:
            target.write(values, 1)
            target.set_band_description(1, title)
            target.update_tags(
                **{k: str(attrs[k]) for k in ("units", "references") if k in attrs},
                **{k: str(cube.root.attrs[k]) for k in ("title", "license", "attribution", "note") if k in cube.root.attrs},
            )
            if classes and values.dtype == np.uint8 and "flag_colors" in attrs:
                target.write_colormap(1, _colour_table(attrs))
        with memory.open() as source:
            try:
                cog_translate(source, out, cog_profiles.get("deflate"), in_memory=True, quiet=True,
                              overview_resampling="mode" if classes else "average", forward_band_tags=True)  # fmt: skip
            except (OSError, rasterio.errors.RasterioError) as error:
                raise CubeError(f"{out}: cannot be written ({error}).") from None


def _decoded(cube: CubeStore, path: str, index: tuple[int, ...], stored: NDArray[Any]) -> NDArray[np.float32]:
    """Values in units; probabilities of a species are multiplied by its own step."""
    array = cube.array(path)
    values = stored.astype(np.float32)
    if not np.issubdtype(stored.dtype, np.floating):
        values[stored == array.fill_value] = np.nan
    if path.endswith("/occurrence"):
        steps = cube.array(path.replace("/occurrence", "/scale"))
        return values * np.float32(np.asarray(steps[index[0]]))
    scale, offset = (float(str(array.attrs.get(k, d))) for k, d in (("scale_factor", 1.0), ("add_offset", 0.0)))
    return np.asarray(values * scale + offset, np.float32)


def _colour_table(attrs: dict[str, Any]) -> dict[int, tuple[int, int, int, int]]:
    colours = str(attrs["flag_colors"]).split()
    return {
        int(v): (int(c[1:3], 16), int(c[3:5], 16), int(c[5:7], 16), 255)
        for v, c in zip(attrs["flag_values"], colours, strict=True)
    }
