"""What a layer id such as `inputs.landsat.red` or `species.fagus_sylvatica` names: an array of the cube and its bands."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from cube import grid
from cube.errors import CubeError
from cube.grid import Window
from cube.inputs import INPUTS
from cube.pyramids.pyramid import Pyramid
from cube.storage import releases
from cube.storage.store import CubeStore


def slug(text: str) -> str:
    """A name as layer ids write it: `Fagus sylvatica L.` is `fagus_sylvatica_l`."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


@dataclass(frozen=True)
class Selection:
    """An array of the cube at one pyramid level, with the leading axes that are fixed and the bands that are left."""

    array: zarr.Array[Any]
    index: tuple[int, ...]  # into the first axes
    bands: tuple[str, ...]  # names of what the other axes before (y, x) span, in C order; one for a plain map
    resolution: int  # metres, of level 0
    level: int
    title: str
    step: float  # a stored value times this, plus `offset`, is in units
    offset: float
    version: str | None = None  # of a product

    def read(self, window: Window) -> NDArray[Any]:
        """(bands, rows, columns) stored values of a window; raises `CubeError` where the store fails or a shard is damaged."""
        fixed = tuple(slice(i, i + 1) for i in self.index)
        whole = tuple(slice(0, length) for length in self.array.shape[len(self.index) : -2])
        try:
            values = np.asarray(self.array[(*fixed, *whole, *window.slices)])
        except (OSError, RuntimeError, ValueError) as error:  # the last two are how codecs refuse a damaged shard
            raise CubeError(f"{self.array.path}: cannot be read ({error}); `floracube check --values` says where.") from error
        return values.reshape(-1, window.height, window.width)

    @property
    def classes(self) -> tuple[tuple[int, str, str], ...]:
        """(value, name, #rrggbb) of a class layer with a legend; underscores of CF flag meanings are spaces again."""
        attrs: Any = self.array.attrs
        if "flag_values" not in attrs or "flag_colors" not in attrs:
            return ()
        names = [name.replace("_", " ") for name in attrs["flag_meanings"].split()]
        return tuple(zip((int(v) for v in attrs["flag_values"]), names, attrs["flag_colors"].split(), strict=True))

    @property
    def categorical(self) -> bool:
        """Whether values are classes, which no arithmetic is allowed on."""
        return self.array.attrs.get("floracube_kind") == "class"


def select(cube: CubeStore, layer_id: str, level: int = 0) -> Selection:
    """Find a layer of the inputs or of the current release; raises `CubeError` naming what is not there.

    Axes before (y, x) may be named one after the other (`inputs.landsat.red.2018Q3`); those that are not become bands.
    """
    product, _, rest = layer_id.partition(".")
    name, *named = rest.split(".") if rest else [""]
    version = None
    if product == "inputs" and name in INPUTS:
        layer = INPUTS[name]
        pyramid = Pyramid.of_inputs(layer.resolution, [layer])
    elif product in releases.PRODUCTS:
        held = releases.current(cube)["products"]
        if product not in held:
            raise CubeError(f"{cube.url}: the current release has no {product}; run `floracube predict` first.")
        version = str(held[product])
        pyramid = Pyramid.of_product(product, version, [])
    else:
        raise CubeError(f"'{layer_id}' is not a layer id such as indicators.richness, inputs.slope or species.fagus_sylvatica.")
    group = releases.group_of("composition", version) if product == "composition" and version else pyramid.group(level)
    if level and (product == "composition" or not cube.has(group)):
        raise CubeError(f"{cube.url}: {product} has no pyramid level {level} here; choose a lower --level.")
    resolution = pyramid.resolution
    if product == "species":
        return _species(cube, group, layer_id, name, level, version)
    array = cube.array(f"{group}/{name}")
    index, bands = _bands(cube, group, array, layer_id, named)
    step, offset = (float(str(array.attrs.get(key, plain))) for key, plain in (("scale_factor", 1.0), ("add_offset", 0.0)))
    title = str(array.attrs.get("long_name", name))
    return Selection(array, index, bands or (title,), resolution, level, title, step, offset, version)


def _species(cube: CubeStore, group: str, layer_id: str, name: str, level: int, version: str | None) -> Selection:
    names = [str(n) for n in np.asarray(cube.array(f"{group}/species")[:])]
    found = [i for i, n in enumerate(names) if slug(n) == name]
    if not found:
        raise CubeError(f"'{layer_id}' is not a layer: no species of the cube is called so.")
    step = float(np.asarray(cube.array(f"{group}/scale")[found[0]]))
    title = names[found[0]]
    return Selection(cube.array(f"{group}/occurrence"), (found[0],), (title,), grid.CELL, level, title, step, 0.0, version)


def _bands(
    cube: CubeStore, group: str, array: zarr.Array[Any], layer_id: str, named: list[str]
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    dims = [str(dim) for dim in getattr(array.metadata, "dimension_names", None) or ()][:-2]
    if len(named) > len(dims):
        raise CubeError(f"'{layer_id}': the layer has the axes {', '.join(dims) or 'none'}; name one of each at most.")
    labels = [[str(x) for x in np.asarray(cube.array(f"{group}/{dim}")[:])] for dim in dims]
    index = []
    for dim, axis, band in zip(dims, labels, named, strict=False):
        found = [i for i, label in enumerate(axis) if slug(label) == slug(band)]
        if not found:
            raise CubeError(f"'{layer_id}': {dim} '{band}' is not there; known are {', '.join(axis[:20])}.")
        index.append(found[0])
    bands = [" ".join(labels) for labels in itertools.product(*labels[len(index) :])] if len(index) < len(dims) else []
    fixed = " ".join(axis[i] for axis, i in zip(labels, index, strict=False))
    return tuple(index), tuple(f"{fixed} {band}".strip() for band in bands) or ((fixed,) if fixed else ())
