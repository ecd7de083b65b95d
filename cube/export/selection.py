"""What a layer id such as `inputs.landsat.red` or `species.fagus_sylvatica` names: an array of the cube and its bands."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray

from cube import grid
from cube.errors import CubeError, UnknownNameError
from cube.grid import Window
from cube.layers import Layer
from cube.layers.ids import slug, species_ids
from cube.pyramids.pyramid import Pyramid
from cube.storage import releases
from cube.storage.store import CubeStore, dims_of, layer_of

MOST_NAMED: Final = 8  # ids in a message


@dataclass(frozen=True)
class Selection:
    """An array of the cube at one pyramid level, with the leading axes that are fixed and the bands that are left."""

    array: zarr.Array[Any]
    index: tuple[int, ...]  # into the first axes
    bands: tuple[str, ...]  # names of what the other axes before (y, x) span, in C order; one for a plain map
    units: tuple[str, ...]  # of each band
    resolution: int  # metres, of level 0
    level: int
    layer: Layer  # what the array says of itself; of one species with its name and scale
    version: str | None = None  # of a product
    steps: tuple[float, ...] = ()  # of each band, where they differ

    @property
    def layered(self) -> bool:
        """Whether bands are the first axis of the array, so that some of them can be read alone."""
        return not self.index and self.array.ndim == 3

    def read(self, window: Window, bands: range | None = None) -> NDArray[Any]:
        """(bands, rows, columns) stored values of a window; raises `CubeError` where the store fails or a shard is damaged.

        `bands`: some of the bands of a `layered` selection, all by default.
        """
        leading_slices = tuple(slice(i, i + 1) for i in self.index)
        everything = tuple(slice(0, length) for length in self.array.shape[len(self.index) : -2])
        if bands is not None:
            everything = (slice(bands.start, bands.stop), *everything[1:])
        try:
            values = np.asarray(self.array[(*leading_slices, *everything, *window.slices)])
        except (OSError, RuntimeError, ValueError) as error:  # the last two are how codecs refuse a damaged shard
            raise CubeError(f"{self.array.path}: cannot be read ({error}); `floracube check --values` says where.") from error
        return values.reshape(-1, window.height, window.width)

    def band(self, number: int) -> Selection:
        """One band alone, so that `read` reads nothing else."""
        lead = self.array.shape[len(self.index) : -2]
        index = tuple(int(i) for i in np.unravel_index(number, lead)) if lead else ()
        steps = self.steps[number : number + 1]
        layer = replace(self.layer, scale=steps[0]) if steps else self.layer
        one = (self.bands[number],), (self.units[number],)
        return replace(self, index=(*self.index, *index), bands=one[0], units=one[1], layer=layer, steps=steps)

    @property
    def classes(self) -> tuple[tuple[int, str, str], ...]:
        """(value, name, #rrggbb) of a class layer with a legend that is whole."""
        return self.layer.flags if all(name and colour for _, name, colour in self.layer.flags) else ()


def layer_names(cube: CubeStore, versions: Mapping[str, str]) -> list[tuple[str, str]]:
    """(layer id, name that people write) of each layer of the inputs and of `versions` (by product); some have several names."""
    pairs: list[tuple[str, str]] = []
    for product in ("species", "indicators", "habitats", "composition"):
        if product not in versions:
            continue
        group = releases.group_of(product, versions[product], None if product == "composition" else 0)
        if product == "species":
            species = [str(name) for name in np.asarray(cube.array(f"{group}/species")[:])]
            table = cube.read_table(releases.table_path(product, versions[product]))
            for names in (species, map(str, table.get("vernacular_name", ()))):
                pairs += [(species_id, name) for species_id, name in zip(species_ids(species), names, strict=False) if name]
            continue
        for name, array in sorted(cube.group(group).arrays()):
            if dims_of(array)[-2:] == ("y", "x"):
                pairs += [(f"{product}.{name}", name), (f"{product}.{name}", layer_of(array).long_name)]
    for name, layer in cube.layers().items():
        pairs += [(f"inputs.{name}", name), (f"inputs.{name}", layer.long_name)]
    return pairs


def find_layer(cube: CubeStore, versions: Mapping[str, str], name: str) -> str:
    """The id of the layer that `name` means: an id is left as it is, a name (`Plantago alpina`, `richness`) becomes one.

    Case, punctuation and blanks do not matter. Raises `CubeError` for a name that no layer has, with those that
    are close, and for one that several layers have, with their ids.
    """
    product, dot, layer_name = name.partition(".")
    if name == "species" or (dot and layer_name and (product == "inputs" or product in releases.PRODUCTS)):
        return f"species.{slug(layer_name)}" if product == "species" and layer_name else name
    names = layer_names(cube, versions)
    exact = {layer_id for layer_id, title in names if title == name}
    ids = sorted(exact or {layer_id for layer_id, title in names if slug(title) == slug(name)})
    if len(ids) > 1:
        raise CubeError(f"{cube.url}: '{name}' is the name of {len(ids)} layers; name one of {', '.join(ids)}.")
    if not ids:
        raise UnknownNameError(f"{cube.url}: there is no layer '{name}'; {_hint(name, names)}")
    return ids[0]


def _hint(name: str, names: Sequence[tuple[str, str]]) -> str:
    """The end of a sentence on a layer that is not there: names that are close, else ids of its product, or one of each."""
    slug_text = slug(name.partition(".")[2] or name)
    by_slug = {slug(title): layer_id for layer_id, title in reversed(names)} | {slug(i): i for i, _ in names}
    by_slug |= {slug(layer_id.partition(".")[2]): layer_id for layer_id, _ in names}
    near = [by_slug[close] for close in difflib.get_close_matches(slug_text, by_slug, 8, 0.7)]
    near += [layer_id for key, layer_id in by_slug.items() if len(slug_text) > 2 and slug_text in key.split("_")]
    suggestions = list(dict.fromkeys(near))[:4]
    if suggestions:
        return f"did you mean {' or '.join(suggestions)}?"
    by_product: dict[str, list[str]] = {}
    for layer_id in dict.fromkeys(layer_id for layer_id, _ in names):
        by_product.setdefault(layer_id.partition(".")[0], []).append(layer_id)
    if not by_product:
        return "the cube has none yet; run `floracube build` first."
    ids = by_product.get(name.partition(".")[0])
    if ids is None:
        return f"layers are named like {', '.join(ids[0] for ids in by_product.values())}."
    more = f" and {len(ids) - MOST_NAMED:,} more" if len(ids) > MOST_NAMED else ""
    return f"there are {', '.join(ids[:MOST_NAMED])}{more}."


def _level_words(level: int) -> str:
    return f" at pyramid level {level}" if level else ""


def select(cube: CubeStore, versions: Mapping[str, str], layer_id: str, level: int = 0) -> Selection:
    """Find a layer of the inputs or of `versions`, those of a release by product; raises `CubeError` naming what is not there.

    `species` alone are all species, a band each.
    Axes before (y, x) may be named one after the other (`inputs.landsat.red.2018Q3`); those that are not become bands.
    """
    product, _, axes_text = layer_id.partition(".")
    name, *axis_names = axes_text.split(".") if axes_text else [""]
    version = None
    inputs = cube.layers() if product == "inputs" else {}
    if name in inputs:
        pyramid = Pyramid.of_inputs(inputs[name].resolution, [inputs[name]])
    elif product in releases.PRODUCTS:
        if product not in versions:
            raise UnknownNameError(f"{cube.url}: the release has no {product}; run `floracube predict` first.")
        version = versions[product]
        pyramid = Pyramid.of_product(product, version, [])
    else:
        raise UnknownNameError(f"{cube.url}: there is no layer '{layer_id}'; {_hint(layer_id, layer_names(cube, versions))}")
    group = releases.group_of("composition", version) if product == "composition" and version else pyramid.group(level)
    if level and (product == "composition" or not cube.has(group)):
        raise CubeError(f"{cube.url}: {product} has no pyramid level {level} here; choose a lower --level.")
    resolution = pyramid.resolution
    if product == "species":
        return _species(cube, versions, group, layer_id, name, level)
    if not cube.has(f"{group}/{name}"):
        raise UnknownNameError(
            f"{cube.url}: there is no layer '{layer_id}'{_level_words(level)}; {_hint(layer_id, layer_names(cube, versions))}"
        )
    array = cube.array(f"{group}/{name}")
    layer = layer_of(array)
    index, bands, units = _bands(cube, group, layer, layer_id, axis_names)
    bands = bands or (layer.long_name,)
    return Selection(array, index, bands, units, resolution, level, layer, version)


def _species(cube: CubeStore, versions: Mapping[str, str], group: str, layer_id: str, name: str, level: int) -> Selection:
    names = [str(n) for n in np.asarray(cube.array(f"{group}/species")[:])]
    occurrence = cube.array(f"{group}/occurrence")
    layer = layer_of(occurrence)
    if not name:
        steps = tuple(float(step) for step in np.asarray(cube.array(f"{group}/scale")[:]))
        title = f"Probability of occurrence of {len(names)} species"
        units = ("1",) * len(names)
        layer = replace(layer, long_name=title, scale=max(steps))
        return Selection(occurrence, (), tuple(names), units, grid.CELL, level, layer, versions["species"], steps)
    ids = species_ids(names)
    if layer_id not in ids:
        hint = _hint(layer_id, layer_names(cube, versions))
        raise UnknownNameError(f"{cube.url}: there is no species '{layer_id.removeprefix('species.')}'; {hint}")
    at = ids.index(layer_id)
    step = float(np.asarray(cube.array(f"{group}/scale")[at]))
    layer = replace(layer, long_name=names[at], scale=step)
    return Selection(occurrence, (at,), (names[at],), ("1",), grid.CELL, level, layer, versions["species"])


def _bands(
    cube: CubeStore, group: str, layer: Layer, layer_id: str, axis_names: list[str]
) -> tuple[tuple[int, ...], tuple[str, ...], tuple[str, ...]]:
    """(index of the axes that are named, names of the bands that are left, units of each)."""
    dims = layer.dims
    if len(axis_names) > len(dims):
        raise CubeError(f"'{layer_id}': the layer has the axes {', '.join(dims) or 'none'}; name one of each at most.")
    labels = [[str(x) for x in np.asarray(cube.array(f"{group}/{dim}")[:])] for dim in dims]
    index = []
    for dim, axis, band in zip(dims, labels, axis_names, strict=False):
        positions = [i for i, label in enumerate(axis) if slug(label) == slug(band)]
        if not positions:
            raise CubeError(f"'{layer_id}': {dim} '{band}' is not there; choose one of {', '.join(axis[:20])}.")
        index.append(positions[0])
    labels_of_axes = [[axis[index[k]]] if k < len(index) else axis for k, axis in enumerate(labels)]
    parts = list(itertools.product(*labels_of_axes))
    units = tuple(layer.band(part[0]).units if part else layer.units for part in parts)
    return tuple(index), tuple(" ".join(part) for part in parts if part), units
